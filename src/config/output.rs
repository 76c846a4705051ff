//! The sections `log` and `metrics`.

use std::path::{Path, PathBuf};

use serde_json::json;
use tracing_subscriber::filter::{EnvFilter, LevelFilter};

use super::key::keys;
use super::kind::{Boolean, Choice, Scalar};
use super::object::Object;
use super::settings::{Log, LogFormat, MetricsSettings};
use super::value;

keys! {
    pub(super) LOG_KEYS;
    FORMAT: Choice<LogFormat> = "format",
        Choice(&[("json", LogFormat::Json), ("text", LogFormat::Text)]), Default("json"), "The form of a line.";
    LEVEL: Scalar<String> = "level", Scalar::new(level_schema, level), Default("info"),
        "The least important level that is written: `error`, `warn`, `info`, `debug`, `trace`; or a filter, \
         such as `info,hyper=debug`.";
    ACCESS: Boolean = "access", Boolean, Default("true"), "A line per request.";
    AUDIT: Scalar<PathBuf> = "audit",
        Scalar::new(|| json!({ "type": ["string", "number", "boolean"], "pattern": "[^/]$" }), audit), Optional,
        "The file of the audit log: who saw what, and who was refused; a relative one is meant beside the \
         configuration. Unset: it is not written.";
}

keys! {
    pub(super) METRICS_KEYS;
    TENANTS: Boolean = "tenants", Boolean, Default("true"), "Whether series carry tenants at all.";
    MAX_TENANTS: Scalar<usize> = "max_tenants", value::SIZE_COUNT, Default("500"),
        "Tenants with series of their own; those beyond are counted as `other`.";
}

/// Reads the section `log`.
pub(super) fn read_log(section: &Object<'_>, directory: &Path) -> Option<Log> {
    Some(Log {
        format: section.get(&FORMAT)?,
        level: section.get(&LEVEL)?,
        access: section.get(&ACCESS)?,
        audit: section.optional(&AUDIT).map(|path| directory.join(path)),
    })
}

/// Reads the section `metrics`.
pub(super) fn read_metrics(section: &Object<'_>) -> Option<MetricsSettings> {
    Some(MetricsSettings { tenants: section.get(&TENANTS)?, max_tenants: section.get(&MAX_TENANTS)? })
}

fn audit(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.ends_with('/') || text.contains('\0') {
        return Err(
            "write the path of a file, such as `/var/log/billing-insights-proxy/audit.jsonl`".to_owned()
        );
    }
    Ok(text.into())
}

fn level_schema() -> serde_json::Value {
    let pattern = "^(?:[oO][fF][fF]|[eE][rR][rR][oO][rR]|[wW][aA][rR][nN]|[iI][nN][fF][oO]|[dD][eE][bB][uU][gG]|\
                   [tT][rR][aA][cC][eE]|[0-5]|[A-Za-z0-9_:-]*[=,][A-Za-z0-9_:=,-]*)$";
    json!({ "type": ["string", "integer"], "minimum": 0, "maximum": 5, "pattern": pattern })
}

fn level(text: &str) -> Result<String, String> {
    const ADVICE: &str =
        "write `error`, `warn`, `info`, `debug` or `trace`, or a filter, such as `info,hyper=debug`";
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
