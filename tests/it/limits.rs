//! How fast, how much at once, and in which order: proven by what arrives at Talkdesk.

use std::time::Duration;

use billing_insights_proxy::simulator::{Fault, FaultKind, Target};
use http::StatusCode;

use crate::support::{Proxy, Reply, SAMPLE_TENANTS, Talkdesk, eventually};
use crate::tokens::credential;

const ACME: &str = "organizations/acme";

fn page(number: u64) -> String {
    format!("/organizations/acme/express/invoices?page={number}&per_page=1")
}

async fn limited(limits: &str) -> (Talkdesk, Proxy) {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk
        .proxy(SAMPLE_TENANTS, &format!("upstream:\n  request_timeout: 1h\nlimits:\n{limits}\n"))
        .await;
    (talkdesk, proxy)
}

async fn waiting(proxy: &Proxy, count: u64) {
    eventually("so many wait", async || (credential(proxy, ACME).await["waiting"] == count).then_some(()))
        .await;
}

async fn arrived(talkdesk: &Talkdesk, count: u64) {
    eventually("so many have arrived", async || (talkdesk.counts().0 == count).then_some(())).await;
}

/// Asks for pages, all at once.
async fn get_all(proxy: &Proxy, pages: std::ops::RangeInclusive<u64>) -> Vec<Reply> {
    let asked: Vec<_> = pages.map(page).collect();
    futures_util::future::join_all(asked.iter().map(|path| proxy.get(path))).await
}

#[tokio::test]
async fn a_burst_and_then_the_rate_is_what_arrives() {
    let (talkdesk, proxy) =
        limited("  upstream: { rate: 2/s, burst: 3, concurrency: 100, max_wait: 1h }").await;
    let stepping = async {
        for landed in 3..8 {
            arrived(&talkdesk, landed).await;
            waiting(&proxy, 8 - landed).await;
            proxy.advance(Duration::from_millis(499));
            waiting(&proxy, 8 - landed).await;
            proxy.advance(Duration::from_millis(1));
        }
    };
    let (replies, ()) = tokio::join!(get_all(&proxy, 1..=8), stepping);
    assert!(replies.iter().all(|reply| reply.status == StatusCode::OK));
    let counters = talkdesk.control().counters();
    assert_eq!(counters.api.arrivals["acme"], [0, 0, 0, 500, 1000, 1500, 2000, 2500]);
}

#[tokio::test]
async fn no_more_are_under_way_at_once_than_may_be() {
    let (talkdesk, proxy) = limited("  upstream: { concurrency: 3, burst: 1000, max_wait: 1h }").await;
    let slow = Fault { count: 10, ..Fault::once(Target::Api, FaultKind::Slow { milliseconds: 1_000 }) };
    talkdesk.control().inject(slow).expect("a fault");
    let all = get_all(&proxy, 1..=10);
    let stepping = async {
        for landed in [3, 6, 9, 10] {
            arrived(&talkdesk, landed).await;
            assert_eq!(talkdesk.control().counters().api.in_flight, if landed == 10 { 1 } else { 3 });
            proxy.advance(Duration::from_secs(1));
        }
    };
    let (replies, ()) = tokio::join!(all, stepping);
    assert!(replies.iter().all(|reply| reply.status == StatusCode::OK));
    assert_eq!(talkdesk.control().counters().api.peak_concurrent_by_account["acme"], 3);
}

