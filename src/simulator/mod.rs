//! A simulated Talkdesk: identity and Billing Insights API on one address, so that a tool can be developed and
//! tested without a network.
//!
//! It plays what Talkdesk documents, and what it leaves open both ways (see [`Quirks`]). Paths:
//! `/{account}/oauth/token` issues tokens, `/express/...` answers billing data, `/_simulator/...` counts requests
//! and installs [`Fault`]s.
//!
//! Deliberately absent: anything of the proxy. No code is shared with it but the clock, so that a mistake of the
//! proxy is not mirrored here. Data can't be changed, and nothing is kept between two runs.

mod answer;
mod api;
mod api_errors;
mod bearer;
mod certificate;
mod client_assertion;
mod client_authentication;
mod control;
mod control_paths;
mod counters;
mod credentials;
mod endpoint;
mod faults;
mod faulty;
mod identity;
mod invoices;
mod json_text;
mod listener;
mod lock;
mod options;
mod page;
mod query;
mod rate_limit;
mod records;
mod representation;
mod request_body;
mod router;
mod samples;
mod scope;
mod selection;
mod start;
mod tenants;
mod tokens;
mod walks;
mod world;

#[cfg(test)]
mod tests;

pub use control::Control;
pub use counters::{ApiCounters, Counters, TokenCounters};
pub use credentials::{Credential, Secret};
pub use faults::{Fault, FaultError, FaultKind, Target};
pub use options::{Options, Quirks, RateLimit};
pub use samples::samples;
pub use scope::Scope;
pub use start::{Simulator, StartError};
pub use tenants::{Algorithm, Authentication, Client, Instance, Tenant};
