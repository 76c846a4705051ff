//! The closed list of endpoints: the five of the Billing Insights API, and those in `upstream.endpoints`.

use std::sync::Arc;

use http::{HeaderName, Method};
use serde_json::json;

use super::key::Definition;
use super::key::{Kind as _, Section, keys};
use super::kind::{AllOr, AllOrListed, List, Named, Scalar};
use super::object::Object;
use super::reader::{Ledger, Located, Location, NamedValue, quoted, values};
use super::{forwarding, value};
use crate::domain::endpoint::{Content, DOCUMENTED, Endpoint, ForwardedFields, Narrowing, PathPattern};
use crate::domain::filter::AccountFilter;
use crate::domain::id::Scope;

/// A key that the first version had, and what replaced it.
pub(super) const ACCOUNT_PARAMETER: (&str, &str) = (
    "account_parameter",
    "the API has no parameter for an account, it narrows by `filter`; take this out, or write `account_filter: \
     \"account_id eq '{account_id}'\"` with the attribute's name in it",
);

/// The names of endpoints, as a regular expression.
pub(super) const NAME_PATTERN: &str = "^[a-z0-9_-]{1,64}$";

keys! {
    KEYS;
    PATH: Scalar<PathPattern> = "path",
        Scalar::new(
            || json!({ "type": "string", "pattern": r"^(?:/[A-Za-z0-9._~!$&'()+,=:@-]+)+(?:/\*)?$" }),
            path_pattern,
        ), Required("write one, such as `path: /reports/*`"),
        "All below a path (`/reports/*`), or exactly one (`/reports`).";
    METHODS: List<Scalar<Method>> = "methods",
        List { if_empty: Some("write `[GET]` or `[GET, HEAD]`"), ..List::of(METHOD) }, Default("[GET, HEAD]"),
        "The methods that it answers.";
    SCOPE: Scalar<Scope> = "scope", value::SCOPE, Optional,
        "The scope that a client needs for it; unset: none is looked for.";
    FORWARD_REQUEST_FIELDS: AllOr<Scalar<HeaderName>> = "forward_request_fields",
        AllOr { item: value::FIELD.parsed_by(forwarded_field), example: "[X-Report-Format]" }, Default("[]"),
        "The clients' request fields that go to Talkdesk: a list, or `all` but credentials and the like.";
    ACCOUNT_FILTER: Scalar<AccountFilter> = "account_filter", value::ACCOUNT_FILTER, Optional,
        "What `filter` says to narrow to an account. With this and `account_field` Instances on their \
         Organization's client may ask too.";
    ACCOUNT_FIELD: Scalar<String> = "account_field", value::PARAMETER, Optional,
        "The member of a record that carries the account's id.";
}

/// The endpoints by name.
pub(super) const NAMED: Named = Named {
    item: &ENDPOINT,
    constrain: |schema| {
        let taken = DOCUMENTED.map(|documented| documented.name);
        schema["propertyNames"] = json!({ "pattern": NAME_PATTERN, "not": { "enum": taken } });
    },
};

static ENDPOINT: Section = Section {
    removed: &[ACCOUNT_PARAMETER],
    definition: Some(Definition {
        name: "endpoint",
        title: "",
        description: "An endpoint beyond the five of the Billing Insights API.",
    }),
    constrain: |schema| {
        schema["dependentRequired"] =
            json!({ "account_filter": ["account_field"], "account_field": ["account_filter"] });
    },
    ..Section::new(KEYS)
};

const METHOD: Scalar<Method> = Scalar::new(|| json!({ "enum": ["GET", "HEAD"] }), method);

/// Reads the added endpoints from the section `upstream`, and appends them to the five.
pub(super) fn read(
    added: &[NamedValue<'_>],
    narrowing: &Narrowing,
    ledger: &Ledger,
) -> Option<Vec<Arc<Endpoint>>> {
    let mut endpoints: Vec<Arc<Endpoint>> =
        DOCUMENTED.iter().map(|documented| Arc::new(documented.endpoint(narrowing))).collect();
    for entry in added {
        let (name, value) = (entry.name, &entry.value);
        if !is_endpoint_name(name) {
            ledger.error(
                &value.place,
                format!("found the name {}; write lower-case letters, digits, `-` and `_`", quoted(name)),
            );
        }
        if endpoints.iter().any(|endpoint| &*endpoint.name == name) {
            ledger.error(
                &value.place,
                format!(
                    "found the name `{name}`, which is the Billing Insights API's own; write another name"
                ),
            );
        } else if let Some(section) = ENDPOINT.read(value) {
            let endpoint = endpoint(name, &section, &endpoints, ledger)?;
            endpoints.push(Arc::new(endpoint));
        }
    }
    Some(endpoints)
}

fn is_endpoint_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
}