#[tokio::test]
async fn a_client_with_one_wish_does_not_wait_for_one_with_many() {
    let limits = "  upstream: { rate: 1/s, burst: 1, concurrency: 1, max_wait: 1h }
  client: { rate: 1000/s, burst: 1000, key: { field: X-Client-Name } }";
    let (talkdesk, proxy) = limited(limits).await;
    let asked: Vec<_> = (1..=7).map(page).collect();
    let greedy = [("x-client-name", "greedy")];
    let many = futures_util::future::join_all(asked.iter().map(|path| proxy.get_with(path, &greedy)));
    let one = async {
        waiting(&proxy, 6).await;
        proxy.get_with("/organizations/acme/express/subscriptions", &[("x-client-name", "modest")]).await
    };
    let stepping = async {
        waiting(&proxy, 7).await;
        for landed in 2..=8 {
            proxy.advance(Duration::from_secs(1));
            arrived(&talkdesk, landed).await;
            if landed == 3 {
                assert_eq!(talkdesk.control().counters().api.by_path["/express/subscriptions"], 1);
            }
        }
    };
    let (replies, reply, ()) = tokio::join!(many, one, stepping);
    assert_eq!(reply.status, StatusCode::OK);
    assert!(replies.iter().all(|reply| reply.status == StatusCode::OK));
}

#[tokio::test]
async fn a_background_refresh_goes_last() {
    let talkdesk = Talkdesk::samples().await;
    let further = "limits:
  upstream: { rate: 1/s, burst: 1, max_wait: 1h }
cache:
  endpoints:
    products: { ttl: 60s, stale_while_revalidate: 1h }
";
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, further).await;
    let products = "/organizations/acme/express/products";
    proxy.get(products).await;
    proxy.advance(Duration::from_secs(61));
    assert_eq!(proxy.get("/organizations/acme/express/accounts").await.status, StatusCode::OK);
    let stale = proxy.get(products).await;
    assert!(stale.cache_status().contains("detail=while_revalidate"), "{}", stale.cache_status());
    waiting(&proxy, 1).await;
    let client = proxy.get("/organizations/acme/express/subscriptions");
    let stepping = async {
        waiting(&proxy, 2).await;
        proxy.advance(Duration::from_secs(1));
        arrived(&talkdesk, 3).await;
        assert_eq!(talkdesk.control().counters().api.by_path["/express/subscriptions"], 1);
        proxy.advance(Duration::from_secs(1));
        arrived(&talkdesk, 4).await;
    };
    let (reply, ()) = tokio::join!(client, stepping);
    assert_eq!(reply.status, StatusCode::OK);
}

#[tokio::test]
async fn a_wait_ends_when_its_client_leaves() {
    let (talkdesk, proxy) = limited("  upstream: { rate: 1/m, burst: 1, max_wait: 1h }").await;
    assert_eq!(proxy.get(&page(1)).await.status, StatusCode::OK);
    let path = page(2);
    tokio::select! {
        reply = proxy.try_get(&path) => panic!("it should have waited: {reply:?}"),
        () = waiting(&proxy, 1) => {}
    }
    waiting(&proxy, 0).await;
    proxy.advance(Duration::from_mins(2));
    assert_eq!(proxy.get(&page(3)).await.status, StatusCode::OK);
    assert_eq!(talkdesk.counts().0, 2, "nothing was sent for the one who left");
}

#[tokio::test]
async fn a_wait_that_is_too_long_ends_in_a_429() {
    let (talkdesk, proxy) = limited("  upstream: { rate: 1/m, burst: 1, max_wait: 5s }").await;
    assert_eq!(proxy.get(&page(1)).await.status, StatusCode::OK);
    let path = page(2);
    let late = proxy.get(&path);
    let stepping = async {
        waiting(&proxy, 1).await;
        proxy.advance(Duration::from_secs(5));
    };
    let (reply, ()) = tokio::join!(late, stepping);
    reply.assert_problem(429, "rate_limited");
    assert!((1..=60).contains(&reply.field("retry-after").parse::<u64>().expect("seconds")));
    assert_eq!(reply.field("ratelimit-policy"), "\"upstream\";q=1;w=60");
    assert_eq!(reply.field("ratelimit"), "\"upstream\";r=0");
    assert_eq!(talkdesk.counts().0, 1);
    let refused = [("limit", "upstream"), ("decision", "refused")];
    assert!((proxy.metric("rate_limit_decisions_total", &refused).await - 1.0).abs() < 0.1);
}

