//! Explains an entitlement decision to operators and auditors: every rule in order, its verdict, and the fact that it is
//! based on.
//!
//! The verdict is that of [`authorize`]. No request is sent, so the decision of Talkdesk is not known.

use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use serde_json::{Value, json};

use crate::config::{CacheRule, Config, Overrides};
use crate::domain::credential::Credential;
use crate::domain::endpoint::{Content, Endpoint, PathPattern};
use crate::domain::entitlement::{AccessRequest, Denial, Permit, authorize};
use crate::domain::learned::Learned;
use crate::domain::target;
use crate::domain::tenant::{Seller, Tenant, TenantKind};
use crate::problem::{Code, ProblemText, Rejection, denial_code};

/// The rules of the entitlement, in the order of evaluation.
pub const RULES: [Code; 10] = [
    Code::TenantDisabled,
    Code::ResellerSold,
    Code::NoOauthClient,
    Code::PlanNotEligible,
    Code::ScopeMissing,
    Code::OrganizationOnly,
    Code::ParameterNotAllowed,
    Code::FilterNotUnderstood,
    Code::AccountNotInOrganization,
    Code::DeniedByTalkdesk,
];

/// The explanation of a decision.
pub struct Explanation<'a> {
    config: &'a Config,
    tenant: &'a Arc<Tenant>,
    endpoint: &'a Arc<Endpoint>,
    facts: [String; RULES.len()],
    outcome: Result<Permit, Denial>,
}

/// The number of configured tenants that may request at least one endpoint.
#[must_use]
pub fn entitled(config: &Config, now: Instant) -> usize {
    let learned = Learned::default();
    let may_ask = |tenant: &&Arc<Tenant>| {
        config.endpoints.iter().any(|configured| {
            let explained = explain(config, &learned, tenant, &some_path(&configured.endpoint), now);
            explained.is_ok_and(|explanation| explanation.denied_by().is_none())
        })
    };
    config.tenants.iter().filter(may_ask).count()
}

/// An example of a path that matches the endpoint.
#[must_use]
pub fn some_path(endpoint: &Endpoint) -> String {
    match &endpoint.path {
        PathPattern::Exact(path) => path.to_string(),
        PathPattern::Prefix(path) => format!("{path}any"),
    }
}

/// Explains a `GET` of a path (with its query, without the tenant's prefix) for a tenant.
///
/// # Errors
/// [`Rejection`] for a path that matches no endpoint.
pub fn explain<'a>(
    config: &'a Config,
    learned: &Learned,
    tenant: &'a Arc<Tenant>,
    path_and_query: &str,
    now: Instant,
) -> Result<Explanation<'a>, Rejection> {
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    let endpoints: Vec<_> = config.endpoints.iter().map(|one| Arc::clone(&one.endpoint)).collect();
    let target = target::read(path, &endpoints).map_err(|reason| Rejection::InvalidTarget(reason.0))?;
    let position = target.endpoint.filter(|_| target.prefix.is_none()).map(|endpoint| endpoint.position);
    let meant = || target::probably_meant(path, &endpoints);
    let Some(configured) = position.and_then(|position| config.endpoints.get(position)) else {
        return Err(Rejection::UnknownEndpoint { meant: meant() });
    };
    let endpoint = &configured.endpoint;
    let access = AccessRequest { endpoint, path: target.path, query };
    let outcome = authorize(tenant, &access, &config.policy, learned, now);
    let facts = [
        enabled(tenant),
        seller(tenant),
        client(tenant),
        plan(tenant, config),
        scope(tenant, endpoint, learned, now),
        who_may_ask(tenant, endpoint),
        parameters(tenant, config),
        filter(tenant, endpoint, config),
        accounts(tenant, learned),
        remembered(&outcome),
    ];
    Ok(Explanation { config, tenant, endpoint, facts, outcome })
}

