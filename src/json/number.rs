//! The grammar of a number, byte by byte (RFC 8259, section 6), and the value of one that counts something.

/// A number that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number {
    step: Step,
    /// Its value so far, where it is whole, not negative, and fits.
    whole: Option<u64>,
}

/// How far a number is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

impl Number {
    /// A number that begins with this byte; none where none does.
    pub(super) fn begin(byte: u8) -> Option<Self> {
        let (step, whole) = match byte {
            b'-' => (Step::Minus, None),
            b'0' => (Step::Zero, Some(0)),
            b'1'..=b'9' => (Step::Integer, Some(u64::from(byte - b'0'))),
            _ => return None,
        };
        Some(Self { step, whole })
    }

    /// One byte further; none where the byte is no part of it.
    pub(super) fn next(self, byte: u8) -> Option<Self> {
        let step = match (self.step, byte) {
            (Step::Minus, b'0') => Step::Zero,
            (Step::Minus, b'1'..=b'9') | (Step::Integer, b'0'..=b'9') => Step::Integer,
            (Step::Zero | Step::Integer, b'.') => Step::Point,
            (Step::Point | Step::Fraction, b'0'..=b'9') => Step::Fraction,
            (Step::Zero | Step::Integer | Step::Fraction, b'e' | b'E') => Step::Exponent,
            (Step::Exponent, b'+' | b'-') => Step::ExponentSign,
            (Step::Exponent | Step::ExponentSign | Step::ExponentDigits, b'0'..=b'9') => Step::ExponentDigits,
            _ => return None,
        };
        let whole = if step == Step::Integer {
            self.whole.and_then(|whole| whole.checked_mul(10)?.checked_add(u64::from(byte - b'0')))
        } else {
            None
        };
        Some(Self { step, whole })
    }

    /// Whether a number may end here.
    pub(super) const fn may_end(self) -> bool {
        matches!(self.step, Step::Zero | Step::Integer | Step::Fraction | Step::ExponentDigits)
    }

    /// Its value, where it is written as a whole one that is not negative and fits.
    pub(super) const fn whole(self) -> Option<u64> {
        self.whole
    }
}
