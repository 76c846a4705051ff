//! When another configuration is read: on a signal, on the operator's word, or because a file changed.
//!
//! One reload at a time. A file that is refused changes nothing, and every fault of it is told.
//!
//! Deliberately absent: the system's notifications of changed files. A look at the files every two seconds is enough for
//! what changes once in a month, and sees through every way of replacing one (Kubernetes swaps a link above the folder).

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::audit::{Event, What};
use crate::clock::Clock;
use crate::config::{Config, Environment, Faults, SecretPlace, load};
use crate::proxy::Proxy;
use crate::proxy::explain::entitled;
use crate::proxy::reload::{Changes, SecretOutcome};
use crate::service_manager;

/// Where a configuration comes from.
#[derive(Debug)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// What it takes from outside.
    pub environment: Environment,
}

/// Reads the configuration again.
pub struct Reloader {
    proxy: Arc<Proxy>,
    source: Option<Arc<Source>>,
    /// Where it serves, for the service manager.
    addresses: String,
    /// How the files looked when they were read.
    loaded: Vec<Option<Stamp>>,
    one_at_a_time: Mutex<()>,
}

/// Why the old configuration goes on.
#[derive(Debug, thiserror::Error)]
pub enum NotReloaded {
    /// The proxy was not started from a file.
    #[error("this proxy was not started from a file that could be read again")]
    NoFile,
    /// The file is refused.
    #[error("the configuration is refused, and the old one goes on:\n{0}")]
    Refused(Faults),
}

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

impl Reloader {
    /// What reads a configuration again from where it came from.
    #[must_use]
    pub fn new(proxy: Arc<Proxy>, source: Option<Source>, addresses: String) -> Self {
        let loaded = source.as_ref().map(|source| fingerprint(&proxy, source)).unwrap_or_default();
        Self { proxy, source: source.map(Arc::new), addresses, loaded, one_at_a_time: Mutex::default() }
    }

    /// Reads the file again and goes by it from now on.
    ///
    /// # Errors
    /// [`NotReloaded`]
    pub async fn reload(&self) -> Result<Changes, NotReloaded> {
        let _one = self.one_at_a_time.lock().await;
        service_manager::reloading();
        let reloaded = self.reload_alone().await;
        self.tell_ready(if reloaded.is_ok() { "" } else { "; the last reload was refused" });
        reloaded
    }

    /// Tells the service manager that it serves where, and for whom.
    pub fn tell_ready(&self, note: &str) {
        let (tenants, entitled) = self.tenants();
        let (addresses, refused) = (&self.addresses, tenants - entitled);
        service_manager::ready(&format!(
            "serving at {addresses}; {entitled} tenants entitled, {refused} refused{note}"
        ));
    }

    /// How many tenants the configuration has, and how many of them may ask for something.
    #[must_use]
    pub fn tenants(&self) -> (usize, usize) {
        let (config, now) = (&self.proxy.snapshot().config, self.proxy.clock.now().monotonic);
        (config.tenants.iter().count(), entitled(config, now))
    }

    async fn reload_alone(&self) -> Result<Changes, NotReloaded> {
        let metrics = &self.proxy.metrics;
        let (config, warnings) = match self.read().await {
            Ok(read) => read,
            Err(not_reloaded) => {
                metrics.config_last_reload_successful.set(0);
                tracing::error!("{not_reloaded}");
                return Err(not_reloaded);
            }
        };
        let changes = Changes { warnings, ..self.proxy.reload(config).await };
        metrics.config_last_reload_successful.set(1);
        let now = self.proxy.clock.now().wall;
        let now = now.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
        metrics.config_last_reload_success_timestamp.set(now.as_secs_f64());
        log(&changes);
        Ok(changes)
    }

    /// Reloads because a signal or a changed file says so: nobody is there to be answered. How it went is in the log,
    /// and in the audit log.
    pub async fn reload_unasked(&self) {
        let done = self.reload().await.is_ok();
        let audit = &self.proxy.audit;
        if audit.is_on() {
            let time = self.proxy.clock.now().wall;
            audit.write(Event { time, what: What::Reload { done }, asked: None });
        }
    }

    /// The configuration of the file, and its warnings in words.
    async fn read(&self) -> Result<(Config, Vec<String>), NotReloaded> {
        let source = Arc::clone(self.source.as_ref().ok_or(NotReloaded::NoFile)?);
        let path = source.path.display().to_string();
        let reading = tokio::task::spawn_blocking(move || load(&source.path, &source.environment)).await;
        let read = reading.unwrap_or_else(|_| Err(Faults::new(&path, Vec::new())));
        let config = read.map_err(NotReloaded::Refused)?;
        let warnings = config.warnings.iter().map(|warning| warning.render(&path)).collect();
        Ok((config, warnings))
    }

    /// Looks at the configuration's file and those of its secrets now and then, and reloads where one changed. Returns
    /// only when it is dropped.
    pub async fn watch(self: Arc<Self>, clock: Clock) {
        let Some(source) = self.source.clone() else { return };
        let mut loaded = self.loaded.clone();
        let mut seen = loaded.clone();
        loop {
            clock.sleep(LOOK_EVERY).await;
            let now = fingerprint(&self.proxy, &source);
            // Only once it stands still: a file that is being written is not read half.
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

/// What tells that a file is another: device, inode, length, and when it was changed.
type Stamp = (u64, u64, u64, i64, i64);

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.len(), metadata.ctime(), metadata.ctime_nsec()))
}

fn log(changes: &Changes) {
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
