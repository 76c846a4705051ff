//! A local caching reverse proxy for the Talkdesk Billing Insights API.
//!
//! The modules below are listed from the lowest layer to the highest; **a module imports only modules listed before
//! it**. `tests/architecture.rs` reads this list and checks the rule. `docs/architecture.md` follows a request through
//! the modules.
//!
//! # The path of a request
//!
//! The core is one function, [`proxy::Proxy::answer`]: guard, route, authorize, look up. It ends with a hit or a
//! [`problem::Rejection`], or [`proxy::Proxy::answer_later`] obtains a response:
//!
//! - [`fetch::fetcher::Fetcher`] reuses what is stored, or fetches once for all who wait;
//! - [`fetch::run`] is one fetch: send, read, validate, store;
//! - [`upstream::origin::Origin`] sends a request with a token and within the rate limit.
//!
//! [`proxy::envelope`] wraps the core on the side of the client, [`io::client`] on the side of Talkdesk.
//!
//! # Invariants
//!
//! - **A permit proves the entitlement.** [`domain::entitlement::Permit`] has private fields and only the
//!   entitlement constructs it. The cache and upstream can't be queried without one, so the compiler checks that a
//!   denied request never goes upstream.
//! - **Every key begins with the credential**: keys of tokens, cache entries, request collapsing and limits. The key
//!   of a response that was fetched for one Instance also contains that Instance's account.
//! - **Every outcome has a type**: `Denial`, `Rejection`, `Bypass`. One exhaustive match assigns status, code, text
//!   and metric label.
//! - **Time is an argument.** Only [`clock`] reads the system's clocks.
//! - **A response is read completely and checked before any of it is sent to the client.**
//! - **Secrets** have types that can't be printed. Only [`oauth`] uses their content.
//!
//! # The layers

// Without a network.
pub mod version;
pub mod domain;
pub mod rfc9111;
pub mod clock;
pub mod timestamp;
pub mod page;
// The configuration, and tools that do not depend on the handling of requests.
pub mod config;
pub mod metrics;
pub mod single_flight;
pub mod backoff;
pub mod guard;
pub mod log;
pub mod headers;
pub mod io;
pub mod service_manager;
// The three modules with state: limits, tokens and the cache.
pub mod limit;
pub mod oauth;
pub mod cache;
// The path of a request.
pub mod problem;
pub mod upstream;
pub mod snapshot;
pub mod fetch;
pub mod accounts;
pub mod proxy;
// What looks at it, and what changes it.
pub mod explain;
pub mod preflight;
pub mod reload;
// Listeners, the simulator and the admin plane.
pub mod server;
pub mod simulator;
pub mod admin;
// Construction and startup.
pub mod app;
pub mod cli;
