//! A history of the last hour in bounded memory: the differences between successive readings of all series.
//!
//! It serves operators who have no Prometheus server at hand; Prometheus keeps more, and for longer. The request
//! path does no additional work: every [`INTERVAL`] all series are read and the differences are stored. Durations
//! and order use the monotonic clock, so setting back the system clock neither loses nor duplicates data.
//!
//! # Memory
//!
//! At most [`POINTS`] points with [`TENANTS`] tenants each, and [`EVENTS`] events, which take less than
//! 2 MiB together. In addition the last reading is kept, which is as large as the series of the registry.
//! Tenants beyond those with the most requests are added up in one number, and when there are too many events the
//! oldest are dropped; the response reports both.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::reading::{Counts, Reading};
use crate::clock::Now;

/// The time between two readings.
pub(crate) const INTERVAL: Duration = Duration::from_secs(10);
/// The maximum number of points: one hour.
pub(crate) const POINTS: usize = 360;
/// The maximum age of points and events.
pub(crate) const LENGTH: Duration = Duration::from_hours(1);
/// The maximum number of tenants listed in a point.
pub(crate) const TENANTS: usize = 64;
/// The maximum number of events.
pub(crate) const EVENTS: usize = 4096;

/// The history of one proxy.
#[derive(Debug)]
pub(crate) struct History {
    run: u64,
    state: Mutex<State>,
}

/// Increments by name; names without an increment are omitted.
pub(crate) type Increments = Vec<(Arc<str>, u64)>;

/// The differences between two readings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Point {
    /// The sequence number of the point.
    pub(crate) number: u64,
    /// The time of the second reading.
    pub(crate) at: Instant,
    /// The time between the two readings.
    pub(crate) length: Duration,
    /// Answered requests.
    pub(crate) requests: u64,
    /// Requests answered with a 5xx status, from the proxy or from Talkdesk.
    pub(crate) failed: u64,
    /// Cache results, by result.
    pub(crate) cache: Increments,
    /// Answered requests by duration: one count per bucket of `http_request_duration_seconds`, not cumulative.
    pub(crate) buckets: Vec<u64>,
    /// Requests sent to the API.
    pub(crate) upstream: u64,
    /// Requests sent to the API by tenant: the [`TENANTS`] tenants with the most.
    pub(crate) tenants: Increments,
    /// Requests sent to the API for all other tenants.
    pub(crate) tenants_rest: u64,
    /// Requests to the API without a usable response, by kind.
    pub(crate) errors: Increments,
}

/// Something that happened to a credential or to the configuration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HistoryEvent {
    /// The number of the point in which it was detected.
    pub(crate) point: u64,
    /// When it was detected: up to one [`INTERVAL`] after it happened.
    pub(crate) at: Instant,
    /// What happened.
    pub(crate) kind: EventKind,
    /// The owner of the credential; empty for events of the configuration.
    pub(crate) owner: Arc<str>,
    /// How often it happened between the two readings.
    pub(crate) count: u64,
}

/// The kinds of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// A token was fetched.
    Token {
        /// When the token expires.
        until: Instant,
    },
    /// A token request failed.
    TokenFailed {
        /// The result, with the values of `token_requests_total`.
        result: Arc<str>,
    },
    /// Talkdesk requested a pause.
    Paused {
        /// When the pause ends.
        until: Instant,
    },
    /// A configuration was loaded.
    Reloaded,
    /// A configuration was refused.
    ReloadRefused,
}

/// The history at one moment.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// The stored points, oldest first. The last one has the differences since the last reading and is not stored
    /// yet.
    pub(crate) points: Vec<Point>,
    /// The stored events, oldest first, and those since the last reading.
    pub(crate) events: Vec<HistoryEvent>,
    /// Number of events dropped because there were more than [`EVENTS`].
    pub(crate) events_dropped: u64,
}

