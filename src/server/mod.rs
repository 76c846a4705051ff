//! Listeners of the data plane and the admin plane: bind, accept, serve and stop.
//!
//! Only HTTP/1.1 is served. The size of a request head, the time it may take and the number of open connections
//! are bounded. Connections above the limit wait in the kernel's accept queue.

mod connection;
mod connection_service;
mod passed;
mod socket_file;
mod workers;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Listen, UnixSocket};
use crate::guard::Connection;
use passed::PassedListener;
use socket_file::SocketFile;

pub use connection::serve;
pub use connection_service::ConnectionService;
pub use passed::{PassedSocketError, PassedSockets};
pub use workers::Workers;

/// A bound listener.
#[derive(Debug)]
pub struct ListeningSocket {
    socket: Socket,
    /// The socket was opened by another process (socket activation) and stays open when this process ends.
    is_passed: bool,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    /// The file is removed when the listener is dropped, unless the socket was passed.
    Unix(UnixListener, SocketFile),
}

/// Binding or adopting a listening socket failed.
#[derive(Debug, thiserror::Error)]
#[error("can't listen at {address} ({key}): {source}{remedy}")]
pub struct ListenError {
    address: String,
    key: String,
    source: io::Error,
    remedy: &'static str,
}

/// Limits and shared resources for the connections of a listener.
#[derive(Clone)]
pub struct Bounds {
    /// One permit per open connection. Every listener that is served with a clone of these bounds shares the
    /// permits.
    pub connections: Arc<Semaphore>,
    /// The threads that serve the connections.
    pub workers: Workers,
    /// The time a client may take to send a request head.
    pub header_timeout: Duration,
}

/// Delay before `accept` is tried again after an error, for example when the process has too many open files.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

