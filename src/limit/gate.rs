//! The gate of one credential towards the API: rate limit with burst, concurrency limit, fair queue, and the
//! pause that Talkdesk requests (429, or 503 with `Retry-After`).
//!
//! The queue is round-robin over clients and first-in-first-out within a client, so one client with a
//! thousand requests does not delay another client's single request. Background refreshes go last. A waiter
//! that is dropped leaves the queue.
//!
//! `governor` does the counting. A task hands out the passes in turn; it runs only while requests are queued.
//! `governor`'s own waiting is not used: its order is not defined, and it does not distinguish clients.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use governor::RateLimiter;
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use tokio::sync::{Notify, oneshot};

use super::client::ClientKey;
use super::quota::quota;
use crate::clock::{Clock, Now};
use crate::config::UpstreamLimit;

/// The gate of one credential.
pub struct Gate {
    rules: ArcSwap<Rules>,
    clock: Clock,
    state: Mutex<State>,
    /// Notified when a request ends or the limit changes: a waiter at the concurrency limit may proceed.
    changed: Notify,
    /// Notified when the limit changes: the wait for the rate may be shorter.
    relaxed: Notify,
}

/// A limit with its rate limiter.
struct Rules {
    limit: UpstreamLimit,
    limiter: Arc<Limiter>,
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, Clock, StateInformationMiddleware>;

/// The source of a queued request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Waiter {
    /// A request of a client.
    Client(ClientKey),
    /// The proxy itself, for a background refresh.
    Background,
}

/// The permission to send one request. Dropping it releases its concurrency slot.
pub struct Pass {
    gate: Arc<Gate>,
    /// The remaining burst capacity.
    pub remaining: u32,
    /// How long the request was queued.
    pub waited: Duration,
}

/// Why no request may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The request waited longer than `max_wait`.
    #[error("the limit of the credential is used up")]
    Limited {
        /// When to retry.
        retry_in: Duration,
    },
    /// Talkdesk requested a pause.
    #[error("Talkdesk asked this credential to pause")]
    Paused {
        /// The remaining time of the pause.
        rest: Duration,
        /// Whether Talkdesk gave the length (`Retry-After`); otherwise the proxy chose it.
        told: bool,
    },
}

#[derive(Default)]
struct State {
    in_flight: usize,
    lanes: HashMap<ClientKey, VecDeque<oneshot::Sender<Pass>>>,
    turns: VecDeque<ClientKey>,
    background: VecDeque<oneshot::Sender<Pass>>,
    letting_through: bool,
    pause: Option<Pause>,
    pauses_in_a_row: u32,
}

#[derive(Clone, Copy)]
struct Pause {
    until: Instant,
    told: bool,
}

impl Gate {
    /// The gate for this limit.
    #[must_use]
    pub fn new(limit: UpstreamLimit, clock: Clock) -> Arc<Self> {
        let rules = ArcSwap::from_pointee(Rules { limiter: limiter(&limit, &clock), limit });
        Arc::new(Self {
            rules,
            clock,
            state: Mutex::default(),
            changed: Notify::new(),
            relaxed: Notify::new(),
        })
    }

    /// Applies a new limit, also to queued requests. If the rate is unchanged, its count continues.
    pub fn go_by(&self, limit: &UpstreamLimit) {
        let known = self.rules.load();
        if known.limit == *limit {
            return;
        }
        let same_rate = known.limit.rate == limit.rate;
        let limiter = if same_rate { Arc::clone(&known.limiter) } else { limiter(limit, &self.clock) };
        self.rules.store(Arc::new(Rules { limit: limit.clone(), limiter }));
        self.changed.notify_one();
        self.relaxed.notify_one();
    }

    /// Waits for permission to send one request.
    ///
    /// # Errors
    /// [`Refused`]
    pub async fn pass(self: &Arc<Self>, waiter: Waiter) -> Result<Pass, Refused> {
        let asked = self.clock.now();
        let rules = self.rules.load_full();
        let turn = {
            let mut state = self.state();
            if let Some(refused) = state.paused(asked) {
                return Err(refused);
            }
            if state.nobody_waits()
                && state.in_flight < rules.limit.concurrency
                && let Ok(snapshot) = rules.limiter.check()
            {
                state.in_flight += 1;
                return Ok(self.grant(snapshot.remaining_burst_capacity(), Duration::ZERO));
            }
            let (sender, turn) = oneshot::channel();
            state.enqueue(waiter, sender);
            if !std::mem::replace(&mut state.letting_through, true) {
                tokio::spawn(Arc::clone(self).let_through());
            }
            turn
        };
        let outcome = self.clock.timeout(rules.limit.max_wait, turn).await;
        let now = self.clock.now();
        match outcome {
            Ok(Ok(mut pass)) => {
                pass.waited = now.since(asked.monotonic);
                Ok(pass)
            }
            Ok(Err(_)) => {
                let refused = self.state().paused(now);
                Err(refused.unwrap_or(Refused::Limited { retry_in: rules.limit.rate.interval }))
            }
            Err(_) => {
                Err(Refused::Limited { retry_in: rules.limit.rate.interval.max(Duration::from_secs(1)) })
            }
        }
    }

