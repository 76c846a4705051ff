//! The command line: arguments, exit codes, signals.
//!
//! Exit codes: 0 for success, 1 for a failure, 2 for wrong usage or a configuration that is refused.

mod check;
mod completions;
mod demo;
mod explain;
mod health;
mod no_dumps;
mod online;
mod schema;
mod serve;
mod simulate;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::version::VERSION_AND_REVISION;

/// A local caching reverse proxy for the Talkdesk Billing Insights API.
///
/// Tools ask it without credentials; it finds the tenant, refuses those that are not entitled, adds the right
/// OAuth token, keeps to the rate limit, and answers from memory where it can. Begin with `demo`.
#[derive(Debug, Parser)]
#[command(name = "billing-insights-proxy", version = VERSION_AND_REVISION, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a configuration against the real API
    Serve(ServeArguments),
    /// Try it: a simulated Talkdesk with sample tenants, and the proxy before it, without network or credentials
    Demo(DemoArguments),
    /// Run the simulated Talkdesk alone, to develop a tool or a configuration against
    Simulate(SimulateArguments),
    /// Check a configuration: every fault at once, with line and column; with --online against Talkdesk as well
    Check(CheckArguments),
    /// Print the JSON Schema of the configuration, for editors
    Schema(SchemaArguments),
    /// Print what a shell completes commands and flags with
    Completions(CompletionsArguments),
    /// Explain who may ask for what, with which credential, and why not; nothing is asked of Talkdesk
    Explain(ExplainArguments),
    /// Ask a proxy that runs here whether it is ready; the exit code says so, for health checks of containers
    Health(HealthArguments),
}

#[derive(Debug, Args)]
struct ServeArguments {
    /// The configuration (YAML); begin with a copy of config.example.yaml
    #[arg(short, long, env = "BILLING_INSIGHTS_PROXY_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Refuse to start while a tenant's secret is missing, instead of serving the others
    #[arg(long)]
    strict: bool,
}

#[derive(Debug, Args)]
struct ExplainArguments {
    /// Whose request: organizations/ID or instances/NAME
    #[arg(required_unless_present = "all", requires = "path")]
    tenant: Option<String>,
    /// What for, as /express/invoices?page=2
    path: Option<String>,
    /// Every tenant of the configuration and every endpoint
    #[arg(long, conflicts_with = "tenant")]
    all: bool,
    /// How it is written
    #[arg(long, value_enum, default_value = "table")]
    format: MatrixFormat,
    /// The configuration (YAML)
    #[arg(short, long, env = "BILLING_INSIGHTS_PROXY_CONFIG", value_name = "FILE")]
    config: PathBuf,
}

/// How `explain` writes.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum MatrixFormat {
    /// For people
    Table,
    /// RFC 4180
    Csv,
    /// JSON
    Json,
}

#[derive(Debug, Args)]
struct DemoArguments {
    /// Where clients ask; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where the status page and the metrics are
    #[arg(long, default_value = "127.0.0.1:9090", value_name = "ADDRESS")]
    admin: SocketAddr,
    /// Where the simulated Talkdesk listens
    #[arg(long, default_value = "127.0.0.1:9480", value_name = "ADDRESS")]
    simulator: SocketAddr,
}

#[derive(Debug, Args)]
struct SimulateArguments {
    /// Where to listen; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:9480", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Speak HTTPS (HTTP/1.1 and HTTP/2), with a certificate of its own authority (`ca.pem` beside the secrets)
    #[arg(long)]
    tls: bool,
    /// Write the secrets of the sample tenants' OAuth clients into this folder, as `acme-client-secret`
    #[arg(long, value_name = "FOLDER")]
    write_credentials: Option<PathBuf>,
    /// How long tokens live, in seconds
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    token_lifetime: u64,
}

#[derive(Debug, Args)]
struct CheckArguments {
    /// The configuration (YAML)
    #[arg(short, long, env = "BILLING_INSIGHTS_PROXY_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Ask Talkdesk too: for a token of each credential and one record of each endpoint
    #[arg(long)]
    online: bool,
    /// How what was found out online is written
    #[arg(long, value_enum, default_value = "table", requires = "online")]
    format: ReportFormat,
}

/// How `check --online` writes.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ReportFormat {
    /// For people
    Table,
    /// JSON
    Json,
}

#[derive(Debug, Args)]
#[command(after_help = "Where shells look for it:\n  \
    bash  ~/.local/share/bash-completion/completions/billing-insights-proxy\n  \
    zsh   a folder of $fpath, as _billing-insights-proxy\n  \
    fish  ~/.config/fish/completions/billing-insights-proxy.fish")]
struct CompletionsArguments {
    /// The shell to print them for
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
#[command(
    after_help = "An editor with a YAML language server uses it where the configuration begins with\n  \
    # yaml-language-server: $schema=billing-insights-proxy.schema.json"
)]
struct SchemaArguments {
    /// The reference of every key instead, as Markdown
    #[arg(long)]
    markdown: bool,
}

#[derive(Debug, Args)]
struct HealthArguments {
    /// Its admin listener, or `server.metrics`
    #[arg(long, default_value = "127.0.0.1:9090", value_name = "ADDRESS")]
    address: SocketAddr,
    /// Whether the process works, instead of whether it takes requests
    #[arg(long)]
    live: bool,
}

/// How a command failed.
#[derive(Debug)]
enum Failed {
    /// The configuration is refused; the errors have been printed.
    Refused,
    /// Something failed; the error has been printed.
    Told,
    /// Another error, which has yet to be printed.
    Because(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Because(error.into())
    }
}

/// Runs the command.
#[must_use]
pub fn run(arguments: Arguments) -> ExitCode {
    let outcome = match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Simulate(arguments) => simulate::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Health(arguments) => health::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed::Refused) => ExitCode::from(2),
        Err(Failed::Told) => ExitCode::FAILURE,
        Err(Failed::Because(error)) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the future of a serving command on a single-threaded runtime; [`Workers`](crate::server::Workers) have
/// their own threads. Blocking tasks that are left at the end, such as a name lookup, are not awaited.
fn block_on(serving: impl Future<Output = Result<(), Failed>>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(serving);
    runtime.shutdown_background();
    outcome
}

/// SIGTERM and SIGINT (Ctrl-C). Without a handler each of them ends the process.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Installs the handlers.
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next signal.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
