//! Purging while requests run, and looking at what is in the cache and what is not.

use std::time::Duration;

use billing_insights_proxy::simulator::{Fault, FaultKind, Target};
use http::{Method, StatusCode};
use rstest::rstest;
use serde_json::Value;

use crate::support::peer::{Canned, Peer, Wire};
use crate::support::{Proxy, SAMPLE_TENANTS, Talkdesk, eventually};

const INVOICES: &str = "/express/invoices";
const ASKED: &str = "/organizations/acme/express/invoices";

fn rule(rule: &str) -> String {
    format!("cache:\n  endpoints:\n    invoices: {rule}\n")
}

async fn purge(proxy: &Proxy, query: &str) -> Value {
    let reply = proxy.admin(Method::DELETE, &format!("/api/cache?{query}")).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    reply.json()["purged"].clone()
}

async fn entries(proxy: &Proxy, query: &str) -> Value {
    let reply = proxy.admin(Method::GET, &format!("/api/cache/entries?{query}")).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    reply.json()
}

async fn sample_proxy(further: &str) -> (Talkdesk, Proxy) {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, further).await;
    (talkdesk, proxy)
}

/// A request whose answer waits until the time is moved by a second.
async fn under_way(talkdesk: &Talkdesk, asking: impl Future<Output = crate::support::Reply>) {
    let slow = Fault::once(Target::Api, FaultKind::Slow { milliseconds: 1000 });
    talkdesk.control().inject(slow).expect("a fault");
    let arrived = eventually("it has arrived", async || talkdesk.control().faults().is_empty().then_some(()));
    tokio::select! {
        _ = asking => panic!("it was answered at once"),
        () = arrived => {}
    }
}

#[rstest]
#[tokio::test]
async fn what_was_asked_for_before_a_purge_does_not_come_back(
    #[values(
        "",
        "soft=true",
        "tenant=organizations/acme",
        "endpoint=invoices",
        "path_prefix=/express/inv",
        "path_prefix=/express/invoices%3Fpage%3D1"
    )]
    query: &str,
) {
    let (talkdesk, proxy) = sample_proxy("").await;
    let path = format!("{ASKED}?page=2");
    under_way(&talkdesk, proxy.get(&path)).await;
    purge(&proxy, query).await;
    proxy.advance(Duration::from_secs(2));
    eventually("the first has landed", async || {
        let listed = entries(&proxy, "").await;
        (listed["not_kept"][0]["reason"] == "purged").then_some(())
    })
    .await;
    assert_eq!(entries(&proxy, "").await["total"], 0);
    assert!(proxy.metric("cache_not_stored_total", &[("reason", "purged")]).await > 0.5);
    assert!(proxy.get(&path).await.cache_status().starts_with("fwd=uri-miss"));
    assert!(proxy.get(&path).await.cache_status().starts_with("hit"));
}

#[rstest]
#[tokio::test]
async fn a_purge_of_something_else_does_not_disturb(
    #[values("tenant=organizations/northwind", "endpoint=products", "path_prefix=/express/products")]
    query: &str,
) {
    let (talkdesk, proxy) = sample_proxy("").await;
    under_way(&talkdesk, proxy.get(ASKED)).await;
    purge(&proxy, query).await;
    proxy.advance(Duration::from_secs(2));
    eventually("it is kept", async || (entries(&proxy, "").await["total"] == 1).then_some(())).await;
}

#[tokio::test]
async fn whoever_asks_after_a_purge_does_not_wait_for_what_was_asked_for_before() {
    let (talkdesk, proxy) = sample_proxy("").await;
    under_way(&talkdesk, proxy.get(ASKED)).await;
    purge(&proxy, "").await;
    let asking = tokio::time::timeout(Duration::from_secs(10), proxy.get(ASKED));
    let reply = asking.await.expect("it does not wait for the first");
    assert!(reply.cache_status().ends_with("stored"), "{}", reply.cache_status());
    proxy.advance(Duration::from_secs(2));
    eventually("the first has landed", async || {
        (entries(&proxy, "").await["not_kept_total"] == 1).then_some(())
    })
    .await;
    assert!(proxy.get(ASKED).await.cache_status().starts_with("hit"), "it does not push out the newer one");
}

