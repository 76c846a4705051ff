//! From a cache lookup to an answer: serve a fresh entry, serve a stale one while it is refreshed, serve a stale one because
//! Talkdesk fails, validate, or fetch. Concurrent requests for the same key share one fetch.

use std::cell::LazyCell;
use std::sync::Arc;
use std::time::Duration;

use foldhash::quality::RandomState;
use http::{HeaderMap, StatusCode};

use super::fetch_context::FetchContext;
use super::fetch_request::{FetchRequest, FlightKey};
use super::fetch_result::{Answer, FetchError, FetchInterest, FetchResult, SharedResult};
use super::run;
use crate::cache::lookup::{Reuse, reuse};
use crate::cache::{Entry, Lookup};
use crate::clock::Now;
use crate::domain::entitlement::Permit;
use crate::headers::forwarded;
use crate::limit::gate::Waiter;
use crate::metrics::CacheResult;
use crate::problem::{Limit, Overload, Rejection};
use crate::rfc9111::cache_status::{CacheStatus, Forward};
use crate::rfc9111::directives::RequestDirectives;
use crate::rfc9111::freshness::satisfies;
use crate::rfc9111::key::{PrimaryKey, Variant};
use crate::single_flight::{Joined, Lead, SingleFlight, Waiting};
use crate::snapshot::Snapshot;
use crate::upstream::exchange::Exchange;
use crate::upstream::origin::Origin;

/// After so many leaders that panicked or declined, a request gives up.
const MAX_LEADERS: usize = 32;

/// For how long requests for a key whose response can't be shared do not wait for each other.
const UNCOLLAPSED_FOR: Duration = Duration::from_mins(1);

/// Obtains responses, and lets concurrent requests share a fetch.
pub struct Fetcher {
    /// What fetches use.
    pub context: FetchContext,
    flights: SingleFlight<FlightKey, SharedResult>,
    uncollapsed: moka::sync::Cache<FlightKey, (), RandomState>,
}

impl Fetcher {
    /// Without running fetches.
    #[must_use]
    pub fn new(context: FetchContext) -> Self {
        Self {
            context,
            flights: SingleFlight::default(),
            uncollapsed: moka::sync::Cache::builder()
                .max_capacity(10_000)
                .time_to_live(UNCOLLAPSED_FOR)
                .build_with_hasher(RandomState::default()),
        }
    }

    /// What the cache has for a permitted request.
    #[must_use]
    pub fn lookup(
        &self,
        permit: &Permit,
        key: &PrimaryKey,
        fields: &HeaderMap,
        directives: &RequestDirectives,
        snapshot: &Snapshot,
        now: Now,
    ) -> Reuse {
        let endpoint = permit.endpoint();
        // Built only if a response varies by them, and then once for all variants.
        let fields = LazyCell::new(|| forwarded(fields, &endpoint.forward_request_fields));
        let found = self.context.cache.find(key, |variant: &Variant| variant.matches(&fields));
        reuse(found, directives, snapshot.policy(endpoint), now)
    }

    /// What the cache has for a request of the proxy itself.
    pub fn lookup_own(&self, request: &FetchRequest, now: Now) -> Reuse {
        let found = self.context.cache.find(&request.key, |variant| variant.matches(&request.fields));
        reuse(found, &request.directives, request.policy(), now)
    }

    /// Answers from the result of a lookup, with a request upstream if needed.
    ///
    /// # Errors
    /// A [`Rejection`] if there is neither an answer nor a stale one that may replace it.
    pub async fn obtain(
        self: &Arc<Self>,
        found: Reuse,
        request: Arc<FetchRequest>,
        now: Now,
    ) -> Result<Answer, Rejection> {
        if self.forget_if_long_refused(&request.origin, &request.snapshot, now) {
            if request.directives.only_if_cached {
                return Err(Rejection::OnlyIfCached);
            }
            return self.fetch(&request, None, Forward::Stale).await;
        }
        match found {
            Reuse::Fresh(entry) => Ok(Answer::hit(entry, now)),
            Reuse::WhileRevalidating(entry) => {
                self.refresh_in_background(&request, &entry);
                Ok(self.stale(entry, "while_revalidate", now))
            }
            Reuse::Validate(_, _) | Reuse::Nothing(_) if request.directives.only_if_cached => {
                Err(Rejection::OnlyIfCached)
            }
            Reuse::Validate(entry, why) if entry.serves_on_error(now) => {
                self.fetch_or_stale_if_error(&request, entry, why).await
            }
            Reuse::Validate(entry, why) => self.fetch(&request, Some(entry), why).await,
            Reuse::Nothing(why) => self.fetch(&request, None, why).await,
        }
    }

    /// Answers without a request upstream, because too many requests already wait.
    ///
    /// # Errors
    /// [`Rejection::Overloaded`]
    pub fn answer_from_cache(
        &self,
        found: Reuse,
        request: &FetchRequest,
        now: Now,
    ) -> Result<Answer, Rejection> {
        if self.forget_if_long_refused(&request.origin, &request.snapshot, now) {
            return Err(Rejection::Overloaded(Overload::Requests));
        }
        match found {
            Reuse::Fresh(entry) => Ok(Answer::hit(entry, now)),
            Reuse::WhileRevalidating(entry) => Ok(self.stale(entry, "limited", now)),
            Reuse::Validate(entry, _) if entry.serves_on_error(now) => Ok(self.stale(entry, "limited", now)),
            Reuse::Validate(..) | Reuse::Nothing(_) => Err(Rejection::Overloaded(Overload::Requests)),
        }
    }

