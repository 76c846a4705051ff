//! The path of a request, on one page.
//!
//! ```text
//! hyper ─ [ envelope: request id · observe · load shed ] ─ Proxy::answer ─ Origin ─ [ client ]
//!                                                               │
//!          guard → tenant → entitlement → cache → (miss) limit → token → send → check → store
//! ```
//!
//! A step decides and returns `Result<_, Rejection>`; the steps are called in their order by
//! [`Proxy::answer`], and nothing else knows that order. What a step found out is what the next one takes:
//! without a `Permit` (made by the entitlement alone) neither the cache nor upstream can be asked.

pub mod ask;
mod denial_words;
pub mod discovery;
pub mod entrance;
pub mod envelope;
pub mod explain;
pub mod fetched;
pub mod giveaway;
mod head_of_answer;
pub mod headers;
pub mod health;
pub mod index;
mod keep;
pub mod online;
pub mod origin;
pub mod receive;
pub mod reload;
mod refusal;
pub mod rejection;
mod request_body;
pub mod replay;
pub mod retry_budget;
pub mod reuse;
pub mod snapshot;
pub mod store;
pub mod visit;
mod words;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{AUTHORIZATION, IF_RANGE, RANGE};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;

use self::ask::{Ask, FlightKey};
use self::discovery::Discovery;
use self::entrance::Entrance;
use self::fetched::{Answer, Content, Outcome};
use self::rejection::Rejection;
use self::replay::Recipient;
use self::snapshot::{Shared, Snapshot};
use self::visit::Visit;
use crate::audit::AuditLog;
use crate::body::Body;
use crate::cache::lookup::Reuse;
use crate::cache::{Shelf, primary_key};
use crate::clock::Clock;
use crate::config::{Config, Rule};
use crate::domain::endpoint::Endpoint;
use crate::domain::entitlement::{self, Ask as Asked, Permit};
use crate::domain::learned::Learned;
use crate::domain::target;
use crate::domain::tenant::{Naming, Tenant, Unnamed};
use crate::guard::{Blocked, Connection};
use crate::limit::client::ClientKey;
use crate::metrics::Metrics;
use crate::rfc9111::directives::RequestDirectives;
use crate::rfc9111::freshness::RequestSaid;
use crate::single_flight::SingleFlight;

/// The longest request target.
pub const LONGEST_TARGET: usize = 8 * 1024;

/// For how long a key whose answer can't be shared passes without waiting for others.
const UNCOLLAPSED_FOR: Duration = Duration::from_mins(1);

/// The proxy.
pub struct Proxy {
    snapshot: ArcSwap<Snapshot>,
    shared: Shared,
    /// Held while the configuration changes, and while something is learned that has to fit to it.
    changing: Mutex<()>,
    /// The response cache.
    pub shelf: Shelf,
    /// What Talkdesk has told.
    pub learned: Arc<Learned>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The time.
    pub clock: Clock,
    /// What an auditor wants to know.
    pub audit: AuditLog,
    flights: SingleFlight<FlightKey, Outcome>,
    uncollapsed: moka::sync::Cache<FlightKey, ()>,
    discovery: Discovery,
    in_flight: AtomicUsize,
}

impl Proxy {
    /// A proxy for this configuration.
    #[must_use]
    pub fn new(config: Config, shared: &Shared) -> Arc<Self> {
        Arc::new(Self {
            shelf: Shelf::new(&config.cache, Arc::clone(&shared.metrics)),
            snapshot: ArcSwap::from_pointee(Snapshot::new(config, shared, None)),
            shared: shared.clone(),
            changing: Mutex::default(),
            learned: Arc::clone(&shared.learned),
            metrics: Arc::clone(&shared.metrics),
            clock: shared.clock.clone(),
            audit: shared.audit.clone(),
            flights: SingleFlight::default(),
            uncollapsed: moka::sync::Cache::builder()
                .max_capacity(10_000)
                .time_to_live(UNCOLLAPSED_FOR)
                .build(),
            discovery: Discovery::default(),
            in_flight: AtomicUsize::new(0),
        })
    }

