//! Talkdesk asks for a pause: the credential keeps it, for everybody, and no other does.

use std::time::{Duration, SystemTime};

use billing_insights_proxy::clock::Clock;
use billing_insights_proxy::simulator::{Fault, FaultKind, Options, RateLimit, Target, samples};
use http::StatusCode;
use rstest::rstest;

use crate::support::{Proxy, SAMPLE_TENANTS, Talkdesk, is_nearly};
use crate::tokens::credential;

const ACME: &str = "organizations/acme";

fn page(number: u64) -> String {
    format!("/organizations/acme/express/invoices?page={number}&per_page=1")
}

fn asks_for_a_pause(talkdesk: &Talkdesk, status: u16, retry_after: Option<&str>) {
    let kind = FaultKind::Status { status, retry_after: retry_after.map(str::to_owned), body: None };
    talkdesk.control().inject(Fault::once(Target::Api, kind)).expect("a fault");
}

async fn sample_proxy(further: &str) -> (Talkdesk, Proxy) {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, further).await;
    (talkdesk, proxy)
}

#[tokio::test]
async fn a_pause_in_seconds_holds_for_everybody_and_for_that_credential_only() {
    let (talkdesk, proxy) = sample_proxy("").await;
    asks_for_a_pause(&talkdesk, 429, Some("30"));
    let first = proxy.get(&page(1)).await;
    first.assert_problem(429, "upstream_rate_limited");
    assert_eq!(first.field("retry-after"), "30");
    proxy.advance(Duration::from_secs(10));
    for path in [page(2), "/instances/josephpinetrees/express/invoices".to_owned()] {
        let other = proxy.get(&path).await;
        other.assert_problem(429, "upstream_rate_limited");
        assert_eq!(other.field("retry-after"), "20", "the rest of the pause");
    }
    assert_eq!(talkdesk.counts().0, 1, "nothing is sent during the pause");
    assert_eq!(proxy.get("/organizations/northwind/express/invoices").await.status, StatusCode::OK);
    assert_eq!(credential(&proxy, ACME).await["paused"], true);
    let until = proxy.metric("upstream_paused_until_timestamp_seconds", &[("tenant", ACME)]).await;
    let now = Clock::Manual(proxy.clock.clone()).now().wall;
    let now = now.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs_f64();
    assert!((19.0..=21.0).contains(&(until - now)), "{}", until - now);
    proxy.advance(Duration::from_secs(20));
    assert_eq!(proxy.get(&page(2)).await.status, StatusCode::OK);
    assert_eq!(credential(&proxy, ACME).await["paused"], false);
}

#[tokio::test]
async fn a_pause_may_be_told_as_a_date() {
    let (talkdesk, proxy) = sample_proxy("").await;
    let until = Clock::Manual(proxy.clock.clone()).now().wall + Duration::from_mins(1);
    asks_for_a_pause(&talkdesk, 429, Some(&httpdate::fmt_http_date(until)));
    let reply = proxy.get(&page(1)).await;
    reply.assert_problem(429, "upstream_rate_limited");
    assert!((59..=60).contains(&reply.field("retry-after").parse::<u64>().expect("seconds")));
    proxy.advance(Duration::from_secs(58));
    proxy.get(&page(1)).await.assert_problem(429, "upstream_rate_limited");
    proxy.advance(Duration::from_secs(2));
    assert_eq!(proxy.get(&page(1)).await.status, StatusCode::OK);
    assert_eq!(talkdesk.counts().0, 2);
}

#[rstest]
#[case::huge("31536000")]
#[case::beyond_every_number("99999999999999999999999")]
#[case::far_in_the_future("Tue, 31 Dec 2999 23:59:59 GMT")]
#[tokio::test]
async fn a_pause_is_no_longer_than_the_operator_allows(#[case] retry_after: &str) {
    let (talkdesk, proxy) = sample_proxy("limits:\n  upstream: { max_pause: 90s }\n").await;
    asks_for_a_pause(&talkdesk, 429, Some(retry_after));
    let reply = proxy.get(&page(1)).await;
    reply.assert_problem(429, "upstream_rate_limited");
    assert_eq!(reply.field("retry-after"), "90");
    proxy.advance(Duration::from_secs(90));
    assert_eq!(proxy.get(&page(1)).await.status, StatusCode::OK);
}

#[rstest]
#[case::without(None)]
#[case::unreadable(Some("soon"))]
#[case::negative(Some("-5"))]
#[tokio::test]
async fn where_talkdesk_names_no_time_none_is_invented(#[case] retry_after: Option<&str>) {
    let (talkdesk, proxy) = sample_proxy("").await;
    asks_for_a_pause(&talkdesk, 429, retry_after);
    for number in 1..=5 {
        let reply = proxy.get(&page(number)).await;
        reply.assert_problem(429, "upstream_rate_limited");
        assert!(!reply.fields.contains_key("retry-after"));
    }
    assert_eq!(talkdesk.counts().0, 1, "the proxy backs off by itself");
    proxy.advance(Duration::from_secs(2));
    assert_eq!(proxy.get(&page(1)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_503_with_a_time_pauses_too() {
    let (talkdesk, proxy) = sample_proxy("").await;
    asks_for_a_pause(&talkdesk, 503, Some("30"));
    assert_eq!(proxy.get(&page(1)).await.status, StatusCode::SERVICE_UNAVAILABLE);
    let other = proxy.get(&page(2)).await;
    other.assert_problem(429, "upstream_rate_limited");
    assert_eq!(other.field("retry-after"), "30");
    assert_eq!(talkdesk.counts().0, 1);
}

#[tokio::test]
async fn what_is_stored_is_served_during_a_pause() {
    let rule =
        "cache:\n  endpoints:\n    invoices: { ttl: 60s, stale_while_revalidate: 0s, stale_if_error: 1h }\n";
    let (talkdesk, proxy) = sample_proxy(rule).await;
    let fresh = proxy.get(&page(1)).await;
    proxy.advance(Duration::from_secs(61));
    asks_for_a_pause(&talkdesk, 429, Some("30"));
    for _ in 0..3 {
        let stale = proxy.get(&page(1)).await;
        assert_eq!((stale.status, &stale.body), (StatusCode::OK, &fresh.body));
        assert!(is_nearly(stale.cache_status(), "hit; ttl=-1; detail=paused"));
    }
    assert_eq!(talkdesk.counts().0, 2);
    assert!((proxy.metric("stale_served_total", &[("reason", "paused")]).await - 3.0).abs() < 0.1);
}

#[tokio::test]
async fn a_client_that_heeds_the_pause_gets_everything_from_a_talkdesk_with_a_limit() {
    let limit = RateLimit { per_second: 1, burst: 2, retry_after: true };
    let talkdesk = Talkdesk::start(Options { rate_limit: Some(limit), ..samples() }).await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, "").await;
    let mut refused = 0;
    for number in 1..=8 {
        loop {
            let reply = proxy.get(&page(number)).await;
            if reply.status == StatusCode::OK {
                break;
            }
            reply.assert_problem(429, "upstream_rate_limited");
            refused += 1;
            assert!(refused <= 8, "the pause is longer than what Retry-After said");
            proxy.advance(Duration::from_secs(reply.field("retry-after").parse().expect("seconds")));
        }
    }
    assert_eq!(talkdesk.control().counters().api.by_status["200"], 8);
}
