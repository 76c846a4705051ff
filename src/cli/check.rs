//! `check`: reads a configuration as `serve` does and reports all its errors.

use std::path::Path;

use super::arguments::{CheckArguments, Failed};
use super::online;
use crate::config::{Config, Environment, load as load_config};
use crate::domain::tenant::{TenantKind, TenantName};
use crate::log::audit::can_be_written;
use crate::oauth::grant::Grant;

/// Runs the command.
pub(super) fn run(arguments: &CheckArguments) -> Result<(), Failed> {
    let config = load(&arguments.config)?;
    let file = arguments.config.display().to_string();
    for warning in &config.warnings {
        eprintln!("{}", warning.render(&file));
    }
    let missing = unavailable_secrets(&config);
    for (owner, reason) in &missing {
        eprintln!("error: {owner}: {reason}");
    }
    let audit = config.log.audit.as_ref().map(|path| (path, can_be_written(path)));
    if let Some((path, Err(error))) = &audit {
        let path = path.display();
        eprintln!(
            "error: log.audit: {path} can't be written ({error}); make its folder, and let this user write to it"
        );
        return Err(Failed::Refused);
    }
    if !missing.is_empty() {
        eprintln!("{file}: {} of {} secrets can't be used", missing.len(), config.credentials.len());
        return Err(Failed::Refused);
    }
    let organizations =
        config.tenants.iter().filter(|tenant| matches!(tenant.kind, TenantKind::Organization(_)));
    let organizations = organizations.count();
    let summary = format!(
        "{file} can be served: {}, {}, {}, {}",
        plural(organizations, "organization"),
        plural(config.tenants.iter().count() - organizations, "instance"),
        plural(config.credentials.len(), "credential"),
        plural(config.endpoints.len(), "endpoint"),
    );
    if !arguments.online {
        println!("{summary}");
        return Ok(());
    }
    // Standard output is reserved for the report, which may be JSON.
    eprintln!("{summary}");
    // No log is started: the parts of the proxy would log what the report already contains.
    online::run(config, arguments.format)
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Reads a configuration; prints its errors to standard error.
pub(super) fn load(path: &Path) -> Result<Config, Failed> {
    load_config(path, &Environment::of_process()).map_err(|faults| {
        let source = std::fs::read_to_string(path).unwrap_or_default();
        eprintln!("{}", faults.render_with_source(&source));
        let count = faults.iter().count();
        eprintln!("{}: refused, {count} fault{}", path.display(), if count == 1 { "" } else { "s" });
        Failed::Refused
    })
}

/// The owners of credentials whose secret can't be read or used, with the reason.
pub(super) fn unavailable_secrets(config: &Config) -> Vec<(TenantName, String)> {
    let unusable = config.credentials.iter().filter_map(|configured| {
        let grant = Grant::new(configured, config.upstream.default_token_lifetime);
        let reason = grant.usable().err()?.to_string();
        Some((configured.credential.owner.clone(), reason))
    });
    unusable.collect()
}
