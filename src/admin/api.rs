//! The JSON API of the admin plane: tenants, credentials and cache. It never contains a secret or a token.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::failing::{Decisions, OriginsByOwner, failing};
use super::reply::AdminResponse;
use crate::clock::Now;
use crate::domain::endpoint::Endpoint;
use crate::domain::entitlement::{AccessRequest, Denial};
use crate::domain::tenant::{Seller, Tenant, TenantKind, TenantName};
use crate::limit::gate::Refused;
use crate::metrics::reading::Counts;
use crate::problem::Rejection;
use crate::proxy::Proxy;
use crate::snapshot::Snapshot;
use crate::timestamp::timestamp;

/// All tenants: entitlements, counts, last request and failures.
pub(super) fn tenants(proxy: &Proxy) -> AdminResponse {
    let (snapshot, now) = (proxy.snapshot(), proxy.clock.now());
    let origins = OriginsByOwner::of(&snapshot);
    let counted = RequestCounts::of(proxy);
    let tenants: Vec<_> = known_tenants(proxy, &snapshot)
        .iter()
        .map(|tenant| {
            let decide = |endpoint| decide(tenant, endpoint, proxy, &snapshot, now);
            let decisions: Decisions =
                snapshot.endpoints.iter().map(|endpoint| (Arc::clone(endpoint), decide(endpoint))).collect();
            let mut described = describe(tenant, &decisions, &snapshot);
            described["failing"] = failing(tenant, &decisions, &origins, proxy, &snapshot);
            counted.add_to(&mut described, &tenant.label);
            described["asked_last"] = last_request(tenant, &snapshot);
            described
        })
        .collect();
    AdminResponse::json(StatusCode::OK, &json!({ "tenants": tenants }))
}

/// Request counts by tenant.
struct RequestCounts {
    requests: BTreeMap<String, Counts>,
    upstream: Counts,
}

impl RequestCounts {
    fn of(proxy: &Proxy) -> Self {
        let reading = proxy.metrics.reading();
        Self {
            requests: reading.by_both("tenant_requests_total", "tenant", "outcome"),
            upstream: reading.by("tenant_upstream_requests_total", "tenant"),
        }
    }

    /// Adds the counts, or null if the tenant has no series of its own.
    fn add_to(&self, described: &mut Value, label: &str) {
        described["requests"] = json!(self.requests.get(label));
        described["upstream_requests"] = json!(self.upstream.get(label));
    }
}

/// The tenant's last request. It has the endpoint instead of the path, because a path may contain more than the
/// endpoint's name.
fn last_request(tenant: &Tenant, snapshot: &Snapshot) -> Value {
    let last = snapshot.known_tenant_metrics(&tenant.name).and_then(|metrics| metrics.last_request());
    last.map_or(Value::Null, |last| {
        json!({
            "at": timestamp(last.at),
            "endpoint": &*last.endpoint,
            "status": last.status.as_u16(),
            "outcome": last.outcome.as_str(),
        })
    })
}

/// The configured tenants, followed by the discovered ones.
fn known_tenants(proxy: &Proxy, snapshot: &Snapshot) -> Vec<Arc<Tenant>> {
    let mut tenants: Vec<_> = snapshot.config.tenants.iter().cloned().collect();
    let mut learned = proxy.learned.instances();
    learned.retain(|tenant| {
        snapshot.config.tenants.find(&tenant.name).is_none()
            && snapshot.tenant(&tenant.name, &proxy.learned).is_some()
    });
    learned.sort_by(|one, other| one.name.cmp(&other.name));
    tenants.extend(learned);
    tenants
}

fn describe(tenant: &Arc<Tenant>, decisions: &Decisions, snapshot: &Snapshot) -> Value {
    let verdicts = decisions
        .iter()
        .map(|(endpoint, decision)| (endpoint.name.to_string(), verdict(tenant, decision, snapshot)));
    let endpoints: BTreeMap<_, _> = verdicts.collect();
    let (kind, organization, account_id, plan) = match &tenant.kind {
        TenantKind::Organization(organization) => {
            ("organization", Some(organization.name.to_string()), None, None)
        }
        TenantKind::Instance(instance) => {
            let organization = match &instance.seller {
                Seller::Configured(organization) => format!("organizations/{}", organization.id),
                Seller::Talkdesk(direct) => direct.as_str().to_owned(),
                Seller::Reseller(name) => name.to_string(),
            };
            ("instance", Some(organization), instance.account_id, instance.plan.as_deref())
        }
    };
    json!({
        "tenant": &*tenant.label,
        "kind": kind,
        "organization": organization,
        "account_id": account_id.map(|id| id.to_string()),
        "plan": plan,
        "learned": snapshot.config.tenants.find(&tenant.name).is_none(),
        "endpoints": endpoints,
    })
}

