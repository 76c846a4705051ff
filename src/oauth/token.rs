//! A token in hand: what it is sent as, until when it may be used, and what it may do.
//!
//! It can't be printed. [`tokens`](super::tokens) decides when it is used and given up.

use std::collections::BTreeSet;
use std::time::Instant;

use http::HeaderValue;

use super::token_search::TokenSearch;

/// A token in hand.
pub struct Token {
    /// The `Authorization` field that carries it.
    pub authorization: HeaderValue,
    /// Counts up with each token of the credential.
    pub number: u64,
    /// When its life, less the margin, ends.
    pub usable_until: Instant,
    /// Finds it where it must not be; none where it is too short to be told from other text.
    pub search: Option<TokenSearch>,
    pub(super) refresh_at: Instant,
    pub(super) scopes: BTreeSet<String>,
}

#[cfg(test)]
impl Token {
    /// A token that is good until then.
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
