//! Added endpoints without a cache rule: the origin decides, as RFC 9111 says. Test names begin with the section where they
//! are about one.

use std::time::Duration;

use http::{Method, StatusCode};
use rstest::rstest;

use crate::support::Proxy;
use crate::support::peer::{Canned, Peer, TOKEN_PATH, Wire};
use crate::support::raw::{Act, RawPeer, exchange, say};

const ASKED: &str = "/organizations/acme/test/a";
const PATH: &str = "/test/a";

/// An endpoint without a cache rule, and no limit that would hold it back.
pub const ADDED: &str = "
upstream:
  endpoints:
    test: { path: /test/*, forward_request_fields: all }
limits:
  upstream: { rate: 10000/s, burst: 1000, concurrency: 100 }
cache:
  max_entry_bytes: 1MiB
  endpoints:
    test: {}
";

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

// --- Transparency ------------------------------------------------------------------------------------------------

#[rstest]
#[tokio::test]
async fn all_fields_but_the_forbidden_pass_in_both_directions(
    #[values(Wire::HttpMock, Wire::TlsHttp2)] wire: Wire,
) {
    let peer = Peer::start(wire).await;
    let answer = fresh("x")
        .with("x-many", "1")
        .with("x-many", "2")
        .with("content-md5", "rL0Y20zC+Fzt72VPzMSk2A==")
        .with("accept-ranges", "bytes")
        .with("retry-after", "Wed, 21 Oct 2099 07:28:00 GMT")
        .with("vary", "Accept-Encoding, X-Many")
        .with("set-cookie", "a=b");
    peer.answers(PATH, [answer]);
    let proxy = peer.proxy(ADDED).await;
    let sent = [
        ("x-many", "1"),
        ("x-many", "2"),
        ("x-unknown", "1"),
        ("user-agent", "mine"),
        ("cache-control", "max-age=100"),
        ("pragma", "x"),
        ("cookie", "a=b"),
        ("x-forwarded-for", "1.2.3.4"),
    ];
    for _ in 0..2 {
        let reply = proxy.get_with(ASKED, &sent).await;
        assert_eq!(reply.lines("x-many"), [b"1", b"2"]);
        assert_eq!(reply.field("content-md5"), "rL0Y20zC+Fzt72VPzMSk2A==");
        assert_eq!(reply.field("accept-ranges"), "bytes");
        assert_eq!(reply.field("vary"), "X-Many", "the proxy decodes");
        assert_eq!((reply.field("set-cookie"), reply.field("retry-after")), ("", ""));
        assert!(reply.field("etag").starts_with('"'), "the proxy adds one");
    }
    let seen = &peer.seen(PATH)[0].fields;
    assert_eq!(seen.get_all("x-many").iter().count(), 2);
    assert_eq!(
        (&seen["x-unknown"], &seen["user-agent"]),
        (&"1".parse().expect("a value"), &"mine".parse().expect("a value"))
    );
    assert_eq!(
        (&seen["cache-control"], &seen["pragma"]),
        (&"max-age=100".parse().expect("a value"), &"x".parse().expect("a value"))
    );
    assert!(!seen.contains_key("cookie") && !seen.contains_key("x-forwarded-for"));
    assert_eq!(peer.calls(PATH), 1);
}

#[tokio::test]
async fn bytes_above_ascii_pass_in_both_directions_and_in_a_tag() {
    let peer = RawPeer::start().await;
    let answer = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"\xfc\"\r\nX-Old: \xe9\xff\r\nContent-Length: 1\r\n\r\nx";
    peer.plays([vec![Act::Send(answer.to_vec())]]);
    let proxy = peer.proxy(ADDED).await;
    let ask = |condition: &[u8]| {
        let head = format!("GET {ASKED} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        [head.as_bytes(), b"X-Mine: \xe4\xf6\r\n", condition, b"\r\n"].concat()
    };
    let address = proxy.app.addresses().data.clone();
    let first = exchange(&address, &ask(b"")).await;
    assert!(
        first.windows(9).any(|window| window == b"x-old: \xe9\xff"),
        "{}",
        String::from_utf8_lossy(&first)
    );
    let second = exchange(&address, &ask(b"If-None-Match: \"\xfc\"\r\n")).await;
    assert!(second.starts_with(b"HTTP/1.1 304"), "{}", String::from_utf8_lossy(&second));
    assert!(peer.heads()[0].contains("x-mine: \u{e4}\u{f6}"), "{}", peer.heads()[0]);
}

#[rstest]
#[tokio::test]
async fn every_status_passes_and_is_stored_where_the_origin_says_for_how_long(
    #[values(200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 402, 404, 410, 418, 499, 500, 501, 599, 999)]
    status: u16,
) {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [Canned { status, ..fresh(if status == 204 { "" } else { "x" }) }, text("other")]);
    for expected in ["fwd=uri-miss", "hit"] {
        let reply = proxy.get(ASKED).await;
        assert_eq!(reply.status.as_u16(), status);
        assert!(reply.cache_status().starts_with(expected), "{}", reply.cache_status());
        assert_eq!(reply.text(), if status == 204 { "" } else { "x" });
    }
    assert_eq!(peer.calls(PATH), 1);
}

#[rstest]
#[case("?", "")]
#[case("?b=1&a=2", "?a=2&b=1")]
#[case("?a=%7e+&&b", "?a=~%20&b=")]
#[case("?%61='1'", "?a=%271%27")]
#[tokio::test]
async fn a_query_has_one_form(#[case] query: &str, #[case] sent: &str) {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [fresh("x")]);
    proxy.get(&format!("{ASKED}{query}")).await;
    proxy.get(&format!("{ASKED}{sent}")).await;
    assert_eq!(peer.calls(PATH), 1);
    assert_eq!(peer.seen(PATH)[0].target, format!("{PATH}{sent}"));
    proxy.get(&format!("{ASKED}{query}&c")).await;
    assert_eq!(peer.calls(PATH), 2);
}

#[tokio::test]
async fn interim_answers_are_consumed_and_counted() {
    let peer = RawPeer::start().await;
    let answer = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
        HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 1\r\n\r\nx";
    peer.plays([vec![Act::Send(answer.to_vec())]]);
    let proxy = peer.proxy(ADDED).await;
    for _ in 0..2 {
        let reply = proxy.get(ASKED).await;
        assert_eq!((reply.status, reply.text().as_str(), reply.field("link")), (StatusCode::OK, "x", ""));
    }
    assert!((proxy.metric("upstream_interim_responses_total", &[]).await - 2.0).abs() < 0.1);
}

// --- Methods -----------------------------------------------------------------------------------------------------

#[rstest]
#[tokio::test]
async fn the_proxy_is_read_only_and_what_is_stored_stays(
    #[values("POST", "PUT", "PATCH", "DELETE", "M-SEARCH")] method: &str,
) {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [fresh("stored")]);
    proxy.get(ASKED).await;
    let reply = proxy.send(method.parse().expect("a method"), ASKED, &[], "a body").await;
    reply.assert_problem(405, "method_not_allowed");
    assert_eq!((reply.field("allow"), reply.field("connection")), ("GET, HEAD, OPTIONS", "close"));
    assert_eq!(proxy.get(ASKED).await.cache_status().split(';').next(), Some("hit"));
    assert_eq!(peer.calls(PATH), 1);
}

#[tokio::test]
async fn a_refused_body_is_not_read_as_a_request() {
    let (peer, proxy) = start().await;
    let smuggled = format!("GET {ASKED} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let request = format!(
        "PATCH {ASKED} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{smuggled}",
        smuggled.len()
    );
    let heard = say(&proxy, request.as_bytes()).await;
    assert!(heard.starts_with("HTTP/1.1 405"), "{heard}");
    assert_eq!(heard.matches("HTTP/1.1").count(), 1, "{heard}");
    assert_eq!(peer.calls(PATH), 0);
}

// --- HEAD --------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_head_is_fetched_as_a_get_and_stored() {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [fresh("12345").with("x-a", "1")]);
    for expected in ["fwd=uri-miss; fwd-status=200; ttl=60; stored", "hit; ttl=60"] {
        let reply = proxy.ask(Method::HEAD, ASKED, &[]).await;
        assert_eq!((reply.status, reply.field("x-a"), reply.body.len()), (StatusCode::OK, "1", 0));
        assert_eq!((reply.field("content-length"), reply.cache_status()), ("5", expected));
    }
    assert_eq!(proxy.get(ASKED).await.text(), "12345");
    assert_eq!((peer.seen(PATH)[0].method.as_str(), peer.calls(PATH)), ("GET", 1));
}

#[tokio::test]
async fn section_4_a_head_is_answered_from_what_a_get_stored() {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [fresh("12345")]);
    proxy.get(ASKED).await;
    let reply = proxy.ask(Method::HEAD, ASKED, &[]).await;
    assert_eq!((reply.field("content-length"), reply.body.len()), ("5", 0));
    assert_eq!(peer.calls(PATH), 1);
}

// --- What a request says -----------------------------------------------------------------------------------------

#[tokio::test]
async fn section_5_2_1_5_what_a_request_says_must_not_be_stored_is_not() {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [fresh("x")]);
    let reply = proxy.get_with(ASKED, &[("cache-control", "no-store")]).await;
    assert_eq!(reply.cache_status(), "fwd=uri-miss; fwd-status=200; detail=request_no_store");
    assert_eq!(proxy.get(ASKED).await.cache_status(), "fwd=uri-miss; fwd-status=200; ttl=60; stored");
}

#[rstest]
#[case::unless_allowed("max-age=60", false)]
#[case::public("max-age=60, public", true)]
#[case::must_revalidate("max-age=60, must-revalidate", true)]
#[case::s_maxage("s-maxage=60", true)]
#[tokio::test]
async fn section_3_5_an_answer_to_a_client_with_credentials_of_its_own_is_not_stored(
    #[case] allows: &str,
    #[case] stored: bool,
) {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [text("x").with("cache-control", allows)]);
    proxy.get_with(ASKED, &[("authorization", "Basic eDp5")]).await;
    proxy.get(ASKED).await;
    assert_eq!(peer.calls(PATH), if stored { 1 } else { 2 });
    let seen = &peer.seen(PATH)[0].fields["authorization"];
    assert_eq!(seen, "Bearer token-1", "the client's own goes nowhere");
}

#[tokio::test]
async fn section_5_2_1_7_only_if_cached_is_answered_from_the_cache_or_not_at_all() {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [fresh("x")]);
    let only = [("cache-control", "only-if-cached")];
    proxy.get_with(ASKED, &only).await.assert_problem(504, "not_in_cache");
    assert_eq!(peer.calls(PATH), 0);
    proxy.get(ASKED).await;
    assert_eq!(proxy.get_with(ASKED, &only).await.text(), "x");
}

#[tokio::test]
async fn section_5_2_1_2_a_client_may_take_what_is_stale() {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [fresh("x")]);
    proxy.get(ASKED).await;
    proxy.advance(Duration::from_secs(70));
    let reply = proxy.get_with(ASKED, &[("cache-control", "max-stale=20")]).await;
    assert_eq!(reply.cache_status(), "hit; ttl=-10");
    proxy.get_with(ASKED, &[("cache-control", "max-stale=5")]).await;
    assert_eq!(peer.calls(PATH), 2);
}

// --- What is kept of the fields ----------------------------------------------------------------------------------

#[rstest]
#[case::section_5_2_2_4("no-cache=\"x-mine, x-absent\", max-age=60")]
#[case::section_5_2_2_7("private=\"x-mine\", max-age=60")]
#[case::what_the_proxy_says_itself_is_said_all_the_same("private=\"x-mine, via\", max-age=60")]
#[tokio::test]
async fn a_field_that_is_for_one_alone_reaches_that_one_and_is_not_kept(#[case] directives: &str) {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [text("x").with("cache-control", directives).with("x-mine", "1").with("x-all", "2")]);
    let first = proxy.get(ASKED).await;
    assert_eq!((first.field("x-mine"), first.field("x-all")), ("1", "2"));
    let second = proxy.get(ASKED).await;
    assert_eq!((second.field("x-mine"), second.field("x-all")), ("", "2"));
    assert_eq!(second.field("via"), first.field("via"));
    assert!(second.field("via").ends_with("billing-insights-proxy"));
    assert_eq!(peer.calls(PATH), 1);
}

#[tokio::test]
async fn section_3_1_fields_of_the_connection_are_not_kept() {
    let peer = RawPeer::start().await;
    let answer = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
        Proxy-Authenticate: Basic\r\nProxy-Authentication-Info: a=b\r\nProxy-Authorization: Basic x\r\n\
        Proxy-Connection: close\r\nX-End: 1\r\nContent-Length: 1\r\n\r\nx";
    peer.plays([vec![Act::Send(answer.to_vec())]]);
    let proxy = peer.proxy(ADDED).await;
    for _ in 0..2 {
        let reply = proxy.get(ASKED).await;
        assert_eq!(reply.field("x-end"), "1");
        for name in [
            "connection",
            "x-hop",
            "keep-alive",
            "proxy-authenticate",
            "proxy-authentication-info",
            "proxy-authorization",
            "proxy-connection",
        ] {
            assert_eq!(reply.field(name), "", "{name}");
        }
    }
}

#[tokio::test]
async fn section_5_1_the_age_that_an_answer_came_with_counts() {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [fresh("x").with("age", "50"), fresh("y")]);
    assert_eq!(proxy.get(ASKED).await.field("age"), "50");
    proxy.advance(Duration::from_secs(9));
    assert_eq!(proxy.get(ASKED).await.field("age"), "59");
    proxy.advance(Duration::from_secs(1));
    assert_eq!(proxy.get(ASKED).await.text(), "y");
}

// --- Validation --------------------------------------------------------------------------------------------------

#[tokio::test]
async fn section_4_3_4_a_304_brings_new_fields_and_a_new_age() {
    let (peer, proxy) = start().await;
    let stored = fresh("x").with("etag", "\"a\"").with("age", "40").with("x-old", "1").with("x-kept", "1");
    let confirmed = Canned::status(304)
        .with("etag", "\"a\"")
        .with("cache-control", "max-age=100")
        .with("x-old", "2")
        .with("x-new", "3");
    peer.answers(PATH, [stored, confirmed]);
    assert_eq!(proxy.get(ASKED).await.field("age"), "40");
    let reply = proxy.get_with(ASKED, &[("cache-control", "no-cache")]).await;
    assert_eq!(reply.cache_status(), "fwd=request; fwd-status=304; ttl=100; stored");
    assert_eq!((reply.field("x-old"), reply.field("x-new"), reply.field("x-kept")), ("2", "3", "1"));
    assert_eq!((reply.field("age"), reply.text().as_str()), ("", "x"), "how old the first one was is over");
    assert_eq!(proxy.get(ASKED).await.field("age"), "0");
    assert_eq!(peer.seen(PATH)[1].fields["if-none-match"], "\"a\"");
}

#[tokio::test]
async fn section_4_3_1_all_variants_are_offered_and_the_confirmed_one_answers() {
    let (peer, proxy) = start().await;
    let variant = |body: &str, tag: &str| fresh(body).with("vary", "x-kind").with("etag", tag);
    peer.answers(
        PATH,
        [
            variant("one", "\"1\""),
            variant("two", "\"2\""),
            Canned::status(304)
                .with("etag", "\"1\"")
                .with("vary", "x-kind")
                .with("cache-control", "max-age=60"),
        ],
    );
    proxy.get_with(ASKED, &[("x-kind", "a")]).await;
    proxy.get_with(ASKED, &[("x-kind", "b")]).await;
    let third = proxy.get_with(ASKED, &[("x-kind", "c")]).await;
    assert_eq!(third.text(), "one");
    assert_eq!(third.cache_status(), "fwd=vary-miss; fwd-status=304; ttl=60; stored");
    let offered = peer.seen(PATH)[2].fields["if-none-match"].to_str().expect("text").to_owned();
    assert_eq!(offered, "\"2\", \"1\"");
    for (kind, body) in [("a", "one"), ("b", "two"), ("c", "one")] {
        assert_eq!(proxy.get_with(ASKED, &[("x-kind", kind)]).await.text(), body);
    }
    assert_eq!(peer.calls(PATH), 3);
}

#[tokio::test]
async fn section_4_3_4_a_304_about_nothing_that_is_stored_is_asked_again_without_conditions() {
    let (peer, proxy) = start().await;
    peer.answers(
        PATH,
        [
            fresh("x").with("etag", "\"a\""),
            Canned::status(304).with("etag", "\"b\""),
            fresh("y").with("etag", "\"b\""),
        ],
    );
    proxy.get(ASKED).await;
    proxy.advance(Duration::from_secs(61));
    assert_eq!(proxy.get(ASKED).await.text(), "y");
    assert!(!peer.seen(PATH)[2].fields.contains_key("if-none-match"));
}

#[tokio::test]
async fn section_4_3_2_a_date_takes_the_place_of_a_missing_last_modified() {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [fresh("x")]);
    let date = proxy.get(ASKED).await.field("date").to_owned();
    assert!(!date.is_empty(), "an answer without a date gets one");
    let reply = proxy.get_with(ASKED, &[("if-modified-since", &date)]).await;
    assert_eq!(reply.status, StatusCode::NOT_MODIFIED);
    assert_eq!(peer.calls(PATH), 1);
}

#[tokio::test]
async fn section_4_3_3_an_error_while_validating_passes_unless_the_origin_lets_the_stale_stand_in() {
    for (directives, status, body) in
        [("max-age=60", 503, "down"), ("max-age=60, stale-if-error=600", 200, "x")]
    {
        let (peer, proxy) = start().await;
        let down = Canned { status: 503, ..text("down") };
        peer.answers(PATH, [text("x").with("etag", "\"a\"").with("cache-control", directives), down]);
        proxy.get(ASKED).await;
        proxy.advance(Duration::from_secs(61));
        let reply = proxy.get(ASKED).await;
        assert_eq!((reply.status.as_u16(), reply.text().as_str()), (status, body));
    }
}

// --- Ranges, conditions, codings -----------------------------------------------------------------------------------

#[tokio::test]
async fn a_range_is_ignored_and_the_whole_answers() {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [fresh("0123456789")]);
    for range in ["bytes=0-1", "bytes=10-", "bytes=-3"] {
        let reply = proxy.get_with(ASKED, &[("range", range), ("if-range", "\"a\"")]).await;
        assert_eq!((reply.status, reply.text().as_str()), (StatusCode::OK, "0123456789"), "{range}");
    }
    let seen = &peer.seen(PATH)[0].fields;
    assert!(!seen.contains_key("range") && !seen.contains_key("if-range"));
    assert_eq!(peer.calls(PATH), 1);
}

#[tokio::test]
async fn a_part_that_was_not_asked_for_is_refused_and_not_stored() {
    let (peer, proxy) = start().await;
    let part = Canned { status: 206, ..fresh("01") }.with("content-range", "bytes 0-1/10");
    peer.answers(PATH, [part, fresh("0123456789")]);
    proxy.get(ASKED).await.assert_problem(502, "upstream_protocol_error");
    assert_eq!(proxy.get(ASKED).await.text(), "0123456789");
}

/// They are not applicable to a stored response, so a cache ignores them (RFC 9110, sections 13.1.1 and 13.1.4).
#[tokio::test]
async fn section_4_3_2_conditions_that_only_an_origin_can_evaluate_are_ignored() {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [fresh("x").with("etag", "\"a\"")]);
    for field in [("if-match", "\"b\""), ("if-unmodified-since", "Mon, 01 Jan 2024 00:00:00 GMT")] {
        assert_eq!(proxy.get_with(ASKED, &[field]).await.text(), "x");
        assert!(!peer.seen(PATH)[0].fields.contains_key(field.0));
    }
    assert_eq!(peer.calls(PATH), 1);
}

#[tokio::test]
async fn a_coding_that_was_not_asked_for_is_refused() {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [fresh("compressed").with("content-encoding", "x-own")]);
    proxy.get(ASKED).await.assert_problem(502, "upstream_protocol_error");
}

#[tokio::test]
async fn an_answer_with_the_token_in_its_body_is_refused_and_a_field_with_it_is_removed() {
    let (peer, proxy) = start().await;
    peer.answers(TOKEN_PATH, [Canned::token("secret-token/1")]);
    for echo in ["Bearer secret-token/1", r"secret-token\/1"] {
        peer.answers(PATH, [fresh(echo)]);
        let reply = proxy.get(ASKED).await;
        reply.assert_problem(502, "token_in_answer");
        assert!(!reply.text().contains("secret-token"), "{}", reply.text());
    }
    peer.answers(PATH, [fresh("harmless").with("x-echo", "Bearer secret-token/1").with("x-other", "1")]);
    let reply = proxy.get(ASKED).await;
    assert_eq!((reply.field("x-echo"), reply.field("x-other")), ("", "1"));
    let found = proxy.metric("upstream_errors_total", &[("kind", "token_in_answer")]).await;
    assert!((found - 3.0).abs() < 0.1, "two bodies and a field: {found}");
}

#[tokio::test]
async fn no_transform_keeps_the_links_as_they_are() {
    let (peer, proxy) = start().await;
    let body = format!(r#"{{"href":"{}/test/b"}}"#, peer.url());
    let answer = |directives: &str| Canned::json(body.clone()).with("cache-control", directives);
    peer.answers(PATH, [answer("max-age=60, no-transform")]);
    assert_eq!(proxy.get(ASKED).await.text(), body);
    peer.answers("/test/other", [answer("max-age=60")]);
    assert!(!proxy.get("/organizations/acme/test/other").await.text().contains(peer.url()));
}
