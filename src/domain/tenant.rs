//! Tenants, and how a request names one.
//!
//! A tenant is an Organization (of a partner) or an Instance (one Talkdesk account). It is configured, or it
//! is an account that a configured Organization lists, or it was learned from Talkdesk.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;
use http::HeaderValue;

use super::credential::Credential;
use super::id::{AccountId, AccountName, OrganizationId};
pub use super::tenant_name::TenantName;

/// An Organization or Instance whose data can be requested.
#[derive(Debug, PartialEq, Eq)]
pub struct Tenant {
    /// The name in requests.
    pub name: TenantName,
    /// The name as text; prepared because every response contains it.
    pub label: Arc<str>,
    /// The name as a field value.
    pub field: HeaderValue,
    /// Whether the configuration enables it.
    pub enabled: bool,
    /// Its kind, which decides what it may do.
    pub kind: TenantKind,
}

/// The two kinds of tenant.
#[derive(Debug, PartialEq, Eq)]
pub enum TenantKind {
    /// A partner's Organization.
    Organization(Arc<Organization>),
    /// One Talkdesk account.
    Instance(Instance),
}

/// A partner's Organization: the parent of Instances, with one OAuth client for all of them.
#[derive(Debug, PartialEq, Eq)]
pub struct Organization {
    /// The proxy's name for it.
    pub id: OrganizationId,
    /// Talkdesk's name for it.
    pub name: Arc<str>,
    /// Whether the configuration enables it and the Instances under it.
    pub enabled: bool,
    /// Its OAuth client, if it has one.
    pub credential: Option<Arc<Credential>>,
    /// The accounts that are configured under it.
    pub accounts: HashSet<AccountId>,
    /// Whether more accounts are learned from Talkdesk. If not, and some are configured, the list is closed.
    pub discover_accounts: bool,
}

/// One Talkdesk account.
#[derive(Debug, PartialEq, Eq)]
pub struct Instance {
    /// Talkdesk's id of the account; always known for an Instance under a configured Organization.
    pub account_id: Option<AccountId>,
    /// The plan, if it is configured.
    pub plan: Option<Arc<str>>,
    /// Who sold it, which decides which credential it uses.
    pub seller: Seller,
    /// Its own OAuth client, if it has one.
    pub credential: Option<Arc<Credential>>,
}

/// The Organization that an Instance belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seller {
    /// A configured Organization: a partner.
    Configured(Arc<Organization>),
    /// `Talkdesk` or `Talkdesk Internal`: sold by Talkdesk directly.
    Talkdesk(DirectOrganization),
    /// Any other: a reseller that is not configured here.
    Reseller(Arc<str>),
}

/// The two Organizations of Talkdesk's direct customers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectOrganization {
    /// `Talkdesk`.
    Talkdesk,
    /// `Talkdesk Internal`.
    TalkdeskInternal,
}

/// The tenants of a configuration, by name.
#[derive(Debug, Default)]
pub struct Tenants {
    by_name: HashMap<TenantName, Arc<Tenant>, RandomState>,
    in_order: Vec<Arc<Tenant>>,
}

/// Why a request names no tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unnamed {
    /// There is no prefix, no field and no default.
    Missing,
    /// Two different names, or a repeated field.
    Conflict(&'static str),
    /// No tenant has this name.
    Unknown(String),
}

/// The parts of a request that may name a tenant, unparsed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Naming<'a> {
    /// The path's prefix without slashes at its ends: `organizations/acme`.
    pub prefix: Option<&'a str>,
    /// The first `X-Tenant` field.
    pub field: Option<&'a [u8]>,
    /// Whether there is more than one.
    pub field_repeated: bool,
    /// The listener's default.
    pub default: Option<&'a TenantName>,
}

impl Naming<'_> {
    /// The tenant name of the request.
    ///
    /// # Errors
    /// [`Unnamed`] if there is no name, or more than one. Names are compared without decoding, so an encoded
    /// name is unknown.
    pub fn resolve(&self) -> Result<TenantName, Unnamed> {
        if self.field_repeated {
            return Err(Unnamed::Conflict("X-Tenant is there more than once"));
        }
        let field = self.field.map(|bytes| std::str::from_utf8(bytes).unwrap_or("(not readable)"));
        let text = match (self.prefix, field) {
            (Some(prefix), Some(field)) if prefix != field => {
                return Err(Unnamed::Conflict("the path and X-Tenant name two different tenants"));
            }
            (Some(text), _) | (None, Some(text)) => text,
            (None, None) => return self.default.cloned().ok_or(Unnamed::Missing),
        };
        text.parse().map_err(|_| Unnamed::Unknown(text.to_owned()))
    }
}

