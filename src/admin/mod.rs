//! The admin plane: metrics, health, and the state of the proxy, for the operator.
//!
//! It has its own listener, so that clients of the data plane can't reach it. An optional third listener serves
//! only metrics and health, for networks that may scrape but not see the rest.
//!
//! Health covers only this process: an outage of Talkdesk must not cause a restart of a healthy proxy.

mod api;
mod audit;
mod entitlement;
mod entries;
mod failing;
mod history;
mod page;
mod parameters;
mod purge;
mod reload;
mod reply;
mod service;

pub(crate) use service::{Admin, Scope};
