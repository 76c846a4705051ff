//! Finds the tenants that fail, and the reason, for use in an incident.
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
use crate::oauth::no_token::NoToken;
use crate::problem::{Code, ProblemText, Rejection};
use crate::proxy::Proxy;
use crate::snapshot::Snapshot;
use crate::upstream::origin::Origin;

/// The decisions for a tenant, by endpoint.
pub(super) type Decisions = Vec<(Arc<Endpoint>, Result<TenantName, Denial>)>;

/// The upstream origins, by the owner of their credential.
pub(super) struct OriginsByOwner(HashMap<TenantName, Arc<Origin>>);

/// The denials that are failures even if other endpoints are granted.
const PARTIAL: [Code; 2] = [Code::ScopeMissing, Code::DeniedByTalkdesk];

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
    let problem =
        |rejection: &Rejection| rejection.problem(Some(&tenant.label), snapshot.config.server.denial_status);
    let denied = decisions.iter().filter_map(|(endpoint, decision)| {
        let denial = decision.as_ref().err()?.clone();
        Some((&endpoint.name, problem(&Rejection::Denied(denial))))
    });
    let denied: Vec<_> = denied.collect();
    let owner = decisions.iter().find_map(|(_, decision)| decision.as_ref().ok());
    let Some(owner) = owner else {
        return denied.first().map_or(Value::Null, |(_, problem)| one(problem, &[], false));
    };
    if let Some((problem, serving)) =
        origins.0.get(owner).and_then(|origin| origin_failure(origin, now, problem))
    {
        return one(&problem, &[], serving);
    }
    if let Some((problem, endpoints)) =
        origins.0.get(owner).and_then(|origin| unproven(tenant, origin, problem))
    {
        return one(&problem, &endpoints.iter().map(|endpoint| &**endpoint).collect::<Vec<_>>(), true);
    }
    let Some(code) = denied.iter().map(|(_, problem)| problem.code).find(|code| PARTIAL.contains(code))
    else {
        return Value::Null;
    };
    let of_code: Vec<_> = denied.iter().filter(|(_, problem)| problem.code == code).collect();
    let endpoints: Vec<_> = of_code.iter().map(|(name, _)| &***name).collect();
    of_code.first().map_or(Value::Null, |(_, problem)| one(problem, &endpoints, true))
}

/// A problem of the credential or of the connection to Talkdesk, and whether the tenant is served nevertheless.
fn origin_failure(
    origin: &Origin,
    now: Now,
    problem: impl Fn(&Rejection) -> ProblemText,
) -> Option<(ProblemText, bool)> {
    let status = origin.tokens.status();
    if let Some(error) = status.error {
        let retry_in = status.next_attempt.map_or(Duration::ZERO, |next| now.until(next));
        return Some((
            problem(&Rejection::NoToken(NoToken { error, retry_in })),
            status.usable_until.is_some(),
        ));
    }
    if let Some(refused) = origin.gate.paused() {
        let paused = problem(&Rejection::from(refused));
        let message = "Talkdesk requested a pause; stored responses are served meanwhile.".to_owned();
        return Some((ProblemText { message, ..paused }, false));
    }
    origin.breaker.is_open().then(|| {
        let timeout = problem(&Rejection::UpstreamTimeout);
        let message = "Talkdesk's API does not respond; the proxy retries periodically.".to_owned();
        (ProblemText { code: Code::UpstreamUnreachable, message, ..timeout }, false)
    })
}

/// The endpoints that Talkdesk does not restrict to an account, if the tenant is an Instance that needs this.
fn unproven(
    tenant: &Tenant,
    origin: &Origin,
    problem: impl Fn(&Rejection) -> ProblemText,
) -> Option<(ProblemText, Vec<Arc<str>>)> {
    match &tenant.kind {
        TenantKind::Instance(instance) if matches!(instance.seller, Seller::Configured(_)) => {}
        TenantKind::Instance(_) | TenantKind::Organization(_) => return None,
    }
    let unproven = origin.proofs.unproven();
    let problem = problem(&Rejection::AccountScopeUnproven(unproven.first()?.clone()));
    Some((problem, unproven.into_iter().map(|one| one.endpoint).collect()))
}

fn one(problem: &ProblemText, endpoints: &[&str], serving: bool) -> Value {
    json!({
        "reason": problem.code.as_str(),
        "message": problem.message,
        "remedy": problem.remedy,
        "endpoints": endpoints,
        "serving": serving,
    })
}