    /// Counts a request in, and says how many there are with it.
    fn enter(&self) -> usize {
        self.metrics.http_requests_in_flight.inc();
        self.in_flight.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Counts a request out.
    fn leave(&self) {
        self.metrics.http_requests_in_flight.dec();
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// The configuration as it is now, with what was made of it.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Answers a request by the configuration that the whole of its visit goes by. What becomes known on the way is noted in `visit`, for the log, the metrics, and the
    /// fields that every answer carries.
    ///
    /// # Errors
    /// A [`Rejection`], which the envelope turns into an answer.
    pub async fn answer(
        self: &Arc<Self>,
        visit: &mut Visit,
        snapshot: &Arc<Snapshot>,
        request: Request<Incoming>,
        connection: Connection,
        entrance: &Entrance,
    ) -> Result<Response<Body>, Rejection> {
        let now = self.clock.now();
        let (head, body) = request.into_parts();
        snapshot.guard.admit(&head, connection, false)?;
        visit.unread_body = !body.is_end_stream();
        request_body::may_be(&head.method, &body)?;
        let raw = path(&head)?;
        let target = target::read(raw, &snapshot.endpoints).map_err(|reason| {
            let meant = target::probably_meant(raw, &snapshot.endpoints);
            meant.map_or(Rejection::InvalidTarget(reason.0), |meant| Rejection::SlashTooMany { meant })
        })?;
        visit.bare = target.prefix.is_none();
        let tenant = self.tenant(&head, target.prefix, snapshot, entrance);
        if let Ok(tenant) = &tenant {
            visit.tenant = Some(Arc::clone(tenant));
        }
        let Some(endpoint) = target.endpoint else { return index::answer(&head, snapshot) };
        visit.endpoint = Some(endpoint.position);
        if let Some(answer) = method_is_answered(&head.method, endpoint)? {
            return Ok(answer);
        }
        let permit = self.authorize(&tenant?, endpoint, target.path, &head, snapshot)?;
        visit.credential = Some(Arc::clone(permit.credential()));
        if visit.overloaded && visit.unread_body {
            // Nothing in memory answers it, and its body would take memory, and a place for as long as it comes.
            return Err(Rejection::Overloaded);
        }
        // What waits is boxed: a hit would have to find room for all that a miss takes, and move it about.
        let body = if visit.unread_body {
            Box::pin(request_body::read(body, &snapshot.config.upstream, &self.clock)).await?
        } else {
            Bytes::new()
        };
        visit.unread_body = false;
        let ask = ask(permit, body, &head, snapshot, connection)?;
        let origin = Arc::clone(&ask.origin);
        let found = self.lookup(&ask, now);
        let answer = if let Reuse::Fresh(entry) = &found
            && !self.is_long_refused(&ask, now)
        {
            Ok(Answer::hit(Arc::clone(entry), now))
        } else if visit.overloaded {
            self.recall(found, &ask, now)
        } else {
            Box::pin(self.obtain(found, Arc::new(ask), now)).await
        };
        let answer = answer.inspect_err(|rejection| {
            visit.rate = rejection.is_of_credentials_limit().then(|| origin.used_up());
        })?;
        visit.note(&answer);
        if head.version == Version::HTTP_10 && matches!(answer.content, Content::Stream(_)) {
            // To HTTP/1.0 the end of a connection is the end of a body: a part could be taken for the whole.
            return Err(Rejection::UpstreamResponseTooLarge { limit: snapshot.config.cache.max_entry_bytes });
        }
        let recipient = Recipient {
            method: &head.method,
            fields: &head.headers,
            base: links_base(&head, snapshot, target.prefix),
            clock: &self.clock,
        };
        let from_cache = answer.status.hit || answer.status.collapsed;
        recipient.answer(answer.content, &origin.links, from_cache)
    }

    /// Who the request is for.
    fn tenant(
        &self,
        head: &Parts,
        prefix: Option<&str>,
        snapshot: &Snapshot,
        entrance: &Entrance,
    ) -> Result<Arc<Tenant>, Rejection> {
        let mut fields = head.headers.get_all(headers::X_TENANT).iter();
        let naming = Naming {
            prefix,
            field: fields.next().map(http::HeaderValue::as_bytes),
            field_repeated: fields.next().is_some(),
            default: entrance.default_tenant(&snapshot.config.server),
        };
        let name = naming.resolve().map_err(Rejection::Unnamed)?;
        snapshot
            .tenant(&name, &self.learned)
            .filter(|tenant| entrance.knows(&tenant.name))
            .ok_or_else(|| Rejection::Unnamed(Unnamed::Unknown(name.to_string())))
    }

    /// Whether the tenant may ask for this: the only way to a [`Permit`].
    fn authorize(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        endpoint: &Arc<Endpoint>,
        path: &str,
        head: &Parts,
        snapshot: &Arc<Snapshot>,
    ) -> Result<Permit, Rejection> {
        let plain = *snapshot.rule(endpoint) == Rule::Plain;
        let asked = Asked { endpoint, method: &head.method, path, query: head.uri.query(), plain };
        let policy = &snapshot.config.policy;
        let now = self.clock.now().monotonic;
        let permit =
            entitlement::authorize(tenant, &asked, policy, &self.learned, now).map_err(Rejection::Denied)?;
        if let Some(organization) = permit.reread_accounts() {
            self.discover(snapshot, organization);
        }
        Ok(permit)
    }
}

/// What the cache and upstream need to know of a permitted request.
fn ask(
    permit: Permit,
    body: Bytes,
    head: &Parts,
    snapshot: &Arc<Snapshot>,
    connection: Connection,
) -> Result<Ask, Rejection> {
    let origin = snapshot.origin(&permit.credential().key).ok_or(Rejection::Internal)?;
    let plain = *snapshot.rule(permit.endpoint()) == Rule::Plain;
    let reads = matches!(head.method, Method::GET | Method::HEAD);
    let for_origin = !reads || (plain && headers::has_condition_for_origin(&head.headers));
    let directives = RequestDirectives::read(&head.headers);
    // A part of an answer can't be checked record by record.
    let may_be_part = plain && head.method == Method::GET && permit.wall().is_none();
    Ok(Ask {
        key: primary_key(&permit),
        origin: Arc::clone(origin),
        fields: headers::forwarded(&head.headers, &permit.endpoint().forward_request_fields, for_origin),
        body,
        range: head
            .headers
            .get(RANGE)
            .filter(|_| may_be_part && !head.headers.contains_key(IF_RANGE))
            .cloned(),
        said: RequestSaid {
            no_store: directives.no_store,
            authorization: head.headers.contains_key(AUTHORIZATION),
        },
        for_origin,
        directives,
        client: Some(client_key(head, snapshot, connection)),
        snapshot: Arc::clone(snapshot),
        permit,
    })
}

/// What tells clients apart: the configured field if it is sent, else a Unix peer's user, else the address.
fn client_key(head: &Parts, snapshot: &Snapshot, connection: Connection) -> ClientKey {
    let field = snapshot.config.limits.client.as_ref().and_then(|limit| limit.key_field.as_ref());
    if let Some(value) = field.and_then(|name| head.headers.get(name)) {
        return ClientKey::of_field(value.as_bytes());
    }
    match connection {
        Connection::Tcp { peer, .. } => ClientKey::of_address(peer.ip()),
        Connection::Unix { user } => user.map_or(ClientKey::Unknown, ClientKey::User),
    }
}

fn path(head: &Parts) -> Result<&str, Rejection> {
    let target = &head.uri;
    if target.path().len() + target.query().map_or(0, str::len) > LONGEST_TARGET {
        return Err(Rejection::UriTooLong);
    }
    if head.method == Method::CONNECT {
        return Err(Rejection::InvalidTarget("CONNECT asks for a tunnel, and this proxy opens none"));
    }
    if head.method == Method::OPTIONS && target.path() == "*" {
        return Ok("/");
    }
    Ok(target.path())
}

/// `OPTIONS` is answered here; another method that the endpoint does not know is refused.
fn method_is_answered(method: &Method, endpoint: &Endpoint) -> Result<Option<Response<Body>>, Rejection> {
    if endpoint.methods.contains(method) {
        return Ok(None);
    }
    let allow = allow(endpoint);
    if *method != Method::OPTIONS {
        return Err(Rejection::MethodNotAllowed { allow: allow.into() });
    }
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    if let Ok(allow) = allow.parse() {
        response.headers_mut().insert(http::header::ALLOW, allow);
    }
    Ok(Some(response))
}

fn allow(endpoint: &Endpoint) -> String {
    let methods: Vec<_> = endpoint.methods.iter().map(Method::as_str).chain(["OPTIONS"]).collect();
    methods.join(", ")
}

/// What links begin with: the base that the client used, and the tenant's prefix where it used one.
fn links_base(head: &Parts, snapshot: &Snapshot, prefix: Option<&str>) -> crate::links::Base {
    if let Some(public_url) = &snapshot.config.server.public_url {
        return crate::links::Base::new(public_url, prefix);
    }
    // The guard has made sure that there is one Host, of harmless characters.
    let host = head.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    crate::links::Base::here(host.unwrap_or_default(), prefix)
}

impl From<Blocked> for Rejection {
    fn from(blocked: Blocked) -> Self {
        match blocked {
            Blocked::Host(host) => Self::HostNotAllowed(host),
            Blocked::Origin => Self::OriginNotAllowed,
            Blocked::Peer => Self::PeerNotAllowed,
        }
    }
}
