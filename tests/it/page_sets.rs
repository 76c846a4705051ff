//! Pages that belong together: whoever walks from page to page sees each record once.

use std::collections::BTreeMap;
use std::time::Duration;

use billing_insights_proxy::simulator::{Fault, FaultKind, Quirks, Target};
use http::{Method, StatusCode};

use crate::support::peer::{Canned, Peer, Wire};
use crate::support::{Proxy, SAMPLE_TENANTS, Talkdesk, eventually};

const INVOICES: &str = "/express/invoices";
const ASKED: &str = "/organizations/acme/express/invoices";
const FIRST: &str = "/organizations/acme/express/invoices?page=1&per_page=100";

fn rule(rule: &str) -> String {
    format!("cache:\n  endpoints:\n    invoices: {rule}\n")
}

fn page(total: u64, pages: u64, content: &str) -> Canned {
    Canned::json(format!(r#"{{"total":{total},"total_pages":{pages},"content":"{content}","_links":{{}}}}"#))
}

/// The number after `ttl=`.
fn ttl(cache_status: &str) -> i64 {
    let after = cache_status.split("ttl=").nth(1).expect("a ttl");
    after.split(';').next().expect("a number").parse().expect("a number")
}

/// How often each record was seen.
fn seen(records: &[serde_json::Value]) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    for record in records {
        *seen.entry(record["id"].as_str().expect("an id").to_owned()).or_default() += 1;
    }
    seen
}

/// Fails unless a walk sees each of so many records once.
async fn walk_is_whole(proxy: &Proxy, records: usize) {
    let seen = seen(&proxy.walk(FIRST, &[]).await);
    assert!(seen.values().all(|times| *times == 1), "a record was seen twice");
    assert_eq!(seen.len(), records, "a record was missed");
}

#[tokio::test]
async fn a_walk_begun_after_a_record_was_added_in_the_middle_of_another_sees_each_record_once() {
    for pages_before in 1..4 {
        let talkdesk = Talkdesk::samples().await;
        let quirks = Quirks { insert_after: Some(pages_before), ..Quirks::default() };
        talkdesk.control().set_quirks(quirks);
        let proxy = talkdesk.proxy(SAMPLE_TENANTS, &rule("{ ttl: 1h }")).await;
        let disturbed = proxy.walk(FIRST, &[]).await;
        assert!(seen(&disturbed).values().any(|times| *times == 2), "the record came in the middle");
        walk_is_whole(&proxy, 401).await;
        let before = talkdesk.counts().0;
        walk_is_whole(&proxy, 401).await;
        assert_eq!(talkdesk.counts().0, before, "the second time it costs nothing");
    }
}

#[tokio::test]
async fn a_walk_after_the_deadline_mixes_no_old_pages_with_new_ones() {
    for (stale_while_revalidate, moved) in [("1h", 3601), ("0s", 3601), ("2h", 7000)] {
        let talkdesk = Talkdesk::samples().await;
        let further = rule(&format!(
            "{{ ttl: 1h, stale_while_revalidate: {stale_while_revalidate}, stale_if_error: 6h }}"
        ));
        let proxy = talkdesk.proxy(SAMPLE_TENANTS, &further).await;
        walk_is_whole(&proxy, 400).await;
        proxy.advance(Duration::from_secs(moved));
        talkdesk.control().set_quirks(Quirks { insert_after: Some(0), ..Quirks::default() });
        walk_is_whole(&proxy, 401).await;
    }
}

#[tokio::test]
async fn a_fresh_page_that_a_client_forces_drops_its_siblings_where_it_changed() {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, &rule("{ ttl: 1h, min_refresh: 10s }")).await;
    walk_is_whole(&proxy, 400).await;
    proxy.advance(Duration::from_mins(1));
    talkdesk.control().set_quirks(Quirks { insert_after: Some(0), ..Quirks::default() });
    proxy.get_with(&FIRST.replace("?page=1&", "?page=3&"), &[("cache-control", "no-cache")]).await;
    walk_is_whole(&proxy, 401).await;
}

#[tokio::test]
async fn a_page_of_other_content_and_equal_total_drops_its_siblings() {
    let peer = Peer::start(Wire::HttpMock).await;
    let answers = ["one", "two", "one, changed", "two, changed"].map(|content| page(20, 2, content));
    peer.answers(INVOICES, answers);
    let proxy = peer.proxy(&rule("{ ttl: 1h, min_refresh: 0s }")).await;
    let (one, two) = (format!("{ASKED}?page=1"), format!("{ASKED}?page=2"));
    proxy.get(&one).await;
    proxy.get(&two).await;
    proxy.advance(Duration::from_secs(20));
    proxy.get_with(&one, &[("cache-control", "no-cache")]).await;
    assert_eq!(proxy.get(&two).await.json()["content"], "two, changed");
    assert_eq!(proxy.get(&one).await.json()["content"], "one, changed");
    assert_eq!(peer.calls(INVOICES), 4);
}

