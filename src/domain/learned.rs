//! Facts learned from Talkdesk at runtime: the scopes of tokens, the accounts of Organizations, denied
//! requests, and the parameters of links in responses to Instances.
//!
//! Every request reads these tables, and they change a few times per hour. Each table is therefore an
//! immutable map behind an atomic pointer, and is replaced as a whole. The caller passes the time. This
//! module makes no decision: `entitlement` does.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;

use super::credential::CredentialKey;
use super::id::{AccountId, AccountName, OrganizationId};
use super::query::Parameter;
use super::tenant::{Organization, Tenant, TenantName};

/// All learned facts; shared by all requests.
#[derive(Default)]
pub struct Learned {
    scopes: ArcSwap<HashMap<CredentialKey, Arc<LearnedScopes>, RandomState>>,
    accounts: ArcSwap<Accounts>,
    denials: ArcSwap<HashMap<DeniedRequest, Arc<LearnedDenial>>>,
    /// The current and the previous generation of link parameters.
    link_parameters: ArcSwap<[HashSet<LinkParameter>; 2]>,
}

/// The scopes that Talkdesk granted with a token.
#[derive(Debug, PartialEq, Eq)]
pub struct LearnedScopes {
    /// The scopes, decoded.
    pub scopes: BTreeSet<String>,
    /// The expiry of the token that had them. They deny nothing after it.
    pub valid_until: Instant,
}

/// The accounts of an Organization, as listed by `/express/accounts`.
#[derive(Debug)]
pub struct AccountList {
    /// The ids, with the name where it is a valid Instance name.
    pub accounts: HashMap<AccountId, Option<AccountName>>,
    /// The number of accounts without a readable id.
    pub without_id: usize,
    /// The number of accounts without a valid Instance name.
    pub without_name: usize,
    /// When the list was read. Only complete lists are kept.
    pub read_at: Instant,
}

/// A query parameter of a link that Talkdesk sent in a response to an Instance. The Instance may use it to
/// follow the link.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct LinkParameter {
    credential: CredentialKey,
    account: AccountId,
    endpoint: Arc<str>,
    parameter: Parameter<'static>,
}

/// A request as Talkdesk sees it: credential and URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeniedRequest {
    /// The credential.
    pub credential: CredentialKey,
    /// The path and query upstream.
    pub path_and_query: Arc<str>,
}

/// A 403 of Talkdesk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LearnedDenial {
    /// Talkdesk's `code` and `message`, made printable and checked for secrets.
    pub reason: Box<str>,
    /// Talkdesk's id of the request.
    pub upstream_request_id: Option<Box<str>>,
    /// Until when identical requests are refused with it.
    pub until: Instant,
}

#[derive(Default)]
struct Accounts {
    lists: HashMap<OrganizationId, Arc<AccountList>>,
    tenants: HashMap<AccountName, LearnedTenant>,
}

enum LearnedTenant {
    One(Arc<Tenant>),
    /// Several accounts have this name. Which one is meant is unknown, so the name is not usable.
    Disputed,
}

/// The most denials that are kept. A client that requests many foreign accounts must not grow the table
/// without limit.
const MOST_DENIALS: usize = 1_024;

/// The most link parameters per generation. A full generation replaces the previous one.
const MOST_LINK_PARAMETERS: usize = 1_024;

/// The longest link parameter that is remembered, in bytes. A longer one does not fit into a request.
const LONGEST_LINK_PARAMETER: usize = 4 * 1024;

impl Learned {
    /// The scopes of the credential's token, while that token is valid. None: unknown.
    #[must_use]
    pub fn scopes(&self, credential: &CredentialKey, now: Instant) -> Option<Arc<LearnedScopes>> {
        self.scopes.load().get(credential).filter(|learned| now < learned.valid_until).cloned()
    }

