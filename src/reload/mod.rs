//! Reloads the configuration: on SIGHUP, on a request of the operator (`POST /api/reload`), or when a file has
//! changed.
//!
//! Reloads run one at a time. If the file has errors, nothing changes and all errors are reported.
//!
//! Deliberately absent: file system notifications. Checking the files every two seconds is sufficient for files
//! that rarely change, and it detects every way to replace a file (Kubernetes replaces a symbolic link above the
//! directory).

pub mod apply;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use self::apply::{ConfigChanges, SecretOutcome};
use crate::clock::Clock;
use crate::config::{Config, Environment, Faults, SecretPlace, load};
use crate::explain::entitled;
use crate::log::audit::{AuditEvent, AuditKind};
use crate::proxy::Proxy;
use crate::service_manager;

/// The source of a configuration.
#[derive(Debug)]
pub struct Source {
    /// The configuration file.
    pub path: PathBuf,
    /// The environment variables that the configuration refers to.
    pub environment: Environment,
}

/// Reloads the configuration of a running proxy.
pub struct Reloader {
    proxy: Arc<Proxy>,
    source: Option<Arc<Source>>,
    /// The listening addresses, for the status line of the service manager.
    addresses: String,
    /// The stamps of the files when they were loaded.
    loaded: Vec<Option<Stamp>>,
    one_at_a_time: Mutex<()>,
}

/// Why a reload was rejected; the old configuration stays in force.
#[derive(Debug, thiserror::Error)]
pub enum NotReloaded {
    /// The proxy was not started from a file.
    #[error("this proxy was not started from a file that could be read again")]
    NoFile,
    /// The file has errors.
    #[error("the configuration is refused, and the old one goes on:\n{0}")]
    Refused(Faults),
}

/// The interval between checks of the files.
const LOOK_EVERY: Duration = Duration::from_secs(2);

impl Reloader {
    /// A reloader for a proxy; without a `source` every reload fails with [`NotReloaded::NoFile`].
    #[must_use]
    pub fn new(proxy: Arc<Proxy>, source: Option<Source>, addresses: String) -> Self {
        let loaded = source.as_ref().map(|source| fingerprint(&proxy, source)).unwrap_or_default();
        Self { proxy, source: source.map(Arc::new), addresses, loaded, one_at_a_time: Mutex::default() }
    }

    /// Reads the file again and applies it.
    ///
    /// # Errors
    /// [`NotReloaded`]
    pub async fn reload(&self) -> Result<ConfigChanges, NotReloaded> {
        let _one = self.one_at_a_time.lock().await;
        service_manager::reloading();
        let reloaded = self.reload_alone().await;
        self.tell_ready(if reloaded.is_ok() { "" } else { "; the last reload was refused" });
        reloaded
    }

    /// Reports readiness to the service manager, with a status line: the addresses, the numbers of entitled and
    /// refused tenants, and `note`.
    pub fn tell_ready(&self, note: &str) {
        let (tenants, entitled) = self.tenants();
        let (addresses, refused) = (&self.addresses, tenants - entitled);
        service_manager::ready(&format!(
            "serving at {addresses}; {entitled} tenants entitled, {refused} refused{note}"
        ));
    }

    /// The number of configured tenants, and how many of them are entitled to at least one request.
    #[must_use]
    pub fn tenants(&self) -> (usize, usize) {
        let (config, now) = (&self.proxy.snapshot().config, self.proxy.clock.now().monotonic);
        (config.tenants.iter().count(), entitled(config, now))
    }

    async fn reload_alone(&self) -> Result<ConfigChanges, NotReloaded> {
        let metrics = &self.proxy.metrics;
        let (config, warnings) = match self.read().await {
            Ok(read) => read,
            Err(not_reloaded) => {
                metrics.config_last_reload_successful.set(0);
                tracing::error!("{not_reloaded}");
                return Err(not_reloaded);
            }
        };
        let changes = ConfigChanges { warnings, ..apply::apply(&self.proxy, config).await };
        metrics.config_last_reload_successful.set(1);
        let now = self.proxy.clock.now().wall;
        let now = now.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
        metrics.config_last_reload_success_timestamp.set(now.as_secs_f64());
        log(&changes);
        Ok(changes)
    }

    /// Reloads on a signal or a file change. There is no client to answer, so the result is only logged, in the
    /// log and in the audit log.
    pub async fn reload_unasked(&self) {
        let done = self.reload().await.is_ok();
        let audit = &self.proxy.audit;
        if audit.is_on() {
            let time = self.proxy.clock.now().wall;
            audit.write(AuditEvent { time, kind: AuditKind::Reload { done }, source: None });
        }
    }

    /// Reads the file; returns the configuration and its warnings as text.
    async fn read(&self) -> Result<(Config, Vec<String>), NotReloaded> {
        let source = Arc::clone(self.source.as_ref().ok_or(NotReloaded::NoFile)?);
        let path = source.path.display().to_string();
        let reading = tokio::task::spawn_blocking(move || load(&source.path, &source.environment)).await;
        let read = reading.unwrap_or_else(|_| Err(Faults::new(&path, Vec::new())));
        let config = read.map_err(NotReloaded::Refused)?;
        let warnings = config.warnings.iter().map(|warning| warning.render(&path)).collect();
        Ok((config, warnings))
    }

    /// Checks the configuration file and the secret files periodically, and reloads when one has changed. It never
    /// returns; drop the future to stop it.
    pub async fn watch(self: Arc<Self>, clock: Clock) {
        let Some(source) = self.source.clone() else { return };
        let mut loaded = self.loaded.clone();
        let mut seen = loaded.clone();
        loop {
            clock.sleep(LOOK_EVERY).await;
            let now = fingerprint(&self.proxy, &source);
            // Wait until the files are unchanged between two checks: a file may be in the middle of being written.
            if now == seen && now != loaded {
                tracing::info!("a file of the configuration has changed");
                loaded = now.clone();
                self.reload_unasked().await;
            }
            seen = now;
        }
    }
}

fn fingerprint(proxy: &Proxy, source: &Source) -> Vec<Option<Stamp>> {
    let snapshot = proxy.snapshot();
    let secrets = snapshot.config.credentials.iter().filter_map(|configured| match &configured.place {
        SecretPlace::File(path) | SecretPlace::CredentialsDirectory(path) => Some(path.as_path()),
        SecretPlace::Environment => None,
    });
    std::iter::once(source.path.as_path()).chain(secrets).map(stamp).collect()
}

/// Identifies a version of a file: device, inode, length, and time of the last status change (seconds,
/// nanoseconds).
type Stamp = (u64, u64, u64, i64, i64);

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.len(), metadata.ctime(), metadata.ctime_nsec()))
}

fn log(changes: &ConfigChanges) {
    for change in &changes.changed {
        tracing::info!(change, "configuration changed");
    }
    for warning in &changes.warnings {
        tracing::warn!("{warning}");
    }
    for key in &changes.needs_restart {
        tracing::warn!(key, "the new value takes a restart");
    }
    for secret in &changes.secrets {
        let tenant = &secret.owner;
        match &secret.outcome {
            SecretOutcome::Proven => tracing::info!(%tenant, "the new secret brought a token"),
            SecretOutcome::NotProven(error) => {
                tracing::error!(%tenant, %error, "the new secret brought no token; the old token serves until it ends");
            }
            SecretOutcome::Kept(reason) => {
                tracing::error!(%tenant, reason, "the secret can't be used; the last one is kept");
            }
        }
    }
    tracing::info!(
        changes = changes.changed.len(),
        secrets = changes.secrets.len(),
        "configuration reloaded"
    );
}
