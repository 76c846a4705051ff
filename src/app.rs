//! The composition root: the only place that constructs all parts and starts them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::{Admin, Scope};
use crate::clock::Clock;
use crate::config::{Config, Server};
use crate::domain::learned::Learned;
use crate::io::client::{NoTrust, outbound};
use crate::log::access_log::AccessLog;
use crate::log::audit::AuditLog;
use crate::metrics::{Metrics, history};
use crate::proxy::Proxy;
use crate::proxy::envelope::Envelope;
use crate::proxy::listener::Listener;
use crate::reload::{Reloader, Source};
use crate::server::{Bounds, ListenError, ListeningSocket, PassedSocketError, PassedSockets, Workers};
use crate::snapshot::Shared;

/// A running proxy.
pub struct App {
    proxy: Arc<Proxy>,
    reloader: Arc<Reloader>,
    addresses: BoundAddresses,
    /// Set when shutdown begins; `/readyz` reports it.
    is_stopping: Arc<AtomicBool>,
    /// Cancelled when the drain delay has passed: the listeners stop accepting, and connections end.
    draining: CancellationToken,
    drain_delay: Duration,
    drain_timeout: Duration,
    listeners: JoinSet<()>,
    background: JoinSet<()>,
    access_log: Option<AccessLog>,
}

/// The addresses of a proxy's listeners, as bound.
#[derive(Clone, Debug)]
pub struct BoundAddresses {
    /// The data plane.
    pub data: String,
    /// The admin plane.
    pub admin: String,
    /// The listener for metrics and health only, where configured.
    pub metrics: Option<String>,
    /// The additional data listeners, in the order of the configuration.
    pub listeners: Vec<String>,
}

impl std::fmt::Display for BoundAddresses {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.data)?;
        for further in &self.listeners {
            write!(formatter, ", {further}")?;
        }
        write!(formatter, ", admin {}", self.admin)?;
        match &self.metrics {
            Some(metrics) => write!(formatter, ", metrics {metrics}"),
            None => Ok(()),
        }
    }
}

/// The bound listeners of a proxy.
#[derive(Debug)]
pub struct Listeners {
    data: ListeningSocket,
    admin: ListeningSocket,
    metrics: Option<ListeningSocket>,
    restricted: Vec<ListeningSocket>,
}

/// Why a proxy can't be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Binding an address failed.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The sockets passed by the service manager do not match the configuration.
    #[error(transparent)]
    Passed(#[from] PassedSocketError),
    /// No certificate authority is available.
    #[error(transparent)]
    Trust(#[from] NoTrust),
    /// The thread of the access log could not be started.
    #[error("the access log can't be started: {0}")]
    AccessLog(std::io::Error),
    /// The audit log could not be opened for writing, or its thread could not be started.
    #[error(
        "the audit log can't be written to {0} ({1}): make its folder, and let this process write to it (log.audit)"
    )]
    AuditLog(std::path::PathBuf, std::io::Error),
}

/// How often expired cache entries are removed and the cache gauges are set.
const TIDY: Duration = Duration::from_secs(1);

impl Listeners {
    /// Opens every configured address; an address for which a socket was passed adopts that socket.
    ///
    /// # Errors
    /// [`StartError::Passed`] if the passed sockets do not match the configuration; [`StartError::Listen`] for the
    /// first address that can't be bound.
    pub async fn open(server: &Server, mut passed: PassedSockets) -> Result<Self, StartError> {
        passed.check(server)?;
        let passed = &mut passed;
        let access = &server.unix_socket;
        let metrics = match &server.metrics {
            Some(listen) => Some(ListeningSocket::open(listen, "server.metrics", access, passed).await?),
            None => None,
        };
        let mut restricted = Vec::new();
        for (index, listener) in server.listeners.iter().enumerate() {
            let key = format!("server.listeners[{index}].listen");
            restricted.push(ListeningSocket::open(&listener.listen, &key, access, passed).await?);
        }
        Ok(Self {
            data: ListeningSocket::open(&server.listen, "server.listen", access, passed).await?,
            admin: ListeningSocket::open(&server.admin, "server.admin", access, passed).await?,
            metrics,
            restricted,
        })
    }

    fn addresses(&self) -> BoundAddresses {
        BoundAddresses {
            data: self.data.address(),
            admin: self.admin.address(),
            metrics: self.metrics.as_ref().map(ListeningSocket::address),
            listeners: self.restricted.iter().map(ListeningSocket::address).collect(),
        }
    }
}

impl App {
    /// Starts a proxy. The upstream API need not be reachable: the proxy starts anyway and serves as soon as it
    /// is.
    ///
    /// # Errors
    /// [`StartError`]
    pub async fn start(config: Config, clock: Clock) -> Result<Self, StartError> {
        Self::start_from(config, None, clock).await
    }

    /// Starts a proxy that can reload its configuration from `source`.
    ///
    /// # Errors
    /// [`StartError`]
    pub async fn start_from(
        config: Config,
        source: Option<Source>,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let listeners = Listeners::open(&config.server, PassedSockets::default()).await?;
        Self::start_on(config, source, clock, listeners, Workers::default())
    }

