//! Every way a request can end without data from the API: its code, status, text and response.

mod code;
mod denial_text;
mod rejection;
pub mod response;
mod text;

pub use code::{Code, CodeClass};
pub use rejection::{Limit, Overload, ProblemText, Rejection, Unproven, denial_code};
