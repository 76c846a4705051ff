//! The section `cache`: the store, and a rule for each endpoint.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::reader::{Ledger, Object, Value};
use super::{Cache, ClosedPeriod, ConfiguredEndpoint, OriginDirective, OurRule, Overrides, Rule, value};
use crate::domain::endpoint::{DOCUMENTED, Endpoint};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Reads the section. `max_response_bytes` is the largest body that is accepted from upstream.
pub(super) fn read(
    mut section: Object<'_>,
    endpoints: Vec<Arc<Endpoint>>,
    max_response_bytes: u64,
    ledger: &Ledger,
) -> (Cache, Vec<ConfiguredEndpoint>) {
    let cache = Cache {
        max_bytes: section.parsed("max_bytes", value::size).unwrap_or(256 << 20),
        max_entry_bytes: section.parsed("max_entry_bytes", value::size).unwrap_or(8 << 20),
        collapse: section.boolean("collapse").unwrap_or(true),
    };
    check_sizes(&cache, max_response_bytes, &section, ledger);
    let mut rules = section.section("endpoints");
    let names: Vec<Arc<str>> = endpoints.iter().map(|endpoint| Arc::clone(&endpoint.name)).collect();
    let configured = endpoints
        .into_iter()
        .zip(&names)
        .map(|(endpoint, name)| {
            let default = default_rule(name);
            let rule = match rules.value(name) {
                Some(value) => rule(&value, default.as_ref(), ledger),
                None => default.map_or(Rule::Plain, Rule::Ours),
            };
            ConfiguredEndpoint { endpoint, rule }
        })
        .collect();
    rules.finish();
    section.finish();
    (cache, configured)
}

fn check_sizes(cache: &Cache, max_response_bytes: u64, section: &Object<'_>, ledger: &Ledger) {
    let place = section.place_of("max_entry_bytes").or_else(|| section.place_of("max_bytes"));
    let place = place.unwrap_or_else(|| section.place.missing("max_entry_bytes"));
    let shown = bytesize::ByteSize::b;
    if cache.max_entry_bytes > max_response_bytes {
        ledger.error(
            &place,
            format!(
                "found `max_entry_bytes` of {}, and larger answers than {} (`upstream.max_response_bytes`) \
                 are not taken; write at most that",
                shown(cache.max_entry_bytes),
                shown(max_response_bytes)
            ),
        );
    }
    if cache.max_entry_bytes > cache.max_bytes / 4 {
        ledger.error(
            &place,
            format!(
                "found `max_entry_bytes` of {} and `max_bytes` of {}; write at most a quarter of \
                 `max_bytes`, or one entry could push out all others",
                shown(cache.max_entry_bytes),
                shown(cache.max_bytes)
            ),
        );
    }
}

/// The default rule of a documented endpoint; added endpoints have none and follow RFC 9111.
fn default_rule(name: &str) -> Option<OurRule> {
    let position = DOCUMENTED.iter().position(|documented| documented.name == name)?;
    let [ttl, stale_while_revalidate, stale_if_error] = match DOCUMENTED[position].name {
        "accounts" => [15 * MINUTE, HOUR, DAY],
        "products" => [DAY, DAY, 7 * DAY],
        "subscriptions" => [HOUR, HOUR, DAY],
        "invoices" => [HOUR, 5 * MINUTE, 6 * HOUR],
        _ => [10 * MINUTE, 5 * MINUTE, 6 * HOUR],
    }
    .map(Duration::from_secs);
    Some(OurRule {
        ttl: Some(ttl),
        stale_while_revalidate,
        stale_if_error,
        overrides: Overrides::All,
        min_refresh: Duration::from_secs(10),
        statuses: vec![StatusCode::OK],
        closed_period: None,
    })
}

