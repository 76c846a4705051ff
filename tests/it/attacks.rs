//! The attack table: what is sent over a bare socket, and what must not come of it. Whatever it is, nothing goes
//! upstream for it, nothing that is smuggled along is answered, and the next client is served.

use std::time::Duration;

use billing_insights_proxy::simulator::{Fault, FaultKind, Target};
use http::StatusCode;
use rstest::rstest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::peer::{Canned, Peer, Wire};
use crate::support::raw::{say, the_time_for_a_head_passes};
use crate::support::{Proxy, SAMPLE_TENANTS, Talkdesk, eventually};

const ASKED: &str = "/organizations/acme/express/invoices";
const SMUGGLED: &str = "/organizations/acme/express/products";

/// A proxy before an API whose products are asked for by nobody but a smuggler.
async fn target(further: &str) -> (Peer, Proxy) {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers("/express/invoices", [Canned::json(r#"{"total":1,"_links":{}}"#)]);
    peer.answers("/express/products", [Canned::json(r#"{"smuggled":true}"#)]);
    let proxy = peer.proxy(further).await;
    (peer, proxy)
}

/// Nothing went upstream but what the test itself has asked for, and the next client is served.
async fn unharmed(peer: &Peer, proxy: &Proxy, asked: usize) {
    assert_eq!(peer.calls("/express/products"), 0, "the smuggled request went upstream");
    assert_eq!(peer.calls("/express/invoices"), asked, "something went upstream");
    let reply = proxy.get(ASKED).await;
    assert_eq!((reply.status, reply.text().as_str()), (StatusCode::OK, r#"{"total":1,"_links":{}}"#));
}

/// `{host}`, `{asked}` and `{next}` (a whole request for what nobody may get) are filled in.
fn filled(proxy: &Proxy, template: &str) -> String {
    let host = &proxy.app.addresses().data;
    let next = format!("GET {SMUGGLED} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    template
        .replace("{length}", &next.len().to_string())
        .replace("{hex}", &format!("{:x}", next.len()))
        .replace("{next}", &next)
        .replace("{asked}", ASKED)
        .replace("{host}", host)
}

/// Whether the response is a refusal: `400 code` is one of the proxy's own, `400` one of hyper's, without a body.
fn is_refused(response: &str, expected: &str) -> bool {
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or_default();
    match expected.split_once(' ') {
        Some((status, code)) => {
            head.starts_with(&format!("HTTP/1.1 {status} "))
                && body.contains(&format!(r#""code":"{code}""#))
                && head.to_ascii_lowercase().contains("x-request-id: ")
                && head.to_ascii_lowercase().contains("cache-control: no-store")
        }
        None => head.starts_with(&format!("HTTP/1.1 {expected} ")) && body.is_empty(),
    }
}

#[rstest]
#[case::both_framings(
    "GET {asked} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{next}",
    "400 body_not_allowed"
)]
#[case::both_framings_the_other_way(
    "GET {asked} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n{next}",
    "400 body_not_allowed"
)]
#[case::two_lengths(
    "GET {asked} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nContent-Length: {length}\r\n\r\n{next}",
    "400"
)]
#[case::two_equal_lengths(
    "GET {asked} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\nContent-Length: {length}\r\n\r\n{next}",
    "400 body_not_allowed"
)]
#[case::two_lengths_in_one_field(
    "GET {asked} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0, {length}\r\n\r\n{next}",
    "400"
)]
#[case::a_length_with_a_sign(
    "GET {asked} HTTP/1.1\r\nHost: {host}\r\nContent-Length: +{length}\r\n\r\n{next}",
    "400"
)]
#[case::a_negative_length("GET {asked} HTTP/1.1\r\nHost: {host}\r\nContent-Length: -1\r\n\r\n{next}", "400")]
#[case::a_length_beyond_all(
    "GET {asked} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 99999999999999999999999\r\n\r\n{next}",
    "400"
)]
#[case::a_length_in_hex(
    "GET {asked} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0x{hex}\r\n\r\n{next}",
    "400"
)]
#[case::a_body(
    "GET {asked} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{next}{next}",
    "400 body_not_allowed"
)]
#[case::a_body_in_chunks(
    "GET {asked} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n{hex}\r\n{next}\r\n0\r\n\r\n{next}",
    "400 body_not_allowed"
)]
#[case::an_unknown_coding(
    "GET {asked} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: cow\r\n\r\n{next}",
    "400"
)]
#[case::chunked_not_last(
    "GET {asked} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked, cow\r\n\r\n0\r\n\r\n{next}",
    "400"
)]
#[case::chunked_with_a_vertical_tab(
    "GET {asked} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n{next}",
    "400"
)]
#[case::chunked_in_http_1_0(
    "GET {asked} HTTP/1.0\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{next}",
    "400"
)]
#[case::a_space_before_the_colon(
    "GET {asked} HTTP/1.1\r\nHost: {host}\r\nContent-Length : {length}\r\n\r\n{next}",
    "400"
)]
#[case::a_space_before_the_colon_of_a_coding(
    "GET {asked} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n{next}",
    "400"
)]
#[case::an_obsolete_folding(
    "GET {asked} HTTP/1.1\r\nHost: {host}\r\nX-A: b\r\n  Content-Length: 5\r\n\r\n{next}",
    "400"
)]
#[case::a_folding_with_a_tab("GET {asked} HTTP/1.1\r\nHost: {host}\r\nX-A: b\r\n\tc\r\n\r\n{next}", "400")]
#[case::a_folded_first_field("GET {asked} HTTP/1.1\r\n Host: {host}\r\n\r\n{next}", "400")]
#[case::a_nul_in_a_value("GET {asked} HTTP/1.1\r\nHost: {host}\r\nX-A: b\0c\r\n\r\n{next}", "400")]
#[case::a_nul_in_a_name("GET {asked} HTTP/1.1\r\nHost: {host}\r\nX-A\0: b\r\n\r\n{next}", "400")]
#[case::a_nul_in_the_target("GET {asked}\0 HTTP/1.1\r\nHost: {host}\r\n\r\n{next}", "400")]
#[case::a_bare_cr_in_a_value(
    "GET {asked} HTTP/1.1\r\nHost: {host}\r\nX-A: b\rContent-Length: 5\r\n\r\n{next}",
    "400"
)]
#[case::a_field_without_a_colon("GET {asked} HTTP/1.1\r\nHost: {host}\r\nX-A\r\n\r\n{next}", "400")]
#[case::a_field_without_a_name("GET {asked} HTTP/1.1\r\nHost: {host}\r\n: b\r\n\r\n{next}", "400")]
#[case::http_0_9("GET {asked}\r\n{next}", "400")]
#[case::http_3("GET {asked} HTTP/3.0\r\nHost: {host}\r\n\r\n{next}", "400")]
#[case::two_spaces("GET  {asked} HTTP/1.1\r\nHost: {host}\r\n\r\n{next}", "400")]
#[case::a_tab_for_a_space("GET\t{asked} HTTP/1.1\r\nHost: {host}\r\n\r\n{next}", "400")]
#[case::a_method_that_is_none("G(T {asked} HTTP/1.1\r\nHost: {host}\r\n\r\n{next}", "400")]
#[case::half_the_preface_of_http_2("PRI * HTTP/2.0\r\n\r\n", "400")]
#[case::tls("\x16\x03\x01\x02\0\x01\0\x01\u{7c}\x03\x03", "400")]
#[case::an_upgrade_to_http_2(
    "GET /nowhere HTTP/1.1\r\nHost: {host}\r\nConnection: close, Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n",
    "404 unknown_endpoint"
)]
#[case::an_expectation_with_a_body(
    "GET {asked} HTTP/1.1\r\nHost: {host}\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n{next}",
    "400 body_not_allowed"
)]
#[tokio::test]
async fn what_is_no_request_is_refused_and_nothing_behind_it_is_answered(
    #[case] attack: &str,
    #[case] expected: &str,
    #[values(false, true)] on_a_hit: bool,
) {
    let (peer, proxy) = target("").await;
    if on_a_hit {
        proxy.get(ASKED).await;
    }
    let heard = say(&proxy, filled(&proxy, attack).as_bytes()).await;
    assert_eq!(heard.matches("HTTP/1.1 ").count(), 1, "one answer, and then the end: {heard}");
    assert!(!heard.contains("smuggled"), "{heard}");
    assert!(is_refused(&heard, expected), "wanted {expected}: {heard}");
    assert!(heard.to_ascii_lowercase().contains("connection: close"), "{heard}");
    if let Some((_, code)) = expected.split_once(' ') {
        assert!(proxy.metric("requests_denied_total", &[("reason", code)]).await > 0.0, "{code} is counted");
    }
    unharmed(&peer, &proxy, usize::from(on_a_hit)).await;
}

