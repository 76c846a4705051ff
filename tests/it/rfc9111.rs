//! RFC 9111 over real sockets, as far as `plain` does not have it: each test begins with its section.
//! `docs/rfc9111.md` lists them beside what they are for.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use rstest::rstest;
use tokio::sync::Notify;

use crate::added_endpoints::ADDED;
use crate::support::peer::{Canned, Peer, Wire};
use crate::support::raw::{Act, RawPeer};
use crate::support::{Proxy, eventually};

const ASKED: &str = "/organizations/acme/test/a";
const PATH: &str = "/test/a";

async fn start() -> (Peer, Proxy) {
    let peer = Peer::start(Wire::HttpMock).await;
    let proxy = peer.proxy(ADDED).await;
    (peer, proxy)
}

fn text(body: &str) -> Canned {
    Canned {
        status: 200,
        fields: vec![("content-type".into(), "text/plain".into())],
        body: body.to_owned().into(),
    }
}

fn fresh(body: &str) -> Canned {
    text(body).with("cache-control", "max-age=60")
}

/// Keeps the clocks of origins, which go by the time of day, from counting: the test's clock is ahead of them.
fn undated(canned: Canned) -> Canned {
    canned.with("date", "Fri, 31 Dec 9999 23:59:59 GMT")
}

fn date(hour: u32) -> String {
    format!("Mon, 01 Jan 2024 {hour:02}:00:00 GMT")
}

// --- Section 3 ---------------------------------------------------------------------------------------------------

#[rstest]
#[case::no_store("no-store")]
#[case::in_another_case("No-STORE, max-age=60")]
#[case::private("private, max-age=60")]
#[case::unclosed_quote("max-age=60, x=\"a, no-store")]
#[case::must_understand("must-understand, max-age=60")]
#[tokio::test]
async fn section_3_what_must_not_be_stored_is_fetched_every_time(#[case] directives: &str) {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [Canned { status: 299, ..text("x") }.with("cache-control", directives)]);
    for _ in 0..3 {
        assert_eq!(proxy.get(ASKED).await.text(), "x");
    }
    assert_eq!(peer.calls(PATH), 3);
}

#[tokio::test]
async fn section_3_1_all_fields_are_stored_unknown_and_repeated_ones_too() {
    let (peer, proxy) = start().await;
    let answer =
        fresh("x").with("x-unknown", "1").with("x-many", "b").with("x-many", "a").with("warning", "110 - x");
    peer.answers(PATH, [answer]);
    for _ in 0..2 {
        let reply = proxy.get(ASKED).await;
        assert_eq!((reply.field("x-unknown"), reply.field("warning")), ("1", "110 - x"));
        assert_eq!(reply.lines("x-many"), [b"b", b"a"]);
    }
    assert_eq!(peer.calls(PATH), 1);
}

#[tokio::test]
async fn section_3_1_trailers_are_not_joined_to_the_fields() {
    let peer = RawPeer::start().await;
    let answer = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nX-A: 1\r\nTrailer: X-A, X-End\r\n\
        Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-A: 2\r\nX-End: 3\r\n\r\n";
    peer.plays([vec![Act::Send(answer.to_vec())]]);
    let proxy = peer.proxy(ADDED).await;
    for _ in 0..2 {
        let reply = proxy.get(ASKED).await;
        assert_eq!((reply.text().as_str(), reply.field("x-end")), ("x", ""));
        assert_eq!(reply.lines("x-a"), [b"1"]);
    }
    assert_eq!(peer.calls(), 1);
}

#[tokio::test]
async fn section_3_2_a_304_replaces_every_field_but_those_of_the_body_and_of_the_connection() {
    let peer = RawPeer::start().await;
    let first =
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nCache-Control: max-age=60\r\nETag: \"a\"\r\nX-Two: 1\r\n\
        X-Two: 2\r\nX-Kept: 1\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n12345";
    let second = b"HTTP/1.1 304 Not Modified\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nCache-Control: max-age=90\r\n\
        ETag: W/\"a\"\r\nX-Two: 3\r\nContent-Type: text/html\r\nContent-Length: 9\r\nContent-Range: bytes 0-1/9\r\n\
        Proxy-Authenticate: Basic\r\nSet-Cookie: a=b\r\n\r\n";
    peer.plays([vec![Act::Send(first.to_vec())], vec![Act::Send(second.to_vec())]]);
    let proxy = peer.proxy(ADDED).await;
    proxy.get(ASKED).await;
    proxy.advance(Duration::from_secs(61));
    for _ in 0..2 {
        let reply = proxy.get(ASKED).await;
        assert_eq!((reply.text().as_str(), reply.field("content-length")), ("12345", "5"));
        assert_eq!((reply.field("etag"), reply.field("content-type")), ("\"a\"", "text/html"));
        assert_eq!((reply.field("cache-control"), reply.field("x-kept")), ("max-age=90", "1"));
        assert_eq!(reply.lines("x-two"), [b"3"]);
        for name in ["x-hop", "content-range", "proxy-authenticate", "set-cookie"] {
            assert_eq!(reply.field(name), "", "{name}");
        }
    }
    assert_eq!(peer.calls(), 2);
}

