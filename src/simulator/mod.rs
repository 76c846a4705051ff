//! A simulated Talkdesk: the token endpoint and the Billing Insights API on one address, so that a tool can be developed
//! and tested without a network.
//!
//! It implements what Talkdesk documents. Where the documentation leaves the behaviour open, [`Quirks`] select it.
//! `/{account}/oauth/token` issues tokens, `/express/...` answers with billing data, and `/_simulator/...` shows
//! counters and accepts [`Fault`]s and [`Quirks`].
//!
//! It shares only the clock with the proxy, so that a mistake of the proxy is not repeated here. The data cannot be
//! changed, and nothing is kept between two runs.

mod tenants;
mod options;
mod records;
mod filter;
mod reply;
mod paging;
mod faults;
mod counters;
mod credentials;
mod state;
mod token_endpoint;
mod api;
mod control;
mod server;

#[cfg(test)]
mod tests;

pub use control::Control;
pub use counters::{ApiCounters, Counters, TokenCounters};
pub use credentials::Credential;
pub use faults::{Fault, FaultError, FaultKind, Target};
pub use options::{BeyondEnd, FilterMode, Operator, Options, Quirks, RateLimit, samples};
pub use server::{Simulator, StartError};
pub use tenants::{Algorithm, Authentication, Client, Endpoint, Instance, Tenant};
