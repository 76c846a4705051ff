//! The path of a request, on one page.
//!
//! ```text
//! guard → route → authorize → lookup → (miss) client limit → token → rate limit → send → read → validate → store
//! ```
//!
//! Each step decides and returns `Result<_, Rejection>`. [`Proxy::answer`] calls them in this order, up to the first one that
//! has to wait; [`Proxy::answer_later`] continues from there, with [`Fetcher::obtain`]. Each step takes what the one
//! before it returned: without a `Permit`, which only the entitlement makes, neither the cache nor upstream can be asked.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{Method, Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;

use super::request_context::RequestContext;
use super::request_log::RequestLog;
use super::respond::Recipient;
use super::route::{self, Routed};
use crate::accounts::AccountDiscovery;
use crate::cache::lookup::Reuse;
use crate::cache::{ResponseCache, primary_key};
use crate::clock::{Clock, Now};
use crate::config::Config;
use crate::domain::entitlement::{AccessRequest, Denial, Permit};
use crate::domain::learned::Learned;
use crate::fetch::fetch_context::FetchContext;
use crate::fetch::fetch_request::{FetchRequest, upstream_target};
use crate::fetch::fetch_result::Answer;
use crate::fetch::fetcher::Fetcher;
use crate::fetch::read_budget::ReadBudget;
use crate::guard::{Blocked, Connection};
use crate::headers::forwarded;
use crate::io::body::Body;
use crate::limit::client::ClientKey;
use crate::log::audit::AuditLog;
use crate::metrics::Metrics;
use crate::problem::Rejection;
use crate::rfc9111::directives::RequestDirectives;
use crate::rfc9111::freshness::RequestSaid;
use crate::rfc9111::key::PrimaryKey;
use crate::snapshot::{Shared, Snapshot};
use crate::upstream::origin::Origin;
use crate::upstream::upstream_timer::UpstreamTimer;

/// The proxy.
pub struct Proxy {
    /// The response cache.
    pub cache: Arc<ResponseCache>,
    /// What was learned from Talkdesk.
    pub learned: Arc<Learned>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The time.
    pub clock: Clock,
    /// The audit log.
    pub audit: AuditLog,
    /// The accounts of Organizations.
    pub accounts: Arc<AccountDiscovery>,
    fetches: Arc<Fetcher>,
    shared: Shared,
    in_flight: AtomicUsize,
}

/// The result of the steps that do not wait.
pub enum Reply {
    /// The response.
    Ready(Response<Body>),
    /// The remaining steps have to wait.
    Pending(Box<CacheMiss>),
}

/// A permitted request without a fresh entry.
pub struct CacheMiss {
    head: Parts,
    permit: Permit,
    origin: Arc<Origin>,
    key: PrimaryKey,
    directives: RequestDirectives,
    found: Reuse,
}

impl Proxy {
    /// A proxy for this configuration.
    #[must_use]
    pub fn new(config: Config, shared: &Shared) -> Arc<Self> {
        let cache = Arc::new(ResponseCache::new(&config.cache, Arc::clone(&shared.metrics)));
        let context = FetchContext {
            cache: Arc::clone(&cache),
            read_budget: ReadBudget::new(config.upstream.max_buffered_bytes),
            snapshot: ArcSwap::from_pointee(Snapshot::new(config, shared, None)),
            learned: Arc::clone(&shared.learned),
            metrics: Arc::clone(&shared.metrics),
            clock: shared.clock.clone(),
            changing: Mutex::default(),
        };
        let fetches = Arc::new(Fetcher::new(context));
        Arc::new(Self {
            cache,
            learned: Arc::clone(&shared.learned),
            metrics: Arc::clone(&shared.metrics),
            clock: shared.clock.clone(),
            audit: shared.audit.clone(),
            accounts: AccountDiscovery::new(Arc::clone(&fetches)),
            fetches,
            shared: shared.clone(),
            in_flight: AtomicUsize::new(0),
        })
    }

