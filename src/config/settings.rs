//! The configuration as the rest of the program sees it: values with their types and units.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, StatusCode, Uri};

use super::fault::Fault;
use super::secret::SecretPlace;
use crate::domain::credential::Credential;
use crate::domain::endpoint::Endpoint;
use crate::domain::entitlement::Policy;
use crate::domain::tenant::{TenantName, Tenants};

/// A valid configuration.
#[derive(Debug)]
pub struct Config {
    /// Listeners, and who may connect to them.
    pub server: Server,
    /// The API behind the proxy.
    pub upstream: Upstream,
    /// The part of the entitlement rules that the operator configures.
    pub policy: Policy,
    /// How long cache entries may be served after their credential was rejected.
    pub rejected_grace: Duration,
    /// The endpoints with their cache rules, in the order of `Endpoint::position`.
    pub endpoints: Vec<ConfiguredEndpoint>,
    /// The tenants.
    pub tenants: Tenants,
    /// The OAuth clients, one per owner.
    pub credentials: Vec<ConfiguredCredential>,
    /// Limits of request rates and concurrency.
    pub limits: Limits,
    /// Settings of the response cache.
    pub cache: Cache,
    /// Settings of the logs.
    pub log: Log,
    /// Settings of the metrics per tenant.
    pub metrics: MetricsSettings,
    /// Warnings: `check` shows them, and they are logged at startup.
    pub warnings: Vec<Fault>,
}

impl Config {
    /// Whether any upstream URL is HTTPS. A simulated Talkdesk may use plain HTTP.
    #[must_use]
    pub fn needs_tls(&self) -> bool {
        let urls = self.credentials.iter().flat_map(|configured| {
            let credential = &configured.credential;
            [&credential.token_url, &credential.api_origin]
        });
        urls.into_iter().any(|url| url.starts_with("https:"))
    }
}

/// Listeners, and who may connect to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The address of the data plane.
    pub listen: Listen,
    /// The address of the admin plane.
    pub admin: Listen,
    /// The address of an additional listener for metrics and health only.
    pub metrics: Option<Listen>,
    /// Additional data listeners, each for some tenants only.
    pub listeners: Vec<DataListener>,
    /// The permissions of the files of Unix sockets.
    pub unix_socket: UnixSocket,
    /// The status of denials, instead of 403.
    pub denial_status: StatusCode,
    /// The base URL of rewritten links, without a trailing slash; `None` for the client's scheme and `Host`.
    pub public_url: Option<Arc<str>>,
    /// The allowed values of `Host`, in lower case and without port.
    pub allowed_hosts: Vec<String>,
    /// Origins whose browser pages may send requests, besides the listener's own.
    pub allowed_origins: Vec<String>,
    /// Networks that may connect to a TCP listener; empty for all.
    pub allowed_peers: Vec<ipnet::IpNet>,
    /// The tenant of requests that name none.
    pub default_tenant: Option<TenantName>,
    /// How long new connections are accepted after SIGTERM.
    pub drain_delay: Duration,
    /// How long requests in flight may take after that.
    pub drain_timeout: Duration,
    /// The maximum number of open connections, over all data listeners.
    pub max_connections: usize,
    /// The maximum number of requests in flight, over all data listeners.
    pub max_requests_in_flight: usize,
    /// How long a client may take to send a request's head.
    pub header_timeout: Duration,
    /// Whether a change of the file or of a secret file triggers a reload.
    pub watch: bool,
}

/// A data listener that serves only the listed tenants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataListener {
    /// The listening address.
    pub listen: Listen,
    /// The tenants that requests may name. Other tenants do not exist on this listener; an Instance is not
    /// included with its Organization.
    pub tenants: HashSet<TenantName>,
    /// The tenant of requests that name none.
    pub default_tenant: Option<TenantName>,
}

/// The permissions of the files of Unix sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnixSocket {
    /// The file's permission bits.
    pub mode: u32,
    /// The id of the group that owns the file; `None` for the group of the process.
    pub group: Option<u32>,
}

impl Default for UnixSocket {
    fn default() -> Self {
        Self { mode: 0o600, group: None }
    }
}

/// A listening address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Such as `127.0.0.1:8080`; port 0 lets the system choose a free port.
    Tcp(SocketAddr),
    /// Such as `unix:/run/billing-insights-proxy/proxy.sock`.
    Unix(PathBuf),
}

/// The API behind the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The time limit for a connection setup, TLS included.
    pub connect_timeout: Duration,
    /// The time limit for a whole request: waiting, token, retries and body.
    pub request_timeout: Duration,
    /// How long a client waits for upstream before it gets a stale entry.
    pub stale_wait: Duration,
    /// The largest response body accepted from upstream, after decompression, in bytes.
    pub max_response_bytes: u64,
    /// The memory that response bodies being read may take together, in bytes.
    pub max_buffered_bytes: u64,
    /// A file with certificate authorities in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// The forward proxy; `None` to use `HTTPS_PROXY` and `NO_PROXY`.
    pub proxy: Option<Uri>,
    /// The lifetime of a token whose response has no `expires_in`.
    pub default_token_lifetime: Duration,
}