/// A bare LF is a line's end to hyper, as RFC 9112, section 2.2 lets it be: then it has to be one to everybody.
#[tokio::test]
async fn a_bare_lf_ends_a_line_and_hides_nothing() {
    let (peer, proxy) = target("").await;
    let hidden = "GET {asked} HTTP/1.1\r\nHost: {host}\r\nX-A: b\nContent-Length: {length}\r\n\r\n{next}";
    let heard = say(&proxy, filled(&proxy, hidden).as_bytes()).await;
    assert!(heard.contains("body_not_allowed") && !heard.contains("smuggled"), "{heard}");
    let hidden = "GET {asked} HTTP/1.1\nHost: {host}\nHost: evil.example\nConnection: close\n\n";
    let heard = say(&proxy, filled(&proxy, hidden).as_bytes()).await;
    assert!(heard.contains("host_not_allowed"), "{heard}");
    unharmed(&peer, &proxy, 0).await;
}

#[rstest]
#[case::a_long_field(format!("GET {{asked}} HTTP/1.1\r\nHost: {{host}}\r\nX-A: {}\r\n\r\n", "a".repeat(70_000)), "431")]
#[case::a_long_name(format!("GET {{asked}} HTTP/1.1\r\nHost: {{host}}\r\n{}: a\r\n\r\n", "a".repeat(70_000)), "431")]
#[case::many_fields(format!("GET {{asked}} HTTP/1.1\r\nHost: {{host}}\r\n{}\r\n", "A: b\r\n".repeat(100)), "431")]
#[case::a_flood_of_fields(format!("GET {{asked}} HTTP/1.1\r\nHost: {{host}}\r\n{}", "A: b\r\n".repeat(100_000)), "431")]
#[case::a_head_without_an_end(format!("GET {{asked}} HTTP/1.1\r\nHost: {{host}}\r\nX-A: {}", "a".repeat(1 << 20)), "431")]
#[case::a_method_without_an_end("A".repeat(1 << 20), "431")]
#[case::empty_lines_without_an_end("\r\n".repeat(1 << 19), "431")]
#[case::a_long_target(format!("GET {{asked}}?{} HTTP/1.1\r\nHost: {{host}}\r\nConnection: close\r\n\r\n", "a".repeat(9_000)), "414 uri_too_long")]
#[case::a_target_beyond_all(format!("GET {{asked}}?{} HTTP/1.1\r\nHost: {{host}}\r\n\r\n", "a".repeat(70_000)), "431")]
#[tokio::test]
async fn what_is_too_large_is_refused(#[case] attack: String, #[case] expected: &str) {
    let (peer, proxy) = target("").await;
    let heard = say(&proxy, filled(&proxy, &attack).as_bytes()).await;
    assert!(heard.matches("HTTP/1.1 ").count() <= 1, "{heard:.600}");
    // A client that goes on sending after the response may find the connection reset before it has read it.
    assert!(heard.is_empty() || is_refused(&heard, expected), "wanted {expected}: {heard:.600}");
    assert!(!heard.is_empty() || attack.len() > 100_000, "no answer at all");
    unharmed(&peer, &proxy, 0).await;
}

