//! The section `cache`: the store, and a rule for each endpoint.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value as Json, json};

use super::key::Definition;
use super::key::{Kind as _, Section, keys};
use super::kind::{AllOr, AllOrListed, Boolean, Choice, List, Named, Scalar};
use super::object::Object;
use super::reader::{Ledger, YamlValue, values};
use super::settings::{Cache, CacheRule, ClosedPeriod, ConfiguredEndpoint, OriginDirective, Overrides};
use super::{endpoints, node, value};
use crate::domain::endpoint::{DOCUMENTED, Documented, Endpoint};

keys! {
    pub(super) KEYS;
    MAX_BYTES: Scalar<u64> = "max_bytes", value::SIZE, Default("256MiB") restart(cache.max_bytes),
        "The memory that entries may take, bookkeeping counted.";
    MAX_ENTRY_BYTES: Scalar<u64> = "max_entry_bytes", value::SIZE, Default("8MiB"),
        "The largest answer that is kept; at most a quarter of `max_bytes`.";
    COLLAPSE: Boolean = "collapse", Boolean, Default("true"),
        "Whether requests for one thing share one request to Talkdesk.";
    ENDPOINTS: Named = "endpoints", Named { item: &RULE, constrain: add_default_rules }, Optional,
        "The rule of each endpoint, by name.";
}

keys! {
    RULE_KEYS;
    TTL: Scalar<Duration> = "ttl", value::DURATION, Optional,
        "How long an answer is fresh; `0`: nothing is kept. Unset, for an added endpoint: Talkdesk decides.";
    STALE_WHILE_REVALIDATE: Scalar<Duration> = "stale_while_revalidate", value::DURATION, Optional,
        "How long after that it is served while a fresh one is fetched (RFC 5861). Of an added endpoint: `0` \
         unless set.";
    STALE_IF_ERROR: Scalar<Duration> = "stale_if_error", value::DURATION, Optional,
        "How long after that it is served where Talkdesk can't be asked (RFC 5861). Of an added endpoint: \
         `0` unless set.";
    OVERRIDE: AllOr<Choice<OriginDirective>> =
        "override", AllOr { item: Choice(DIRECTIVES), example: "[no-store, private]" }, Optional,
        "Which of Talkdesk's directives the rule takes the place of: `all`, or a list; `[]`: none. Of the \
         five endpoints `all` unless set, of an added one none.";
    MIN_REFRESH: Scalar<Duration> = "min_refresh", value::DURATION, Default("10s"),
        "A client's `no-cache` does not reach an entry younger than this.";
    STATUSES: List<Scalar<StatusCode>> = "statuses", List::of(Scalar::new(status_schema, status)),
        Default("[200]"),
        "The statuses that may be kept at all.";
    CLOSED_PERIOD: Section =
        "closed_period", Section { removed: &[END_PARAMETER], ..Section::new(CLOSED_PERIOD_KEYS) }, Optional,
        "What an answer about a period that is over gets in the place of `ttl`; unset: nothing special.";
}

// Every key is required: a guess about the end of a billing period could show wrong amounts.
keys! {
    CLOSED_PERIOD_KEYS;
    ATTRIBUTE: Scalar<String> = "attribute", value::PARAMETER,
        Required("write the attribute whose upper bound in `filter` ends a period, such as `month` or `date`"),
        "The attribute whose upper bound in `filter` ends the period, such as `month` or `date`: a month, a \
         date or a date-time.";
    SETTLE: Scalar<Duration> = "settle", value::DURATION,
        Required("write how long after its end a period may still change, such as `5d`"),
        "How long after its end a period may still change.";
    CLOSED_TTL: Scalar<Duration> = "ttl", value::TIMEOUT,
        Required("write for how long an answer is fresh once its period is closed, such as `24h`"),
        "How long an answer is fresh once its period is closed.";
}

/// A key that earlier versions had, and what replaced it.
const END_PARAMETER: (&str, &str) = (
    "end_parameter",
    "the API has no parameter for a period; write the attribute that the query's `filter` bounds, such as \
     `attribute: month`",
);

const DIRECTIVES: &[(&str, OriginDirective)] = &[
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

static RULE: Section = Section {
    takes_null: false,
    definition: Some(Definition {
        name: "rule",
        title: "",
        description: "A cache rule. `{}` leaves the endpoint to the origin, as RFC 9111 says; what a rule leaves \
                      out is the endpoint's default.",
    }),
    ..Section::new(RULE_KEYS)
};

/// The default rules of the documented endpoints; added endpoints have none and follow RFC 9111.
const DEFAULT_RULES: [(&str, &str); DOCUMENTED.len()] = [
    ("accounts", "{ ttl: 15m, stale_while_revalidate: 1h, stale_if_error: 24h }"),
    ("products", "{ ttl: 24h, stale_while_revalidate: 24h, stale_if_error: 7d }"),
    ("subscriptions", "{ ttl: 1h, stale_while_revalidate: 1h, stale_if_error: 24h }"),
    ("invoices", "{ ttl: 1h, stale_while_revalidate: 5m, stale_if_error: 6h }"),
    ("monthly_usage", "{ ttl: 10m, stale_while_revalidate: 5m, stale_if_error: 6h }"),
];

/// Adds the rules of the endpoints, with their defaults, to the schema.
fn add_default_rules(schema: &mut Json) {
    schema["propertyNames"] = json!({ "pattern": endpoints::NAME_PATTERN });
    let added = &mut schema["additionalProperties"];
    let rule = added.clone();
    added["description"] =
        "The rule of an endpoint of `upstream.endpoints`, by its name; unset: the origin decides, as RFC 9111 says.".into();
    added["default"] = json!({});
    for Documented { name, path, .. } in DOCUMENTED {
        let own = &mut schema["properties"][name];
        *own = rule.clone();
        own["description"] = format!("The rule of `{path}`.").into();
        own["default"] = node::json(default_text(name).unwrap_or_default());
    }
}

fn default_text(name: &str) -> Option<&'static str> {
    DEFAULT_RULES.iter().find(|(documented, _)| *documented == name).map(|(_, text)| *text)
}