impl Explanation<'_> {
    /// The code of the rule that denies the request; none if it is granted.
    #[must_use]
    pub fn denied_by(&self) -> Option<&'static str> {
        self.outcome.as_ref().err().map(|denial| denial_code(denial).as_str())
    }

    /// The endpoint's name.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint.name
    }

    /// The credential that a granted request uses.
    #[must_use]
    pub fn credential(&self) -> Option<&Arc<Credential>> {
        self.outcome.as_ref().ok().map(Permit::credential)
    }

    fn problem(&self) -> Option<ProblemText> {
        let denial = self.outcome.as_ref().err()?.clone();
        Some(Rejection::Denied(denial).problem(Some(&self.tenant.label), self.config.server.denial_status))
    }

    /// Each rule with its verdict (`passed`, `denied`, `not_reached`) and the fact that it is based on.
    pub fn rules(&self) -> impl Iterator<Item = (&'static str, &'static str, &str)> {
        let denied_by = self.outcome.as_ref().err().map(denial_code);
        let at = denied_by.and_then(|code| RULES.iter().position(|rule| *rule == code));
        RULES.iter().zip(&self.facts).enumerate().map(move |(index, (rule, fact))| {
            let verdict = match at {
                Some(at) if index == at => "denied",
                Some(at) if index > at => "not_reached",
                _ => "passed",
            };
            (rule.as_str(), verdict, fact.as_str())
        })
    }

    /// The explanation as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let rules: Vec<_> = self
            .rules()
            .map(|(rule, verdict, fact)| json!({ "rule": rule, "verdict": verdict, "fact": fact }))
            .collect();
        let mut value = json!({
            "tenant": &*self.tenant.label,
            "endpoint": self.endpoint(),
            "decision": if self.outcome.is_ok() { "granted" } else { "denied" },
            "rules": rules,
        });
        if let Some(problem) = self.problem() {
            value["code"] = json!(problem.code.as_str());
            value["status"] = json!(problem.status.as_u16());
            value["message"] = json!(problem.message);
            value["remedy"] = json!(problem.remedy);
        }
        if let Ok(permit) = &self.outcome {
            let credential = permit.credential();
            value["credential"] = json!({
                "owner": credential.owner.to_string(),
                "client_id": credential.client_id.as_str(),
                "token_url": &*credential.token_url,
            });
            value["upstream_url"] = json!(format!("{}{}", credential.api_origin, permit.path_and_query()));
            value["every_record_must_carry"] =
                json!(permit.account_scope().map(|scope| format!("{}: {}", scope.field, scope.account)));
            value["cache"] = json!(cache_rule(&self.config.endpoints[self.endpoint.position].rule));
            let limit = &self.config.limits.upstream;
            value["limits"] = json!({
                "burst": limit.rate.burst,
                "interval_seconds": limit.rate.interval.as_secs_f64(),
                "concurrency": limit.concurrency,
                "max_wait_seconds": limit.max_wait.as_secs_f64(),
            });
        }
        value
    }
}

/// The status, code and message for a path that matches no endpoint.
#[must_use]
pub fn not_explained(rejection: &Rejection) -> (StatusCode, &'static str, String) {
    let problem = rejection.problem(None, StatusCode::FORBIDDEN);
    (problem.status, problem.code.as_str(), format!("{} {}", problem.message, problem.remedy))
}

fn enabled(tenant: &Tenant) -> String {
    match tenant.organization() {
        _ if !tenant.enabled => "it is switched off (enabled: false)".into(),
        Some(organization) if !organization.enabled => {
            format!("organizations/{} is switched off (enabled: false)", organization.id)
        }
        _ => "it is switched on".into(),
    }
}

fn seller(tenant: &Tenant) -> String {
    match &tenant.kind {
        TenantKind::Organization(_) => "it is an Organization".into(),
        TenantKind::Instance(instance) => match &instance.seller {
            Seller::Configured(organization) => format!("organizations/{} owns it", organization.id),
            Seller::Talkdesk(direct) => format!("its Organization is `{}`", direct.as_str()),
            Seller::Reseller(name) => {
                format!("its Organization `{name}` is neither Talkdesk's nor configured here")
            }
        },
    }
}

fn client_of(tenant: &Tenant) -> Option<&Arc<Credential>> {
    match &tenant.kind {
        TenantKind::Organization(organization) => organization.credential.as_ref(),
        TenantKind::Instance(instance) => match &instance.seller {
            Seller::Configured(organization) => organization.credential.as_ref(),
            Seller::Talkdesk(_) => instance.credential.as_ref(),
            Seller::Reseller(_) => None,
        },
    }
}

fn client(tenant: &Tenant) -> String {
    match client_of(tenant) {
        Some(credential) => {
            format!("the client `{}` of {}", credential.client_id.as_str(), credential.owner)
        }
        None => "there is no client that it may use".into(),
    }
}