    /// Remembers the scopes of a new token. An empty set means that they are unknown.
    pub fn learn_scopes(&self, credential: &CredentialKey, scopes: &BTreeSet<String>, valid_until: Instant) {
        self.scopes.rcu(|known| {
            let mut known = HashMap::clone(known);
            if scopes.is_empty() {
                known.remove(credential);
            } else {
                let learned = LearnedScopes { scopes: scopes.clone(), valid_until };
                known.insert(credential.clone(), Arc::new(learned));
            }
            known
        });
    }

    /// The learned accounts of an Organization.
    #[must_use]
    pub fn accounts(&self, organization: &OrganizationId) -> Option<Arc<AccountList>> {
        self.accounts.load().lists.get(organization).cloned()
    }

    /// The tenant of a learned account; none if several accounts have the name.
    #[must_use]
    pub fn instance(&self, name: &AccountName) -> Option<Arc<Tenant>> {
        match self.accounts.load().tenants.get(name)? {
            LearnedTenant::One(tenant) => Some(Arc::clone(tenant)),
            LearnedTenant::Disputed => None,
        }
    }

    /// The tenants of all learned accounts.
    #[must_use]
    pub fn instances(&self) -> Vec<Arc<Tenant>> {
        let accounts = self.accounts.load();
        let tenants = accounts.tenants.values().filter_map(|tenant| match tenant {
            LearnedTenant::One(tenant) => Some(Arc::clone(tenant)),
            LearnedTenant::Disputed => None,
        });
        tenants.collect()
    }

    /// Replaces the list of an Organization with a complete one.
    pub fn learn_accounts(&self, organization: &Arc<Organization>, list: AccountList) {
        let list = Arc::new(list);
        self.accounts.rcu(|known| {
            let mut lists = known.lists.clone();
            lists.insert(organization.id.clone(), Arc::clone(&list));
            // Keep the tenants of other Organizations.
            let mut tenants = HashMap::with_capacity(known.tenants.len() + list.accounts.len());
            for tenant in known.tenants.values() {
                if let LearnedTenant::One(tenant) = tenant
                    && tenant.organization().is_some_and(|owner| owner.id != organization.id)
                    && let TenantName::Instance(name) = &tenant.name
                {
                    tenants.insert(name.clone(), LearnedTenant::One(Arc::clone(tenant)));
                }
            }
            add_tenants(&mut tenants, organization, &list, &claims(&lists));
            Accounts { lists, tenants }
        });
    }

    /// Applies a new configuration: removes the lists of Organizations that are not in it, and rebuilds the
    /// tenants of the others.
    pub fn keep_accounts_of(&self, organizations: &[Arc<Organization>]) {
        self.accounts.rcu(|known| {
            let kept = organizations.iter().filter_map(|organization| {
                Some((organization.id.clone(), Arc::clone(known.lists.get(&organization.id)?)))
            });
            let lists: HashMap<_, _> = kept.collect();
            let (mut tenants, claims) = (HashMap::new(), claims(&lists));
            for organization in organizations {
                if let Some(list) = lists.get(&organization.id) {
                    add_tenants(&mut tenants, organization, list, &claims);
                }
            }
            Accounts { lists, tenants }
        });
    }

    /// Whether a link in a response to this account had this parameter with this value.
    #[must_use]
    pub fn is_link_parameter(
        &self,
        credential: &CredentialKey,
        account: AccountId,
        endpoint: &Arc<str>,
        parameter: &Parameter<'_>,
    ) -> bool {
        let known = self.link_parameters.load();
        if known.iter().all(HashSet::is_empty) {
            return false;
        }
        let wanted = LinkParameter::new(credential, account, endpoint, parameter);
        known.iter().any(|generation| generation.contains(&wanted))
    }