#[rstest]
#[case::too_short("Content-Length: 9\r\n\r\n12345")]
#[case::without_the_last_chunk("Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n")]
#[tokio::test]
async fn section_3_3_an_answer_that_breaks_off_is_neither_stored_nor_taken_for_the_whole(#[case] rest: &str) {
    let peer = RawPeer::start().await;
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nCache-Control: max-age=60\r\n";
    let whole = format!("{head}Content-Length: 4\r\n\r\nwell").into_bytes();
    peer.plays([vec![Act::Send(format!("{head}{rest}").into_bytes())], vec![Act::Send(whole)]]);
    let proxy = peer.proxy(ADDED).await;
    // What came before the end may be on its way to the client already: then that is cut off as well.
    if let Ok(reply) = proxy.try_get(ASKED).await {
        reply.assert_problem(502, "upstream_protocol_error");
    }
    assert_eq!(proxy.get(ASKED).await.text(), "well");
    assert_eq!(proxy.get(ASKED).await.text(), "well");
    assert_eq!(peer.calls(), 2);
}

// --- Section 4 ---------------------------------------------------------------------------------------------------

#[tokio::test]
async fn section_4_another_url_is_another_answer() {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [fresh("a")]);
    peer.answers("/test/A", [fresh("A")]);
    for (url, body) in [("", "a"), ("?a", "a"), ("?a=1", "a")] {
        assert_eq!(proxy.get(&format!("{ASKED}{url}")).await.text(), body);
    }
    assert_eq!(peer.calls(PATH), 3);
    assert_eq!(proxy.get("/organizations/acme/test/A").await.text(), "A");
}

#[rstest]
#[case::no_cache("no-cache, max-age=600")]
#[case::no_lifetime("max-age=0")]
#[tokio::test]
async fn section_4_what_may_not_be_reused_unvalidated_is_validated_every_time(#[case] directives: &str) {
    let (peer, proxy) = start().await;
    let confirmed = Canned::status(304).with("etag", "\"a\"");
    peer.answers(PATH, [text("x").with("etag", "\"a\"").with("cache-control", directives), confirmed]);
    for _ in 0..3 {
        assert_eq!(proxy.get(ASKED).await.text(), "x");
    }
    assert_eq!(peer.calls(PATH), 3);
    assert!(peer.seen(PATH)[1..].iter().all(|seen| seen.fields["if-none-match"] == "\"a\""));
}

#[tokio::test]
async fn section_4_every_reuse_has_one_age_in_the_place_of_the_origins() {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [fresh("x").with("age", "5, 7").with("age", "9")]);
    proxy.get(ASKED).await;
    proxy.advance(Duration::from_secs(10));
    for (method, fields) in [
        (Method::GET, vec![]),
        (Method::HEAD, vec![]),
        (Method::GET, vec![("if-modified-since", "Fri, 31 Dec 9999 23:59:59 GMT")]),
        (Method::GET, vec![("range", "bytes=0-0")]),
    ] {
        let reply = proxy.ask(method, ASKED, &fields).await;
        assert_eq!(reply.lines("age"), [b"15"], "{}", reply.status);
    }
    assert_eq!(peer.calls(PATH), 1);
}