/// Whether the tenant may request an endpoint: with which credential, or why not.
fn verdict(tenant: &Tenant, decision: &Result<TenantName, Denial>, snapshot: &Snapshot) -> Value {
    match decision {
        Ok(owner) => json!({ "entitled": true, "credential": owner.to_string() }),
        Err(denial) => {
            let problem = Rejection::Denied(denial.clone())
                .problem(Some(&tenant.label), snapshot.config.server.denial_status);
            json!({ "entitled": false, "reason": problem.code.as_str(), "message": problem.message, "remedy": problem.remedy })
        }
    }
}

/// The owner of the credential that the tenant's requests for an endpoint use.
fn decide(
    tenant: &Arc<Tenant>,
    endpoint: &Arc<Endpoint>,
    proxy: &Proxy,
    snapshot: &Snapshot,
    now: Now,
) -> Result<TenantName, Denial> {
    let access = AccessRequest { endpoint, path: &endpoint.path.display(), query: None };
    let permit = snapshot.authorize(tenant, &access, &proxy.learned, now)?;
    Ok(permit.credential().owner.clone())
}

/// The state of every credential.
pub(super) fn credentials(proxy: &Proxy) -> AdminResponse {
    let (snapshot, now) = (proxy.snapshot(), proxy.clock.now());
    let time = |instant| timestamp(now.wall_at(instant));
    let requests = proxy.metrics.reading().by_both("token_requests_total", "tenant", "result");
    let credentials: Vec<_> = snapshot
        .origins()
        .map(|origin| {
            let (credential, status) = (origin.tokens.credential(), origin.tokens.status());
            let owner = credential.owner.to_string();
            let pause = match origin.gate.paused() {
                Some(Refused::Paused { rest, .. }) => Some(time(now.after(rest))),
                Some(Refused::Limited { .. }) | None => None,
            };
            json!({
                "token_requests": requests.get(&owner),
                "credential": owner,
                "client_id": credential.client_id.as_str(),
                "token_url": &*credential.token_url,
                "api_url": &*credential.api_origin,
                "state": status.state,
                "token_number": status.tokens,
                "token_usable_until": status.usable_until.map(time),
                "scopes": status.scopes,
                "last_error": status.error.map(|error| error.to_string()),
                "next_attempt": status.next_attempt.map(time),
                "paused": pause.is_some(),
                "paused_until": pause,
                "unreachable": origin.breaker.is_open(),
                "waiting": origin.gate.waiting(),
            })
        })
        .collect();
    AdminResponse::json(StatusCode::OK, &json!({ "credentials": credentials }))
}

/// The owners of credentials that have no token because the token request failed.
pub(super) fn failing_credentials(proxy: &Proxy) -> Vec<String> {
    let snapshot = proxy.snapshot();
    let failing = snapshot.origins().filter(|origin| {
        let status = origin.tokens.status();
        status.error.is_some() && status.usable_until.is_none()
    });
    failing.map(|origin| origin.tokens.credential().owner.to_string()).collect()
}

/// The size of the cache, in total and by endpoint.
pub(super) fn cache(proxy: &Proxy) -> AdminResponse {
    proxy.cache.tidy();
    let snapshot = proxy.snapshot();
    let (entries, bytes) = proxy.cache.fill();
    let mut by_endpoint: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for place in proxy.cache.slots() {
        let sums = by_endpoint.entry(place.label.endpoint.to_string()).or_default();
        sums.0 += place.variants.len() as u64;
        sums.1 += place.variants.iter().map(|entry| entry.weight() as u64).sum::<u64>();
    }
    let endpoints: BTreeMap<_, _> = by_endpoint
        .into_iter()
        .map(|(name, (entries, bytes))| (name, json!({ "entries": entries, "bytes": bytes })))
        .collect();
    AdminResponse::json(
        StatusCode::OK,
        &json!({
            "entries": entries,
            "bytes": bytes,
            "max_bytes": snapshot.config.cache.max_bytes,
            "endpoints": endpoints,
        }),
    )
}
