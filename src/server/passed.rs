//! Socket activation: listening sockets that the service manager opened and passed to this process (`LISTEN_FDS`,
//! see `sd_listen_fds(3)`). The sockets outlive the process, so clients that connect during a restart wait in the
//! accept queue until the next process serves them.
//!
//! A configured listener takes the passed socket that has its address. A passed socket without a configured
//! listener is an error: clients could connect to it but would never get a response.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

use crate::config::{Listen, Server, UnixSocket};

/// The passed sockets that no listener has taken yet.
#[derive(Debug, Default)]
pub struct PassedSockets(Vec<Socket>);

/// The passed sockets do not match the configuration.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PassedSocketError(String);

#[derive(Debug)]
struct Socket {
    /// The index of the socket and its name in `LISTEN_FDNAMES`, for error messages.
    name: String,
    place: Place,
    listener: PassedListener,
}

/// A socket of the standard library: it is taken over before a runtime exists.
#[derive(Debug)]
pub(super) enum PassedListener {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
    /// A Unix socket without a file (unnamed or abstract), which no configuration can name.
    Unnamed,
}

impl PassedSockets {
    /// Takes over the passed sockets. Call it once, before a second thread is started, because it removes the
    /// variables from the environment.
    ///
    /// # Errors
    /// [`PassedSocketError`] for a descriptor that is not a listening stream socket.
    pub fn from_environment() -> Result<Self, PassedSocketError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut handed = ListenFd::from_env();
        let sockets = (0..handed.len()).map(|index| {
            let name = match names.next() {
                Some(name) if !name.is_empty() => format!("socket {} ({name})", index + 1),
                _ => format!("socket {}", index + 1),
            };
            Socket::take(&mut handed, index, name)
        });
        sockets.collect::<Result<_, _>>().map(Self)
    }

    /// Compares the passed sockets with the configured listeners, before any of these is opened.
    ///
    /// # Errors
    /// [`PassedSocketError`] with every socket that has no listener, has the address of an earlier socket, or has a file
    /// mode that allows more than the configuration.
    pub fn check(&self, server: &Server) -> Result<(), PassedSocketError> {
        let listeners: Vec<_> = server.addresses().collect();
        let is_for = |socket: &Socket, listen: &Listen| socket.place.is(listen);
        let mut faults = Vec::new();
        for (index, socket) in self.0.iter().enumerate() {
            let Some((key, _)) = listeners.iter().find(|(_, listen)| is_for(socket, listen)) else {
                faults.push(self.without_listener(socket, &listeners));
                continue;
            };
            if self.0[..index].iter().any(|earlier| earlier.place == socket.place) {
                faults.push(format!(
                    "{} is a second one at {}; take one of the two out of the socket unit",
                    socket.name, socket.place
                ));
            } else if let Place::Unix(path) = &socket.place {
                faults.extend(excess_mode(socket, path, key, &server.unix_socket));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(PassedSocketError(faults.join("\n"))) }
    }

    fn without_listener(&self, socket: &Socket, listeners: &[(String, &Listen)]) -> String {
        let place = &socket.place;
        let free = listeners.iter().filter(|(_, listen)| !self.0.iter().any(|other| other.place.is(listen)));
        let free: Vec<_> = free.collect();
        let in_the_unit: Vec<_> =
            free.iter().map(|(key, listen)| format!("{} ({key})", listen_stream(listen))).collect();
        let in_the_file = match (&socket.place, free.first()) {
            (Place::Unnamed, _) | (_, None) => String::new(),
            (_, Some((key, _))) => format!("write `{key}: {place}`, or "),
        };
        if in_the_unit.is_empty() {
            return format!(
                "{} at {place} is for no listener of the configuration, and each of those has a socket; take it \
                 out of the socket unit",
                socket.name
            );
        }
        format!(
            "{} at {place} is for no listener of the configuration; {in_the_file}in the socket unit {}",
            socket.name,
            in_the_unit.join(" or ")
        )
    }

    /// Removes and returns the passed socket for an address, if there is one.
    pub(super) fn take(&mut self, listen: &Listen) -> Option<PassedListener> {
        let index = self.0.iter().position(|socket| socket.place.is(listen))?;
        Some(self.0.remove(index).listener)
    }
}

/// The `ListenStream=` setting of a socket unit for a configured address.
fn listen_stream(listen: &Listen) -> String {
    match listen {
        Listen::Tcp(address) => format!("`ListenStream={address}`"),
        Listen::Unix(path) => format!("`ListenStream={}`", path.display()),
    }
}

/// The socket unit sets the mode of the file (`SocketMode=`, default 0666). A process that can open the file can
/// request the data of every tenant, so a mode that allows more than the configuration is an error.
fn excess_mode(socket: &Socket, path: &Path, key: &str, access: &UnixSocket) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & !access.mode != 0).then(|| {
        format!(
            "{} for {key} has the mode {mode:04o}, which lets in more than `server.unix_socket.mode` does \
             ({:04o}); write `SocketMode={1:04o}` in the socket unit, or `mode: \"{mode:04o}\"`",
            socket.name, access.mode
        )
    })
}

impl Socket {
    fn take(handed: &mut ListenFd, index: usize, name: String) -> Result<Self, PassedSocketError> {
        let refused = |why: &str, remedy: &str| PassedSocketError(format!("{name} {why}; {remedy}"));
        let not_a_stream = |_| {
            refused("is no TCP socket and no Unix stream socket", "write `ListenStream=` in the socket unit")
        };
        let (place, listener) = if let Ok(Some(listener)) = handed.take_tcp_listener(index) {
            let address = listener.local_addr().map_err(not_a_stream)?;
            (Place::Tcp(address), PassedListener::Tcp(listener))
        } else {
            let listener = handed.take_unix_listener(index).map_err(not_a_stream)?;
            let listener = listener.ok_or_else(|| not_a_stream(io::ErrorKind::NotFound.into()))?;
            let path = listener.local_addr().map_err(not_a_stream)?.as_pathname().map(Path::to_owned);
            (path.map_or(Place::Unnamed, Place::Unix), PassedListener::Unix(listener))
        };
        let is_listening = match &listener {
            PassedListener::Tcp(listener) => is_listening(listener),
            PassedListener::Unix(listener) => is_listening(listener),
        };
        if !is_listening {
            return Err(refused("is a connection and no listener", "write `Accept=no` in the socket unit"));
        }
        Ok(Self { name, place, listener })
    }
}

fn is_listening(socket: &impl AsFd) -> bool {
    socket_acceptconn(socket).unwrap_or(false)
}

impl Place {
    fn is(&self, listen: &Listen) -> bool {
        match (self, listen) {
            (Self::Tcp(passed), Listen::Tcp(configured)) => {
                passed.port() == configured.port()
                    && passed.ip().to_canonical() == configured.ip().to_canonical()
            }
            // Resolve symbolic links: `/var/run` and `/run` are the same directory.
            (Self::Unix(passed), Listen::Unix(configured)) => {
                passed == configured
                    || matches!((passed.canonicalize(), configured.canonicalize()), (Ok(one), Ok(other)) if one == other)
            }
            (Self::Tcp(_) | Self::Unix(_) | Self::Unnamed, Listen::Tcp(_) | Listen::Unix(_)) => false,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Self::Unnamed => formatter.write_str("a Unix address without a file"),
        }
    }
}