    /// Pauses the credential after a 429, or a 503 with `Retry-After`: no request is sent until the pause
    /// ends. Without a time from Talkdesk, the length is that of a back-off. Returns the end of the pause.
    pub fn pause(&self, told: Option<Duration>) -> Instant {
        let now = self.clock.now();
        let mut state = self.state();
        // Concurrent 429 responses count as one: only one outside of a pause increases the back-off.
        if told.is_none() && state.paused(now).is_none() {
            state.pauses_in_a_row = state.pauses_in_a_row.saturating_add(1);
        }
        let length = told
            .unwrap_or_else(|| crate::backoff::OUTAGE.wait(state.pauses_in_a_row, fastrand::f64()))
            .min(self.rules.load().limit.max_pause);
        let until = now.after(length);
        let pause = Pause { until, told: told.is_some() };
        state.pause = Some(match state.pause {
            Some(known) if known.until > until => known,
            _ => pause,
        });
        // Fail queued requests now: they cannot be served before the pause ends.
        state.dismiss_all();
        until
    }

    /// Resets the back-off after Talkdesk accepted a request.
    pub fn took_one(&self) {
        self.state().pauses_in_a_row = 0;
    }

    /// The current pause, if any.
    #[must_use]
    pub fn paused(&self) -> Option<Refused> {
        self.state().paused(self.clock.now())
    }

    /// The number of queued requests.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let state = self.state();
        let all = state.lanes.values().flatten().chain(&state.background);
        // Closed senders belong to waiters that left the queue; they are removed at the next turn.
        all.filter(|sender| !sender.is_closed()).count()
    }

    /// The burst, and how long it takes to replenish. Clients receive both as the rate limit policy.
    #[must_use]
    pub fn policy(&self) -> (NonZeroU32, Duration) {
        let rate = self.rules.load().limit.rate;
        (rate.burst, rate.interval.saturating_mul(rate.burst.get()))
    }

    fn grant(self: &Arc<Self>, remaining: u32, waited: Duration) -> Pass {
        Pass { gate: Arc::clone(self), remaining, waited }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands passes to the waiters in turn, until the queue is empty.
    async fn let_through(self: Arc<Self>) {
        loop {
            match self.next_step() {
                Step::Hand(turn, pass) => {
                    // If the waiter has just left, the pass is dropped here. Its concurrency slot is
                    // released; its share of the rate is spent.
                    let _ = turn.send(pass);
                }
                // A new limit may end this wait early.
                Step::Sleep(wait) => {
                    let _ = self.clock.timeout(wait, self.relaxed.notified()).await;
                }
                Step::Full => {
                    // The timeout makes sure that waiters that left are removed even if no request ends.
                    let _ = self.clock.timeout(Duration::from_secs(1), self.changed.notified()).await;
                }
                Step::Done => return,
            }
        }
    }

    fn next_step(self: &Arc<Self>) -> Step {
        let mut state = self.state();
        state.forget_the_gone();
        if state.nobody_waits() {
            state.letting_through = false;
            return Step::Done;
        }
        let rules = self.rules.load();
        if state.in_flight >= rules.limit.concurrency {
            return Step::Full;
        }
        match rules.limiter.check() {
            Err(not_until) => Step::Sleep(not_until.wait_time_from(self.clock.now().monotonic)),
            Ok(cell) => match state.next() {
                Some(turn) => {
                    state.in_flight += 1;
                    Step::Hand(turn, self.grant(cell.remaining_burst_capacity(), Duration::ZERO))
                }
                None => Step::Done,
            },
        }
    }
}

fn limiter(limit: &UpstreamLimit, clock: &Clock) -> Arc<Limiter> {
    let limiter = RateLimiter::direct_with_clock(quota(limit.rate), clock.clone());
    Arc::new(limiter.with_middleware::<StateInformationMiddleware>())
}

/// The next step of the task that hands out passes.
enum Step {
    Hand(oneshot::Sender<Pass>, Pass),
    Sleep(Duration),
    Full,
    Done,
}

impl State {
    fn paused(&mut self, now: Now) -> Option<Refused> {
        let Pause { until, told } = self.pause?;
        let rest = now.until(until);
        if rest.is_zero() {
            self.pause = None;
            return None;
        }
        Some(Refused::Paused { rest, told })
    }

    fn nobody_waits(&self) -> bool {
        self.turns.is_empty() && self.background.is_empty()
    }

    fn enqueue(&mut self, waiter: Waiter, sender: oneshot::Sender<Pass>) {
        match waiter {
            Waiter::Background => self.background.push_back(sender),
            Waiter::Client(client) => {
                let lane = self.lanes.entry(client.clone()).or_default();
                if lane.is_empty() {
                    self.turns.push_back(client);
                }
                lane.push_back(sender);
            }
        }
    }

    /// The next waiter: one per client in turn, then the background ones.
    fn next(&mut self) -> Option<oneshot::Sender<Pass>> {
        while let Some(client) = self.turns.pop_front() {
            let Some(lane) = self.lanes.get_mut(&client) else { continue };
            let sender = lane.pop_front();
            if lane.is_empty() {
                self.lanes.remove(&client);
            } else {
                self.turns.push_back(client);
            }
            if sender.is_some() {
                return sender;
            }
        }
        self.background.pop_front()
    }

    fn forget_the_gone(&mut self) {
        self.background.retain(|sender| !sender.is_closed());
        for lane in self.lanes.values_mut() {
            lane.retain(|sender| !sender.is_closed());
        }
        self.lanes.retain(|_, lane| !lane.is_empty());
        let lanes = &self.lanes;
        self.turns.retain(|client| lanes.contains_key(client));
    }

    fn dismiss_all(&mut self) {
        self.lanes.clear();
        self.turns.clear();
        self.background.clear();
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.state().in_flight -= 1;
        self.gate.changed.notify_one();
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
