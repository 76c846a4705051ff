//! Narrowing: which accounts a request may read, and the query that restricts it to them.
//!
//! An Instance on its Organization's credential gets the condition on its account added to its filter. Every
//! other tenant's query is sent in canonical form, if it names no account that is not its own.

use std::sync::Arc;
use std::time::Instant;

use super::access_request::AccessRequest;
use super::credential::Credential;
use super::denial::Denial;
use super::endpoint::{AccountScope, Content, Narrowing};
use super::filter::{self, ComparisonKind, Expression, compose};
use super::id::AccountId;
use super::learned::Learned;
use super::policy::{FILTER, Policy};
use super::query::{self, Parameter};
use super::tenant::Organization;

/// Which data the chosen credential can access.
#[derive(Clone, Copy)]
pub(super) enum Reach<'a> {
    /// An Organization on its own credential.
    Organization(&'a Arc<Organization>),
    /// An Instance on its own credential.
    Direct(Option<AccountId>),
    /// An Instance on its Organization's credential, which could access other accounts too.
    Narrowed(AccountId),
    /// An Instance on its Organization's credential whose account id is unknown.
    Unknown,
}

/// What is sent upstream, and how the response is checked.
#[derive(Default)]
pub(super) struct Narrowed {
    pub(super) path_and_query: Arc<str>,
    pub(super) account_scope: Option<AccountScope>,
    pub(super) client_filter: Option<Arc<Expression>>,
    pub(super) reread_accounts: Option<Arc<Organization>>,
}

/// Restricts the query to the accounts that the tenant may read. Filters of Organizations and direct Instances that can't be
/// parsed are sent unchanged; those of other Instances are refused.
pub(super) fn narrow(
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
                refuse_other_accounts(&request.filters(), request.narrowing(policy), own, &equality)?;
            }
            Ok(Narrowed { path_and_query: request.canonical(), ..Narrowed::default() })
        }
        Reach::Organization(organization) => {
            let reread = accounts_are_in(organization, request, policy, learned, now)?;
            let reread_accounts = reread.then(|| Arc::clone(organization));
            Ok(Narrowed { path_and_query: request.canonical(), reread_accounts, ..Narrowed::default() })
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
    for parameter in request.parameters() {
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
    refuse_other_accounts(theirs.as_slice(), request.narrowing(policy), account, &used)?;
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
    let narrowing = request.narrowing(policy);
    let mut named = Vec::new();
    let filters = request.filters();
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