impl Tenants {
    /// Builds the table in the order of the configuration. Of several tenants with equal names the first one
    /// is kept.
    #[must_use]
    pub fn new(tenants: impl IntoIterator<Item = Tenant>) -> Self {
        let mut all = Self::default();
        for tenant in tenants {
            let tenant = Arc::new(tenant);
            if !all.by_name.contains_key(&tenant.name) {
                all.by_name.insert(tenant.name.clone(), Arc::clone(&tenant));
                all.in_order.push(tenant);
            }
        }
        all
    }

    /// The tenant with this name.
    #[must_use]
    pub fn find(&self, name: &TenantName) -> Option<&Arc<Tenant>> {
        self.by_name.get(name)
    }

    /// All tenants, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.in_order.iter()
    }
}

impl Tenant {
    /// A tenant, with its label and field value made from its name.
    #[must_use]
    pub fn new(name: TenantName, enabled: bool, kind: TenantKind) -> Self {
        let label: Arc<str> = name.to_string().into();
        // Never fails: a valid name is a valid field value.
        let field = HeaderValue::from_str(&label).unwrap_or_else(|_| HeaderValue::from_static(""));
        Self { name, label, field, enabled, kind }
    }

    /// The Organization that it is or belongs to, if that is configured here.
    #[must_use]
    pub fn organization(&self) -> Option<&Arc<Organization>> {
        match &self.kind {
            TenantKind::Organization(organization)
            | TenantKind::Instance(Instance { seller: Seller::Configured(organization), .. }) => {
                Some(organization)
            }
            TenantKind::Instance(_) => None,
        }
    }
}

impl Organization {
    /// An Instance under this Organization without a configuration entry of its own.
    #[must_use]
    pub fn instance(self: &Arc<Self>, name: AccountName, account_id: AccountId) -> Tenant {
        let instance = Instance {
            account_id: Some(account_id),
            plan: None,
            seller: Seller::Configured(Arc::clone(self)),
            credential: None,
        };
        Tenant::new(TenantName::Instance(name), true, TenantKind::Instance(instance))
    }
}

impl DirectOrganization {
    /// Both, for messages and checks.
    pub const ALL: [Self; 2] = [Self::Talkdesk, Self::TalkdeskInternal];

    /// The Organization's name as Talkdesk writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Talkdesk => "Talkdesk",
            Self::TalkdeskInternal => "Talkdesk Internal",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TenantName {
        text.parse().expect("a tenant's name")
    }

    #[test]
    fn a_request_names_its_tenant_in_one_of_three_ways() {
        let default = name("instances/globex");
        let prefix = Naming { prefix: Some("organizations/acme"), ..Naming::default() };
        assert_eq!(prefix.resolve(), Ok(name("organizations/acme")));
        let field = Naming { field: Some(b"instances/hooli"), default: Some(&default), ..Naming::default() };
        assert_eq!(field.resolve(), Ok(name("instances/hooli")));
        let neither = Naming { default: Some(&default), ..Naming::default() };
        assert_eq!(neither.resolve(), Ok(default.clone()));
        assert_eq!(Naming::default().resolve(), Err(Unnamed::Missing));
    }

    #[test]
    fn two_names_that_agree_are_one_and_two_that_do_not_are_a_conflict() {
        let agree = Naming {
            prefix: Some("organizations/acme"),
            field: Some(b"organizations/acme"),
            ..Naming::default()
        };
        assert_eq!(agree.resolve(), Ok(name("organizations/acme")));
        let disagree = Naming { field: Some(b"organizations/other"), ..agree };
        assert!(matches!(disagree.resolve(), Err(Unnamed::Conflict(_))));
        let twice = Naming { field_repeated: true, ..agree };
        assert!(matches!(twice.resolve(), Err(Unnamed::Conflict(_))));
    }

    #[test]
    fn an_encoding_of_a_name_is_an_unknown_one() {
        for text in
            ["organizations/ac%6de", "organizations/Acme", "organization/acme", "organizations//acme", "acme"]
        {
            let naming = Naming { field: Some(text.as_bytes()), ..Naming::default() };
            assert_eq!(naming.resolve(), Err(Unnamed::Unknown(text.to_owned())));
        }
    }
}
