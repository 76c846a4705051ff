//! A connection in memory to the proxy, with the simulated Talkdesk behind it, and one to a bare hyper server: what
//! `parts.rs` and the example `hits` measure.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use billing_insights_proxy::app::App;
use billing_insights_proxy::clock::Clock;
use billing_insights_proxy::config::{Environment, parse};
use billing_insights_proxy::guard::Connection;
use billing_insights_proxy::proxy::envelope::Envelope;
use billing_insights_proxy::proxy::listener::Listener;
use billing_insights_proxy::server::serve;
use billing_insights_proxy::simulator::{Options, Simulator};
use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_util::sync::CancellationToken;

const REQUEST: &[u8] =
    b"GET /organizations/organization-1/express/products HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\
    User-Agent: hits\r\nAccept: application/json\r\n\r\n";

/// A connection to the proxy, and what has to live as long as it.
pub(crate) async fn proxy() -> (DuplexStream, (App, Simulator)) {
    let clock = Clock::System;
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options::synthetic(1, 1, 10);
    let simulator = Simulator::start(options, clock.clone()).await.expect("a simulator");
    simulator.write_credentials(folder.path()).expect("secrets");
    let credential = &simulator.credentials()[0];
    let yaml = format!(
        "server: {{ listen: \"127.0.0.1:0\", admin: \"127.0.0.1:0\" }}\nlog: {{ access: false, level: error }}\n\
         upstream: {{ api_url: \"{}\", token_url: \"{}\" }}\norganizations:\n  - {{ id: {account}, \
         discover_accounts: false, credential: {{ account: {account}, client_id: \"{}\", \
         client_secret: {{ file: {} }} }} }}\n",
        simulator.url(),
        simulator.token_url(),
        credential.client_id,
        credential.file_name(),
        account = credential.account,
    );
    let config = parse(&yaml, "hits.yaml", folder.path(), &Environment::empty()).expect("a configuration");
    let app = App::start(config, clock).await.expect("a proxy");
    let peer = "127.0.0.1:50000".parse().expect("an address");
    let local = "127.0.0.1:8080".parse().expect("an address");
    let entrance = Arc::new(Listener::for_all_tenants("127.0.0.1:8080"));
    let envelope = Envelope::new(Arc::clone(app.proxy()), Connection::Tcp { peer, local }, entrance, None);
    let (near, far) = tokio::io::duplex(64 * 1024);
    tokio::spawn(serve(far, envelope, Duration::from_secs(10), CancellationToken::new()));
    (near, (app, simulator))
}

/// A connection to hyper alone, and a body of about the same size.
pub(crate) fn bare() -> DuplexStream {
    let body = Bytes::from(vec![b'x'; 2048]);
    let service = service_fn(move |_| {
        let mut response = Response::new(Full::new(body.clone()));
        let fields: &mut HeaderMap = response.headers_mut();
        fields.insert("content-type", "application/json".parse().expect("a value"));
        async move { Ok::<_, Infallible>(response) }
    });
    let (near, far) = tokio::io::duplex(64 * 1024);
    let serving = http1::Builder::new().serve_connection(TokioIo::new(far), service);
    tokio::spawn(async move { drop(serving.await) });
    near
}

/// Asks, and reads the answer to its end.
pub(crate) async fn ask(connection: &mut DuplexStream, buffer: &mut [u8]) -> usize {
    connection.write_all(REQUEST).await.expect("it listens");
    let mut read = 0;
    loop {
        let more = connection.read(&mut buffer[read..]).await.expect("an answer");
        assert!(more > 0, "the connection ended");
        read += more;
        let answer = &buffer[..read];
        let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&answer[..end]).expect("text");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let body: usize = length.and_then(|length| length.parse().ok()).expect("a length");
        if read == end + 4 + body {
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            return read;
        }
    }
}
