//! Fresh, stale, validated, collapsed: what a request costs Talkdesk.

use std::time::Duration;

use http::StatusCode;
use rstest::rstest;

use crate::support::peer::{Canned, Peer, TOKEN_PATH, Wire};
use crate::support::{eventually, is_nearly};

const INVOICES: &str = "/express/invoices";
const ASKED: &str = "/organizations/acme/express/invoices";

fn rule(rule: &str) -> String {
    format!("cache:\n  endpoints:\n    invoices: {rule}\n")
}

#[rstest]
#[tokio::test]
async fn the_second_request_is_a_hit_with_an_age(#[values(Wire::HttpMock, Wire::TlsHttp2)] wire: Wire) {
    let peer = Peer::start(wire).await;
    peer.answers(INVOICES, [Canned::page().with("cache-control", "no-store")]);
    let proxy = peer.proxy(&rule("{ ttl: 1h }")).await;
    let miss = proxy.get(ASKED).await;
    assert!(is_nearly(miss.cache_status(), "fwd=uri-miss; fwd-status=200; ttl=3600; stored"));
    proxy.advance(Duration::from_secs(100));
    let hit = proxy.get(ASKED).await;
    assert!(is_nearly(hit.cache_status(), "hit; ttl=3500"));
    assert_eq!(hit.field("age"), "100");
    assert_eq!(hit.body, miss.body);
    assert_eq!(peer.calls(INVOICES), 1);
    assert!((proxy.metric("cache_requests_total", &[("result", "hit")]).await - 1.0).abs() < 0.1);
}

#[tokio::test]
async fn a_ttl_of_zero_really_turns_storing_off() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(INVOICES, [Canned::page().with("cache-control", "max-age=60")]);
    let proxy = peer.proxy(&rule("{ ttl: 0s }")).await;
    for _ in 0..3 {
        let reply = proxy.get(ASKED).await;
        assert_eq!(reply.cache_status(), "fwd=uri-miss; fwd-status=200; detail=ttl_zero");
    }
    assert_eq!(peer.calls(INVOICES), 3);
}

#[tokio::test]
async fn the_origin_decides_where_nothing_is_overridden() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(INVOICES, [Canned::page().with("cache-control", "no-store")]);
    let proxy = peer.proxy(&rule("{ ttl: 1h, override: [] }")).await;
    for _ in 0..2 {
        assert_eq!(proxy.get(ASKED).await.cache_status(), "fwd=uri-miss; fwd-status=200; detail=no_store");
    }
    peer.answers(INVOICES, [Canned::page().with("cache-control", "max-age=60")]);
    let reply = proxy.get(ASKED).await;
    assert_eq!(reply.cache_status(), "fwd=uri-miss; fwd-status=200; ttl=60; stored");
    assert_eq!(reply.field("cache-control"), "max-age=60");
}

