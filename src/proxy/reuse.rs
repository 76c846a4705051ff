//! From the cache's answer to the client's: serve a fresh entry, serve a stale one while it is refreshed, serve a stale one
//! because Talkdesk fails, validate, or fetch. Concurrent requests for the same key share one fetch.

use std::cell::LazyCell;
use std::sync::{Arc, PoisonError};

use http::{HeaderMap, Method};
use tokio::sync::oneshot;

use super::Proxy;
use super::early::{Ahead, Outlet};
use super::fetch_request::{FetchRequest, FlightKey, Wish};
use super::fetch_result::{Answer, Content, FetchError, FetchResult, Fetched, Interest, Outcome};
use super::headers::{CacheStatus, forwarded};
use super::origin::Origin;
use super::rejection::{Limit, Rejection};
use super::routes::Route;
use super::snapshot::Snapshot;
use super::store;
use crate::cache::lookup::{Forward, Reuse, judge};
use crate::cache::{Entry, Shelved};
use crate::clock::Now;
use crate::limit::gate::Waiter;
use crate::metrics::CacheResult;
use crate::rfc9111::directives::RequestDirectives;
use crate::rfc9111::freshness::satisfies;
use crate::rfc9111::key::Variant;
use crate::single_flight::{Joined, Lead, SingleFlight};

/// A flight whose leaders keep panicking, or may not lead, is given up after so many.
const MOST_LEADERS: usize = 32;

impl Proxy {
    /// What the cache has for a request.
    #[must_use]
    pub fn lookup(
        &self,
        route: &Route,
        fields: &HeaderMap,
        wish: &Wish,
        snapshot: &Snapshot,
        now: Now,
    ) -> Reuse {
        if wish.for_origin {
            let by_method = !matches!(*route.permit.method(), Method::GET | Method::HEAD);
            return Reuse::Nothing(if by_method { Forward::Method } else { Forward::Bypass });
        }
        let endpoint = route.permit.endpoint();
        // Made where what stands there varies, and then once for all variants.
        let fields = LazyCell::new(|| forwarded(fields, &endpoint.forward_request_fields, false));
        let selects = |variant: &Variant| variant.matches(&fields);
        judge(self.shelf.find(&route.key, selects), &wish.directives, snapshot.rule(endpoint), now)
    }

    /// What the cache has for a request of the proxy's own.
    pub(super) fn lookup_own(&self, ask: &FetchRequest, now: Now) -> Reuse {
        let found = self.shelf.find(&ask.key, |variant| variant.matches(&ask.fields));
        judge(found, &ask.wish.directives, ask.rule(), now)
    }

    /// Answers from what was found, going upstream where need be.
    ///
    /// # Errors
    /// A [`Rejection`] where there is neither an answer nor a stale one that may take its place.
    pub async fn obtain(
        self: &Arc<Self>,
        found: Reuse,
        ask: Arc<FetchRequest>,
        now: Now,
    ) -> Result<Answer, Rejection> {
        if self.is_long_refused(&ask.origin, &ask.snapshot, now) {
            return self.fetch(&ask, None, Forward::Stale).await;
        }
        match found {
            Reuse::Fresh(entry) => Ok(Answer::hit(entry, now)),
            Reuse::WhileRevalidating(entry) => {
                self.refresh_in_background(&ask, &entry);
                Ok(self.stale(entry, "while_revalidate", now))
            }
            Reuse::Nothing(why @ (Forward::Method | Forward::Bypass)) => {
                self.fetch_alone(&ask, None, why).await
            }
            Reuse::Validate(_, _) | Reuse::Nothing(_) if ask.wish.directives.only_if_cached => {
                Err(Rejection::OnlyIfCached)
            }
            Reuse::Validate(entry, why) if entry.serves_on_error(now) => {
                self.fetch_or_stale(&ask, entry, why).await
            }
            Reuse::Validate(entry, why) => self.fetch(&ask, Some(entry), why).await,
            Reuse::Nothing(why) => self.fetch(&ask, None, why).await,
        }
    }

