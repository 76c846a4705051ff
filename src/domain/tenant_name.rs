//! The names of tenants.

use std::fmt;
use std::str::FromStr;

use super::id::{AccountName, InvalidId, OrganizationId};

/// The name of a tenant, written `organizations/acme` or `instances/globex`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TenantName {
    /// An Organization, by the proxy's name for it.
    Organization(OrganizationId),
    /// An Instance, by its Talkdesk account name.
    Instance(AccountName),
}

impl FromStr for TenantName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some(("organizations", id)) => Ok(Self::Organization(id.parse()?)),
            Some(("instances", name)) => Ok(Self::Instance(name.parse()?)),
            _ => Err(InvalidId("must be `organizations/{id}` or `instances/{account name}`")),
        }
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Organization(id) => write!(formatter, "organizations/{id}"),
            Self::Instance(name) => write!(formatter, "instances/{name}"),
        }
    }
}

impl fmt::Debug for TenantName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
