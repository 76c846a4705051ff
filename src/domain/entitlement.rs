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

use super::credential::Credential;
pub use super::denial::Denial;
pub use super::endpoint::AccountScope;
use super::endpoint::{Content, Endpoint, Narrowing};
use super::filter::{self, ComparisonKind, Expression, compose};
use super::id::AccountId;
use super::learned::{DeniedRequest, Learned};
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

/// The properties of a request that the rules check.
#[derive(Clone, Copy, Debug)]
pub struct AccessRequest<'a> {
    /// The endpoint of the path.
    pub endpoint: &'a Arc<Endpoint>,
    /// The path upstream.
    pub path: &'a str,
    /// The raw query.
    pub query: Option<&'a str>,
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

/// Which data the chosen credential can access.
#[derive(Clone, Copy)]
enum Reach<'a> {
    /// An Organization on its own credential.
    Organization(&'a Arc<Organization>),
    /// An Instance on its own credential.
    Direct(Option<AccountId>),
    /// An Instance on its Organization's credential, which could access other accounts too.
    Narrowed(AccountId),
    /// An Instance on its Organization's credential whose account id is unknown.
    Unknown,
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

#[derive(Default)]
struct Narrowed {
    path_and_query: Arc<str>,
    account_scope: Option<AccountScope>,
    client_filter: Option<Arc<Expression>>,
    reread_accounts: Option<Arc<Organization>>,
}

fn narrow(
    request: &AccessRequest<'_>,
    credential: &Credential,
    reach: Reach<'_>,
    policy: &Policy,
    learned: &Learned,
    now: Instant,
) -> Result<Narrowed, Denial> {
    match reach {
        Reach::Narrowed(account) => narrow_to_instance(request, credential, account, policy, learned),
        Reach::Unknown => Err(Denial::OrganizationOnly),
        Reach::Direct(account) => {
            if let Some(own) = account {
                let equality = [ComparisonKind::Equality];
                refuse_other_accounts(&filters(request), narrowing_of(request, policy), own, &equality)?;
            }
            Ok(Narrowed { path_and_query: canonical(request), ..Narrowed::default() })
        }
        Reach::Organization(organization) => {
            let reread = accounts_are_in(organization, request, policy, learned, now)?;
            let reread_accounts = reread.then(|| Arc::clone(organization));
            Ok(Narrowed { path_and_query: canonical(request), reread_accounts, ..Narrowed::default() })
        }
    }
}

/// Adds the account condition to an Instance's query, and returns the scope for checking the response.
fn narrow_to_instance(
    request: &AccessRequest<'_>,
    credential: &Credential,
    account: AccountId,
    policy: &Policy,
    learned: &Learned,
) -> Result<Narrowed, Denial> {
    let narrowing = match &request.endpoint.content {
        Content::Accounts | Content::Opaque => return Err(Denial::OrganizationOnly),
        Content::Catalogue => None,
        Content::Records(narrowing) => Some(narrowing),
    };
    let mut kept = Vec::new();
    let mut filters = Vec::new();
    for parameter in query::parameters(request.query.unwrap_or_default()) {
        if parameter.is(FILTER) {
            filters.push(parameter);
        } else if policy.instance_query_parameters.contains(&*parameter.name())
            || learned.is_link_parameter(&credential.key, account, &request.endpoint.name, &parameter)
        {
            kept.push(parameter);
        } else {
            return Err(Denial::ParameterNotAllowed { parameter: parameter.name().into_owned() });
        }
    }
    let theirs = client_filter(&filters)?;
    let used = [ComparisonKind::Equality, ComparisonKind::Other];
    refuse_other_accounts(theirs.as_slice(), narrowing_of(request, policy), account, &used)?;
    // Remove the account condition that the filter may already contain: links in responses carry it, and
    // following a link must give the same request.
    let ours = narrowing.map(|narrowing| narrowing.filter.for_account(account));
    let theirs =
        theirs.and_then(|theirs| ours.as_ref().map_or(Some(theirs.clone()), |ours| theirs.without(ours)));
    let filter = match &ours {
        Some(ours) => Some(compose(ours, theirs.as_ref())),
        None => theirs.as_ref().map(Expression::to_string),
    };
    kept.extend(filter.map(|filter| Parameter::new(FILTER, filter)));
    Ok(Narrowed {
        path_and_query: query::joined(request.path, &query::written(kept)),
        account_scope: narrowing
            .map(|narrowing| AccountScope { field: Arc::clone(&narrowing.field), account }),
        client_filter: theirs.map(Arc::new),
        reread_accounts: None,
    })
}

/// The filter of an Instance's request; none if it is blank. Several filters are refused.
fn client_filter(filters: &[Parameter<'_>]) -> Result<Option<Expression>, Denial> {
    let not_understood = |reason: String| Denial::FilterNotUnderstood { reason };
    let parameter = match filters {
        [] => return Ok(None),
        [parameter] => parameter,
        _ => return Err(not_understood("`filter` is given more than once".into())),
    };
    let text = parameter.text().ok_or_else(|| not_understood("it is not UTF-8".into()))?;
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    filter::parse(text).map(Some).map_err(|error| not_understood(error.to_string()))
}

/// Refuses filters that compare the account attribute with another account.
fn refuse_other_accounts(
    filters: &[Expression],
    narrowing: &Narrowing,
    own: AccountId,
    uses: &[ComparisonKind],
) -> Result<(), Denial> {
    let mut other = None;
    for expression in filters {
        expression.compared_values(&|attribute| narrowing.names_account(attribute), &mut |value, by| {
            if uses.contains(&by) && AccountId::from_bytes(value.as_bytes()) != Some(own) {
                other.get_or_insert_with(|| value.to_owned());
            }
        });
    }
    other.map_or(Ok(()), |account| Err(Denial::AccountNotInOrganization { account }))
}

/// Checks that the accounts in the query's filters belong to the Organization. Returns whether its list of
/// accounts must be read again.
fn accounts_are_in(
    organization: &Organization,
    request: &AccessRequest<'_>,
    policy: &Policy,
    learned: &Learned,
    now: Instant,
) -> Result<bool, Denial> {
    let narrowing = narrowing_of(request, policy);
    let mut named = Vec::new();
    let filters = filters(request);
    for expression in &filters {
        expression.compared_values(&|attribute| narrowing.names_account(attribute), &mut |value, by| {
            if by == ComparisonKind::Equality {
                named.push(value);
            }
        });
    }
    let mut reread = false;
    for named in named {
        let id = AccountId::from_bytes(named.as_bytes());
        if id.is_some_and(|id| organization.accounts.contains(&id)) {
            continue;
        }
        let outside = if organization.discover_accounts {
            match learned.accounts(&organization.id) {
                Some(list) if id.is_some_and(|id| list.accounts.contains_key(&id)) => false,
                // The account may be one that was listed without an id.
                Some(list) if list.without_id > 0 => false,
                Some(list) if now.saturating_duration_since(list.read_at) < policy.accounts_max_age => true,
                _ => {
                    reread = true;
                    false
                }
            }
        } else {
            !organization.accounts.is_empty()
        };
        if outside {
            return Err(Denial::AccountNotInOrganization { account: named.to_owned() });
        }
    }
    Ok(reread)
}

fn narrowing_of<'a>(request: &AccessRequest<'a>, policy: &'a Policy) -> &'a Narrowing {
    match &request.endpoint.content {
        Content::Records(narrowing) => narrowing,
        Content::Accounts | Content::Catalogue | Content::Opaque => &policy.narrowing,
    }
}

/// The filters of a query that can be parsed. Others are sent unchanged for Organizations and direct
/// Instances, and refused by `narrow_to_instance`.
fn filters(request: &AccessRequest<'_>) -> Vec<Expression> {
    query::parameters(request.query.unwrap_or_default())
        .filter(|parameter| parameter.is(FILTER))
        .filter_map(|parameter| filter::parse(parameter.text()?).ok())
        .collect()
}

fn canonical(request: &AccessRequest<'_>) -> Arc<str> {
    query::joined(request.path, &query::canonical(request.query.unwrap_or_default()))
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
