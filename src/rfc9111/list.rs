//! Comma-separated lists in field values (RFC 9110, section 5.6.1), whose members may contain quoted strings.

/// The members of a list, trimmed, without empty ones.
pub(super) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    split(value).filter(|member| !member.is_empty())
}

/// Splits a list at its commas. A comma inside a quoted string does not split. An unclosed quote does not
/// start a quoted string: otherwise it would hide every directive after it.
pub(super) fn split(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut rest, mut quotes) = (Some(value), true);
    std::iter::from_fn(move || {
        let value = rest?;
        let end = end_of_member(value, &mut quotes);
        rest = value.get(end + 1..);
        Some(value[..end].trim_ascii())
    })
}

/// The end of the first member of `value`. `quotes` becomes false at the first unclosed quote: no later quote
/// can be closed either, so the search is not repeated.
fn end_of_member(value: &[u8], quotes: &mut bool) -> usize {
    let mut position = 0;
    while let Some(byte) = value.get(position) {
        match byte {
            b',' => break,
            b'"' if *quotes => {
                let length = quoted_length(&value[position + 1..]);
                *quotes = length.is_some();
                position += 1 + length.unwrap_or_default();
            }
            _ => position += 1,
        }
    }
    position
}

/// The length of the rest of a quoted string, including the closing quote; none if it is not closed.
fn quoted_length(rest: &[u8]) -> Option<usize> {
    let mut escaped = false;
    let closing = rest.iter().position(|byte| {
        let closes = !escaped && *byte == b'"';
        escaped = !escaped && *byte == b'\\';
        closes
    });
    closing.map(|closing| closing + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case::plain("a, b ,,c", &["a", "b", "c"])]
    #[case::quoted("a=\"b,c\", d", &["a=\"b,c\"", "d"])]
    #[case::escaped("a=\"b\\\",c\", d", &["a=\"b\\\",c\"", "d"])]
    #[case::a_backslash_outside_escapes_nothing("a\\\"b,c\", d", &["a\\\"b,c\"", "d"])]
    #[case::never_closed("a=\"b, c", &["a=\"b", "c"])]
    #[case::closed_and_opened("a=\"b,c\", d=\"e, f", &["a=\"b,c\"", "d=\"e", "f"])]
    #[case::nothing(" , ", &[])]
    fn commas_split_where_nothing_is_quoted(#[case] value: &str, #[case] expected: &[&str]) {
        let found: Vec<_> = members(value.as_bytes()).map(String::from_utf8_lossy).collect();
        assert_eq!(found, expected);
    }

    proptest! {
        #[test]
        fn every_byte_but_commas_and_space_is_in_a_member(value in prop::collection::vec(any::<u8>(), 0..60)) {
            let kept = |bytes: &[u8]| bytes.iter().filter(|byte| !b", \t\n\r\x0c".contains(byte)).count();
            prop_assert_eq!(members(&value).map(kept).sum::<usize>(), kept(&value));
        }
    }
}