fn plan(tenant: &Tenant, config: &Config) -> String {
    let plans = &config.policy.eligible_plans;
    match &tenant.kind {
        TenantKind::Instance(instance) if matches!(instance.seller, Seller::Talkdesk(_)) => {
            let plan = instance.plan.as_deref().unwrap_or("none");
            if plans.is_empty() {
                format!("its plan is {plan}, and any will do (entitlement.eligible_plans is empty)")
            } else {
                format!("its plan is {plan}, and entitlement.eligible_plans has {}", plans.len())
            }
        }
        TenantKind::Organization(_) | TenantKind::Instance(_) => {
            "plans are asked of Instances on a client of their own only".into()
        }
    }
}

fn scope(tenant: &Tenant, endpoint: &Endpoint, learned: &Learned, now: Instant) -> String {
    let Some(scope) = &endpoint.scope else { return "the endpoint asks for no scope".into() };
    let Some(credential) = client_of(tenant) else { return format!("it takes `{}`", scope.as_str()) };
    let source = if let Some(configured) = &credential.scopes {
        format!("the configuration lists {}", configured.len())
    } else if let Some(granted) = learned.scopes(&credential.key, now) {
        format!("the token in hand has {}", granted.scopes.len())
    } else {
        "what the client has is not known until there is a token, and lets pass".into()
    };
    format!("it takes `{}`; {source}", scope.as_str())
}

/// Whether the tenant uses a credential with access to more than its own account.
fn is_narrowed(tenant: &Tenant) -> bool {
    matches!(&tenant.kind, TenantKind::Instance(instance) if matches!(instance.seller, Seller::Configured(_)))
}

fn who_may_ask(tenant: &Tenant, endpoint: &Endpoint) -> String {
    let content = match &endpoint.content {
        Content::Accounts => "the accounts of an Organization",
        Content::Catalogue => "a catalogue",
        Content::Records(_) => "records that each carry their account",
        Content::Opaque => "something that can't be narrowed to an account",
    };
    let whose = if is_narrowed(tenant) { "its Organization's client" } else { "a client of its own" };
    format!("{} answers with {content}, and it asks with {whose}", endpoint.name)
}

fn parameters(tenant: &Tenant, config: &Config) -> String {
    if !is_narrowed(tenant) {
        return "with a client of its own it may use any parameter".into();
    }
    let mut allowed: Vec<&str> =
        config.policy.instance_query_parameters.iter().map(|parameter| &**parameter).collect();
    allowed.sort_unstable();
    format!("it may use {}", allowed.join(", "))
}

fn filter(tenant: &Tenant, endpoint: &Endpoint, config: &Config) -> String {
    if !is_narrowed(tenant) {
        return "with a client of its own it may use any filter".into();
    }
    let narrowing = match &endpoint.content {
        Content::Records(narrowing) => narrowing,
        Content::Accounts | Content::Catalogue | Content::Opaque => &config.policy.narrowing,
    };
    format!("`{}` is added to its own filter", narrowing.filter.as_str())
}

fn accounts(tenant: &Tenant, learned: &Learned) -> String {
    match &tenant.kind {
        TenantKind::Organization(organization) => {
            let known = learned.accounts(&organization.id).map(|list| list.accounts.len());
            match (organization.discover_accounts, known) {
                (true, Some(known)) => format!("{known} accounts are learned from Talkdesk"),
                (true, None) => "its accounts are not known yet, so Talkdesk decides".into(),
                (false, _) if organization.accounts.is_empty() => {
                    "no accounts are configured, so Talkdesk decides".into()
                }
                (false, _) => {
                    format!("{} accounts are configured, a closed list", organization.accounts.len())
                }
            }
        }
        TenantKind::Instance(instance) => match instance.account_id {
            Some(id) => format!("its account is {id}"),
            None => "its account's id is not known".into(),
        },
    }
}

fn remembered(outcome: &Result<Permit, Denial>) -> String {
    match outcome {
        Err(Denial::DeniedByTalkdesk(denial)) => format!("Talkdesk said: {}", denial.reason),
        _ => "no denial of this request is remembered".into(),
    }
}

fn cache_rule(rule: &CacheRule) -> String {
    if *rule == CacheRule::default() {
        return "the origin decides, by RFC 9111".into();
    }
    let ttl = rule.ttl.map_or("the origin's time".to_owned(), |ttl| format!("{} s", ttl.as_secs()));
    let overrides = match &rule.overrides {
        Overrides::All => "all of the origin's directives give way".to_owned(),
        Overrides::Listed(listed) => format!("{} of the origin's directives give way", listed.len()),
    };
    format!(
        "fresh for {ttl}, then {} s while revalidating, {} s on errors; {overrides}",
        rule.stale_while_revalidate.as_secs(),
        rule.stale_if_error.as_secs()
    )
}
