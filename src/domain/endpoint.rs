//! The closed list of endpoints: the five of the Billing Insights API, and those that the operator adds.
//!
//! Every request goes to one of these endpoints or is refused. Paths are compared as raw bytes, without
//! decoding, case folding or normalisation, so each endpoint has exactly one spelling.

use std::sync::Arc;

use http::Method;

use super::filter::AccountFilter;
use super::id::{AccountId, Scope};

/// One endpoint of the upstream API.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its index in the closed list, for tables with a row per endpoint.
    pub position: usize,
    /// The name in configuration, metrics and logs: `invoices`.
    pub name: Arc<str>,
    /// The paths of the endpoint.
    pub path: PathPattern,
    /// The allowed methods; `HEAD` must be listed explicitly.
    pub methods: Vec<Method>,
    /// The scope that a token needs; none for an added endpoint without one.
    pub scope: Option<Scope>,
    /// The kind of content, which decides how an Instance's access is restricted.
    pub content: Content,
    /// The request fields that are forwarded, beside the four that always are.
    pub forward_request_fields: ForwardedFields,
}

/// The paths of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// Exactly this path.
    Exact(Arc<str>),
    /// Every longer path with this prefix, which ends in `/`. Written `/reports/*` in the configuration.
    Prefix(Arc<str>),
}

/// The kind of an endpoint's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The accounts of an Organization: for Organizations and direct Instances only.
    Accounts,
    /// A catalogue that is the same for all tenants: served unchanged.
    Catalogue,
    /// Records of accounts, each carrying its account's id.
    Records(Narrowing),
    /// Unknown: an added endpoint without account filter and field. For Organizations and direct Instances
    /// only, because an Instance's access could not be restricted to its own data.
    Opaque,
}

/// How the records of an endpoint are restricted to an account, and how that is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Narrowing {
    /// The `filter` condition that selects an account.
    pub filter: AccountFilter,
    /// The record member with the account's id.
    pub field: Arc<str>,
}

/// The account that every record of a response must belong to: an Instance on its Organization's credential
/// sees only its own data, even if upstream ignores the filter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccountScope {
    /// The record member with the account's id.
    pub field: Arc<str>,
    /// The required id.
    pub account: AccountId,
}

impl Narrowing {
    /// Whether a filter attribute means the account. Case is ignored, because Talkdesk may ignore it too.
    #[must_use]
    pub fn names_account(&self, attribute: &str) -> bool {
        self.field.eq_ignore_ascii_case(attribute) || self.filter.names_account(attribute)
    }
}

impl Default for Narrowing {
    /// `account_id eq '...'`, and records with the member `account_id`.
    fn default() -> Self {
        Self { filter: AccountFilter::default(), field: "account_id".into() }
    }
}

/// The request fields that are forwarded to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardedFields {
    /// These, beside the ones that always are.
    Listed(Vec<http::HeaderName>),
    /// All except the forbidden ones (hop-by-hop, credentials, the proxy's own).
    All,
}

impl Endpoint {
    /// Whether it is one of the five documented endpoints of the Billing Insights API.
    #[must_use]
    pub const fn is_documented(&self) -> bool {
        self.position < DOCUMENTED.len()
    }
}

impl PathPattern {
    /// Whether a raw path matches.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == &**exact,
            Self::Prefix(prefix) => path.len() > prefix.len() && path.starts_with(&**prefix),
        }
    }

    /// The pattern in the syntax of the configuration.
    #[must_use]
    pub fn display(&self) -> String {
        match self {
            Self::Exact(path) => path.to_string(),
            Self::Prefix(prefix) => format!("{prefix}*"),
        }
    }
}

/// One of the five endpoints, as Talkdesk documents it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Documented {
    /// The proxy's name for it.
    pub name: &'static str,
    /// Its path.
    pub path: &'static str,
    /// The scope, as documented.
    pub scope: &'static str,
}

/// The five endpoints of the Billing Insights API.
pub const DOCUMENTED: [Documented; 5] = [
    Documented { name: "accounts", path: "/express/accounts", scope: "express-accounts:read" },
    Documented { name: "products", path: "/express/products", scope: "express-products:read" },
    Documented {
        name: "subscriptions",
        path: "/express/subscriptions",
        scope: "express-accounts-subscriptions:read",
    },
    Documented { name: "invoices", path: "/express/invoices", scope: "express-accounts-invoices:read" },
    Documented { name: "monthly_usage", path: "/express/usage/month", scope: "express-accounts-usage:read" },
];

impl Documented {
    /// The endpoint, with the configured account filter and field.
    ///
    /// # Panics
    /// Never: the scopes above are well-formed, which a test checks.
    #[must_use]
    pub fn endpoint(&self, narrowing: &Narrowing) -> Endpoint {
        let position = DOCUMENTED.iter().position(|documented| documented == self);
        Endpoint {
            position: position.expect("a documented endpoint is one of the five"),
            name: self.name.into(),
            path: PathPattern::Exact(self.path.into()),
            methods: vec![Method::GET, Method::HEAD],
            scope: Some(self.scope.parse().expect("a documented scope is well-formed")),
            content: match self.name {
                "accounts" => Content::Accounts,
                "products" => Content::Catalogue,
                _ => Content::Records(narrowing.clone()),
            },
            forward_request_fields: ForwardedFields::Listed(Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_five_documented_endpoints_are_well_formed() {
        let account = Narrowing::default();
        for documented in DOCUMENTED {
            let endpoint = documented.endpoint(&account);
            assert!(endpoint.path.matches(documented.path));
            assert!(!endpoint.path.matches(&format!("{}/", documented.path)));
        }
    }

    #[test]
    fn a_prefix_matches_what_is_below_it_and_not_itself() {
        let reports = PathPattern::Prefix("/reports/".into());
        assert!(reports.matches("/reports/a/b"));
        assert!(!reports.matches("/reports/"));
        assert!(!reports.matches("/reportsx"));
    }
}
