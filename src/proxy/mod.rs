//! The path of a request, on one page.
//!
//! ```text
//! hyper ─ [ envelope: request id · observe · load shed ] ─ Proxy::answer ─ Origin ─ [ client ]
//!                                                               │
//!          guard → tenant → entitlement → cache → (miss) limit → token → send → check → store
//! ```
//!
//! Each step decides and returns `Result<_, Rejection>`. [`Proxy::answer`] calls them in this order, up to the first one that
//! has to wait; [`Proxy::answer_later`] goes on from there; `lead` holds the steps for tenant and entitlement. No other code
//! knows the order. Each step takes what the one before it returned: without a `Permit`, which only the entitlement makes,
//! neither the cache nor upstream can be asked.

pub mod fetch_request;
pub mod upstream_timer;
mod denial_words;
pub mod discovery;
pub mod early;
pub mod entrance;
pub mod envelope;
pub mod explain;
pub mod fetch_result;
pub mod token_scanner;
pub mod growing;
mod head_of_answer;
pub mod headers;
pub mod circuit_breaker;
pub mod index;
mod keep;
mod lead;
mod mentions;

pub mod online;
pub mod origin;
mod probe;
pub mod proofs;
pub mod receive;
pub mod reload;
mod refusal;
mod refused;
pub mod rejection;
mod request_body;
pub mod replay;
pub mod retry_budget;
pub mod reuse;
pub mod routes;
pub mod snapshot;
pub mod store;
mod validate;
pub mod request_log;
mod words;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use foldhash::quality::RandomState;
use http::header::{AUTHORIZATION, IF_RANGE, RANGE};
use http::request::Parts;
use http::{Method, Request, Response, Version};
use http_body::Body as _;
use hyper::body::Incoming;

use self::discovery::Discovery;
use self::early::may_be_early;
use self::entrance::Entrance;
use self::fetch_request::{FetchRequest, FlightKey, Wish};
use self::fetch_result::{Answer, Content, Outcome};
use self::lead::Led;
use self::rejection::Rejection;
use self::replay::Recipient;
use self::request_log::RequestLog;
use self::routes::{Asking, DeadEnd, Leads, Route};
use self::snapshot::{Shared, Snapshot};
use self::upstream_timer::UpstreamTimer;
use crate::audit::AuditLog;
use crate::body::Body;
use crate::cache::Shelf;
use crate::cache::lookup::Reuse;
use crate::clock::{Clock, Now};
use crate::config::{Config, Rule};
use crate::domain::learned::Learned;
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
    uncollapsed: moka::sync::Cache<FlightKey, (), RandomState>,
    discovery: Discovery,
    in_flight: AtomicUsize,
}

/// The context of a request.
pub struct RequestContext<'a> {
    /// The listener.
    pub entrance: &'a Arc<Entrance>,
    /// The connection.
    pub connection: Connection,
    /// When its head arrived.
    pub at: Now,
}

/// The result of the steps that do not wait.
pub enum Progress {
    /// The response.
    Answered(Response<Body>),
    /// A refusal from the memo of routing results.
    Refused(Arc<DeadEnd>),
    /// The rest has to wait.
    UnderWay(Box<UnderWay>),
}

/// A request that has to wait for its answer.
pub struct UnderWay {
    head: Parts,
    body: Incoming,
    route: Arc<Route>,
    wish: Wish,
    found: Reuse,
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
                .build_with_hasher(RandomState::default()),
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

