//! The configuration: one YAML file, checked as a whole.
//!
//! Reading has two steps. The files of the sections (`server`, `upstream`, ...) walk the tree of `node` with
//! the `reader` and turn every value into a type, noting each fault with line, column and the path of its
//! key instead of stopping at the first. `check` and `tenants` then hold the values against each other. What
//! comes out is a [`Config`]: nothing downstream checks any of it again.
//!
//! Secrets are read here too, because a tenant's missing secret is that tenant's trouble and not the
//! file's: such a credential is there without one, and says why.
//!
//! Deliberately absent: includes, templates, environment variables inside values (secrets have `env:`), and
//! any second format.

mod address;
mod cache;
mod check;
mod credential;
mod endpoints;
pub mod environment;
pub mod fault;
pub mod forwarding;
mod limits;
mod listeners;
mod load;
mod node;
mod output;
mod policy;
mod reader;
pub mod schema;
pub mod secret;
mod seller;
mod server;
mod spelling;
mod tenant_entry;
mod tenants;
mod upstream;
mod value;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, StatusCode, Uri};

use crate::domain::credential::Credential;
use crate::domain::endpoint::Endpoint;
use crate::domain::entitlement::Policy;
use crate::domain::tenant::{TenantName, Tenants};

pub use environment::Environment;
pub use fault::{Fault, Faults, Severity};
pub use listeners::{DataListener, UnixSocket};
pub use load::{load, parse};
pub use secret::SecretPlace;

/// A configuration that can be served.
#[derive(Debug)]
pub struct Config {
    /// The listeners, and who may speak to them.
    pub server: Server,
    /// The API behind the proxy.
    pub upstream: Upstream,
    /// The operator's part in the entitlement.
    pub policy: Policy,
    /// How long entries of a rejected credential may still be served.
    pub rejected_grace: Duration,
    /// The closed list of endpoints with the cache rule of each, in the order of `Endpoint::position`.
    pub endpoints: Vec<ConfiguredEndpoint>,
    /// Everybody whose data can be asked for.
    pub tenants: Tenants,
    /// The OAuth clients, one per owner.
    pub credentials: Vec<ConfiguredCredential>,
    /// How fast, and how much at once.
    pub limits: Limits,
    /// The response cache as a whole.
    pub cache: Cache,
    /// What is written about requests.
    pub log: Log,
    /// What is counted per tenant.
    pub metrics: Metrics,
    /// What is no fault but should be known: shown by `check` and logged at start.
    pub warnings: Vec<Fault>,
}

impl Config {
    /// Whether anything is asked over TLS: not so where a simulated Talkdesk stands in.
    #[must_use]
    pub fn needs_tls(&self) -> bool {
        let urls = self.credentials.iter().flat_map(|configured| {
            let credential = &configured.credential;
            [&credential.token_url, &credential.api_origin]
        });
        urls.into_iter().any(|url| url.starts_with("https:"))
    }
}

/// The listeners, and who may speak to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where clients ask for billing data.
    pub listen: Listen,
    /// Where the operator looks and purges.
    pub admin: Listen,
    /// A third listener with metrics and health alone.
    pub metrics: Option<Listen>,
    /// More data listeners, each for some tenants only.
    pub listeners: Vec<DataListener>,
    /// Who may open the files of those that are Unix sockets.
    pub unix_socket: UnixSocket,
    /// The status that replaces the 403 of a denial.
    pub denial_status: StatusCode,
    /// The base of rewritten links, without a slash at the end; unset: the client's scheme and Host.
    pub public_url: Option<Arc<str>>,
    /// Names that `Host` may have, lower-case and without ports.
    pub allowed_hosts: Vec<String>,
    /// Origins whose browser pages may ask, beside the listener's own.
    pub allowed_origins: Vec<String>,
    /// Who may connect to a TCP listener; empty: everybody that can reach it.
    pub allowed_peers: Vec<ipnet::IpNet>,
    /// Whom a request is for that names nobody.
    pub default_tenant: Option<TenantName>,
    /// How long accepting goes on after SIGTERM.
    pub drain_delay: Duration,
    /// How long requests in flight then have.
    pub drain_timeout: Duration,
    /// Connections open at once, over all listeners.
    pub max_connections: usize,
    /// Requests in flight at once on the data listener.
    pub max_requests_in_flight: usize,
    /// How long a client may take to send a request's head.
    pub header_timeout: Duration,
    /// Whether the configuration is read again when its file or a secret changes.
    pub watch: bool,
}

/// An address to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `127.0.0.1:8080`; port 0 picks a free one.
    Tcp(SocketAddr),
    /// `unix:/run/billing-insights-proxy/proxy.sock`.
    Unix(PathBuf),
}

/// The API behind the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// How long a connection may take to be made, TLS included.
    pub connect_timeout: Duration,
    /// How long a whole request may take: waiting, token, retry and body.
    pub request_timeout: Duration,
    /// How long a client waits for upstream where a stale entry is in hand.
    pub stale_wait: Duration,
    /// The largest body that is taken from upstream, after decompression.
    pub max_response_bytes: u64,
    /// The largest body that is taken from a client, for methods that have one.
    pub max_request_bytes: u64,
    /// Certificate authorities beside the system's.
    pub ca_file: Option<PathBuf>,
    /// The forward proxy; none: `HTTPS_PROXY` and `NO_PROXY` decide.
    pub proxy: Option<Uri>,
    /// The life of a token whose answer does not say.
    pub default_token_lifetime: Duration,
}

