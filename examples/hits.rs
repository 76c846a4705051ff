//! What a hit costs beside the least that an HTTP server can do.
//!
//! ```sh
//! cargo run --release --example hits -- proxy 200000
//! cargo run --release --example hits -- bare 200000
//! ```
//!
//! One connection in memory, requests one after the other: first one that fills the cache, then so many hits. `bare` is
//! hyper with the same settings and a body of the same size. Run under `valgrind --tool=callgrind`, the difference
//! between two numbers of requests is the instructions of a request, which are the same each time.

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use billing_insights_proxy::app::App;
use billing_insights_proxy::clock::Clock;
use billing_insights_proxy::config::{Environment, parse};
use billing_insights_proxy::guard::Connection;
use billing_insights_proxy::proxy::entrance::Entrance;
use billing_insights_proxy::proxy::envelope::Envelope;
use billing_insights_proxy::simulator::{Options, Simulator};
use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

const REQUEST: &[u8] =
    b"GET /organizations/organization-1/express/products HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\
    User-Agent: hits\r\nAccept: application/json\r\n\r\n";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (what, requests) = (arguments.next().unwrap_or_default(), arguments.next());
    let requests: usize = requests.and_then(|number| number.parse().ok()).unwrap_or(100_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return ExitCode::FAILURE };
    runtime.block_on(async {
        match what.as_str() {
            "proxy" => proxy(requests).await,
            "bare" => bare(requests).await,
            _ => {
                eprintln!("usage: hits proxy|bare [REQUESTS]");
                return ExitCode::from(2);
            }
        }
        ExitCode::SUCCESS
    })
}

async fn proxy(requests: usize) {
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
    let entrance = Arc::new(Entrance::wide("127.0.0.1:8080"));
    let envelope = Envelope::new(Arc::clone(app.proxy()), Connection::Tcp { peer, local }, entrance, None);
    let (near, far) = tokio::io::duplex(64 * 1024);
    let serving = server().serve_connection(TokioIo::new(far), TowerToHyperService::new(envelope));
    tokio::spawn(async move { drop(serving.await) });
    measure("proxy", near, requests).await;
}

async fn bare(requests: usize) {
    let body = Bytes::from(vec![b'x'; 2048]);
    let service = service_fn(move |_| {
        let mut response = Response::new(Full::new(body.clone()));
        let fields: &mut HeaderMap = response.headers_mut();
        fields.insert("content-type", "application/json".parse().expect("a value"));
        async move { Ok::<_, Infallible>(response) }
    });
    let (near, far) = tokio::io::duplex(64 * 1024);
    let serving = server().serve_connection(TokioIo::new(far), service);
    tokio::spawn(async move { drop(serving.await) });
    measure("bare", near, requests).await;
}

fn server() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10));
    builder
}

async fn measure(what: &str, mut connection: DuplexStream, requests: usize) {
    let mut buffer = vec![0; 64 * 1024];
    let length = ask(&mut connection, &mut buffer).await;
    let length = length.max(ask(&mut connection, &mut buffer).await);
    let clock = Clock::System;
    let began = clock.now();
    for _ in 0..requests {
        ask(&mut connection, &mut buffer).await;
    }
    let each = clock.now().since(began.monotonic) / u32::try_from(requests.max(1)).unwrap_or(u32::MAX);
    println!("{what}: {requests} requests, {length} bytes each, {each:?} each");
}

/// Asks, and reads the answer to its end.
async fn ask(connection: &mut DuplexStream, buffer: &mut [u8]) -> usize {
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