    /// Answers from memory, or not at all: there are too many requests already that wait for something.
    ///
    /// # Errors
    /// [`Rejection::Overloaded`]
    pub fn answer_from_cache(&self, found: Reuse, ask: &FetchRequest, now: Now) -> Result<Answer, Rejection> {
        if self.is_long_refused(&ask.origin, &ask.snapshot, now) {
            return Err(Rejection::Overloaded);
        }
        match found {
            Reuse::Fresh(entry) => Ok(Answer::hit(entry, now)),
            Reuse::WhileRevalidating(entry) => Ok(self.stale(entry, "limited", now)),
            Reuse::Validate(entry, _) if entry.serves_on_error(now) => Ok(self.stale(entry, "limited", now)),
            Reuse::Validate(..) | Reuse::Nothing(_) => Err(Rejection::Overloaded),
        }
    }

    /// Entries of a credential that Talkdesk refuses are served for a while only, fresh ones too: after that,
    /// whoever lost the right to see the data has lost it here as well.
    pub(super) fn is_long_refused(&self, origin: &Origin, snapshot: &Snapshot, now: Now) -> bool {
        let Some(since) = origin.tokens.refused_since() else { return false };
        if now.since(since) <= snapshot.config.rejected_grace {
            return false;
        }
        // Once, and not for each request: it looks at every place on the shelf.
        let before = origin.forgotten_for.swap(Some(Arc::new(since)));
        if before.as_deref() != Some(&since) {
            self.shelf.forget_credential(&origin.tokens.credential().key);
        }
        true
    }

