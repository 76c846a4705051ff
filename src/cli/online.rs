//! `check --online`: tests the configuration against the real Talkdesk and reports remedies for what fails.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::arguments::{Failed, ReportFormat};
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::learned::Learned;
use crate::io::client::outbound;
use crate::log::audit::AuditLog;
use crate::metrics::Metrics;
use crate::preflight::{Caching, Finding, Report, Verdict, check_credential};
use crate::proxy::Proxy;
use crate::snapshot::Shared;

/// The number of credentials tested at a time; each keeps its own rate limits.
const AT_ONCE: usize = 4;

/// Runs the tests, prints the report, and fails if a test fails.
pub(super) fn run(config: Config, format: ReportFormat) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(check(config, format));
    runtime.shutdown_background();
    outcome
}

async fn check(config: Config, format: ReportFormat) -> Result<(), Failed> {
    let clock = Clock::System;
    let shared = Shared {
        outbound: outbound(&config, &clock).context("the client for Talkdesk can't be made")?,
        clock,
        metrics: Arc::new(Metrics::new()),
        learned: Arc::new(Learned::default()),
        audit: AuditLog::default(),
    };
    let credentials: Vec<_> = config.credentials.iter().map(|one| Arc::clone(&one.credential)).collect();
    let many = credentials.len();
    let proxy = Proxy::new(config, &shared);
    let checks = credentials.iter().enumerate().map(|(index, credential)| {
        let proxy = &proxy;
        async move {
            let owner = &credential.owner;
            let progress = move |what: &str| eprintln!("[{}/{many}] {owner}: {what}", index + 1);
            check_credential(proxy, credential, &progress).await
        }
    });
    let reports: Vec<_> = futures_util::stream::iter(checks).buffered(AT_ONCE).collect().await;
    let text = match format {
        ReportFormat::Table => table(&reports),
        ReportFormat::Json => format!("{:#}\n", as_json(&reports)),
    };
    print!("{text}");
    if count(&reports, Verdict::Fails) > 0 { Err(Failed::Reported) } else { Ok(()) }
}

fn count(reports: &[Report], verdict: Verdict) -> usize {
    reports.iter().flat_map(|report| &report.findings).filter(|finding| finding.verdict == verdict).count()
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Works => "works",
        Verdict::Fails => "FAILS",
        Verdict::Unproven => "unproven",
        Verdict::Skipped => "not asked",
    }
}

fn table(reports: &[Report]) -> String {
    let mut text = String::new();
    let widest = reports.iter().flat_map(|report| &report.findings).map(|finding| finding.check.len()).max();
    let widest = widest.unwrap_or_default();
    for Report { owner, client_id, token_url, findings } in reports {
        let _ = writeln!(text, "{owner}  (client {client_id}, tokens from {token_url})");
        for Finding { check, verdict, outcome, remedy, caching } in findings {
            let _ = writeln!(text, "  {:<9}  {check:<widest$}  {outcome}", word(*verdict));
            if let Some(caching) = caching {
                let _ = writeln!(text, "  {:<9}  {:<widest$}  {}", "", "", in_words(caching));
            }
            if let Some(remedy) = remedy {
                let _ = writeln!(text, "  {:<9}  {:<widest$}  -> {remedy}", "", "");
            }
        }
        text.push('\n');
    }
    let [works, fails, unproven, not_asked] =
        [Verdict::Works, Verdict::Fails, Verdict::Unproven, Verdict::Skipped]
            .map(|verdict| count(reports, verdict));
    let _ = writeln!(text, "works: {works}, fails: {fails}, unproven: {unproven}, not asked: {not_asked}");
    text
}

fn in_words(caching: &Caching) -> String {
    let fields = caching.fields.iter().map(|(name, value)| format!("{name}: {value}"));
    let fields = fields.collect::<Vec<_>>().join("; ");
    let said = if fields.is_empty() { "nothing is said about caching".to_owned() } else { fields };
    match (caching.stored_for, caching.by_rule) {
        (Ok(fresh), true) => format!("{said} => kept by our rule, fresh for {fresh} s"),
        (Ok(fresh), false) => format!("{said} => kept as the origin says, fresh for {fresh} s"),
        (Err(reason), true) => format!("{said} => not kept, by our rule ({reason})"),
        (Err(reason), false) => format!("{said} => not kept, by RFC 9111 ({reason})"),
    }
}

fn as_json(reports: &[Report]) -> Value {
    let finding = |finding: &Finding| {
        let caching = finding.caching.as_ref().map(|caching| {
            let fields = caching.fields.iter().map(|(name, value)| json!({ "name": name, "value": value }));
            json!({
                "origin_fields": fields.collect::<Vec<_>>(),
                "kept": caching.stored_for.is_ok(),
                "fresh_seconds": caching.stored_for.ok(),
                "not_kept_because": caching.stored_for.err(),
                "by_our_rule": caching.by_rule,
            })
        });
        json!({
            "what": finding.check,
            "result": word(finding.verdict).to_ascii_lowercase().replace(' ', "_"),
            "said": finding.outcome,
            "remedy": finding.remedy,
            "caching": caching,
        })
    };
    let credentials = reports.iter().map(|report| {
        json!({
            "owner": report.owner.to_string(),
            "client_id": report.client_id,
            "token_url": &*report.token_url,
            "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
        })
    });
    json!({
        "works": count(reports, Verdict::Fails) == 0,
        "credentials": credentials.collect::<Vec<_>>(),
    })
}
