//! What a simulator is started with: its address, its tenants, and its quirks, which say how it behaves where
//! Talkdesk's documentation leaves the behaviour open.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::tenants::{self, Client, Instance, Tenant};

/// How to start a simulator.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address to listen on. Port 0 selects a free port.
    pub listen: SocketAddr,
    /// Whether to serve HTTPS (HTTP/1.1 and HTTP/2) with a certificate generated at start, instead of plain HTTP/1.1.
    pub tls: bool,
    /// The base of links and token URLs, if it differs from the listening address.
    pub public_url: Option<String>,
    /// How long a token is valid.
    pub token_lifetime: Duration,
    /// The largest `per_page` that the API accepts.
    pub max_per_page: u64,
    /// The rate limit of the API. `None` means no limit.
    pub rate_limit: Option<RateLimit>,
    /// The behaviour where Talkdesk's documentation leaves it open.
    pub quirks: Quirks,
    /// All tenants.
    pub tenants: Vec<Tenant>,
}

/// A rate limit of the API. Each client has its own allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests per second in the long run.
    pub per_second: u32,
    /// Requests that a client may send at once after a pause.
    pub burst: u32,
    /// Whether a 429 has `Retry-After`.
    pub retry_after: bool,
}

/// How the simulator behaves where Talkdesk's documentation leaves the behaviour open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "the quirks are independent, and a test can combine them")]
pub struct Quirks {
    /// API answers say `Cache-Control: no-store`.
    pub no_store: bool,
    /// The `Cache-Control` of API answers. `None` means that they have no such field.
    pub cache_control: Option<String>,
    /// API answers say `Vary: Authorization`.
    pub vary_authorization: bool,
    /// API answers have no `ETag`.
    pub no_etag: bool,
    /// Bodies write every slash as `\/`.
    pub escape_slashes: bool,
    /// Token answers have no `scope`.
    pub omit_scope: bool,
    /// The `scope` of a token answer contains `%3A` instead of each colon.
    pub encode_scope: bool,
    /// Access tokens are about 3 KiB long.
    pub long_tokens: bool,
    /// The name of the record member that contains the account's id. Filters use the same name.
    pub account_field: String,
    /// What the API does with `filter`.
    pub filter: FilterMode,
    /// The filter operators and functions that the API refuses.
    pub missing_operators: Vec<Operator>,
    /// A filter that names an account outside the Organization selects no record. Without this quirk, the API
    /// answers 403.
    pub foreign_accounts_are_empty: bool,
    /// The API refuses unknown query parameters. Without this quirk, it ignores them.
    pub refuse_unknown_parameters: bool,
    /// Pages have no `count`, `total` and `total_pages`.
    pub omit_counts: bool,
    /// The links `next` and `prev` contain `cursor` instead of `page`.
    pub cursors: bool,
    /// The answer to a request for a page after the last one.
    pub beyond_end: BeyondEnd,
    /// `/express/accounts` ends with three more accounts: the name of the first is null, the second has no name,
    /// and the third has no id.
    pub nameless_accounts: bool,
    /// After this number of invoice pages, a tenant has one more invoice line, which comes first.
    pub insert_after: Option<u64>,
    /// The API answers a permitted request with status 200 and an error in the body.
    pub error_in_200: bool,
}

/// What the API does with the parameter `filter`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FilterMode {
    /// It answers with the records that the filter selects.
    #[default]
    Applied,
    /// It ignores the filter.
    Ignored,
    /// It answers 400.
    Refused,
}

/// The answer to a request for a page after the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BeyondEnd {
    /// 200 with an empty list.
    #[default]
    Empty,
    /// 404.
    NotFound,
}

/// An operator or function of filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each has the name that a filter uses")]
pub enum Operator {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
    In,
    Contains,
    StartsWith,
    EndsWith,
    And,
    Or,
    Not,
}

impl Operator {
    /// The name that a filter uses.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Ne => "ne",
            Self::Gt => "gt",
            Self::Ge => "ge",
            Self::Lt => "lt",
            Self::Le => "le",
            Self::In => "in",
            Self::Contains => "contains",
            Self::StartsWith => "startswith",
            Self::EndsWith => "endswith",
            Self::And => "and",
            Self::Or => "or",
            Self::Not => "not",
        }
    }
}

impl Options {
    /// Options with plain HTTP on a free loopback port and the default behaviour.
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

    /// Options with generated Organizations (`organization-1`, `organization-2` and so on), for tests with many tenants.
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

/// Options with the sample tenants. The Organizations are `acme`, `northwind`, `soylent` and `stark`. The direct
/// customers are `globex`, `hooli`, `umbrella` and `wonka`. `initech` is a customer of a reseller.
#[must_use]
pub fn samples() -> Options {
    Options::new(tenants::samples())
}