#[rstest]
#[case::fresh("max-age=60", 1)]
#[case::stale_at_once("max-age=0", 6)]
#[case::to_be_validated("no-cache, max-age=60", 6)]
#[case::not_stored("no-store", 6)]
#[tokio::test]
async fn section_4_requests_are_collapsed_only_where_the_answer_may_be_reused(
    #[case] directives: &str,
    #[case] calls: usize,
) {
    let peer = RawPeer::start().await;
    let told = Arc::new(Notify::new());
    let answer = format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nCache-Control: {directives}\r\nContent-Length: 1\r\n\r\nx"
    );
    let answer = Act::Send(answer.into_bytes());
    peer.plays([vec![Act::Until(Arc::clone(&told)), answer.clone()], vec![answer]]);
    let proxy = Arc::new(peer.proxy(ADDED).await);
    let asking: Vec<_> = (0..6)
        .map(|_| {
            let proxy = Arc::clone(&proxy);
            tokio::spawn(async move { proxy.get(ASKED).await })
        })
        .collect();
    eventually("all of them wait", async || {
        (proxy.metric("http_requests_in_flight", &[]).await > 5.5).then_some(())
    })
    .await;
    assert_eq!(peer.calls(), 1);
    told.notify_one();
    let mut ages = 0;
    for asked in asking {
        let reply = asked.await.expect("an answer");
        assert_eq!(reply.text(), "x");
        let collapsed = reply.cache_status().contains("collapsed");
        assert_eq!(!reply.lines("age").is_empty(), collapsed, "{}", reply.cache_status());
        ages += usize::from(collapsed);
    }
    assert_eq!((peer.calls(), ages), (calls, 6 - calls));
}

#[tokio::test]
async fn section_4_1_what_varies_by_nothing_any_more_leaves_the_other_variants_their_requests() {
    let (peer, proxy) = start().await;
    let long =
        |body: &str, hour| text(body).with("cache-control", "max-age=999999999").with("date", &date(hour));
    peer.answers(PATH, [long("de", 2).with("vary", "accept-language"), long("all", 3)]);
    let asked = async |language: &str| proxy.get_with(ASKED, &[("accept-language", language)]).await.text();
    assert_eq!(asked("de").await, "de");
    assert_eq!(asked("en").await, "all");
    assert_eq!((asked("de").await, asked("fr").await), ("de".into(), "all".into()));
    assert_eq!(peer.calls(PATH), 2);
}

#[rstest]
#[case::white_space("x-kind", &[("x-kind", "a,  b ")], &[("x-kind", "a,b")], true)]
#[case::lines("x-kind", &[("x-kind", "a"), ("x-kind", "b")], &[("x-kind", "a, b")], true)]
#[case::order("x-kind", &[("x-kind", "b, a")], &[("x-kind", "a, b")], false)]
#[case::case("x-kind", &[("x-kind", "A")], &[("x-kind", "a")], false)]
#[case::absent("x-kind", &[], &[("x-kind", "")], false)]
#[case::absent_twice("x-kind", &[("x-else", "1")], &[], true)]
#[case::name_in_another_case("X-KIND", &[("x-kind", "a")], &[("x-kind", "b")], false)]
#[case::one_of_several("x-else, x-kind", &[("x-kind", "a")], &[("x-kind", "b")], false)]
#[case::inside_quotes("x-kind", &[("x-kind", "\"a,  b\"")], &[("x-kind", "\"a,b\"")], false)]
#[case::any("*", &[], &[], false)]
#[case::any_among_others("x-kind, *", &[], &[], false)]
#[tokio::test]
async fn section_4_1_the_fields_that_vary_names_have_to_match(
    #[case] vary: &str,
    #[case] first: &[(&str, &str)],
    #[case] second: &[(&str, &str)],
    #[case] same: bool,
) {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [fresh("x").with("vary", vary)]);
    proxy.get_with(ASKED, first).await;
    proxy.get_with(ASKED, second).await;
    assert_eq!(peer.calls(PATH), if same { 1 } else { 2 });
}

#[tokio::test]
async fn section_4_2_2_a_url_with_a_query_has_a_heuristic_lifetime_too() {
    let (peer, proxy) = start().await;
    let answer = text("x").with("date", "Thu, 11 Jan 2024 00:00:00 GMT").with("last-modified", &date(0));
    peer.answers(PATH, [answer.with("age", "0")]);
    let reply = proxy.get(&format!("{ASKED}?a=b")).await;
    assert_eq!(reply.status, StatusCode::OK);
    let (_, ttl) = reply.cache_status().split_once("ttl=").expect("a ttl");
    let ttl: i64 = ttl.split(';').next().expect("a number").parse().expect("a number");
    let age: i64 = proxy
        .get_with(&format!("{ASKED}?a=b"), &[("cache-control", "max-stale")])
        .await
        .field("age")
        .parse()
        .expect("an age");
    assert!((ttl + age - 24 * 60 * 60).abs() <= 2, "a tenth of ten days: {ttl} and {age}");
    assert_eq!(peer.calls(PATH), 1);
}

