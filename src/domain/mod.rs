//! What is true without a network: who the tenants are, what the endpoints are, and who may ask for what.
//!
//! Pure data and functions. No serialization, no runtime, no sockets, no clock: time and what was
//! learned from Talkdesk come in as arguments, so that every rule can be tested as a table.

pub mod credential;
mod denial;
pub mod endpoint;
pub mod entitlement;
pub mod filter;
pub mod id;
pub mod learned;
mod policy;
pub mod query;
pub mod region;
pub mod target;
pub mod tenant;
