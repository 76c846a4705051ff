//! Answers that are too large to be stored: read whole, checked, given to all who wait, and bounded together.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use rstest::rstest;
use tokio::sync::Notify;

use crate::added_endpoints::ADDED;
use crate::support::eventually;
use crate::support::peer::{Canned, Peer, Wire};
use crate::support::raw::{Act, RawPeer, chunked, ok, say};

const ASKED: &str = "/organizations/acme/express/invoices";
const SMALL_ENTRIES: &str = "cache:\n  max_entry_bytes: 16KiB\n";

/// A body of some hundred kilobytes with a link in each record.
fn records(base: &str) -> String {
    so_many_records(1500, base)
}

fn so_many_records(count: usize, base: &str) -> String {
    let record = |number: usize| {
        format!(
            r#"{{"number":{number},"rate":1.10,"text":"see {{}} \"quoted\" \\","self":{{"href":"{base}/express/invoices?page={number}"}}}}"#
        )
    };
    format!(r#"{{"_embedded":{{"invoices":[{}]}}}}"#, (0..count).map(record).collect::<Vec<_>>().join(",\n"))
}

fn end() -> Act {
    Act::Send(b"0\r\n\r\n".to_vec())
}

#[rstest]
#[tokio::test]
async fn an_answer_too_large_to_be_stored_is_passed_on_whole_with_its_links(
    #[values(1, 61, 4096)] size: usize,
    #[values("organizations/acme", "HTTP/1.0")] kind: &str,
) {
    let peer = RawPeer::start().await;
    let records = |base: &str| so_many_records(300, base);
    let body = records(peer.url());
    assert!(body.len() > 16 << 10, "it is too large to be stored");
    peer.plays([vec![Act::Send(chunked()), Act::Chunks(body.into(), size), end()]]);
    let proxy = peer.proxy(SMALL_ENTRIES).await;
    let expected = records(&format!("{}/organizations/acme", proxy.base()));
    if kind == "HTTP/1.0" {
        let host = proxy.base().trim_start_matches("http://").to_owned();
        let request = format!("GET {ASKED} HTTP/1.0\r\nHost: {host}\r\n\r\n");
        let heard = say(&proxy, request.as_bytes()).await;
        assert!(heard.ends_with(&expected), "another body");
        return;
    }
    let reply = proxy.get(ASKED).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert!(reply.text() == expected, "another body");
    assert_eq!(reply.field("content-length"), expected.len().to_string());
    assert!(reply.cache_status().ends_with("detail=too_large"), "{}", reply.cache_status());
    assert_eq!(proxy.admin(Method::GET, "/api/cache").await.json()["entries"], 0);
}

#[tokio::test]
async fn an_answer_too_large_to_be_stored_is_given_to_all_who_wait_for_it() {
    let peer = RawPeer::start().await;
    let told = Arc::new(Notify::new());
    let body = records(peer.url());
    peer.plays([vec![
        Act::Send(chunked()),
        Act::Until(Arc::clone(&told)),
        Act::Chunks(body.into(), 4096),
        end(),
    ]]);
    let proxy = peer.proxy(SMALL_ENTRIES).await;
    let five = futures_util::future::join_all((0..5).map(|_| proxy.get(ASKED)));
    let release = async {
        eventually("all wait", async || (proxy.app.proxy().waiting_for_fetches() == 5).then_some(())).await;
        told.notify_one();
    };
    let (replies, ()) = tokio::join!(five, release);
    assert!(replies.iter().all(|reply| reply.status == StatusCode::OK && reply.text() == replies[0].text()));
    assert_eq!(peer.calls(), 1);
}

#[rstest]
#[case::between_chunks(&[])]
#[case::in_a_chunk(&[Act::Send(b"ff\r\nabc".to_vec())])]
#[case::by_a_reset(&[Act::Reset])]
#[tokio::test]
async fn of_a_large_answer_that_is_cut_off_clients_get_nothing(#[case] further: &[Act]) {
    let peer = RawPeer::start().await;
    let body = records(peer.url());
    let begun = vec![Act::Send(chunked()), Act::Chunks(body.into(), 4096)];
    peer.plays([[begun, further.to_vec()].concat()]);
    let proxy = peer.proxy(SMALL_ENTRIES).await;
    let problem = proxy.get(ASKED).await.assert_problem(502, "upstream_protocol_error");
    assert!(!problem.to_string().contains("_embedded"), "{problem}");
}

#[tokio::test]
async fn of_a_large_answer_that_is_not_json_to_its_end_clients_get_nothing() {
    let peer = RawPeer::start().await;
    let mut body = records(peer.url());
    body.truncate(body.len() - 10);
    peer.plays([vec![Act::Send(chunked()), Act::Chunks(body.into(), 4096), end()]]);
    let proxy = peer.proxy(SMALL_ENTRIES).await;
    proxy.get(ASKED).await.assert_problem(502, "upstream_protocol_error");
}

#[tokio::test]
async fn an_answer_that_is_larger_than_may_be_is_refused() {
    let peer = RawPeer::start().await;
    let body = records(peer.url());
    peer.plays([vec![Act::Send(chunked()), Act::Chunks(body.into(), 4096), end()]]);
    let proxy =
        peer.proxy("upstream:\n  max_response_bytes: 64KiB\ncache:\n  max_entry_bytes: 16KiB\n").await;
    proxy.get(ASKED).await.assert_problem(502, "upstream_response_too_large");
}

#[tokio::test]
async fn answers_being_read_share_a_limit_and_a_refused_one_can_be_had_once_there_is_room() {
    let peer = RawPeer::start().await;
    let told = Arc::new(Notify::new());
    let body = records(peer.url());
    let held = vec![
        Act::Send(chunked()),
        Act::Chunks(body.clone().into(), 4096),
        Act::Until(Arc::clone(&told)),
        end(),
    ];
    let at_once = vec![Act::Send(chunked()), Act::Chunks(body.into(), 4096), end()];
    peer.plays([held, at_once.clone(), at_once]);
    let limits = "upstream:\n  max_response_bytes: 400KiB\n  max_buffered_bytes: 400KiB\ncache:\n  max_entry_bytes: 16KiB\n";
    let proxy = peer.proxy(limits).await;
    let budget = || proxy.app.proxy().buffered_bytes();
    let first = proxy.get(ASKED);
    let meanwhile = async {
        eventually("the first is read", async || (budget() > 100 << 10).then_some(())).await;
        let refused = proxy.get(&format!("{ASKED}?page=2")).await;
        let problem = refused.assert_problem(503, "overloaded");
        assert!(problem["description"].as_str().expect("text").contains("upstream.max_buffered_bytes"));
        assert_eq!(refused.field("retry-after"), "1");
        told.notify_one();
    };
    let (first, ()) = tokio::join!(first, meanwhile);
    assert_eq!(first.status, StatusCode::OK);
    eventually("the room is free again", async || (budget() == 0).then_some(())).await;
    assert_eq!(proxy.get(&format!("{ASKED}?page=2")).await.status, StatusCode::OK);
}

/// The program itself, with memory of its own; ended when the test is over.
struct Program {
    process: Child,
    address: String,
}

impl Program {
    async fn serve(configuration: &Path) -> Self {
        let program = env!("CARGO_BIN_EXE_billing-insights-proxy");
        let mut process = Command::new(program)
            .args(["serve", "--config"])
            .arg(configuration)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the program");
        let log = BufReader::new(process.stderr.take().expect("its log"));
        let (found, address) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut found = Some(found);
            for line in log.lines().map_while(Result::ok) {
                let Some((_, port)) = line.split_once("127.0.0.1:") else { continue };
                let port: String = port.chars().take_while(char::is_ascii_digit).collect();
                found.take().map(|found| found.send(format!("127.0.0.1:{port}")));
            }
        });
        let address = address.await.expect("it says where it listens");
        Self { process, address }
    }

    /// The most memory that it has had so far, in KiB.
    fn peak(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("its status");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("its peak");
        line.split_whitespace().nth(1).expect("a number of KiB").parse().expect("a number")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn many_large_answers_at_once_stay_within_the_limit() {
    let peer = RawPeer::start().await;
    let filler = format!("\"{}\",\n", "a".repeat(1020));
    let begun = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n[".to_vec();
    let large = vec![Act::Send(begun), Act::Repeat(filler.into(), 16 << 10), Act::Send(b"1]".to_vec())];
    peer.plays([vec![Act::Send(ok("[1]"))], large]);
    let configuration = format!(
        "server:\n  listen: 127.0.0.1:0\n  admin: 127.0.0.1:0\nlog: {{ format: json }}\n{}",
        peer.configuration(
            "upstream:\n  max_response_bytes: 20MiB\n  max_buffered_bytes: 40MiB\nlimits:\n  upstream: { rate: 1000/s, burst: 100, concurrency: 20 }\ncache:\n  max_entry_bytes: 1MiB\n"
        )
    );
    let file = peer.folder().join("proxy.yaml");
    std::fs::write(&file, configuration).expect("written");
    let program = Program::serve(&file).await;
    let client = crate::support::client();
    let ask = async |page: u32| {
        let url = format!("http://{}{ASKED}?page={page}", program.address);
        let response = client.get(url.parse().expect("a URL")).await.expect("an answer");
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.expect("a whole body").to_bytes().len())
    };
    assert_eq!(ask(1).await, (200, 3));
    let before = program.peak();
    let answers = futures_util::future::join_all((2..14).map(ask)).await;
    let whole = answers.iter().filter(|answer| **answer == (200, (16 << 20) + 3)).count();
    let refused = answers.iter().filter(|(status, _)| *status == 503).count();
    assert!(whole >= 1 && refused >= 1 && whole + refused == answers.len(), "{answers:?}");
    let after = program.peak();
    assert!(after - before < 120 << 10, "{before} KiB before, {after} KiB after");
}

/// hyper reports a stream that is reset without an error, or cancelled, as ended.
#[rstest]
#[tokio::test]
async fn a_stream_that_is_reset_over_http2_before_its_end_is_neither_whole_nor_stored(
    #[values(h2::Reason::NO_ERROR, h2::Reason::CANCEL, h2::Reason::INTERNAL_ERROR)] reason: h2::Reason,
    #[values(&[], &[("content-length", "8")])] length: &[(&str, &str)],
) {
    let peer = Peer::start(Wire::TlsHttp2).await;
    let half = Canned { body: "half".into(), ..Canned::status(200) }.with("cache-control", "max-age=60");
    peer.answers("/test/a", [length.iter().fold(half, |half, (name, value)| half.with(name, value))]);
    let go = peer.resets("/test/a", reason);
    let proxy = peer.proxy(ADDED).await;
    let resetting = async {
        let is_read = async || (proxy.app.proxy().buffered_bytes() > 0).then_some(());
        eventually("half of it is read", is_read).await;
        go.notify_one();
    };
    let (reply, ()) = tokio::join!(proxy.get("/organizations/acme/test/a"), resetting);
    reply.assert_problem(502, "upstream_protocol_error");
    assert_eq!(proxy.admin(Method::GET, "/api/cache").await.json()["entries"], 0);
    assert!(proxy.metric("upstream_errors_total", &[("kind", "protocol")]).await > 0.9);
}
