//! The short way through a text: tokens that stand whole in the piece at hand, written as nearly all are. Strings without
//! escapes are told of from where they lie, and no state is kept between the bytes of a token, nor between the members of
//! an object.
//!
//! It decides nothing: what it does not know, what is cut by the end of the piece, and every fault, it leaves to the
//! reader's own way, byte by byte.

use super::plain::plain_length;
use super::{Bracket, LONGEST_TEXT, Listener, Reader, State, Text};

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
    pub(super) fn pass_whole(&mut self, piece: &[u8], listener: &mut impl Listener) -> usize {
        let Some(mut next) = Next::of(self.state) else { return 0 };
        let end = self.offset + piece.len() as u64;
        let mut rest = piece;
        while let [byte, following @ ..] = rest {
            (next, rest) = match (byte, next) {
                (b'"', Next::FirstKey | Next::Key) => {
                    let (next, left) = self.members(rest, end, listener);
                    if left.len() == rest.len() {
                        break;
                    }
                    (next, left)
                }
                (b',', Next::AfterValue) => (self.after_comma(), following),
                (b'{', Next::Value | Next::FirstElement) if self.open.open(Bracket::Object) => {
                    listener.opens(Bracket::Object);
                    (Next::FirstKey, following)
                }
                (b'[', Next::Value | Next::FirstElement) if self.open.open(Bracket::Array) => {
                    listener.opens(Bracket::Array);
                    (Next::FirstElement, following)
                }
                (b'}', Next::FirstKey | Next::AfterValue) if self.open.close(Bracket::Object) => {
                    listener.closes(Bracket::Object);
                    (self.after_value(), following)
                }
                (b']', Next::FirstElement | Next::AfterValue) if self.open.close(Bracket::Array) => {
                    listener.closes(Bracket::Array);
                    (self.after_value(), following)
                }
                (b':', Next::Colon) => (Next::Value, following),
                (b' ' | b'\t' | b'\n' | b'\r', _) => (next, following),
                (b'"', Next::Value | Next::FirstElement) => {
                    let Some((text, left)) = plain_text(following, end) else { break };
                    listener.string(text);
                    (self.after_value(), left)
                }
                (_, Next::Value | Next::FirstElement) => {
                    let Some(left) = pass_number_or_word(rest, listener) else { break };
                    (self.after_value(), left)
                }
                _ => break,
            };
        }
        self.state = next.state();
        let passed = piece.len() - rest.len();
        self.offset += passed as u64;
        passed
    }

    /// Passes members of an object, and of objects in it, one after the other: most of any body. Says what may come next,
    /// and where that is.
    fn members<'p>(
        &mut self,
        mut rest: &'p [u8],
        end: u64,
        listener: &mut impl Listener,
    ) -> (Next, &'p [u8]) {
        loop {
            let [b'"', name @ ..] = rest else { return (Next::Key, rest) };
            let Some((name, following)) = plain_text(name, end) else { return (Next::Key, rest) };
            listener.name(name);
            let [b':', value @ ..] = following else { return (Next::Colon, following) };
            rest = match value {
                [b'"', text @ ..] => {
                    let Some((text, following)) = plain_text(text, end) else { return (Next::Value, value) };
                    listener.string(text);
                    following
                }
                [b'{', following @ ..] if self.open.open(Bracket::Object) => {
                    listener.opens(Bracket::Object);
                    let [b'"', ..] = following else { return (Next::FirstKey, following) };
                    rest = following;
                    continue;
                }
                _ => {
                    let Some(following) = pass_number_or_word(value, listener) else {
                        return (Next::Value, value);
                    };
                    following
                }
            };
            while let [b'}', following @ ..] = rest
                && self.open.close(Bracket::Object)
            {
                listener.closes(Bracket::Object);
                rest = following;
                if self.open.innermost() != Some(Bracket::Object) {
                    return (self.after_value(), rest);
                }
            }
            let [b',', following @ ..] = rest else { return (Next::AfterValue, rest) };
            rest = following;
        }
    }

    fn after_value(&self) -> Next {
        if self.open.innermost().is_some() { Next::AfterValue } else { Next::Done }
    }

    fn after_comma(&self) -> Next {
        match self.open.innermost() {
            Some(Bracket::Object) => Next::Key,
            Some(Bracket::Array) | None => Next::Value,
        }
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
}

/// Passes a number, `true`, `false` or `null`, and says what is left.
fn pass_number_or_word<'p>(value: &'p [u8], listener: &mut impl Listener) -> Option<&'p [u8]> {
    match value {
        [b'0'..=b'9', ..] => pass_number(value, listener),
        [b't', b'r', b'u', b'e', following @ ..]
        | [b'f', b'a', b'l', b's', b'e', following @ ..]
        | [b'n', b'u', b'l', b'l', following @ ..] => {
            listener.word();
            Some(following)
        }
        _ => None,
    }
}

/// Digits, and more behind a point. What follows them has to be there, since it could be another digit.
fn pass_number<'p>(number: &'p [u8], listener: &mut impl Listener) -> Option<&'p [u8]> {
    /// So many digits always fit.
    const FIT: usize = 19;
    let (whole, mut following) = digits(number);
    if whole.len() > FIT || (whole.len() > 1 && whole[0] == b'0') {
        return None;
    }
    let mut is_whole = true;
    if let [b'.', fraction @ ..] = following {
        let (fraction, left) = digits(fraction);
        if fraction.is_empty() {
            return None;
        }
        is_whole = false;
        following = left;
    }
    if !matches!(following, [b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r', ..]) {
        return None;
    }
    let value = || whole.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
    listener.number(|| is_whole.then(value));
    Some(following)
}

/// The digits at the beginning, and what follows them.
fn digits(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.iter().take_while(|byte| byte.is_ascii_digit()).count())
}

/// The string that begins after a quote, and what follows its other quote; none where that is not in these bytes, where
/// not all of them up to it stand for themselves, and where they are too many to be told of as a whole. The bytes end
/// before `end`.
#[inline]
fn plain_text(bytes: &[u8], end: u64) -> Option<(Text<'_>, &[u8])> {
    let (decoded, following) = bytes.split_at_checked(plain_length(bytes))?;
    let [b'"', following @ ..] = following else { return None };
    let start = end - bytes.len() as u64;
    let text = Text { decoded, complete: true, start, raw_lengths: &[] };
    (decoded.len() <= LONGEST_TEXT).then_some((text, following))
}
