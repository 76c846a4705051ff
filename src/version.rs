//! The name of the program, and its version and revision.

/// The proxy's name in `Via`, `Cache-Status`, `Proxy-Status` and logs.
pub const NAME: &str = "billing-insights-proxy";

/// The version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit, or what packaging says in its place; `unknown` where neither was there (`build.rs`).
pub const REVISION: &str = env!("BILLING_INSIGHTS_PROXY_REVISION");

/// Both, as `--version` tells them.
pub const VERSION_AND_REVISION: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (revision ", env!("BILLING_INSIGHTS_PROXY_REVISION"), ")");
