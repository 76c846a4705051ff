//! Under a plain rule the one who leads a fetch is given the answer while it still comes, and it is kept once it is
//! whole.

use std::sync::Arc;
use std::time::Duration;

use async_compression::tokio::write::GzipEncoder;
use http::{Method, StatusCode};
use rstest::rstest;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Notify;

use crate::plain::PLAIN;
use crate::support::peer::{Canned, Peer, Wire};
use crate::support::raw::{Act, Caller, RawPeer, the_time_for_a_head_passes};
use crate::support::{Proxy, Reply, eventually};

const ASKED: &str = "/organizations/acme/test/a";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
const TEXT: &str = "Content-Type: text/plain\r\n";
const LAST: &[u8] = b"0\r\n\r\n";

/// An upstream that sends the beginning of its answer, and the rest when it is told to.
struct Slow {
    peer: RawPeer,
    proxy: Proxy,
    go: Arc<Notify>,
}

impl Slow {
    /// It answers first with this, and then with "well".
    async fn start(configuration: &str, begun: Vec<Act>, rest: Vec<Act>) -> Self {
        let peer = RawPeer::start().await;
        Self::with(peer, configuration, begun, rest).await
    }

    async fn with(peer: RawPeer, configuration: &str, begun: Vec<Act>, rest: Vec<Act>) -> Self {
        let go = Arc::new(Notify::new());
        let held = [begun, vec![Act::Until(Arc::clone(&go))], rest].concat();
        peer.plays([held, vec![Act::Send(head("Content-Length: 4\r\n")), Act::Send(b"well".to_vec())]]);
        let proxy = peer.proxy(configuration).await;
        Self { peer, proxy, go }
    }

    /// The same request from somebody else, once he waits for the fetch that is under way.
    async fn followed_by(&self, ask: impl Future<Output = Reply>) -> Reply {
        let begun = async {
            let waits = async || (self.proxy.app.proxy().waiting_for_fetches() == 1).then_some(());
            eventually("somebody else waits", waits).await;
            self.go.notify_one();
        };
        tokio::join!(ask, begun).0
    }

    async fn entries(&self) -> serde_json::Value {
        self.proxy.admin(Method::GET, "/api/cache").await.json()["entries"].clone()
    }
}

/// The head of an answer that may be kept for a minute.
fn head(fields: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nConnection: close\r\n{fields}\r\n").into_bytes()
}

fn send(text: &str) -> Act {
    Act::Send(text.as_bytes().to_vec())
}

fn chunk(bytes: impl Into<Vec<u8>>) -> Act {
    Act::Chunks(bytes.into(), 1 << 20)
}

fn end() -> Act {
    Act::Send(LAST.to_vec())
}

/// The body of an answer in chunks as it was heard.
fn unchunked(heard: &str) -> String {
    let mut rest = heard.split_once("\r\n\r\n").expect("a head").1;
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a size");
        body.push_str(&after[..size]);
        rest = after[size..].strip_prefix("\r\n").expect("the end of a chunk");
    }
    body
}

#[tokio::test]
async fn a_stream_may_pause_for_longer_than_a_head_may_take() {
    let configuration = format!("{PLAIN}server:\n  header_timeout: 300ms\n");
    let (begun, rest) = (vec![Act::Send(head(CHUNKED)), chunk("first ")], vec![chunk("second"), end()]);
    let slow = Slow::start(&configuration, begun, rest).await;
    let mut caller = Caller::asks(&slow.proxy, ASKED).await;
    caller.hears("first ").await;
    the_time_for_a_head_passes(&slow.proxy).await;
    slow.go.notify_one();
    assert_eq!(unchunked(&caller.hears("0\r\n\r\n").await), "first second");
}

