//! The path of a request: [`answer`] calls its steps in their order, and [`envelope`] wraps it.

pub mod answer;
pub mod envelope;
pub mod index;
pub mod listener;
pub mod request_context;
pub mod request_log;
pub mod respond;
mod route;

pub use answer::{Proxy, Reply};