#[tokio::test]
async fn as_many_fields_as_may_be_are_served() {
    let (peer, proxy) = target("").await;
    // A hundred, with the two that are there.
    let fields = "A: b\r\n".repeat(98);
    let request = format!("GET {{asked}} HTTP/1.1\r\nHost: {{host}}\r\n{fields}Connection: close\r\n\r\n");
    let heard = say(&proxy, filled(&proxy, &request).as_bytes()).await;
    assert!(heard.starts_with("HTTP/1.1 200 "), "{heard}");
    unharmed(&peer, &proxy, 1).await;
}

/// How a connection wastes time.
#[derive(Clone, Copy, Debug)]
enum Slow {
    /// It says nothing at all.
    Silent,
    /// It sends a letter now and then.
    ByLetters,
    /// It was served, and then says nothing more.
    IdleAfterwards,
    /// It was served, and then begins a head that does not end.
    HalfAHeadAfterwards,
}

#[rstest]
#[tokio::test]
async fn who_wastes_time_is_hung_up_on(
    #[values(Slow::Silent, Slow::ByLetters, Slow::IdleAfterwards, Slow::HalfAHeadAfterwards)] slow: Slow,
) {
    let (peer, proxy) = target("server:\n  header_timeout: 300ms\n").await;
    let mut stream = TcpStream::connect(&proxy.app.addresses().data).await.expect("a connection");
    let request = filled(&proxy, "GET {asked} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let served = matches!(slow, Slow::IdleAfterwards | Slow::HalfAHeadAfterwards);
    let mut heard = Vec::new();
    if served {
        stream.write_all(request.as_bytes()).await.expect("sent");
        while !heard.ends_with(br#"{"total":1,"_links":{}}"#) {
            assert!(stream.read_buf(&mut heard).await.expect("an answer") > 0, "it is not answered");
        }
    }
    if matches!(slow, Slow::HalfAHeadAfterwards) {
        stream.write_all(b"GET / HTTP/1.1\r\nHo").await.expect("sent");
    }
    let (mut reading, mut writing) = stream.split();
    let ended = async { while reading.read_buf(&mut heard).await.is_ok_and(|length| length > 0) {} };
    let by_letters = async {
        while matches!(slow, Slow::ByLetters) && writing.write_all(b"G").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        std::future::pending::<()>().await;
    };
    let hung_up = async {
        tokio::select! {
            () = ended => {}
            () = by_letters => {}
        }
    };
    tokio::time::timeout(Duration::from_secs(9), hung_up).await.expect("the connection is closed");
    let heard = String::from_utf8_lossy(&heard).into_owned();
    assert_eq!(heard.matches("HTTP/1.1 200 ").count(), usize::from(served), "{heard}");
    unharmed(&peer, &proxy, usize::from(served)).await;
}

#[tokio::test]
async fn who_reads_slowly_is_not_hung_up_on_for_a_head_that_is_not_his_turn() {
    let further = "server:\n  header_timeout: 2s\ncache:\n  max_bytes: 128MiB\n  max_entry_bytes: 32MiB\n";
    let (peer, proxy) = target(further).await;
    // Four times what Linux takes for a connection whose other end does not read, if it was not told otherwise.
    let large = format!(r#"{{"total":1,"_links":{{}},"note":"{}"}}"#, "x".repeat(16 << 20));
    peer.answers("/express/invoices", [Canned::json(large.clone())]);
    let address = proxy.app.addresses().data.clone();
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(16 * 1024).expect("a size");
    let mut stream = socket.connect(address.parse().expect("an address")).await.expect("a connection");
    let slowly = async {
        let request = filled(&proxy, "GET {asked} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut heard = vec![0; 12];
        stream.read_exact(&mut heard).await.expect("the answer begins");
        assert_eq!(heard, b"HTTP/1.1 200");
        the_time_for_a_head_passes(&proxy).await;
        while !heard.ends_with(b"x\"}") {
            assert!(stream.read_buf(&mut heard).await.expect("the rest") > 0, "it was cut off");
        }
        assert!(heard.len() > large.len());
        // From then on, or from when the system had taken the rest, there is the whole time for the next.
        let request = filled(&proxy, "HEAD {asked} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.expect("an answer");
        assert!(heard.starts_with("HTTP/1.1 200 "), "{heard:.300}");
    };
    tokio::time::timeout(Duration::from_mins(1), slowly).await.expect("it is served");
    assert_eq!(peer.calls("/express/invoices"), 1);
}

#[tokio::test]
async fn an_answer_may_take_longer_than_a_head() {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, "server:\n  header_timeout: 300ms\n").await;
    let slow = Fault::once(Target::Api, FaultKind::Slow { milliseconds: 1_000 });
    talkdesk.control().inject(slow).expect("a fault");
    let asking = proxy.get("/organizations/northwind/express/products");
    let waiting = async {
        eventually("it is under way", async || (talkdesk.counts().0 == 1).then_some(())).await;
        the_time_for_a_head_passes(&proxy).await;
        proxy.advance(Duration::from_secs(1));
    };
    let (reply, ()) = tokio::join!(asking, waiting);
    assert_eq!((reply.status, talkdesk.counts().0), (StatusCode::OK, 1));
}

#[tokio::test]
async fn thousands_of_connections_shut_nobody_out_and_are_hung_up_on() {
    let (peer, proxy) = target("server:\n  header_timeout: 2s\n").await;
    let address = proxy.app.addresses().data.clone();
    let mut open = Vec::new();
    for number in 0..2_100 {
        let mut stream = TcpStream::connect(&address).await.expect("a connection");
        if number % 2 == 0 {
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: ").await;
        }
        open.push(stream);
    }
    unharmed(&peer, &proxy, 0).await;
    for mut stream in open {
        let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok(), "a connection that says nothing stays open");
    }
    unharmed(&peer, &proxy, 1).await;
}

#[tokio::test]
async fn more_connections_than_may_be_wait_and_the_operator_gets_in() {
    let further = "server:\n  max_connections: 20\n  header_timeout: 2s\n";
    let (_peer, proxy) = target(further).await;
    let address = proxy.app.addresses().data.clone();
    let mut open = Vec::new();
    for _ in 0..50 {
        open.push(TcpStream::connect(&address).await.expect("a connection"));
    }
    let ready = proxy.admin(http::Method::GET, "/readyz").await;
    assert_eq!(ready.status, StatusCode::OK, "the admin plane has places of its own");
    // Places come free as the silent ones are hung up on.
    eventually("a client is served", async || {
        proxy.try_get(ASKED).await.is_ok_and(|reply| reply.status == StatusCode::OK).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_request_behind_a_refused_one_is_answered_only_where_the_first_was_whole() {
    let (peer, proxy) = target("").await;
    let attack = "GET /nowhere HTTP/1.1\r\nHost: {host}\r\n\r\nGET {asked} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n";
    let heard = say(&proxy, filled(&proxy, attack).as_bytes()).await;
    assert!(heard.contains("unknown_endpoint") && heard.contains("HTTP/1.1 200 "), "{heard}");
    unharmed(&peer, &proxy, 1).await;
}

#[rstest]
#[case::connection_that_names_the_proxys_own(
    "Connection: authorization, user-agent, accept-encoding, host\r\n"
)]
#[case::connection_twice("Connection: keep-alive\r\nConnection: Authorization\r\n")]
#[case::an_underscore("X_Tenant: organizations/nobody\r\nX_Forwarded_For: 1.2.3.4\r\n")]
#[case::a_dot("X.Tenant: organizations/nobody\r\nX.Forwarded.For: 1.2.3.4\r\n")]
#[case::credentials("Authorization: Bearer mine\r\nCookie: a=b\r\nProxy-Authorization: Basic YTpi\r\n")]
#[case::another_url("X-Original-URL: /express/products\r\nX-Rewrite-URL: /express/products\r\n")]
#[case::another_method("X-HTTP-Method-Override: DELETE\r\nX-Method-Override: DELETE\r\n")]
#[case::another_host(
    "X-Forwarded-Host: evil.example\r\nX-Host: evil.example\r\nForwarded: host=evil.example\r\n"
)]
#[tokio::test]
async fn a_field_changes_nothing_of_what_goes_upstream(
    #[case] fields: &str,
    #[values("", "  endpoints: { invoices_too: { path: /too, forward_request_fields: all } }\n")] added: &str,
) {
    let further = if added.is_empty() { String::new() } else { format!("upstream:\n{added}") };
    let (peer, proxy) = target(&further).await;
    peer.answers("/too", [Canned::page()]);
    let path = if added.is_empty() { "/express/invoices" } else { "/too" };
    let mut seen = Vec::new();
    for fields in ["", fields] {
        let request = format!(
            "GET /organizations/acme{path}?{} HTTP/1.1\r\nHost: {{host}}\r\n{fields}\r\n",
            fields.len()
        );
        let request = filled(&proxy, &request);
        let mut stream = TcpStream::connect(&proxy.app.addresses().data).await.expect("a connection");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut heard = vec![0; 64 * 1024];
        let length = stream.read(&mut heard).await.expect("an answer");
        let heard = String::from_utf8_lossy(&heard[..length]).into_owned();
        assert!(heard.starts_with("HTTP/1.1 200 "), "{heard}");
        assert!(heard.to_ascii_lowercase().contains("x-tenant: organizations/acme"), "{heard}");
        assert!(!heard.contains("evil.example"), "{heard}");
        seen.push(peer.seen(path).pop().expect("a call").fields);
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0]["authorization"], "Bearer token-1");
}

