//! Starts a simulator, serves its connections and sends each request to the control, the token endpoint or the API.
//!
//! Paths are compared as they are received: another spelling is not decoded and finds nothing. There is no limit on
//! connections and no graceful shutdown.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
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
use super::state::State;
use super::{api, identity};
use crate::clock::Clock;

/// A running simulator. It stops when this is dropped; [`Simulator::shutdown`] also waits until it has stopped.
pub struct Simulator {
    address: SocketAddr,
    state: Arc<State>,
    ca_pem: Option<String>,
    tasks: TaskTracker,
    stop: DropGuard,
}

/// Why a simulator can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be bound.
    #[error("can't listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// Keys or certificates could not be made.
    #[error("can't make a key or certificate: {0}")]
    Key(#[from] rcgen::Error),
    /// The certificate could not be used.
    #[error("can't set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl Simulator {
    /// Starts a simulator. Token endpoint and API share its address.
    pub async fn start(options: Options, clock: Clock) -> Result<Self, StartError> {
        // An error means that a provider is installed already.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let asked = options.listen;
        let listener = TcpListener::bind(asked).await.map_err(|error| StartError::Listen(asked, error))?;
        let address = listener.local_addr().map_err(|error| StartError::Listen(asked, error))?;
        let certificate = if options.tls { Some(generate_certificate()?) } else { None };
        let (tls, ca_pem) = certificate.map(|made| (made.config, made.ca_pem)).unzip();
        let url = options.public_url.clone().unwrap_or_else(|| url_of(address, options.tls));
        let url = url.trim_end_matches('/').to_owned();
        let state = Arc::new(State::new(options, url, clock)?);
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let connections =
            Connections { state: Arc::clone(&state), tls, stop: stop.clone(), tasks: tasks.clone() };
        tasks.spawn(accept(connections, listener));
        Ok(Self { address, state, ca_pem, tasks, stop: stop.drop_guard() })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base of its URLs: `http://127.0.0.1:port` or `https://localhost:port`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.state.url
    }

    /// Its token URL, with `{account}` in it, as the proxy's configuration has it.
    #[must_use]
    pub fn token_url(&self) -> String {
        self.state.token_url("{account}")
    }

    /// The authority that signed its certificate, with TLS.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// Its counters and faults.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::new(Arc::clone(&self.state))
    }

    /// The credentials in force.
    #[must_use]
    pub fn credentials(&self) -> Vec<Credential> {
        self.state.credentials.all()
    }

    /// Writes each credential into a file of its own with mode 0600, and with TLS `ca.pem`. Creates the folder if
    /// it does not exist.
    pub fn write_credentials(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let mut paths = self.state.credentials.write_to(folder)?;
        if let Some(pem) = &self.ca_pem {
            paths.push(write_file(folder, "ca.pem", pem)?);
        }
        Ok(paths)
    }

    /// Closes all connections, and returns when the port is free.
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

/// An unspecified address is reached by loopback. The certificate has `localhost`.
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

/// What a connection needs.
#[derive(Clone)]
struct Connections {
    state: Arc<State>,
    tls: Option<Arc<ServerConfig>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Accepts connections until `stop`. The port is free once this has returned.
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
            // Probably out of descriptors. The pause is in real time, because a test's clock may stand still.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn connect(connections: &Connections, stream: TcpStream) {
    // Without this, small answers wait for an acknowledgement. An error here only makes them slower.
    let _ = stream.set_nodelay(true);
    match &connections.tls {
        None => serve(connections, stream, true).await,
        Some(config) => {
            // A client that does not trust the certificate reports that itself.
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
    // An error here is a broken connection, some of them on purpose.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// Answers a request. An error makes hyper close the connection.
async fn route(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, ConnectionAborted> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let answer = if path.starts_with("/_simulator/") {
        let body = read_body(body).await;
        Answer::Whole(control::answer(&Control::new(Arc::clone(&state)), &parts, body))
    } else if let Some(account) = identity::account_of(path).map(str::to_owned) {
        let body = read_body(body).await;
        identity::answer(&state, parts, &account, body).await
    } else {
        api::answer(&state, parts).await
    };
    answer.into_response(state.clock.now())
}

/// The largest request body that is read.
const LARGEST_BODY: usize = 64 * 1024;

/// The request body; none where it is too large or incomplete.
async fn read_body<B>(body: B) -> Option<Bytes>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let limited = Limited::new(body, LARGEST_BODY);
    Some(limited.collect().await.ok()?.to_bytes())
}

/// A certificate of the server, and the authority that signed it.
struct Certificate {
    config: Arc<ServerConfig>,
    ca_pem: String,
}

/// Makes an authority, and with it a certificate for `localhost` and the loopback addresses.
fn generate_certificate() -> Result<Certificate, StartError> {
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
    // Strict clients (Python 3.13 and later) refuse a certificate without its authority's key id.
    server.use_authority_key_identifier_extension = true;
    let server_key = KeyPair::generate()?;
    let certificate = server.signed_by(&server_key, &issuer)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server_key.serialize_der()));

    // The provider is named: there is no default where two are linked.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Certificate { config: Arc::new(config), ca_pem })
}
