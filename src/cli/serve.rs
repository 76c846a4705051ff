//! `serve`: runs the proxy with a configuration.

use std::io::IsTerminal as _;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::arguments::{Failed, ServeArguments};
use super::runtime::StopSignals;
use super::{check, no_dumps};
use crate::app::{App, Listeners, StartError};
use crate::clock::Clock;
use crate::config::{Config, Environment, Log, LogFormat};
use crate::reload::{Reloader, Source};
use crate::server::{PassedSocketError, PassedSockets, Workers};
use crate::service_manager;
use crate::version::{REVISION, VERSION};

/// Serves until the process is told to stop.
pub(super) fn run(arguments: &ServeArguments) -> Result<(), Failed> {
    // Before any secret is read.
    let dumps = no_dumps::forbid();
    // Before a second thread is started: it removes environment variables.
    let passed = PassedSockets::from_environment().map_err(|error| passed_socket_error(&error))?;
    let config = check::load(&arguments.config)?;
    start_log(&config.log);
    if let Err(reason) = dumps {
        tracing::warn!(%reason, "core dumps can't be turned off: one would hold secrets");
    }
    for warning in &config.warnings {
        tracing::warn!("{}", warning.render(&arguments.config.display().to_string()));
    }
    let missing = check::unavailable_secrets(&config);
    for (owner, reason) in &missing {
        tracing::error!(tenant = %owner, %reason, "no secret: this tenant is answered 503 secret_unavailable");
    }
    if arguments.strict && !missing.is_empty() {
        eprintln!("error: --strict, and {} of the secrets can't be used (see above)", missing.len());
        return Err(Failed::Refused);
    }
    let source = Source { path: arguments.config.clone(), environment: Environment::of_process() };
    super::runtime::block_on(serve(config, source, passed))
}

/// The passed sockets do not match the configuration. A restart would not help, so the exit code is that of a
/// refused configuration.
fn passed_socket_error(error: &PassedSocketError) -> Failed {
    for line in error.to_string().lines() {
        eprintln!("error: of the sockets that the service manager passed (LISTEN_FDS), {line}");
    }
    Failed::Refused
}

async fn serve(config: Config, source: Source, passed: PassedSockets) -> Result<(), Failed> {
    // Install the signal handlers before readiness is reported: without a handler, SIGHUP ends the process.
    let hang_up = signal(SignalKind::hangup())?;
    let stop = StopSignals::listen()?;
    let listeners = Listeners::open(&config.server, passed).await.map_err(|error| match error {
        StartError::Passed(error) => passed_socket_error(&error),
        other @ (StartError::Listen(_)
        | StartError::Trust(_)
        | StartError::AccessLog(_)
        | StartError::AuditLog(..)) => Failed::Because(anyhow::Error::new(other).context(NOT_STARTED)),
    })?;
    let workers = Workers::start(std::thread::available_parallelism()?).context(NOT_STARTED)?;
    let working = workers.clone();
    let app = App::start_on(config, Some(source), Clock::System, listeners, workers).context(NOT_STARTED)?;
    let addresses = app.addresses();
    let (tenants, entitled) = app.reloader().tenants();
    tracing::info!(
        data = %addresses.data,
        admin = %addresses.admin,
        metrics = addresses.metrics.as_deref().unwrap_or("on the admin listener"),
        further = (!addresses.listeners.is_empty()).then(|| addresses.listeners.join(", ")),
        tenants,
        entitled,
        refused = tenants - entitled,
        version = VERSION,
        revision = REVISION,
        "serving"
    );
    app.reloader().tell_ready("");
    if let Some(timeout) = service_manager::watchdog() {
        tokio::spawn(service_manager::notify_watchdog(timeout, async move || working.all_respond().await));
    }
    let reloading = tokio::spawn(reload_on_signal(hang_up, Arc::clone(app.reloader())));
    run_until_told(app, stop).await;
    reloading.abort();
    Ok(())
}

const NOT_STARTED: &str = "the proxy can't be started";

/// Reloads the configuration on SIGHUP.
async fn reload_on_signal(mut hang_up: Signal, reloader: Arc<Reloader>) {
    while hang_up.recv().await.is_some() {
        reloader.reload_unasked().await;
    }
}

/// Runs until SIGTERM or SIGINT, then stops gracefully; a second signal stops at once.
pub(super) async fn run_until_told(app: App, mut stop: StopSignals) {
    stop.next().await;
    tracing::info!("stopping; a second signal stops at once");
    service_manager::stopping("stopping: what is under way is finished");
    app.stop(stop.next()).await;
}

/// Sends the log of the program to standard error. (The access log is written to standard output.)
pub(super) fn start_log(log: &Log) {
    let filter = tracing_subscriber::EnvFilter::builder().parse_lossy(&log.level);
    // The subscriber reports its own write errors to standard error, and panics if that fails. A closed standard
    // error must not stop the proxy.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    // A second call in one process keeps the first subscriber, which happens only in tests.
    let _ = match log.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
}