#[rstest]
#[case::in_chunks(vec![Act::Send(head(CHUNKED)), chunk("first ")], vec![chunk("second"), end()], "first ", "0\r\n\r\n")]
#[case::of_a_length(vec![Act::Send(head("Content-Length: 12\r\n")), send("first ")], vec![send("second")], "first ", "second")]
#[case::to_the_end_of_the_connection(vec![Act::Send(head("")), send("first ")], vec![send("second")], "first ", "0\r\n\r\n")]
#[case::the_head_alone(vec![Act::Send(head(CHUNKED))], vec![chunk("first second"), end()], "\r\n\r\n", "0\r\n\r\n")]
#[tokio::test]
async fn the_first_byte_arrives_while_the_origin_holds_the_rest_back_and_the_whole_is_kept(
    #[case] begun: Vec<Act>,
    #[case] rest: Vec<Act>,
    #[case] first: &str,
    #[case] last: &str,
) {
    let slow = Slow::start(PLAIN, begun, rest).await;
    let mut caller = Caller::asks(&slow.proxy, ASKED).await;
    let heard = caller.hears(first).await;
    assert!(heard.starts_with("HTTP/1.1 200 OK\r\n") && !heard.contains("second"), "{heard}");
    let status = "\r\ncache-status: billing-insights-proxy; fwd=uri-miss; fwd-status=200\r\n";
    assert!(heard.contains(status), "that it is kept is not known yet: {heard}");
    assert_eq!(slow.entries().await, 0);
    slow.go.notify_one();
    let heard = caller.hears(last).await;
    if last == "second" {
        assert!(
            heard.contains("\r\ncontent-length: 12\r\n") && heard.ends_with("\r\n\r\nfirst second"),
            "{heard}"
        );
    } else {
        assert_eq!(unchunked(&heard), "first second");
    }
    let hit = slow.proxy.get(ASKED).await;
    assert_eq!((hit.text().as_str(), hit.cache_status()), ("first second", "hit; ttl=60"));
    assert_eq!(slow.peer.calls(), 1);
}

#[tokio::test]
async fn what_is_there_at_once_is_read_whole_first() {
    let peer = RawPeer::start().await;
    peer.plays([vec![Act::Send([&head(CHUNKED), &b"3\r\nabc\r\n2\r\nde\r\n"[..], LAST].concat())]]);
    let proxy = peer.proxy(PLAIN).await;
    let reply = proxy.get(ASKED).await;
    assert_eq!((reply.text().as_str(), reply.field("content-length")), ("abcde", "5"));
    assert_eq!(reply.cache_status(), "fwd=uri-miss; fwd-status=200; ttl=60; stored");
}

#[tokio::test]
async fn an_answer_that_may_not_be_kept_says_so_and_passes_as_it_comes() {
    let begun = send("HTTP/1.1 203 Fine\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n");
    let slow = Slow::start(PLAIN, vec![begun, chunk("first ")], vec![chunk("second"), end()]).await;
    let mut caller = Caller::asks(&slow.proxy, ASKED).await;
    let heard = caller.hears("first ").await;
    assert!(heard.contains("; fwd=uri-miss; fwd-status=203; detail=no_store\r\n"), "{heard}");
    slow.go.notify_one();
    assert_eq!(unchunked(&caller.hears("0\r\n\r\n").await), "first second");
    assert_eq!(slow.entries().await, 0);
    let counted = slow.proxy.metric("http_requests_total", &[("cache", "bypass"), ("status", "203")]).await;
    assert!((counted - 1.0).abs() < 0.1);
}

