//! A Talkdesk that answers what it is told to: httpmock over plain HTTP, or a server of our own over TLS and
//! HTTP/2. Tests that run against both show that the proxy does not depend on how it is connected.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use billing_insights_proxy::clock::ManualClock;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::Proxy;

/// How the proxy reaches its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// httpmock, HTTP/1.1 without TLS.
    HttpMock,
    /// A server of our own, HTTP/2 over TLS.
    TlsHttp2,
}

/// A Talkdesk that answers what it is told to.
pub struct Peer {
    script: Arc<Script>,
    url: String,
    folder: Arc<TempDir>,
    /// Kept alive: httpmock answers while its handle lives.
    _mock: Option<httpmock::MockServer>,
    tls: bool,
}

/// An answer to give.
#[derive(Clone, Debug)]
pub struct Canned {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Bytes,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: http::Method,
    pub target: String,
    pub fields: HeaderMap,
    pub version: Option<Version>,
}

#[derive(Default)]
struct Script {
    answers: Mutex<HashMap<String, Vec<Canned>>>,
    seen: Mutex<Vec<Seen>>,
    /// Requests for the records of an account that does not exist, and the answers to them.
    probes: Mutex<Vec<Seen>>,
    probe_answers: Mutex<HashMap<String, Vec<Canned>>>,
    resets: Mutex<HashMap<String, (h2::Reason, Arc<Notify>)>>,
}

/// Where the peer's tokens come from.
pub const TOKEN_PATH: &str = "/oauth/token";