#[tokio::test]
async fn more_purges_than_are_remembered_are_not_forgotten() {
    let (talkdesk, proxy) = sample_proxy("").await;
    under_way(&talkdesk, proxy.get(ASKED)).await;
    purge(&proxy, "").await;
    for _ in 0..100 {
        purge(&proxy, "endpoint=products").await;
    }
    proxy.advance(Duration::from_secs(2));
    eventually("the first has landed", async || {
        (entries(&proxy, "").await["not_kept_total"] == 1).then_some(())
    })
    .await;
    assert_eq!(entries(&proxy, "").await["total"], 0);
}

#[tokio::test]
async fn a_soft_purge_leaves_what_may_be_served_stale_and_validated() {
    let peer = Peer::start(Wire::HttpMock).await;
    let answer = |total: u64| {
        Canned::json(format!(r#"{{"total":{total},"_links":{{}}}}"#)).with("etag", &format!("\"{total}\""))
    };
    peer.answers(INVOICES, [answer(1), Canned::status(500), Canned::status(304), answer(2)]);
    let proxy = peer
        .proxy(&rule("{ ttl: 1h, stale_while_revalidate: 0s, stale_if_error: 30m, min_refresh: 1h }"))
        .await;
    proxy.get(ASKED).await;
    proxy.advance(Duration::from_mins(10));
    assert_eq!(purge(&proxy, "soft=true").await, 1);
    let listed = entries(&proxy, "").await;
    assert_eq!(
        (&listed["entries"][0]["state"], &listed["entries"][0]["hits"]),
        (&"stale_if_error".into(), &0.into())
    );
    let stale = proxy.get(ASKED).await;
    assert_eq!(stale.cache_status(), "hit; ttl=0; detail=error");
    assert_eq!(peer.seen(INVOICES)[1].fields["if-none-match"], "\"1\"");
    proxy.advance(Duration::from_mins(5));
    let validated = proxy.get(ASKED).await;
    assert!(validated.cache_status().starts_with("fwd=stale; fwd-status=304; ttl="));
    assert_eq!(validated.json()["total"], 1);
    assert!(proxy.get(ASKED).await.cache_status().starts_with("hit; ttl="));
    assert_eq!(purge(&proxy, "soft=false").await, 1);
    assert_eq!(proxy.get(ASKED).await.json()["total"], 2);
}

#[tokio::test]
async fn the_windows_of_staleness_count_from_a_soft_purge() {
    for (moved, status) in [(29, StatusCode::OK), (31, StatusCode::INTERNAL_SERVER_ERROR)] {
        let peer = Peer::start(Wire::HttpMock).await;
        peer.answers(INVOICES, [Canned::json(r#"{"total":1,"_links":{}}"#), Canned::status(500)]);
        let proxy = peer.proxy(&rule("{ ttl: 1h, stale_while_revalidate: 0s, stale_if_error: 30m }")).await;
        proxy.get(ASKED).await;
        proxy.advance(Duration::from_mins(10));
        purge(&proxy, "soft=true").await;
        proxy.advance(Duration::from_mins(moved / 2));
        purge(&proxy, "soft=true").await;
        proxy.advance(Duration::from_mins(moved - moved / 2));
        assert_eq!(proxy.get(ASKED).await.status, status, "a second one does not lengthen them");
    }
}

#[tokio::test]
async fn a_softly_purged_set_is_walked_anew() {
    let (talkdesk, proxy) = sample_proxy(&rule("{ ttl: 1h, stale_while_revalidate: 1h }")).await;
    let first = format!("{ASKED}?page=1&per_page=100");
    assert_eq!(proxy.walk(&first, &[]).await.len(), 400);
    let before = talkdesk.counts().0;
    let prefix = "path_prefix=/express/invoices%3Fpage%3D2";
    assert_eq!(purge(&proxy, &format!("soft=true&{prefix}")).await, 4);
    assert_eq!(proxy.walk(&first, &[]).await.len(), 400);
    assert_eq!(talkdesk.counts().0, before + 4);
}

#[rstest]
#[case::endpoint("endpoint=invoice", "accounts, products")]
#[case::tenant("tenant=organizations/nobody", "organizations/nobody")]
#[case::no_tenant("tenant=acme", "organizations/{id}")]
#[case::without_credential("tenant=instances/wonka", "no credential")]
#[case::soft("soft=yes", "neither true nor false")]
#[case::prefix("path_prefix=express", "does not begin with `/`")]
#[case::empty_prefix("path_prefix=", "does not begin with `/`")]
#[case::twice("tenant=organizations/acme&tenant=organizations/acme", "twice")]
#[case::unknown("path=/express", "use tenant, endpoint, path_prefix, soft")]
#[tokio::test]
async fn a_purge_that_is_not_understood_is_refused_with_words(#[case] query: &str, #[case] words: &str) {
    let (_talkdesk, proxy) = sample_proxy("").await;
    proxy.get(ASKED).await;
    let reply = proxy.admin(Method::DELETE, &format!("/api/cache?{query}")).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert!(reply.json()["detail"].as_str().expect("words").contains(words), "{}", reply.text());
    assert!(proxy.get(ASKED).await.cache_status().starts_with("hit"));
}

#[tokio::test]
async fn an_endpoint_is_purged_by_its_name() {
    let (_talkdesk, proxy) = sample_proxy("").await;
    for path in [ASKED, "/organizations/acme/express/products", "/instances/josephpinetrees/express/invoices"]
    {
        proxy.get(path).await;
    }
    assert_eq!(purge(&proxy, "endpoint=invoices&tenant=organizations/acme").await, 2);
    assert_eq!(entries(&proxy, "").await["entries"][0]["endpoint"], "products");
}

#[tokio::test]
async fn an_entry_is_shown_with_all_that_explains_it() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(
        INVOICES,
        [
            Canned::json(r#"{"total":1,"_links":{}}"#).with("vary", "Accept-Language").with("etag", "\"1\""),
            Canned::status(304),
        ],
    );
    let proxy = peer
        .proxy(&rule("{ ttl: 1h, stale_while_revalidate: 0s, stale_if_error: 0s, min_refresh: 0s }"))
        .await;
    let path = format!("{ASKED}?b=2&a=1");
    proxy.get(&path).await;
    proxy.advance(Duration::from_secs(100));
    for _ in 0..3 {
        proxy.get(&path).await;
    }
    let listed = entries(&proxy, "tenant=organizations/acme&endpoint=invoices&limit=1").await;
    let entry = &listed["entries"][0];
    assert_eq!((&listed["total"], &listed["limit"]), (&1.into(), &1.into()));
    for (member, expected) in [
        ("endpoint", Value::from("invoices")),
        ("credential", "organizations/acme".into()),
        ("account_id", Value::Null),
        ("path", "/express/invoices?a=1&b=2".into()),
        ("status", 200.into()),
        ("state", "fresh".into()),
        ("age_seconds", 100.into()),
        ("hits", 3.into()),
        ("variants", 1.into()),
    ] {
        assert_eq!(entry[member], expected, "{member}: {entry}");
    }
    let fresh_for = entry["fresh_for_seconds"].as_i64().expect("a number");
    assert!((3320..=3500).contains(&fresh_for), "{entry}");
    assert!(entry["bytes"].as_u64() > Some(500) && entry["received"].is_string(), "{entry}");
    proxy.get_with(&path, &[("cache-control", "no-cache")]).await;
    proxy.get(&path).await;
    assert_eq!(entries(&proxy, "").await["entries"][0]["hits"], 4, "a 304 goes on counting");
    proxy.advance(Duration::from_hours(2));
    assert_eq!(entries(&proxy, "").await["entries"][0]["state"], "to_be_validated");
}

#[tokio::test]
async fn entries_of_an_instance_are_its_own_and_the_rest_is_counted() {
    let (_talkdesk, proxy) = sample_proxy("").await;
    for page in 1..=5 {
        proxy.get(&format!("{ASKED}?page={page}")).await;
    }
    proxy.get("/instances/josephpinetrees/express/invoices").await;
    let own = entries(&proxy, "tenant=instances/josephpinetrees").await;
    assert_eq!(
        (&own["total"], &own["entries"][0]["account_id"]),
        (&1.into(), &"5ea75fe7aa224700012eae40".into())
    );
    let some = entries(&proxy, "limit=2&path_prefix=/express/invoices").await;
    assert_eq!((some["total"].as_u64(), some["entries"].as_array().map(Vec::len)), (Some(6), Some(2)));
}

#[tokio::test]
async fn what_is_not_kept_is_shown_with_its_reason_and_how_often() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(INVOICES, [Canned::page().with("cache-control", "no-store")]);
    let proxy = peer.proxy(&rule("{ ttl: 1h, override: [] }")).await;
    for _ in 0..3 {
        proxy.get(ASKED).await;
    }
    let listed = entries(&proxy, "tenant=organizations/acme").await;
    let one = &listed["not_kept"][0];
    assert_eq!((&one["reason"], &one["times"]), (&"no_store".into(), &3.into()));
    assert_eq!((&one["path"], &one["credential"]), (&INVOICES.into(), &"organizations/acme".into()));
    assert!(one["last"].is_string() && listed["total"] == 0, "{listed}");
}

#[tokio::test]
async fn what_is_remembered_of_answers_that_were_not_kept_is_bounded() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(INVOICES, [Canned::page()]);
    let further =
        format!("{}limits:\n  upstream: {{ rate: 1000000/s, burst: 10000 }}\n", rule("{ ttl: 0s }"));
    let proxy = peer.proxy(&further).await;
    for hundred in 0..13 {
        let paths: Vec<_> = (0..100).map(|number| format!("{ASKED}?n={hundred}-{number}")).collect();
        futures_util::future::join_all(paths.iter().map(|path| proxy.get(path))).await;
    }
    proxy.admin(Method::GET, "/metrics").await;
    let listed = entries(&proxy, "limit=1000").await;
    let count = listed["not_kept_total"].as_u64().expect("a number");
    assert!((900..=1000).contains(&count), "{count}");
}

#[rstest]
#[case("limit=0")]
#[case("limit=1001")]
#[case("limit=x")]
#[case("soft=true")]
#[case("tenant=organizations/nobody")]
#[tokio::test]
async fn a_look_at_entries_that_is_not_understood_is_refused(#[case] query: &str) {
    let (_talkdesk, proxy) = sample_proxy("").await;
    let reply = proxy.admin(Method::GET, &format!("/api/cache/entries?{query}")).await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::BAD_REQUEST, "parameter_not_allowed"));
    let method = proxy.admin(Method::DELETE, "/api/cache/entries").await;
    assert_eq!((method.status, method.field("allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD"));
}

#[tokio::test]
async fn no_secret_and_no_token_is_shown() {
    let (talkdesk, proxy) = sample_proxy("").await;
    proxy.get(ASKED).await;
    let text = proxy.admin(Method::GET, "/api/cache/entries").await.text();
    for credential in talkdesk.simulator.credentials() {
        let secret = std::fs::read_to_string(proxy.folder().join(credential.file_name())).expect("a secret");
        assert!(!text.contains(secret.trim()) && !text.contains(&credential.client_id));
    }
    assert!(!text.to_ascii_lowercase().contains("bearer"), "{text}");
}