#[tokio::test]
async fn whoever_asks_meanwhile_shares_the_fetch_and_gets_the_whole() {
    let slow =
        Slow::start(PLAIN, vec![Act::Send(head(CHUNKED)), chunk("first ")], vec![chunk("second"), end()])
            .await;
    let mut caller = Caller::asks(&slow.proxy, ASKED).await;
    caller.hears("first ").await;
    let reply = slow.followed_by(slow.proxy.get(ASKED)).await;
    assert_eq!((reply.text().as_str(), reply.field("content-length")), ("first second", "12"));
    assert_eq!(reply.cache_status(), "fwd=uri-miss; fwd-status=200; ttl=60; stored; collapsed");
    assert_eq!(unchunked(&caller.hears("0\r\n\r\n").await), "first second");
    assert_eq!(slow.peer.calls(), 1);
    for (result, expected) in [("miss", 1.0), ("collapsed", 1.0)] {
        let counted = slow.proxy.metric("http_requests_total", &[("cache", result)]).await;
        assert!((counted - expected).abs() < 0.1, "{result}: {counted}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_after_the_first_byte_does_not_keep_it_from_being_kept() {
    let slow =
        Slow::start(PLAIN, vec![Act::Send(head(CHUNKED)), chunk("first ")], vec![chunk("second"), end()])
            .await;
    let mut caller = Caller::asks(&slow.proxy, ASKED).await;
    caller.hears("first ").await;
    drop(caller);
    slow.go.notify_one();
    eventually("it is kept", async || (slow.entries().await == 1).then_some(())).await;
    let hit = slow.proxy.get(ASKED).await;
    assert_eq!((hit.text().as_str(), slow.peer.calls()), ("first second", 1));
}

/// More than the sockets between two processes hold.
const LARGE: usize = 24 << 20;

#[tokio::test]
async fn a_client_that_reads_nothing_holds_up_neither_the_others_nor_the_keeping() {
    let roomy = PLAIN
        .replace("upstream:\n", "upstream:\n  max_response_bytes: 64MiB\n")
        .replace("max_entry_bytes: 1MiB", "max_entry_bytes: 32MiB\n  max_bytes: 256MiB");
    let body = vec![b'x'; LARGE];
    let begun = vec![Act::Send(head(CHUNKED)), chunk("first ")];
    let slow = Slow::start(&roomy, begun, vec![chunk(body), end()]).await;
    let request = format!("GET {ASKED} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut caller = Caller::says(&slow.proxy, request.as_bytes()).await;
    caller.hears("first ").await;
    let reply = slow.followed_by(slow.proxy.get(ASKED)).await;
    assert_eq!((reply.status, reply.body.len()), (StatusCode::OK, "first ".len() + LARGE));
    assert_eq!(slow.proxy.get(ASKED).await.body.len(), "first ".len() + LARGE);
    assert_eq!(slow.peer.calls(), 1);
    // And once he reads, it is all there, however late: he keeps no place by then.
    for _ in 0..3 {
        slow.proxy.advance(Duration::from_secs(31));
        slow.proxy.get(ASKED).await;
    }
    assert_eq!(unchunked(&caller.hears_the_end().await).len(), "first ".len() + LARGE);
}

#[rstest]
#[case::between_chunks(CHUNKED, "6\r\nfirst \r\n", vec![], "protocol")]
#[case::in_a_chunk(CHUNKED, "6\r\nfirst \r\n", vec![send("ff\r\nsec")], "protocol")]
#[case::by_a_reset(CHUNKED, "6\r\nfirst \r\n", vec![Act::Reset], "protocol")]
#[case::before_its_length("Content-Length: 12\r\n", "first ", vec![send("sec")], "protocol")]
#[case::before_a_byte("Content-Length: 12\r\n", "", vec![], "protocol")]
#[case::by_its_size(CHUNKED, "6\r\nfirst \r\n", vec![chunk(vec![b'x'; 3 << 20]), end()], "too_large")]
#[tokio::test]
async fn an_answer_that_breaks_off_after_its_head_is_cut_off_and_not_kept(
    #[case] fields: &str,
    #[case] begun: &str,
    #[case] rest: Vec<Act>,
    #[case] kind: &str,
) {
    let limited = PLAIN.replace("upstream:\n", "upstream:\n  max_response_bytes: 1MiB\n");
    let slow = Slow::start(&limited, vec![Act::Send(head(fields)), send(begun)], rest).await;
    let mut caller = Caller::asks(&slow.proxy, ASKED).await;
    caller.hears(if begun.is_empty() { "\r\n\r\n" } else { "first " }).await;
    slow.go.notify_one();
    let heard = caller.hears_the_end().await;
    assert!(heard.starts_with("HTTP/1.1 200 OK\r\n") && !heard.ends_with("0\r\n\r\n"), "{heard:.800}");
    if fields != CHUNKED {
        assert!(heard.contains("\r\ncontent-length: 12\r\n"), "it is known to be too short: {heard}");
    }
    let counted = async || slow.proxy.metric("upstream_errors_total", &[("kind", kind)]).await;
    eventually("it is counted", async || (counted().await > 0.9).then_some(())).await;
    assert_eq!(slow.entries().await, 0);
    assert_eq!(slow.proxy.get(ASKED).await.text(), "well");
    assert_eq!(slow.peer.calls(), 2);
}

#[rstest]
#[tokio::test]
async fn what_is_reset_over_http2_before_its_end_is_neither_whole_nor_kept(
    #[values(h2::Reason::NO_ERROR, h2::Reason::CANCEL, h2::Reason::INTERNAL_ERROR)] reason: h2::Reason,
    #[values(&[], &[("content-length", "8")])] length: &[(&str, &str)],
) {
    let peer = Peer::start(Wire::TlsHttp2).await;
    let half = Canned { body: "half".into(), ..Canned::status(200) }.with("cache-control", "max-age=60");
    peer.answers("/test/a", [length.iter().fold(half, |half, (name, value)| half.with(name, value))]);
    let go = peer.resets("/test/a", reason);
    let proxy = peer.proxy(PLAIN).await;
    let mut caller = Caller::asks(&proxy, ASKED).await;
    caller.hears("half").await;
    go.notify_one();
    assert!(!caller.hears_the_end().await.ends_with("0\r\n\r\n"), "no clean end");
    assert_eq!(proxy.admin(Method::GET, "/api/cache").await.json()["entries"], 0);
    assert!(proxy.metric("upstream_errors_total", &[("kind", "protocol")]).await > 0.9);
}

#[tokio::test]
async fn whoever_waits_for_an_answer_that_breaks_off_is_told_so() {
    let slow = Slow::start(PLAIN, vec![Act::Send(head(CHUNKED)), chunk("first ")], vec![Act::Reset]).await;
    let mut caller = Caller::asks(&slow.proxy, ASKED).await;
    caller.hears("first ").await;
    let reply = slow.followed_by(slow.proxy.get(ASKED)).await;
    reply.assert_problem(502, "upstream_protocol_error");
    assert!(!caller.hears_the_end().await.ends_with("0\r\n\r\n"), "no clean end");
    assert_eq!(slow.peer.calls(), 1);
}

#[tokio::test]
async fn an_answer_that_stops_after_its_head_is_cut_off_when_its_time_is_over() {
    let slow = Slow::start(PLAIN, vec![Act::Send(head(CHUNKED)), chunk("first ")], vec![Act::Stall]).await;
    let mut caller = Caller::asks(&slow.proxy, ASKED).await;
    caller.hears("first ").await;
    slow.proxy.advance(Duration::from_secs(30));
    assert!(!caller.hears_the_end().await.ends_with("0\r\n\r\n"), "no clean end");
    let counted = async || slow.proxy.metric("upstream_errors_total", &[("kind", "timeout")]).await;
    eventually("it is counted", async || (counted().await > 0.9).then_some(())).await;
    assert_eq!(slow.proxy.get(ASKED).await.text(), "well");
}

/// The token that the peer of these tests issues.
const TOKEN: &str = "canary-token/0123456789";

#[rstest]
#[case::as_it_is(TOKEN.to_owned())]
#[case::as_json_may_write_it(TOKEN.replace('/', "\\/"))]
#[tokio::test]
async fn a_token_that_comes_later_is_masked_for_all_though_it_comes_in_two_pieces(#[case] token: String) {
    let peer = RawPeer::start().await;
    peer.issues(TOKEN);
    let (half, other_half) = token.split_at(15);
    let begun = vec![Act::Send(head(CHUNKED)), chunk(format!("first {half}"))];
    let rest = vec![chunk(format!("{other_half} last canary-")), end()];
    let slow = Slow::with(peer, PLAIN, begun, rest).await;
    let mut caller = Caller::asks(&slow.proxy, ASKED).await;
    let heard = caller.hears("first ").await;
    let after = heard.rsplit_once("first ").expect("it was heard").1;
    assert!(after.trim().is_empty(), "what could become a token waits: {after}");
    slow.go.notify_one();
    let masked = format!("first {} last canary-", "*".repeat(token.len()));
    assert_eq!(unchunked(&caller.hears("0\r\n\r\n").await), masked);
    assert_eq!(slow.proxy.get(ASKED).await.text(), masked);
    assert_eq!(slow.peer.calls(), 1);
    let found = slow.proxy.metric("upstream_errors_total", &[("kind", "token_in_answer")]).await;
    assert!((found - 1.0).abs() < 0.1, "{found}");
}

const SMALL_ENTRIES: &str = "max_entry_bytes: 64KiB";

#[rstest]
#[case::in_time(300 << 10)]
#[case::with_the_first_piece_already(0)]
#[tokio::test]
async fn what_is_too_large_to_be_kept_passes_whole_all_the_same(#[case] further: usize) {
    let small = PLAIN.replace("max_entry_bytes: 1MiB", SMALL_ENTRIES);
    let first = if further == 0 { 300 << 10 } else { 6 };
    let begun = vec![Act::Send(head(CHUNKED)), chunk(vec![b'x'; first])];
    let slow = Slow::start(&small, begun, vec![chunk(vec![b'y'; further.max(1)]), end()]).await;
    let mut caller = Caller::asks(&slow.proxy, ASKED).await;
    caller.hears("xxxxx").await;
    slow.go.notify_one();
    let body = unchunked(&caller.hears("0\r\n\r\n").await);
    assert_eq!(body.len(), first + further.max(1));
    assert!(body.trim_start_matches('x').trim_start_matches('y').is_empty());
    assert_eq!(slow.entries().await, 0);
    assert_eq!(slow.peer.calls(), 1);
    let counted = slow.proxy.metric("cache_not_stored_total", &[("reason", "too_large")]).await;
    assert!((counted - 1.0).abs() < 0.1, "{counted}");
    assert_eq!(slow.proxy.get(ASKED).await.text(), "well");
}

#[tokio::test]
async fn a_token_beyond_what_is_kept_breaks_the_answer_off() {
    let peer = RawPeer::start().await;
    peer.issues(TOKEN);
    let small = PLAIN.replace("max_entry_bytes: 1MiB", SMALL_ENTRIES);
    let (half, other_half) = TOKEN.split_at(9);
    let begun = vec![Act::Send(head(CHUNKED)), chunk("first ")];
    let large = [vec![b'x'; 300 << 10], half.as_bytes().to_vec()].concat();
    let rest = vec![chunk(large), chunk(other_half), chunk(vec![b'x'; 300 << 10]), end()];
    let slow = Slow::with(peer, &small, begun, rest).await;
    let mut caller = Caller::asks(&slow.proxy, ASKED).await;
    caller.hears("first ").await;
    slow.go.notify_one();
    let heard = caller.hears_the_end().await;
    assert!(!heard.ends_with("0\r\n\r\n"), "the end is not a clean one");
    let letters: String = heard.lines().filter(|line| line.len() > 6).collect();
    assert!(!letters.contains(TOKEN) && !letters.contains(other_half), "the token was given out");
}

#[tokio::test]
async fn whoever_waits_for_what_is_too_large_fetches_for_himself() {
    let small = PLAIN.replace("max_entry_bytes: 1MiB", SMALL_ENTRIES);
    let begun = vec![Act::Send(head(CHUNKED)), chunk("first ")];
    let slow = Slow::start(&small, begun, vec![chunk(vec![b'x'; 300 << 10]), end()]).await;
    let mut caller = Caller::asks(&slow.proxy, ASKED).await;
    caller.hears("first ").await;
    assert_eq!(slow.followed_by(slow.proxy.get(ASKED)).await.text(), "well");
    assert_eq!(unchunked(&caller.hears("0\r\n\r\n").await).len(), 6 + (300 << 10));
    assert_eq!(slow.peer.calls(), 2);
}

#[tokio::test]
async fn what_is_too_large_goes_to_one_who_waits_where_the_first_has_left() {
    // So small that the next piece is too much already: nothing else tells that he has left.
    let small = PLAIN.replace("max_entry_bytes: 1MiB", "max_entry_bytes: 1KiB");
    let small = format!("{small}server:\n  max_connections: 1\n");
    let begun = vec![Act::Send(head(CHUNKED)), chunk("first ")];
    let slow = Slow::start(&small, begun, vec![chunk(vec![b'x'; 300 << 10]), end()]).await;
    let mut caller = Caller::asks(&slow.proxy, ASKED).await;
    caller.hears("first ").await;
    drop(caller);
    // There is one connection at a time: that of the next begins when his has ended.
    let reply = slow.followed_by(slow.proxy.get(ASKED)).await;
    assert_eq!(reply.body.len(), 6 + (300 << 10));
    assert_eq!(slow.peer.calls(), 1);
}

#[rstest]
#[case::if_none_match("1.1", "If-None-Match: \"x\"\r\n", ASKED)]
#[case::if_modified_since("1.1", "If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT\r\n", ASKED)]
#[case::range("1.1", "Range: bytes=0-1\r\n", ASKED)]
#[case::if_range("1.1", "Range: bytes=0-1\r\nIf-Range: \"x\"\r\n", ASKED)]
#[case::to_http_1_0("1.0", "", ASKED)]
#[case::one_of_the_five("1.1", "", "/organizations/acme/express/invoices")]
#[case::whose_rule_has_keys("1.1", "", "/organizations/acme/kept/a")]
#[case::whose_records_are_checked("1.1", "", "/instances/josephpinetrees/scoped/a")]
#[tokio::test]
async fn what_may_need_another_answer_than_the_one_that_comes_is_read_whole(
    #[case] version: &str,
    #[case] fields: &str,
    #[case] path: &str,
) {
    let further = "    kept: { path: /kept/* }\n    \
                   scoped: { path: /scoped/*, account_filter: \"a eq '{account_id}'\", account_field: account_id }\n";
    let rules = "    invoices: {}\n    scoped: {}\n    kept: { ttl: 60s }\n";
    let plain = PLAIN
        .replace("  endpoints:\n    test: {}\n", &format!("  endpoints:\n    test: {{}}\n{rules}"))
        .replace("  endpoints:\n    test: { ", &format!("  endpoints:\n{further}    test: {{ "));
    let slow = Slow::start(
        &plain,
        vec![Act::Send([&head(CHUNKED), &b"6\r\nfirst \r\n"[..]].concat())],
        vec![Act::Reset],
    )
    .await;
    let request =
        format!("GET {path} HTTP/{version}\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n");
    let mut caller = Caller::says(&slow.proxy, request.as_bytes()).await;
    let arrived = async || slow.proxy.metric("upstream_requests_total", &[("status", "200")]).await;
    eventually("the head has come", async || (arrived().await > 0.9).then_some(())).await;
    slow.go.notify_one();
    let heard = caller.hears_the_end().await;
    assert!(heard.contains(" 502 ") && heard.contains("upstream_protocol_error"), "{heard}");
}

#[rstest]
#[case("302 Found")]
#[case("404 Not Found")]
#[case("500 Internal Server Error")]
#[tokio::test]
async fn what_is_no_success_is_read_whole(#[case] status: &str) {
    let begun = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 9\r\n\r\nfirst ");
    let slow = Slow::start(PLAIN, vec![send(&begun)], vec![]).await;
    let arrived = async || slow.proxy.metric("upstream_requests_total", &[("status", &status[..3])]).await;
    let (reply, ()) = tokio::join!(slow.proxy.get(ASKED), async {
        eventually("the head has come", async || (arrived().await > 0.9).then_some(())).await;
        slow.go.notify_one();
    });
    reply.assert_problem(502, "upstream_protocol_error");
}

#[tokio::test]
async fn where_a_stale_answer_may_stand_in_it_is_read_whole() {
    let peer = RawPeer::start().await;
    let kept =
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60, stale-if-error=600\r\nContent-Length: 3\r\n\r\nold";
    let broken = [&head(CHUNKED), &b"6\r\nfirst \r\n"[..]].concat();
    let go = Arc::new(Notify::new());
    peer.plays([
        vec![Act::Send(kept.to_vec())],
        vec![Act::Send(broken), Act::Until(Arc::clone(&go)), Act::Reset],
    ]);
    let proxy = peer.proxy(PLAIN).await;
    assert_eq!(proxy.get(ASKED).await.text(), "old");
    proxy.advance(Duration::from_secs(61));
    let arrived = async || proxy.metric("upstream_requests_total", &[("status", "200")]).await;
    let (reply, ()) = tokio::join!(proxy.get(ASKED), async {
        eventually("the head has come", async || (arrived().await > 1.9).then_some(())).await;
        go.notify_one();
    });
    assert_eq!(reply.text(), "old");
    assert!(reply.cache_status().starts_with("hit; ttl=-1; detail=error"), "{}", reply.cache_status());
}

const JSON: &str =
    "Content-Type: application/json\r\nETag: \"a\"\r\nContent-MD5: rL0Y20zC+Fzt72VPzMSk2A==\r\n";

#[rstest]
#[case::are_rewritten("", true)]
#[case::stay_where_nothing_may_be_changed("Cache-Control: no-transform\r\n", false)]
#[tokio::test]
async fn links_for_the_one_who_gets_it_as_it_comes(#[case] further: &str, #[case] rewritten: bool) {
    let peer = RawPeer::start().await;
    let body = |base: &str| format!(r#"{{"a":1.10,"href":"{base}/test/b","more":["{base}"]}}"#);
    let sent = body(peer.url());
    // In the middle of the link.
    let (begun, rest) = sent.split_at(22);
    let fields = format!("{JSON}{further}Content-Length: {}\r\n", sent.len());
    let begun = vec![Act::Send(head(&fields)), send(begun)];
    let slow = Slow::with(peer, PLAIN, begun, vec![send(rest)]).await;
    let mut caller = Caller::asks(&slow.proxy, ASKED).await;
    let heard = caller.hears(r#"{"a":1.10,"#).await;
    let tag = if rewritten { "\r\netag: W/\"a\"\r\n" } else { "\r\netag: \"a\"\r\n" };
    assert!(heard.contains(tag) && heard.contains("content-md5") != rewritten, "{heard}");
    slow.go.notify_one();
    let heard = if rewritten {
        unchunked(&caller.hears("0\r\n\r\n").await)
    } else {
        caller.hears("\"]}").await.split_once("\r\n\r\n").expect("a head").1.to_owned()
    };
    let as_it_should_be = |base: &str| {
        if rewritten {
            sent.replace(&format!("{}/test", slow.peer.url()), &format!("{base}/test"))
        } else {
            sent.clone()
        }
    };
    assert_eq!(heard, as_it_should_be(&format!("{}/organizations/acme", slow.proxy.base())));
    let elsewhere = slow.proxy.get_with("/test/a", &[("x-tenant", "organizations/acme")]).await;
    assert_eq!(elsewhere.text(), as_it_should_be(&slow.proxy.base()), "each gets links of his own");
    assert_eq!(slow.peer.calls(), 1);
}

#[tokio::test]
async fn what_is_compressed_is_decoded_for_the_one_who_gets_it_as_it_comes_and_for_all_others() {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(b"first ").await.expect("memory");
    encoder.flush().await.expect("memory");
    let begun = encoder.get_ref().clone();
    encoder.write_all(b"second").await.expect("memory");
    encoder.shutdown().await.expect("memory");
    let whole = encoder.into_inner();
    let (length, rest) = (whole.len(), whole[begun.len()..].to_vec());
    let fields = format!(
        "{TEXT}Content-Encoding: gzip\r\nContent-MD5: rL0Y20zC+Fzt72VPzMSk2A==\r\nContent-Length: {length}\r\n"
    );
    let slow =
        Slow::start(PLAIN, vec![Act::Send(head(&fields)), Act::Send(begun)], vec![Act::Send(rest)]).await;
    let mut caller = Caller::asks(&slow.proxy, ASKED).await;
    let heard = caller.hears("first ").await;
    assert!(!heard.contains("content-encoding") && !heard.contains("content-md5"), "{heard}");
    slow.go.notify_one();
    assert_eq!(unchunked(&caller.hears("0\r\n\r\n").await), "first second");
    let hit = slow.proxy.get(ASKED).await;
    assert_eq!((hit.text().as_str(), hit.field("content-encoding")), ("first second", ""));
    assert_eq!(slow.peer.calls(), 1);
}

#[tokio::test]
async fn upstreams_name_for_the_request_does_not_take_the_place_of_the_proxys() {
    let fields = format!("{TEXT}X-Request-Id: theirs-1\r\n{CHUNKED}");
    let slow = Slow::start(PLAIN, vec![Act::Send(head(&fields))], vec![end()]).await;
    let mut caller = Caller::asks(&slow.proxy, ASKED).await;
    let heard = caller.hears("\r\n\r\n").await;
    assert!(heard.contains("\r\nx-request-id: ") && !heard.contains("theirs-1"), "{heard}");
}
