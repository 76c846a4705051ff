//! What a simulator is started with: where it listens, whom it knows, and how it behaves where Talkdesk's
//! documentation is silent.
//!
//! Deliberately absent: reading these from a file, and the sample tenants (`samples.rs`).

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::tenants::Tenant;

/// How to start a simulator.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Serve HTTPS (HTTP/1.1 and HTTP/2) with a certificate made at start, instead of plain HTTP/1.1.
    pub tls: bool,
    /// The base of every absolute link and of token URLs, where it is not the listening address: behind a port
    /// mapping, for instance.
    pub public_url: Option<String>,
    /// How long a token is good.
    pub token_lifetime: Duration,
    /// The largest `per_page` that is accepted.
    pub max_per_page: u64,
    /// How many requests a client may send to the API; none means as many as it likes.
    pub rate_limit: Option<RateLimit>,
    /// What Talkdesk's documentation leaves open.
    pub quirks: Quirks,
    /// Everybody who exists.
    pub tenants: Vec<Tenant>,
}

/// The API's rate limit, for each client on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests per second in the long run.
    pub per_second: u32,
    /// Requests that may come at once after a pause.
    pub burst: u32,
    /// Whether a 429 says when to come back.
    pub retry_after: bool,
}

/// The unknowns of the API, each to be played either way.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is an unknown of its own, in any combination")]
pub struct Quirks {
    /// Every API answer says `Cache-Control: no-store`.
    pub no_store: bool,
    /// The `Cache-Control` of API answers; none sends no such field.
    pub cache_control: Option<String>,
    /// Every API answer says `Vary: Authorization`.
    pub vary_authorization: bool,
    /// API answers carry no `ETag`.
    pub no_etag: bool,
    /// Bodies write every slash as `\/`, as some JSON writers do.
    pub escape_slashes: bool,
    /// A token answer has no `scope`.
    pub omit_scope: bool,
    /// The `scope` of a token answer writes the colons as `%3A`.
    pub encode_scope: bool,
    /// The account parameter narrows nothing: everything under the Organization is answered.
    pub ignore_account_parameter: bool,
    /// The member of a record that carries the account's id.
    pub account_field: String,
    /// The query parameter that narrows to accounts.
    pub account_parameter: String,
    /// After so many invoice pages of a tenant, a new record stands at the front of its invoices.
    pub insert_after: Option<u64>,
}

impl Options {
    /// Plain HTTP on a free port, documented behaviour, and these tenants.
    #[must_use]
    pub fn new(tenants: Vec<Tenant>) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: false,
            public_url: None,
            token_lifetime: Duration::from_mins(10),
            max_per_page: 100,
            rate_limit: None,
            quirks: Quirks::default(),
            tenants,
        }
    }
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            no_store: false,
            cache_control: None,
            vary_authorization: false,
            no_etag: false,
            escape_slashes: false,
            omit_scope: false,
            encode_scope: false,
            ignore_account_parameter: false,
            account_field: "account_id".to_owned(),
            account_parameter: "account_id".to_owned(),
            insert_after: None,
        }
    }
}
