//! The arguments of the commands, and how a command fails.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::version::VERSION_AND_REVISION;

/// A local caching reverse proxy for the Talkdesk Billing Insights API.
///
/// Tools ask it without credentials; it finds the tenant, refuses those that are not entitled, adds the right
/// OAuth token, keeps to the rate limit, and answers from memory where it can. Begin with `demo`.
#[derive(Debug, Parser)]
#[command(name = "billing-insights-proxy", version = VERSION_AND_REVISION, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
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
pub(super) struct ServeArguments {
    /// The configuration (YAML); begin with a copy of config.example.yaml
    #[arg(short, long, env = "BILLING_INSIGHTS_PROXY_CONFIG", value_name = "FILE")]
    pub(super) config: PathBuf,
    /// Refuse to start while a tenant's secret is missing, instead of serving the others
    #[arg(long)]
    pub(super) strict: bool,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArguments {
    /// Whose request: organizations/ID or instances/NAME
    #[arg(required_unless_present = "all", requires = "path")]
    pub(super) tenant: Option<String>,
    /// What for, as /express/invoices?page=2
    pub(super) path: Option<String>,
    /// Every tenant of the configuration and every endpoint
    #[arg(long, conflicts_with = "tenant")]
    pub(super) all: bool,
    /// How it is written
    #[arg(long, value_enum, default_value = "table")]
    pub(super) format: MatrixFormat,
    /// The configuration (YAML)
    #[arg(short, long, env = "BILLING_INSIGHTS_PROXY_CONFIG", value_name = "FILE")]
    pub(super) config: PathBuf,
}

/// How `explain` writes.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum MatrixFormat {
    /// For people
    Table,
    /// RFC 4180
    Csv,
    /// JSON
    Json,
}

#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    /// Where clients ask; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub(super) listen: SocketAddr,
    /// Where the status page and the metrics are
    #[arg(long, default_value = "127.0.0.1:9090", value_name = "ADDRESS")]
    pub(super) admin: SocketAddr,
    /// Where the simulated Talkdesk listens
    #[arg(long, default_value = "127.0.0.1:9480", value_name = "ADDRESS")]
    pub(super) simulator: SocketAddr,
}

#[derive(Debug, Args)]
pub(super) struct SimulateArguments {
    /// Where to listen; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:9480", value_name = "ADDRESS")]
    pub(super) listen: SocketAddr,
    /// Speak HTTPS (HTTP/1.1 and HTTP/2), with a certificate of its own authority (`ca.pem` beside the secrets)
    #[arg(long)]
    pub(super) tls: bool,
    /// Write the secrets of the sample tenants' OAuth clients into this folder, as `acme-client-secret`
    #[arg(long, value_name = "FOLDER")]
    pub(super) write_credentials: Option<PathBuf>,
    /// How long tokens live, in seconds
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    pub(super) token_lifetime: u64,
}

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// The configuration (YAML)
    #[arg(short, long, env = "BILLING_INSIGHTS_PROXY_CONFIG", value_name = "FILE")]
    pub(super) config: PathBuf,
    /// Ask Talkdesk too: for a token of each credential and one record of each endpoint
    #[arg(long)]
    pub(super) online: bool,
    /// How what was found out online is written
    #[arg(long, value_enum, default_value = "table", requires = "online")]
    pub(super) format: ReportFormat,
}

/// How `check --online` writes.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum ReportFormat {
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
pub(super) struct CompletionsArguments {
    /// The shell to print them for
    #[arg(value_enum)]
    pub(super) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
#[command(
    after_help = "An editor with a YAML language server uses it where the configuration begins with\n  \
    # yaml-language-server: $schema=billing-insights-proxy.schema.json"
)]
pub(super) struct SchemaArguments {
    /// The reference of every key instead, as Markdown
    #[arg(long)]
    pub(super) markdown: bool,
}

#[derive(Debug, Args)]
pub(super) struct HealthArguments {
    /// Its admin listener, or `server.metrics`
    #[arg(long, default_value = "127.0.0.1:9090", value_name = "ADDRESS")]
    pub(super) address: SocketAddr,
    /// Whether the process works, instead of whether it takes requests
    #[arg(long)]
    pub(super) live: bool,
}

/// How a command failed.
#[derive(Debug)]
pub(super) enum Failed {
    /// The configuration is refused; the errors have been printed.
    Refused,
    /// Something failed; it has been reported.
    Reported,
    /// Another error, which has yet to be printed.
    Because(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Because(error.into())
    }
}