#[rstest]
#[case::section_5_2_2_2("max-age=60, must-revalidate")]
#[case::section_5_2_2_8("max-age=60, proxy-revalidate")]
#[case::section_5_2_2_10("s-maxage=60")]
#[case::section_5_2_2_4("max-age=60, no-cache")]
#[tokio::test]
async fn section_4_2_4_what_must_not_be_stale_is_an_error_where_upstream_is_down(#[case] directives: &str) {
    let peer = RawPeer::start().await;
    let answer = format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nETag: \"a\"\r\nContent-Length: 1\r\n\
        Cache-Control: {directives}, stale-if-error=600, stale-while-revalidate=600\r\n\r\nx"
    );
    peer.plays([vec![Act::Send(answer.into_bytes())], vec![Act::Reset]]);
    let proxy = peer.proxy(ADDED).await;
    proxy.get(ASKED).await;
    proxy.advance(Duration::from_secs(61));
    for fields in [vec![], vec![("cache-control", "max-stale")]] {
        proxy.get_with(ASKED, &fields).await.assert_problem(502, "upstream_unreachable");
    }
}

#[tokio::test]
async fn section_4_2_4_nothing_is_stale_that_nobody_allows() {
    let peer = RawPeer::start().await;
    let answer =
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nCache-Control: max-age=60\r\nContent-Length: 1\r\n\r\nx";
    peer.plays([vec![Act::Send(answer.to_vec())], vec![Act::Reset]]);
    let proxy = peer.proxy(ADDED).await;
    proxy.get(ASKED).await;
    proxy.advance(Duration::from_secs(61));
    proxy.get(ASKED).await.assert_problem(502, "upstream_unreachable");
    let reply = proxy.get_with(ASKED, &[("cache-control", "max-stale")]).await;
    assert_eq!((reply.text().as_str(), reply.cache_status()), ("x", "hit; ttl=-1"));
}

// --- Section 4.3 -------------------------------------------------------------------------------------------------

#[rstest]
#[case::the_same_tag(&[("if-none-match", "\"a\"")], 304)]
#[case::equal_but_for_weakness(&[("if-none-match", "\"x\", W/\"a\"")], 304)]
#[case::any_tag(&[("if-none-match", "*")], 304)]
#[case::another_tag(&[("if-none-match", "\"b\"")], 200)]
#[case::a_tag_goes_before_a_date(&[("if-none-match", "\"b\""), ("if-modified-since", "Fri, 31 Dec 9999 23:59:59 GMT")], 200)]
#[case::the_same_date(&[("if-modified-since", "Mon, 01 Jan 2024 02:00:00 GMT")], 304)]
#[case::an_earlier_date(&[("if-modified-since", "Mon, 01 Jan 2024 01:59:59 GMT")], 200)]
#[case::no_date(&[("if-modified-since", "yesterday")], 200)]
#[tokio::test]
async fn section_4_3_2_a_clients_conditions_are_judged_by_what_is_stored(
    #[case] conditions: &[(&str, &str)],
    #[case] status: u16,
    #[values(200, 203)] stored: u16,
) {
    let (peer, proxy) = start().await;
    let answer = Canned { status: stored, ..fresh("x") };
    peer.answers(PATH, [answer.with("etag", "\"a\"").with("last-modified", &date(2)).with("x-a", "1")]);
    proxy.get(ASKED).await;
    let reply = proxy.get_with(ASKED, conditions).await;
    assert_eq!(reply.status.as_u16(), if status == 200 { stored } else { status });
    assert_eq!((reply.field("etag"), reply.field("x-a"), reply.field("age")), ("\"a\"", "1", "0"));
    assert_eq!((reply.text().as_str(), peer.calls(PATH)), (if status == 304 { "" } else { "x" }, 1));
}

#[tokio::test]
async fn section_4_3_3_a_full_answer_takes_the_place_of_the_one_that_was_validated() {
    let (peer, proxy) = start().await;
    peer.answers(
        PATH,
        [undated(fresh("old").with("etag", "\"a\"")), undated(fresh("new").with("etag", "\"b\""))],
    );
    proxy.get(ASKED).await;
    proxy.advance(Duration::from_secs(61));
    assert_eq!(proxy.get(ASKED).await.text(), "new");
    let hit = proxy.get(ASKED).await;
    assert_eq!((hit.text().as_str(), hit.field("etag"), peer.calls(PATH)), ("new", "\"b\"", 2));
}

