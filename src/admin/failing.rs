//! Finds the tenants that fail, and the reason: the first question in an incident.
//!
//! A tenant fails if it may request nothing; if its credential has no token or could not get a new one; if
//! Talkdesk is unreachable or requested a pause; if Talkdesk does not restrict responses to its account; or if one
//! of its endpoints is denied for a missing scope or by Talkdesk. An endpoint that only Organizations may request
//! is not a failure of an Instance.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::Now;
use crate::domain::endpoint::Endpoint;
use crate::domain::entitlement::Denial;
use crate::domain::tenant::{Seller, Tenant, TenantKind, TenantName};
use crate::oauth::tokens::NoToken;
use crate::proxy::Proxy;
use crate::proxy::origin::Origin;
use crate::proxy::rejection::{Rejection, Told};
use crate::proxy::snapshot::Snapshot;

/// The decisions for a tenant, by endpoint.
pub(super) type Decisions = Vec<(Arc<Endpoint>, Result<TenantName, Denial>)>;

/// The upstream origins, by the owner of their credential.
pub(super) struct OriginsByOwner(HashMap<TenantName, Arc<Origin>>);

/// The denials that are failures even if other endpoints are granted.
const PARTIAL: [&str; 2] = ["scope_missing", "denied_by_talkdesk"];

impl OriginsByOwner {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let by_owner = |origin: &Arc<Origin>| (origin.tokens.credential().owner.clone(), Arc::clone(origin));
        Self(snapshot.origins().map(by_owner).collect())
    }
}

/// Why a tenant fails; null if it does not.
pub(super) fn failing(
    tenant: &Tenant,
    decisions: &Decisions,
    origins: &OriginsByOwner,
    proxy: &Proxy,
    snapshot: &Snapshot,
) -> Value {
    let now = proxy.clock.now();
    let told =
        |rejection: &Rejection| rejection.told(Some(&tenant.label), snapshot.config.server.denial_status);
    let denied = decisions.iter().filter_map(|(endpoint, decision)| {
        let denial = decision.as_ref().err()?.clone();
        Some((&endpoint.name, told(&Rejection::Denied(denial))))
    });
    let denied: Vec<_> = denied.collect();
    let owner = decisions.iter().find_map(|(_, decision)| decision.as_ref().ok());
    let Some(owner) = owner else {
        return denied.first().map_or(Value::Null, |(_, told)| one(told, &[], false));
    };
    if let Some((told, serving)) = origins.0.get(owner).and_then(|origin| origin_failure(origin, now, told)) {
        return one(&told, &[], serving);
    }
    if let Some((told, endpoints)) = origins.0.get(owner).and_then(|origin| unproven(tenant, origin, told)) {
        return one(&told, &endpoints.iter().map(|endpoint| &**endpoint).collect::<Vec<_>>(), true);
    }
    let Some(code) = denied.iter().map(|(_, told)| told.code).find(|code| PARTIAL.contains(code)) else {
        return Value::Null;
    };
    let of_code: Vec<_> = denied.iter().filter(|(_, told)| told.code == code).collect();
    let endpoints: Vec<_> = of_code.iter().map(|(name, _)| &***name).collect();
    of_code.first().map_or(Value::Null, |(_, told)| one(told, &endpoints, true))
}

/// A problem of the credential or of the connection to Talkdesk, and whether the tenant is served nevertheless.
fn origin_failure(origin: &Origin, now: Now, told: impl Fn(&Rejection) -> Told) -> Option<(Told, bool)> {
    let status = origin.tokens.status();
    if let Some(error) = status.error {
        let retry_in = status.next_attempt.map_or(Duration::ZERO, |next| now.until(next));
        return Some((told(&Rejection::NoToken(NoToken { error, retry_in })), status.usable_until.is_some()));
    }
    if let Some(refused) = origin.gate.paused() {
        let paused = told(&Rejection::from(refused));
        let what = "Talkdesk requested a pause; stored responses are served meanwhile.".to_owned();
        return Some((Told { what, ..paused }, false));
    }
    origin.breaker.is_open().then(|| {
        let timeout = told(&Rejection::UpstreamTimeout);
        let what = "Talkdesk's API does not respond; the proxy retries periodically.".to_owned();
        (Told { code: "upstream_unreachable", what, ..timeout }, false)
    })
}

/// The endpoints that Talkdesk does not restrict to an account, if the tenant is an Instance that needs this.
fn unproven(
    tenant: &Tenant,
    origin: &Origin,
    told: impl Fn(&Rejection) -> Told,
) -> Option<(Told, Vec<Arc<str>>)> {
    match &tenant.kind {
        TenantKind::Instance(instance) if matches!(instance.seller, Seller::Configured(_)) => {}
        TenantKind::Instance(_) | TenantKind::Organization(_) => return None,
    }
    let unproven = origin.proofs.unproven();
    let told = told(&Rejection::AccountScopeUnproven(unproven.first()?.clone()));
    Some((told, unproven.into_iter().map(|one| one.endpoint).collect()))
}

fn one(told: &Told, endpoints: &[&str], serving: bool) -> Value {
    json!({
        "reason": told.code,
        "message": told.what,
        "remedy": told.remedy,
        "endpoints": endpoints,
        "serving": serving,
    })
}
