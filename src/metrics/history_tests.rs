use http::StatusCode;

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::metrics::{CacheResult, Metrics};

/// The documented maximum of points and events together, in bytes, without the names, which are shared.
const MAX_BYTES: usize = 2 << 20;

struct Fixture {
    metrics: Metrics,
    clock: ManualClock,
    /// How far the wall clock was set back.
    back: Duration,
}

impl Fixture {
    fn new() -> Self {
        let fixture = Self { metrics: Metrics::new(), clock: ManualClock::new(), back: Duration::ZERO };
        fixture.metrics.history.begin(fixture.now(), &fixture.metrics.reading());
        fixture
    }

    fn now(&self) -> Now {
        let now = Clock::Manual(self.clock.clone()).now();
        Now { wall: now.wall - self.back, ..now }
    }

    fn record(&self) {
        self.clock.advance(INTERVAL);
        self.metrics.history.record(self.now(), &self.metrics.reading());
    }

    fn hit(&self, times: usize) {
        for _ in 0..times {
            self.metrics.endpoint("invoices").answered(StatusCode::OK, CacheResult::Hit, 0.0002);
        }
    }

    fn view(&self) -> View {
        self.metrics.history.view(self.now(), &self.metrics.reading())
    }

    fn unix(&self) -> f64 {
        self.now().wall.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs_f64()
    }
}

fn counts(increments: &Increments) -> Vec<(&str, u64)> {
    increments.iter().map(|(name, count)| (&**name, *count)).collect()
}

#[test]
fn a_point_has_the_increments_since_the_previous_reading() {
    let fixture = Fixture::new();
    fixture.hit(3);
    fixture.record();
    fixture.hit(2);
    fixture.metrics.endpoint("products").answered(StatusCode::BAD_GATEWAY, CacheResult::Miss, 0.3);
    fixture.metrics.endpoint("products").upstream_failed();
    fixture.metrics.tenant("organizations/acme").upstream_requests.inc();
    fixture.metrics.upstream_error("reset");
    fixture.record();
    let points = fixture.view().points;
    assert_eq!(points.iter().map(|point| point.requests).collect::<Vec<_>>(), [3, 3, 0]);
    let point = &points[1];
    assert_eq!((point.number, point.failed, point.upstream, point.length), (1, 1, 1, INTERVAL));
    assert_eq!(counts(&point.cache), [("hit", 2), ("miss", 1)]);
    assert_eq!(counts(&point.tenants), [("organizations/acme", 1)]);
    assert_eq!(counts(&point.errors), [("reset", 1)]);
    assert_eq!(point.buckets.iter().sum::<u64>(), 3);
    assert_eq!((point.buckets[1], point.buckets[9]), (2, 1));
}

#[test]
fn a_point_omits_counters_without_increments() {
    let fixture = Fixture::new();
    fixture.hit(1);
    fixture.metrics.tenant("organizations/acme").upstream_requests.inc();
    fixture.metrics.token_request("organizations/acme", "ok");
    fixture.record();
    fixture.record();
    let view = fixture.view();
    let point = &view.points[1];
    assert_eq!((point.requests, point.cache.len(), point.tenants.len()), (0, 0, 0));
    assert!(point.buckets.iter().all(|count| *count == 0));
    assert_eq!(view.events.len(), 1);
}

#[test]
fn a_view_shows_increments_since_the_last_reading_and_does_not_store_them() {
    let fixture = Fixture::new();
    fixture.hit(4);
    for _ in 0..3 {
        let points = fixture.view().points;
        assert_eq!((points.len(), points[0].requests), (1, 4));
    }
    fixture.record();
    assert_eq!(fixture.view().points.iter().map(|point| point.requests).collect::<Vec<_>>(), [4, 0]);
}

#[test]
fn the_history_stays_within_its_memory_limit() {
    let fixture = Fixture::new();
    let tenants: Vec<_> = (0..300).map(|n| fixture.metrics.tenant(&format!("instances/t{n}"))).collect();
    for round in 0..(POINTS + 40) {
        for (place, tenant) in tenants.iter().enumerate() {
            tenant.upstream_requests.inc_by(1 + (place as u64 + round as u64) % 300);
        }
        for place in 0..40 {
            fixture.metrics.token_request(&format!("instances/t{place}"), "rejected");
        }
        fixture.record();
    }
    let state = fixture.metrics.history.state();
    assert_eq!(state.points.len(), POINTS);
    assert!(state.points.iter().all(|point| point.tenants.len() == TENANTS && point.tenants_rest > 0));
    assert_eq!(state.events.len(), EVENTS);
    assert!(state.events_dropped > 0);
    let point = |point: &Point| {
        let increments = point.cache.capacity() + point.tenants.capacity() + point.errors.capacity();
        size_of::<Point>() + increments * size_of::<(Arc<str>, u64)>() + point.buckets.capacity() * 8
    };
    let bytes =
        state.points.iter().map(point).sum::<usize>() + state.events.len() * size_of::<HistoryEvent>();
    assert!(bytes < MAX_BYTES, "{bytes}");
    assert!(state.names.len() < 330, "a name is kept once: {}", state.names.len());
}

