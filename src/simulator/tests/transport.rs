//! TLS, shutdown, and invalid HTTP.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::caller::Caller;
use crate::clock::Clock;
use crate::simulator::{Fault, FaultKind, Options, Simulator, Target, samples};

fn trusting(pem: &str) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    builder.with_root_certificates(roots).with_no_client_auth()
}

#[tokio::test]
async fn tls_serves_http_1_and_http_2_with_a_certificate_of_its_own_authority() {
    let options = Options { tls: true, ..samples() };
    let simulator = Simulator::start(options, Clock::System).await.unwrap();
    assert!(simulator.url().starts_with("https://localhost:"));
    let folder = tempfile::tempdir().unwrap();
    let paths = simulator.write_credentials(folder.path()).unwrap();
    assert!(paths.last().unwrap().ends_with("ca.pem"));
    let pem = std::fs::read_to_string(paths.last().unwrap()).unwrap();
    assert_eq!(Some(pem.as_str()), simulator.ca_pem());
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let connector = HttpsConnectorBuilder::new().with_tls_config(trusting(&pem)).https_only();
        let connector = if version == Version::HTTP_2 {
            connector.enable_all_versions().build()
        } else {
            connector.enable_http1().build()
        };
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
        let uri = format!("{}/_simulator/counters", simulator.url());
        let response = client.request(Request::get(uri).body(Full::default()).unwrap()).await.unwrap();
        assert_eq!(response.version(), version);
        assert!(!response.into_body().collect().await.unwrap().to_bytes().is_empty());
        let uri = format!("{}/express/products", simulator.url());
        let request = || Request::get(&uri).body(Full::default()).unwrap();
        simulator.control().inject(Fault::once(Target::Api, FaultKind::Truncate)).unwrap();
        let response = client.request(request()).await.unwrap();
        assert!(response.into_body().collect().await.is_err());
        simulator.control().inject(Fault::once(Target::Api, FaultKind::Close)).unwrap();
        assert!(client.request(request()).await.is_err());
        assert_eq!(client.request(request()).await.unwrap().status(), 401);
    }
    simulator.shutdown().await;
}

#[tokio::test]
async fn shutdown_frees_the_port_and_ends_open_connections() {
    let simulator = Simulator::start(samples(), Clock::System).await.unwrap();
    let address = simulator.address();
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /express/products HTTP/1.1\r\n").await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), simulator.shutdown()).await.unwrap();
    let ended = idle.read(&mut [0; 16]).await;
    assert!(matches!(ended, Ok(0) | Err(_)));
    TcpListener::bind(address).await.unwrap();
}

#[tokio::test]
async fn the_error_of_a_port_in_use_names_the_address() {
    let simulator = Simulator::start(samples(), Clock::System).await.unwrap();
    let options = Options { listen: simulator.address(), ..samples() };
    let error = Simulator::start(options, Clock::System).await.unwrap_err();
    assert!(error.to_string().contains(&simulator.address().to_string()));
}

#[tokio::test]
async fn the_public_url_comes_from_the_options_and_the_date_from_the_clock() {
    let options = Options { public_url: Some("http://talkdesk.test/".to_owned()), ..samples() };
    let simulator = Simulator::start(options, Clock::System).await.unwrap();
    assert_eq!(simulator.token_url(), "http://talkdesk.test/{account}/oauth/token");
    let caller = Caller::new().await;
    caller.clock.advance(Duration::from_hours(24 * 365));
    let answer = caller.get("/express/products", "unknown").await;
    let date = httpdate::parse_http_date(answer.field("date").unwrap()).unwrap();
    let now = Clock::Manual(caller.clock.clone()).now().wall;
    assert!(now.duration_since(date).unwrap() < Duration::from_secs(2));
}

#[tokio::test]
async fn invalid_requests_get_no_server_error() {
    let caller = Caller::new().await;
    for request in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"GET /express/invoices?page=%ff%00&from=\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET //oauth/token HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /acme/oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n\xff%zz&&==%",
        b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(caller.simulator.address()).await.unwrap();
        stream.write_all(request).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP/1.1 5"), "{}", String::from_utf8_lossy(&answer));
    }
    caller.token("acme").await;
}