#[derive(Debug, Default)]
struct State {
    before: Totals,
    read: Option<Instant>,
    next: u64,
    points: VecDeque<Point>,
    events: VecDeque<HistoryEvent>,
    events_dropped: u64,
    names: HashSet<Arc<str>>,
}

/// The values of a reading that the history uses.
#[derive(Debug, Default)]
struct Totals {
    requests: u64,
    failed: u64,
    cache: Named,
    buckets: Vec<u64>,
    upstream: u64,
    tenants: Named,
    errors: Named,
    tokens: BTreeMap<Arc<str>, Named>,
    token_ends: BTreeMap<String, f64>,
    paused_until: BTreeMap<String, f64>,
    loaded_at: f64,
    reload_worked: bool,
}

type Named = BTreeMap<Arc<str>, u64>;

/// The differences between two readings.
struct Difference {
    point: Point,
    events: Vec<HistoryEvent>,
}

impl Default for History {
    fn default() -> Self {
        Self { run: fastrand::u64(..), state: Mutex::default() }
    }
}

impl History {
    /// A random number per process: clients use it to detect that points belong to another run.
    #[must_use]
    pub(crate) fn run(&self) -> u64 {
        self.run
    }

    /// Takes the first reading; earlier increments are in no point.
    pub(crate) fn begin(&self, now: Now, reading: &Reading) {
        let mut state = self.state();
        state.before = Totals::of(reading, &mut HashSet::new());
        state.read = Some(now.monotonic);
    }

    /// Stores the differences since the last reading.
    pub(crate) fn record(&self, now: Now, reading: &Reading) {
        let state = &mut *self.state();
        let totals = Totals::of(reading, &mut state.names);
        let Difference { point, events } = state.difference(&totals, now);
        state.points.push_back(point);
        state.events.extend(events);
        let is_old = |at: Instant| now.since(at) > LENGTH;
        while state.points.len() > POINTS || state.points.front().is_some_and(|point| is_old(point.at)) {
            state.points.pop_front();
        }
        while state.events.front().is_some_and(|event| is_old(event.at)) {
            state.events.pop_front();
        }
        while state.events.len() > EVENTS {
            state.events.pop_front();
            state.events_dropped += 1;
        }
        state.before = totals;
        state.read = Some(now.monotonic);
        state.next += 1;
        // Remove names that only dropped points used.
        state.names.retain(|name| Arc::strong_count(name) > 1);
    }

