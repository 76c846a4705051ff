//! From a permitted request to a response: reuse what is stored, or fetch it once for all who wait.
//!
//! [`fetcher`] decides between the two and lets concurrent requests share a fetch. [`run`] is one fetch: send, read, validate,
//! store. A response that is cut off, is not JSON, or holds another account's records is neither sent to a client nor stored.

pub mod fetch_request;
pub mod fetch_result;
pub mod fetch_context;
mod forbidden;
pub mod probe;
pub mod read_budget;
mod response_body;
mod response_head;
pub mod run;
pub mod fetcher;
mod store;
mod validate;
