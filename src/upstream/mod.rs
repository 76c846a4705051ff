//! One credential's access to Talkdesk: token, rate limit, circuit breaker, retries.

pub mod circuit_breaker;
pub mod exchange;
pub mod origin;
pub mod proofs;
pub mod retry_budget;
pub mod token_scanner;
pub mod upstream_timer;