    /// Starts a proxy on listeners that are already bound; `workers` serve the connections of the data plane.
    ///
    /// # Errors
    /// [`StartError`]
    pub fn start_on(
        config: Config,
        source: Option<Source>,
        clock: Clock,
        listeners: Listeners,
        workers: Workers,
    ) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new());
        metrics.config_last_reload_successful.set(1);
        let loaded = clock.now().wall.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
        metrics.config_last_reload_success_timestamp.set(loaded.as_secs_f64());
        metrics.history.begin(clock.now(), &metrics.reading());
        let audit = match &config.log.audit {
            Some(path) => {
                AuditLog::start(path, &metrics).map_err(|error| StartError::AuditLog(path.clone(), error))?
            }
            None => AuditLog::default(),
        };
        let shared = Shared {
            outbound: outbound(&config, &clock)?,
            clock,
            metrics: Arc::clone(&metrics),
            learned: Arc::new(Learned::default()),
            audit,
        };
        let access_log = if config.log.access {
            let log = AccessLog::start(config.log.format, std::io::stdout(), &metrics);
            Some(log.map_err(StartError::AccessLog)?)
        } else {
            None
        };
        let server = config.server.clone();
        for exposed in server.exposed() {
            tracing::warn!("{exposed}");
        }
        let proxy = Proxy::new(config, &shared);
        let mut app = Self {
            reloader: Arc::new(Reloader::new(Arc::clone(&proxy), source, listeners.addresses().to_string())),
            proxy,
            addresses: listeners.addresses(),
            is_stopping: Arc::default(),
            draining: CancellationToken::new(),
            drain_delay: server.drain_delay,
            drain_timeout: server.drain_timeout,
            listeners: JoinSet::new(),
            background: JoinSet::new(),
            access_log,
        };
        app.listen(listeners, &server, workers);
        app.start_background();
        Ok(app)
    }

    fn listen(&mut self, listeners: Listeners, server: &Server, workers: Workers) {
        let bounds = Bounds {
            connections: Arc::new(Semaphore::new(server.max_connections)),
            workers,
            header_timeout: server.header_timeout,
        };
        // Separate limits: a flood on the data plane must not lock the operator out.
        let admin_bounds = Bounds {
            connections: Arc::new(Semaphore::new(ADMIN_CONNECTIONS)),
            workers: Workers::default(),
            ..bounds.clone()
        };
        let for_all = Listener::for_all_tenants(&listeners.data.address());
        let restricted =
            listeners.restricted.into_iter().zip(&server.listeners).map(|(socket, configured)| {
                let listener = Listener::restricted(&socket.address(), configured);
                (socket, listener)
            });
        for (socket, listener) in std::iter::once((listeners.data, for_all)).chain(restricted) {
            let (proxy, listener, access_log) =
                (Arc::clone(&self.proxy), Arc::new(listener), self.access_log.clone());
            let serving = socket.serve(bounds.clone(), self.draining.clone(), move |connection| {
                let (proxy, listener) = (Arc::clone(&proxy), Arc::clone(&listener));
                Some(Envelope::new(proxy, connection, listener, access_log.clone()))
            });
            self.listeners.spawn(serving);
        }
        let planes = [(Some(listeners.admin), Scope::All), (listeners.metrics, Scope::MetricsOnly)];
        for (listener, scope) in planes {
            let Some(listener) = listener else { continue };
            let (proxy, is_stopping) = (Arc::clone(&self.proxy), Arc::clone(&self.is_stopping));
            let reloader = Arc::clone(&self.reloader);
            let address: Arc<str> = listener.address().into();
            let serving = listener.serve(admin_bounds.clone(), self.draining.clone(), move |connection| {
                let (proxy, is_stopping) = (Arc::clone(&proxy), Arc::clone(&is_stopping));
                Some(Admin::new(
                    proxy,
                    Arc::clone(&reloader),
                    is_stopping,
                    connection,
                    Arc::clone(&address),
                    scope,
                ))
            });
            self.listeners.spawn(serving);
        }
    }

    fn start_background(&mut self) {
        self.background.spawn(Arc::clone(&self.proxy.accounts).keep_current());
        let proxy = Arc::clone(&self.proxy);
        self.background.spawn(async move {
            loop {
                tokio::time::sleep(TIDY).await;
                proxy.cache.tidy();
            }
        });
        let proxy = Arc::clone(&self.proxy);
        self.background.spawn(async move {
            loop {
                proxy.clock.sleep(history::INTERVAL).await;
                proxy.metrics.history.record(proxy.clock.now(), &proxy.metrics.reading());
            }
        });
        if self.proxy.snapshot().config.server.watch {
            self.background.spawn(Arc::clone(&self.reloader).watch(self.proxy.clock.clone()));
        }
    }

    /// Reloads the configuration.
    #[must_use]
    pub fn reloader(&self) -> &Arc<Reloader> {
        &self.reloader
    }

    /// The addresses of the listeners.
    #[must_use]
    pub fn addresses(&self) -> &BoundAddresses {
        &self.addresses
    }

    /// The state that is shared by all listeners.
    #[must_use]
    pub fn proxy(&self) -> &Arc<Proxy> {
        &self.proxy
    }

    /// Stops gracefully: `/readyz` fails at once, connections are accepted for the drain delay, and open requests
    /// then have the drain timeout to finish. When `at_once` completes, the rest is cancelled.
    pub async fn stop(self, at_once: impl Future<Output = ()>) {
        let Self { proxy, is_stopping, draining, mut listeners, mut background, access_log, .. } = self;
        is_stopping.store(true, Ordering::Relaxed);
        let drained = async {
            tokio::time::sleep(self.drain_delay).await;
            draining.cancel();
            let all_ended = async { while listeners.join_next().await.is_some() {} };
            if tokio::time::timeout(self.drain_timeout, all_ended).await.is_err() {
                tracing::warn!("requests were still in flight when the drain timeout ended");
            }
        };
        tokio::select! {
            () = drained => {}
            () = at_once => {}
        }
        background.shutdown().await;
        listeners.shutdown().await;
        let last_lines = tokio::task::spawn_blocking(move || {
            proxy.audit.finish();
            if let Some(access_log) = access_log {
                access_log.finish();
            }
        });
        let _ = last_lines.await;
    }
}

/// Open connections of the admin and metrics listeners together.
const ADMIN_CONNECTIONS: usize = 256;
