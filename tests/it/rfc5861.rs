//! RFC 5861 over real sockets, where the origin decides.

use std::time::Duration;

use http::StatusCode;
use rstest::rstest;

use crate::added_endpoints::ADDED;
use crate::support::eventually;
use crate::support::peer::{Canned, Peer, Wire};
use crate::support::raw::{Act, RawPeer};

const ASKED: &str = "/organizations/acme/test/a";
const PATH: &str = "/test/a";

fn text(body: &str, directives: &str) -> Canned {
    Canned { status: 200, fields: Vec::new(), body: body.to_owned().into() }
        .with("cache-control", directives)
        // Its clock goes by the time of day, and the test's clock is ahead of that.
        .with("date", "Fri, 31 Dec 9999 23:59:59 GMT")
}

#[tokio::test]
async fn rfc_5861_section_3_a_stale_answer_is_served_while_one_request_validates_it() {
    let peer = Peer::start(Wire::HttpMock).await;
    let directives = "max-age=60, stale-while-revalidate=30";
    peer.answers(PATH, [text("old", directives), text("new", directives)]);
    let proxy = peer.proxy(ADDED).await;
    proxy.get(ASKED).await;
    proxy.advance(Duration::from_secs(89));
    for reply in futures_util::future::join_all((0..20).map(|_| proxy.get(ASKED))).await {
        let stale = reply.text() == "old" && reply.cache_status() == "hit; ttl=-29; detail=while_revalidate";
        assert!(stale || reply.text() == "new", "{} {}", reply.text(), reply.cache_status());
    }
    eventually("the new one is there", async || (proxy.get(ASKED).await.text() == "new").then_some(())).await;
    assert_eq!(peer.calls(PATH), 2);
}

#[tokio::test]
async fn rfc_5861_section_3_what_was_not_validated_in_time_is_not_served_stale_any_more() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(PATH, [text("old", "max-age=60, stale-while-revalidate=30"), text("new", "no-store")]);
    let proxy = peer.proxy(ADDED).await;
    proxy.get(ASKED).await;
    proxy.advance(Duration::from_secs(90));
    assert_eq!(proxy.get(ASKED).await.text(), "new");
}

#[rstest]
#[tokio::test]
async fn rfc_5861_section_4_an_error_is_answered_stale_and_no_longer_than_it_may(
    #[values(500, 502, 503, 504)] status: u16,
) {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(PATH, [text("old", "max-age=60, stale-if-error=30"), Canned::status(status)]);
    let proxy = peer.proxy(ADDED).await;
    proxy.get(ASKED).await;
    proxy.advance(Duration::from_secs(89));
    let reply = proxy.get(ASKED).await;
    assert_eq!((reply.text().as_str(), reply.field("age")), ("old", "89"));
    assert_eq!(reply.cache_status(), "hit; ttl=-29; detail=error");
    proxy.advance(Duration::from_secs(1));
    assert_eq!(proxy.get(ASKED).await.status.as_u16(), status);
    let attempts = if status == 500 { 1 } else { 2 };
    assert_eq!(peer.calls(PATH), 1 + 2 * attempts);
}

#[rstest]
#[tokio::test]
async fn rfc_5861_section_4_another_status_is_no_error_of_the_server(#[values(404, 501)] status: u16) {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(PATH, [text("old", "max-age=60, stale-if-error=30"), Canned::status(status)]);
    let proxy = peer.proxy(ADDED).await;
    proxy.get(ASKED).await;
    proxy.advance(Duration::from_secs(70));
    assert_eq!(proxy.get(ASKED).await.status.as_u16(), status);
}

#[tokio::test]
async fn rfc_5861_section_4_no_answer_at_all_is_an_error() {
    let peer = RawPeer::start().await;
    let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nCache-Control: max-age=60, stale-if-error=30\r\n\
        Content-Length: 1\r\n\r\nx";
    peer.plays([vec![Act::Send(answer.to_vec())], vec![Act::Reset]]);
    let proxy = peer.proxy(ADDED).await;
    proxy.get(ASKED).await;
    proxy.advance(Duration::from_secs(70));
    assert_eq!(proxy.get(ASKED).await.status, StatusCode::OK);
    proxy.advance(Duration::from_secs(20));
    proxy.get(ASKED).await.assert_problem(502, "upstream_unreachable");
}
