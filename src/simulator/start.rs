//! Starting and stopping a simulator.
//!
//! Deliberately absent: the command line, and waiting for a signal.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::certificate;
use super::control::Control;
use super::credentials::{Credential, write_file};
use super::listener::{Serving, accept};
use super::options::Options;
use super::world::World;
use crate::clock::Clock;

/// A running simulator. It stops when this is dropped; [`Simulator::shutdown`] also waits for it.
pub struct Simulator {
    address: SocketAddr,
    world: Arc<World>,
    ca_pem: Option<String>,
    tasks: TaskTracker,
    stop: DropGuard,
}

/// Why a simulator can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address can't be had.
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
    /// Starts one. Identity and API share its address.
    pub async fn start(options: Options, clock: Clock) -> Result<Self, StartError> {
        // Fails where somebody installed one before, and then there is one.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let asked = options.listen;
        let listener = TcpListener::bind(asked).await.map_err(|error| StartError::Listen(asked, error))?;
        let address = listener.local_addr().map_err(|error| StartError::Listen(asked, error))?;
        let certificate = if options.tls { Some(certificate::generate()?) } else { None };
        let (tls, ca_pem) = certificate.map(|made| (made.config, made.ca_pem)).unzip();
        let url = options.public_url.clone().unwrap_or_else(|| url_of(address, options.tls));
        let url = url.trim_end_matches('/').to_owned();
        let world = Arc::new(World::new(options, url, clock)?);
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let serving = Serving { world: Arc::clone(&world), tls, stop: stop.clone(), tasks: tasks.clone() };
        tasks.spawn(accept(serving, listener));
        Ok(Self { address, world, ca_pem, tasks, stop: stop.drop_guard() })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base of its URLs: `http://127.0.0.1:port` or `https://localhost:port`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.world.url
    }

    /// Its token URL for all accounts, with `{account}` in it, as the proxy's configuration wants it.
    #[must_use]
    pub fn token_url(&self) -> String {
        self.world.token_url("{account}")
    }

    /// The authority that signed its certificate, with TLS.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// Its counters and faults.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::new(Arc::clone(&self.world))
    }

    /// The credentials in force.
    #[must_use]
    pub fn credentials(&self) -> Vec<Credential> {
        self.world.credentials.all()
    }

    /// Writes each credential into a file of its own with mode 0600, and with TLS `ca.pem`; makes the folder if
    /// need be.
    pub fn write_credentials(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let mut paths = self.world.credentials.write_to(folder)?;
        if let Some(pem) = &self.ca_pem {
            paths.push(write_file(folder, "ca.pem", pem)?);
        }
        Ok(paths)
    }

    /// Breaks all connections, and returns when the port is free.
    pub async fn shutdown(self) {
        drop(self.stop);
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Simulator").field("url", &self.world.url).finish_non_exhaustive()
    }
}

/// Clients reach an unspecified address by loopback; a certificate is for a name.
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