#[rstest]
#[case::twice("X-Tenant: organizations/acme\r\nX-Tenant: organizations/acme\r\n", "400 tenant_conflict")]
#[case::in_two_spellings(
    "X-Tenant: organizations/acme\r\nx-tenant: organizations/acme\r\n",
    "400 tenant_conflict"
)]
#[case::encoded("X-Tenant: organizations%2facme\r\n", "404 unknown_tenant")]
#[case::encoded_letters("X-Tenant: organizations/%61cme\r\n", "404 unknown_tenant")]
#[case::encoded_twice("X-Tenant: organizations/%2561cme\r\n", "404 unknown_tenant")]
#[case::in_fullwidth_letters("X-Tenant: organizations/\u{ff41}cme\r\n", "404 unknown_tenant")]
#[case::quoted("X-Tenant: \"organizations/acme\"\r\n", "404 unknown_tenant")]
#[case::in_bytes_that_are_no_text("X-Tenant: organizations/acme\u{80}\r\n", "404 unknown_tenant")]
#[tokio::test]
async fn a_tenant_is_named_once_and_as_it_is_written(#[case] fields: &str, #[case] expected: &str) {
    let (peer, proxy) = target("").await;
    let request =
        format!("GET /express/invoices HTTP/1.1\r\nHost: {{host}}\r\n{fields}Connection: close\r\n\r\n");
    let heard = say(&proxy, filled(&proxy, &request).as_bytes()).await;
    let (status, code) = expected.split_once(' ').expect("status and code");
    assert!(heard.starts_with(&format!("HTTP/1.1 {status} ")) && heard.contains(code), "{heard}");
    unharmed(&peer, &proxy, 0).await;
}
