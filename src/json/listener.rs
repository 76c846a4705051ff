//! What a reader tells of, and to whom.
//!
//! A listener is compiled into the reader, and what it does not ask for is not made: most of a body is nothing to it.

/// Who is told what the reader passes.
pub trait Listener {
    /// A bracket opens.
    fn opens(&mut self, bracket: Bracket);
    /// A bracket closes.
    fn closes(&mut self, bracket: Bracket);
    /// The name of a member.
    fn name(&mut self, text: Text<'_>);
    /// A string that is a value.
    fn string(&mut self, text: Text<'_>);
    /// A number. Its value, where it is written as a whole one that is not negative and fits, is worked out when asked.
    fn number(&mut self, whole: impl FnOnce() -> Option<u64>);
    /// `true`, `false` or `null`.
    fn word(&mut self);
}

/// What stands in brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bracket {
    /// `{}`
    Object,
    /// `[]`
    Array,
}

/// The decoded beginning of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a> {
    /// The decoded bytes, [`LONGEST_TEXT`](super::LONGEST_TEXT) at most.
    pub decoded: &'a [u8],
    /// Whether that is all of it.
    pub complete: bool,
    /// Where its first byte (after the quote) stands.
    pub start: u64,
    /// For each decoded byte, how many raw bytes it and those before it take; empty where the two agree.
    pub(super) raw_lengths: &'a [u32],
}

impl Text<'_> {
    /// How many raw bytes the first `decoded` decoded ones take, escapes included.
    #[must_use]
    pub fn raw_length(&self, decoded: usize) -> u64 {
        match decoded.checked_sub(1) {
            None => 0,
            Some(last) => self.raw_lengths.get(last).map_or(decoded as u64, |raw| u64::from(*raw)),
        }
    }
}