    /// Nobody waits long for upstream while a stale answer is in hand; the fetch goes on without them.
    async fn fetch_or_stale(
        self: &Arc<Self>,
        ask: &Arc<FetchRequest>,
        entry: Arc<Entry>,
        why: Forward,
    ) -> Result<Answer, Rejection> {
        let now = self.clock.now();
        if !ask.is_plain() && ask.origin.breaker.prefers_stale(now) {
            return Ok(self.stale(entry, "error", now));
        }
        let fetching = self.fetch(ask, Some(Arc::clone(&entry)), why);
        let patience = ask.snapshot.config.upstream.stale_wait;
        let outcome = self.clock.timeout(patience, fetching).await;
        let now = self.clock.now();
        let stale = |reason| Answer {
            upstream: ask.timer.elapsed(now),
            ..self.stale(Arc::clone(&entry), reason, now)
        };
        match outcome {
            Err(_) => Ok(stale("slow")),
            Ok(Ok(answer)) if answer.is_server_error() && entry.serves_on_error(now) => {
                Ok(Answer { upstream: answer.upstream, ..stale("error") })
            }
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(rejection)) => match rejection.excuses_stale() {
                Some(reason) if entry.serves_on_error(now) => Ok(stale(reason)),
                _ => Err(rejection),
            },
        }
    }

    fn stale(&self, entry: Arc<Entry>, reason: &'static str, now: Now) -> Answer {
        self.metrics.stale_served(reason);
        let mut answer = Answer::hit(entry, now);
        answer.result = CacheResult::Stale;
        answer.status.detail = Some(reason);
        answer
    }

    fn refresh_in_background(self: &Arc<Self>, ask: &Arc<FetchRequest>, entry: &Arc<Entry>) {
        if !ask.is_plain() && ask.origin.breaker.prefers_stale(self.clock.now()) {
            return;
        }
        if let Joined::Lead(lead) = self.flights.join(&ask.flight_key(&self.shelf)) {
            let (proxy, ask, entry) = (Arc::clone(self), Arc::clone(ask), Arc::clone(entry));
            drop(lead.start(|_| async move {
                Some(
                    proxy
                        .run_fetch(&ask, Some(entry), Waiter::Background, None, None)
                        .await
                        .unwrap_or_else(|| Err(Rejection::Internal.into())),
                )
            }));
        }
    }

    /// Fetches, together with everybody who asks for the same.
    async fn fetch(
        self: &Arc<Self>,
        ask: &Arc<FetchRequest>,
        entry: Option<Arc<Entry>>,
        why: Forward,
    ) -> Result<Answer, Rejection> {
        let key = ask.flight_key(&self.shelf);
        if !ask.snapshot.config.cache.collapse || self.uncollapsed.contains_key(&key) {
            return self.fetch_alone(ask, entry, why).await;
        }
        for _ in 0..MOST_LEADERS {
            let (waiting, led) = match self.flights.join(&key) {
                Joined::Wait(waiting) => (Ahead::from(waiting), false),
                Joined::Lead(lead) => {
                    // Between looking and leading another fetch may have ended.
                    if let Some(landed) = self.stored_meanwhile(ask, entry.as_ref()) {
                        return Ok(landed);
                    }
                    self.client_may(ask)?;
                    (self.spawn_fetch(lead, ask, entry.clone()), true)
                }
            };
            // Abandoned: the leader panicked or was given up, and somebody else has to lead.
            let Ok(outcome) = waiting.outcome().await else { continue };
            let fetched = outcome.map_err(|failed| missed(ask, failed))?;
            if let Some(answer) = self.shared_answer(&fetched, ask, why, led) {
                return Ok(answer);
            }
            self.uncollapsed.insert(key, ());
            return self.fetch_alone(ask, entry, why).await;
        }
        Err(Rejection::Internal)
    }

    /// Fetches for one alone.
    async fn fetch_alone(
        self: &Arc<Self>,
        ask: &Arc<FetchRequest>,
        entry: Option<Arc<Entry>>,
        why: Forward,
    ) -> Result<Answer, Rejection> {
        self.client_may(ask)?;
        let waiting = self.spawn_fetch(SingleFlight::alone(), ask, entry);
        let outcome = waiting.outcome().await.unwrap_or_else(|_| Err(Rejection::Internal.into()));
        let fetched = outcome.map_err(|failed| missed(ask, failed))?;
        self.shared_answer(&fetched, ask, why, true).ok_or(Rejection::Internal)
    }

    /// Starts the fetch in a task of its own: once it is sent it is finished and kept, though its clients leave.
    fn spawn_fetch(
        self: &Arc<Self>,
        lead: Lead<FlightKey, Outcome>,
        ask: &Arc<FetchRequest>,
        entry: Option<Arc<Entry>>,
    ) -> Ahead {
        let (proxy, ask) = (Arc::clone(self), Arc::clone(ask));
        // Whoever could be answered with a stale entry yet is not given what may break off.
        let now = self.clock.now();
        let may_be_early =
            ask.may_be_early && !entry.as_ref().is_some_and(|entry| entry.serves_on_error(now));
        let (outlet, early) = may_be_early.then(oneshot::channel).unzip();
        let waiting = lead.start(|interest| async move {
            proxy.run_fetch(&ask, entry, ask.waiter(), Some(interest), outlet).await
        });
        Ahead { waiting, early }
    }

    /// How many requests wait for a fetch that they share, or could share.
    #[must_use]
    pub fn waiting_for_fetches(&self) -> usize {
        self.flights.waiting()
    }

    fn client_may(&self, ask: &FetchRequest) -> Result<(), Rejection> {
        let (Some(limiter), Some(client)) = (&ask.snapshot.client_limiter, &ask.client) else {
            return Ok(());
        };
        let decision = limiter.check(client);
        self.metrics.limit("client", if decision.is_ok() { "allowed" } else { "refused" });
        decision.map_err(|retry_in| Rejection::RateLimited { limit: Limit::Client, retry_in })
    }

    fn stored_meanwhile(&self, ask: &FetchRequest, known: Option<&Arc<Entry>>) -> Option<Answer> {
        let Shelved::Entry(entry) = self.shelf.find(&ask.key, |variant| variant.matches(&ask.fields)) else {
            return None;
        };
        if known.is_some_and(|known| Arc::ptr_eq(known, &entry)) {
            return None;
        }
        let now = self.clock.now();
        match judge(Shelved::Entry(entry), &ask.wish.directives, ask.rule(), now) {
            Reuse::Fresh(entry) => {
                let mut answer = Answer::hit(entry, now);
                answer.result = CacheResult::Collapsed;
                Some(answer)
            }
            Reuse::WhileRevalidating(_) | Reuse::Validate(..) | Reuse::Nothing(_) => None,
        }
    }

    /// The fetch itself. None where it was given up because nobody waits any more.
    async fn run_fetch(
        self: &Arc<Self>,
        ask: &Arc<FetchRequest>,
        entry: Option<Arc<Entry>>,
        waiter: Waiter,
        interest: Option<Interest>,
        outlet: Option<Outlet>,
    ) -> Option<Outcome> {
        let outcome = store::fetch(self, ask, entry, waiter, interest, outlet).await?;
        let fetched = outcome.map(|(landed, stream)| Arc::new(Fetched::new(landed, stream)));
        Some(
            fetched
                .map_err(|rejection| FetchError { rejection, upstream: ask.timer.elapsed(self.clock.now()) }),
        )
    }

    /// The answer of a fetch for one who took part in it; none where it can't be shared.
    fn shared_answer(
        &self,
        fetched: &Fetched,
        ask: &FetchRequest,
        why: Forward,
        led: bool,
    ) -> Option<Answer> {
        let FetchResult { entry, for_others, stored, revalidated, rate, upstream, waited, token, status } =
            &fetched.landed;
        let now = self.clock.now();
        let content = if let Some(entry) = entry {
            // What RFC 9111 would not let be reused is the leader's alone (section 4), unless our rule says otherwise.
            if !led && ask.is_plain() && !(stored.is_ok() && (*revalidated || is_reusable(entry, now))) {
                return None;
            }
            let shared = for_others.as_ref().filter(|_| !led);
            Content::Entry(Arc::clone(shared.unwrap_or(entry)))
        } else {
            let mut stream = fetched.stream.lock().unwrap_or_else(PoisonError::into_inner);
            Content::Stream(stream.take()?)
        };
        let result = match (led, revalidated, stored) {
            (false, ..) => CacheResult::Collapsed,
            (true, true, _) => CacheResult::Revalidated,
            (true, false, Ok(())) => CacheResult::Miss,
            (true, false, Err(_)) => CacheResult::Bypass,
        };
        let status = CacheStatus {
            // What went upstream is no hit, though the body came from here (RFC 9211, section 2.1).
            hit: false,
            forward: Some(why),
            forward_status: Some(*status),
            // Of what still comes it is not known (section 2.5).
            stored: stored.is_ok() && entry.is_some(),
            collapsed: !led,
            ttl: entry.as_ref().filter(|_| stored.is_ok()).map(|entry| entry.remaining(now)),
            detail: stored.as_ref().err().map(|bypass| bypass.as_str()),
        };
        Some(Answer {
            content,
            status,
            result,
            rate: *rate,
            upstream: *upstream,
            waited: *waited,
            token: Some(*token),
        })
    }
}

/// The rejection of a request whose fetch failed; its timer gets the wait of the fetch.
fn missed(ask: &FetchRequest, error: FetchError) -> Rejection {
    ask.timer.set(error.upstream);
    error.rejection
}

/// Whether an answer that arrived just now may be given to those who asked for the same meanwhile: what they say of
/// its age does not matter, it could not be newer.
fn is_reusable(entry: &Entry, now: Now) -> bool {
    satisfies(&RequestDirectives::default(), &entry.verdict.freshness, entry.counted_age(now))
}
