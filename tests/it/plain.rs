//! A plain rule: an endpoint that is RFC 9111 as written, none of our additions. Test names begin with the section
//! where they are about one.

use std::time::Duration;

use http::{Method, StatusCode};
use rstest::rstest;

use crate::support::Proxy;
use crate::support::peer::{Canned, Peer, TOKEN_PATH, Wire};
use crate::support::raw::{Act, RawPeer, exchange, say, say_to};

const ASKED: &str = "/organizations/acme/test/a";
const PATH: &str = "/test/a";

/// An endpoint with a plain rule, and nothing that would hold it back.
pub const PLAIN: &str = "
upstream:
  allow_unsafe_methods: true
  max_request_bytes: 100KiB
  endpoints:
    test: { path: /test/*, methods: [GET, HEAD, POST, PUT, DELETE, M-SEARCH], forward_request_fields: all }
limits:
  upstream: { rate: 10000/s, burst: 1000, concurrency: 100 }
cache:
  max_entry_bytes: 1MiB
  endpoints:
    test: {}
";

async fn plain(peer: &Peer) -> Proxy {
    peer.proxy(PLAIN).await
}

async fn start() -> (Peer, Proxy) {
    let peer = Peer::start(Wire::HttpMock).await;
    let proxy = plain(&peer).await;
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
    let proxy = plain(&peer).await;
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
        assert_eq!(reply.field("retry-after"), "Wed, 21 Oct 2099 07:28:00 GMT");
        assert_eq!(reply.field("vary"), "Accept-Encoding, X-Many");
        assert_eq!(reply.field("set-cookie"), "");
        assert_eq!(reply.field("etag"), "", "none of ours is added");
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
    let proxy = peer.proxy(PLAIN).await;
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
    #[values(
        200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 402, 403, 404, 410, 418, 429, 499, 500, 501, 502,
        503, 504, 599, 999
    )]
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
#[tokio::test]
async fn nothing_is_sent_again_and_nothing_is_held_against_the_next(
    #[values(500, 502, 503, 504)] status: u16,
) {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [Canned::status(status), text("well")]);
    assert_eq!(proxy.get(ASKED).await.status.as_u16(), status);
    assert_eq!(peer.calls(PATH), 1);
    assert_eq!(proxy.get(ASKED).await.text(), "well");
}

#[tokio::test]
async fn a_connection_that_ends_is_not_held_against_the_next() {
    let peer = RawPeer::start().await;
    let well = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell";
    peer.plays([vec![Act::Reset], vec![Act::Send(well.to_vec())]]);
    let proxy = peer.proxy(PLAIN).await;
    proxy.get(ASKED).await.assert_problem(502, "upstream_unreachable");
    assert_eq!(proxy.get(ASKED).await.text(), "well");
}

#[rstest]
#[case("?", "")]
#[case("?b=1&a=2", "?a=2&b=1")]
#[case("?a=%7e+&&b", "?a=~%20&b=")]
#[case("?%61='1'", "?a=%271%27")]
#[tokio::test]
async fn a_query_has_one_form_under_a_plain_rule_too(#[case] query: &str, #[case] sent: &str) {
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
async fn a_coding_that_was_not_asked_for_passes_as_it_is() {
    let (peer, proxy) = start().await;
    peer.answers(
        PATH,
        [fresh("compressed").with("content-encoding", "x-own").with("vary", "accept-encoding")],
    );
    for _ in 0..2 {
        let reply = proxy.get(ASKED).await;
        assert_eq!((reply.field("content-encoding"), reply.text().as_str()), ("x-own", "compressed"));
    }
    assert_eq!(peer.calls(PATH), 1);
}

#[tokio::test]
async fn a_token_in_a_body_that_passes_as_it_is_is_masked() {
    let (peer, proxy) = start().await;
    peer.answers(TOKEN_PATH, [Canned::token("secret-token/1")]);
    let echo = r#"{"authorization":"Bearer secret-token/1","again":"secret-token\/1"}"#;
    peer.answers(PATH, [fresh(echo).with("x-echo", "Bearer secret-token/1").with("x-other", "1")]);
    for _ in 0..2 {
        let reply = proxy.get(ASKED).await;
        assert_eq!(reply.text(), r#"{"authorization":"Bearer **************","again":"***************"}"#);
        assert_eq!((reply.field("x-echo"), reply.field("x-other")), ("", "1"));
        assert_eq!(reply.field("content-length"), echo.len().to_string());
    }
    let found = proxy.metric("upstream_errors_total", &[("kind", "token_in_answer")]).await;
    assert!((found - 2.0).abs() < 0.1, "a field and a body: {found}");
    let large = format!("{}secret-token/1", "x".repeat(2 << 20));
    peer.answers("/test/large", [fresh(&large)]);
    let cut = proxy.try_get("/organizations/acme/test/large").await;
    assert!(cut.is_err() || !cut.is_ok_and(|reply| reply.text().contains("secret-token/1")));
}

#[tokio::test]
async fn interim_answers_are_consumed_and_counted() {
    let peer = RawPeer::start().await;
    let answer = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
        HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 1\r\n\r\nx";
    peer.plays([vec![Act::Send(answer.to_vec())]]);
    let proxy = peer.proxy(PLAIN).await;
    for _ in 0..2 {
        let reply = proxy.get(ASKED).await;
        assert_eq!((reply.status, reply.text().as_str(), reply.field("link")), (StatusCode::OK, "x", ""));
    }
    assert!((proxy.metric("upstream_interim_responses_total", &[]).await - 2.0).abs() < 0.1);
}

// --- Methods, bodies, invalidation -------------------------------------------------------------------------------

#[rstest]
#[tokio::test]
async fn section_4_4_a_successful_change_makes_what_is_stored_invalid(
    #[values("POST", "PUT", "DELETE", "M-SEARCH")] method: &str,
    #[values(Wire::HttpMock, Wire::TlsHttp2)] wire: Wire,
) {
    let peer = Peer::start(wire).await;
    let proxy = plain(&peer).await;
    let method: Method = method.parse().expect("a method");
    peer.answers(PATH, [fresh("old"), Canned::status(201), fresh("new")]);
    proxy.get(ASKED).await;
    let changed = proxy.send(method.clone(), ASKED, &[("content-type", "text/plain")], "a body").await;
    assert_eq!(changed.status, StatusCode::CREATED);
    assert_eq!(changed.cache_status(), "fwd=method; fwd-status=201; detail=method");
    assert_eq!(proxy.get(ASKED).await.text(), "new");
    let seen = &peer.seen(PATH)[1];
    assert_eq!((&seen.method, &*seen.body), (&method, b"a body".as_slice()));
    assert_eq!(seen.fields["content-type"], "text/plain");
}

#[tokio::test]
async fn section_4_4_a_failed_change_leaves_what_is_stored() {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [fresh("old")]);
    proxy.get(ASKED).await;
    for status in [404, 409, 500] {
        peer.answers(PATH, [Canned::status(status)]);
        assert_eq!(proxy.ask(Method::POST, ASKED, &[]).await.status.as_u16(), status);
        assert_eq!(proxy.get(ASKED).await.cache_status().split(';').next(), Some("hit"));
    }
}

#[rstest]
#[case::location("location", "b")]
#[case::content_location("content-location", "/test/b")]
#[tokio::test]
async fn section_4_4_what_the_answer_names_on_its_own_origin_is_invalid_too(
    #[case] field: &str,
    #[case] value: &str,
) {
    let (peer, proxy) = start().await;
    let other = "/organizations/acme/test/b";
    peer.answers("/test/b", [fresh("old"), fresh("new")]);
    peer.answers(PATH, [Canned::status(201).with(field, value)]);
    proxy.get(other).await;
    proxy.ask(Method::POST, ASKED, &[]).await;
    assert_eq!(proxy.get(other).await.text(), "new");
}

#[tokio::test]
async fn section_4_4_another_origin_is_left_alone() {
    let (peer, proxy) = start().await;
    peer.answers("/test/b", [fresh("old"), fresh("new")]);
    peer.answers(PATH, [Canned::status(201).with("location", "http://elsewhere.example/test/b")]);
    proxy.get("/organizations/acme/test/b").await;
    proxy.ask(Method::POST, ASKED, &[]).await;
    assert_eq!(proxy.get("/organizations/acme/test/b").await.text(), "old");
}

#[tokio::test]
async fn the_conditions_of_a_change_are_the_clients_own() {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [Canned::status(412)]);
    let reply = proxy.send(Method::PUT, ASKED, &[("if-match", "\"a\"")], "b").await;
    assert_eq!(reply.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(peer.seen(PATH)[0].fields["if-match"], "\"a\"");
}

#[tokio::test]
async fn section_4_3_2_a_condition_that_only_the_origin_can_judge_goes_there() {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [fresh("x").with("etag", "\"a\""), Canned::status(412)]);
    proxy.get(ASKED).await;
    let reply = proxy.get_with(ASKED, &[("if-match", "\"b\"")]).await;
    assert_eq!(reply.status, StatusCode::PRECONDITION_FAILED);
    assert!(reply.cache_status().starts_with("fwd=bypass"), "{}", reply.cache_status());
    assert_eq!(proxy.get(ASKED).await.text(), "x");
}

#[tokio::test]
async fn a_304_to_the_clients_own_conditions_passes() {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [Canned::status(304).with("etag", "\"a\"")]);
    let conditions = [("if-unmodified-since", "Mon, 01 Jan 2024 00:00:00 GMT"), ("if-none-match", "\"a\"")];
    let reply = proxy.get_with(ASKED, &conditions).await;
    assert_eq!((reply.status, reply.field("etag")), (StatusCode::NOT_MODIFIED, "\"a\""));
    assert_eq!(peer.seen(PATH)[0].fields["if-none-match"], "\"a\"");
}

#[tokio::test]
async fn an_instance_on_its_organizations_credential_may_change_nothing() {
    let peer = Peer::start(Wire::HttpMock).await;
    let records = PLAIN.replace(
        "forward_request_fields: all }",
        "forward_request_fields: all, account_filter: \"a eq '{account_id}'\", account_field: account_id }",
    );
    let proxy = peer.proxy(&records).await;
    let asked = "/instances/josephpinetrees/test/a";
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let reply = proxy.send(method, asked, &[], "{}").await;
        reply.assert_problem(403, "organization_only");
    }
    assert_eq!((peer.calls(PATH), peer.calls(TOKEN_PATH)), (0, 0));
    peer.answers(PATH, [Canned::json(r#"{"_embedded":{"x":[{"account_id":"other"}]}}"#)]);
    let headed = proxy.ask(Method::HEAD, asked, &[]).await;
    assert_eq!(headed.status, StatusCode::BAD_GATEWAY, "it is fetched and looked through");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_anything_is_sent() {
    let (peer, proxy) = start().await;
    let reply = proxy.send(Method::POST, ASKED, &[], vec![b'x'; 200 * 1024]).await;
    reply.assert_problem(413, "content_too_large");
    assert_eq!(reply.field("connection"), "close");
    assert_eq!((peer.calls(PATH), peer.calls(TOKEN_PATH)), (0, 0));
}

#[tokio::test]
async fn a_body_that_does_not_come_to_its_end_is_given_up_and_nothing_is_sent() {
    let (peer, proxy) = start().await;
    let request = format!("POST {ASKED} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf");
    let asked = tokio::spawn({
        let address = proxy.app.addresses().data.clone();
        async move { say_to(&address, request.as_bytes()).await }
    });
    let heard = crate::support::eventually("the body is given up", async || {
        proxy.advance(Duration::from_secs(5));
        asked.is_finished().then_some(())
    });
    heard.await;
    let heard = asked.await.expect("an answer");
    assert!(heard.starts_with("HTTP/1.1 408") && heard.contains("body_incomplete"), "{heard}");
    assert_eq!(peer.calls(PATH), 0);
}

#[tokio::test]
async fn a_change_whose_token_is_rejected_is_sent_again_with_its_body() {
    let (peer, proxy) = start().await;
    peer.answers(TOKEN_PATH, [Canned::token("one"), Canned::token("two")]);
    peer.answers(PATH, [Canned::status(401), Canned::status(204)]);
    let reply = proxy.send(Method::PUT, ASKED, &[], "body").await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    let seen = peer.seen(PATH);
    assert_eq!((seen.len(), &*seen[1].body), (2, b"body".as_slice()));
}

#[tokio::test]
async fn a_method_that_is_not_listed_is_refused_and_its_body_is_not_read_as_a_request() {
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
async fn section_4_3_5_a_head_is_sent_as_one_and_stores_nothing() {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [fresh("").with("x-a", "1")]);
    for _ in 0..2 {
        let reply = proxy.ask(Method::HEAD, ASKED, &[]).await;
        assert_eq!((reply.status, reply.field("x-a")), (StatusCode::OK, "1"));
        assert_eq!(reply.cache_status(), "fwd=uri-miss; fwd-status=200; detail=method");
    }
    assert!(peer.seen(PATH).iter().all(|seen| seen.method == Method::HEAD));
    assert_eq!(peer.calls(PATH), 2);
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

#[tokio::test]
async fn section_4_3_5_a_head_refreshes_what_a_get_stored() {
    let raw = RawPeer::start().await;
    let get = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=10\r\nConnection: close\r\nETag: \"a\"\r\nX-Kept: 1\r\nContent-Length: 5\r\n\r\n12345";
    let head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=1000\r\nConnection: close\r\nETag: \"a\"\r\nX-New: 2\r\nContent-Length: 5\r\n\r\n";
    raw.plays([vec![Act::Send(get.to_vec())], vec![Act::Send(head.to_vec())]]);
    let proxy = raw.proxy(PLAIN).await;
    proxy.get(ASKED).await;
    proxy.advance(Duration::from_secs(11));
    let headed = proxy.ask(Method::HEAD, ASKED, &[]).await;
    assert_eq!((headed.field("x-kept"), headed.field("x-new")), ("1", "2"));
    let hit = proxy.get(ASKED).await;
    assert_eq!((hit.text().as_str(), hit.field("x-new"), hit.field("age")), ("12345", "2", "0"));
    assert_eq!(hit.cache_status(), "hit; ttl=1000");
    assert_eq!(raw.heads().iter().filter(|head| head.contains(PATH)).count(), 2);
}

#[rstest]
#[case::another_tag("ETag: \"b\"\r\nContent-Length: 5\r\n")]
#[case::another_length("ETag: \"a\"\r\nContent-Length: 6\r\n")]
#[tokio::test]
async fn section_4_3_5_a_head_of_another_answer_drops_what_a_get_stored(#[case] fields: &str) {
    let raw = RawPeer::start().await;
    let get = |body: &str| {
        format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=10\r\nConnection: close\r\nETag: \"a\"\r\nContent-Length: 5\r\n\r\n{body}").into_bytes()
    };
    let head = format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=1000\r\nConnection: close\r\n{fields}\r\n")
        .into_bytes();
    raw.plays([vec![Act::Send(get("12345"))], vec![Act::Send(head)], vec![Act::Send(get("67890"))]]);
    let proxy = raw.proxy(PLAIN).await;
    proxy.get(ASKED).await;
    let forced = proxy.ask(Method::HEAD, ASKED, &[("cache-control", "no-cache")]).await;
    assert_eq!(forced.status, StatusCode::OK);
    assert_eq!(proxy.get(ASKED).await.text(), "67890");
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
    let proxy = peer.proxy(PLAIN).await;
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

// --- Ranges ------------------------------------------------------------------------------------------------------

#[rstest]
#[case("bytes=0-1", "01", "bytes 0-1/10")]
#[case("bytes=8-", "89", "bytes 8-9/10")]
#[case("bytes=-3", "789", "bytes 7-9/10")]
#[tokio::test]
async fn section_3_3_a_range_is_answered_from_the_whole(
    #[case] range: &str,
    #[case] body: &str,
    #[case] content_range: &str,
) {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [fresh("0123456789").with("etag", "\"a\"")]);
    proxy.get(ASKED).await;
    let reply = proxy.get_with(ASKED, &[("range", range)]).await;
    assert_eq!(reply.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!((reply.text().as_str(), reply.field("content-range")), (body, content_range));
    assert_eq!(reply.field("content-length"), body.len().to_string());
    assert_eq!(reply.field("etag"), "\"a\"");
    assert_eq!(peer.calls(PATH), 1);
}

#[tokio::test]
async fn a_range_beyond_the_end_is_told_the_length() {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [fresh("0123456789")]);
    proxy.get(ASKED).await;
    let reply = proxy.get_with(ASKED, &[("range", "bytes=10-")]).await;
    reply.assert_problem(416, "range_not_satisfiable");
    assert_eq!(reply.field("content-range"), "bytes */10");
}

