//! Rate and concurrency limits.
//!
//! [`gate`] limits one credential's requests to the API and queues the excess fairly. [`client`] limits one
//! client's requests and rejects the excess. Both use the rate limiter of `governor`.

pub mod client;
pub mod gate;
mod quota;

pub use quota::quota;