    /// Whether Talkdesk has rejected the credential for longer than `rejected_grace`. Then its entries are removed and none is
    /// served, not even a fresh one: a tenant without access at Talkdesk has none here.
    pub fn forget_if_long_refused(&self, origin: &Origin, snapshot: &Snapshot, now: Now) -> bool {
        let Some(since) = origin.tokens.refused_since() else { return false };
        if now.since(since) <= snapshot.config.rejected_grace {
            return false;
        }
        // Once per rejection, because it visits every entry.
        let before = origin.entries_removed_for.swap(Some(Arc::new(since)));
        if before.as_deref() != Some(&since) {
            self.context.cache.forget_credential(&origin.tokens.credential().key);
        }
        true
    }

    /// Serves the stale entry if the fetch fails or takes longer than `stale_wait`; the fetch then continues without the client
    /// (stale-if-error, RFC 5861).
    async fn fetch_or_stale_if_error(
        self: &Arc<Self>,
        request: &Arc<FetchRequest>,
        entry: Arc<Entry>,
        why: Forward,
    ) -> Result<Answer, Rejection> {
        let now = self.context.clock.now();
        if request.origin.breaker.prefers_stale(now) {
            return Ok(self.stale(entry, "error", now));
        }
        let fetching = self.fetch(request, Some(Arc::clone(&entry)), why);
        let outcome = self.context.clock.timeout(request.snapshot.config.upstream.stale_wait, fetching).await;
        let now = self.context.clock.now();
        let stale = |reason, upstream| Answer {
            exchange: Exchange { upstream, ..Exchange::default() },
            ..self.stale(Arc::clone(&entry), reason, now)
        };
        let waited = request.timer.elapsed(now);
        match outcome {
            Err(_) => Ok(stale("slow", waited)),
            Ok(Ok(answer)) if answer.is_server_error() && entry.serves_on_error(now) => {
                Ok(stale("error", answer.exchange.upstream))
            }
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(rejection)) => match rejection.excuses_stale() {
                Some(reason) if entry.serves_on_error(now) => Ok(stale(reason, waited)),
                _ => Err(rejection),
            },
        }
    }

    fn stale(&self, entry: Arc<Entry>, reason: &'static str, now: Now) -> Answer {
        self.context.metrics.stale_served(reason);
        let mut answer = Answer::hit(entry, now);
        answer.result = CacheResult::Stale;
        answer.status.detail = Some(reason);
        answer
    }

    fn refresh_in_background(self: &Arc<Self>, request: &Arc<FetchRequest>, entry: &Arc<Entry>) {
        if request.origin.breaker.prefers_stale(self.context.clock.now()) {
            return;
        }
        if let Joined::Lead(lead) = self.flights.join(&request.flight_key(&self.context.cache)) {
            let (this, request, entry) = (Arc::clone(self), Arc::clone(request), Arc::clone(entry));
            drop(lead.start(|_| async move {
                let fetched = this.run_fetch(&request, Some(entry), Waiter::Background, None).await;
                Some(fetched.unwrap_or_else(|| Err(Rejection::Internal.into())))
            }));
        }
    }

    /// Fetches, together with all requests for the same key.
    async fn fetch(
        self: &Arc<Self>,
        request: &Arc<FetchRequest>,
        entry: Option<Arc<Entry>>,
        why: Forward,
    ) -> Result<Answer, Rejection> {
        let key = request.flight_key(&self.context.cache);
        if !request.snapshot.config.cache.collapse || self.uncollapsed.contains_key(&key) {
            return self.fetch_alone(request, entry, why).await;
        }
        for _ in 0..MAX_LEADERS {
            let (waiting, is_own_fetch) = match self.flights.join(&key) {
                Joined::Wait(waiting) => (waiting, false),
                Joined::Lead(lead) => {
                    // Another fetch may have ended between the lookup and this.
                    if let Some(answer) = self.stored_meanwhile(request, entry.as_ref()) {
                        return Ok(answer);
                    }
                    self.check_client_limit(request)?;
                    (self.spawn_fetch(lead, request, entry.clone()), true)
                }
            };
            // Abandoned: the leader panicked or was given up, and another request has to lead.
            let Ok(outcome) = waiting.outcome().await else { continue };
            let fetched = outcome.map_err(|error| rejection_of(request, error))?;
            if let Some(answer) = self.shared_answer(&fetched, request, why, is_own_fetch) {
                return Ok(answer);
            }
            self.uncollapsed.insert(key, ());
            return self.fetch_alone(request, entry, why).await;
        }
        Err(Rejection::Internal)
    }

    /// Fetches for this request only.
    async fn fetch_alone(
        self: &Arc<Self>,
        request: &Arc<FetchRequest>,
        entry: Option<Arc<Entry>>,
        why: Forward,
    ) -> Result<Answer, Rejection> {
        self.check_client_limit(request)?;
        let waiting = self.spawn_fetch(SingleFlight::alone(), request, entry);
        let outcome = waiting.outcome().await.unwrap_or_else(|_| Err(Rejection::Internal.into()));
        let fetched = outcome.map_err(|error| rejection_of(request, error))?;
        self.shared_answer(&fetched, request, why, true).ok_or(Rejection::Internal)
    }

    /// Starts the fetch in its own task: once sent, it is finished and stored although all its clients leave.
    fn spawn_fetch(
        self: &Arc<Self>,
        lead: Lead<FlightKey, SharedResult>,
        request: &Arc<FetchRequest>,
        entry: Option<Arc<Entry>>,
    ) -> Waiting<SharedResult> {
        let (this, request) = (Arc::clone(self), Arc::clone(request));
        lead.start(|interest| async move {
            this.run_fetch(&request, entry, request.waiter(), Some(interest)).await
        })
    }

    /// The number of requests that wait for a fetch that others can join.
    #[must_use]
    pub fn waiting_for_fetches(&self) -> usize {
        self.flights.waiting()
    }

    fn check_client_limit(&self, request: &FetchRequest) -> Result<(), Rejection> {
        let (Some(limiter), Some(client)) = (&request.snapshot.client_limiter, &request.client) else {
            return Ok(());
        };
        let decision = limiter.check(client);
        self.context.metrics.limit("client", if decision.is_ok() { "allowed" } else { "refused" });
        decision.map_err(|retry_in| Rejection::RateLimited { limit: Limit::Client, retry_in })
    }

    fn stored_meanwhile(&self, request: &FetchRequest, known: Option<&Arc<Entry>>) -> Option<Answer> {
        let now = self.context.clock.now();
        let found = self.context.cache.find(&request.key, |variant| variant.matches(&request.fields));
        let Lookup::Entry(entry) = found else { return None };
        if known.is_some_and(|known| Arc::ptr_eq(known, &entry)) {
            return None;
        }
        match reuse(Lookup::Entry(entry), &request.directives, request.policy(), now) {
            Reuse::Fresh(entry) => Some(Answer { result: CacheResult::Collapsed, ..Answer::hit(entry, now) }),
            Reuse::WhileRevalidating(_) | Reuse::Validate(..) | Reuse::Nothing(_) => None,
        }
    }

    /// The fetch itself. `None` if it was given up because nobody waits any more.
    async fn run_fetch(
        self: &Arc<Self>,
        request: &Arc<FetchRequest>,
        entry: Option<Arc<Entry>>,
        waiter: Waiter,
        interest: Option<FetchInterest>,
    ) -> Option<SharedResult> {
        let outcome = run::fetch(&self.context, request, entry, waiter, interest).await?;
        let upstream = || request.timer.elapsed(self.context.clock.now());
        Some(outcome.map(Arc::new).map_err(|rejection| FetchError { rejection, upstream: upstream() }))
    }

    /// The answer of a fetch for one of the requests that share it; `None` if this one must fetch for itself.
    fn shared_answer(
        &self,
        fetched: &FetchResult,
        request: &FetchRequest,
        why: Forward,
        is_own_fetch: bool,
    ) -> Option<Answer> {
        let FetchResult { entry, for_others, stored, revalidated, exchange } = fetched;
        let now = self.context.clock.now();
        let may_share = request.policy().shares_unstored()
            || (stored.is_ok() && (*revalidated || is_reusable(entry, now)));
        if !is_own_fetch && !may_share {
            return None;
        }
        let entry = for_others.as_ref().filter(|_| !is_own_fetch).unwrap_or(entry);
        let result = match (is_own_fetch, revalidated, stored) {
            (false, ..) => CacheResult::Collapsed,
            (true, true, _) => CacheResult::Revalidated,
            (true, false, Ok(())) => CacheResult::Miss,
            (true, false, Err(_)) => CacheResult::Bypass,
        };
        let status = CacheStatus {
            // A request that went upstream is no hit, though the body came from here (RFC 9211, section 2.1).
            hit: false,
            forward: Some(why),
            forward_status: exchange.status.as_ref().map(StatusCode::as_u16),
            stored: stored.is_ok(),
            collapsed: !is_own_fetch,
            ttl: stored.is_ok().then(|| entry.remaining(now)),
            detail: stored.err().map(crate::cache::policy::Bypass::as_str),
        };
        Some(Answer { entry: Arc::clone(entry), status, result, exchange: *exchange })
    }
}

/// The rejection of a request whose fetch failed. Its timer takes over the wait of the fetch.
fn rejection_of(request: &FetchRequest, error: FetchError) -> Rejection {
    request.timer.set(error.upstream);
    error.rejection
}

/// Whether a response that has just arrived may be given to others that asked for the same meanwhile. Their demands on its age
/// do not matter: it can't be newer.
fn is_reusable(entry: &Entry, now: Now) -> bool {
    satisfies(&RequestDirectives::default(), &entry.decision.freshness, entry.counted_age(now))
}
