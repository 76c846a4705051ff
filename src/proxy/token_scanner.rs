//! A token must not come back: an API that repeats the `Authorization` field it was sent (an echo, a debug page, a
//! hostile one) would hand every client of the proxy the tenant's token.
//!
//! So each answer is searched for the token that its request carried: a field that has it is withheld, a body that
//! has it is not given out. The search runs over the decoded pieces as they come, across their borders too, before
//! a piece is passed on; so of a stream at most a part of the token was ever sent.
//!
//! Under a plain rule, whose answers pass as they are, the token in a body that is held is masked instead, and one that
//! is passed on while it comes is masked the same way: what could become a token is held back until it is known.
//!
//! Left out: encodings of a token other than JSON's `\/`. Who wants to give it away in disguise could as well send it
//! elsewhere himself: he has it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use zeroize::Zeroizing;

use super::rejection::Rejection;
use crate::metrics::Metrics;
use crate::oauth::token::Token;
use crate::oauth::token_search::TokenSearch;

/// Looks for a token in a body.
#[derive(Clone)]
pub struct TokenScanner {
    carried: Carried,
    /// The end of what was seen so far, in which a token may begin.
    end: Zeroizing<Vec<u8>>,
}

impl TokenScanner {
    /// Takes the fields that repeat the token out of an answer, and lets the answer carry what its body is to be
    /// searched with.
    pub fn guard<B>(response: &mut Response<B>, token: &Arc<Token>, metrics: &Arc<Metrics>) {
        let Some(search) = &token.search else { return };
        if withhold(response.headers_mut(), search) {
            metrics.upstream_error("token_in_answer");
            tracing::error!("the API's answer repeats the token in a field, which was withheld");
        }
        response.extensions_mut().insert(Carried { token: Arc::clone(token), metrics: Arc::clone(metrics) });
    }

    /// What the body of this answer is to be searched with.
    #[must_use]
    pub fn of<B>(response: &Response<B>) -> Option<Self> {
        let carried = response.extensions().get::<Carried>()?.clone();
        Some(Self { carried, end: Zeroizing::new(Vec::new()) })
    }

    /// Looks at the next piece.
    ///
    /// # Errors
    /// [`Rejection::TokenInAnswer`] where the token ends in it.
    pub fn look(&mut self, piece: &[u8]) -> Result<(), Rejection> {
        let Some(search) = &self.carried.token.search else { return Ok(()) };
        let border = search.longest() - 1;
        // Over the border with what came before: a token that lies in neither alone.
        let over_the_border = !self.end.is_empty() && {
            self.end.extend_from_slice(&piece[..piece.len().min(border)]);
            search.finds_in(&self.end)
        };
        if over_the_border || search.finds_in(piece) {
            self.carried.metrics.upstream_error("token_in_answer");
            tracing::error!("the API's answer repeats the token: it is not given out");
            return Err(Rejection::TokenInAnswer);
        }
        if piece.len() >= border || self.end.is_empty() {
            self.end.clear();
            self.end.extend_from_slice(&piece[piece.len().saturating_sub(border)..]);
        } else {
            let superfluous = self.end.len().saturating_sub(border);
            self.end.drain(..superfluous);
        }
        Ok(())
    }

    /// A whole body with asterisks in the place of the token: the same length, and everything else as it came. For
    /// endpoints whose answers pass as they are.
    #[must_use]
    pub fn masked(&self, body: Bytes) -> Bytes {
        let found =
            self.carried.token.search.as_ref().map_or_else(Vec::new, |search| search.places_in(&body));
        if found.is_empty() {
            return body;
        }
        self.carried.metrics.upstream_error("token_in_answer");
        tracing::error!("the API's answer repeats the token: it is masked");
        let mut masked = body.to_vec();
        for place in found {
            masked[place].fill(b'*');
        }
        masked.into()
    }

    /// Where a token begins that is not complete, or the end.
    fn may_begin_at(&self, piece: &[u8]) -> usize {
        let search = self.carried.token.search.as_ref();
        search.and_then(|search| search.may_begin_at(piece)).unwrap_or(piece.len())
    }
}

/// A whole body, with the token masked where it is to be.
#[must_use]
pub fn masked_whole(mask: Option<TokenScanner>, body: Bytes) -> Bytes {
    match mask {
        Some(mask) => mask.masked(body),
        None => body,
    }
}

/// Masks a body as it comes, so that its pieces together are what [`TokenScanner::masked`] makes of the whole.
pub struct Masking {
    scanner: TokenScanner,
    /// The end of what came, where a token begins in it.
    held: Zeroizing<Vec<u8>>,
}

impl Masking {
    /// A masking that has seen nothing.
    #[must_use]
    pub fn new(scanner: TokenScanner) -> Self {
        Self { scanner, held: Zeroizing::new(Vec::new()) }
    }

    /// Takes a piece, and gives back what can be sent.
    #[must_use]
    pub fn feed(&mut self, piece: Bytes) -> Bytes {
        let joined = if self.held.is_empty() { piece } else { [&self.held, &piece[..]].concat().into() };
        let mut masked = self.scanner.masked(joined);
        let held = masked.split_off(self.scanner.may_begin_at(&masked));
        self.held = Zeroizing::new(held.to_vec());
        masked
    }

