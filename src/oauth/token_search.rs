//! Finds an access token in responses of the API, as it is and in its JSON-escaped form (`\/` for `/`).
//!
//! The searchers (`memmem`) are built once per token, not per response.

use memchr::memmem::Finder;

/// Searchers for one token.
pub struct TokenSearch {
    plain: Finder<'static>,
    /// The JSON-escaped form, if it differs.
    escaped: Option<Finder<'static>>,
}

/// The shortest token that is searched for. A shorter one would match unrelated text.
const SHORTEST: usize = 8;

/// The length of the scheme before the token in `Authorization`.
const SCHEME: usize = "Bearer ".len();

impl TokenSearch {
    /// Builds the search for the token in an `Authorization` field value; none if it is too short.
    pub(super) fn new(authorization: &[u8]) -> Option<Self> {
        let token = authorization.get(SCHEME..).filter(|token| token.len() >= SHORTEST)?;
        let escaped = token.contains(&b'/').then(|| {
            let pieces: Vec<_> = token.split(|byte| *byte == b'/').collect();
            Finder::new(&pieces.join(&b"\\/"[..])).into_owned()
        });
        Some(Self { plain: Finder::new(token).into_owned(), escaped })
    }

    /// Whether the text contains the token.
    #[must_use]
    pub fn finds_in(&self, text: &[u8]) -> bool {
        self.both().any(|finder| finder.find(text).is_some())
    }

    fn both(&self) -> impl Iterator<Item = &Finder<'static>> {
        std::iter::once(&self.plain).chain(&self.escaped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_as_it_is_and_as_json_may_write_it() {
        let search = TokenSearch::new(b"Bearer abc/defg").expect("it is long enough");
        assert!(search.finds_in(b"x abc/defg y"));
        assert!(search.finds_in(br#"{"a":"abc\/defg"}"#));
        assert!(!search.finds_in(b"abc/def"));
    }

    #[test]
    fn a_short_token_is_not_searched_for() {
        assert!(TokenSearch::new(b"Bearer abcdefg").is_none());
        assert!(TokenSearch::new(b"Bearer abcdefgh").is_some());
        assert!(TokenSearch::new(b"").is_none());
    }
}