#[tokio::test]
async fn pages_share_a_deadline_and_other_parameters_make_another_set() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(INVOICES, [page(300, 3, "")]);
    let proxy = peer.proxy(&rule("{ ttl: 1h, stale_while_revalidate: 0s, stale_if_error: 0s }")).await;
    let asked = async |query: &str| {
        let reply = proxy.get(&format!("{ASKED}?{query}")).await;
        assert!(reply.cache_status().contains("stored"), "{}", reply.cache_status());
        ttl(reply.cache_status())
    };
    let first = asked("page=1&filter=a+eq+1").await;
    assert!((3420..=3600).contains(&first), "{first}");
    proxy.advance(Duration::from_secs(1000));
    assert_eq!(asked("filter=a%20eq%201&page=2").await, first - 1000);
    assert_eq!(asked("filter=a+eq+1&p%61ge=3").await, first - 1000, "in another spelling");
    assert_eq!(asked("filter=a+eq+1&cursor=abc").await, first - 1000, "by a cursor");
    assert_eq!(asked("filter=a+eq+1").await, first - 1000, "without the parameter, it is the first page");
    for other in ["page=2&filter=a+eq+2", "page=1&filter=a+eq+1&per_page=50", "page=2"] {
        assert!(asked(other).await >= 3420, "{other}");
    }
    proxy.advance(Duration::from_secs(2600));
    let calls = peer.calls(INVOICES);
    proxy.get(&format!("{ASKED}?filter=a+eq+1&page=2")).await;
    assert_eq!(peer.calls(INVOICES), calls + 1, "they are stale together");
}

#[tokio::test]
async fn an_instance_and_its_organization_have_sets_of_their_own() {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, &rule("{ ttl: 1h }")).await;
    proxy.get(&FIRST.replace("?page=1&", "?page=2&")).await;
    let instance = "/instances/josephpinetrees/express/invoices?page=1&per_page=100";
    assert_eq!(proxy.get(instance).await.status, StatusCode::OK);
    assert!(proxy.get(&FIRST.replace("?page=1&", "?page=2&")).await.cache_status().starts_with("hit"));
}

#[tokio::test]
async fn a_page_alone_is_served_while_it_is_fetched_and_one_of_a_walk_is_fetched_first() {
    for (walked, first_is_stale) in [(false, true), (true, false)] {
        let peer = Peer::start(Wire::HttpMock).await;
        peer.answers(INVOICES, [page(10, 2, "old")]);
        let proxy = peer.proxy(&rule("{ ttl: 60s, stale_while_revalidate: 1h }")).await;
        proxy.get(ASKED).await;
        if walked {
            proxy.get(&format!("{ASKED}?page=2")).await;
        }
        let before = peer.calls(INVOICES);
        peer.answers(INVOICES, [page(10, 2, "new")]);
        proxy.advance(Duration::from_secs(61));
        let reply = proxy.get(ASKED).await;
        assert_eq!(reply.cache_status().contains("detail=while_revalidate"), first_is_stale);
        assert_eq!(reply.json()["content"] == "old", first_is_stale);
        eventually("the new one is there", async || {
            (proxy.get(ASKED).await.json()["content"] == "new").then_some(())
        })
        .await;
        assert_eq!(peer.calls(INVOICES), before + 1);
    }
}

#[tokio::test]
async fn a_stale_page_is_served_where_upstream_fails() {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, &rule("{ ttl: 60s, stale_if_error: 1h }")).await;
    walk_is_whole(&proxy, 400).await;
    proxy.advance(Duration::from_secs(61));
    let down = FaultKind::Status { status: 500, retry_after: None, body: None };
    talkdesk.control().inject(Fault { count: 100, ..Fault::once(Target::Api, down) }).expect("a fault");
    walk_is_whole(&proxy, 400).await;
}

#[tokio::test]
async fn purging_one_page_purges_its_set() {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, &rule("{ ttl: 1h }")).await;
    walk_is_whole(&proxy, 400).await;
    proxy.get("/organizations/acme/express/invoices?page=1&per_page=50").await;
    let purge = "/api/cache?path_prefix=/express/invoices%3Fpage%3D2%26per_page%3D100";
    let purged = proxy.admin(Method::DELETE, purge).await;
    assert_eq!(purged.json()["purged"], 4, "{}", purged.text());
    let left = proxy.admin(Method::GET, "/api/cache").await.json();
    assert_eq!(left["entries"], 1, "other sets stay");
    let before = talkdesk.counts().0;
    walk_is_whole(&proxy, 400).await;
    assert_eq!(talkdesk.counts().0, before + 4);
}

#[tokio::test]
async fn pages_asked_for_at_once_are_all_kept() {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, &rule("{ ttl: 1h }")).await;
    let pages: Vec<_> = (1..=20).map(|page| format!("{ASKED}?page={page}&per_page=20")).collect();
    futures_util::future::join_all(pages.iter().map(|page| proxy.get(page))).await;
    let replies = futures_util::future::join_all(pages.iter().map(|page| proxy.get(page))).await;
    assert!(replies.iter().all(|reply| reply.cache_status().starts_with("hit")));
    let deadlines: Vec<_> = replies.iter().map(|reply| ttl(reply.cache_status())).collect();
    assert!(deadlines.iter().all(|deadline| *deadline == deadlines[0]), "{deadlines:?}");
}

#[tokio::test]
async fn a_plain_rule_and_an_origin_that_decides_make_no_sets() {
    for further in ["{}", "{ ttl: 1h, override: [] }"] {
        let peer = Peer::start(Wire::HttpMock).await;
        let answers = [page(10, 2, ""), page(11, 2, "")].map(|page| page.with("cache-control", "max-age=60"));
        peer.answers(INVOICES, answers);
        let proxy = peer.proxy(&rule(further)).await;
        assert_eq!(ttl(proxy.get(&format!("{ASKED}?page=1")).await.cache_status()), 60, "no jitter");
        proxy.advance(Duration::from_secs(10));
        proxy.get(&format!("{ASKED}?page=2")).await;
        let first = proxy.get(&format!("{ASKED}?page=1")).await;
        assert_eq!(first.cache_status(), "hit; ttl=50", "another total drops nothing");
    }
}
