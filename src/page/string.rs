//! A JSON string as it is written in a body: its decoded bytes, and how many raw bytes they take.
//!
//! The decoded text is bytes, not `str`: the escape of a lone surrogate decodes to three bytes that are not
//! UTF-8 (WTF-8). Two strings are equal exactly if their decoded bytes are.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::Visitor;

/// A JSON string with its quotes. `serde_json` has validated it.
#[derive(Clone, Copy)]
pub(super) struct RawString<'a>(pub &'a str);

impl<'a> RawString<'a> {
    /// What is between the quotes.
    fn between_quotes(self) -> &'a [u8] {
        self.0.as_bytes().get(1..self.0.len().saturating_sub(1)).unwrap_or_default()
    }

    /// The decoded bytes. Nearly all strings have no escapes and are not copied.
    pub(super) fn decoded(self) -> serde_json::Result<Cow<'a, [u8]>> {
        let raw = self.between_quotes();
        if !raw.contains(&b'\\') {
            return Ok(Cow::Borrowed(raw));
        }
        serde_json::Deserializer::from_str(self.0).deserialize_bytes(DecodedBytes).map(Cow::Owned)
    }

    /// How many raw bytes the first `characters` characters take. They must be ASCII when decoded, as an
    /// origin is: each is then one byte, or one escape.
    pub(super) fn raw_length(self, characters: usize) -> usize {
        let mut rest = self.between_quotes();
        let length = rest.len();
        for _ in 0..characters {
            let taken = match rest {
                [b'\\', b'u', ..] => "\\u0000".len(),
                [b'\\', ..] => "\\/".len(),
                _ => 1,
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
        length - rest.len()
    }
}

struct DecodedBytes;

impl Visitor<'_> for DecodedBytes {
    type Value = Vec<u8>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::plain(r#""abc""#, b"abc")]
    #[case::empty(r#""""#, b"")]
    #[case::short_escapes(r#""\"\\\/\b\f\n\r\t""#, b"\"\\/\x08\x0c\n\r\t")]
    #[case::a_letter(r#""\u0061""#, b"a")]
    #[case::a_pair(r#""\ud83d\ude00""#, "\u{1f600}".as_bytes())]
    #[case::a_lone_high_surrogate(r#""\ud800""#, b"\xed\xa0\x80")]
    #[case::a_lone_low_surrogate(r#""\udc00x""#, b"\xed\xb0\x80x")]
    #[case::half_of_a_pair_and_another_escape(r#""\ud83d\n""#, b"\xed\xa0\xbd\n")]
    #[case::two_high_surrogates(r#""\ud83d\ud83d\ude00""#, b"\xed\xa0\xbd\xf0\x9f\x98\x80")]
    fn escapes_are_decoded(#[case] raw: &str, #[case] decoded: &[u8]) {
        assert_eq!(RawString(raw).decoded().expect("a string").as_ref(), decoded);
    }

    #[rstest]
    #[case::plain(r#""abc""#, 2, 2)]
    #[case::a_solidus(r#""a\/b""#, 2, 3)]
    #[case::a_code_unit(r#""\u0061bc""#, 2, 7)]
    #[case::nothing(r#""\u0061bc""#, 0, 0)]
    #[case::all(r#""\u0061\/c""#, 3, 9)]
    fn raw_bytes_are_counted_with_their_escapes(
        #[case] raw: &str,
        #[case] characters: usize,
        #[case] length: usize,
    ) {
        assert_eq!(RawString(raw).raw_length(characters), length);
    }
}
