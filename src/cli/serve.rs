//! `serve`: the proxy for a configuration.

use std::io::IsTerminal as _;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failed, ServeArguments, Told, check, explain, no_dumps};
use crate::app::App;
use crate::clock::Clock;
use crate::config::{Config, Environment, Log, LogFormat};
use crate::reload::{Reloader, Source};

/// Serves until it is told to stop.
pub(super) fn run(arguments: &ServeArguments) -> Result<(), Failed> {
    // Before a secret is read.
    let dumps = no_dumps::forbid();
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
    super::block_on(serve(config, source))
}

async fn serve(config: Config, source: Source) -> Result<(), Failed> {
    let (tenants, entitled) = (config.tenants.iter().count(), explain::entitled(&config));
    // Before it is said that it serves: until then a signal would end the process there and then.
    let (hang_up, told) = (signal(SignalKind::hangup())?, Told::listen()?);
    let app =
        App::start_from(config, Some(source), Clock::System).await.context("the proxy can't be started")?;
    let addresses = app.addresses();
    tracing::info!(
        data = %addresses.data,
        admin = %addresses.admin,
        metrics = addresses.metrics.as_deref().unwrap_or("on the admin listener"),
        further = ?addresses.listeners,
        tenants,
        entitled,
        refused = tenants - entitled,
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
    let reloading = tokio::spawn(reload_on_signal(hang_up, Arc::clone(app.reloader())));
    run_until_told(app, told).await;
    reloading.abort();
    Ok(())
}

/// Reads the configuration again whenever the process is told to hang up.
async fn reload_on_signal(mut hang_up: Signal, reloader: Arc<Reloader>) {
    while hang_up.recv().await.is_some() {
        reloader.reload_unasked().await;
    }
}

/// Runs until SIGTERM or Ctrl-C, then ends well; a second signal ends at once.
pub(super) async fn run_until_told(app: App, mut told: Told) {
    told.stop().await;
    tracing::info!("stopping; a second signal stops at once");
    app.stop(told.stop()).await;
}

/// Sends what the program logs to standard error. (The access log goes to standard output.)
pub(super) fn start_log(log: &Log) {
    let filter = tracing_subscriber::EnvFilter::builder().parse_lossy(&log.level);
    // It would tell that standard error can't be written by writing there, and panic where that fails: whoever reads
    // the log may have gone, which is no reason to stop serving.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    // A second start in one process keeps the first, which happens in tests only.
    let _ = match log.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
}
