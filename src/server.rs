//! Listening, accepting, and ending well: what the data plane and the admin plane have in common.
//!
//! HTTP/1.1 only. A connection has bounded time for a head, bounded room for it, and there are so many at once;
//! beyond that, new ones wait in the system's queue.

mod bare_answer;
mod socket_file;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::body::Body;
use crate::config::{Listen, UnixSocket};
use crate::guard::Connection;
use crate::metrics::Metrics;
use bare_answer::Dressed;

pub use socket_file::SocketFile;

/// A bound listener.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket, whose file is removed when the listener goes.
    Unix(UnixListener, SocketFile),
}

/// An address can't be listened at.
#[derive(Debug, thiserror::Error)]
#[error("can't listen at {address} ({key}): {source}{remedy}")]
pub struct CantListen {
    address: String,
    key: String,
    source: io::Error,
    remedy: &'static str,
}

/// What bounds the connections of a listener.
#[derive(Clone)]
pub struct Bounds {
    /// Connections open at once; shared by all listeners.
    pub connections: Arc<Semaphore>,
    /// How long a head may take.
    pub header_timeout: Duration,
    /// Where what never becomes a request is counted.
    pub metrics: Arc<Metrics>,
}

/// When to stop, in two steps.
#[derive(Clone, Debug, Default)]
pub struct Stopping {
    /// No more connections are taken, and those that are open end after the request they are at.
    pub accepting: CancellationToken,
    /// Whatever is still open is dropped.
    pub serving: CancellationToken,
}

/// The longest head of a request.
const LONGEST_HEAD: usize = 32 * 1024;

/// The most fields of a request.
const MOST_FIELDS: usize = 128;

/// After an error of accepting (as when the process has too many files open) it is tried again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

impl Listener {
    /// Binds an address. `key` is its name in the configuration, for the message; `access` is who may open it, if
    /// it is a file.
    ///
    /// # Errors
    /// [`CantListen`]
    pub async fn bind(listen: &Listen, key: &str, access: &UnixSocket) -> Result<Self, CantListen> {
        let refused = |source: io::Error| {
            #[expect(clippy::wildcard_enum_match_arm, reason = "the system's errors are not a closed set")]
            let remedy = match source.kind() {
                io::ErrorKind::AddrInUse => "; another program has it: stop that, or choose another address",
                io::ErrorKind::PermissionDenied => {
                    "; choose a port above 1023, or a folder and a group that this process may use"
                }
                io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
                _ => "",
            };
            CantListen { address: listen.to_string(), key: key.to_owned(), source, remedy }
        };
        match listen {
            Listen::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp).map_err(refused),
            Listen::Unix(path) => {
                let (listener, file) = socket_file::listen(path, access).await.map_err(refused)?;
                Ok(Self::Unix(listener, file))
            }
        }
    }

    /// The address as it is, with the port that was picked.
    #[must_use]
    pub fn address(&self) -> String {
        match self {
            Self::Tcp(listener) => {
                listener.local_addr().map(|address| address.to_string()).unwrap_or_default()
            }
            Self::Unix(_, file) => format!("unix:{}", file.path().display()),
        }
    }

    /// Serves connections until it is told to stop; returns once those that were open have ended. `make` makes
    /// the service of a connection, or none for a peer that is not let in.
    pub async fn serve<S, M>(self, bounds: Bounds, stopping: Stopping, make: M)
    where
        M: Fn(Connection) -> Option<S>,
        S: tower::Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send + 'static,
    {
        let graceful = GracefulShutdown::new();
        loop {
            // A place first: what there is no place for waits in the system's queue.
            let place = Arc::clone(&bounds.connections).acquire_owned();
            let place = tokio::select! {
                Ok(place) = place => place,
                () = stopping.accepting.cancelled() => break,
            };
            let accepted = tokio::select! {
                accepted = self.accept() => accepted,
                () = stopping.accepting.cancelled() => break,
            };
            let (stream, connection) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            };
            let Some(service) = make(connection) else { continue };
            let serving = connection_of(stream, service, &bounds, &graceful);
            let serving_ends = stopping.serving.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = serving => {}
                    () = serving_ends.cancelled() => {}
                }
                drop(place);
            });
        }
        drop(self);
        tokio::select! {
            () = graceful.shutdown() => {}
            () = stopping.serving.cancelled() => {}
        }
    }

    async fn accept(&self) -> io::Result<(Stream, Connection)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // An answer is written at once; waiting for more to send would only delay it.
                stream.set_nodelay(true)?;
                let connection = Connection::Tcp { peer, local: stream.local_addr()? };
                Ok((Stream::Tcp(stream), connection))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let user = stream.peer_cred().ok().map(|credentials| credentials.uid());
                Ok((Stream::Unix(stream), Connection::Unix { user }))
            }
        }
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

fn connection_of<S>(
    stream: Stream,
    service: S,
    bounds: &Bounds,
    graceful: &GracefulShutdown,
) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>
where
    S: tower::Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    match stream {
        Stream::Tcp(stream) => Box::pin(one(stream, service, bounds, graceful)),
        Stream::Unix(stream) => Box::pin(one(stream, service, bounds, graceful)),
    }
}

fn one<S, T>(
    stream: T,
    service: S,
    bounds: &Bounds,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + 'static + use<S, T>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: tower::Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header_timeout)
        .max_buf_size(LONGEST_HEAD)
        .max_headers(MOST_FIELDS)
        .serve_connection(
            TokioIo::new(Dressed::new(stream, Arc::clone(&bounds.metrics))),
            TowerToHyperService::new(service),
        );
    let watched = graceful.watch(connection);
    async move {
        if let Err(error) = watched.await {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

impl std::fmt::Display for Listen {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}