    /// Counts a request as in flight, and returns how many there are with it.
    pub(super) fn enter(&self) -> usize {
        self.metrics.http_requests_in_flight.inc();
        self.in_flight.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Ends the count of a request.
    pub(super) fn leave(&self) {
        self.metrics.http_requests_in_flight.dec();
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// What fetches use.
    #[must_use]
    pub(crate) fn fetch_context(&self) -> &FetchContext {
        &self.fetches.context
    }

    /// What all snapshots share.
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The number of requests that wait for a fetch that others can join.
    #[must_use]
    pub fn waiting_for_fetches(&self) -> usize {
        self.fetches.waiting_for_fetches()
    }

    /// The memory that response bodies take until they are stored or sent, in bytes.
    #[must_use]
    pub fn buffered_bytes(&self) -> u64 {
        self.fetch_context().read_budget.used()
    }

    /// The current configuration, with what was made of it.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.fetch_context().snapshot()
    }

    /// Answers a request from memory, or says how far it got, for [`Proxy::answer_later`] to continue from there. All steps
    /// use one configuration. What becomes known on the way is recorded in `log`, for the access log, the metrics, and the
    /// fields that every response carries.
    ///
    /// # Errors
    /// A [`Rejection`], which the envelope turns into a response.
    pub fn answer(
        self: &Arc<Self>,
        log: &mut RequestLog,
        snapshot: &Arc<Snapshot>,
        request: Request<Incoming>,
        context: &RequestContext<'_>,
    ) -> Result<Reply, Rejection> {
        let (head, body) = request.into_parts();
        log.unread_body = !body.is_end_stream();
        snapshot.guard.admit(&head, context.connection, false)?;
        refuse_body(log.unread_body, &head.method)?;
        let route = match route::route(log, snapshot, &self.learned, &head, context)? {
            Routed::Answered(response) => return Ok(Reply::Ready(response)),
            Routed::To(route) => route,
        };
        let access = AccessRequest { endpoint: route.endpoint, path: route.path, query: head.uri.query() };
        let permit = snapshot.authorize(&route.tenant, &access, &self.learned, context.at)?;
        log.permitted(&permit, snapshot);
        if let Some(organization) = permit.reread_accounts() {
            self.accounts.discover(snapshot, organization);
        }
        let origin = snapshot.origin(&permit.credential().key).ok_or(Rejection::Internal)?;
        let (key, directives) = (primary_key(&permit), RequestDirectives::read(&head.headers));
        let found = self.fetches.lookup(&permit, &key, &head.headers, &directives, snapshot, context.at);
        if let Reuse::Fresh(entry) = &found
            && !self.fetches.forget_if_long_refused(origin, snapshot, context.at)
        {
            let answer = Answer::hit(Arc::clone(entry), context.at);
            return Ok(Reply::Ready(respond(log, snapshot, &head, origin, &answer, context.at)));
        }
        let origin = Arc::clone(origin);
        Ok(Reply::Pending(Box::new(CacheMiss { head, permit, origin, key, directives, found })))
    }

    /// Answers a request that memory alone does not answer.
    ///
    /// # Errors
    /// A [`Rejection`].
    pub async fn answer_later(
        self: &Arc<Self>,
        log: &mut RequestLog,
        snapshot: &Arc<Snapshot>,
        miss: CacheMiss,
        context: &RequestContext<'_>,
    ) -> Result<Response<Body>, Rejection> {
        let CacheMiss { head, permit, origin, key, directives, found } = miss;
        let request = Arc::new(FetchRequest {
            target: upstream_target(&permit),
            fields: forwarded(&head.headers, &permit.endpoint().forward_request_fields),
            said: RequestSaid {
                no_store: directives.no_store,
                authorization: head.headers.contains_key(AUTHORIZATION),
            },
            client: Some(client_key(&head, snapshot, context.connection)),
            snapshot: Arc::clone(snapshot),
            origin: Arc::clone(&origin),
            timer: UpstreamTimer::default(),
            permit,
            key,
            directives,
        });
        let answer = if log.overloaded {
            self.fetches.answer_from_cache(found, &request, context.at)
        } else {
            self.fetches.obtain(found, Arc::clone(&request), context.at).await
        };
        let answer = answer.inspect_err(|rejection| {
            log.exchange.upstream = request.timer.elapsed(self.clock.now());
            log.exchange.rate = rejection.is_of_credentials_limit().then(|| origin.exhausted());
        })?;
        Ok(respond(log, snapshot, &head, &origin, &answer, self.clock.now()))
    }
}

/// Adapts an answer to the client, and records it.
fn respond(
    log: &mut RequestLog,
    snapshot: &Snapshot,
    head: &Parts,
    origin: &Origin,
    answer: &Answer,
    now: Now,
) -> Response<Body> {
    log.answered(answer);
    let recipient = Recipient {
        head,
        public_url: snapshot.config.server.public_url.as_deref(),
        prefix: log.tenant.as_ref().filter(|_| log.tenant_in_path).map(|tenant| &*tenant.label),
        now,
    };
    let from_cache = answer.status.hit || answer.status.collapsed;
    recipient.response(&answer.entry, &origin.links, from_cache)
}

/// A request whose method has no body must not have one: what follows on the connection could be taken for a request
/// (CVE-2025-4366). The other methods are refused later, by name.
fn refuse_body(has_body: bool, method: &Method) -> Result<(), Rejection> {
    let has_none = [Method::GET, Method::HEAD, Method::OPTIONS, Method::CONNECT, Method::TRACE];
    if has_body && has_none.contains(method) { Err(Rejection::BodyNotAllowed) } else { Ok(()) }
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

impl From<Blocked> for Rejection {
    fn from(blocked: Blocked) -> Self {
        match blocked {
            Blocked::Host(host) => Self::HostNotAllowed(host),
            Blocked::Origin => Self::OriginNotAllowed,
            Blocked::Peer => Self::PeerNotAllowed,
        }
    }
}

impl From<Denial> for Rejection {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}
