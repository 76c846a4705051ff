//! An upstream that breaks HTTP: never half an answer, nothing of it stored, and the old one where there is one.

use std::time::Duration;

use async_compression::tokio::write::GzipEncoder;
use http::{Method, StatusCode};
use rstest::rstest;
use tokio::io::AsyncWriteExt as _;

use crate::support::peer::{Canned, Peer, TOKEN_PATH, Wire};
use crate::support::raw::{Act, RawPeer, chunked, ok};
use crate::support::{Proxy, eventually, is_nearly};

const ASKED: &str = "/organizations/acme/express/invoices";
const GOOD: &str = r#"{"total":1,"_links":{}}"#;
const BOUNDS: &str = "upstream:\n  max_response_bytes: 64KiB\ncache:\n  max_entry_bytes: 64KiB\n  endpoints:\n    \
                      invoices: { ttl: 60s, stale_while_revalidate: 0s, stale_if_error: 1h }\n";

/// The ways to break an answer.
#[derive(Clone, Copy, Debug)]
enum Broken {
    Garbage,
    HalfAStatusLine,
    Nothing,
    ShorterThanItsLength,
    EndsInAChunk,
    EndsBetweenChunks,
    ChunkSizeIsNoNumber,
    TwoLengths,
    ResetInTheBody,
    MebibyteOfHead,
    LongerThanMayBe,
    LongerThanMayBeInChunks,
    GzipBomb,
    HalfAGzip,
    UnaskedEncoding,
    Html,
    HalfAJson,
    EmptyBody,
    NotModified,
}

impl Broken {
    async fn acts(self) -> Vec<Act> {
        let send = |text: &str| Act::Send(text.as_bytes().to_vec());
        let typed = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
        match self {
            Self::Garbage => vec![send("\u{1}\u{2} this is not HTTP\r\n\r\n")],
            Self::HalfAStatusLine => vec![send("HTTP/1.1 20")],
            Self::Nothing => Vec::new(),
            Self::ShorterThanItsLength => vec![send(&format!("{typed}Content-Length: 100\r\n\r\n{GOOD}"))],
            Self::EndsInAChunk => vec![Act::Send(chunked()), send(&format!("ff\r\n{GOOD}"))],
            Self::EndsBetweenChunks => vec![Act::Send(chunked()), Act::Chunks(GOOD.into(), 4)],
            Self::ChunkSizeIsNoNumber => {
                vec![Act::Send(chunked()), send(&format!("xyz\r\n{GOOD}\r\n0\r\n\r\n"))]
            }
            Self::TwoLengths => {
                vec![send(&format!("{typed}Content-Length: 11\r\nContent-Length: 12\r\n\r\n{GOOD} "))]
            }
            Self::ResetInTheBody => {
                vec![send(&format!("{typed}Content-Length: 100\r\n\r\n{GOOD}")), Act::Reset]
            }
            Self::MebibyteOfHead => {
                let field = format!("X-Filler: {}\r\n", "a".repeat(1014));
                vec![send("HTTP/1.1 200 OK\r\n"), Act::Repeat(field.into(), 1024), send("\r\n{}")]
            }
            Self::LongerThanMayBe => vec![Act::Send(ok(&long()))],
            Self::LongerThanMayBeInChunks => {
                vec![Act::Send(chunked()), Act::Chunks(long().into(), 4096), send("0\r\n\r\n")]
            }
            Self::GzipBomb => gzipped(&compress(&vec![b' '; 20 << 20]).await),
            Self::HalfAGzip => {
                let whole = compress(GOOD.as_bytes()).await;
                gzipped(&whole[..whole.len() / 2])
            }
            Self::UnaskedEncoding => {
                vec![send(&format!("{typed}Content-Encoding: br\r\nContent-Length: 11\r\n\r\n{GOOD}"))]
            }
            Self::Html => vec![send(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<html>hi</html>",
            )],
            Self::HalfAJson => vec![Act::Send(ok(r#"{"total":1"#))],
            Self::EmptyBody => vec![Act::Send(ok(""))],
            Self::NotModified => vec![send("HTTP/1.1 304 Not Modified\r\nETag: \"other\"\r\n\r\n")],
        }
    }

    /// Requests made for one: what ended before an answer began is tried again once.
    fn tries(self) -> usize {
        if self.code() == "upstream_unreachable" { 2 } else { 1 }
    }

    fn code(self) -> &'static str {
        if matches!(self, Self::LongerThanMayBe | Self::LongerThanMayBeInChunks | Self::GzipBomb) {
            "upstream_response_too_large"
        } else if matches!(self, Self::Nothing | Self::HalfAStatusLine) {
            // No answer has begun.
            "upstream_unreachable"
        } else {
            "upstream_protocol_error"
        }
    }
}

fn long() -> String {
    format!(r#"{{"filler":"{}","_links":{{}}}}"#, "a".repeat(100 << 10))
}

fn gzipped(bytes: &[u8]) -> Vec<Act> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        bytes.len()
    );
    vec![Act::Send([head.as_bytes(), bytes].concat())]
}

async fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(bytes).await.expect("memory");
    encoder.shutdown().await.expect("memory");
    encoder.into_inner()
}

