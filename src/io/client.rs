//! The upstream HTTP client: pooled connections over TLS. This is the only file that opens outbound sockets.
//!
//! It uses HTTP/1.1 or HTTP/2 as negotiated by ALPN, and connects through `upstream.proxy` or `HTTPS_PROXY` if
//! one is set. Certificates are always verified against the system's roots and `upstream.ca_file`; verification
//! can't be turned off. Redirects are not followed, because a token must not be sent to a host that the server
//! chooses.
//!
//! Deliberately absent: retries and a time limit for the whole request (see `upstream::origin`).

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::legacy::{Client, Error as LegacyError};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::net::TcpStream;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt as _};

use crate::clock::{Clock, Elapsed};
use crate::config::{Config, Upstream};
use crate::io::joined_writes::JoinedWrites;

/// Sends a request and returns the head of the response. Tests replace the client here.
pub type Outbound = BoxCloneSyncService<Request<Full<Bytes>>, Response<Incoming>, Failure>;

/// A request that got no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {detail}")]
pub struct Failure {
    /// The step that failed.
    pub kind: FailureKind,
    /// The error chain, for logs and messages. It contains addresses and protocol errors, never field values.
    pub detail: String,
}

/// The step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// No connection: name resolution, routing or the port failed.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The connection ended before a response began.
    Reset,
    /// The data received is not HTTP.
    Protocol,
    /// The time limit for connecting passed, or the system reported a timeout.
    Timeout,
}

/// The client can't be built, because its trust roots can't be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoTrust(String);

/// The longest response head, in bytes.
const LONGEST_HEAD: usize = 64 * 1024;

/// Shorter than the idle timeout of common servers, so that a connection is not reused just as the server closes
/// it.
const POOL_IDLE: Duration = Duration::from_secs(45);

/// Interval and timeout of HTTP/2 PING frames: a connection whose peer has disappeared is detected within twice
/// this time.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

impl FailureKind {
    /// The name in metrics and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
        }
    }
}

impl std::fmt::Display for FailureKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Builds the client of a configuration.
///
/// # Errors
/// [`NoTrust`] if a certificate authority is needed and none can be read.
pub fn outbound(config: &Config, clock: &Clock) -> Result<Outbound, NoTrust> {
    let upstream = &config.upstream;
    let tls = tls(upstream, config.needs_tls())?;
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(upstream.connect_timeout));
    let dial = Dial { tcp, proxies: Arc::new(proxies(upstream)) };
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(dial);
    let connector = Timed { https, limit: upstream.connect_timeout, clock: clock.clone() };
    let client: Client<Timed, Full<Bytes>> = Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .http1_max_buf_size(LONGEST_HEAD)
        .http2_max_header_list_size(u32::try_from(LONGEST_HEAD).unwrap_or(u32::MAX))
        .http2_adaptive_window(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .http2_keep_alive_timeout(KEEP_ALIVE)
        .build(connector);
    Ok(BoxCloneSyncService::new(client.map_err(|error| failure(&error))))
}

fn tls(upstream: &Upstream, needed: bool) -> Result<rustls::ClientConfig, NoTrust> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = &upstream.ca_file {
        let unreadable = |reason: &dyn std::fmt::Display| {
            NoTrust(format!("upstream.ca_file {}: {reason}", file.display()))
        };
        let certificates = CertificateDer::pem_file_iter(file).map_err(|error| unreadable(&error))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| unreadable(&error))?;
            roots.add(certificate).map_err(|error| unreadable(&error))?;
        }
    }
    if needed && roots.is_empty() {
        return Err(NoTrust(
            "no certificate authority is known: install the system's (Debian: ca-certificates) or set upstream.ca_file"
                .into(),
        ));
    }
    // Set the provider explicitly: a second one may be linked in, and rustls could then not choose a default.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| NoTrust(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn proxies(upstream: &Upstream) -> Matcher {
    match &upstream.proxy {
        Some(proxy) => Matcher::builder().all(proxy.to_string()).build(),
        None => Matcher::from_env(),
    }
}