#[tokio::test]
async fn section_3_3_a_part_passes_and_is_never_stored_as_the_whole() {
    let (peer, proxy) = start().await;
    let part = Canned { status: 206, ..fresh("01") }.with("content-range", "bytes 0-1/10");
    peer.answers(PATH, [part, fresh("0123456789")]);
    let first = proxy.get_with(ASKED, &[("range", "bytes=0-1")]).await;
    assert_eq!((first.status, first.text().as_str()), (StatusCode::PARTIAL_CONTENT, "01"));
    assert_eq!(first.cache_status(), "fwd=uri-miss; fwd-status=206; detail=partial");
    let seen = &peer.seen(PATH)[0].fields;
    assert_eq!(
        (&seen["range"], &seen["accept-encoding"]),
        (&"bytes=0-1".parse().expect("a value"), &"identity".parse().expect("a value"))
    );
    assert_eq!(proxy.get(ASKED).await.text(), "0123456789");
}

#[tokio::test]
async fn a_range_with_a_condition_is_fetched_whole_and_judged_here() {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [fresh("0123456789").with("etag", "\"a\"")]);
    let with = |tag| [("range", "bytes=0-1"), ("if-range", tag)];
    assert_eq!(proxy.get_with(ASKED, &with("\"old\"")).await.text(), "0123456789");
    assert!(!peer.seen(PATH)[0].fields.contains_key("range"));
    assert_eq!(proxy.get_with(ASKED, &with("\"a\"")).await.text(), "01");
}

