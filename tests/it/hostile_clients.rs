//! Clients that break HTTP, or that are a browser in somebody else's hands. Each is refused, nothing is sent for
//! it, and the next one is served.

use std::time::Duration;

use http::StatusCode;
use rstest::rstest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::Proxy;
use crate::support::peer::{Canned, Peer, Wire};
use crate::support::raw::say;

const ASKED: &str = "/organizations/acme/express/invoices";

async fn sample_proxy(further: &str) -> (Peer, Proxy) {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers("/express/invoices", [Canned::json(r#"{"total":1,"_links":{}}"#)]);
    peer.answers("/express/products", [Canned::json(r#"{"smuggled":true}"#)]);
    let proxy = peer.proxy(further).await;
    (peer, proxy)
}

fn host(proxy: &Proxy) -> String {
    proxy.app.addresses().data.clone()
}

/// The proxy goes on serving, and was not made to send anything before.
async fn still_serves(peer: &Peer, proxy: &Proxy) {
    assert_eq!(peer.calls("/express/invoices") + peer.calls("/express/products"), 0);
    let reply = proxy.get(ASKED).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
}

fn answers(heard: &str) -> usize {
    heard.matches("HTTP/1.1 ").count()
}

fn status(heard: &str) -> &str {
    heard.get(9..12).unwrap_or("none")
}

#[rstest]
#[tokio::test]
async fn a_body_of_a_get_is_never_read_as_the_next_request(
    #[values(false, true)] on_a_hit: bool,
    #[values(false, true)] chunked: bool,
) {
    let (peer, proxy) = sample_proxy("").await;
    if on_a_hit {
        proxy.get(ASKED).await;
    }
    let host = host(&proxy);
    let smuggled = format!("GET /organizations/acme/express/products HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let framing = if chunked {
        format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len())
    } else {
        format!("Content-Length: {}\r\n\r\n{smuggled}", smuggled.len())
    };
    let heard =
        say(&proxy, format!("GET {ASKED} HTTP/1.1\r\nHost: {host}\r\n{framing}{smuggled}").as_bytes()).await;
    assert_eq!(status(&heard), "400", "{heard}");
    assert_eq!(answers(&heard), 1, "{heard}");
    assert!(heard.contains(r#""code":"body_not_allowed""#), "{heard}");
    assert!(heard.to_ascii_lowercase().contains("connection: close"), "{heard}");
    assert_eq!(peer.calls("/express/products"), 0);
    assert_eq!(peer.calls("/express/invoices"), usize::from(on_a_hit));
    assert_eq!(proxy.get(ASKED).await.status, StatusCode::OK);
}

#[tokio::test]
async fn requests_in_a_row_on_one_connection_are_answered_in_their_order() {
    let (_peer, proxy) = sample_proxy("").await;
    let host = host(&proxy);
    let one = |path: &str, end: &str| {
        format!("GET /organizations/acme/express/{path} HTTP/1.1\r\nHost: {host}\r\n{end}\r\n")
    };
    let heard =
        say(&proxy, (one("invoices", "") + &one("products", "Connection: close\r\n")).as_bytes()).await;
    assert_eq!(answers(&heard), 2, "{heard}");
    assert!(heard.find("total") < heard.find("smuggled"), "{heard}");
}

#[tokio::test]
async fn two_lengths_are_refused() {
    let (peer, proxy) = sample_proxy("").await;
    let request = format!(
        "GET {ASKED} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        host(&proxy)
    );
    let heard = say(&proxy, request.as_bytes()).await;
    assert_eq!((status(&heard), answers(&heard)), ("400", 1), "{heard}");
    still_serves(&peer, &proxy).await;
}

#[tokio::test]
async fn a_head_of_64_kib_is_refused() {
    let (peer, proxy) = sample_proxy("").await;
    let filler = "a".repeat(64 << 10);
    let request = format!("GET {ASKED} HTTP/1.1\r\nHost: {}\r\nX-Filler: {filler}\r\n\r\n", host(&proxy));
    let heard = say(&proxy, request.as_bytes()).await;
    assert_eq!((status(&heard), answers(&heard)), ("431", 1), "{heard:.300}");
    still_serves(&peer, &proxy).await;
}

#[tokio::test]
async fn more_fields_than_anybody_needs_are_refused() {
    let (peer, proxy) = sample_proxy("").await;
    let request =
        format!("GET {ASKED} HTTP/1.1\r\nHost: {}\r\n{}\r\n", host(&proxy), "X-A: b\r\n".repeat(1000));
    let heard = say(&proxy, request.as_bytes()).await;
    assert_eq!((status(&heard), answers(&heard)), ("431", 1), "{heard:.300}");
    still_serves(&peer, &proxy).await;
}

#[rstest]
#[case::a_little_too_long(9 << 10)]
#[case::much_too_long(30 << 10)]
#[tokio::test]
async fn a_target_that_is_too_long_is_refused(#[case] length: usize) {
    let (peer, proxy) = sample_proxy("").await;
    let query = "a".repeat(length);
    let request =
        format!("GET {ASKED}?{query} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", host(&proxy));
    let heard = say(&proxy, request.as_bytes()).await;
    assert_eq!((status(&heard), answers(&heard)), ("414", 1), "{heard:.300}");
    still_serves(&peer, &proxy).await;
}

#[tokio::test]
async fn a_target_that_is_longer_than_a_head_may_be_is_refused() {
    let (peer, proxy) = sample_proxy("").await;
    let request = format!("GET {ASKED}?{} HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(70_000), host(&proxy));
    let heard = say(&proxy, request.as_bytes()).await;
    assert!(matches!(status(&heard), "414" | "431") && answers(&heard) == 1, "{heard:.300}");
    still_serves(&peer, &proxy).await;
}

#[rstest]
#[case::encoded_dots("/organizations/acme/express/%2e%2e/express/invoices", "400")]
#[case::dots("/organizations/acme/../acme/express/invoices", "400")]
#[case::an_encoded_slash("/organizations/acme%2fexpress/invoices", "400")]
#[case::an_encoded_letter("/organizations/acme/express/%69nvoices", "400")]
#[case::a_double_slash("/organizations/acme//express/invoices", "400")]
#[case::a_parameter("/organizations/acme/express/invoices;x=y", "400")]
#[case::a_backslash("/organizations/acme/express\\invoices", "400")]
#[case::a_nul("/organizations/acme/express/invoices\0", "400")]
#[case::an_encoded_nul("/organizations/acme/express/invoices%00", "400")]
#[case::in_capitals("/organizations/acme/express/INVOICES", "404")]
#[case::absolute_of_another("http://other/organizations/acme/express/invoices", "421")]
#[case::with_user_information("http://user@other/organizations/acme/express/invoices", "421")]
#[tokio::test]
async fn a_target_that_can_be_read_in_two_ways_is_refused(#[case] target: &str, #[case] expected: &str) {
    let (peer, proxy) = sample_proxy("").await;
    let request = format!("GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", host(&proxy));
    let heard = say(&proxy, request.as_bytes()).await;
    assert_eq!((status(&heard), answers(&heard)), (expected, 1), "{heard}");
    still_serves(&peer, &proxy).await;
}

#[tokio::test]
async fn no_tunnel_is_opened() {
    let (peer, proxy) = sample_proxy("").await;
    let host = host(&proxy);
    for target in [host.as_str(), "other.example:443"] {
        let request = format!(
            "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\nGET {ASKED} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        );
        let heard = say(&proxy, request.as_bytes()).await;
        assert!(matches!(status(&heard), "400" | "421"), "{heard}");
    }
    assert_eq!(proxy.get(ASKED).await.status, StatusCode::OK);
    assert!(peer.calls("/express/invoices") <= 1);
}

#[rstest]
#[case::none("", "400")]
#[case::two("Host: 127.0.0.1\r\nHost: 127.0.0.1\r\n", "400")]
#[case::rebound("Host: evil.example\r\n", "421")]
#[case::rebound_with_a_port("Host: evil.example:8080\r\n", "421")]
#[case::that_begins_as_ours("Host: 127.0.0.1.evil.example\r\n", "421")]
#[case::with_markup("Host: 127.0.0.1\"><script>\r\n", "421")]
#[case::with_user_information("Host: 127.0.0.1@evil.example\r\n", "421")]
#[case::another_address("Host: 169.254.169.254\r\n", "421")]
#[tokio::test]
async fn a_host_that_is_not_ours_is_refused(#[case] field: &str, #[case] expected: &str) {
    let (peer, proxy) = sample_proxy("").await;
    let request = format!("GET {ASKED} HTTP/1.1\r\n{field}Connection: close\r\n\r\n");
    let heard = say(&proxy, request.as_bytes()).await;
    assert_eq!((status(&heard), answers(&heard)), (expected, 1), "{heard}");
    assert!(heard.contains("host_not_allowed"), "{heard}");
    still_serves(&peer, &proxy).await;
}

#[rstest]
#[case::foreign("origin", "https://evil.example")]
#[case::of_a_file("origin", "null")]
#[case::of_another_port("origin", "http://127.0.0.1:1")]
#[case::cross_site("sec-fetch-site", "cross-site")]
#[case::same_site("sec-fetch-site", "same-site")]
#[tokio::test]
async fn a_browser_from_elsewhere_is_refused(#[case] name: &str, #[case] value: &str) {
    let (peer, proxy) = sample_proxy("").await;
    let reply = proxy.get_with(ASKED, &[(name, value)]).await;
    reply.assert_problem(403, "origin_not_allowed");
    assert!(reply.fields.keys().all(|name| !name.as_str().starts_with("access-control-")));
    assert_eq!(reply.field("x-content-type-options"), "nosniff");
    assert_eq!(reply.field("cross-origin-resource-policy"), "same-origin");
    still_serves(&peer, &proxy).await;
}

#[tokio::test]
async fn a_page_of_the_proxys_own_origin_may_ask() {
    let (_peer, proxy) = sample_proxy("").await;
    let own = proxy.base();
    assert_eq!(proxy.get_with(ASKED, &[("origin", &own)]).await.status, StatusCode::OK);
    assert_eq!(proxy.get_with(ASKED, &[("sec-fetch-site", "same-origin")]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn http_2_is_not_spoken() {
    let (peer, proxy) = sample_proxy("").await;
    let heard = say(&proxy, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    assert_ne!(status(&heard), "200", "{heard}");
    still_serves(&peer, &proxy).await;
}

#[tokio::test]
async fn a_head_that_does_not_come_to_an_end_is_not_waited_for() {
    let (peer, proxy) = sample_proxy("server:\n  header_timeout: 300ms\n").await;
    let mut stream = TcpStream::connect(host(&proxy)).await.expect("a connection");
    stream.write_all(format!("GET {ASKED} HTTP/1.1\r\nHost: x\r\n").as_bytes()).await.expect("sent");
    let mut heard = Vec::new();
    let listening = stream.read_to_end(&mut heard);
    let ended = tokio::time::timeout(Duration::from_secs(9), listening).await;
    assert!(ended.is_ok(), "the connection is closed");
    assert_ne!(status(&String::from_utf8_lossy(&heard)), "200");
    still_serves(&peer, &proxy).await;
}

#[tokio::test]
async fn an_odd_request_id_is_replaced() {
    let (_peer, proxy) = sample_proxy("").await;
    for odd in ["", "with space", "<script>", &"a".repeat(129)] {
        let reply = proxy.get_with(ASKED, &[("x-request-id", odd)]).await;
        assert_ne!(reply.field("x-request-id"), odd);
        assert!(!reply.field("x-request-id").is_empty());
    }
}

#[tokio::test]
async fn more_requests_at_once_than_may_be_are_refused() {
    let talkdesk = crate::support::Talkdesk::samples().await;
    let proxy =
        talkdesk.proxy(crate::support::SAMPLE_TENANTS, "server:\n  max_requests_in_flight: 2\n").await;
    let slow = billing_insights_proxy::simulator::FaultKind::Slow { milliseconds: 1_000 };
    let fault =
        billing_insights_proxy::simulator::Fault::once(billing_insights_proxy::simulator::Target::Api, slow);
    let stored = "/organizations/northwind/express/products";
    proxy.get(stored).await;
    let asked_before = talkdesk.counts().0;
    talkdesk.control().inject(fault).expect("a fault");
    let two = futures_util::future::join_all((0..2).map(|_| proxy.get(ASKED)));
    let third = async {
        crate::support::eventually("two are under way", async || {
            (proxy.metric("http_requests_in_flight", &[]).await > 1.0).then_some(())
        })
        .await;
        let reply = proxy.get(ASKED).await;
        reply.assert_problem(503, "overloaded");
        assert_eq!(reply.field("retry-after"), "1");
        assert_eq!(proxy.get(stored).await.status, StatusCode::OK, "what is stored waits for nothing");
        crate::support::eventually("it is asked", async || {
            (talkdesk.counts().0 > asked_before).then_some(())
        })
        .await;
        proxy.advance(Duration::from_secs(1));
    };
    let (replies, ()) = tokio::join!(two, third);
    assert!(replies.iter().all(|reply| reply.status == StatusCode::OK));
}