impl Canned {
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self {
            status: 200,
            fields: vec![("content-type".into(), "application/json".into())],
            body: body.into(),
        }
    }

    /// A page of a list, without records.
    pub fn page() -> Self {
        Self::json(r#"{"_links":{}}"#)
    }

    pub fn status(status: u16) -> Self {
        Self { status, fields: Vec::new(), body: Bytes::new() }
    }

    pub fn token(name: &str) -> Self {
        Self::json(format!(r#"{{"access_token":"{name}","token_type":"Bearer","expires_in":600}}"#))
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }
}

/// What only a request for the records of nobody has in its filter.
const NONEXISTENT: &str = "%27000000000000000000000000%27";

impl Script {
    /// The next answer for a path; the last one stays.
    fn answer(&self, seen: Seen) -> Canned {
        let path = seen.target.split('?').next().unwrap_or_default().to_owned();
        if seen.target.contains(NONEXISTENT) {
            self.probes.lock().expect("no panic").push(seen);
            let mut answers = self.probe_answers.lock().expect("no panic");
            return next(answers.get_mut(&path)).unwrap_or_else(Canned::page);
        }
        self.seen.lock().expect("no panic").push(seen);
        next(self.answers.lock().expect("no panic").get_mut(&path)).unwrap_or_else(|| Canned::status(404))
    }
}

fn next(answers: Option<&mut Vec<Canned>>) -> Option<Canned> {
    let answers = answers?;
    if answers.len() > 1 { Some(answers.remove(0)) } else { answers.first().cloned() }
}

impl Peer {
    pub async fn start(wire: Wire) -> Self {
        let script = Arc::new(Script::default());
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        std::fs::write(folder.path().join("secret"), "s3cret").expect("a secret");
        let peer = match wire {
            Wire::HttpMock => {
                let (mock, url) = http_mock(&script).await;
                Self { script, url, folder, _mock: Some(mock), tls: false }
            }
            Wire::TlsHttp2 => {
                let url = tls_http2(Arc::clone(&script), folder.path()).await;
                Self { script, url, folder, _mock: None, tls: true }
            }
        };
        peer.answers(TOKEN_PATH, [Canned::token("token-1")]);
        peer
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder with its secret, and the certificate of its authority.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// What it answers to a path, whatever the query: one after the other, the last for ever.
    pub fn answers(&self, path: &str, answers: impl IntoIterator<Item = Canned>) {
        self.script.answers.lock().expect("no panic").insert(path.into(), answers.into_iter().collect());
    }

    /// What it answers to a request for the records of an account that does not exist; a page without records unless it
    /// is said.
    pub fn answers_to_probe(&self, path: &str, answers: impl IntoIterator<Item = Canned>) {
        let answers = answers.into_iter().collect();
        self.script.probe_answers.lock().expect("no panic").insert(path.into(), answers);
    }

    /// The requests for the records of an account that does not exist, so far.
    pub fn probes_seen(&self, path: &str) -> Vec<Seen> {
        let seen = self.script.probes.lock().expect("no panic");
        seen.iter().filter(|seen| seen.target.split('?').next() == Some(path)).cloned().collect()
    }

    /// From now on what it answers to a path over HTTP/2 has no end, and is reset for this reason when it is told to.
    pub fn resets(&self, path: &str, reason: h2::Reason) -> Arc<Notify> {
        let go = Arc::new(Notify::new());
        self.script.resets.lock().expect("no panic").insert(path.into(), (reason, Arc::clone(&go)));
        go
    }

    /// The requests to a path so far.
    pub fn seen(&self, path: &str) -> Vec<Seen> {
        let seen = self.script.seen.lock().expect("no panic");
        seen.iter().filter(|seen| seen.target.split('?').next() == Some(path)).cloned().collect()
    }

    pub fn calls(&self, path: &str) -> usize {
        self.seen(path).len()
    }

    /// A proxy in front of it, with one Organization `acme` and one Instance `josephpinetrees` under it.
    pub async fn proxy(&self, further: &str) -> Proxy {
        let ca_file = if self.tls { "\n  ca_file: ca.pem" } else { "" };
        let yaml = format!(
            "upstream:\n  api_url: {url}\n  token_url: {url}{TOKEN_PATH}{ca_file}\n{}\n{}{}",
            super::section(further, "upstream"),
            ONE_ORGANIZATION,
            super::without_section(further, "upstream"),
            url = self.url,
        );
        Proxy::start(&yaml, Arc::clone(&self.folder), ManualClock::new()).await
    }
}

pub const ONE_ORGANIZATION: &str = "
organizations:
  - id: acme
    credential: { account: acme, client_id: id, client_secret: { file: secret } }
    accounts:
      - { id: 5ea75fe7aa224700012eae40, name: josephpinetrees }
    discover_accounts: false
";

async fn http_mock(script: &Arc<Script>) -> (httpmock::MockServer, String) {
    let mock = httpmock::MockServer::start_async().await;
    let script = Arc::clone(script);
    mock.mock_async(move |when, then| {
        when.any_request();
        then.respond_with(move |request: &httpmock::HttpMockRequest| {
            let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
            let canned = script.answer(Seen {
                method: request.method(),
                target,
                fields: request.headers(),
                version: None,
            });
            let mut response = httpmock::HttpMockResponse::builder().status(canned.status);
            for (name, value) in canned.fields {
                response = response.header(name, value);
            }
            response.body(canned.body).build()
        });
    })
    .await;
    let url = format!("http://{}", mock.address());
    (mock, url)
}

async fn tls_http2(script: Arc<Script>, folder: &std::path::Path) -> String {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    std::fs::write(folder.join("ca.pem"), made.cert.pem()).expect("written");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a certificate");
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://localhost:{}", listener.local_addr().expect("an address").port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, script) = (acceptor.clone(), Arc::clone(&script));
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = hyper::service::service_fn(move |request| {
                    std::future::ready(Ok::<_, std::convert::Infallible>(answer(request, &script)))
                });
                let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    url
}

fn answer(request: Request<Incoming>, script: &Script) -> Response<UnsyncBoxBody<Bytes, h2::Error>> {
    let (head, _) = request.into_parts();
    let target = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let reset = script.resets.lock().expect("no panic").get(head.uri.path()).cloned();
    let canned = script.answer(Seen {
        method: head.method,
        target,
        fields: head.headers,
        version: Some(head.version),
    });
    let mut response = Response::builder().status(StatusCode::from_u16(canned.status).expect("a status"));
    for (name, value) in canned.fields {
        response = response.header(name, value);
    }
    let body = match reset {
        None => Full::new(canned.body).map_err(|never| match never {}).boxed_unsync(),
        Some((reason, go)) => {
            let data = stream::iter([Ok(Frame::data(canned.body))]);
            let reset = stream::once(async move {
                go.notified().await;
                Err(h2::Error::from(reason))
            });
            StreamBody::new(data.chain(reset)).boxed_unsync()
        }
    };
    response.body(body).expect("a response")
}
