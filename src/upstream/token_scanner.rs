//! Detects responses that repeat the access token.
//!
//! An API that echoes the `Authorization` field (a debug page, a hostile server) would disclose the tenant's token to every
//! client of the proxy. Each response is searched for the token of its request: a field that contains it is removed, and a
//! body that contains it is rejected.
//!
//! Not implemented: encodings of a token other than JSON's `\/`. A server that wants to disclose the token can send it
//! elsewhere itself.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Response};

use crate::metrics::Metrics;
use crate::oauth::token::Token;
use crate::oauth::token_search::TokenSearch;
use crate::problem::Rejection;

/// Searches a response body for the token of its request. It is attached to the response as an extension.
#[derive(Clone)]
pub struct TokenScanner {
    token: Arc<Token>,
    metrics: Arc<Metrics>,
}

impl TokenScanner {
    /// Removes the fields that repeat the token, and attaches the scanner for the body.
    pub fn attach<B>(response: &mut Response<B>, token: &Arc<Token>, metrics: &Arc<Metrics>) {
        let Some(search) = &token.search else { return };
        if remove_fields_with_token(response.headers_mut(), search) {
            metrics.upstream_error("token_in_answer");
            tracing::error!("the API's answer repeats the token in a field, which was withheld");
        }
        response.extensions_mut().insert(Self { token: Arc::clone(token), metrics: Arc::clone(metrics) });
    }

    /// The scanner for the body of this response.
    #[must_use]
    pub fn of<B>(response: &Response<B>) -> Option<Self> {
        response.extensions().get::<Self>().cloned()
    }

    /// Searches a complete text.
    ///
    /// # Errors
    /// [`Rejection::TokenInAnswer`] if it contains the token.
    pub fn check(&self, text: &[u8]) -> Result<(), Rejection> {
        if !self.token.search.as_ref().is_some_and(|search| search.finds_in(text)) {
            return Ok(());
        }
        self.metrics.upstream_error("token_in_answer");
        tracing::error!("the API's answer repeats the token: it is not given out");
        Err(Rejection::TokenInAnswer)
    }
}

/// Returns whether a field was removed.
fn remove_fields_with_token(fields: &mut HeaderMap, search: &TokenSearch) -> bool {
    let has_it = |(_, value): &(&HeaderName, &HeaderValue)| search.finds_in(value.as_bytes());
    let names: Vec<_> = fields.iter().filter(has_it).map(|(name, _)| name.clone()).collect();
    for name in &names {
        fields.remove(name);
    }
    !names.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};

    fn response(secret: &str, fields: &[(&'static str, &'static str)]) -> Response<()> {
        let now = Clock::Manual(ManualClock::new()).now();
        let token = Arc::new(Token::for_test(secret, now.monotonic));
        let mut response = Response::new(());
        for (name, value) in fields {
            response.headers_mut().insert(*name, HeaderValue::from_static(value));
        }
        TokenScanner::attach(&mut response, &token, &Arc::new(Metrics::new()));
        response
    }

    #[test]
    fn a_body_with_the_token_is_refused_as_it_is_and_as_json_escapes_it() {
        let scanner = TokenScanner::of(&response("abc/defgh", &[])).expect("a token that is long enough");
        for body in ["abc/defgh", r#"{"a":"abc\/defgh"}"#] {
            assert_eq!(scanner.check(body.as_bytes()), Err(Rejection::TokenInAnswer), "{body}");
        }
        assert_eq!(scanner.check(b"abc/defg"), Ok(()));
    }

    #[test]
    fn a_field_with_the_token_is_removed_and_the_others_are_not() {
        let fields = [("x-debug", "Bearer abcdefgh"), ("x-other", "abcdefg"), ("link", "</?t=abcdefghi>")];
        let response = response("abcdefgh", &fields);
        assert_eq!(response.headers().keys().collect::<Vec<_>>(), ["x-other"]);
    }
}
