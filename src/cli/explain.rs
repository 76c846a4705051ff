//! `explain`: which tenant may request what, with which credential, and why not. It only reads the configuration
//! and sends no requests.

use std::fmt::Write as _;

use super::arguments::{ExplainArguments, Failed, MatrixFormat};
use super::check;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::learned::Learned;
use crate::domain::tenant::TenantName;
use crate::explain::{Explanation, explain, not_explained, some_path};

/// Explains one request, or lists all tenants and endpoints.
pub(super) fn run(arguments: &ExplainArguments) -> Result<(), Failed> {
    let config = check::load(&arguments.config)?;
    let text = match (&arguments.tenant, &arguments.path) {
        (Some(tenant), Some(path)) => one(&config, tenant, path, arguments.format)?,
        _ => matrix(&config, arguments.format),
    };
    print!("{text}");
    Ok(())
}

fn one(config: &Config, tenant: &str, path: &str, format: MatrixFormat) -> Result<String, Failed> {
    let unknown = || {
        eprintln!(
            "error: {tenant} is not a tenant of the configuration; write organizations/ID or instances/NAME \
             (accounts that are learned while it serves are not known here)"
        );
        Failed::Refused
    };
    let name: TenantName = tenant.parse().map_err(|_| unknown())?;
    let tenant = config.tenants.find(&name).ok_or_else(unknown)?;
    let learned = Learned::default();
    let explanation = explain(config, &learned, tenant, path, Clock::System.now().monotonic);
    let explanation = explanation.map_err(|rejection| {
        let (_, code, words) = not_explained(&rejection);
        eprintln!("error: {code}: {words}");
        Failed::Refused
    })?;
    Ok(match format {
        MatrixFormat::Json => format!("{:#}\n", explanation.json()),
        MatrixFormat::Table | MatrixFormat::Csv => words(&explanation),
    })
}

fn words(explanation: &Explanation<'_>) -> String {
    let value = explanation.json();
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let mut words = format!("{} asks for {}: {}\n\n", text("tenant"), text("endpoint"), text("decision"));
    for (rule, verdict, fact) in explanation.rules() {
        let _ = writeln!(words, "  {:<11} {rule:<28} {fact}", verdict.replace('_', " "));
    }
    words.push('\n');
    if explanation.denied_by().is_some() {
        let _ = writeln!(words, "{} {}", text("message"), text("remedy"));
        return words;
    }
    let credential = &value["credential"];
    let _ = writeln!(
        words,
        "credential  {} of {}, tokens from {}",
        credential["client_id"].as_str().unwrap_or_default(),
        credential["owner"].as_str().unwrap_or_default(),
        credential["token_url"].as_str().unwrap_or_default()
    );
    let _ = writeln!(words, "upstream    GET {}", text("upstream_url"));
    if let Some(mark) = value["every_record_must_carry"].as_str() {
        let _ = writeln!(words, "records     each must carry {mark}");
    }
    let _ = writeln!(words, "cache       {}", text("cache"));
    let limits = &value["limits"];
    let _ = writeln!(
        words,
        "limits      {} at once after a pause, then one in {} s; {} in flight; a wait of {} s at most",
        limits["burst"], limits["interval_seconds"], limits["concurrency"], limits["max_wait_seconds"]
    );
    words
}

/// The columns of the list.
const HEADS: [&str; 5] = ["tenant", "endpoint", "decision", "rule", "credential"];

/// The decisions for every configured tenant and every endpoint.
fn matrix(config: &Config, format: MatrixFormat) -> String {
    let learned = Learned::default();
    let now = Clock::System.now().monotonic;
    let mut rows = Vec::new();
    for tenant in config.tenants.iter() {
        for configured in &config.endpoints {
            let path = some_path(&configured.endpoint);
            let Ok(explanation) = explain(config, &learned, tenant, &path, now) else { continue };
            let credential = explanation.credential().map(|credential| credential.owner.to_string());
            rows.push([
                tenant.name.to_string(),
                explanation.endpoint().to_owned(),
                if explanation.denied_by().is_some() { "denied" } else { "granted" }.to_owned(),
                explanation.denied_by().unwrap_or_default().to_owned(),
                credential.unwrap_or_default(),
            ]);
        }
    }
    match format {
        MatrixFormat::Json => {
            let rows: Vec<_> = rows
                .into_iter()
                .map(|row| {
                    HEADS
                        .iter()
                        .zip(row)
                        .map(|(head, cell)| (*head, cell))
                        .collect::<std::collections::BTreeMap<_, _>>()
                })
                .collect();
            format!("{:#}\n", serde_json::json!(rows))
        }
        // No quoting is needed: names of tenants and endpoints have no comma and no quote.
        MatrixFormat::Csv => std::iter::once(HEADS.join(","))
            .chain(rows.iter().map(|row| row.join(",")))
            .fold(String::new(), |text, line| text + &line + "\r\n"),
        MatrixFormat::Table => {
            let heads = HEADS.map(str::to_owned);
            let all = || std::iter::once(&heads).chain(&rows);
            let widths: Vec<_> = (0..HEADS.len())
                .map(|column| all().map(|row| row[column].len()).max().unwrap_or_default())
                .collect();
            let mut text = String::new();
            for row in all() {
                let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
                let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
            }
            text
        }
    }
}
