//! Where the answer to a permitted request stands, and what that place is called.

use std::sync::Arc;

use crate::domain::credential::CredentialKey;
use crate::domain::entitlement::Permit;
use crate::domain::id::AccountId;
use crate::domain::query;
use crate::rfc9111::key::PrimaryKey;

/// Whose answer stands at a place, and to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceLabel {
    /// With which credential it was fetched.
    pub credential: CredentialKey,
    /// For which account alone, where the answer was checked for one.
    pub account: Option<AccountId>,
    /// The endpoint's name.
    pub endpoint: Arc<str>,
    /// The key of the place, which has path and query in it.
    pub at: PrimaryKey,
    /// What its pages have in common: the key, made without the parameters that choose a page.
    pub pages: PrimaryKey,
}

impl PlaceLabel {
    /// Path and query upstream.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        self.at.path_and_query()
    }
}

/// The primary key of a permitted request.
#[must_use]
pub fn primary_key(permit: &Permit) -> PrimaryKey {
    key(permit, permit.path_and_query())
}

fn key(permit: &Permit, path_and_query: &str) -> PrimaryKey {
    let credential = permit.credential();
    let account_scope = permit.account_scope().map(|scope| format!("{} {}", scope.account, scope.field));
    PrimaryKey::new(
        credential.key.as_bytes(),
        &credential.api_origin,
        path_and_query,
        account_scope.as_ref().map(String::as_bytes),
    )
}

/// What the place of a permitted request is called, whose primary key is `at`.
#[must_use]
pub fn label(permit: &Permit, at: &PrimaryKey) -> PlaceLabel {
    let of_all_pages = query::without_page(permit.path_and_query());
    // Most name no page: then the two are one, in memory too.
    let names_none = *of_all_pages == **permit.path_and_query();
    PlaceLabel {
        credential: permit.credential().key.clone(),
        account: permit.account_scope().map(|scope| scope.account),
        endpoint: Arc::clone(&permit.endpoint().name),
        at: at.clone(),
        pages: if names_none { at.clone() } else { key(permit, &of_all_pages) },
    }
}
