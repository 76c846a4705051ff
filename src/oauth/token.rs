//! An access token with its expiry and scopes.
//!
//! It has no `Debug` or `Display`, so it can't be logged by mistake. [`tokens`](super::tokens) decides when
//! it is used and dropped.

use std::collections::BTreeSet;
use std::time::Instant;

use http::HeaderValue;

use super::token_search::TokenSearch;

/// An access token.
pub struct Token {
    /// The `Authorization` field value with the token.
    pub authorization: HeaderValue,
    /// Increases with each token of the credential.
    pub number: u64,
    /// The expiry less the safety margin.
    pub usable_until: Instant,
    /// Finds the token in response bodies; none if the token is too short to be distinguished from other
    /// text.
    pub search: Option<TokenSearch>,
    pub(super) refresh_at: Instant,
    pub(super) scopes: BTreeSet<String>,
}

#[cfg(test)]
impl Token {
    /// A token that is valid until `usable_until`.
    pub(crate) fn for_test(secret: &str, usable_until: Instant) -> Self {
        let authorization: HeaderValue = format!("Bearer {secret}").parse().expect("a field's value");
        let search = TokenSearch::new(authorization.as_bytes());
        Self {
            authorization,
            number: 1,
            usable_until,
            search,
            refresh_at: usable_until,
            scopes: BTreeSet::new(),
        }
    }
}
