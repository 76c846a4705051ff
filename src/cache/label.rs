//! The cache key of a permitted request, and its label for purging and for the admin API.

use std::sync::Arc;

use crate::domain::credential::CredentialKey;
use crate::domain::entitlement::Permit;
use crate::domain::id::AccountId;
use crate::domain::query;
use crate::rfc9111::key::PrimaryKey;

/// Identifies a slot in the cache: whose responses it holds, and for which request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotLabel {
    /// The credential of the upstream request.
    pub credential: CredentialKey,
    /// The account, if the response was checked for one account only.
    pub account: Option<AccountId>,
    /// The endpoint's name.
    pub endpoint: Arc<str>,
    /// The primary key of the slot; it contains path and query.
    pub at: PrimaryKey,
    /// The key of the page set: the primary key without the parameters that select a page.
    pub pages: PrimaryKey,
}

impl SlotLabel {
    /// The path and query upstream.
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

/// The label of the slot of a permitted request. `at` is its primary key.
#[must_use]
pub fn label(permit: &Permit, at: &PrimaryKey) -> SlotLabel {
    let of_all_pages = query::without_page(permit.path_and_query());
    // Most requests select no page: both keys then share one allocation.
    let names_none = *of_all_pages == **permit.path_and_query();
    SlotLabel {
        credential: permit.credential().key.clone(),
        account: permit.account_scope().map(|scope| scope.account),
        endpoint: Arc::clone(&permit.endpoint().name),
        at: at.clone(),
        pages: if names_none { at.clone() } else { key(permit, &of_all_pages) },
    }
}