/// An endpoint and what may be kept of it.
#[derive(Clone, Debug)]
pub struct ConfiguredEndpoint {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Its cache rule.
    pub rule: Rule,
}

/// What may be kept of an endpoint's answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// RFC 9111 as written, none of our additions.
    Plain,
    /// Our rule, which may take the place of the origin's.
    Ours(OurRule),
}

/// A cache rule with additions to RFC 9111.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OurRule {
    /// For how long an answer is fresh; zero: it is not stored. Unset: the origin decides.
    pub ttl: Option<Duration>,
    /// How long after that it may be served while a fresh one is fetched (RFC 5861).
    pub stale_while_revalidate: Duration,
    /// How long after that it may be served where a fresh one can't be had (RFC 5861).
    pub stale_if_error: Duration,
    /// Which of the origin's directives the rule takes the place of.
    pub overrides: Overrides,
    /// A client's `no-cache` does not reach an entry younger than this.
    pub min_refresh: Duration,
    /// The statuses that may be stored.
    pub statuses: Vec<StatusCode>,
    /// For how long an answer about a period that is over is fresh, in the place of `ttl`.
    pub closed_period: Option<ClosedPeriod>,
}

/// What is said of periods that are over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedPeriod {
    /// The attribute whose upper bound in the query's `filter` ends the period.
    pub attribute: Arc<str>,
    /// How long after its end a period may still change.
    pub settle: Duration,
    /// For how long an answer is fresh then.
    pub ttl: Duration,
}

/// Which of the origin's directives our rule takes the place of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Overrides {
    /// Every one of [`OriginDirective`].
    All,
    /// These.
    Listed(Vec<OriginDirective>),
}

/// A statement of the origin about caching that a rule can override.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginDirective {
    /// `no-store`
    NoStore,
    /// `no-cache`
    NoCache,
    /// `private`
    Private,
    /// `must-revalidate`
    MustRevalidate,
    /// `proxy-revalidate`
    ProxyRevalidate,
    /// `max-age`
    MaxAge,
    /// `s-maxage`
    SMaxage,
    /// The field `Expires`
    Expires,
    /// The field `Pragma`
    Pragma,
    /// `Vary: *`
    VaryAny,
}

/// An OAuth client with what it proves itself by.
#[derive(Debug)]
pub struct ConfiguredCredential {
    /// The client.
    pub credential: Arc<Credential>,
    /// How it proves itself at the token endpoint.
    pub authentication: Authentication,
    /// Its secret or private key; or why there is none.
    pub secret: Result<secret::Secret, secret::SecretUnavailable>,
    /// Where that was read.
    pub place: SecretPlace,
}

impl ConfiguredCredential {
    /// Whether it proves itself by the same secret as another, in the same way.
    #[must_use]
    pub fn proves_itself_as(&self, other: &Self) -> bool {
        let same_secret = match (&self.secret, &other.secret) {
            (Ok(one), Ok(other)) => one.expose() == other.expose(),
            (Err(one), Err(other)) => one == other,
            _ => false,
        };
        same_secret && self.authentication == other.authentication
    }
}

/// How a client proves itself at the token endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// RFC 6749, section 2.3.1.
    ClientSecretBasic {
        /// Whether id and secret are form-encoded first.
        encoding: BasicEncoding,
    },
    /// RFC 7523.
    PrivateKeyJwt {
        /// The `kid` of the assertion's header.
        key_id: Option<Arc<str>>,
        /// How the assertion is signed.
        algorithm: Algorithm,
    },
}

/// What is done to a client's id and secret before they become a Basic credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BasicEncoding {
    /// Nothing, as Talkdesk documents it.
    #[default]
    Plain,
    /// They are form-encoded, as RFC 6749 has it.
    Rfc6749,
}

/// How an assertion is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

/// How fast, and how much at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Towards the API, per credential.
    pub upstream: UpstreamLimit,
    /// Per client, for what would go upstream; off unless configured.
    pub client: Option<ClientLimit>,
    /// Towards the token endpoint, per credential.
    pub token: Rate,
}

/// The limit of one credential towards the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamLimit {
    /// Requests over time.
    pub rate: Rate,
    /// Requests at once.
    pub concurrency: usize,
    /// How long a request waits for its turn.
    pub max_wait: Duration,
    /// The longest pause that upstream can ask for.
    pub max_pause: Duration,
}

/// The limit of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientLimit {
    /// Requests over time.
    pub rate: Rate,
    /// The request field that tells clients apart, where it is sent.
    pub key_field: Option<HeaderName>,
}

/// So many requests in so much time, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The time between two requests in the long run; more than zero.
    pub interval: Duration,
    /// Requests that may come at once; at least 1.
    pub burst: std::num::NonZeroU32,
}

/// The response cache as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// The memory that entries may take, bookkeeping counted.
    pub max_bytes: u64,
    /// The largest body that is stored.
    pub max_entry_bytes: u64,
    /// Whether requests for one thing share one request upstream.
    pub collapse: bool,
}

/// What is written about requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// JSON or text.
    pub format: LogFormat,
    /// The least important level that is written, or a filter as `tracing` has it.
    pub level: String,
    /// A line per request.
    pub access: bool,
    /// The file of the audit log; none: there is none.
    pub audit: Option<PathBuf>,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

/// What is counted per tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Whether series carry tenants at all.
    pub tenants: bool,
    /// The most tenants with series of their own; the rest are counted as `other`.
    pub max_tenants: usize,
}