#[test]
fn a_name_is_removed_with_the_last_point_that_uses_it() {
    let fixture = Fixture::new();
    let series = &fixture.metrics.tenant_upstream_requests;
    series.with_label_values(&["instances/gone"]).inc();
    fixture.record();
    series.remove_label_values(&["instances/gone"]).expect("a series");
    let knows = || fixture.metrics.history.state().names.contains("instances/gone");
    fixture.record();
    assert!(knows(), "a point still has it");
    for _ in 0..POINTS {
        fixture.record();
    }
    assert!(!knows());
}

#[test]
fn a_point_counts_the_tenants_that_it_does_not_list() {
    let fixture = Fixture::new();
    for place in 0..100_u64 {
        fixture.metrics.tenant(&format!("instances/t{place}")).upstream_requests.inc_by(place + 1);
    }
    fixture.record();
    let point = &fixture.view().points[0];
    assert_eq!(counts(&point.tenants)[0], ("instances/t99", 100));
    let told_apart: u64 = point.tenants.iter().map(|(_, count)| count).sum();
    assert_eq!(told_apart + point.tenants_rest, 5050);
}

#[test]
fn points_and_events_older_than_an_hour_are_removed() {
    let fixture = Fixture::new();
    fixture.hit(1);
    fixture.metrics.token_request("organizations/acme", "rejected");
    fixture.record();
    fixture.clock.advance(LENGTH);
    fixture.record();
    let view = fixture.view();
    assert_eq!((view.points.len(), view.events.len()), (2, 0));
    assert_eq!(view.points[0].length, LENGTH + INTERVAL, "a late reading says how long it covers");
}

#[test]
fn setting_the_clock_back_loses_and_duplicates_nothing() {
    let mut fixture = Fixture::new();
    fixture.hit(1);
    fixture.record();
    fixture.back = Duration::from_hours(5);
    fixture.hit(2);
    fixture.record();
    let points = fixture.view().points;
    assert_eq!(points.iter().map(|point| point.requests).collect::<Vec<_>>(), [1, 2, 0]);
    assert!(points[..2].iter().all(|point| point.length == INTERVAL));
    assert!(points[0].at < points[1].at);
}

#[test]
fn tokens_failures_pauses_and_reloads_are_events() {
    let fixture = Fixture::new();
    let (acme, metrics) = ("organizations/acme", &fixture.metrics);
    metrics.config_last_reload_successful.set(1);
    metrics.config_last_reload_success_timestamp.set(fixture.unix());
    metrics.token_expiry_timestamp.with_label_values(&[acme]).set(fixture.unix() + 610.0);
    metrics.token_request(acme, "ok");
    fixture.record();
    metrics.token_request(acme, "rejected");
    metrics.token_request(acme, "rejected");
    metrics.upstream_paused_until_timestamp.with_label_values(&[acme]).set(fixture.unix() + 40.0);
    metrics.config_last_reload_success_timestamp.set(fixture.unix());
    fixture.record();
    metrics.config_last_reload_successful.set(0);
    fixture.record();
    fixture.record();
    let events = fixture.view().events;
    let now = fixture.now();
    let is_about = |instant: Instant, wanted: f64| {
        assert!((now.until(instant).as_secs_f64() - wanted).abs() < 0.1, "{:?}", now.until(instant));
    };
    let [token, failed, paused, reloaded, refused] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&*token.owner, token.count), (acme, 1));
    match (&token.kind, &failed.kind, &paused.kind) {
        (
            EventKind::Token { until },
            EventKind::TokenFailed { result },
            EventKind::Paused { until: pause },
        ) => {
            is_about(*until, 570.0);
            assert_eq!((&**result, failed.count), ("rejected", 2));
            is_about(*pause, 10.0);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((&reloaded.kind, reloaded.point), (&EventKind::Reloaded, 1));
    assert_eq!((&refused.kind, refused.point), (&EventKind::ReloadRefused, 2));
}
