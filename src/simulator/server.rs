//! Starts a simulator, serves its connections, and passes each request to the control API, the token endpoint or the
//! Billing Insights API.
//!
//! Paths are compared as they are received, without decoding. There is no limit on connections, and shutdown does not
//! wait for requests in progress.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::control::{self, Control};
use super::credentials::{Credential, write_file};
use super::options::Options;
use super::reply::{Answer, AnswerBody, ConnectionAborted};
use super::state::{SimulatorState, lock};
use super::{api, token_endpoint};
use crate::clock::Clock;

/// A running simulator. It stops when this value is dropped. [`Simulator::shutdown`] also waits until it has stopped.
pub struct Simulator {
    address: SocketAddr,
    state: Arc<SimulatorState>,
    ca_pem: Option<String>,
    tasks: TaskTracker,
    stop: DropGuard,
}

/// The reason why a simulator cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The listener could not be bound.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// A key or a certificate could not be generated.
    #[error("cannot generate a key or a certificate: {0}")]
    Key(#[from] rcgen::Error),
    /// The TLS configuration could not be made.
    #[error("cannot configure TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl Simulator {
    /// Starts a simulator. The token endpoint and the API have the same address.
    pub async fn start(options: Options, clock: Clock) -> Result<Self, StartError> {
        // An error means that a provider is already installed.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let asked = options.listen;
        let listener = TcpListener::bind(asked).await.map_err(|error| StartError::Listen(asked, error))?;
        let address = listener.local_addr().map_err(|error| StartError::Listen(asked, error))?;
        let (tls, ca_pem) = options.tls.then(generate_certificate).transpose()?.unzip();
        let url = options.public_url.clone().unwrap_or_else(|| url_of(address, options.tls));
        let url = url.trim_end_matches('/').to_owned();
        let state = Arc::new(SimulatorState::new(options, url, clock)?);
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let connections =
            Connections { state: Arc::clone(&state), tls, stop: stop.clone(), tasks: tasks.clone() };
        tasks.spawn(accept(connections, listener));
        Ok(Self { address, state, ca_pem, tasks, stop: stop.drop_guard() })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base of its URLs: `http://127.0.0.1:port` or `https://localhost:port`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.state.url
    }

    /// The token URL with the placeholder `{account}`, as in the proxy's configuration.
    #[must_use]
    pub fn token_url(&self) -> String {
        self.state.token_url("{account}")
    }

    /// With TLS, the certificate of the authority that signed its certificate.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// A handle to its counters, faults, quirks and credentials.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::new(Arc::clone(&self.state))
    }

    /// The current credentials.
    #[must_use]
    pub fn credentials(&self) -> Vec<Credential> {
        lock(&self.state.credentials).all()
    }

    /// Writes each credential to its own file with mode 0600, and with TLS also `ca.pem`. Creates the folder if it
    /// does not exist.
    pub fn write_credentials(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let mut paths = lock(&self.state.credentials).write_to(folder)?;
        if let Some(pem) = &self.ca_pem {
            paths.push(write_file(folder, "ca.pem", pem)?);
        }
        Ok(paths)
    }

    /// Closes all connections. Returns when the port is free.
    pub async fn shutdown(self) {
        drop(self.stop);
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Simulator").field("url", &self.state.url).finish_non_exhaustive()
    }
}

/// The base URL of a simulator at this address. Clients reach an unspecified address through loopback. With TLS, the
/// host is `localhost`, because the certificate is for this name.
fn url_of(mut address: SocketAddr, tls: bool) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            Ipv4Addr::LOCALHOST.into()
        } else {
            Ipv6Addr::LOCALHOST.into()
        });
    }
    if tls { format!("https://localhost:{}", address.port()) } else { format!("http://{address}") }
}

/// The state that all connections share.
#[derive(Clone)]
struct Connections {
    state: Arc<SimulatorState>,
    tls: Option<Arc<ServerConfig>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Accepts connections until `stop`. The port is free after this function has returned.
async fn accept(connections: Connections, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            () = connections.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connections.clone();
                connections.tasks.spawn(async move {
                    tokio::select! {
                        () = connection.stop.cancelled() => {}
                        () = connect(&connection, stream) => {}
                    }
                });
            }
            // The process probably has too many open files. The pause is in real time, because the clock of a test does
            // not advance by itself.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn connect(connections: &Connections, stream: TcpStream) {
    // Without this option, small answers wait for an acknowledgement. An error only makes them slower.
    let _ = stream.set_nodelay(true);
    match &connections.tls {
        None => serve(connections, stream, true).await,
        Some(config) => {
            // A client that does not trust the certificate reports the error itself.
            if let Ok(stream) = TlsAcceptor::from(Arc::clone(config)).accept(stream).await {
                serve(connections, stream, false).await;
            }
        }
    }
}

async fn serve<S>(connections: &Connections, stream: S, plain: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).auto_date_header(false);
    builder.http2().timer(TokioTimer::new()).auto_date_header(false);
    let builder = if plain { builder.http1_only() } else { builder };
    let service = service_fn(|request| route(Arc::clone(&connections.state), request));
    // An error is a broken connection. Some faults break connections.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// Answers a request. An error makes hyper close the connection.
async fn route(
    state: Arc<SimulatorState>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, ConnectionAborted> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let answer = if path.starts_with("/_simulator/") {
        let body = read_body(body).await;
        Answer::Whole(control::answer(&Control::new(Arc::clone(&state)), &parts, body))
    } else if let Some(account) = token_endpoint::account_of(path).map(str::to_owned) {
        let body = read_body(body).await;
        token_endpoint::answer(&state, parts, &account, body).await
    } else {
        api::answer(&state, parts).await
    };
    answer.into_response(state.clock.now())
}

/// The maximum length of a request body.
const MAX_BODY: usize = 64 * 1024;

/// Reads a request body. The result is `None` if the body is too large or incomplete.
async fn read_body(body: Incoming) -> Option<Bytes> {
    let limited = Limited::new(body, MAX_BODY);
    Some(limited.collect().await.ok()?.to_bytes())
}

/// Generates a certificate for `localhost` and the loopback addresses. Returns the TLS configuration, and the PEM of
/// the authority that signed the certificate.
pub(super) fn generate_certificate() -> Result<(Arc<ServerConfig>, String), StartError> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.distinguished_name.push(DnType::CommonName, "Simulated Talkdesk authority");
    let authority_key = KeyPair::generate()?;
    let ca_pem = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);

    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut server = CertificateParams::new(names)?;
    server.distinguished_name.push(DnType::CommonName, "Simulated Talkdesk");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Strict clients, such as Python 3.13, refuse a certificate without the key id of its authority.
    server.use_authority_key_identifier_extension = true;
    let server_key = KeyPair::generate()?;
    let certificate = server.signed_by(&server_key, &issuer)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server_key.serialize_der()));

    // The crypto provider is named, because rustls has no default provider if two of them are linked.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((Arc::new(config), ca_pem))
}