/// Reads the section. `max_response_bytes` is the largest body that is accepted from upstream.
pub(super) fn read(
    section: &Object<'_>,
    endpoints: Vec<Arc<Endpoint>>,
    max_response_bytes: u64,
    ledger: &Ledger,
) -> Option<(Cache, Vec<ConfiguredEndpoint>)> {
    let cache = Cache {
        max_bytes: section.get(&MAX_BYTES)?,
        max_entry_bytes: section.get(&MAX_ENTRY_BYTES)?,
        collapse: section.get(&COLLAPSE)?,
    };
    check_sizes(&cache, max_response_bytes, section, ledger);
    let names: Vec<&str> = endpoints.iter().map(|endpoint| &*endpoint.name).collect();
    let rules = section.optional(&ENDPOINTS).unwrap_or_default();
    for entry in rules.iter().filter(|entry| !names.contains(&entry.name)) {
        entry.unknown(&names, ledger);
    }
    let configured = endpoints.into_iter().map(|endpoint| {
        let default = default_rule(&endpoint.name, ledger);
        let rule = match rules.iter().find(|entry| entry.name == &*endpoint.name) {
            Some(entry) => rule(&entry.value, default.as_ref(), ledger)?,
            None => default.unwrap_or_default(),
        };
        Some(ConfiguredEndpoint { endpoint, rule })
    });
    Some((cache, configured.collect::<Option<_>>()?))
}

fn check_sizes(cache: &Cache, max_response_bytes: u64, section: &Object<'_>, ledger: &Ledger) {
    let place = section.place_of(&MAX_ENTRY_BYTES).or_else(|| section.place_of(&MAX_BYTES));
    let place = place.unwrap_or_else(|| section.place.missing(MAX_ENTRY_BYTES.name));
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

fn default_rule(name: &str, ledger: &Ledger) -> Option<CacheRule> {
    let rule = node::read(default_text(name)?).ok()?;
    let section = RULE.read(&YamlValue::root(&rule, ledger))?;
    Some(CacheRule { overrides: Overrides::All, ..rule_of(&section, None)? })
}

/// Reads a rule; missing keys have the default of the endpoint.
fn rule(value: &YamlValue<'_>, default: Option<&CacheRule>, ledger: &Ledger) -> Option<CacheRule> {
    if value.is_null() {
        // Otherwise a rule whose lines are all commented out would leave the endpoint to the origin without notice.
        value.wrong("write `{}` to leave it to the origin, or take the key out for the default");
        return Some(CacheRule::default());
    }
    if value.is_mapping() && value.is_empty() {
        return Some(CacheRule::default());
    }
    let Some(section) = RULE.read(value) else { return Some(CacheRule::default()) };
    let rule = rule_of(&section, default)?;
    if rule.closed_period.is_some()
        && rule.ttl.is_none()
        && let Some(place) = section.place_of(&CLOSED_PERIOD)
    {
        ledger.error(&place, "found no `ttl` beside it, whose place it takes; write one, such as `ttl: 1h`");
    }
    Some(rule)
}

fn rule_of(section: &Object<'_>, default: Option<&CacheRule>) -> Option<CacheRule> {
    let overrides = section.optional(&OVERRIDE).map(|overrides| match overrides {
        AllOrListed::All => Overrides::All,
        AllOrListed::Listed(directives) => Overrides::Listed(directives),
    });
    Some(CacheRule {
        ttl: section.optional(&TTL).or(default.and_then(|rule| rule.ttl)),
        stale_while_revalidate: section
            .optional(&STALE_WHILE_REVALIDATE)
            .unwrap_or(default.map_or(Duration::ZERO, |rule| rule.stale_while_revalidate)),
        stale_if_error: section
            .optional(&STALE_IF_ERROR)
            .unwrap_or(default.map_or(Duration::ZERO, |rule| rule.stale_if_error)),
        overrides: overrides.or_else(|| Some(default?.overrides.clone())).unwrap_or_default(),
        min_refresh: section.get(&MIN_REFRESH)?,
        statuses: Some(values(section.get(&STATUSES)?)),
        closed_period: section.optional(&CLOSED_PERIOD).and_then(|section| closed_period(&section)),
    })
}

fn closed_period(section: &Object<'_>) -> Option<ClosedPeriod> {
    let attribute = section.required(&ATTRIBUTE);
    let settle = section.required(&SETTLE);
    let ttl = section.required(&CLOSED_TTL);
    Some(ClosedPeriod { attribute: attribute?.value.into(), settle: settle?.value, ttl: ttl?.value })
}

fn status_schema() -> serde_json::Value {
    json!({
        "type": ["integer", "string"],
        "minimum": 200,
        "maximum": 399,
        "not": { "enum": [206, 304, "206", "304"] },
        "pattern": "^[23][0-9][0-9]$"
    })
}

fn status(text: &str) -> Result<StatusCode, String> {
    const ADVICE: &str = "write a status from 200 to 399 but 206 and 304, such as `200`";
    match text.parse::<u16>() {
        Ok(206 | 304) => Err("take it out: a part of an answer, or a 304, is nothing to store".to_owned()),
        Ok(400..=599) => Err("take it out: an error is never stored".to_owned()),
        Ok(status @ 200..=399) => StatusCode::from_u16(status).map_err(|_| ADVICE.to_owned()),
        _ => Err(ADVICE.to_owned()),
    }
}
