//! Every way a request can end without data from the API: its code, status, text and response.

mod denial_text;
mod rejection;
pub mod response;
mod text;

pub use rejection::{Limit, Overload, Rejection, Told, Unproven};
