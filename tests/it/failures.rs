//! What a client gets when something behind the proxy fails: each row of the table, with a stale entry in hand and
//! without, and what each costs.

use std::sync::Arc;
use std::time::Duration;

use billing_insights_proxy::clock::ManualClock;
use http::StatusCode;
use rstest::rstest;

use crate::support::black_hole::BlackHole;
use crate::support::peer::{Canned, Peer, TOKEN_PATH, Wire};
use crate::support::{Proxy, eventually};

const INVOICES: &str = "/express/invoices";
const ASKED: &str = "/organizations/acme/express/invoices";
const SHORT: &str =
    "cache:\n  endpoints:\n    invoices: { ttl: 60s, stale_while_revalidate: 0s, stale_if_error: 6h }\n";

/// What upstream does instead of answering well, and what becomes of it.
struct Row {
    failing: Canned,
    /// The status and code where nothing is stored; the upstream's own answer has no code.
    none: (u16, &'static str),
    /// Whether a stale entry answers in its place.
    stale: bool,
    /// Requests upstream for one that failed.
    calls: usize,
    retry_after: &'static str,
}

fn row(failing: Canned, none: (u16, &'static str), stale: bool, calls: usize) -> Row {
    Row { failing, none, stale, calls, retry_after: "" }
}

#[rstest]
#[case::internal_error(row(Canned::status(500), (500, ""), true, 1))]
#[case::bad_gateway(row(Canned::status(502), (502, ""), true, 2))]
#[case::unavailable(row(Canned::status(503), (503, ""), true, 2))]
#[case::gateway_timeout(row(Canned::status(504), (504, ""), true, 2))]
#[case::unavailable_for_a_told_time(Row { retry_after: "7", ..row(Canned::status(503).with("retry-after", "7"), (503, ""), true, 1) })]
#[case::limited_for_a_told_time(Row { retry_after: "7", ..row(Canned::status(429).with("retry-after", "7"), (429, "upstream_rate_limited"), true, 1) })]
#[case::limited(row(Canned::status(429), (429, "upstream_rate_limited"), true, 1))]
#[case::not_json(row(Canned::json("<html>"), (502, "upstream_protocol_error"), true, 1))]
#[case::an_unasked_coding(row(Canned::json("x").with("content-encoding", "br"), (502, "upstream_protocol_error"), true, 1))]
#[case::bad_request(row(Canned::status(400), (400, ""), false, 1))]
#[case::forbidden(row(Canned::status(403), (403, "denied_by_talkdesk"), false, 1))]
#[case::not_found(row(Canned::status(404), (404, ""), false, 1))]
#[tokio::test]
async fn a_failure_is_answered_as_its_row_has_it(
    #[case] row: Row,
    #[values(Wire::HttpMock, Wire::TlsHttp2)] wire: Wire,
) {
    let peer = Peer::start(wire).await;
    let proxy = peer.proxy(SHORT).await;

    peer.answers(INVOICES, [row.failing.clone()]);
    let without = proxy.get(ASKED).await;
    assert_eq!(without.status.as_u16(), row.none.0, "{}", without.text());
    if !row.none.1.is_empty() {
        assert_eq!(without.code(), row.none.1);
    }
    assert_eq!(without.field("retry-after"), row.retry_after);
    assert_eq!(peer.calls(INVOICES), row.calls);

    proxy.advance(Duration::from_mins(2));
    peer.answers(INVOICES, [Canned::json(r#"{"total":1,"_links":{}}"#)]);
    assert_eq!(proxy.get(ASKED).await.status, StatusCode::OK, "it is over, and nothing of it was stored");
    proxy.advance(Duration::from_mins(2));
    peer.answers(INVOICES, [row.failing]);
    let with = proxy.get(ASKED).await;
    if row.stale {
        assert_eq!((with.status, with.text().as_str()), (StatusCode::OK, r#"{"total":1,"_links":{}}"#));
        assert!(with.cache_status().starts_with("hit; ttl=-"), "{}", with.cache_status());
        // The origin's Date is of today, and the test's clock is ahead of it.
        assert!(with.field("age").parse::<u64>().is_ok_and(|age| age >= 120), "{}", with.field("age"));
    } else {
        assert_eq!(with.status.as_u16(), row.none.0);
    }
}

#[tokio::test]
async fn a_failure_that_passes_is_tried_again_unseen() {
    let peer = Peer::start(Wire::HttpMock).await;
    let proxy = peer.proxy("").await;
    peer.answers(INVOICES, [Canned::status(503), Canned::json(r#"{"total":1,"_links":{}}"#)]);
    assert_eq!(proxy.get(ASKED).await.status, StatusCode::OK);
    assert_eq!(peer.calls(INVOICES), 2);
}

#[tokio::test]
async fn retries_never_double_the_load() {
    let peer = Peer::start(Wire::HttpMock).await;
    let proxy = peer.proxy("limits:\n  upstream: { rate: 1000/s, burst: 1000, concurrency: 100 }\n").await;
    peer.answers(INVOICES, [Canned::status(502)]);
    for page in 0..100 {
        proxy.get(&format!("{ASKED}?page={page}")).await;
    }
    let calls = peer.calls(INVOICES);
    assert!((103..=120).contains(&calls), "{calls} calls for 100 requests");
}

#[rstest]
#[case::down(Canned::status(503), 503, "token_unavailable")]
#[case::garbage(Canned::json("<html>"), 503, "token_unavailable")]
#[case::empty(Canned::status(200), 503, "token_unavailable")]
#[case::refused(Canned { status: 401, ..Canned::json(r#"{"error":"invalid_client"}"#) }, 502, "credential_rejected")]
#[case::no_such_scope(Canned { status: 400, ..Canned::json(r#"{"error":"invalid_scope"}"#) }, 503, "scope_not_effective")]
#[tokio::test]
async fn without_a_token_a_stale_entry_answers_and_else_the_reason(
    #[case] failing: Canned,
    #[case] status: u16,
    #[case] code: &str,
) {
    let peer = Peer::start(Wire::HttpMock).await;
    let proxy = peer.proxy(SHORT).await;
    peer.answers(INVOICES, [Canned::json(r#"{"total":1,"_links":{}}"#)]);
    assert_eq!(proxy.get(ASKED).await.status, StatusCode::OK);
    peer.answers(TOKEN_PATH, [failing]);
    proxy.advance(Duration::from_mins(11));
    let stale = proxy.get(ASKED).await;
    assert_eq!((stale.status, stale.text().as_str()), (StatusCode::OK, r#"{"total":1,"_links":{}}"#));
    let other = proxy.get(&format!("{ASKED}?page=2")).await;
    assert_eq!((other.status.as_u16(), other.code().as_str()), (status, code));
    assert!(other.field("retry-after").parse::<u64>().is_ok_and(|seconds| seconds >= 1));
    assert_eq!(peer.calls(INVOICES), 1);
    assert_eq!(peer.calls(TOKEN_PATH), 2, "the failure is remembered");
}

#[tokio::test]
async fn an_api_that_cannot_be_reached_is_told_of_or_covered_by_a_stale_entry() {
    let peer = Peer::start(Wire::HttpMock).await;
    // Nobody listens at port 1; the token endpoint is another server.
    let yaml = |api: &str| {
        format!(
            "upstream:\n  api_url: {api}\n  token_url: {}{TOKEN_PATH}\norganizations:\n  - {{ id: acme, discover_accounts: false, credential: {{ account: acme, client_id: id, client_secret: {{ file: secret }} }} }}\n{SHORT}",
            peer.url()
        )
    };
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    std::fs::write(folder.path().join("secret"), "s3cret").expect("written");
    let proxy = Proxy::start(&yaml("http://127.0.0.1:1"), folder, ManualClock::new()).await;
    let reply = proxy.get(ASKED).await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::BAD_GATEWAY, "upstream_unreachable"));
    assert_eq!(
        reply.field("proxy-status"),
        "billing-insights-proxy; error=destination_unavailable; details=\"upstream_unreachable\""
    );
    let ready = proxy.admin(http::Method::GET, "/readyz").await;
    assert_eq!(ready.status, StatusCode::OK, "a restart would not mend it");
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_no_connection() {
    let peer = Peer::start(Wire::TlsHttp2).await;
    peer.answers(INVOICES, [Canned::page()]);
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    std::fs::write(folder.path().join("secret"), "s3cret").expect("written");
    let tokens = Peer::start(Wire::HttpMock).await;
    let yaml = format!(
        "upstream:\n  api_url: {}\n  token_url: {}{TOKEN_PATH}\norganizations:\n  - {{ id: acme, discover_accounts: false, credential: {{ account: acme, client_id: id, client_secret: {{ file: secret }} }} }}\n",
        peer.url(),
        tokens.url()
    );
    let proxy = Proxy::start(&yaml, folder, ManualClock::new()).await;
    let reply = proxy.get(ASKED).await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::BAD_GATEWAY, "upstream_unreachable"));
    assert!(reply.field("proxy-status").contains("tls_protocol_error"), "{}", reply.field("proxy-status"));
    assert_eq!(peer.calls(INVOICES), 0, "no token went to a server that could not show who it is");
}

#[tokio::test]
async fn a_tls_alert_is_no_connection() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut hello = [0; 1024];
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut hello).await;
            // handshake_failure (RFC 8446, section 6).
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &[0x15, 3, 3, 0, 2, 2, 40]).await;
        }
    });
    let tokens = Peer::start(Wire::HttpMock).await;
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    std::fs::write(folder.path().join("secret"), "s3cret").expect("written");
    let yaml = format!(
        "upstream:\n  api_url: https://127.0.0.1:{port}\n  token_url: {}{TOKEN_PATH}\norganizations:\n  - {{ id: acme, discover_accounts: false, credential: {{ account: acme, client_id: id, client_secret: {{ file: secret }} }} }}\n",
        tokens.url()
    );
    let proxy = Proxy::start(&yaml, folder, ManualClock::new()).await;
    let reply = proxy.get(ASKED).await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::BAD_GATEWAY, "upstream_unreachable"));
    assert!(reply.field("proxy-status").contains("tls_protocol_error"), "{}", reply.field("proxy-status"));
}

/// A proxy before an upstream that swallows requests, with one entry in its cache that is stale by now.
async fn before_a_black_hole() -> (BlackHole, Proxy) {
    let hole = BlackHole::start().await;
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    std::fs::write(folder.path().join("secret"), "s3cret").expect("written");
    let yaml = format!(
        "upstream:\n  api_url: {0}\n  token_url: {0}{TOKEN_PATH}\n  request_timeout: 30s\n  stale_wait: 2s\norganizations:\n  - {{ id: acme, discover_accounts: false, credential: {{ account: acme, client_id: id, client_secret: {{ file: secret }} }} }}\n{SHORT}",
        hole.url()
    );
    let proxy = Proxy::start(&yaml, folder, ManualClock::new()).await;
    assert_eq!(proxy.get(ASKED).await.status, StatusCode::OK);
    proxy.advance(Duration::from_mins(2));
    hole.set_answers(false);
    (hole, proxy)
}

#[tokio::test]
async fn in_a_black_hole_a_stale_entry_is_waited_for_once_and_others_fail_fast() {
    let (hole, proxy) = before_a_black_hole().await;
    let (first, ()) = tokio::join!(proxy.get(ASKED), async {
        eventually("the request is swallowed", async || (hole.swallowed() == 1).then_some(())).await;
        proxy.advance(Duration::from_secs(2));
    });
    assert_eq!((first.status, first.field("age")), (StatusCode::OK, "122"), "no Date is sent here");
    assert!(first.cache_status().ends_with("detail=slow"), "{}", first.cache_status());

    // The fetch goes on without its client, until its time is over: from then on the way counts as down.
    proxy.advance(Duration::from_secs(28));
    eventually("the failure is noted", async || {
        let failures = proxy.metric("upstream_errors_total", &[("kind", "timeout")]).await;
        (failures > 0.0).then_some(())
    })
    .await;
    let at_once = proxy.get(ASKED).await;
    assert_eq!(at_once.status, StatusCode::OK, "without the time being moved");
    let other = proxy.get(&format!("{ASKED}?page=2")).await;
    assert_eq!((other.status, other.code().as_str()), (StatusCode::GATEWAY_TIMEOUT, "upstream_timeout"));
    assert_eq!(hole.swallowed(), 1, "neither went upstream");
}

#[tokio::test]
async fn one_probe_at_a_time_finds_out_that_it_is_over() {
    let (hole, proxy) = before_a_black_hole().await;
    let other = format!("{ASKED}?page=2");
    let (_, ()) = tokio::join!(proxy.get(&other), async {
        eventually("the request is swallowed", async || (hole.swallowed() == 1).then_some(())).await;
        proxy.advance(Duration::from_secs(30));
    });
    // The time is over: of twenty different requests one goes through.
    proxy.advance(Duration::from_millis(1300));
    let pages: Vec<_> = (3..23).map(|page| format!("{ASKED}?page={page}")).collect();
    let asking = pages.iter().map(|page| proxy.get(page));
    let (replies, ()) = tokio::join!(futures_util::future::join_all(asking), async {
        eventually("the probe is swallowed", async || (hole.swallowed() == 2).then_some(())).await;
        proxy.advance(Duration::from_secs(30));
    });
    assert!(replies.iter().all(|reply| reply.status == StatusCode::GATEWAY_TIMEOUT));
    assert_eq!(hole.swallowed(), 2);

    hole.set_answers(true);
    proxy.advance(Duration::from_mins(2));
    for page in 30..40 {
        assert_eq!(proxy.get(&format!("{ASKED}?page={page}")).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn ten_thousand_requests_during_an_outage_are_answered_stale() {
    let peer = Peer::start(Wire::HttpMock).await;
    let proxy = peer.proxy(SHORT).await;
    peer.answers(INVOICES, [Canned::json(r#"{"total":1,"_links":{}}"#)]);
    proxy.get(ASKED).await;
    peer.answers(INVOICES, [Canned::status(503)]);
    proxy.advance(Duration::from_mins(2));
    for _ in 0..100 {
        for reply in futures_util::future::join_all((0..100).map(|_| proxy.get(ASKED))).await {
            assert_eq!(reply.status, StatusCode::OK);
            assert!(reply.cache_status().starts_with("hit; ttl=-"), "{}", reply.cache_status());
        }
    }
}

#[tokio::test]
async fn a_proxy_that_starts_while_everything_is_down_recovers_by_itself() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(TOKEN_PATH, [Canned::status(503)]);
    peer.answers(INVOICES, [Canned::status(503)]);
    let proxy = peer.proxy("").await;
    assert_eq!(proxy.admin(http::Method::GET, "/readyz").await.status, StatusCode::OK);
    assert_eq!(proxy.get(ASKED).await.status, StatusCode::SERVICE_UNAVAILABLE);
    peer.answers(TOKEN_PATH, [Canned::token("token-2")]);
    peer.answers(INVOICES, [Canned::page()]);
    proxy.advance(Duration::from_mins(2));
    assert_eq!(proxy.get(ASKED).await.status, StatusCode::OK);
}
