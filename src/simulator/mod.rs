//! A simulated Talkdesk: token endpoint and Billing Insights API on one address, so that a tool can be developed
//! and tested without a network.
//!
//! It implements what Talkdesk documents. Where the documentation is silent it implements one reading by default,
//! and the others on request (see [`Quirks`]). Paths: `/{account}/oauth/token` issues tokens, `/express/...`
//! answers billing data, `/_simulator/...` shows counters and takes [`Fault`]s and [`Quirks`].
//!
//! It shares no code with the proxy but the clock, so that it cannot repeat a mistake of the proxy. Data cannot be
//! changed, and nothing is kept between two runs.

mod json;
mod lock;
mod tenants;
mod endpoint;
mod records;
mod filter;
mod options;
mod reply;
mod counters;
mod credentials;
mod faults;
mod state;
mod control;
mod identity;
mod query;
mod page;
mod api;
mod server;

#[cfg(test)]
mod tests;

pub use control::Control;
pub use counters::{ApiCounters, Counters, TokenCounters};
pub use credentials::{Credential, Secret};
pub use faults::{Fault, FaultError, FaultKind, Target};
pub use filter::Operator;
pub use options::{BeyondEnd, FilterMode, Options, Quirks, RateLimit, samples};
pub use server::{Simulator, StartError};
pub use tenants::{Algorithm, Authentication, Client, Instance, Scope, Tenant};
