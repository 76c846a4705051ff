//! Entitlement: which tenant may make which request, and with which credential.
//!
//! [`authorize`] is the only function that makes a [`Permit`]. Sending a request upstream and reading from
//! the cache both require a permit, so the type system guarantees that a refused request is not sent.
//!
//! The rules follow Talkdesk's "Billing Insights API: Entitlement": a partner's Organization has one client
//! for all its Instances; a customer of Talkdesk itself has a client per Instance; a customer of a reseller
//! must not use its own client. Missing information **denies** the request where another tenant's data could
//! become visible (an Instance whose account id is unknown, an endpoint whose records are unknown). It
//! **allows** the request where Talkdesk can still refuse it (unknown scopes, an Organization's list of
//! accounts that is missing or too old).

use std::sync::Arc;
use std::time::Instant;

pub use super::access_request::AccessRequest;
use super::credential::Credential;
pub use super::denial::Denial;
pub use super::endpoint::AccountScope;
use super::endpoint::{Endpoint, Narrowing};
use super::filter::{Expression, compose};
use super::id::AccountId;
use super::learned::{DeniedRequest, Learned};
use super::narrow::{Reach, narrow};
pub use super::policy::{FILTER, INSTANCE_QUERY_PARAMETERS, Policy};
use super::query::{self, Parameter};
use super::tenant::{Instance, Organization, Seller, Tenant, TenantKind};

/// Proof that a tenant may make a request, with all that is needed to send it.
#[derive(Clone, Debug)]
pub struct Permit {
    tenant: Arc<Tenant>,
    credential: Arc<Credential>,
    endpoint: Arc<Endpoint>,
    path_and_query: Arc<str>,
    account_scope: Option<AccountScope>,
    client_filter: Option<Arc<Expression>>,
    reread_accounts: Option<Arc<Organization>>,
}

/// Decides whether `tenant` may make the request, and with which credential.
///
/// # Errors
/// The first rule that refuses it.
pub fn authorize(
    tenant: &Arc<Tenant>,
    request: &AccessRequest<'_>,
    policy: &Policy,
    learned: &Learned,
    now: Instant,
) -> Result<Permit, Denial> {
    tenant_is_enabled(tenant)?;
    let (credential, reach) = credential_for(tenant, policy)?;
    scope_is_granted(credential, request.endpoint, learned, now)?;
    let narrowed = narrow(request, credential, reach, policy, learned, now)?;
    let permit = Permit {
        tenant: Arc::clone(tenant),
        credential: Arc::clone(credential),
        endpoint: Arc::clone(request.endpoint),
        path_and_query: narrowed.path_and_query,
        account_scope: narrowed.account_scope,
        client_filter: narrowed.client_filter,
        reread_accounts: narrowed.reread_accounts,
    };
    if learned.has_denials()
        && let Some(denial) = learned.denial(&permit.as_denied_request(), now)
    {
        return Err(Denial::DeniedByTalkdesk(denial));
    }
    Ok(permit)
}

fn tenant_is_enabled(tenant: &Tenant) -> Result<(), Denial> {
    match tenant.organization() {
        _ if !tenant.enabled => Err(Denial::TenantDisabled { organization: None }),
        Some(organization) if !organization.enabled => {
            let own = matches!(tenant.kind, TenantKind::Organization(_));
            Err(Denial::TenantDisabled { organization: (!own).then(|| organization.id.clone()) })
        }
        _ => Ok(()),
    }
}

fn credential_for<'a>(
    tenant: &'a Tenant,
    policy: &Policy,
) -> Result<(&'a Arc<Credential>, Reach<'a>), Denial> {
    let instance = match &tenant.kind {
        TenantKind::Organization(organization) => {
            let credential =
                organization.credential.as_ref().ok_or(Denial::NoOauthClient { organization: None })?;
            return Ok((credential, Reach::Organization(organization)));
        }
        TenantKind::Instance(instance) => instance,
    };
    match &instance.seller {
        Seller::Configured(organization) => {
            let missing = || Denial::NoOauthClient { organization: Some(organization.id.clone()) };
            let credential = organization.credential.as_ref().ok_or_else(missing)?;
            Ok((credential, instance.account_id.map_or(Reach::Unknown, Reach::Narrowed)))
        }
        Seller::Reseller(organization) => {
            Err(Denial::ResellerSold { organization: Arc::clone(organization) })
        }
        Seller::Talkdesk(_) => {
            let credential =
                instance.credential.as_ref().ok_or(Denial::NoOauthClient { organization: None })?;
            plan_is_eligible(instance, policy)?;
            Ok((credential, Reach::Direct(instance.account_id)))
        }
    }
}