#[tokio::test]
async fn an_answer_without_links_of_an_endpoint_of_ours_has_ranges_too_and_one_with_links_has_none() {
    let (peer, proxy) = start().await;
    let asked = "/organizations/acme/express/products";
    peer.answers("/express/products", [Canned::json(r#"{"a":"0123456789"}"#)]);
    proxy.get(asked).await;
    assert_eq!(proxy.get_with(asked, &[("range", "bytes=0-4")]).await.text(), r#"{"a":"#);
    let linked = format!(r#"{{"self":{{"href":"{}/x"}}}}"#, peer.url());
    peer.answers("/express/invoices", [Canned::json(linked)]);
    let asked = "/organizations/acme/express/invoices";
    let reply = proxy.get_with(asked, &[("range", "bytes=0-4")]).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert!(!peer.seen("/express/invoices")[0].fields.contains_key("range"));
}

#[rstest]
#[case::range("range", "bytes=100-", 416)]
#[case::condition("if-match", "\"b\"", 412)]
#[tokio::test]
async fn what_answers_the_range_or_the_conditions_of_one_request_answers_no_other(
    #[case] field: &str,
    #[case] value: &str,
    #[case] status: u16,
) {
    let (peer, proxy) = start().await;
    peer.answers(PATH, [Canned { status, ..fresh("no") }, fresh("whole")]);
    assert_eq!(proxy.get_with(ASKED, &[(field, value)]).await.status.as_u16(), status);
    let reply = proxy.get(ASKED).await;
    assert_eq!((reply.status, reply.text().as_str()), (StatusCode::OK, "whole"));
}

#[tokio::test]
async fn links_in_a_part_of_json_do_not_leave_the_proxy() {
    let (peer, proxy) = start().await;
    let body = format!(r#"{{"href":"{}/test/b"}}"#, peer.url());
    let part = Canned { status: 206, ..Canned::json(body[..body.len() - 1].to_owned()) };
    let part = part.with("content-range", &format!("bytes 0-{}/{}", body.len() - 2, body.len()));
    peer.answers(PATH, [part, Canned::json(body.clone()).with("cache-control", "max-age=60")]);
    let reply = proxy.get_with(ASKED, &[("range", &format!("bytes=0-{}", body.len() - 2))]).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert!(!reply.text().contains(peer.url()), "{}", reply.text());
    assert_eq!(peer.seen(PATH)[1].fields.get("range"), None);
}

#[tokio::test]
async fn links_in_json_that_is_too_large_for_memory_do_not_leave_the_proxy() {
    let (peer, proxy) = start().await;
    let filling = "x".repeat(2 << 20);
    let body = format!(r#"{{"filling":"{filling}","href":"{}/test/b"}}"#, peer.url());
    peer.answers(PATH, [Canned::json(body.clone()).with("etag", "\"a\"")]);
    let reply = proxy.get(ASKED).await;
    assert!(reply.text().ends_with(&format!(r#""href":"{}/organizations/acme/test/b"}}"#, proxy.base())));
    assert_eq!(reply.field("etag"), "W/\"a\"");
    for (body, fields) in [
        (format!(r#"{{"filling":"{filling}","href":"{}/te"#, peer.url()), ("x-a", "b")),
        (format!(r#"{{"href":"half {filling} then no JSON" : ] "href":"{}""#, peer.url()), ("x-a", "b")),
        (body, ("content-encoding", "x-own")),
    ] {
        peer.answers(PATH, [Canned::json(body.clone()).with(fields.0, fields.1)]);
        let reply = proxy.get(ASKED).await;
        assert!(reply.text() == body, "what is no JSON although it says so passes as it is");
    }
}

#[tokio::test]
async fn a_head_speaks_of_the_body_as_a_get_would_give_it() {
    let (peer, proxy) = start().await;
    let answer = text("").with("content-encoding", "gzip").with("content-md5", "rL0Y20zC+Fzt72VPzMSk2A==");
    peer.answers(PATH, [answer]);
    let reply = proxy.ask(Method::HEAD, ASKED, &[]).await;
    assert_eq!((reply.field("content-encoding"), reply.field("content-md5")), ("", ""));
}
