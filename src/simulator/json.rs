//! JSON scalars and objects as text.
//!
//! Numbers are kept as they are written, so that an amount stands in a body exactly as `1.10`, and members keep
//! their order. Arrays and nesting are written by callers, as literals.

use std::cmp::Ordering;
use std::fmt::{Display, Write as _};

/// The value of a record's member, or a value in a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// The record does not have the member.
    Absent,
    Null,
    Boolean(bool),
    /// As it is written.
    Number(String),
    Text(String),
}

/// An object that is being written.
pub(super) struct ObjectText {
    text: String,
}

impl Value {
    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Absent | Self::Null)
    }

    /// What a filter compares: the value without quotes. Null has no text.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Absent | Self::Null => None,
            Self::Boolean(true) => Some("true"),
            Self::Boolean(false) => Some("false"),
            Self::Number(text) | Self::Text(text) => Some(text),
        }
    }

    /// The value as JSON, unless it is absent.
    pub(super) fn json(&self) -> Option<String> {
        match self {
            Self::Absent => None,
            Self::Null => Some("null".to_owned()),
            Self::Boolean(value) => Some(value.to_string()),
            Self::Number(text) => Some(text.clone()),
            Self::Text(text) => Some(quoted(text)),
        }
    }

    /// The order of two numbers by value, of anything else by text; none where one of them is null.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        if let (Self::Number(one), Self::Number(other)) = (self, other)
            && let (Ok(one), Ok(other)) = (one.parse::<f64>(), other.parse::<f64>())
        {
            return one.partial_cmp(&other);
        }
        Some(self.text()?.cmp(other.text()?))
    }

    /// The order that `order_by` sorts by: null first.
    pub(super) fn sort_order(&self, other: &Self) -> Ordering {
        let of_null = other.is_null().cmp(&self.is_null());
        of_null.then_with(|| self.compare(other).unwrap_or(Ordering::Equal))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number.to_string())
    }
}

impl ObjectText {
    pub(super) fn new() -> Self {
        Self { text: "{".to_owned() }
    }

    /// Adds a member whose value is a string.
    #[must_use]
    pub(super) fn string(self, name: &str, value: &str) -> Self {
        self.literal(name, quoted(value))
    }

    /// Adds a member whose value is JSON text.
    #[must_use]
    pub(super) fn literal(mut self, name: &str, value: impl Display) -> Self {
        let separator = if self.text.len() > 1 { "," } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{separator}{}:{value}", quoted(name));
        self
    }

    pub(super) fn finish(mut self) -> String {
        self.text.push('}');
        self.text
    }
}

/// The text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
