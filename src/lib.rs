//! A local caching reverse proxy for the Talkdesk Billing Insights API.
//!
//! This page is the map. It lists the floors of the house from the ground up; **a module imports only modules
//! listed before it**, and `tests/architecture.rs` checks that against this very list.
//!
//! # The path of a request
//!
//! ```text
//! hyper ─ [ envelope: request id · observe · load shed ] ─ Proxy::answer ─ Origin ─ [ client: connect · TLS · pool ]
//!                                                               │
//!          guard → tenant → entitlement → cache lookup → (miss) limit → token → send → check → store
//! ```
//!
//! A layer wraps; a step decides. tower stands at both edges, where a concern does not care who is asking. In
//! the middle is one function, [`proxy::Proxy::answer`], a sequence of named steps with `?`.
//!
//! # What always holds
//!
//! - **A permit is a proof.** [`domain::entitlement::Permit`] has private fields and is made by the entitlement
//!   alone; neither the cache nor upstream can be asked without one. "Refused before anything goes upstream" is
//!   checked by the compiler.
//! - **The credential comes first in every key**: of tokens, cache entries, flights and limits. What was fetched
//!   for one Instance alone has that in its key too.
//! - **Every ending has a name**: `Denial`, `Rejection`, `Bypass`; one exhaustive match gives it status, code,
//!   words and metric label.
//! - **Time is an argument.** Only [`clock`] asks the system for it.
//! - **An answer is read whole and checked before a word of it is given out**, but for one too large for
//!   memory, and under a plain rule for one that takes its time ([`proxy::early`]): those streams break off before
//!   their end where something is wrong with them.
//! - **Secrets** live in types that can't be printed, and only [`oauth::grant`] looks inside.
//!
//! # The floors

// F0: what is true without a network.
pub mod version;
pub mod domain;
pub mod rfc9111;
pub mod clock;
pub mod timestamp;
pub mod json;
pub mod links;
pub mod inspect;
pub mod rewrite;
// F1: the configuration, and tools that know nothing of requests.
pub mod config;
pub mod metrics;
pub mod body;
pub mod joined_writes;
pub mod single_flight;
pub mod backoff;
pub mod client;
pub mod guard;
pub mod request_id;
pub mod prepared_head;
pub mod line_writer;
pub mod access_log;
pub mod audit;
pub mod service_manager;
// F2: the three things that have state.
pub mod limit;
pub mod oauth;
pub mod cache;
// F3: the only floor that knows the order of things.
pub mod proxy;
// F4: what stands beside it.
pub mod server;
pub mod simulator;
pub mod reload;
pub mod admin;
// F5: where everything is constructed and started.
pub mod app;
pub mod cli;
