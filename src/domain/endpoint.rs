//! The closed list of endpoints: the five of the Billing Insights API, and what the operator adds.
//!
//! A request leads to one of these or nowhere. Matching is by bytes, on the raw path: nothing is decoded,
//! folded or normalised first, so there is no second spelling of an endpoint.

use std::sync::Arc;

use http::Method;

use super::filter::AccountFilter;
use super::id::{AccountId, Scope};

/// One endpoint of the upstream API.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its place in the closed list, for tables that have a row per endpoint.
    pub position: usize,
    /// The name in configuration, metrics and logs: `invoices`.
    pub name: Arc<str>,
    /// Which paths lead to it.
    pub path: PathPattern,
    /// The methods it answers; `HEAD` is listed where it is allowed.
    pub methods: Vec<Method>,
    /// The scope that a token needs for it; none for an added endpoint without one.
    pub scope: Option<Scope>,
    /// What its records are, which decides how an Instance is kept to itself.
    pub content: Content,
    /// Request fields that go upstream beside the four that always may.
    pub forward_request_fields: ForwardedFields,
}

/// Which paths lead to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// Exactly this path.
    Exact(Arc<str>),
    /// Every path that begins with this, which ends in `/`: written `/reports/*` in the configuration.
    Prefix(Arc<str>),
}

/// What an endpoint answers with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The accounts under an Organization: for Organizations and direct Instances only.
    Accounts,
    /// A catalogue that is the same for everybody: served as it is.
    Catalogue,
    /// Records of accounts, each carrying its account's id.
    Records(Narrowing),
    /// Unknown: an added endpoint without account filter and field. For Organizations and direct Instances
    /// only, because nothing could keep an Instance to its own.
    Opaque,
}

/// How the records of an endpoint are narrowed to an account, and how that is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Narrowing {
    /// What the query parameter `filter` says to narrow to an account.
    pub filter: AccountFilter,
    /// The member of each record that carries the account's id.
    pub field: Arc<str>,
}

/// Every record of an answer must carry this account's id: an Instance on its Organization's credential
/// sees only itself, whatever upstream makes of the filter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccountScope {
    /// The member of a record that carries the id.
    pub field: Arc<str>,
    /// The id that it must have.
    pub account: AccountId,
}

impl Narrowing {
    /// Whether an attribute of a filter stands for the account. Case is ignored: Talkdesk may ignore it too.
    #[must_use]
    pub fn names_account(&self, attribute: &str) -> bool {
        self.field.eq_ignore_ascii_case(attribute) || self.filter.names_account(attribute)
    }
}

impl Default for Narrowing {
    /// `account_id eq '...'`, and records that carry `account_id`.
    fn default() -> Self {
        Self { filter: AccountFilter::default(), field: "account_id".into() }
    }
}

/// The request fields that an endpoint lets through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardedFields {
    /// These, beside the ones that always may.
    Listed(Vec<http::HeaderName>),
    /// All but the forbidden (hop-by-hop, credentials, the proxy's own).
    All,
}

impl Endpoint {
    /// Whether it is one of the five of the Billing Insights API.
    #[must_use]
    pub const fn is_documented(&self) -> bool {
        self.position < DOCUMENTED.len()
    }
}

impl PathPattern {
    /// Whether the raw path is one of these.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == &**exact,
            Self::Prefix(prefix) => path.len() > prefix.len() && path.starts_with(&**prefix),
        }
    }

    /// The pattern as the configuration writes it.
    #[must_use]
    pub fn display(&self) -> String {
        match self {
            Self::Exact(path) => path.to_string(),
            Self::Prefix(prefix) => format!("{prefix}*"),
        }
    }
}

/// One of the five endpoints as Talkdesk documents it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Documented {
    /// Our name for it.
    pub name: &'static str,
    /// Its path.
    pub path: &'static str,
    /// The scope that its page names.
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
    /// The endpoint with the configured account filter and field.
    ///
    /// # Panics
    /// Never: the scopes above are well-formed, which a test holds.
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
