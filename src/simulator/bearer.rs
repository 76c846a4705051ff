//! The access token of an API request.
//!
//! Deliberately absent: tokens in the query or in a form, which Talkdesk does not document.

use http::HeaderMap;
use http::header::AUTHORIZATION;

/// The token of the one `Authorization: Bearer` field. Anything else, two such fields included, is no token.
pub(super) fn token(fields: &HeaderMap) -> Option<&str> {
    let mut values = fields.get_all(AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
