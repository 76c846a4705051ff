//! map

pub mod backoff;
pub mod body;
pub mod client;
pub mod clock;
pub mod config;
pub mod domain;
pub mod inspect;
pub mod json;
pub mod limit;
pub mod links;
pub mod metrics;
pub mod oauth;
pub mod rewrite;
pub mod rfc9111;
pub mod simulator;
pub mod single_flight;