async fn entries(proxy: &Proxy) -> serde_json::Value {
    proxy.admin(Method::GET, "/api/cache").await.json()["entries"].clone()
}

#[rstest]
#[tokio::test]
async fn a_broken_answer_is_a_502_and_is_not_stored(
    #[values(
        Broken::Garbage,
        Broken::HalfAStatusLine,
        Broken::Nothing,
        Broken::ShorterThanItsLength,
        Broken::EndsInAChunk,
        Broken::EndsBetweenChunks,
        Broken::ChunkSizeIsNoNumber,
        Broken::TwoLengths,
        Broken::ResetInTheBody,
        Broken::MebibyteOfHead,
        Broken::LongerThanMayBe,
        Broken::LongerThanMayBeInChunks,
        Broken::GzipBomb,
        Broken::HalfAGzip,
        Broken::UnaskedEncoding,
        Broken::Html,
        Broken::HalfAJson,
        Broken::EmptyBody,
        Broken::NotModified
    )]
    broken: Broken,
) {
    let peer = RawPeer::start().await;
    let mut plays = Vec::new();
    for _ in 0..broken.tries() {
        plays.push(broken.acts().await);
    }
    plays.push(vec![Act::Send(ok(GOOD))]);
    peer.plays(plays);
    let proxy = peer.proxy(BOUNDS).await;
    let problem = proxy.get(ASKED).await.assert_problem(502, broken.code());
    assert_eq!(problem["tenant"], "organizations/acme");
    assert_eq!(entries(&proxy).await, 0);
    assert_eq!(peer.calls(), broken.tries());
    let kind = match broken.code() {
        "upstream_response_too_large" => "too_large",
        "upstream_unreachable" => "reset",
        _ => "protocol",
    };
    let failed = proxy.metric("upstream_errors_total", &[("kind", kind)]).await;
    assert!(failed > 0.9 && failed < 2.1, "{kind}");
    proxy.advance(std::time::Duration::from_secs(2));
    assert_eq!(proxy.get(ASKED).await.text(), GOOD, "the next answer is a good one");
}

#[rstest]
#[tokio::test]
async fn with_an_entry_in_hand_a_broken_answer_is_answered_by_the_old_one(
    #[values(
        Broken::Garbage,
        Broken::Nothing,
        Broken::ShorterThanItsLength,
        Broken::EndsBetweenChunks,
        Broken::ResetInTheBody,
        Broken::MebibyteOfHead,
        Broken::LongerThanMayBe,
        Broken::LongerThanMayBeInChunks,
        Broken::GzipBomb,
        Broken::UnaskedEncoding,
        Broken::Html,
        Broken::HalfAJson
    )]
    broken: Broken,
) {
    let peer = RawPeer::start().await;
    let mut plays = vec![vec![Act::Send(ok(GOOD))]];
    for _ in 0..broken.tries() {
        plays.push(broken.acts().await);
    }
    peer.plays(plays);
    let proxy = peer.proxy(BOUNDS).await;
    proxy.get(ASKED).await;
    proxy.advance(Duration::from_secs(61));
    let stale = proxy.get(ASKED).await;
    assert_eq!((stale.status, stale.text().as_str()), (StatusCode::OK, GOOD));
    assert!(is_nearly(stale.cache_status(), "hit; ttl=-1; detail=error"));
    assert_eq!(peer.calls(), 1 + broken.tries());
}