fn plan_is_eligible(instance: &Instance, policy: &Policy) -> Result<(), Denial> {
    let eligible = policy.eligible_plans.is_empty()
        || instance.plan.as_ref().is_some_and(|plan| policy.eligible_plans.contains(plan));
    if eligible { Ok(()) } else { Err(Denial::PlanNotEligible { plan: instance.plan.clone() }) }
}

/// Checks the scope again once there is a token: the first token of a credential is the first information
/// about its scopes. A request without the scope is not sent.
///
/// # Errors
/// [`Denial::ScopeMissing`]
pub fn still_granted(permit: &Permit, learned: &Learned, now: Instant) -> Result<(), Denial> {
    scope_is_granted(&permit.credential, &permit.endpoint, learned, now)
}

fn scope_is_granted(
    credential: &Credential,
    endpoint: &Endpoint,
    learned: &Learned,
    now: Instant,
) -> Result<(), Denial> {
    let Some(scope) = &endpoint.scope else { return Ok(()) };
    let missing = |learned| Denial::ScopeMissing { scope: scope.as_str().into(), learned };
    if credential.scopes.as_ref().is_some_and(|configured| !configured.contains(scope)) {
        return Err(missing(false));
    }
    match learned.scopes(&credential.key, now) {
        Some(granted) if !granted.scopes.contains(scope.as_str()) => Err(missing(true)),
        _ => Ok(()),
    }
}

impl Permit {
    /// The tenant that makes the request.
    #[must_use]
    pub fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    /// The credential to use.
    #[must_use]
    pub fn credential(&self) -> &Arc<Credential> {
        &self.credential
    }

    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The path and query upstream.
    #[must_use]
    pub fn path_and_query(&self) -> &Arc<str> {
        &self.path_and_query
    }

    /// The condition that every record of the response must satisfy.
    #[must_use]
    pub fn account_scope(&self) -> Option<&AccountScope> {
        self.account_scope.as_ref()
    }

    /// The path upstream.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path_and_query.split('?').next().unwrap_or_default()
    }

    /// The filter from the client of an Instance on its Organization's credential, without the account
    /// condition.
    #[must_use]
    pub fn client_filter(&self) -> Option<&Expression> {
        self.client_filter.as_deref()
    }

    /// The probe for this request: same path and client filter, for an account that does not exist.
    #[must_use]
    pub fn probe(&self, narrowing: &Narrowing) -> Self {
        let nonexistent = narrowing.filter.for_account(AccountId::NONEXISTENT);
        let mut parameters = vec![Parameter::new(FILTER, compose(&nonexistent, self.client_filter()))];
        if self.endpoint.is_documented() {
            parameters.push(Parameter::new("per_page", "1"));
        }
        Self {
            path_and_query: query::joined(self.path(), &query::written(parameters)),
            account_scope: Some(AccountScope {
                field: Arc::clone(&narrowing.field),
                account: AccountId::NONEXISTENT,
            }),
            reread_accounts: None,
            ..self.clone()
        }
    }

    /// The Organization whose list of accounts was missing or too old to decide with.
    #[must_use]
    pub fn reread_accounts(&self) -> Option<&Arc<Organization>> {
        self.reread_accounts.as_ref()
    }

    /// The key for remembering a denial of this request.
    #[must_use]
    pub fn as_denied_request(&self) -> DeniedRequest {
        DeniedRequest {
            credential: self.credential.key.clone(),
            path_and_query: Arc::clone(&self.path_and_query),
        }
    }
}

#[cfg(test)]
#[path = "entitlement_tests.rs"]
mod tests;
