//! The scopes that a client can be granted.
//!
//! Deliberately absent: which endpoint wants which (`endpoint.rs`).

/// One scope of the Billing Insights API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// List the Accounts.
    Accounts,
    /// Read the product catalogue.
    Products,
    /// Read contracts.
    Subscriptions,
    /// Read invoice lines.
    Invoices,
    /// Read usage.
    Usage,
}

impl Scope {
    /// Every scope there is.
    pub const ALL: [Self; 5] =
        [Self::Accounts, Self::Products, Self::Subscriptions, Self::Invoices, Self::Usage];

    /// As it is written in a token request.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accounts => "express-accounts:read",
            Self::Products => "express-products:read",
            Self::Subscriptions => "express-accounts-subscriptions:read",
            Self::Invoices => "express-accounts-invoices:read",
            Self::Usage => "express-accounts-usage:read",
        }
    }

    /// The scope of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}
