//! A filter as a tree, and its value for a record.
//!
//! Null equals null only, and no order holds with it; so `ne` holds for a record without the member.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::simulator::json::Value;

/// An operator or function of filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each is named as it is written in a filter")]
pub enum Operator {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
    In,
    Contains,
    StartsWith,
    EndsWith,
    And,
    Or,
    Not,
}

#[derive(Clone, Debug)]
pub(super) enum Expression {
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Not(Box<Expression>),
    Condition(Condition),
}

#[derive(Clone, Debug)]
pub(super) struct Condition {
    /// The position of the member that is compared.
    pub(super) member: usize,
    pub(super) operator: Operator,
    /// One value; for `in`, at least one.
    pub(super) values: Vec<Value>,
}

impl Operator {
    /// As it is written in a filter.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Ne => "ne",
            Self::Gt => "gt",
            Self::Ge => "ge",
            Self::Lt => "lt",
            Self::Le => "le",
            Self::In => "in",
            Self::Contains => "contains",
            Self::StartsWith => "startswith",
            Self::EndsWith => "endswith",
            Self::And => "and",
            Self::Or => "or",
            Self::Not => "not",
        }
    }
}

// Both recursions end: the parser bounds the depth of an expression.
impl Expression {
    /// Whether it is true of the record that has these values.
    pub(super) fn holds(&self, record: &[Value]) -> bool {
        match self {
            Self::All(operands) => operands.iter().all(|operand| operand.holds(record)),
            Self::Any(operands) => operands.iter().any(|operand| operand.holds(record)),
            Self::Not(operand) => !operand.holds(record),
            Self::Condition(condition) => {
                record.get(condition.member).is_some_and(|value| condition.holds(value))
            }
        }
    }

    /// Collects what a member is compared with by `eq` or `in`, under `not` as well.
    pub(super) fn collect_compared<'a>(&'a self, member: usize, found: &mut Vec<&'a str>) {
        match self {
            Self::All(operands) | Self::Any(operands) => {
                for operand in operands {
                    operand.collect_compared(member, found);
                }
            }
            Self::Not(operand) => operand.collect_compared(member, found),
            Self::Condition(condition) => {
                if condition.member == member && matches!(condition.operator, Operator::Eq | Operator::In) {
                    found.extend(condition.values.iter().filter_map(Value::text));
                }
            }
        }
    }
}

impl Condition {
    fn holds(&self, member: &Value) -> bool {
        let any = |test: &dyn Fn(&Value) -> bool| self.values.iter().any(test);
        match self.operator {
            Operator::Eq | Operator::In => any(&|value| equal(member, value)),
            Operator::Ne => !any(&|value| equal(member, value)),
            Operator::Gt => any(&|value| order(member, value).is_some_and(Ordering::is_gt)),
            Operator::Ge => any(&|value| order(member, value).is_some_and(Ordering::is_ge)),
            Operator::Lt => any(&|value| order(member, value).is_some_and(Ordering::is_lt)),
            Operator::Le => any(&|value| order(member, value).is_some_and(Ordering::is_le)),
            Operator::Contains => any(&|value| texts(member, value, |text, part| text.contains(part))),
            Operator::StartsWith => any(&|value| texts(member, value, |text, part| text.starts_with(part))),
            Operator::EndsWith => any(&|value| texts(member, value, |text, part| text.ends_with(part))),
            // The parser makes no condition of these.
            Operator::And | Operator::Or | Operator::Not => false,
        }
    }
}

fn equal(member: &Value, value: &Value) -> bool {
    if value.is_null() { member.is_null() } else { order(member, value) == Some(Ordering::Equal) }
}

/// The order of a member and a value; none where one of them is null.
///
/// A point in time is compared with a year, a month or a day by that part of it alone, so that
/// `date le '2024-08-31'` includes all of that day.
fn order(member: &Value, value: &Value) -> Option<Ordering> {
    if let (Value::Text(text), Some(part)) = (member, value.text())
        && is_date(text)
        && is_date_or_part(part)
        && let Some(start) = text.get(..part.len())
    {
        return Some(start.cmp(part));
    }
    member.compare(value)
}

fn texts(member: &Value, value: &Value, holds: fn(&str, &str) -> bool) -> bool {
    matches!((member.text(), value.text()), (Some(text), Some(part)) if holds(text, part))
}

/// Whether this is a date, or a date with a time.
fn is_date(text: &str) -> bool {
    matches!(text.split_at_checked(10), Some((day, time)) if is_date_or_part(day) && (time.is_empty() || time.starts_with('T')))
}

/// Whether this is `2024`, `2024-08` or `2024-08-31`.
fn is_date_or_part(text: &str) -> bool {
    let shaped = |(place, byte): (usize, u8)| match place {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    matches!(text.len(), 4 | 7 | 10) && text.bytes().enumerate().all(shaped)
}
