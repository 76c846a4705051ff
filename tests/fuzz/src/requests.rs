//! From a request's head to what is sent upstream: nobody is shown what is not theirs, nothing leads elsewhere, and
//! nothing of the client's own goes along that must not.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use billing_insights_proxy::cache::primary_key;
use billing_insights_proxy::config::{Config, Environment, parse};
use billing_insights_proxy::domain::credential::Credential;
use billing_insights_proxy::domain::endpoint::{Content, Endpoint};
use billing_insights_proxy::domain::entitlement::{AccessRequest, Permit, authorize};
use billing_insights_proxy::domain::filter::{ComparisonKind, parse as parse_filter};
use billing_insights_proxy::domain::learned::Learned;
use billing_insights_proxy::domain::query::parameters;
use billing_insights_proxy::domain::target;
use billing_insights_proxy::domain::tenant::{Naming, Seller, Tenant, TenantKind};
use billing_insights_proxy::headers::X_TENANT;
use billing_insights_proxy::headers::forwarded;
use http::{HeaderMap, Method, Uri};

use crate::lines::fields;

struct Stage {
    config: Config,
    endpoints: Vec<Arc<Endpoint>>,
    learned: Learned,
    now: Instant,
}

const YAML: &str = "
upstream:
  api_url: https://api.io
  token_url: https://{account}.id.io/oauth/token
  instance_query_parameters: [after]
  endpoints:
    reports: { path: /reports/*, forward_request_fields: all }
organizations:
  - id: acme
    credential: { account: acme, client_id: a, client_secret: { env: SECRET } }
    accounts: [{ id: 5ea75fe7aa224700012eae40, name: pinetrees }]
    discover_accounts: false
  - id: stark
    credential: { account: stark, client_id: b, client_secret: { env: SECRET } }
    discover_accounts: false
instances:
  - name: globex
    account_id: 5ea75fe7aa224700012eae41
    organization: Talkdesk
    credential: { account: globex, client_id: c, client_secret: { env: SECRET } }
";

static STAGE: LazyLock<Stage> = LazyLock::new(|| {
    let environment = Environment::new(|_| Some("hidden".into()));
    let config = parse(YAML, "fuzz.yaml", Path::new("/nowhere"), &environment)
        .unwrap_or_else(|faults| panic!("{faults}"));
    let endpoints = config.endpoints.iter().map(|configured| Arc::clone(&configured.endpoint)).collect();
    Stage { config, endpoints, learned: Learned::default(), now: Instant::now() }
});

pub fn run(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (line, rest) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let Ok(line) = std::str::from_utf8(line) else { return };
    let (method, url) = line.split_once(' ').unwrap_or(("GET", line));
    let (Ok(method), Ok(url)) = (method.parse::<Method>(), url.parse::<Uri>()) else { return };
    let fields = fields(rest);
    fields_that_pass(&fields);
    let Ok(target) = target::read(url.path(), &STAGE.endpoints) else { return };
    assert!(
        url.path().ends_with(target.path) && !url.path().contains("//") && !url.path().contains(['\\', ';'])
    );
    assert!(!target.path.split('/').any(|segment| matches!(segment, "." | "..")));
    let named = Naming {
        prefix: target.prefix,
        field: fields.get(X_TENANT).map(http::HeaderValue::as_bytes),
        field_repeated: fields.get_all(X_TENANT).iter().count() > 1,
        default: None,
    };
    let (Some(endpoint), Ok(name)) = (target.endpoint, named.resolve()) else { return };
    if !endpoint.methods.contains(&method) {
        return;
    }
    let mut permits = Vec::new();
    for tenant in STAGE.config.tenants.iter() {
        let request = AccessRequest { endpoint, path: target.path, query: url.query() };
        let Ok(permit) = authorize(tenant, &request, &STAGE.config.policy, &STAGE.learned, STAGE.now) else {
            continue;
        };
        holds(&permit, tenant, endpoint, &url);
        permits.push(permit);
    }
    assert!(STAGE.config.tenants.find(&name).is_none_or(|tenant| tenant.name == name));
    for permit in &permits {
        for other in &permits {
            // What is nobody's records, a catalogue, may be one for all who share a credential.
            let same = permit.credential().key == other.credential().key
                && permit.account_scope() == other.account_scope()
                && permit.path_and_query() == other.path_and_query();
            assert_eq!(same, primary_key(permit) == primary_key(other), "two tenants meet");
            assert!(
                !same
                    || permit.tenant().name == other.tenant().name
                    || endpoint.content == Content::Catalogue
            );
        }
    }
}

fn holds(permit: &Permit, tenant: &Tenant, endpoint: &Endpoint, asked: &Uri) {
    let target = format!("{}{}", permit.credential().api_origin, permit.path_and_query());
    if let Ok(target) = target.parse::<Uri>() {
        assert_eq!(target.host(), Some("api.io"), "it leads elsewhere");
        assert!(target.port().is_none() && endpoint.path.matches(target.path()), "{target}");
        assert!(asked.path().ends_with(target.path()));
    }
    let (path, query) = permit.path_and_query().split_once('?').unwrap_or((permit.path_and_query(), ""));
    assert!(endpoint.path.matches(path));
    let filters: Vec<String> = parameters(query)
        .filter(|parameter| parameter.is("filter"))
        .map(|parameter| parameter.value().into_owned())
        .collect();
    match &tenant.kind {
        TenantKind::Organization(organization) => {
            assert!(is_with(permit, organization.credential.as_ref()));
            assert!(permit.account_scope().is_none());
        }
        TenantKind::Instance(instance) => {
            let own = instance.account_id.expect("each of them has one").to_string();
            for filter in filters.iter().filter_map(|filter| parse_filter(filter).ok()) {
                filter.compared_values(&|name| name.eq_ignore_ascii_case("account_id"), &mut |value, by| {
                    let may_be_other =
                        by == ComparisonKind::Other && !matches!(instance.seller, Seller::Configured(_));
                    assert!(may_be_other || value.eq_ignore_ascii_case(&own), "another's account: {query}");
                });
            }
            match &instance.seller {
                Seller::Configured(organization) => {
                    assert!(is_with(permit, organization.credential.as_ref()));
                    let records = matches!(endpoint.content, Content::Records(_));
                    assert!(records || endpoint.content == Content::Catalogue, "what can't be checked");
                    assert_eq!(permit.account_scope().is_some(), records, "{query}");
                    let ours = format!("account_id eq '{own}'");
                    match filters.as_slice() {
                        [filter] if records => {
                            let rest = filter.strip_prefix(&ours).expect("its own account first");
                            assert!(rest.is_empty() || is_enclosed(rest), "{query}");
                        }
                        [] | [_] => assert!(!records, "{query}"),
                        _ => panic!("more than one filter: {query}"),
                    }
                }
                Seller::Talkdesk(_) => assert!(is_with(permit, instance.credential.as_ref())),
                Seller::Reseller(_) => panic!("a reseller's customer has a permit"),
            }
        }
    }
}

/// Whether a text is ` and (...)` for one who knows nothing but quotes and parentheses.
pub fn is_enclosed(text: &str) -> bool {
    let Some(inner) = text.strip_prefix(" and (") else { return false };
    let (mut depth, mut quoted) = (1, false);
    for (position, one) in inner.char_indices() {
        match one {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return position == inner.len() - 1;
        }
    }
    false
}

fn is_with(permit: &Permit, credential: Option<&Arc<Credential>>) -> bool {
    credential.is_some_and(|own| own.key == permit.credential().key)
}

fn fields_that_pass(request: &HeaderMap) {
    for configured in &STAGE.config.endpoints {
        let allowed = &configured.endpoint.forward_request_fields;

        let passed = forwarded(request, allowed);
        for name in passed.keys() {
            let plain = name.as_str().replace('_', "-");
            assert!(passed.get_all(name).iter().eq(request.get_all(name).iter()), "{name} changed");
            assert!(!plain.starts_with("if-"), "{name}");
            let of_others = ["proxy-", "x-forwarded", "sec-"].iter().any(|prefix| plain.starts_with(prefix));
            assert!(!of_others, "{name}");
            for forbidden in [
                "authorization",
                "cookie",
                "host",
                "connection",
                "te",
                "transfer-encoding",
                "content-length",
                "upgrade",
                "x-tenant",
                "forwarded",
                "via",
                "range",
                "keep-alive",
                "expect",
            ] {
                assert_ne!(plain, forbidden);
            }
            let named = request.get_all("connection").iter().any(|value| {
                let mut names = value.as_bytes().split(|byte| *byte == b',');
                names.any(|named| named.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
            });
            assert!(!named, "{name} is of the connection");
        }
    }
}