fn endpoint(name: &str, section: &Object<'_>, others: &[Arc<Endpoint>], ledger: &Ledger) -> Option<Endpoint> {
    let path = section.required(&PATH);
    let filter = section.optional(&ACCOUNT_FILTER);
    let field = section.optional(&ACCOUNT_FIELD);
    match (section.value(&ACCOUNT_FILTER), section.value(&ACCOUNT_FIELD)) {
        (Some(_), None) => section.missing(&ACCOUNT_FIELD, "write both, or neither"),
        (None, Some(_)) => section.missing(&ACCOUNT_FILTER, "write both, or neither"),
        (Some(_), Some(_)) | (None, None) => {}
    }
    let content = filter.zip(field).map_or(Content::Opaque, |(filter, field)| {
        Content::Records(Narrowing { filter, field: field.into() })
    });
    if let Some(Located { value: path, place }) = &path {
        check_path(path, place, others, ledger);
    }
    Some(Endpoint {
        position: others.len(),
        name: name.into(),
        // A missing path is an error, but the endpoint is kept: otherwise its cache rule would also be reported as an
        // unknown key.
        path: path.map_or_else(|| PathPattern::Exact("".into()), |path| path.value),
        methods: without_duplicates(values(section.get(&METHODS)?)),
        scope: section.optional(&SCOPE),
        content,
        forward_request_fields: match section.get(&FORWARD_REQUEST_FIELDS)? {
            AllOrListed::All => ForwardedFields::All,
            AllOrListed::Listed(fields) => ForwardedFields::Listed(fields),
        },
    })
}

fn path_pattern(text: &str) -> Result<PathPattern, String> {
    const ADVICE: &str =
        "write a path, such as `/reports` for exactly that, or `/reports/*` for all below it";
    let (plain, is_prefix) = match text.strip_suffix("/*") {
        Some(plain) => (plain, true),
        None => (text, false),
    };
    let segments_fit = plain
        .strip_prefix('/')
        .is_some_and(|rest| rest.split('/').all(|segment| !matches!(segment, "" | "." | "..")));
    let bytes_fit =
        plain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~!$&'()+,=:@".contains(&byte));
    match (segments_fit && bytes_fit, is_prefix) {
        (false, _) => Err(format!("{ADVICE}; no `%`, `?`, `#`, `;`, `//`, `/../`, nor a slash at the end")),
        (true, true) => Ok(PathPattern::Prefix(format!("{plain}/").into())),
        (true, false) => Ok(PathPattern::Exact(plain.into())),
    }
}

/// Checks that an added path overlaps no other path.
fn check_path(path: &PathPattern, place: &Location, others: &[Arc<Endpoint>], ledger: &Ledger) {
    let shown = path.display();
    let own = match path {
        PathPattern::Exact(text) | PathPattern::Prefix(text) => text,
    };
    let first = own.trim_start_matches('/').split('/').next().unwrap_or_default();
    if matches!(first, "organizations" | "instances") {
        ledger.error(
            place,
            format!(
                "found `{shown}`; write a path that does not begin with `/{first}`, which names a tenant"
            ),
        );
    }
    for other in others {
        let overlap = match (&other.path, path) {
            (PathPattern::Exact(theirs), PathPattern::Exact(ours)) => {
                theirs == ours || is_under(ours, theirs, other)
            }
            (PathPattern::Exact(theirs), PathPattern::Prefix(ours)) => {
                theirs.starts_with(&**ours) || is_under(ours, theirs, other)
            }
            (PathPattern::Prefix(theirs), PathPattern::Exact(ours)) => ours.starts_with(&**theirs),
            (PathPattern::Prefix(theirs), PathPattern::Prefix(ours)) => {
                ours.starts_with(&**theirs) || theirs.starts_with(&**ours)
            }
        };
        if overlap {
            ledger.error(
                place,
                format!(
                    "found `{shown}`, which meets `{}` of the endpoint `{}`; write a path of its own",
                    other.path.display(),
                    other.name
                ),
            );
        }
    }
}

/// No path may be added below one of the five: paths that Talkdesk adds there follow rules of their own.
fn is_under(ours: &str, theirs: &str, other: &Endpoint) -> bool {
    let documented = other.position < DOCUMENTED.len();
    documented && ours.strip_prefix(theirs).is_some_and(|rest| rest.starts_with('/'))
}

/// The methods of an endpoint, each once.
fn without_duplicates(listed: Vec<Method>) -> Vec<Method> {
    let mut methods = Vec::new();
    for method in listed {
        if !methods.contains(&method) {
            methods.push(method);
        }
    }
    methods
}

fn method(text: &str) -> Result<Method, String> {
    match text {
        "GET" => Ok(Method::GET),
        "HEAD" => Ok(Method::HEAD),
        _ => Err("write `GET` or `HEAD`: the proxy is read-only".to_owned()),
    }
}

fn forwarded_field(text: &str) -> Result<HeaderName, String> {
    let name = value::field_name(text)?;
    if forwarding::is_forbidden(&name) {
        return Err(
            "take it out: it is a credential, speaks of one connection, or is the proxy's own".to_owned()
        );
    }
    Ok(name)
}
