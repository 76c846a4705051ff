//! The closed list of endpoints: the five of the Billing Insights API, and those in `upstream.endpoints`.

use std::sync::Arc;

use http::Method;

use super::reader::{Ledger, Located, Object, Place, Value, quoted};
use super::upstream::ACCOUNT_PARAMETER_REMOVED;
use super::{forwarding, value};
use crate::domain::endpoint::{Content, DOCUMENTED, Endpoint, ForwardedFields, Narrowing, PathPattern};

/// Reads the added endpoints and appends them to the five.
pub(super) fn read(added: Option<&Value<'_>>, narrowing: &Narrowing, ledger: &Ledger) -> Vec<Arc<Endpoint>> {
    let mut endpoints: Vec<Arc<Endpoint>> =
        DOCUMENTED.iter().map(|documented| Arc::new(documented.endpoint(narrowing))).collect();
    let Some(section) = added.and_then(Value::object) else { return endpoints };
    for (name, value) in section.entries() {
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
        } else if let Some(endpoint) = value.object().map(|object| endpoint(name, object, &endpoints, ledger))
        {
            endpoints.push(Arc::new(endpoint));
        }
    }
    endpoints
}

fn is_endpoint_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
}

fn endpoint(name: &str, mut section: Object<'_>, others: &[Arc<Endpoint>], ledger: &Ledger) -> Endpoint {
    let path = section.required("path", "write one, as `path: /reports/*`", path_pattern);
    let methods = section.value("methods");
    let methods = methods.map_or_else(|| vec![Method::GET, Method::HEAD], |value| read_methods(&value));
    let scope = section.parsed("scope", value::domain);
    let fields = section.value("forward_request_fields");
    let forward_request_fields =
        fields.map_or_else(|| ForwardedFields::Listed(Vec::new()), |value| forwarded_fields(&value));
    section.removed("account_parameter", ACCOUNT_PARAMETER_REMOVED);
    let filter = section.parsed("account_filter", value::account_filter);
    let field = section.parsed("account_field", value::parameter);
    let both = filter.zip(field);
    match (section.place_of("account_filter"), section.place_of("account_field")) {
        (Some(_), None) => section.missing("account_field", "write both, or neither"),
        (None, Some(_)) => section.missing("account_filter", "write both, or neither"),
        (Some(_), Some(_)) | (None, None) => {}
    }
    let content = both.map_or(Content::Opaque, |(filter, field)| {
        Content::Records(Narrowing { filter, field: field.into() })
    });
    section.finish();
    if let Some(Located { value: path, place }) = &path {
        check_path(path, place, others, ledger);
    }
    // A missing path is an error, but the endpoint is kept: otherwise its cache rule would also be reported as an
    // unknown key.
    let path = path.map_or_else(|| PathPattern::Exact("".into()), |path| path.value);
    let position = others.len();
    Endpoint { position, name: name.into(), path, methods, scope, content, forward_request_fields }
}

fn path_pattern(text: &str) -> Result<PathPattern, String> {
    const ADVICE: &str = "write a path as `/reports` for exactly that, or `/reports/*` for all below it";
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
fn check_path(path: &PathPattern, place: &Place, others: &[Arc<Endpoint>], ledger: &Ledger) {
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

fn read_methods(value: &Value<'_>) -> Vec<Method> {
    let Some(items) = value.items() else { return Vec::new() };
    if items.is_empty() {
        value.wrong("write `[GET]` or `[GET, HEAD]`");
    }
    let mut methods: Vec<Method> = Vec::new();
    for method in items.iter().filter_map(|item| item.parsed(method)) {
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

fn forwarded_fields(value: &Value<'_>) -> ForwardedFields {
    if value.is_list() {
        let items = value.items().unwrap_or_default();
        return ForwardedFields::Listed(
            items.iter().filter_map(|item| item.parsed(forwarded_field)).collect(),
        );
    }
    let all = value.parsed(|text| match text {
        "all" => Ok(ForwardedFields::All),
        _ => Err("write `all`, or a list as `[X-Report-Format]`".to_owned()),
    });
    all.unwrap_or(ForwardedFields::Listed(Vec::new()))
}

fn forwarded_field(text: &str) -> Result<http::HeaderName, String> {
    let name = value::field_name(text)?;
    if forwarding::is_forbidden(&name) {
        return Err(
            "take it out: it is a credential, speaks of one connection, or is the proxy's own".to_owned()
        );
    }
    Ok(name)
}
