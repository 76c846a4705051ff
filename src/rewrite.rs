//! Rewrites the links of a body that is too large to be held, as it passes.
//!
//! Deliberately absent: the account check. What is checked is read whole and never passes through here.

use bytes::{Bytes, BytesMut};

use crate::inspect::Inspector;
use crate::json::{NotJson, Reader};
use crate::links::{Base, Origin, Splice, spliced};

/// Rewrites a body that is too large to be held, piece by piece. What it holds back is at most the
/// beginning of one string.
#[derive(Debug)]
pub struct Rewriter {
    reader: Reader,
    inspector: Inspector,
    base: Base,
    held: BytesMut,
    /// Where `held` begins, in bytes from the beginning of the body.
    held_start: u64,
}

impl Rewriter {
    /// A rewriter for a body of `origin`.
    #[must_use]
    pub fn new(origin: Origin, base: Base) -> Self {
        Self {
            reader: Reader::new(),
            inspector: Inspector::new(origin, None),
            base,
            held: BytesMut::new(),
            held_start: 0,
        }
    }

    /// Takes a piece, and gives back what can be sent.
    ///
    /// # Errors
    /// [`NotJson`] as soon as that is plain.
    pub fn feed(&mut self, piece: &Bytes) -> Result<Vec<Bytes>, NotJson> {
        let Self { reader, inspector, .. } = self;
        reader.feed(piece, inspector)?;
        let window = if self.held.is_empty() {
            piece.clone()
        } else {
            self.held.extend_from_slice(piece);
            self.held.split().freeze()
        };
        let end = self.held_start + window.len() as u64;
        // The beginning of a string is held back until it is known whether it begins with the origin.
        let safe_end = self.reader.untold_text().filter(|_| self.inspector.expects_link()).unwrap_or(end);
        let ready = usize::try_from(safe_end - self.held_start).unwrap_or(window.len()).min(window.len());
        let splices: Vec<_> = self
            .inspector
            .take_links()
            .into_iter()
            .map(|splice| Splice { start: splice.start - self.held_start, ..splice })
            .collect();
        let pieces = spliced(&window.slice(..ready), &splices, &self.base);
        self.held.extend_from_slice(&window[ready..]);
        self.held_start += ready as u64;
        Ok(pieces)
    }

    /// Ends the body.
    ///
    /// # Errors
    /// [`NotJson`] where it ended too early, with what is held back.
    pub fn finish(self) -> Result<(), (NotJson, Option<Bytes>)> {
        let Self { reader, mut inspector, held, .. } = self;
        reader.finish(&mut inspector).map_err(|error| (error, left(held)))
    }

    /// What is held back, for whoever goes on without.
    #[must_use]
    pub fn held(self) -> Option<Bytes> {
        left(self.held)
    }
}

fn left(held: BytesMut) -> Option<Bytes> {
    (!held.is_empty()).then(|| held.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rewrite(body: &str, cuts: &[usize]) -> Result<String, NotJson> {
        let origin = Origin::new("https://api.example.com".into());
        let mut rewriter =
            Rewriter::new(origin, Base::new("http://localhost:8080", Some("organizations/acme")));
        let body = Bytes::copy_from_slice(body.as_bytes());
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (body.len() + 1)).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let mut out = Vec::new();
        for pair in cuts.windows(2) {
            for piece in rewriter.feed(&body.slice(pair[0]..pair[1]))? {
                out.extend_from_slice(&piece);
            }
        }
        rewriter.finish().map_err(|(error, _)| error)?;
        Ok(String::from_utf8(out).expect("what is cut and joined is still UTF-8"))
    }

    const BODY: &str = r#"{"_links":{"next":{"href":"https:\/\/api.example.com\/express?page=2"}},"first":{"href":"https://API.example.com:443/x"},"description":"see https://api.example.com/","rate":1.10,"href":"https://api.example.com.evil/"}"#;
    const REWRITTEN: &str = r#"{"_links":{"next":{"href":"http://localhost:8080/organizations/acme\/express?page=2"}},"first":{"href":"http://localhost:8080/organizations/acme/x"},"description":"see https://api.example.com/","rate":1.10,"href":"https://api.example.com.evil/"}"#;

    proptest! {
        #[test]
        fn a_link_is_found_wherever_the_body_is_cut(cuts in prop::collection::vec(0usize..1000, 0..12)) {
            prop_assert_eq!(rewrite(BODY, &cuts).expect("JSON"), REWRITTEN);
        }
    }

    #[test]
    fn a_body_that_ends_too_early_is_told_apart() {
        assert!(rewrite(r#"{"href":"https://api.exa"#, &[]).is_err());
    }

    #[test]
    fn what_is_held_back_is_bounded_by_one_string() {
        let origin = Origin::new("https://api.example.com".into());
        let mut rewriter = Rewriter::new(origin, Base::new("http://localhost", None));
        let mut out = 0;
        let head = Bytes::from_static(br#"{"href":""#);
        out += rewriter.feed(&head).expect("JSON").iter().map(Bytes::len).sum::<usize>();
        let piece = Bytes::from(vec![b'a'; 64 * 1024]);
        for _ in 0..10 {
            out += rewriter.feed(&piece).expect("JSON").iter().map(Bytes::len).sum::<usize>();
        }
        assert_eq!(out, head.len() + 10 * piece.len());
    }
}