#[rstest]
#[case::no_store("cache-control", "no-store")]
#[case::private("cache-control", "private")]
#[case::vary_by_anything("vary", "*")]
#[tokio::test]
async fn section_4_3_4_a_304_that_forbids_storing_takes_the_stored_one_away(
    #[case] name: &str,
    #[case] value: &str,
) {
    let (peer, proxy) = start().await;
    peer.answers(
        PATH,
        [
            fresh("old").with("etag", "\"a\""),
            Canned::status(304).with("etag", "\"a\"").with(name, value),
            fresh("new"),
        ],
    );
    proxy.get(ASKED).await;
    assert_eq!(proxy.get_with(ASKED, &[("cache-control", "no-cache")]).await.text(), "old");
    assert_eq!(proxy.get(ASKED).await.text(), "new", "though the old one would be fresh still");
    assert_eq!(peer.calls(PATH), 3);
}

#[tokio::test]
async fn section_5_2_1_5_a_request_that_is_not_to_be_stored_leaves_what_is() {
    let (peer, proxy) = start().await;
    let confirmed = Canned::status(304).with("etag", "\"a\"");
    peer.answers(PATH, [fresh("x").with("etag", "\"a\""), confirmed]);
    proxy.get(ASKED).await;
    proxy.get_with(ASKED, &[("cache-control", "no-cache, no-store")]).await;
    let reply = proxy.get_with(ASKED, &[("cache-control", "no-store")]).await;
    assert_eq!((reply.cache_status(), peer.calls(PATH)), ("hit; ttl=60", 2));
}

// --- Section 4.4 -------------------------------------------------------------------------------------------------

// --- Section 5 ---------------------------------------------------------------------------------------------------

#[tokio::test]
async fn section_5_2_directives_pass_in_both_directions() {
    let (peer, proxy) = start().await;
    let theirs = "Max-Age=60, x-theirs=\"a, b\", immutable";
    peer.answers(PATH, [text("x").with("cache-control", theirs).with("pragma", "x")]);
    let mine = [("cache-control", "max-stale=5, x-mine=\"c, d\""), ("pragma", "no-cache")];
    for _ in 0..2 {
        let reply = proxy.get_with(ASKED, &mine).await;
        assert_eq!((reply.field("cache-control"), reply.field("pragma")), (theirs, "x"));
    }
    let seen = &peer.seen(PATH)[0].fields;
    for (name, value) in mine {
        assert_eq!(seen[name], value);
    }
    assert_eq!(peer.calls(PATH), 1);
}

#[tokio::test]
async fn section_5_2_2_6_what_is_not_to_be_transformed_keeps_its_links() {
    let (peer, proxy) = start().await;
    let body = format!(r#"{{"next":{{"href":"{}/x"}}}}"#, peer.url());
    let linked =
        |directives| Canned::json(body.clone()).with("etag", "\"a\"").with("cache-control", directives);
    peer.answers(PATH, [linked("max-age=60, no-transform"), linked("max-age=60")]);
    for _ in 0..2 {
        let reply = proxy.get(ASKED).await;
        assert_eq!((reply.text(), reply.field("etag")), (body.clone(), "\"a\""));
    }
    let reply = proxy.get_with(ASKED, &[("cache-control", "no-cache")]).await;
    assert!(reply.text().contains(&proxy.base()) && reply.field("etag") == "W/\"a\"", "{}", reply.text());
}

#[rstest]
#[case::public("public", 500, 1)]
#[case::silent("x", 500, 2)]
#[tokio::test]
async fn section_5_2_2_9_public_lets_any_status_be_stored(
    #[case] directives: &str,
    #[case] status: u16,
    #[case] calls: usize,
) {
    let (peer, proxy) = start().await;
    let answer = Canned { status, ..text("x") };
    peer.answers(PATH, [answer.with("cache-control", directives).with("last-modified", &date(2))]);
    for _ in 0..2 {
        assert_eq!(proxy.get(ASKED).await.status.as_u16(), status);
    }
    assert_eq!(peer.calls(PATH), calls);
}

#[rstest]
#[case::a_response_has_none(&[], 1)]
#[case::a_request_has_one(&[("pragma", "no-cache")], 2)]
#[case::beside_directives(&[("pragma", "no-cache"), ("cache-control", "max-stale")], 1)]
#[tokio::test]
async fn section_5_4_pragma_means_something_in_a_request_without_directives_only(
    #[case] fields: &[(&str, &str)],
    #[case] calls: usize,
) {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [fresh("x").with("pragma", "no-cache")]);
    proxy.get(ASKED).await;
    proxy.get_with(ASKED, fields).await;
    assert_eq!(peer.calls(PATH), calls);
}
