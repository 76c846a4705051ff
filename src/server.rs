//! Listening, accepting, and ending well: what the data plane and the admin plane have in common.
//!
//! HTTP/1.1 only. A connection has bounded time for a head, bounded room for it, and there are so many at once;
//! beyond that, new ones wait in the system's queue.

mod bare_answer;
mod connection;
mod head_timer;
mod passed;
mod socket_file;
mod stopping;
mod workers;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::body::Body;
use crate::config::{Listen, UnixSocket};
use crate::guard::Connection;
use crate::metrics::Metrics;
use passed::PassedListener;
use socket_file::SocketFile;

pub use connection::serve;
pub use passed::{NotTaken, Passed};
pub use stopping::{Stopping, Word};
pub use workers::Workers;

/// A bound listener.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    /// Whether it was opened by somebody else, and stays open when this process ends.
    is_passed: bool,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    /// With its file, which goes with the listener where it is ours.
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
    /// Who serves them.
    pub workers: Workers,
    /// How long a head may take.
    pub header_timeout: Duration,
    /// Where what never becomes a request is counted.
    pub metrics: Arc<Metrics>,
}

/// What answers the requests of a connection. It is always ready for one (`poll_ready`): what has no room for it answers so.
/// It keeps nothing of a request once its answer is over, since the next head is waited for from then on.
pub trait Answers:
    tower::Service<
        Request<Incoming>,
        Response = Response<Body>,
        Error = Infallible,
        Future: Send + Unpin + 'static,
    > + Clone
    + Send
    + Unpin
    + 'static
{
}

impl<S> Answers for S where
    S: tower::Service<
            Request<Incoming>,
            Response = Response<Body>,
            Error = Infallible,
            Future: Send + Unpin + 'static,
        > + Clone
        + Send
        + Unpin
        + 'static
{
}

/// After an error of accepting (as when the process has too many files open) it is tried again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

impl Listener {
    /// Takes the socket that was passed for an address, or binds it. `key` is its name in the configuration, for the
    /// message; `access` is who may open it, if it is a file.
    ///
    /// # Errors
    /// [`CantListen`]
    pub async fn open(
        listen: &Listen,
        key: &str,
        access: &UnixSocket,
        passed: &mut Passed,
    ) -> Result<Self, CantListen> {
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

    /// The address as it is, with the port that was picked.
    #[must_use]
    pub fn address(&self) -> String {
        match &self.socket {
            Socket::Tcp(listener) => {
                listener.local_addr().map(|address| address.to_string()).unwrap_or_default()
            }
            Socket::Unix(_, file) => format!("unix:{}", file.path().display()),
        }
    }

    /// Serves connections until it is told to stop; returns once those that were open have ended. `make` makes
    /// the service of a connection, or none for a peer that is not let in.
    pub async fn serve<S, M>(self, bounds: Bounds, stopping: Stopping, make: M)
    where
        S: Answers,
        M: Fn(Connection) -> Option<S>,
    {
        let open = TaskTracker::new();
        let begin = |(stream, connection): (Stream, Connection), place: OwnedSemaphorePermit| {
            let Some(service) = make(connection) else { return };
            let (own, stopping) = (bounds.clone(), stopping.clone());
            let serve = |stream: Stream| async move {
                let dropping = stopping.serving.clone();
                let serving: std::pin::Pin<Box<dyn Future<Output = ()> + Send>> = match stream {
                    Stream::Tcp(stream) => Box::pin(connection::serve(stream, service, own, stopping)),
                    Stream::Unix(stream) => Box::pin(connection::serve(stream, service, own, stopping)),
                };
                tokio::select! {
                    () = serving => {}
                    () = dropping.wait() => {}
                }
                drop(place);
            };
            let Some(worker) = bounds.workers.next() else {
                open.spawn(serve(stream));
                return;
            };
            match stream.leave() {
                Ok(stream) => {
                    let arriving = async move {
                        match stream.arrive() {
                            Ok(stream) => serve(stream).await,
                            Err(error) => tracing::warn!(%error, "a connection could not be handed over"),
                        }
                    };
                    open.spawn_on(arriving, worker);
                }
                Err(error) => tracing::warn!(%error, "a connection could not be handed over"),
            }
        };
        loop {
            // A place first: what there is no place for waits in the system's queue.
            let place = Arc::clone(&bounds.connections).acquire_owned();
            let place = tokio::select! {
                Ok(place) = place => place,
                () = stopping.accepting.wait() => break,
            };
            let accepted = tokio::select! {
                accepted = self.accept() => accepted,
                () = stopping.accepting.wait() => break,
            };
            match accepted {
                Ok(accepted) => begin(accepted, place),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
        // What waits in the queue of a socket that was passed is the next process's. The queue of one that goes with
        // this process goes too, so whoever got into it is answered here.
        while !self.is_passed
            && let Ok(place) = Arc::clone(&bounds.connections).try_acquire_owned()
            && let Some(Ok(accepted)) = self.accept().now_or_never()
        {
            begin(accepted, place);
        }
        drop(self);
        open.close();
        tokio::select! {
            () = open.wait() => {}
            () = stopping.serving.wait() => {}
        }
    }

    async fn accept(&self) -> io::Result<(Stream, Connection)> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // An answer is written at once; waiting for more to send would only delay it. Without this a hit of 2 KiB
                // took 0.98 of the processor time, one of 1 MiB 0.96 (medians of 11 and 5 rounds of a second, which is
                // what rounds differ by), and a piece of a stream would wait until the one before is acknowledged.
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
    /// Goes on with a socket that was passed.
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

/// A stream on its way from one runtime to another.
enum Leaving {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Stream {
    /// Takes it off the runtime that it was accepted on.
    fn leave(self) -> io::Result<Leaving> {
        match self {
            Self::Tcp(stream) => stream.into_std().map(Leaving::Tcp),
            Self::Unix(stream) => stream.into_std().map(Leaving::Unix),
        }
    }
}

impl Leaving {
    /// Puts it on the present runtime.
    fn arrive(self) -> io::Result<Stream> {
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
