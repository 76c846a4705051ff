//! The five endpoints: path, scope, and the name of their records.
//!
//! Deliberately absent: what the records say (`records.rs`, `invoices.rs`).

use super::scope::Scope;

/// One endpoint of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Accounts,
    Products,
    Subscriptions,
    Invoices,
    MonthlyUsage,
}

impl Endpoint {
    const ALL: [Self; 5] =
        [Self::Accounts, Self::Products, Self::Subscriptions, Self::Invoices, Self::MonthlyUsage];

    /// The endpoint at exactly this path.
    pub(super) fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|endpoint| endpoint.path() == path)
    }

    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Accounts => "/express/accounts",
            Self::Products => "/express/products",
            Self::Subscriptions => "/express/subscriptions",
            Self::Invoices => "/express/invoices",
            Self::MonthlyUsage => "/express/usage/month",
        }
    }

    pub(super) const fn scope(self) -> Scope {
        match self {
            Self::Accounts => Scope::Accounts,
            Self::Products => Scope::Products,
            Self::Subscriptions => Scope::Subscriptions,
            Self::Invoices => Scope::Invoices,
            Self::MonthlyUsage => Scope::Usage,
        }
    }

    /// The member of `_embedded` that holds the records.
    pub(super) const fn embedded(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Products => "products",
            Self::Subscriptions => "subscriptions",
            Self::Invoices => "invoices",
            Self::MonthlyUsage => "usage",
        }
    }

    /// Whether a query can narrow it to accounts and to a period.
    pub(super) const fn narrows(self) -> bool {
        match self {
            Self::Accounts | Self::Products => false,
            Self::Subscriptions | Self::Invoices | Self::MonthlyUsage => true,
        }
    }
}
