//! `GET /api/history`: the last hour, for charts. `GET /api/status`: the totals since the start.
//!
//! Times are Unix times in milliseconds. `after=N` returns only the points and events after point N, so that a
//! client that polls does not receive the whole hour each time. `run` identifies the process.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::parameters;
use super::reply::AdminResponse;
use crate::clock::Now;
use crate::metrics::history::{
    EVENTS, EventKind, HistoryEvent, INTERVAL, Increments, LENGTH, POINTS, Point, TENANTS,
};
use crate::metrics::{PREFIX, REQUEST_DURATION_BUCKETS};
use crate::proxy::Proxy;
use crate::timestamp::timestamp;
use crate::version::{REVISION, VERSION};

/// The stored points and events.
pub(super) fn history(proxy: &Proxy, query: Option<&str>) -> AdminResponse {
    let mut from = 0;
    let read = parameters::each(query.unwrap_or_default(), &["after"], |_, value| {
        let after: u64 =
            value.parse().map_err(|_| format!("`after={value}` is not the number of a point"))?;
        from = after.saturating_add(1);
        Ok(())
    });
    if let Err(message) = read {
        return AdminResponse::error(StatusCode::BAD_REQUEST, "parameter_not_allowed", &message);
    }
    let now = proxy.clock.now();
    let view = proxy.metrics.history.view(now, &proxy.metrics.reading());
    let points: Vec<_> =
        view.points.iter().filter(|point| point.number >= from).map(|one| point(one, now)).collect();
    let events: Vec<_> =
        view.events.iter().filter(|event| event.point >= from).map(|one| event(one, now)).collect();
    AdminResponse::compact(&json!({
        "run": proxy.metrics.history.run().to_string(),
        "now": unix(now, now.monotonic),
        "interval_seconds": INTERVAL.as_secs(),
        "kept": {
            "seconds": LENGTH.as_secs(),
            "points": POINTS,
            "tenants_of_a_point": TENANTS,
            "events": EVENTS,
            "events_dropped": view.events_dropped,
        },
        "latency_bounds_seconds": REQUEST_DURATION_BUCKETS,
        "points": points,
        "events": events,
    }))
}

fn point(point: &Point, now: Now) -> Value {
    json!({
        "number": point.number,
        "at": unix(now, point.at),
        "seconds": point.length.as_secs_f64(),
        "requests": point.requests,
        "failed": point.failed,
        "cache": object(&point.cache),
        "latency": point.buckets,
        "upstream_requests": point.upstream,
        "tenants": object(&point.tenants),
        "tenants_rest": point.tenants_rest,
        "upstream_errors": object(&point.errors),
    })
}

fn event(event: &HistoryEvent, now: Now) -> Value {
    let (kind, until, result) = match &event.kind {
        EventKind::Token { until } => ("token", Some(*until), None),
        EventKind::TokenFailed { result } => ("token_failed", None, Some(&**result)),
        EventKind::Paused { until } => ("paused", Some(*until), None),
        EventKind::Reloaded => ("reloaded", None, None),
        EventKind::ReloadRefused => ("reload_refused", None, None),
    };
    json!({
        "point": event.point,
        "at": unix(now, event.at),
        "kind": kind,
        "credential": &*event.owner,
        "count": event.count,
        "until": until.map(|until| unix(now, until)),
        "result": result,
    })
}

fn object(increments: &Increments) -> Map<String, Value> {
    increments.iter().map(|(name, count): &(Arc<str>, u64)| (name.to_string(), (*count).into())).collect()
}

fn unix(now: Now, instant: Instant) -> u64 {
    let since = now.wall_at(instant).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}

/// The version, and the totals of the counters since the start, from the same series that Prometheus scrapes.
pub(super) fn status(proxy: &Proxy) -> AdminResponse {
    let reading = proxy.metrics.reading();
    AdminResponse::json(
        StatusCode::OK,
        &json!({
            "version": VERSION,
            "revision": REVISION,
            "as_of": timestamp(proxy.clock.now().wall),
            "exposed": proxy.snapshot().config.server.exposed(),
            "metrics_prefix": PREFIX,
            "requests": reading.sum("http_requests_total"),
            "failed": reading.sum_where("http_requests_total", "status", "5"),
            "cache": reading.by("cache_requests_total", "result"),
            "cache_by_endpoint": reading.by_both("cache_requests_total", "endpoint", "result"),
            "not_stored": reading.by("cache_not_stored_total", "reason"),
            "evictions": reading.by("cache_evictions_total", "cause"),
            "latency": reading.buckets("http_request_duration_seconds"),
            "upstream_requests": reading.sum("upstream_requests_total"),
            "upstream_errors": reading.by("upstream_errors_total", "kind"),
            "limits": reading.by_both("rate_limit_decisions_total", "limit", "decision"),
            "denied": reading.by("requests_denied_total", "reason"),
        }),
    )
}