    /// Answers a request from memory, or says how far it got, for [`Proxy::answer_later`] to go on from there. The whole
    /// of it uses one configuration. What becomes known on the way is recorded in `log`, for the access log, the
    /// metrics, and the fields that every answer carries.
    ///
    /// # Errors
    /// A [`Rejection`], which the envelope turns into an answer.
    pub fn answer(
        self: &Arc<Self>,
        log: &mut RequestLog,
        snapshot: &Arc<Snapshot>,
        request: Request<Incoming>,
        context: &RequestContext<'_>,
    ) -> Result<Progress, Rejection> {
        let (head, body) = request.into_parts();
        log.unread_body = !body.is_end_stream();
        let asking = Asking::of(&head, log.mentions.tenant, context, &self.learned);
        let known = asking.as_ref().and_then(|asking| snapshot.routes.find(asking));
        if known.is_some() {
            snapshot.guard.admit_known_host(&head.headers, log.mentions.page, context.connection)?;
        } else {
            snapshot.guard.admit(&head, context.connection, false)?;
        }
        request_body::may_be(&head.method, &body)?;
        let route = match known {
            Some(Leads::To(route)) => route,
            Some(Leads::Nowhere(dead_end)) => {
                log.ended_at(&dead_end);
                return Ok(Progress::Refused(dead_end));
            }
            None => match self.lead(log, snapshot, &head, context) {
                Ok(Led::To(route)) => {
                    asking.inspect(|asking| snapshot.routes.remember(asking, Leads::To(Arc::clone(&route))));
                    route
                }
                Ok(Led::Answered(response)) => return Ok(Progress::Answered(response)),
                Err(rejection) => {
                    if let Some((asking, dead_end)) = asking.zip(DeadEnd::of(&rejection, log, snapshot)) {
                        snapshot.routes.remember(&asking, Leads::Nowhere(Arc::new(dead_end)));
                    }
                    return Err(rejection);
                }
            },
        };
        log.led_to(&route);
        if log.overloaded && log.unread_body {
            // Nothing in memory answers it, and its body would take memory, and a place for as long as it comes.
            return Err(Rejection::Overloaded);
        }
        let plain = *snapshot.rule(route.permit.endpoint()) == Rule::Plain;
        let reads = matches!(head.method, Method::GET | Method::HEAD);
        let wish = Wish {
            directives: if log.mentions.directives {
                RequestDirectives::read(&head.headers)
            } else {
                RequestDirectives::default()
            },
            for_origin: !reads || (plain && headers::has_condition_for_origin(&head.headers)),
        };
        let found = self.lookup(&route, &head.headers, &wish, snapshot, context.at);
        let under_way = UnderWay { head, body, route, wish, found };
        if let Reuse::Fresh(entry) = &under_way.found
            && !self.is_long_refused(&under_way.route.origin, snapshot, context.at)
        {
            let answer = Answer::hit(Arc::clone(entry), context.at);
            return self
                .replay(log, &under_way.head, &under_way.route, answer, context.at)
                .map(Progress::Answered);
        }
        Ok(Progress::UnderWay(Box::new(under_way)))
    }

    /// Answers a request that memory alone does not answer.
    ///
    /// # Errors
    /// A [`Rejection`].
    pub async fn answer_later(
        self: &Arc<Self>,
        log: &mut RequestLog,
        snapshot: &Arc<Snapshot>,
        under_way: UnderWay,
        context: &RequestContext<'_>,
    ) -> Result<Response<Body>, Rejection> {
        let UnderWay { head, body, route, wish, found } = under_way;
        let body = request_body::read(body, &snapshot.config.upstream, &self.clock).await?;
        log.unread_body = false;
        let client = client_key(&head, snapshot, context.connection);
        let ask = Arc::new(ask(&route, body, &head, wish, snapshot, client));
        let answer = if log.overloaded {
            self.answer_from_cache(found, &ask, context.at)
        } else {
            self.obtain(found, Arc::clone(&ask), context.at).await
        };
        let answer = answer.inspect_err(|rejection| {
            log.upstream = ask.timer.elapsed(self.clock.now());
            log.rate = rejection.is_of_credentials_limit().then(|| route.origin.used_up());
        })?;
        if head.version == Version::HTTP_10 && matches!(answer.content, Content::Stream(_)) {
            log.note(&answer);
            // To HTTP/1.0 the end of a connection is the end of a body: a part could be taken for the whole.
            return Err(Rejection::UpstreamResponseTooLarge { limit: snapshot.config.cache.max_entry_bytes });
        }
        self.replay(log, &head, &route, answer, self.clock.now())
    }

    fn replay(
        &self,
        log: &mut RequestLog,
        head: &Parts,
        route: &Route,
        answer: Answer,
        now: Now,
    ) -> Result<Response<Body>, Rejection> {
        log.note(&answer);
        let recipient = Recipient {
            method: &head.method,
            fields: &head.headers,
            mentions: log.mentions,
            base: &route.base,
            now,
            clock: &self.clock,
        };
        let from_cache = answer.status.hit || answer.status.collapsed;
        recipient.answer(answer.content, &route.origin.links, from_cache)
    }
}

/// What upstream needs to know of a permitted request.
fn ask(
    route: &Route,
    body: Bytes,
    head: &Parts,
    wish: Wish,
    snapshot: &Arc<Snapshot>,
    client: ClientKey,
) -> FetchRequest {
    let permit = &route.permit;
    let plain = *snapshot.rule(permit.endpoint()) == Rule::Plain;
    // A part of an answer can't be checked record by record.
    let may_be_part = plain && head.method == Method::GET && permit.account_scope().is_none();
    FetchRequest {
        key: route.key.clone(),
        target: route.target(),
        origin: Arc::clone(&route.origin),
        fields: headers::forwarded(&head.headers, &permit.endpoint().forward_request_fields, wish.for_origin),
        body,
        range: head
            .headers
            .get(RANGE)
            .filter(|_| may_be_part && !head.headers.contains_key(IF_RANGE))
            .cloned(),
        said: RequestSaid {
            no_store: wish.directives.no_store,
            authorization: head.headers.contains_key(AUTHORIZATION),
        },
        wish,
        may_be_early: plain && may_be_early(head, permit),
        client: Some(client),
        snapshot: Arc::clone(snapshot),
        permit: permit.clone(),
        timer: UpstreamTimer::default(),
    }
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
