//! JSON objects written member by member, so that an amount stands in the text exactly as `1.10` and members keep
//! their order.
//!
//! Deliberately absent: arrays and nesting, which callers write as literals.

use std::fmt::{Display, Write as _};

use serde_json::Value;

/// An object that is being written.
pub(super) struct ObjectText {
    text: String,
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

    /// Adds a member whose value is JSON text already: a number as it shall be written, an object, `true`.
    #[must_use]
    pub(super) fn literal(mut self, name: &str, value: impl Display) -> Self {
        let separator = if self.text.len() > 1 { "," } else { "" };
        // Writing to a string can't fail.
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
    Value::from(text).to_string()
}

/// An amount of cents with its two digits, trailing zeros included.
pub(super) fn decimal(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}
