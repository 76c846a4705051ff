//! A JSON reader that takes its input in pieces and keeps none of it (RFC 8259).
//!
//! It tells a [`Listener`] what it passes (keys, strings, brackets) and where, and says whether the text is JSON at
//! all. That is what finding links and checking accounts need: a body is looked at once, and is never parsed into a
//! tree and printed again, so `1.10` stays `1.10`.
//!
//! Deliberately absent: values of numbers that count nothing (`1.10`, `-1`, `1e3`), and strings beyond their first
//! [`LONGEST_TEXT`] bytes. Nothing that is compared with a string here is that long.

mod listener;
mod nesting;
mod number;
mod plain;
mod utf8;
mod whole;

pub use listener::{Bracket, Listener, Text};
use nesting::Nesting;
use number::Number;
use plain::plain_length;
use utf8::Utf8;

/// How much of a string is decoded and shown. A longer one is told of as incomplete.
pub const LONGEST_TEXT: usize = 512;

/// The text is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {offset}")]
pub struct NotJson {
    /// Where, in bytes from the beginning.
    pub offset: u64,
    /// What is wrong there.
    pub reason: &'static str,
}

/// The reader. Feed it a body in pieces, then [`finish`](Self::finish).
#[derive(Debug)]
pub struct Reader {
    state: State,
    open: Nesting,
    offset: u64,
    text: Vec<u8>,
    raw_lengths: Vec<u32>,
    text_start: u64,
    text_told: bool,
    utf8: Utf8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Value,
    FirstElement,
    FirstKey,
    Key,
    Colon,
    AfterValue,
    Text { key: bool },
    Escape { key: bool },
    Unicode { key: bool, digits: u8, value: u16, high: Option<u16> },
    LowSurrogate { key: bool, high: u16, backslash: bool },
    Number(Number),
    Literal { rest: &'static [u8] },
    Done,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader at the beginning of a body.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::Value,
            open: Nesting::default(),
            offset: 0,
            text: Vec::new(),
            raw_lengths: Vec::new(),
            text_start: 0,
            text_told: false,
            utf8: Utf8::default(),
        }
    }

    /// The start of a string that is open and has not been told of yet.
    #[must_use]
    pub fn untold_text(&self) -> Option<u64> {
        let in_text = matches!(
            self.state,
            State::Text { .. } | State::Escape { .. } | State::Unicode { .. } | State::LowSurrogate { .. }
        );
        (in_text && !self.text_told).then_some(self.text_start)
    }

    /// Reads the next piece and tells of what it passes.
    ///
    /// # Errors
    /// [`NotJson`]; the reader is of no use after it.
    pub fn feed(&mut self, piece: &[u8], listener: &mut impl Listener) -> Result<(), NotJson> {
        self.utf8.feed(piece).map_err(|()| self.wrong("the text is not UTF-8"))?;
        let mut position = 0;
        while position < piece.len() {
            position += self.pass_whole(&piece[position..], listener);
            if position == piece.len() {
                break;
            }
            if let State::Text { .. } = self.state {
                let run = plain_length(&piece[position..]);
                self.take_text(&piece[position..position + run], listener);
                position += run;
                self.offset += run as u64;
                if position == piece.len() {
                    break;
                }
            }
            self.step(piece[position], listener)?;
            position += 1;
            self.offset += 1;
        }
        Ok(())
    }

    /// Ends the body.
    ///
    /// # Errors
    /// [`NotJson`] where it ended too early.
    pub fn finish(mut self, listener: &mut impl Listener) -> Result<(), NotJson> {
        if let State::Number(number) = self.state
            && number.may_end()
        {
            listener.number(|| number.whole());
            self.value_ends();
        }
        if self.state == State::Done && self.utf8.is_complete() {
            Ok(())
        } else {
            Err(self.wrong("the text ends too early"))
        }
    }

    fn wrong(&self, reason: &'static str) -> NotJson {
        NotJson { offset: self.offset, reason }
    }

    fn step(&mut self, byte: u8, listener: &mut impl Listener) -> Result<(), NotJson> {
        match self.state {
            State::Text { key } => self.step_text(byte, key, listener),
            State::Escape { key } => self.step_escape(byte, key),
            State::Unicode { key, digits, value, high } => self.step_unicode(byte, key, digits, value, high),
            State::LowSurrogate { key, high, backslash } => {
                self.step_low_surrogate(byte, key, high, backslash)
            }
            State::Number(number) => match number.next(byte) {
                Some(next) => {
                    self.state = State::Number(next);
                    Ok(())
                }
                None if number.may_end() => {
                    listener.number(|| number.whole());
                    self.value_ends();
                    self.step(byte, listener)
                }
                None => Err(self.wrong("a number is malformed")),
            },
            State::Literal { rest } => match rest {
                [expected] if *expected == byte => {
                    listener.word();
                    self.value_ends();
                    Ok(())
                }
                [expected, rest @ ..] if *expected == byte => {
                    self.state = State::Literal { rest };
                    Ok(())
                }
                _ => Err(self.wrong("a word is neither true, false nor null")),
            },
            _ if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => Ok(()),
            State::FirstElement if byte == b']' => self.close(Bracket::Array, listener),
            State::Value | State::FirstElement => self.step_value(byte, listener),
            State::FirstKey if byte == b'}' => self.close(Bracket::Object, listener),
            State::FirstKey | State::Key if byte == b'"' => {
                self.text_begins(true);
                Ok(())
            }
            State::FirstKey | State::Key => Err(self.wrong("a member's name is missing")),
            State::Colon if byte == b':' => {
                self.state = State::Value;
                Ok(())
            }
            State::Colon => Err(self.wrong("a colon is missing")),
            State::AfterValue => self.step_after_value(byte, listener),
            State::Done => Err(self.wrong("something follows the value")),
        }
    }

    fn step_value(&mut self, byte: u8, listener: &mut impl Listener) -> Result<(), NotJson> {
        self.state = match byte {
            b'{' => return self.open(Bracket::Object, listener),
            b'[' => return self.open(Bracket::Array, listener),
            b'"' => {
                self.text_begins(false);
                return Ok(());
            }
            b't' => State::Literal { rest: b"rue" },
            b'f' => State::Literal { rest: b"alse" },
            b'n' => State::Literal { rest: b"ull" },
            _ => State::Number(Number::begin(byte).ok_or_else(|| self.wrong("a value is missing"))?),
        };
        Ok(())
    }

    fn step_after_value(&mut self, byte: u8, listener: &mut impl Listener) -> Result<(), NotJson> {
        match (byte, self.open.innermost()) {
            (b',', Some(Bracket::Object)) => self.state = State::Key,
            (b',', Some(Bracket::Array)) => self.state = State::Value,
            (b'}', Some(Bracket::Object)) => return self.close(Bracket::Object, listener),
            (b']', Some(Bracket::Array)) => return self.close(Bracket::Array, listener),
            _ => return Err(self.wrong("a comma or a closing bracket is missing")),
        }
        Ok(())
    }

    fn open(&mut self, bracket: Bracket, listener: &mut impl Listener) -> Result<(), NotJson> {
        if !self.open.open(bracket) {
            return Err(self.wrong("the nesting is too deep"));
        }
        listener.opens(bracket);
        self.state = match bracket {
            Bracket::Object => State::FirstKey,
            Bracket::Array => State::FirstElement,
        };
        Ok(())
    }

    fn close(&mut self, bracket: Bracket, listener: &mut impl Listener) -> Result<(), NotJson> {
        if !self.open.close(bracket) {
            return Err(self.wrong("a bracket closes nothing"));
        }
        listener.closes(bracket);
        self.value_ends();
        Ok(())
    }

    fn value_ends(&mut self) {
        self.state = if self.open.innermost().is_some() { State::AfterValue } else { State::Done };
    }

    fn text_begins(&mut self, key: bool) {
        self.text.clear();
        self.raw_lengths.clear();
        self.text_start = self.offset + 1;
        self.text_told = false;
        self.state = State::Text { key };
    }

    fn step_text(&mut self, byte: u8, key: bool, listener: &mut impl Listener) -> Result<(), NotJson> {
        match byte {
            b'"' => {
                self.tell_text(key, true, listener);
                if key {
                    self.state = State::Colon;
                } else {
                    self.value_ends();
                }
                Ok(())
            }
            b'\\' => {
                self.state = State::Escape { key };
                Ok(())
            }
            _ => Err(self.wrong("a string has a control character")),
        }
    }

    fn tell_text(&mut self, key: bool, complete: bool, listener: &mut impl Listener) {
        if self.text_told {
            return;
        }
        self.text_told = true;
        let text =
            Text { decoded: &self.text, complete, start: self.text_start, raw_lengths: &self.raw_lengths };
        if key {
            listener.name(text);
        } else {
            listener.string(text);
        }
    }

    /// Takes a run of bytes that stand for themselves.
    fn take_text(&mut self, run: &[u8], listener: &mut impl Listener) {
        if self.text_told || run.is_empty() {
            return;
        }
        let taken = run.len().min(LONGEST_TEXT - self.text.len());
        if !self.raw_lengths.is_empty() {
            let before = self.raw_before(self.offset);
            self.raw_lengths
                .extend((1..=taken).map(|count| before + u32::try_from(count).unwrap_or(u32::MAX)));
        }
        self.text.extend_from_slice(&run[..taken]);
        if taken < run.len()
            && let State::Text { key } = self.state
        {
            self.tell_text(key, false, listener);
        }
    }

    /// Takes a character that was written as an escape ending at the present byte.
    fn take_escaped(&mut self, character: char) {
        if self.text_told || self.text.len() + character.len_utf8() > LONGEST_TEXT {
            return;
        }
        if self.raw_lengths.is_empty() {
            self.raw_lengths
                .extend((1..=self.text.len()).map(|count| u32::try_from(count).unwrap_or(u32::MAX)));
        }
        let raw_length = self.raw_before(self.offset + 1);
        self.raw_lengths.extend(std::iter::repeat_n(raw_length, character.len_utf8()));
        self.text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn raw_before(&self, offset: u64) -> u32 {
        u32::try_from(offset - self.text_start).unwrap_or(u32::MAX)
    }

    fn step_escape(&mut self, byte: u8, key: bool) -> Result<(), NotJson> {
        let character = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.state = State::Unicode { key, digits: 0, value: 0, high: None };
                return Ok(());
            }
            _ => return Err(self.wrong("a string has an unknown escape")),
        };
        self.take_escaped(character);
        self.state = State::Text { key };
        Ok(())
    }

    fn step_unicode(
        &mut self,
        byte: u8,
        key: bool,
        digits: u8,
        value: u16,
        high: Option<u16>,
    ) -> Result<(), NotJson> {
        let Some(digit) = char::from(byte).to_digit(16).and_then(|digit| u16::try_from(digit).ok()) else {
            return Err(self.wrong("a \\u escape needs four hexadecimal digits"));
        };
        let value = value << 4 | digit;
        if digits < 3 {
            self.state = State::Unicode { key, digits: digits + 1, value, high };
            return Ok(());
        }
        let units = [high.unwrap_or(value), value];
        let units = if high.is_some() { &units[..] } else { &units[1..] };
        self.state = match char::decode_utf16(units.iter().copied()).next() {
            Some(Ok(character)) => {
                self.take_escaped(character);
                State::Text { key }
            }
            _ if high.is_none() && (0xd800..0xdc00).contains(&value) => {
                State::LowSurrogate { key, high: value, backslash: false }
            }
            _ => return Err(self.wrong("a \\u escape is half of a pair")),
        };
        Ok(())
    }

    fn step_low_surrogate(&mut self, byte: u8, key: bool, high: u16, backslash: bool) -> Result<(), NotJson> {
        self.state = match (backslash, byte) {
            (false, b'\\') => State::LowSurrogate { key, high, backslash: true },
            (true, b'u') => State::Unicode { key, digits: 0, value: 0, high: Some(high) },
            _ => return Err(self.wrong("a \\u escape is half of a pair")),
        };
        Ok(())
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
