//! The expression in `filter`: `month eq '2024-08' and (type eq 'CALL' or not contains(description, 'SMS'))`.
//!
//! Operators and names are case-sensitive. `not` binds tighter than `and`, `and` tighter than `or`. A value stands in
//! single quotes, in which a quote is doubled, or bare: a number, `true`, `false`, `null` or a word. Attributes are
//! the members of the endpoint's records. Arithmetic and comparisons of two attributes are not implemented.

mod expression;
mod parser;

pub use expression::Operator;

use expression::Expression;

use super::endpoint::Members;
use super::json::Value;

/// A filter that was understood.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    root: Expression,
    /// The position of the member that has the account's id.
    account: Option<usize>,
}

impl Filter {
    /// Parses a filter. The error says what is wrong with it.
    pub(super) fn parse(text: &str, members: &Members<'_>, missing: &[Operator]) -> Result<Self, String> {
        Ok(Self { root: parser::parse(text, members, missing)?, account: members.account() })
    }

    /// Whether it selects the record that has these values.
    pub(super) fn selects(&self, record: &[Value]) -> bool {
        self.root.holds(record)
    }

    /// The account ids that it compares by `eq` or `in`, wherever they stand in it.
    pub(super) fn accounts(&self) -> Vec<&str> {
        let mut accounts = Vec::new();
        if let Some(member) = self.account {
            self.root.collect_compared(member, &mut accounts);
        }
        accounts
    }
}
