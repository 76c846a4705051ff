//! What a simulator is started with: where it listens, its tenants, and how it behaves where Talkdesk's
//! documentation is silent. Ready-made tenants are in `samples` and [`Options::synthetic`].

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::filter::Operator;
use super::tenants::{self, Client, Instance, Tenant};

/// How to start a simulator.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Serve HTTPS (HTTP/1.1 and HTTP/2) with a certificate made at start, instead of plain HTTP/1.1.
    pub tls: bool,
    /// The base of absolute links and token URLs, where it is not the listening address.
    pub public_url: Option<String>,
    /// How long a token is valid.
    pub token_lifetime: Duration,
    /// The largest `per_page` that is accepted.
    pub max_per_page: u64,
    /// How many requests a client may send to the API; none means without limit.
    pub rate_limit: Option<RateLimit>,
    /// What Talkdesk's documentation leaves open.
    pub quirks: Quirks,
    /// All tenants.
    pub tenants: Vec<Tenant>,
}

/// The API's rate limit, which each client has to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests per second in the long run.
    pub per_second: u32,
    /// Requests that may come at once after a pause.
    pub burst: u32,
    /// Whether a 429 has `Retry-After`.
    pub retry_after: bool,
}

/// How the API behaves where Talkdesk's documentation is silent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent, and any combination is possible")]
pub struct Quirks {
    /// API answers say `Cache-Control: no-store`.
    pub no_store: bool,
    /// The `Cache-Control` of API answers; none sends no such field.
    pub cache_control: Option<String>,
    /// API answers say `Vary: Authorization`.
    pub vary_authorization: bool,
    /// API answers have no `ETag`.
    pub no_etag: bool,
    /// Bodies write every slash as `\/`.
    pub escape_slashes: bool,
    /// Token answers have no `scope`.
    pub omit_scope: bool,
    /// The `scope` of a token answer has `%3A` in place of each colon.
    pub encode_scope: bool,
    /// Access tokens are about 3 KiB long.
    pub long_tokens: bool,
    /// The member of a record that has the account's id, which is also the filter's attribute.
    pub account_field: String,
    /// What the API does with `filter`.
    pub filter: FilterMode,
    /// The operators and functions of filters that the API refuses.
    pub missing_operators: Vec<Operator>,
    /// A filter that names an account outside the Organization selects nothing, instead of a 403.
    pub foreign_accounts_are_empty: bool,
    /// A parameter that the endpoint does not take is refused, instead of ignored.
    pub refuse_unknown_parameters: bool,
    /// Pages have no `count`, `total` and `total_pages`.
    pub omit_counts: bool,
    /// The links `next` and `prev` have `cursor` in place of `page`.
    pub cursors: bool,
    /// How a page after the last is answered.
    pub beyond_end: BeyondEnd,
    /// `/express/accounts` ends with three more accounts: one whose name is null, one without name, one without id.
    pub nameless_accounts: bool,
    /// After so many invoice pages of a tenant, a new record stands at the front of its invoices.
    pub insert_after: Option<u64>,
    /// Permitted API requests are answered with status 200 and an error in the body.
    pub error_in_200: bool,
}

/// What the API does with `filter`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FilterMode {
    /// Answers the records that it selects.
    #[default]
    Applied,
    /// Answers all records, whatever it says.
    Ignored,
    /// Answers 400.
    Refused,
}

/// How a page after the last is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BeyondEnd {
    /// 200 with an empty list.
    #[default]
    Empty,
    /// 404.
    NotFound,
}

impl Options {
    /// Plain HTTP on a free port, default behaviour, and these tenants.
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

    /// So many Organizations (`organization-1` and on), Instances each and invoice lines each, for tests at scale.
    #[must_use]
    pub fn synthetic(organizations: usize, instances_each: usize, invoices_each: usize) -> Self {
        let tenants = (1..=organizations).map(|organization| {
            let instances = (1..=instances_each).map(|instance| {
                let number = (organization as u128) << 32 | instance as u128;
                Instance::new(
                    format!("5ea7{number:020x}"),
                    format!("instance-{organization}-{instance}"),
                    invoices_each,
                )
            });
            Tenant::organization(
                format!("organization-{organization}"),
                Client::with_secret(format!("c1{organization:014x}")),
                instances.collect(),
            )
        });
        Self::new(tenants.collect())
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
            long_tokens: false,
            account_field: "account_id".to_owned(),
            filter: FilterMode::Applied,
            missing_operators: Vec::new(),
            foreign_accounts_are_empty: false,
            refuse_unknown_parameters: false,
            omit_counts: false,
            cursors: false,
            beyond_end: BeyondEnd::Empty,
            nameless_accounts: false,
            insert_after: None,
            error_in_200: false,
        }
    }
}

/// The sample tenants: `acme`, `northwind`, `soylent` and `stark` are Organizations, `globex`, `hooli`, `umbrella`
/// and `wonka` direct customers, and `initech` is a reseller's.
#[must_use]
pub fn samples() -> Options {
    Options::new(tenants::samples())
}
