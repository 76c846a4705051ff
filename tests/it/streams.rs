//! Answers that are too large for memory: passed on as they come, links and all, and never ended as if they were
//! whole.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use rstest::rstest;

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
async fn links_are_rewritten_wherever_the_pieces_end(#[values(1, 7, 61, 4096)] size: usize) {
    let peer = RawPeer::start().await;
    let records = |base: &str| so_many_records(300, base);
    let body = records(peer.url());
    assert!(body.len() > 16 << 10, "it is too large for memory");
    peer.plays([vec![Act::Send(chunked()), Act::Chunks(body.into(), size), end()]]);
    let proxy = peer.proxy(SMALL_ENTRIES).await;
    let reply = proxy.get(ASKED).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert!(reply.text() == records(&format!("{}/organizations/acme", proxy.base())), "another body");
    assert!(reply.cache_status().ends_with("detail=too_large"), "{}", reply.cache_status());
    assert_eq!(proxy.admin(Method::GET, "/api/cache").await.json()["entries"], 0);
}

#[rstest]
#[case::between_chunks(&[])]
#[case::in_a_chunk(&[Act::Send(b"ff\r\nabc".to_vec())])]
#[case::by_a_reset(&[Act::Reset])]
#[tokio::test]
async fn a_stream_that_is_cut_off_upstream_is_cut_off_here(#[case] further: &[Act]) {
    let peer = RawPeer::start().await;
    let body = records(peer.url());
    let begun = vec![Act::Send(chunked()), Act::Chunks(body.into(), 4096)];
    peer.plays([[begun, further.to_vec()].concat()]);
    let proxy = peer.proxy(SMALL_ENTRIES).await;
    let error = proxy.try_get(ASKED).await;
    assert!(error.is_err(), "the client must notice: {:.200}", error.expect("an answer").text());
    let request = format!("GET {ASKED} HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.app.addresses().data);
    let heard = say(&proxy, request.as_bytes()).await;
    assert!(heard.starts_with("HTTP/1.1 200 ") || heard.starts_with("HTTP/1.1 502 "), "{heard:.200}");
    assert!(heard.starts_with("HTTP/1.1 502 ") || !heard.ends_with("0\r\n\r\n"), "no clean end");
}

#[tokio::test]
async fn a_stream_that_is_not_json_to_its_end_is_cut_off() {
    let peer = RawPeer::start().await;
    let mut body = records(peer.url());
    body.truncate(body.len() - 10);
    peer.plays([vec![Act::Send(chunked()), Act::Chunks(body.into(), 4096), end()]]);
    let proxy = peer.proxy(SMALL_ENTRIES).await;
    assert!(proxy.try_get(ASKED).await.is_err(), "the message was complete, and its JSON was not");
}

#[tokio::test]
async fn a_stream_that_grows_larger_than_may_be_is_cut_off() {
    let peer = RawPeer::start().await;
    let body = records(peer.url());
    peer.plays([vec![Act::Send(chunked()), Act::Chunks(body.into(), 4096), end()]]);
    let proxy =
        peer.proxy("upstream:\n  max_response_bytes: 64KiB\ncache:\n  max_entry_bytes: 16KiB\n").await;
    assert!(proxy.try_get(ASKED).await.is_err());
}

#[tokio::test]
async fn nothing_streams_for_an_instance_on_its_organizations_credential() {
    let peer = RawPeer::start().await;
    let body = records(peer.url());
    peer.plays([vec![Act::Send(chunked()), Act::Chunks(body.into(), 4096), end()]]);
    let proxy = peer.proxy(SMALL_ENTRIES).await;
    let reply = proxy.get("/instances/josephpinetrees/express/invoices").await;
    reply.assert_problem(502, "upstream_response_too_large");
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
async fn a_body_of_40_mib_takes_no_memory_to_speak_of() {
    let peer = RawPeer::start().await;
    let filler = format!("\"{}\",\n", "a".repeat(1020));
    let begun = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n[".to_vec();
    let large = vec![Act::Send(begun), Act::Repeat(filler.into(), 40 << 10), Act::Send(b"1]".to_vec())];
    peer.plays([vec![Act::Send(ok("[1]"))], large]);
    let configuration = format!(
        "server:\n  listen: 127.0.0.1:0\n  admin: 127.0.0.1:0\nlog: {{ format: json }}\n{}",
        peer.configuration("upstream:\n  max_response_bytes: 64MiB\ncache:\n  max_entry_bytes: 1MiB\n")
    );
    let file = peer.folder().join("proxy.yaml");
    std::fs::write(&file, configuration).expect("written");
    let program = Program::serve(&file).await;
    let client = crate::support::client();
    let length = async |page: u32| {
        let url = format!("http://{}{ASKED}?page={page}", program.address);
        let response = client.get(url.parse().expect("a URL")).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        let mut body = response.into_body();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            length += frame.expect("a piece").data_ref().map_or(0, bytes::Bytes::len);
        }
        length
    };
    assert_eq!(length(1).await, 3);
    let before = program.peak();
    assert_eq!(length(2).await, (40 << 20) + 3);
    let after = program.peak();
    assert!(after - before < 20 << 10, "{before} KiB before, {after} KiB after");
}

#[tokio::test]
async fn to_http_1_0_nothing_streams() {
    let peer = RawPeer::start().await;
    let body = format!(r#"{{"filling":"{}"}}"#, "x".repeat(200 * 1024));
    peer.plays([vec![Act::Send(ok(&body))]]);
    let proxy = peer.proxy("cache:\n  max_entry_bytes: 64KiB\n").await;
    let ask = |version: &str| {
        format!(
            "GET /organizations/acme/express/invoices {version}\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
    };
    let answer = say(&proxy, ask("HTTP/1.0").as_bytes()).await;
    assert!(answer.contains(" 502 ") && answer.contains("upstream_response_too_large"), "{answer:.400}");
    let answer = say(&proxy, ask("HTTP/1.1").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:.400}");
}
