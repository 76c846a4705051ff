//! A filter expression as a tree: how it is printed, which values it compares an attribute with, and which upper bound
//! it sets for one.

use std::fmt;

/// One expression. Its depth is bounded by the parser, so walking it by recursion is safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// `a and b`; at least two.
    All(Vec<Self>),
    /// `a or b`; at least two.
    Any(Vec<Self>),
    /// `not a`
    Not(Box<Self>),
    /// `attribute operator value`
    Comparison {
        /// The attribute's name.
        attribute: String,
        /// `eq`, `ge`, `=`, or any other operator: unknown ones are kept as they are.
        operator: String,
        /// What it is compared with.
        value: Value,
    },
    /// `attribute in (value, ...)`; at least one value.
    In {
        /// The attribute's name.
        attribute: String,
        /// What it may be.
        values: Vec<Value>,
    },
    /// `function(argument, ...)`; at least one argument.
    Call {
        /// The function's name.
        function: String,
        /// Attributes and values, in order.
        arguments: Vec<Value>,
    },
}

/// A literal value, or an attribute's name as an argument of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The text, without quotes.
    pub text: String,
    /// Whether it stands in single quotes.
    pub quoted: bool,
}

/// How an attribute is compared with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComparisonKind {
    /// For equality (`eq`, `=`, `==`, `in`), under `not` as well.
    Equality,
    /// Anything else: another operator, or an argument of a function.
    Other,
}

/// Whether an upper bound includes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The value is included (`eq`, `le`, `in`).
    Included,
    /// The value is excluded (`lt`).
    Excluded,
}

impl Expression {
    /// The conditions that all have to hold, nested conjunctions included.
    #[must_use]
    pub fn conjuncts(&self) -> Vec<&Self> {
        match self {
            Self::All(parts) => parts.iter().flat_map(Self::conjuncts).collect(),
            Self::Any(_) | Self::Not(_) | Self::Comparison { .. } | Self::In { .. } | Self::Call { .. } => {
                vec![self]
            }
        }
    }

    /// The conjuncts that `other` does not have; `None` if there are no others.
    #[must_use]
    pub fn without(&self, other: &Self) -> Option<Self> {
        let taken = other.conjuncts();
        let mut rest: Vec<Self> =
            self.conjuncts().into_iter().filter(|one| !taken.contains(one)).cloned().collect();
        if rest.len() > 1 { Some(Self::All(rest)) } else { rest.pop() }
    }

    /// Whether this condition may select exactly the records with the value `wanted`. An unknown operator counts as
    /// equality: its meaning is not known.
    #[must_use]
    pub fn may_select(&self, wanted: &str) -> bool {
        const NOT: [&str; 11] = ["ne", "lt", "le", "gt", "ge", "!=", "<>", "<", "<=", ">", ">="];
        match self {
            Self::Comparison { operator, value, .. } => {
                value.text == wanted && !NOT.contains(&operator.as_str())
            }
            Self::In { values, .. } => values.iter().all(|value| value.text == wanted),
            Self::Call { arguments, .. } => arguments.iter().any(|argument| argument.text == wanted),
            Self::All(_) | Self::Any(_) | Self::Not(_) => false,
        }
    }

    /// The expression with its values replaced by `?`: filters of one shape use the same attributes, operators and
    /// functions.
    #[must_use]
    pub fn shape(&self) -> String {
        let shaped = |value: &Value| {
            let is_name = !value.quoted && value.text.starts_with(|one: char| one.is_ascii_alphabetic());
            if is_name { value.clone() } else { Value { text: "?".into(), quoted: value.quoted } }
        };
        self.map_values(&shaped).to_string()
    }