/// An endpoint and its cache rule.
#[derive(Clone, Debug)]
pub struct ConfiguredEndpoint {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// The cache rule.
    pub rule: CacheRule,
}

/// The cache rule of an endpoint. The default leaves everything to the origin, as RFC 9111 says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheRule {
    /// The freshness lifetime; zero: responses are not stored; `None`: the origin decides.
    pub ttl: Option<Duration>,
    /// How long a stale response may be served while it is revalidated (RFC 5861, section 3).
    pub stale_while_revalidate: Duration,
    /// How long a stale response may be served if upstream fails (RFC 5861, section 4).
    pub stale_if_error: Duration,
    /// The origin's directives that the rule overrides.
    pub overrides: Overrides,
    /// The minimum age at which a client's `no-cache` takes effect on an entry.
    pub min_refresh: Duration,
    /// The status codes that may be stored; `None`: those that RFC 9111 permits.
    pub statuses: Option<Vec<StatusCode>>,
    /// The rule for periods that are over; its `ttl` replaces the one above.
    pub closed_period: Option<ClosedPeriod>,
}

/// The cache rule for periods that are over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedPeriod {
    /// The attribute whose upper bound in the query's `filter` is the end of the period.
    pub attribute: Arc<str>,
    /// How long after its end a period may still change.
    pub settle: Duration,
    /// The freshness lifetime after that.
    pub ttl: Duration,
}

/// The origin's directives that a rule overrides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Overrides {
    /// All of [`OriginDirective`].
    All,
    /// Only these.
    Listed(Vec<OriginDirective>),
}

impl Default for Overrides {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

/// A cache directive or field of the origin that a rule can override.
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

/// An OAuth client and its means of authentication.
#[derive(Debug)]
pub struct ConfiguredCredential {
    /// The client.
    pub credential: Arc<Credential>,
    /// How the client authenticates at the token endpoint.
    pub authentication: Authentication,
    /// The client secret or private key, or the reason why it is not available.
    pub secret: Result<super::secret::Secret, super::secret::SecretUnavailable>,
    /// The place it was read from.
    pub place: SecretPlace,
}

impl ConfiguredCredential {
    /// Whether both use the same authentication method with the same secret.
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

/// The client authentication method at the token endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// HTTP Basic authentication with the client secret (RFC 6749, section 2.3.1).
    ClientSecretBasic {
        /// The encoding of client id and secret.
        encoding: BasicEncoding,
    },
    /// A signed JWT assertion (RFC 7523).
    PrivateKeyJwt {
        /// The `kid` in the header of the assertion.
        key_id: Option<Arc<str>>,
        /// The signature algorithm of the assertion.
        algorithm: Algorithm,
    },
}

/// The encoding of client id and secret in HTTP Basic authentication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BasicEncoding {
    /// No encoding, as Talkdesk documents it.
    #[default]
    Plain,
    /// Form encoding, as RFC 6749, section 2.3.1 requires.
    Rfc6749,
}

/// The signature algorithm of an assertion (RFC 7518, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `ES256`: ECDSA on P-256 with SHA-256.
    Es256,
    /// `RS256`: RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

/// Limits of request rates and concurrency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests to the API, per credential.
    pub upstream: UpstreamLimit,
    /// Requests that need upstream, per client; `None` for no limit.
    pub client: Option<ClientLimit>,
    /// Requests to the token endpoint, per credential.
    pub token: Rate,
}

/// The limit of requests to the API with one credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamLimit {
    /// The request rate.
    pub rate: Rate,
    /// The maximum number of concurrent requests.
    pub concurrency: usize,
    /// The longest time that a request waits in the queue.
    pub max_wait: Duration,
    /// The longest pause that upstream can request.
    pub max_pause: Duration,
}

/// The limit of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientLimit {
    /// The request rate.
    pub rate: Rate,
    /// A request field that identifies the client, if it is sent.
    pub key_field: Option<HeaderName>,
}

/// A request rate with a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The average time between two requests; more than zero.
    pub interval: Duration,
    /// How many requests may be sent without delay; at least 1.
    pub burst: std::num::NonZeroU32,
}

/// Settings of the response cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// The memory limit for all entries, including overhead, in bytes.
    pub max_bytes: u64,
    /// The largest body that is stored, in bytes.
    pub max_entry_bytes: u64,
    /// Whether concurrent requests for the same resource share one upstream request (request collapsing).
    pub collapse: bool,
}

/// Settings of the logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The format of the log lines.
    pub format: LogFormat,
    /// The minimum level, or a filter in the syntax of `tracing`.
    pub level: String,
    /// Whether the access log is on.
    pub access: bool,
    /// The file of the audit log; `None` to disable it.
    pub audit: Option<PathBuf>,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Text for people.
    Text,
}

/// Settings of the metrics per tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsSettings {
    /// Whether series have tenant labels.
    pub tenants: bool,
    /// The maximum number of tenants with their own series; all others are counted as `other`.
    pub max_tenants: usize,
}