#[rstest]
#[tokio::test]
async fn a_stale_entry_is_validated_and_a_304_makes_it_fresh(
    #[values(Wire::HttpMock, Wire::TlsHttp2)] wire: Wire,
) {
    let peer = Peer::start(wire).await;
    let body = format!(r#"{{"self":{{"href":"{}/x"}}}}"#, peer.url());
    peer.answers(
        INVOICES,
        [
            Canned::json(body).with("etag", "\"v1\""),
            Canned::status(304).with("etag", "\"v1\"").with("x-new", "1"),
        ],
    );
    let proxy = peer.proxy(&rule("{ ttl: 60s, stale_while_revalidate: 0s, stale_if_error: 0s }")).await;
    let first = proxy.get(ASKED).await;
    assert_eq!(first.field("etag"), "W/\"v1\"", "links make the tag weak");
    proxy.advance(Duration::from_secs(61));
    let second = proxy.get(ASKED).await;
    assert!(is_nearly(second.cache_status(), "fwd=stale; fwd-status=304; ttl=60; stored"));
    assert_eq!(second.body, first.body);
    assert_eq!(second.field("x-new"), "1");
    assert_eq!(peer.seen(INVOICES)[1].fields["if-none-match"], "\"v1\"", "the origin's own form");
    assert!(is_nearly(proxy.get(ASKED).await.cache_status(), "hit; ttl=60"));
}

#[rstest]
#[tokio::test]
async fn a_client_that_has_it_gets_a_304(#[values(true, false)] origin_has_a_tag: bool) {
    let peer = Peer::start(Wire::HttpMock).await;
    let mut answer = Canned::json(r#"{"total":1,"_links":{}}"#);
    if origin_has_a_tag {
        answer = answer.with("etag", "\"v1\"");
    }
    peer.answers(INVOICES, [answer]);
    let proxy = peer.proxy("").await;
    let first = proxy.get(ASKED).await;
    let etag = first.field("etag").to_owned();
    assert!(!etag.is_empty());
    let second = proxy.get_with(ASKED, &[("if-none-match", &etag)]).await;
    assert_eq!(second.status, StatusCode::NOT_MODIFIED);
    assert!(second.body.is_empty());
    assert_eq!(second.field("etag"), etag);
    let other = proxy.get_with(ASKED, &[("if-none-match", "\"other\"")]).await;
    assert_eq!(other.status, StatusCode::OK);
    assert_eq!(peer.calls(INVOICES), 1);
}

#[rstest]
#[tokio::test]
async fn a_thousand_at_once_cost_one_token_and_one_request(
    #[values(Wire::HttpMock, Wire::TlsHttp2)] wire: Wire,
) {
    let peer = Peer::start(wire).await;
    peer.answers(INVOICES, [Canned::json(r#"{"total":7,"_links":{}}"#)]);
    let proxy = peer.proxy("").await;
    let asking: Vec<_> = (0..1000).map(|_| proxy.get(ASKED)).collect();
    for reply in futures_util::future::join_all(asking).await {
        assert_eq!((reply.status, reply.text().as_str()), (StatusCode::OK, r#"{"total":7,"_links":{}}"#));
    }
    assert_eq!((peer.calls(TOKEN_PATH), peer.calls(INVOICES)), (1, 1));
}

#[tokio::test]
async fn a_stale_entry_answers_while_one_fresh_one_is_fetched() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(
        INVOICES,
        [Canned::json(r#"{"total":1,"_links":{}}"#), Canned::json(r#"{"total":2,"_links":{}}"#)],
    );
    let proxy = peer.proxy(&rule("{ ttl: 60s, stale_while_revalidate: 60s }")).await;
    proxy.get(ASKED).await;
    proxy.advance(Duration::from_secs(61));
    for reply in futures_util::future::join_all((0..20).map(|_| proxy.get(ASKED))).await {
        let total = reply.json()["total"].as_i64();
        assert!(
            total == Some(1) && reply.cache_status().contains("detail=while_revalidate") || total == Some(2)
        );
    }
    eventually("the fresh one is there", async || {
        (proxy.get(ASKED).await.json()["total"] == 2).then_some(())
    })
    .await;
    assert_eq!(peer.calls(INVOICES), 2);
}

#[tokio::test]
async fn a_stale_entry_answers_where_upstream_fails_and_no_longer_than_it_may() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(INVOICES, [Canned::json(r#"{"total":1,"_links":{}}"#), Canned::status(500)]);
    let proxy = peer.proxy(&rule("{ ttl: 60s, stale_while_revalidate: 0s, stale_if_error: 1h }")).await;
    proxy.get(ASKED).await;
    proxy.advance(Duration::from_secs(61));
    let stale = proxy.get(ASKED).await;
    assert_eq!(stale.status, StatusCode::OK);
    assert!(is_nearly(stale.cache_status(), "hit; ttl=-1; detail=error"));
    assert_eq!(stale.field("age"), "61");
    proxy.advance(Duration::from_hours(1));
    assert_eq!(proxy.get(ASKED).await.status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[rstest]
#[case(404)]
#[case(410)]
#[case(403)]
#[tokio::test]
async fn a_refusal_is_never_answered_stale_and_drops_the_entry(#[case] status: u16) {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(
        INVOICES,
        [Canned::json(r#"{"total":1,"_links":{}}"#), Canned::status(status), Canned::status(500)],
    );
    let proxy = peer.proxy(&rule("{ ttl: 60s, stale_while_revalidate: 0s, stale_if_error: 1h }")).await;
    proxy.get(ASKED).await;
    proxy.advance(Duration::from_secs(61));
    assert_eq!(proxy.get(ASKED).await.status.as_u16(), status);
    assert_eq!(
        proxy.get(ASKED).await.status,
        StatusCode::INTERNAL_SERVER_ERROR,
        "nothing is left to be stale"
    );
}

#[tokio::test]
async fn a_client_that_wants_it_fresh_cannot_drain_the_limit() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(INVOICES, [Canned::page()]);
    let proxy = peer.proxy(&rule("{ ttl: 1h, min_refresh: 10s }")).await;
    let forced = [("cache-control", "no-cache, max-age=0, no-store"), ("authorization", "Bearer x")];
    for _ in 0..10 {
        proxy.get_with(ASKED, &forced).await;
    }
    assert_eq!(peer.calls(INVOICES), 1);
    proxy.advance(Duration::from_secs(11));
    assert!(proxy.get_with(ASKED, &forced).await.cache_status().starts_with("fwd=request"));
    assert_eq!(peer.calls(INVOICES), 2);
}

#[tokio::test]
async fn only_if_cached_never_goes_upstream() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(INVOICES, [Canned::page()]);
    let proxy = peer.proxy("").await;
    let reply = proxy.get_with(ASKED, &[("cache-control", "only-if-cached")]).await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::GATEWAY_TIMEOUT, "not_in_cache"));
    assert_eq!(peer.calls(INVOICES), 0);
}

#[tokio::test]
async fn variants_stand_side_by_side() {
    let peer = Peer::start(Wire::HttpMock).await;
    let in_language = |text: &str| {
        Canned::json(format!(r#"{{"language":"{text}","_links":{{}}}}"#)).with("vary", "Accept-Language")
    };
    peer.answers(INVOICES, [in_language("de"), in_language("en")]);
    let proxy = peer.proxy("").await;
    let asked = async |language| proxy.get_with(ASKED, &[("accept-language", language)]).await;
    assert_eq!(asked("de").await.json()["language"], "de");
    let english = asked("en").await;
    assert!(english.cache_status().starts_with("fwd=vary-miss"), "{}", english.cache_status());
    assert_eq!(asked("de").await.json()["language"], "de");
    assert_eq!(asked("en").await.json()["language"], "en");
    assert_eq!(peer.calls(INVOICES), 2);
}

#[tokio::test]
async fn a_purge_takes_what_it_names() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(INVOICES, [Canned::page()]);
    peer.answers("/express/products", [Canned::page()]);
    let proxy = peer.proxy("").await;
    proxy.get(ASKED).await;
    proxy.get("/organizations/acme/express/products").await;
    let purged = proxy.admin(http::Method::DELETE, "/api/cache?path_prefix=/express/invoices").await;
    assert_eq!(purged.json()["purged"], 1);
    proxy.get("/organizations/acme/express/products").await;
    proxy.get(ASKED).await;
    assert_eq!((peer.calls(INVOICES), peer.calls("/express/products")), (2, 1));
}

#[tokio::test]
async fn a_304_about_something_else_is_asked_again_though_there_is_one_place_only() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(
        INVOICES,
        [
            Canned::json(r#"{"total":1,"_links":{}}"#).with("etag", "\"a\""),
            Canned::status(304).with("etag", "\"b\""),
            Canned::json(r#"{"total":2,"_links":{}}"#).with("etag", "\"b\""),
        ],
    );
    let further = format!(
        "{}limits:\n  upstream: {{ concurrency: 1 }}\n",
        rule("{ ttl: 60s, stale_while_revalidate: 0s, stale_if_error: 0s }")
    );
    let proxy = peer.proxy(&further).await;
    proxy.get(ASKED).await;
    proxy.advance(Duration::from_secs(61));
    assert_eq!(proxy.get(ASKED).await.text(), r#"{"total":2,"_links":{}}"#);
    assert_eq!(peer.calls(INVOICES), 3);
}

#[tokio::test]
async fn a_token_rejected_for_one_request_takes_nothing_else_from_memory() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(INVOICES, [Canned::page()]);
    let proxy = peer.proxy(&rule("{ ttl: 1h, min_refresh: 0s }")).await;
    let (one, other) = (format!("{ASKED}?page=1"), format!("{ASKED}?page=2"));
    proxy.get(&one).await;
    proxy.get(&other).await;
    peer.answers(INVOICES, [Canned::status(401)]);
    let forced = [("cache-control", "no-cache")];
    assert_eq!(proxy.get_with(&one, &forced).await.code(), "token_rejected");
    let stored = proxy.get_with(&other, &forced).await;
    assert_eq!(stored.status, StatusCode::OK, "it was never refused: {}", stored.text());
    assert!(proxy.get(&other).await.cache_status().starts_with("hit"));
    assert_eq!(peer.calls(INVOICES), 4, "two good ones, and one refused with two tokens");
}

#[tokio::test]
async fn an_error_between_two_rejections_does_not_make_the_second_the_first() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(INVOICES, [Canned::status(401), Canned::status(500), Canned::status(401), Canned::page()]);
    let proxy = peer.proxy("").await;
    assert_eq!(proxy.get(ASKED).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(proxy.get(ASKED).await.code(), "token_rejected");
    assert_eq!(peer.calls(INVOICES), 3, "two rejected tokens in a row: nothing more is sent");
}

const ONE_RECORD: &str = r#"{"_embedded":{"invoices":[{"id":"a"}]}}"#;

#[tokio::test]
async fn a_period_that_is_over_is_kept_for_longer_and_one_that_is_not_or_may_not_be_is_not() {
    let further = rule("{ ttl: 1h, closed_period: { attribute: date, settle: 5d, ttl: 24h } }");
    for (query, body, most) in [
        ("filter=date+ge+'2023-01'+and+date+le+'2023-08'", ONE_RECORD, 86_400),
        ("%66ilter=date%20lt%20%272023-08-31%27", ONE_RECORD, 86_400),
        ("filter=date+eq+'2023-08'", r#"{"total":7,"_embedded":{"invoices":[]}}"#, 3600),
        ("filter=date+eq+'2023-08'&filter=date+eq+'2023-09'", ONE_RECORD, 3600),
        ("filter=date+le+'2999-08'", ONE_RECORD, 3600),
        ("filter=date+ge+'2023-08'", ONE_RECORD, 3600),
    ] {
        let peer = Peer::start(Wire::HttpMock).await;
        peer.answers(INVOICES, [Canned::json(body)]);
        let proxy = peer.proxy(&further).await;
        let reply = proxy.get(&format!("{ASKED}?{query}")).await;
        let expected = format!("fwd=uri-miss; fwd-status=200; ttl={most}; stored");
        assert!(is_nearly(reply.cache_status(), &expected), "{query}: {}", reply.cache_status());
    }
}

#[tokio::test]
async fn an_origin_that_decides_is_not_asked_whether_a_period_is_over() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(INVOICES, [Canned::json(ONE_RECORD).with("cache-control", "max-age=60")]);
    let further = rule("{ ttl: 1h, override: [], closed_period: { attribute: date, settle: 5d, ttl: 24h } }");
    let proxy = peer.proxy(&further).await;
    let reply = proxy.get(&format!("{ASKED}?filter=date+eq+'2023-08'")).await;
    assert_eq!(reply.cache_status(), "fwd=uri-miss; fwd-status=200; ttl=60; stored");
}