#[tokio::test]
async fn interim_answers_are_passed_over() {
    let peer = RawPeer::start().await;
    let interim = Act::Repeat(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".to_vec(), 100);
    peer.plays([vec![interim, Act::Send(ok(GOOD))]]);
    let proxy = peer.proxy("").await;
    let reply = proxy.get(ASKED).await;
    assert_eq!((reply.status, reply.text().as_str()), (StatusCode::OK, GOOD));
    assert!(!reply.fields.contains_key("link"));
}

#[tokio::test]
async fn what_follows_an_answer_is_never_taken_for_the_next_one() {
    let peer = RawPeer::start().await;
    let first = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{GOOD}", GOOD.len());
    let smuggled = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"evil\":true}";
    peer.plays([vec![Act::Send(format!("{first}{smuggled}").into())], vec![Act::Send(ok(GOOD))]]);
    let proxy = peer.proxy("").await;
    for page in 1..=3 {
        assert_eq!(proxy.get(&format!("{ASKED}?page={page}")).await.text(), GOOD);
    }
    assert_eq!(peer.calls(), 3);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let peer = RawPeer::start().await;
    let elsewhere = RawPeer::start().await;
    let text = format!(
        "HTTP/1.1 302 Found\r\nLocation: {}/express/invoices\r\nContent-Length: 0\r\n\r\n",
        elsewhere.url()
    );
    peer.plays([vec![Act::Send(text.into())]]);
    let proxy = peer.proxy("").await;
    assert_eq!(proxy.get(ASKED).await.status, StatusCode::FOUND);
    assert_eq!((peer.calls(), elsewhere.calls()), (1, 0));
    assert_eq!(entries(&proxy).await, 0);
}

#[rstest]
#[case::before_a_word(vec![Act::Stall])]
#[case::in_the_head(vec![Act::Send(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()), Act::Stall])]
#[case::in_the_body(vec![Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"total\"".to_vec()), Act::Stall])]
#[tokio::test]
async fn an_answer_that_stops_half_way_is_waited_for_as_long_as_a_request_may_take(#[case] acts: Vec<Act>) {
    let peer = RawPeer::start().await;
    peer.plays([acts]);
    let proxy = peer.proxy("").await;
    let (reply, ()) = tokio::join!(proxy.get(ASKED), async {
        eventually("the request is on its way", async || (peer.calls() == 1).then_some(())).await;
        proxy.advance(Duration::from_secs(30));
    });
    reply.assert_problem(504, "upstream_timeout");
    assert_eq!(reply.field("retry-after"), "", "nobody knows when");
    assert_eq!(entries(&proxy).await, 0);
    assert_eq!(peer.calls(), 1, "there was no time left to try again");
}

/// The token that a peer of these tests issues.
const TOKEN: &str = "canary-token/0123456789";

fn repeats_its_token(body: &str) -> Canned {
    Canned::json(body.replace("TOKEN", TOKEN))
}

#[rstest]
#[case::as_it_is(repeats_its_token(r#"{"debug":"Bearer TOKEN"}"#))]
#[case::as_json_may_write_it(Canned::json(format!(r#"{{"debug":"{}"}}"#, TOKEN.replace('/', "\\/"))))]
#[case::in_an_error(Canned { status: 500, ..repeats_its_token("TOKEN") })]
#[case::in_a_page_that_is_not_found(Canned { status: 404, ..repeats_its_token("TOKEN") })]
#[tokio::test]
async fn a_body_with_the_token_in_it_is_not_given_out(
    #[case] canned: Canned,
    #[values(Wire::HttpMock, Wire::TlsHttp2)] wire: Wire,
) {
    let peer = Peer::start(wire).await;
    peer.answers(TOKEN_PATH, [Canned::token(TOKEN)]);
    peer.answers("/express/invoices", [canned, Canned::json(GOOD)]);
    let proxy = peer.proxy("").await;
    let reply = proxy.get(ASKED).await;
    let problem = reply.assert_problem(502, "token_in_answer");
    assert!(!problem.to_string().contains("canary"), "{problem}");
    assert_eq!(entries(&proxy).await, 0);
    assert!((proxy.metric("upstream_errors_total", &[("kind", "token_in_answer")]).await - 1.0).abs() < 0.1);
    assert_eq!(proxy.get(ASKED).await.text(), GOOD, "the next answer is a good one");
}

#[tokio::test]
async fn a_zipped_body_with_the_token_in_it_is_not_given_out() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(TOKEN_PATH, [Canned::token(TOKEN)]);
    let zipped = compress(format!(r#"{{"debug":"{TOKEN}"}}"#).as_bytes()).await;
    peer.answers("/express/invoices", [Canned::json(zipped).with("content-encoding", "gzip")]);
    let proxy = peer.proxy("").await;
    proxy.get(ASKED).await.assert_problem(502, "token_in_answer");
}

#[rstest]
#[case::as_it_is(TOKEN.to_owned())]
#[case::escaped(TOKEN.replace('c', "\\u0063"))]
#[tokio::test]
async fn the_reason_of_a_refusal_does_not_repeat_the_token(#[case] written: String) {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(TOKEN_PATH, [Canned::token(TOKEN)]);
    let body = r#"{"code":"1","message":"TOKEN may not","description":"","fields":[]}"#;
    let body = Canned::json(body.replace("TOKEN", &written));
    peer.answers("/express/invoices", [Canned { status: 403, ..body }]);
    let proxy = peer.proxy("").await;
    let problem = proxy.get(ASKED).await.assert_problem(403, "denied_by_talkdesk");
    assert!(!problem.to_string().contains("canary"), "{problem}");
}

#[tokio::test]
async fn a_field_with_the_token_in_it_is_withheld() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(TOKEN_PATH, [Canned::token(TOKEN)]);
    let canned = Canned::json(GOOD)
        .with("x-debug", &format!("Bearer {TOKEN}"))
        .with("link", &format!("</express/invoices?access_token={TOKEN}>; rel=next"))
        .with("x-plain", "kept");
    peer.answers("/express/invoices", [canned]);
    let proxy = peer.proxy("").await;
    for _ in 0..2 {
        let reply = proxy.get(ASKED).await;
        assert_eq!((reply.status, reply.text().as_str()), (StatusCode::OK, GOOD));
        assert!(!format!("{:?}", reply.fields).contains("canary"), "{:?}", reply.fields);
        assert_eq!(reply.field("x-plain"), "kept");
    }
}

#[rstest]
#[case::at_once(1 << 20)]
#[case::in_small_chunks(7)]
#[tokio::test]
async fn a_stream_breaks_off_before_the_token_is_whole(#[case] chunk: usize) {
    let peer = RawPeer::start().await;
    peer.issues(TOKEN);
    let filler = "a".repeat(20 << 10);
    let body = format!(r#"{{"filler":"{filler}","debug":"{TOKEN}","more":"{filler}"}}"#);
    peer.plays([vec![
        Act::Send(chunked()),
        Act::Chunks(body.into_bytes(), chunk),
        Act::Send(b"0\r\n\r\n".to_vec()),
    ]]);
    let proxy = peer.proxy("cache:\n  max_entry_bytes: 1KiB\n").await;
    let address = proxy.app.addresses().data.clone();
    let request = format!("GET {ASKED} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let heard = crate::support::raw::say(&proxy, request.as_bytes()).await;
    // Of chunked content only the letters count.
    let letters: String = heard.lines().filter(|line| line.len() > 6).collect();
    assert!(!letters.contains(TOKEN) && !heard.contains(TOKEN), "the token was given out");
    assert!(!heard.ends_with("0\r\n\r\n"), "the end is not a clean one");
}
