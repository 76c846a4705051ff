//! The domain: tenants, endpoints, and the rules of who may request what.
//!
//! Data and pure functions only: no serialization, runtime, sockets or clock. Time and facts learned from
//! Talkdesk are arguments, so every rule can be tested with a table.

mod access_request;
pub mod credential;
mod denial;
pub mod endpoint;
pub mod entitlement;
pub mod filter;
pub mod id;
pub mod learned;
mod narrow;
mod policy;
pub mod query;
pub mod region;
pub mod target;
pub mod tenant;
pub mod tenant_name;
