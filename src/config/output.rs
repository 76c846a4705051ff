//! The sections `log` and `metrics`.

use std::path::Path;

use tracing_subscriber::filter::{EnvFilter, LevelFilter};

use super::reader::Object;
use super::{Log, LogFormat, Metrics, address, value};

/// Reads the section `log`.
pub(super) fn read_log(mut section: Object<'_>, directory: &Path) -> Log {
    let log = Log {
        format: section.parsed("format", format).unwrap_or(LogFormat::Json),
        level: section.parsed("level", level).unwrap_or("info".into()),
        access: section.boolean("access").unwrap_or(true),
        audit: section.parsed("audit", |text| audit(text).and_then(|text| address::path(text, directory))),
    };
    section.finish();
    log
}

/// Reads the section `metrics`.
pub(super) fn read_metrics(mut section: Object<'_>) -> Metrics {
    let metrics = Metrics {
        tenants: section.boolean("tenants").unwrap_or(true),
        max_tenants: section.parsed("max_tenants", value::size_count).unwrap_or(500),
    };
    section.finish();
    metrics
}

fn format(text: &str) -> Result<LogFormat, String> {
    match text {
        "json" => Ok(LogFormat::Json),
        "text" => Ok(LogFormat::Text),
        _ => Err("write `json` or `text`".to_owned()),
    }
}

fn audit(text: &str) -> Result<&str, String> {
    if text.is_empty() || text.ends_with('/') || text.contains('\0') {
        return Err("write the path of a file, as `/var/log/billing-insights-proxy/audit.jsonl`".to_owned());
    }
    Ok(text)
}

fn level(text: &str) -> Result<String, String> {
    const ADVICE: &str =
        "write `error`, `warn`, `info`, `debug` or `trace`, or a filter as `info,hyper=debug`";
    // The filter parser panics on some non-ASCII text. Filters on spans and fields are not supported.
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_:=,-".contains(&byte));
    // A single word that is not a level would be parsed as the name of a module and would silence all others.
    let lone_word = !text.contains(['=', ',']);
    let is_level = text.parse::<LevelFilter>().is_ok();
    if text.is_empty() || !is_plain || (lone_word && !is_level) || EnvFilter::builder().parse(text).is_err() {
        return Err(ADVICE.to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_word_or_a_plain_filter() {
        for text in ["info", "WARN", "off", "info,hyper=debug", "warn,billing_insights_proxy::cache=trace"] {
            assert_eq!(level(text).as_deref(), Ok(text));
        }
        for text in ["", "loud", "hyper=loud", " \u{b9}=", "[span{field=1}]=info", "info hyper=debug"] {
            assert!(level(text).is_err(), "{text}");
        }
    }
}
