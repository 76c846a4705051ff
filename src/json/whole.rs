//! The short way through a text: tokens that stand whole in the piece at hand, written as nearly all are. Strings without
//! escapes are told from where they lie, eight bytes are looked at at a time, and no state is kept between the bytes of a
//! token.
//!
//! It decides nothing: what it does not know, what is cut by the end of the piece, and every fault, it leaves to the
//! reader's own way, byte by byte.

use super::{DEEPEST, Event, LONGEST_TEXT, Reader, State, Text};

/// What may come next, between two tokens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Value,
    FirstElement,
    FirstKey,
    Key,
    Colon,
    AfterValue,
    Done,
}

impl Reader {
    /// Passes the tokens at the beginning of a piece, as far as it can, and says how many bytes they take.
    pub(super) fn pass_whole(&mut self, piece: &[u8], tell: &mut impl FnMut(Event<'_>)) -> usize {
        let Some(mut next) = Next::of(self.state) else { return 0 };
        let mut at = 0;
        while let Some(byte) = piece.get(at) {
            let rest = &piece[at + 1..];
            let passed = match byte {
                b'"' if matches!(next, Next::Key | Next::FirstKey) => {
                    self.members(&mut next, at, piece, tell)
                }
                b'"' => self.text(&mut next, at, rest, tell),
                b',' => comma(&mut next, self.open.last()),
                b':' if next == Next::Colon => {
                    next = Next::Value;
                    Some(1)
                }
                b'0'..=b'9' => self.number(&mut next, &piece[at..], tell),
                b'{' | b'[' => self.opens(&mut next, *byte == b'{', tell),
                b'}' | b']' => self.closes(&mut next, *byte == b'}', tell),
                b't' => self.word(&mut next, rest, b"rue", tell),
                b'f' => self.word(&mut next, rest, b"alse", tell),
                b'n' => self.word(&mut next, rest, b"ull", tell),
                b' ' | b'\t' | b'\n' | b'\r' => Some(1),
                _ => None,
            };
            match passed {
                Some(length) => at += length,
                None => break,
            }
        }
        self.state = next.state();
        self.offset += at as u64;
        at
    }

    /// Members of an object, one after the other, as long as their values are strings and numbers: most of any body. The
    /// first name's quote is at `from`.
    fn members(
        &self,
        next: &mut Next,
        from: usize,
        piece: &[u8],
        tell: &mut impl FnMut(Event<'_>),
    ) -> Option<usize> {
        let mut at = from;
        while let Some(length) = plain_length(&piece[at + 1..]) {
            tell(Event::Key(self.plain_text(piece, at + 1, length)));
            at += length + 2;
            *next = Next::Colon;
            let [b':', first, ..] = &piece[at..] else { break };
            at += 1;
            *next = Next::Value;
            match first {
                b'"' => {
                    let Some(length) = plain_length(&piece[at + 1..]) else { break };
                    tell(Event::String(self.plain_text(piece, at + 1, length)));
                    at += length + 2;
                    *next = Next::AfterValue;
                    let [b',', ..] = &piece[at..] else { break };
                    at += 1;
                    *next = Next::Key;
                }
                b'0'..=b'9' => {
                    let Some(length) = self.number(next, &piece[at..], tell) else { break };
                    at += length;
                    if *next != Next::Key {
                        break;
                    }
                }
                _ => break,
            }
            let [b'"', ..] = &piece[at..] else { break };
        }
        (at > from).then_some(at - from)
    }

    /// A string that is a value.
    fn text(
        &self,
        next: &mut Next,
        quote: usize,
        rest: &[u8],
        tell: &mut impl FnMut(Event<'_>),
    ) -> Option<usize> {
        if !next.may_be_value() {
            return None;
        }
        let length = plain_length(rest)?;
        let start = self.offset + quote as u64 + 1;
        tell(Event::String(Text { decoded: &rest[..length], complete: true, start, raw_lengths: &[] }));
        Some(length + 2 + self.value_ended(next, rest.get(length + 1)))
    }

    fn plain_text<'a>(&self, piece: &'a [u8], start: usize, length: usize) -> Text<'a> {
        let decoded = &piece[start..start + length];
        Text { decoded, complete: true, start: self.offset + start as u64, raw_lengths: &[] }
    }

    /// What comes after a value, and how many bytes of that are passed with it: a comma that follows at once.
    fn value_ended(&self, next: &mut Next, following: Option<&u8>) -> usize {
        let Some(in_object) = self.open.last() else {
            *next = Next::Done;
            return 0;
        };
        if following != Some(&b',') {
            *next = Next::AfterValue;
            return 0;
        }
        *next = if *in_object { Next::Key } else { Next::Value };
        1
    }

    /// Digits, and more behind a point. What follows them has to be there, since it could be another digit.
    fn number(&self, next: &mut Next, number: &[u8], tell: &mut impl FnMut(Event<'_>)) -> Option<usize> {
        /// So many digits always fit.
        const FIT: usize = 19;
        let mut length = digits(number);
        if !next.may_be_value() || length > FIT || (length > 1 && number[0] == b'0') {
            return None;
        }
        let value =
            |digits: &[u8]| digits.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
        let mut whole = Some(value(&number[..length]));
        if number.get(length) == Some(&b'.') {
            let fraction = digits(&number[length + 1..]);
            length += 1 + fraction;
            whole = None;
            if fraction == 0 {
                return None;
            }
        }
        let following = number.get(length)?;
        if !matches!(following, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r') {
            return None;
        }
        tell(Event::Number(whole));
        Some(length + self.value_ended(next, Some(following)))
    }

    fn opens(&mut self, next: &mut Next, object: bool, tell: &mut impl FnMut(Event<'_>)) -> Option<usize> {
        if !next.may_be_value() || self.open.len() == DEEPEST {
            return None;
        }
        self.open.push(object);
        tell(if object { Event::ObjectStart } else { Event::ArrayStart });
        *next = if object { Next::FirstKey } else { Next::FirstElement };
        Some(1)
    }

    fn closes(&mut self, next: &mut Next, object: bool, tell: &mut impl FnMut(Event<'_>)) -> Option<usize> {
        let first = if object { Next::FirstKey } else { Next::FirstElement };
        if (*next != Next::AfterValue && *next != first) || self.open.last() != Some(&object) {
            return None;
        }
        self.open.pop();
        tell(if object { Event::ObjectEnd } else { Event::ArrayEnd });
        *next = if self.open.is_empty() { Next::Done } else { Next::AfterValue };
        Some(1)
    }

    fn word(
        &self,
        next: &mut Next,
        rest: &[u8],
        word: &[u8],
        tell: &mut impl FnMut(Event<'_>),
    ) -> Option<usize> {
        if !next.may_be_value() || !rest.starts_with(word) {
            return None;
        }
        tell(Event::Scalar);
        Some(1 + word.len() + self.value_ended(next, rest.get(word.len())))
    }
}

impl Next {
    fn of(state: State) -> Option<Self> {
        Some(match state {
            State::Value => Self::Value,
            State::FirstElement => Self::FirstElement,
            State::FirstKey => Self::FirstKey,
            State::Key => Self::Key,
            State::Colon => Self::Colon,
            State::AfterValue => Self::AfterValue,
            State::Done => Self::Done,
            State::Text { .. }
            | State::Escape { .. }
            | State::Unicode { .. }
            | State::LowSurrogate { .. }
            | State::Number(_)
            | State::Literal { .. } => return None,
        })
    }

    const fn state(self) -> State {
        match self {
            Self::Value => State::Value,
            Self::FirstElement => State::FirstElement,
            Self::FirstKey => State::FirstKey,
            Self::Key => State::Key,
            Self::Colon => State::Colon,
            Self::AfterValue => State::AfterValue,
            Self::Done => State::Done,
        }
    }

    const fn may_be_value(self) -> bool {
        matches!(self, Self::Value | Self::FirstElement)
    }
}

fn comma(next: &mut Next, open: Option<&bool>) -> Option<usize> {
    if *next != Next::AfterValue {
        return None;
    }
    *next = if *open? { Next::Key } else { Next::Value };
    Some(1)
}

fn digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// The length of a string that ends in these bytes, that has nothing but bytes that stand for themselves, and that is not
/// too long to be told of as a whole.
fn plain_length(bytes: &[u8]) -> Option<usize> {
    let bytes = &bytes[..bytes.len().min(LONGEST_TEXT + 1)];
    let (words, rest) = bytes.as_chunks::<8>();
    for (place, word) in words.iter().enumerate() {
        let ends = ends_in(u64::from_le_bytes(*word));
        if ends != 0 {
            let length = place * 8 + (ends.trailing_zeros() / 8) as usize;
            return (bytes[length] == b'"').then_some(length);
        }
    }
    let last = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
    (rest[last] == b'"').then_some(bytes.len() - rest.len() + last)
}

/// The high bit of each byte that is a quote, a backslash or a control character. Of those beyond the first some may be
/// wrong, for what the subtraction borrows.
const fn ends_in(word: u64) -> u64 {
    const EACH: u64 = u64::MAX / 255;
    const HIGH: u64 = EACH << 7;
    let quote = word ^ (EACH * b'"' as u64);
    let backslash = word ^ (EACH * b'\\' as u64);
    let is_quote = quote.wrapping_sub(EACH) & !quote;
    let is_backslash = backslash.wrapping_sub(EACH) & !backslash;
    let is_control = word.wrapping_sub(EACH * 0x20) & !word;
    (is_quote | is_backslash | is_control) & HIGH
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn the_length_of_a_plain_string_is_that_of_a_look_at_each_byte(
            bytes in prop::collection::vec(
                prop_oneof![8 => Just(b'a'), 2 => any::<u8>(), 1 => Just(b'"'), 1 => Just(0x1f), 1 => Just(b'\\')],
                0..40,
            ),
            long in prop_oneof![3 => Just(0), 1 => 490..530_usize],
        ) {
            let bytes = [vec![b'x'; long], bytes].concat();
            let end = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            let expected = end.filter(|end| bytes[*end] == b'"' && *end <= LONGEST_TEXT);
            prop_assert_eq!(plain_length(&bytes), expected);
        }
    }
}
