use http::StatusCode;

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::metrics::{CacheResult, Metrics};

struct Watched {
    metrics: Metrics,
    clock: ManualClock,
    /// How far the wall clock was set back.
    back: Duration,
}

impl Watched {
    fn new() -> Self {
        let watched = Self { metrics: Metrics::new(), clock: ManualClock::new(), back: Duration::ZERO };
        watched.metrics.history.begin(watched.now(), &watched.metrics.reading());
        watched
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

fn counts(moved: &Moved) -> Vec<(&str, u64)> {
    moved.iter().map(|(name, count)| (&**name, *count)).collect()
}

#[test]
fn a_point_holds_what_happened_since_the_one_before() {
    let watched = Watched::new();
    watched.hit(3);
    watched.record();
    watched.hit(2);
    watched.metrics.endpoint("products").answered(StatusCode::BAD_GATEWAY, CacheResult::Miss, 0.3);
    watched.metrics.endpoint("products").upstream_failed();
    watched.metrics.tenant("organizations/acme").upstream_requests.inc();
    watched.metrics.upstream_error("reset");
    watched.record();
    let points = watched.view().points;
    assert_eq!(points.iter().map(|point| point.requests).collect::<Vec<_>>(), [3, 3, 0]);
    let point = &points[1];
    assert_eq!((point.number, point.failed, point.upstream, point.length), (1, 1, 1, INTERVAL));
    assert_eq!(counts(&point.cache), [("hit", 2), ("miss", 1)]);
    assert_eq!(counts(&point.tenants), [("organizations/acme", 1)]);
    assert_eq!(counts(&point.errors), [("reset", 1)]);
    assert_eq!(point.bands.iter().sum::<u64>(), 3);
    assert_eq!((point.bands[1], point.bands[9]), (2, 1));
}

#[test]
fn a_counter_that_did_not_move_is_in_no_point() {
    let watched = Watched::new();
    watched.hit(1);
    watched.metrics.tenant("organizations/acme").upstream_requests.inc();
    watched.metrics.token_request("organizations/acme", "ok");
    watched.record();
    watched.record();
    let view = watched.view();
    let point = &view.points[1];
    assert_eq!((point.requests, point.cache.len(), point.tenants.len()), (0, 0, 0));
    assert!(point.bands.iter().all(|band| *band == 0));
    assert_eq!(view.events.len(), 1);
}

#[test]
fn what_happened_since_the_last_reading_is_shown_and_not_kept() {
    let watched = Watched::new();
    watched.hit(4);
    for _ in 0..3 {
        let points = watched.view().points;
        assert_eq!((points.len(), points[0].requests), (1, 4));
    }
    watched.record();
    assert_eq!(watched.view().points.iter().map(|point| point.requests).collect::<Vec<_>>(), [4, 0]);
}

#[test]
fn memory_is_bounded_whatever_moves() {
    let watched = Watched::new();
    let tenants: Vec<_> = (0..300).map(|n| watched.metrics.tenant(&format!("instances/t{n}"))).collect();
    for round in 0..(POINTS + 40) {
        for (place, tenant) in tenants.iter().enumerate() {
            tenant.upstream_requests.inc_by(1 + (place as u64 + round as u64) % 300);
        }
        for place in 0..40 {
            watched.metrics.token_request(&format!("instances/t{place}"), "rejected");
        }
        watched.record();
    }
    let state = watched.metrics.history.state();
    assert_eq!(state.points.len(), POINTS);
    assert!(state.points.iter().all(|point| point.tenants.len() == TENANTS && point.tenants_rest > 0));
    assert_eq!(state.events.len(), EVENTS);
    assert!(state.events_dropped > 0);
    let point = |point: &Point| {
        let moved = point.cache.capacity() + point.tenants.capacity() + point.errors.capacity();
        size_of::<Point>() + moved * size_of::<(Arc<str>, u64)>() + point.bands.capacity() * 8
    };
    let bytes = state.points.iter().map(point).sum::<usize>() + state.events.len() * size_of::<Event>();
    assert!(bytes < MOST_BYTES, "{bytes}");
    assert!(state.names.len() < 330, "a name is kept once: {}", state.names.len());
}

#[test]
fn a_name_is_forgotten_with_the_last_point_that_has_it() {
    let watched = Watched::new();
    let series = &watched.metrics.tenant_upstream_requests;
    series.with_label_values(&["instances/gone"]).inc();
    watched.record();
    series.remove_label_values(&["instances/gone"]).expect("a series");
    let knows = || watched.metrics.history.state().names.contains("instances/gone");
    watched.record();
    assert!(knows(), "a point still has it");
    for _ in 0..POINTS {
        watched.record();
    }
    assert!(!knows());
}

#[test]
fn the_tenants_that_a_point_does_not_tell_apart_are_counted_all_the_same() {
    let watched = Watched::new();
    for place in 0..100_u64 {
        watched.metrics.tenant(&format!("instances/t{place}")).upstream_requests.inc_by(place + 1);
    }
    watched.record();
    let point = &watched.view().points[0];
    assert_eq!(counts(&point.tenants)[0], ("instances/t99", 100));
    let told_apart: u64 = point.tenants.iter().map(|(_, count)| count).sum();
    assert_eq!(told_apart + point.tenants_rest, 5050);
}

#[test]
fn points_and_events_older_than_an_hour_go() {
    let watched = Watched::new();
    watched.hit(1);
    watched.metrics.token_request("organizations/acme", "rejected");
    watched.record();
    watched.clock.advance(LENGTH);
    watched.record();
    let view = watched.view();
    assert_eq!((view.points.len(), view.events.len()), (2, 0));
    assert_eq!(view.points[0].length, LENGTH + INTERVAL, "a late reading says how long it covers");
}

#[test]
fn a_clock_that_is_set_back_loses_and_doubles_nothing() {
    let mut watched = Watched::new();
    watched.hit(1);
    watched.record();
    watched.back = Duration::from_hours(5);
    watched.hit(2);
    watched.record();
    let points = watched.view().points;
    assert_eq!(points.iter().map(|point| point.requests).collect::<Vec<_>>(), [1, 2, 0]);
    assert!(points[..2].iter().all(|point| point.length == INTERVAL));
    assert!(points[0].at < points[1].at);
}

#[test]
fn token_lives_failures_pauses_and_reloads_are_events() {
    let watched = Watched::new();
    let (acme, metrics) = ("organizations/acme", &watched.metrics);
    metrics.config_last_reload_successful.set(1);
    metrics.config_last_reload_success_timestamp.set(watched.unix());
    metrics.token_expiry_timestamp.with_label_values(&[acme]).set(watched.unix() + 610.0);
    metrics.token_request(acme, "ok");
    watched.record();
    metrics.token_request(acme, "rejected");
    metrics.token_request(acme, "rejected");
    metrics.upstream_paused_until_timestamp.with_label_values(&[acme]).set(watched.unix() + 40.0);
    metrics.config_last_reload_success_timestamp.set(watched.unix());
    watched.record();
    metrics.config_last_reload_successful.set(0);
    watched.record();
    watched.record();
    let events = watched.view().events;
    let now = watched.now();
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
