//! map

pub mod access_log;
pub mod admin;
pub mod app;
pub mod backoff;
pub mod body;
pub mod cache;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod domain;
pub mod guard;
pub mod inspect;
pub mod json;
pub mod limit;
pub mod links;
pub mod metrics;
pub mod oauth;
pub mod proxy;
pub mod rewrite;
pub mod rfc9111;
pub mod server;
pub mod simulator;
pub mod single_flight;