    /// Calls `found` for each value that an attribute is compared with, at any depth, also under `not`.
    pub fn compared_values<'a>(
        &'a self,
        is_attribute: &impl Fn(&str) -> bool,
        found: &mut impl FnMut(&'a str, ComparisonKind),
    ) {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                for part in parts {
                    part.compared_values(is_attribute, found);
                }
            }
            Self::Not(part) => part.compared_values(is_attribute, found),
            Self::Comparison { attribute, operator, value } if is_attribute(attribute) => {
                let selects = matches!(operator.as_str(), "eq" | "=" | "==");
                found(&value.text, if selects { ComparisonKind::Equality } else { ComparisonKind::Other });
            }
            Self::In { attribute, values } if is_attribute(attribute) => {
                for value in values {
                    found(&value.text, ComparisonKind::Equality);
                }
            }
            Self::Call { arguments, .. } => {
                let names = |value: &Value| !value.quoted && is_attribute(&value.text);
                if arguments.iter().any(names) {
                    arguments
                        .iter()
                        .filter(|value| !names(value))
                        .for_each(|value| found(&value.text, ComparisonKind::Other));
                }
            }
            Self::Comparison { .. } | Self::In { .. } => {}
        }
    }

    /// An upper bound for `attribute` that holds for every selected record. `None` if no bound follows from the
    /// expression, or if `read` can't parse a value that would decide it.
    pub fn upper_bound<T: Ord>(
        &self,
        attribute: &str,
        read: &impl Fn(&str, Bound) -> Option<T>,
    ) -> Option<T> {
        match self {
            Self::All(parts) => parts.iter().filter_map(|part| part.upper_bound(attribute, read)).min(),
            Self::Any(parts) => largest(parts.iter().map(|part| part.upper_bound(attribute, read))),
            Self::Comparison { attribute: own, operator, value } if own == attribute => {
                match operator.as_str() {
                    "eq" | "=" | "==" | "le" | "<=" => read(&value.text, Bound::Included),
                    "lt" | "<" => read(&value.text, Bound::Excluded),
                    _ => None,
                }
            }
            Self::In { attribute: own, values } if own == attribute => {
                largest(values.iter().map(|value| read(&value.text, Bound::Included)))
            }
            Self::Not(_) | Self::Comparison { .. } | Self::In { .. } | Self::Call { .. } => None,
        }
    }

    /// The same expression with every value replaced.
    #[must_use]
    pub fn map_values(&self, replace: &impl Fn(&Value) -> Value) -> Self {
        let all = |parts: &[Self]| parts.iter().map(|part| part.map_values(replace)).collect();
        match self {
            Self::All(parts) => Self::All(all(parts)),
            Self::Any(parts) => Self::Any(all(parts)),
            Self::Not(part) => Self::Not(Box::new(part.map_values(replace))),
            Self::Comparison { attribute, operator, value } => Self::Comparison {
                attribute: attribute.clone(),
                operator: operator.clone(),
                value: replace(value),
            },
            Self::In { attribute, values } => {
                Self::In { attribute: attribute.clone(), values: values.iter().map(replace).collect() }
            }
            Self::Call { function, arguments } => {
                Self::Call { function: function.clone(), arguments: arguments.iter().map(replace).collect() }
            }
        }
    }

    /// How tightly the outermost operator binds.
    const fn precedence(&self) -> u8 {
        match self {
            Self::Any(_) => 0,
            Self::All(_) => 1,
            Self::Not(_) => 2,
            Self::Comparison { .. } | Self::In { .. } | Self::Call { .. } => 3,
        }
    }

    /// Prints a part of an expression whose operator binds with `precedence`. Equal precedence gets parentheses too, so
    /// that parsing the text gives the same tree.
    fn print_inside(&self, precedence: u8, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.precedence() > precedence {
            write!(formatter, "{self}")
        } else {
            write!(formatter, "({self})")
        }
    }
}

/// The largest of all; none where one is missing.
fn largest<T: Ord>(bounds: impl Iterator<Item = Option<T>>) -> Option<T> {
    bounds.collect::<Option<Vec<_>>>()?.into_iter().max()
}

impl fmt::Display for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                let word = if matches!(self, Self::All(_)) { " and " } else { " or " };
                for (position, part) in parts.iter().enumerate() {
                    if position > 0 {
                        formatter.write_str(word)?;
                    }
                    part.print_inside(self.precedence(), formatter)?;
                }
                Ok(())
            }
            Self::Not(part) => {
                formatter.write_str("not ")?;
                part.print_inside(self.precedence(), formatter)
            }
            Self::Comparison { attribute, operator, value } => {
                write!(formatter, "{attribute} {operator} {value}")
            }
            Self::In { attribute, values } => {
                write!(formatter, "{attribute} in (")?;
                print_list(values, formatter)
            }
            Self::Call { function, arguments } => {
                write!(formatter, "{function}(")?;
                print_list(arguments, formatter)
            }
        }
    }
}

fn print_list(values: &[Value], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (position, value) in values.iter().enumerate() {
        if position > 0 {
            formatter.write_str(", ")?;
        }
        write!(formatter, "{value}")?;
    }
    formatter.write_str(")")
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.quoted {
            write!(formatter, "'{}'", self.text.replace('\'', "''"))
        } else {
            formatter.write_str(&self.text)
        }
    }
}