    /// The stored history and the differences since the last reading; the latter are not stored.
    #[must_use]
    pub(crate) fn view(&self, now: Now, reading: &Reading) -> View {
        let state = &mut *self.state();
        let totals = Totals::of(reading, &mut state.names);
        let since = state.difference(&totals, now);
        View {
            points: state.points.iter().cloned().chain([since.point]).collect(),
            events: state.events.iter().cloned().chain(since.events).collect(),
            events_dropped: state.events_dropped,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The differences from the last reading to this one.
    fn difference(&self, totals: &Totals, now: Now) -> Difference {
        let before = &self.before;
        let mut tenants = increments(&totals.tenants, &before.tenants);
        tenants.sort_by_key(|(_, count)| Reverse(*count));
        let rest = tenants.split_off(tenants.len().min(TENANTS));
        tenants.shrink_to_fit();
        let buckets = totals.buckets.iter().enumerate();
        let point = Point {
            number: self.next,
            at: now.monotonic,
            length: self.read.map(|read| now.since(read)).unwrap_or_default(),
            requests: totals.requests.saturating_sub(before.requests),
            failed: totals.failed.saturating_sub(before.failed),
            cache: increments(&totals.cache, &before.cache),
            buckets: buckets
                .map(|(place, end)| {
                    end.saturating_sub(before.buckets.get(place).copied().unwrap_or_default())
                })
                .collect(),
            upstream: totals.upstream.saturating_sub(before.upstream),
            tenants,
            tenants_rest: rest.iter().map(|(_, count)| count).sum(),
            errors: increments(&totals.errors, &before.errors),
        };
        Difference { point, events: self.events(totals, now) }
    }

    fn events(&self, totals: &Totals, now: Now) -> Vec<HistoryEvent> {
        let before = &self.before;
        let event = |kind, owner: &Arc<str>, count| HistoryEvent {
            point: self.next,
            at: now.monotonic,
            kind,
            owner: Arc::clone(owner),
            count,
        };
        let mut events = Vec::new();
        let none = Named::new();
        for (owner, results) in &totals.tokens {
            for (result, count) in increments(results, before.tokens.get(owner).unwrap_or(&none)) {
                let kind = if &*result == "ok" {
                    let ends = totals.token_ends.get(&**owner).copied().unwrap_or_default();
                    EventKind::Token { until: instant(ends, now) }
                } else {
                    EventKind::TokenFailed { result }
                };
                events.push(event(kind, owner, count));
            }
            let paused = totals.paused_until.get(&**owner).copied().unwrap_or_default();
            if paused > before.paused_until.get(&**owner).copied().unwrap_or_default() {
                events.push(event(EventKind::Paused { until: instant(paused, now) }, owner, 1));
            }
        }
        let nobody = Arc::from("");
        if totals.loaded_at > before.loaded_at && before.loaded_at > 0.0 {
            events.push(event(EventKind::Reloaded, &nobody, 1));
        }
        if before.reload_worked && !totals.reload_worked {
            events.push(event(EventKind::ReloadRefused, &nobody, 1));
        }
        events
    }
}

impl Totals {
    fn of(reading: &Reading, names: &mut HashSet<Arc<str>>) -> Self {
        let mut by = |name, label| share(reading.by(name, label), names);
        let cache = by("cache_requests_total", "result");
        let tenants = by("tenant_upstream_requests_total", "tenant");
        let errors = by("upstream_errors_total", "kind");
        let mut of_tenants = |name, label| {
            let found = reading.by_both(name, "tenant", label).into_iter();
            found.map(|(tenant, counts)| (shared(&tenant, names), share(counts, names))).collect()
        };
        Self {
            requests: reading.sum("http_requests_total"),
            failed: reading.sum_where("http_requests_total", "status", "5"),
            cache,
            buckets: reading.buckets("http_request_duration_seconds"),
            upstream: reading.sum("upstream_requests_total"),
            tenants,
            errors,
            tokens: of_tenants("token_requests_total", "result"),
            token_ends: reading.gauges("token_expiry_timestamp_seconds", "tenant"),
            paused_until: reading.gauges("upstream_paused_until_timestamp_seconds", "tenant"),
            loaded_at: reading.gauges("config_last_reload_success_timestamp_seconds", "").values().sum(),
            reload_worked: reading.sum("config_last_reload_successful") > 0,
        }
    }
}

fn share(counts: Counts, names: &mut HashSet<Arc<str>>) -> Named {
    counts.into_iter().map(|(name, count)| (shared(&name, names), count)).collect()
}

/// Interns a name, so that all points share one copy.
fn shared(name: &str, names: &mut HashSet<Arc<str>>) -> Arc<str> {
    if let Some(known) = names.get(name) {
        return Arc::clone(known);
    }
    let new: Arc<str> = name.into();
    names.insert(Arc::clone(&new));
    new
}

/// The increments of those that have grown.
fn increments(now: &Named, before: &Named) -> Increments {
    let by = |(name, count): (&Arc<str>, &u64)| {
        let more = count.saturating_sub(before.get(name).copied().unwrap_or_default());
        (more > 0).then(|| (Arc::clone(name), more))
    };
    now.iter().filter_map(by).collect()
}

/// Converts a Unix time in seconds to the monotonic clock; a time in the past becomes now.
fn instant(unix: f64, now: Now) -> Instant {
    let since_epoch = now.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let ahead = Duration::try_from_secs_f64(unix).unwrap_or_default().saturating_sub(since_epoch);
    now.after(ahead)
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
