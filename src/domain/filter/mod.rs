//! Talkdesk's `filter` expressions: reading them, and narrowing them to one account.
//!
//! Talkdesk documents the language for its list of wallets; which attributes and operators the Billing Insights API
//! takes is unknown. So an expression is parsed for its structure alone: unknown attributes, operators and functions
//! are kept as they are.
//!
//! Left out: evaluating an expression. Only Talkdesk has the records.

mod expression;
mod parser;

use std::sync::Arc;

pub use self::expression::{Bound, ComparisonKind, Expression, Value};
pub use self::parser::{FilterError, parse};
use super::id::AccountId;

/// The filter that narrows to one account, as configured: `account_id eq '{account_id}'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountFilter {
    text: Arc<str>,
    /// Parsed with [`AccountId::NONEXISTENT`] as the placeholder; `for_account` replaces it.
    expression: Expression,
}

/// What the configured filter has in the place of the account's id.
const PLACEHOLDER: &str = "{account_id}";

/// Why a configured filter can't be used. The message says what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountFilterError {
    /// It has no place for the account.
    #[error(
        "write a filter with `{PLACEHOLDER}` as a whole value, for example `account_id eq '{PLACEHOLDER}'`"
    )]
    NoPlaceholder,
    /// It has the account where it does not narrow to it.
    #[error("write a filter that selects one account only, for example `account_id eq '{PLACEHOLDER}'`")]
    DoesNotSelect,
    /// It does not parse.
    #[error("write a filter, for example `account_id eq '{PLACEHOLDER}'`; this can't be parsed ({0})")]
    NotAFilter(#[from] FilterError),
}

impl AccountFilter {
    /// The filter as configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The condition for one account.
    #[must_use]
    pub fn for_account(&self, account: AccountId) -> Expression {
        let (placeholder, account) = (AccountId::NONEXISTENT.to_string(), account.to_string());
        self.expression.map_values(&|value| {
            let text = if value.text == placeholder { &account } else { &value.text };
            Value { text: text.clone(), quoted: value.quoted }
        })
    }

    /// Whether the filter compares this attribute with the account's id. Case is ignored, because Talkdesk may ignore it.
    #[must_use]
    pub fn names_account(&self, attribute: &str) -> bool {
        let placeholder = AccountId::NONEXISTENT.to_string();
        let mut names = false;
        self.expression.compared_values(&|own| own.eq_ignore_ascii_case(attribute), &mut |value, _| {
            names |= value == placeholder;
        });
        names
    }
}

impl Default for AccountFilter {
    /// `account_id eq '{account_id}'`
    fn default() -> Self {
        let value = Value { text: AccountId::NONEXISTENT.to_string(), quoted: true };
        Self {
            text: format!("account_id eq '{PLACEHOLDER}'").into(),
            expression: Expression::Comparison {
                attribute: "account_id".into(),
                operator: "eq".into(),
                value,
            },
        }
    }
}

impl std::str::FromStr for AccountFilter {
    type Err = AccountFilterError;

    fn from_str(text: &str) -> Result<Self, AccountFilterError> {
        let placeholder = AccountId::NONEXISTENT.to_string();
        let expression = parse(&text.replace(PLACEHOLDER, &placeholder))?;
        let mut whole_values = 0;
        expression
            .compared_values(&|_| true, &mut |value, _| whole_values += usize::from(value == placeholder));
        let placeholders = text.matches(PLACEHOLDER).count();
        if placeholders == 0 || whole_values < placeholders {
            return Err(AccountFilterError::NoPlaceholder);
        }
        if !expression.conjuncts().iter().any(|one| one.may_select(&placeholder)) {
            return Err(AccountFilterError::DoesNotSelect);
        }
        Ok(Self { text: text.into(), expression })
    }
}

/// Writes `ours and (theirs)`. What `theirs` requires of `ours` already, as in a link of an answer that was composed
/// before, is not written a second time: composing is idempotent.
#[must_use]
pub fn compose(ours: &Expression, theirs: Option<&Expression>) -> String {
    let Some(rest) = theirs.and_then(|theirs| theirs.without(ours)) else { return ours.to_string() };
    let ours = if matches!(ours, Expression::Any(_)) { format!("({ours})") } else { ours.to_string() };
    format!("{ours} and ({rest})")
}

#[cfg(test)]
mod tests;