    /// Remembers a parameter of a link in a response to an account.
    pub fn learn_link_parameter(
        &self,
        credential: &CredentialKey,
        account: AccountId,
        endpoint: &Arc<str>,
        parameter: &Parameter<'_>,
    ) {
        if parameter.length() > LONGEST_LINK_PARAMETER
            || self.is_link_parameter(credential, account, endpoint, parameter)
        {
            return;
        }
        let learned = LinkParameter::new(credential, account, endpoint, parameter);
        self.link_parameters.rcu(|known| {
            let [mut latest, mut before] = <[_; 2]>::clone(known);
            if latest.len() >= MOST_LINK_PARAMETERS {
                before = std::mem::take(&mut latest);
            }
            latest.insert(learned.clone());
            [latest, before]
        });
    }

    /// The remembered denial of an identical request.
    #[must_use]
    pub fn denial(&self, request: &DeniedRequest, now: Instant) -> Option<Arc<LearnedDenial>> {
        self.denials.load().get(request).filter(|denial| now < denial.until).cloned()
    }

    /// Whether any denial is remembered. Usually none is, and then the caller need not build a
    /// [`DeniedRequest`].
    #[must_use]
    pub fn has_denials(&self) -> bool {
        !self.denials.load().is_empty()
    }

    /// Remembers that Talkdesk denied a request.
    pub fn learn_denial(&self, request: &DeniedRequest, denial: LearnedDenial, now: Instant) {
        let denial = Arc::new(denial);
        self.denials.rcu(|known| {
            let mut known: HashMap<_, _> = known
                .iter()
                .filter(|(_, denial)| now < denial.until)
                .map(|(key, denial)| (key.clone(), denial.clone()))
                .collect();
            if known.len() < MOST_DENIALS {
                known.insert(request.clone(), Arc::clone(&denial));
            }
            known
        });
    }

    /// Forgets the denials that `forget` selects: after a purge, a reload, or a new token.
    pub fn forget_denials(&self, forget: impl Fn(&DeniedRequest) -> bool) {
        if self.has_denials() {
            self.denials.rcu(|known| {
                let kept = known.iter().filter(|(request, _)| !forget(request));
                kept.map(|(request, denial)| (request.clone(), denial.clone())).collect::<HashMap<_, _>>()
            });
        }
    }
}

impl LinkParameter {
    fn new(
        credential: &CredentialKey,
        account: AccountId,
        endpoint: &Arc<str>,
        parameter: &Parameter<'_>,
    ) -> Self {
        Self {
            credential: credential.clone(),
            account,
            endpoint: Arc::clone(endpoint),
            parameter: parameter.to_owned(),
        }
    }
}

/// Adds the tenants of an Organization's list.
fn add_tenants(
    tenants: &mut HashMap<AccountName, LearnedTenant>,
    organization: &Arc<Organization>,
    list: &AccountList,
    claims: &HashMap<&AccountName, usize>,
) {
    for (id, name) in &list.accounts {
        let Some(name) = name else { continue };
        let tenant = LearnedTenant::One(Arc::new(organization.instance(name.clone(), *id)));
        let unknown = claims.get(name).is_some_and(|claims| *claims > 1);
        tenants.insert(name.clone(), if unknown { LearnedTenant::Disputed } else { tenant });
    }
}