/// Connects directly, or through a forward proxy with `CONNECT`.
#[derive(Clone)]
struct Dial {
    tcp: HttpConnector,
    proxies: Arc<Matcher>,
}

type Dialing<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;
type Socket = TokioIo<JoinedWrites<TcpStream>>;

impl Service<Uri> for Dial {
    type Response = Socket;
    type Error = BoxError;
    type Future = Dialing<Socket>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Service::poll_ready(&mut self.tcp, context).map_err(Into::into)
    }

    fn call(&mut self, destination: Uri) -> Dialing<Socket> {
        let mut tcp = self.tcp.clone();
        let proxy = if is_loopback(&destination) { None } else { self.proxies.intercept(&destination) };
        Box::pin(async move {
            let Some(proxy) = proxy else { return Ok(joined(tcp.call(destination).await?)) };
            let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
            if let Some(authorization) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(authorization.clone());
            }
            Ok(joined(tunnel.call(destination).await?))
        })
    }
}

fn joined(stream: TokioIo<TcpStream>) -> Socket {
    TokioIo::new(JoinedWrites(stream.into_inner()))
}

impl Connection for JoinedWrites<TcpStream> {
    fn connected(&self) -> Connected {
        self.0.connected()
    }
}

/// Whether the destination is this machine, which a forward proxy can't reach.
fn is_loopback(destination: &Uri) -> bool {
    let host = destination.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Bounds the whole connection setup: name resolution, TCP, forward proxy and TLS.
#[derive(Clone)]
struct Timed {
    https: HttpsConnector<Dial>,
    limit: Duration,
    clock: Clock,
}

impl Service<Uri> for Timed {
    type Response = <HttpsConnector<Dial> as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = Dialing<Self::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, destination: Uri) -> Self::Future {
        let (connecting, limit, clock) = (self.https.call(destination), self.limit, self.clock.clone());
        Box::pin(async move { clock.timeout(limit, connecting).await? })
    }
}

fn failure(error: &LegacyError) -> Failure {
    let chain = chain(error);
    let kind = if error.is_connect() {
        if chain.iter().any(|error| error.is::<Elapsed>() || is_timed_out(*error)) {
            FailureKind::Timeout
        } else if chain.iter().any(|error| is_tls(*error)) {
            FailureKind::Tls
        } else {
            FailureKind::Connect
        }
    } else if chain.iter().any(|error| is_protocol(*error)) {
        FailureKind::Protocol
    } else {
        FailureKind::Reset
    };
    let detail: Vec<String> = chain.iter().map(ToString::to_string).collect();
    Failure { kind, detail: detail.join(": ") }
}

fn chain<'a>(error: &'a (dyn std::error::Error + 'static)) -> Vec<&'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source()).take(8).collect()
}

/// Whether the error, or the one inside an `io::Error` (which is not in its source chain), comes from TLS.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    error.is::<rustls::Error>() || wrapped(error).is_some_and(is_tls)
}

fn wrapped<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a (dyn std::error::Error + 'static)> {
    let inner = error.downcast_ref::<std::io::Error>()?.get_ref()?;
    Some(inner)
}

fn is_timed_out(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut)
}

fn is_protocol(error: &(dyn std::error::Error + 'static)) -> bool {
    error
        .downcast_ref::<hyper::Error>()
        .is_some_and(|error| error.is_parse() || error.is_parse_status() || error.is_parse_too_large())
}

/// Connects to a listener on this machine, for a command that queries a running proxy.
///
/// # Errors
/// If there is no connection within `patience`.
pub fn connect_to_own_machine(
    address: SocketAddr,
    patience: Duration,
) -> std::io::Result<std::net::TcpStream> {
    let stream = std::net::TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    Ok(stream)
}