    /// What is held back: it did not become a token.
    #[must_use]
    pub fn end(self) -> Bytes {
        Bytes::copy_from_slice(&self.held)
    }

    /// What is held back, and what the rest is to be searched with.
    #[must_use]
    pub fn so_far(self) -> (TokenScanner, Bytes) {
        (self.scanner, Bytes::copy_from_slice(&self.held))
    }
}

/// What an answer carries along: the token of its request, and where a find is counted.
#[derive(Clone)]
struct Carried {
    token: Arc<Token>,
    metrics: Arc<Metrics>,
}

/// Takes the fields that have the token away, and says whether there were any.
fn withhold(fields: &mut HeaderMap, search: &TokenSearch) -> bool {
    let has_it = |(_, value): &(&HeaderName, &HeaderValue)| search.finds_in(value.as_bytes());
    let given_away: Vec<_> = fields.iter().filter(has_it).map(|(name, _)| name.clone()).collect();
    for name in &given_away {
        fields.remove(name);
    }
    !given_away.is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::{Clock, ManualClock};

    const SECRET: &str = "abc/abcd/abcabcd";

    fn scanner(secret: &str) -> TokenScanner {
        let now = Clock::Manual(ManualClock::new()).now();
        let token = Arc::new(Token::for_test(secret, now.monotonic));
        let mut response = Response::new(());
        TokenScanner::guard(&mut response, &token, &Arc::new(Metrics::new()));
        TokenScanner::of(&response).expect("a token that is long enough")
    }

    /// Whether it is found, with the body cut where it is said.
    fn found(body: &[u8], cuts: &[usize]) -> bool {
        let mut scanner = scanner(SECRET);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (body.len() + 1)).collect();
        cuts.sort_unstable();
        cuts.push(body.len());
        let mut from = 0;
        cuts.into_iter().any(|to| scanner.look(&body[std::mem::replace(&mut from, to)..to]).is_err())
    }

    proptest! {
        #[test]
        fn a_token_is_found_wherever_the_body_is_cut(
            before in "[abcd/]{0,40}", after in "[abcd/]{0,40}", escaped: bool, cuts in prop::collection::vec(any::<usize>(), 0..12)
        ) {
            let secret = if escaped { SECRET.replace('/', "\\/") } else { SECRET.to_owned() };
            let body = [before, secret, after].concat();
            prop_assert!(found(body.as_bytes(), &cuts));
        }

        #[test]
        fn nothing_else_is_found(body in "[abcd/]{0,80}", cuts in prop::collection::vec(any::<usize>(), 0..12)) {
            prop_assert_eq!(found(body.as_bytes(), &cuts), body.contains(SECRET));
        }
    }

    proptest! {
        #[test]
        fn a_body_that_is_masked_as_it_comes_is_the_one_that_is_masked_whole(
            parts in prop::collection::vec(
                prop_oneof![Just(SECRET.to_owned()), Just(SECRET.replace('/', "\\/")), "[abcd/]{0,20}"], 0..6
            ),
            cuts in prop::collection::vec(any::<usize>(), 0..12)
        ) {
            let body = Bytes::from(parts.concat());
            let mut masking = Masking::new(scanner(SECRET));
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (body.len() + 1)).collect();
            cuts.sort_unstable();
            cuts.push(body.len());
            let (mut from, mut out) = (0, Vec::new());
            for to in cuts {
                out.extend_from_slice(&masking.feed(body.slice(std::mem::replace(&mut from, to)..to)));
                prop_assert!(memchr::memmem::find(&out, SECRET.as_bytes()).is_none());
            }
            out.extend_from_slice(&masking.end());
            prop_assert_eq!(Bytes::from(out), scanner(SECRET).masked(body));
        }
    }

    #[test]
    fn what_can_not_become_a_token_is_not_held_back() {
        let mut masking = Masking::new(scanner("abcdefgh"));
        assert_eq!(masking.feed(Bytes::from_static(b"xxabcx")), "xxabcx");
        assert_eq!(masking.feed(Bytes::from_static(b"xxabc")), "xx");
        assert_eq!(masking.feed(Bytes::from_static(b"x")), "abcx");
    }

    #[test]
    fn the_token_is_found_by_the_piece_that_completes_it() {
        let mut scanner = scanner("abcdefgh");
        for letter in "xxabcdefg".bytes() {
            assert_eq!(scanner.look(&[letter]), Ok(()));
        }
        assert_eq!(scanner.look(b"h"), Err(Rejection::TokenInAnswer));
    }

    #[test]
    fn a_field_that_has_the_token_is_withheld_and_the_others_are_not() {
        let mut fields = HeaderMap::new();
        for (name, value) in
            [("x-debug", "Bearer abcdefgh"), ("x-other", "abcdefg"), ("link", "</?t=abcdefghi>")]
        {
            fields.insert(name, value.parse().expect("a value"));
        }
        let now = Clock::Manual(ManualClock::new()).now();
        let token = Token::for_test("abcdefgh", now.monotonic);
        let search = token.search.expect("it is long enough");
        assert!(withhold(&mut fields, &search));
        assert!(!withhold(&mut fields, &search));
        assert_eq!(fields.len(), 1);
        assert!(fields.contains_key("x-other"));
    }
}