/// Reads a rule; missing keys have the default of the endpoint.
fn rule(value: &Value<'_>, default: Option<&OurRule>, ledger: &Ledger) -> Rule {
    if value.is_null() {
        // Otherwise a rule whose lines are all commented out would become plain RFC 9111 without notice.
        value.wrong("write `{}` for plain RFC 9111, or take the key out for the default");
        return Rule::Plain;
    }
    let Some(mut section) = value.object() else { return Rule::Plain };
    if section.entries().next().is_none() {
        return Rule::Plain;
    }
    let closed_period = closed_period(&mut section);
    let rule = OurRule {
        ttl: section.parsed("ttl", value::duration).or(default.and_then(|rule| rule.ttl)),
        stale_while_revalidate: section
            .parsed("stale_while_revalidate", value::duration)
            .unwrap_or(default.map_or(Duration::ZERO, |rule| rule.stale_while_revalidate)),
        stale_if_error: section
            .parsed("stale_if_error", value::duration)
            .unwrap_or(default.map_or(Duration::ZERO, |rule| rule.stale_if_error)),
        overrides: section.value("override").and_then(|value| overrides(&value)).unwrap_or_else(|| {
            default.map_or_else(|| Overrides::Listed(Vec::new()), |rule| rule.overrides.clone())
        }),
        min_refresh: section.parsed("min_refresh", value::duration).unwrap_or(Duration::from_secs(10)),
        statuses: section.list("statuses", status).map_or_else(
            || vec![StatusCode::OK],
            |list| list.into_iter().map(|status| status.value).collect(),
        ),
        closed_period,
    };
    if rule.closed_period.is_some()
        && rule.ttl.is_none()
        && let Some(place) = section.place_of("closed_period")
    {
        ledger.error(&place, "found no `ttl` beside it, whose place it takes; write one, as `ttl: 1h`");
    }
    section.finish();
    Rule::Ours(rule)
}

/// Every key is required: a guess about the end of a billing period could show wrong amounts.
fn closed_period(rule: &mut Object<'_>) -> Option<ClosedPeriod> {
    let mut section = rule.value("closed_period")?.object()?;
    section.removed(
        "end_parameter",
        "the API has no parameter for a period; write the attribute that the query's `filter` bounds, as `attribute: \
         month`",
    );
    let attribute = section.required(
        "attribute",
        "write the attribute whose upper bound in `filter` ends a period, as `month` or `date`",
        value::parameter,
    );
    let settle = section.required(
        "settle",
        "write how long after its end a period may still change, as `5d`",
        value::duration,
    );
    let ttl = section.required(
        "ttl",
        "write for how long an answer is fresh once its period is closed, as `24h`",
        value::timeout,
    );
    section.finish();
    Some(ClosedPeriod { attribute: attribute?.value.into(), settle: settle?.value, ttl: ttl?.value })
}

fn overrides(value: &Value<'_>) -> Option<Overrides> {
    const ADVICE: &str = "write `all`, or a list as `[no-store, private]`";
    if value.is_list() {
        let items = value.items()?;
        return Some(Overrides::Listed(items.iter().filter_map(|item| item.parsed(directive)).collect()));
    }
    value.parsed(|text| if text == "all" { Ok(Overrides::All) } else { Err(ADVICE.to_owned()) })
}

fn directive(text: &str) -> Result<OriginDirective, String> {
    const DIRECTIVES: [(&str, OriginDirective); 10] = [
        ("no-store", OriginDirective::NoStore),
        ("no-cache", OriginDirective::NoCache),
        ("private", OriginDirective::Private),
        ("must-revalidate", OriginDirective::MustRevalidate),
        ("proxy-revalidate", OriginDirective::ProxyRevalidate),
        ("max-age", OriginDirective::MaxAge),
        ("s-maxage", OriginDirective::SMaxage),
        ("expires", OriginDirective::Expires),
        ("pragma", OriginDirective::Pragma),
        ("vary-any", OriginDirective::VaryAny),
    ];
    let found = DIRECTIVES.iter().find(|(name, _)| *name == text);
    found
        .map(|(_, directive)| *directive)
        .ok_or_else(|| format!("write one of: {}", DIRECTIVES.map(|(name, _)| name).join(", ")))
}

fn status(text: &str) -> Result<StatusCode, String> {
    const ADVICE: &str = "write a status from 200 to 399 but 206 and 304, as `200`";
    match text.parse::<u16>() {
        Ok(206 | 304) => Err("take it out: a part of an answer, or a 304, is nothing to store".to_owned()),
        Ok(400..=599) => Err("take it out: an error is never stored".to_owned()),
        Ok(status @ 200..=399) => StatusCode::from_u16(status).map_err(|_| ADVICE.to_owned()),
        _ => Err(ADVICE.to_owned()),
    }
}
