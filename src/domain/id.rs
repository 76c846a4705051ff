//! Names and ids of the domain. Each is validated when it is parsed.
//!
//! A value of these types is well-formed, so other code does not check it again. Text is shared, because log
//! lines and metrics clone it often.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A text is not a valid id. The message states the valid form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidId(pub &'static str);

macro_rules! text_id {
    ($(#[$documentation:meta])* $name:ident, $accepts:expr, $message:literal) => {
        $(#[$documentation])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text as given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let accepts: fn(&str) -> bool = $accepts;
                if accepts(text) { Ok(Self(text.into())) } else { Err(InvalidId($message)) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, formatter)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id!(
    /// The proxy's name for an Organization: the `acme` of `organizations/acme`. It is not Talkdesk's name.
    OrganizationId,
    |text| is_name(text, 64),
    "must be 1 to 64 lower-case letters, digits, `-`, `_` or `.`, beginning with a letter or digit"
);

text_id!(
    /// The name of an Instance: the subdomain of a Talkdesk account, for example `josephpinetrees` in
    /// `josephpinetrees.mytalkdesk.com`.
    AccountName,
    |text| is_name(text, 63),
    "must be a Talkdesk account name: 1 to 63 lower-case letters, digits, `-`, `_` or `.`, beginning with a letter or digit"
);

text_id!(
    /// The identifier of an OAuth client (RFC 6749, section 2.2).
    ClientId,
    |text| !text.is_empty() && text.len() <= 256 && text.bytes().all(|byte| (0x20..0x7f).contains(&byte)),
    "must be 1 to 256 printable ASCII characters (RFC 6749, appendix A.1)"
);

text_id!(
    /// One scope token (RFC 6749, section 3.3), for example `express-accounts:read`.
    Scope,
    |text| !text.is_empty()
        && text.len() <= 256
        && text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)),
    "must be one scope without spaces, quotes or backslashes (RFC 6749, section 3.3)"
);

/// Names must not need encoding in URLs, field values or file names, so that each has exactly one spelling.
fn is_name(text: &str, longest: usize) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= longest
        && bytes.first().is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit())
        && bytes.iter().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.')
        })
}

/// Talkdesk's id of an account: 24 hexadecimal digits. It is compared as a number, so the case of the digits
/// does not matter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId([u8; 12]);

impl AccountId {
    /// An id that no account has: 24 zeros. A probe uses it to test whether a filter is effective.
    pub const NONEXISTENT: Self = Self([0; 12]);

    /// Parses the id from bytes of a body or a query, which may not be UTF-8.
    #[must_use]
    pub fn from_bytes(text: &[u8]) -> Option<Self> {
        let text: &[u8; 24] = text.try_into().ok()?;
        let mut digits = [0; 24];
        for (digit, byte) in digits.iter_mut().zip(text) {
            *digit = hex_digit(*byte);
        }
        let valid = digits.iter().fold(0, |all, digit| all | digit) < 16;
        let mut id = [0; 12];
        for (byte, digits) in id.iter_mut().zip(digits.as_chunks::<2>().0) {
            *byte = digits[0] << 4 | digits[1];
        }
        valid.then_some(Self(id))
    }
}

/// The value of a hexadecimal digit; 16 or more if it is not one. Written so that it compiles without
/// branches and can be vectorised.
const fn hex_digit(digit: u8) -> u8 {
    let decimal = digit.wrapping_sub(b'0');
    let letter = (digit | 0x20).wrapping_sub(b'a');
    if decimal < 10 {
        decimal
    } else if letter < 6 {
        letter + 10
    } else {
        0xff
    }
}

impl FromStr for AccountId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::from_bytes(text.as_bytes())
            .ok_or(InvalidId("must be 24 hexadecimal digits, as `5ea75fe7aa224700012eae40`"))
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_id_is_the_same_in_either_case() {
        let lower: AccountId = "5ea75fe7aa224700012eae40".parse().expect("well-formed");
        let upper: AccountId = "5EA75FE7AA224700012EAE40".parse().expect("well-formed");
        assert_eq!(lower, upper);
        assert_eq!(upper.to_string(), "5ea75fe7aa224700012eae40");
    }

    #[test]
    fn what_is_not_24_hexadecimal_digits_is_no_account_id() {
        for text in
            ["", "5ea75fe7aa224700012eae4", "5ea75fe7aa224700012eae400", "5ea75fe7aa224700012eae4g", "é"]
        {
            assert!(text.parse::<AccountId>().is_err(), "{text}");
        }
    }

    #[test]
    fn each_digit_of_an_account_id_is_hexadecimal() {
        for (place, byte) in (0..24).flat_map(|place| (0..=u8::MAX).map(move |byte| (place, byte))) {
            let mut text = *b"5ea75fe7aa224700012eae40";
            text[place] = byte;
            let read = AccountId::from_bytes(&text).map(|id| id.to_string());
            let is_digit = byte.is_ascii_hexdigit();
            let expected = is_digit.then(|| String::from_utf8_lossy(&text).to_ascii_lowercase());
            assert_eq!(read, expected, "{byte} at {place}");
        }
    }

    #[test]
    fn a_name_has_one_spelling_only() {
        assert!("acme-2.eu_x".parse::<OrganizationId>().is_ok());
        for text in ["", "Acme", "a/b", "a%2f", "..", ".a", "a b", "é", &"a".repeat(65)] {
            assert!(text.parse::<OrganizationId>().is_err(), "{text}");
        }
    }
}