#[tokio::test]
async fn what_is_in_the_cache_and_what_another_fetches_is_free() {
    let limits = "  upstream: { rate: 1/m, burst: 1, max_wait: 0s }\n  client: { rate: 1/m, burst: 1 }";
    let (talkdesk, proxy) = limited(limits).await;
    let path = page(1);
    for reply in futures_util::future::join_all((0..20).map(|_| proxy.get(&path))).await {
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    }
    for _ in 0..20 {
        assert!(proxy.get(&path).await.cache_status().starts_with("hit"));
    }
    assert_eq!(talkdesk.counts().0, 1);
    proxy.get(&page(2)).await.assert_problem(429, "rate_limited");
}

#[tokio::test]
async fn one_client_over_its_limit_does_not_touch_another() {
    let (talkdesk, proxy) = limited("  client: { rate: 1/m, burst: 2, key: { field: X-Client-Name } }").await;
    let ask = async |number, name| proxy.get_with(&page(number), &[("x-client-name", name)]).await;
    assert_eq!(ask(1, "one").await.status, StatusCode::OK);
    assert_eq!(ask(2, "one").await.status, StatusCode::OK);
    let refused = ask(3, "one").await;
    let problem = refused.assert_problem(429, "rate_limited");
    assert!(problem["message"].as_str().expect("text").contains("limits.client"), "{problem}");
    assert!((1..=60).contains(&refused.field("retry-after").parse::<u64>().expect("seconds")));
    assert_eq!(ask(3, "other").await.status, StatusCode::OK);
    assert_eq!(ask(3, "one").await.status, StatusCode::OK, "a hit now");
    proxy.advance(Duration::from_mins(1));
    assert_eq!(ask(4, "one").await.status, StatusCode::OK);
    assert_eq!(talkdesk.counts().0, 4);
}

#[tokio::test]
async fn clients_without_the_field_are_told_apart_by_their_address() {
    let (_talkdesk, proxy) =
        limited("  client: { rate: 1/m, burst: 1, key: { field: X-Client-Name } }").await;
    assert_eq!(proxy.get(&page(1)).await.status, StatusCode::OK);
    proxy.get(&page(2)).await.assert_problem(429, "rate_limited");
    let named = proxy.get_with(&page(2), &[("x-client-name", "one")]).await;
    assert_eq!(named.status, StatusCode::OK);
}

#[tokio::test]
async fn each_credential_has_a_limit_of_its_own() {
    let (talkdesk, proxy) = limited("  upstream: { rate: 1/m, burst: 1, max_wait: 0s }").await;
    assert_eq!(proxy.get(&page(1)).await.status, StatusCode::OK);
    proxy.get(&page(2)).await.assert_problem(429, "rate_limited");
    assert_eq!(proxy.get("/organizations/northwind/express/invoices").await.status, StatusCode::OK);
    assert_eq!(talkdesk.counts().0, 2);
}

#[tokio::test]
async fn a_retry_counts_as_well() {
    let (talkdesk, proxy) = limited("  upstream: { rate: 1/m, burst: 1, max_wait: 0s }").await;
    talkdesk
        .control()
        .inject(Fault::once(Target::Api, FaultKind::Status { status: 401, retry_after: None, body: None }))
        .expect("a fault");
    proxy.get(&page(1)).await.assert_problem(429, "rate_limited");
    assert_eq!(talkdesk.counts().0, 1);
}

#[tokio::test]
async fn a_miss_tells_how_the_credential_stands_and_a_hit_does_not() {
    let (_talkdesk, proxy) = limited("  upstream: { rate: 2/s, burst: 10 }").await;
    let first = proxy.get(&page(1)).await;
    assert_eq!(first.field("ratelimit-policy"), "\"upstream\";q=10;w=5");
    assert_eq!(first.field("ratelimit"), "\"upstream\";r=9");
    assert_eq!(proxy.get(&page(2)).await.field("ratelimit"), "\"upstream\";r=8");
    let hit = proxy.get(&page(1)).await;
    assert!(!hit.fields.contains_key("ratelimit") && !hit.fields.contains_key("ratelimit-policy"));
}