/// How often each name is listed, in all lists.
fn claims(lists: &HashMap<OrganizationId, Arc<AccountList>>) -> HashMap<&AccountName, usize> {
    let mut claims = HashMap::new();
    for name in lists.values().flat_map(|list| list.accounts.values()).flatten() {
        *claims.entry(name).or_default() += 1;
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use std::time::Duration;

    fn organization(id: &str) -> Arc<Organization> {
        Arc::new(Organization {
            id: id.parse().expect("id"),
            name: id.into(),
            enabled: true,
            credential: None,
            accounts: HashSet::new(),
            discover_accounts: true,
        })
    }

    fn list(now: Instant, accounts: &[(&str, &str)]) -> AccountList {
        let accounts =
            accounts.iter().map(|(id, name)| (id.parse().expect("id"), name.parse().ok())).collect();
        AccountList { accounts, without_id: 0, without_name: 0, read_at: now }
    }

    const ONE: &str = "5ea75fe7aa224700012eae40";
    const TWO: &str = "5ea75fe7aa224700012eae41";

    #[test]
    fn a_new_list_replaces_the_old_one_whole() {
        let (learned, acme, now) = (Learned::default(), organization("acme"), Clock::System.now().monotonic);
        learned.learn_accounts(&acme, list(now, &[(ONE, "one"), (TWO, "two")]));
        learned.learn_accounts(&acme, list(now, &[(TWO, "two")]));
        assert!(learned.instance(&"one".parse().expect("name")).is_none());
        assert!(learned.instance(&"two".parse().expect("name")).is_some());
    }

    #[test]
    fn an_account_that_two_organizations_claim_is_nobodys() {
        let (learned, now) = (Learned::default(), Clock::System.now().monotonic);
        let (acme, northwind) = (organization("acme"), organization("northwind"));
        learned.learn_accounts(&acme, list(now, &[(ONE, "one")]));
        learned.learn_accounts(&northwind, list(now, &[(TWO, "one")]));
        assert!(learned.instance(&"one".parse().expect("name")).is_none());
    }

    #[test]
    fn a_name_that_one_organization_lists_twice_is_nobodys() {
        let (learned, now) = (Learned::default(), Clock::System.now().monotonic);
        learned.learn_accounts(&organization("acme"), list(now, &[(ONE, "one"), (TWO, "one")]));
        assert!(learned.instance(&"one".parse().expect("name")).is_none());
    }

    #[test]
    fn many_organizations_with_many_accounts_are_sorted_out_in_no_time() {
        const MANY: usize = 500;
        let (learned, clock) = (Learned::default(), Clock::System);
        let now = clock.now().monotonic;
        let organizations: Vec<_> = (0..MANY).map(|number| organization(&format!("o{number}"))).collect();
        let lists = organizations.iter().enumerate().map(|(number, one)| {
            let accounts = (0..100).map(|account| {
                let id = format!("{:024x}", number * 100 + account);
                // One name is in every list.
                let name = if account == 0 { "all".to_owned() } else { format!("n{number}-{account}") };
                (id.parse().expect("id"), name.parse().ok())
            });
            (
                one.id.clone(),
                Arc::new(AccountList {
                    accounts: accounts.collect(),
                    without_id: 0,
                    without_name: 0,
                    read_at: now,
                }),
            )
        });
        learned.accounts.store(Arc::new(Accounts { lists: lists.collect(), tenants: HashMap::new() }));
        learned.keep_accounts_of(&organizations);
        let took = clock.now().since(now);
        assert!(took < std::time::Duration::from_secs(10), "{took:?}");
        assert_eq!(learned.instances().len(), MANY * 99);
        assert!(learned.instance(&"all".parse().expect("name")).is_none());
    }

    #[test]
    fn a_denial_ends_with_its_time_and_the_table_is_bounded() {
        let (learned, now) = (Learned::default(), Clock::System.now().monotonic);
        let credential = CredentialKey::new("t", "a", &"c".parse().expect("client id"), None, None);
        let request = |number: usize| DeniedRequest {
            credential: credential.clone(),
            path_and_query: format!("/{number}").into(),
        };
        let denial = LearnedDenial {
            reason: "no".into(),
            upstream_request_id: None,
            until: now + Duration::from_mins(1),
        };
        for number in 0..MOST_DENIALS + 10 {
            learned.learn_denial(&request(number), denial.clone(), now);
        }
        assert!(learned.denial(&request(0), now).is_some());
        assert!(learned.denial(&request(MOST_DENIALS + 1), now).is_none());
        assert!(learned.denial(&request(0), now + Duration::from_mins(1)).is_none());
        learned.forget_denials(|request| request.credential == credential);
        assert!(!learned.has_denials());
    }
}
