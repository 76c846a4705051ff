//! map

pub mod domain;
pub mod rfc9111;
pub mod clock;
pub mod json;
pub mod links;
pub mod inspect;
pub mod rewrite;
pub mod config;
pub mod metrics;
pub mod body;
pub mod single_flight;
pub mod client;
pub mod backoff;
pub mod limit;
pub mod oauth;
pub mod simulator;