impl ListeningSocket {
    /// Adopts the socket that was passed for this address, or binds a new one. `key` is the configuration key of
    /// the address, for error messages. `access` sets mode and group of the file of a Unix socket.
    ///
    /// # Errors
    /// [`ListenError`]
    pub async fn open(
        listen: &Listen,
        key: &str,
        access: &UnixSocket,
        passed: &mut PassedSockets,
    ) -> Result<Self, ListenError> {
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
            ListenError { address: listen.to_string(), key: key.to_owned(), source, remedy }
        };
        if let Some(passed) = passed.take(listen) {
            let socket = Socket::adopt(passed, listen).map_err(refused)?;
            return Ok(Self { socket, is_passed: true });
        }
        let socket = match listen {
            Listen::Tcp(address) => TcpListener::bind(address).await.map(Socket::Tcp).map_err(refused)?,
            Listen::Unix(path) => {
                let (listener, file) = socket_file::listen(path, access).await.map_err(refused)?;
                Socket::Unix(listener, file)
            }
        };
        Ok(Self { socket, is_passed: false })
    }

    /// The bound address, with the port that the system chose if port 0 is configured.
    #[must_use]
    pub fn address(&self) -> String {
        match &self.socket {
            Socket::Tcp(listener) => {
                listener.local_addr().map(|address| address.to_string()).unwrap_or_default()
            }
            Socket::Unix(_, file) => format!("unix:{}", file.path().display()),
        }
    }

    /// Serves connections until `draining` is cancelled, and returns when the open connections have ended. Dropping
    /// the future closes them. `make_service` returns the service for a connection, or `None` to close it at once.
    pub async fn serve<S, M>(self, bounds: Bounds, draining: CancellationToken, make_service: M)
    where
        S: ConnectionService,
        M: Fn(Connection) -> Option<S>,
    {
        let mut open = JoinSet::new();
        let start = |open: &mut JoinSet<()>,
                     (stream, connection): (Stream, Connection),
                     permit: OwnedSemaphorePermit| {
            let Some(service) = make_service(connection) else { return };
            // A token per connection, because each request locks it, and all threads share the listener's.
            let (header_timeout, draining) = (bounds.header_timeout, draining.child_token());
            let serve = move |stream: Stream| async move {
                match stream {
                    Stream::Tcp(stream) => connection::serve(stream, service, header_timeout, draining).await,
                    Stream::Unix(stream) => {
                        connection::serve(stream, service, header_timeout, draining).await;
                    }
                }
                drop(permit);
            };
            let Some(worker) = bounds.workers.next() else {
                open.spawn(serve(stream));
                return;
            };
            match stream.detach() {
                Ok(stream) => {
                    let attaching = async move {
                        match stream.attach() {
                            Ok(stream) => serve(stream).await,
                            Err(error) => tracing::warn!(%error, "a connection could not be handed over"),
                        }
                    };
                    open.spawn_on(attaching, worker);
                }
                Err(error) => tracing::warn!(%error, "a connection could not be handed over"),
            }
        };
        loop {
            // Acquire a permit before accepting: connections above the limit then wait in the kernel's accept
            // queue.
            let permit = Arc::clone(&bounds.connections).acquire_owned();
            let permit = tokio::select! {
                Ok(permit) = permit => permit,
                () = draining.cancelled() => break,
            };
            let accepted = tokio::select! {
                accepted = self.accept() => accepted,
                () = draining.cancelled() => break,
            };
            match accepted {
                Ok(accepted) => start(&mut open, accepted, permit),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
            while open.try_join_next().is_some() {}
        }
        // The accept queue of a passed socket is left to the next process. The queue of an own socket is lost when
        // the socket is closed, so the connections in it are served here.
        while !self.is_passed
            && let Ok(permit) = Arc::clone(&bounds.connections).try_acquire_owned()
            && let Some(Ok(accepted)) = self.accept().now_or_never()
        {
            start(&mut open, accepted, permit);
        }
        drop(self);
        while open.join_next().await.is_some() {}
    }

    async fn accept(&self) -> io::Result<(Stream, Connection)> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Responses are written at once, so Nagle's algorithm would only delay them: a chunk of a streamed
                // response would wait until the previous one is acknowledged. With `TCP_NODELAY` a cache hit of 2
                // KiB took 0.98 of the processor time and one of 1 MiB 0.96 (medians of 11 and 5 rounds of one
                // second), which is within the difference between rounds.
                stream.set_nodelay(true)?;
                let connection = Connection::Tcp { peer, local: stream.local_addr()? };
                Ok((Stream::Tcp(stream), connection))
            }
            Socket::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let user = stream.peer_cred().ok().map(|credentials| credentials.uid());
                Ok((Stream::Unix(stream), Connection::Unix { user }))
            }
        }
    }
}

impl Socket {
    /// Takes over a passed socket.
    fn adopt(passed: PassedListener, listen: &Listen) -> io::Result<Self> {
        match (passed, listen) {
            (PassedListener::Tcp(listener), _) => {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener).map(Self::Tcp)
            }
            (PassedListener::Unix(listener), Listen::Unix(path)) => {
                listener.set_nonblocking(true)?;
                Ok(Self::Unix(UnixListener::from_std(listener)?, SocketFile::of_another(path)))
            }
            (PassedListener::Unix(_), Listen::Tcp(_)) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A stream between two runtimes: deregistered from one, not yet registered with the other.
enum DetachedStream {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Stream {
    /// Deregisters the stream from the runtime that accepted it.
    fn detach(self) -> io::Result<DetachedStream> {
        match self {
            Self::Tcp(stream) => stream.into_std().map(DetachedStream::Tcp),
            Self::Unix(stream) => stream.into_std().map(DetachedStream::Unix),
        }
    }
}

impl DetachedStream {
    /// Registers the stream with the current runtime.
    fn attach(self) -> io::Result<Stream> {
        match self {
            Self::Tcp(stream) => TcpStream::from_std(stream).map(Stream::Tcp),
            Self::Unix(stream) => UnixStream::from_std(stream).map(Stream::Unix),
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
