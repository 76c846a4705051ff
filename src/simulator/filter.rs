//! The `filter` parameter, for example `month eq '2024-08' and (type eq 'CALL' or not contains(description, 'SMS'))`.
//!
//! Operators and names are case-sensitive. `not` binds tighter than `and`, and `and` tighter than `or`. A value is in
//! single quotes, or it is a bare number, `true`, `false`, `null` or a word. Null equals only null, and it is neither
//! less nor greater than anything; so `ne` selects a record without the member. Arithmetic and comparisons of two
//! attributes are not implemented.

use std::cmp::Ordering;

use super::options::Operator;
use super::records::{MemberValue, Record};

/// The maximum depth of parentheses and `not`.
const MAX_DEPTH: usize = 64;

const COMPARISONS: [Operator; 6] =
    [Operator::Eq, Operator::Ne, Operator::Gt, Operator::Ge, Operator::Lt, Operator::Le];
const FUNCTIONS: [Operator; 3] = [Operator::Contains, Operator::StartsWith, Operator::EndsWith];
/// The operators that cannot be a bare value.
const RESERVED: [Operator; 4] = [Operator::And, Operator::Or, Operator::Not, Operator::In];

/// A filter, or a part of one.
#[derive(Clone, Debug)]
pub(super) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Condition(Condition),
}

#[derive(Clone, Debug)]
pub(super) struct Condition {
    /// The name of the record's member.
    attribute: String,
    operator: Operator,
    /// One value, or for `in` at least one.
    values: Vec<MemberValue>,
}

// The recursions end, because the parser limits the depth of a filter.
impl Filter {
    /// Parses a filter on records with these attributes. It refuses the operators in `missing`. The error says what is
    /// wrong with the filter.
    pub(super) fn parse(text: &str, attributes: &[&str], missing: &[Operator]) -> Result<Self, String> {
        let mut parser = Parser { tokens: tokens(text)?.into_iter(), attributes, missing };
        let filter = parser.disjunction(0)?;
        match parser.tokens.next() {
            None => Ok(filter),
            Some(token) => Err(format!("expected and, or, or the end, found {token}")),
        }
    }

    pub(super) fn selects(&self, record: &Record<'_>) -> bool {
        match self {
            Self::All(operands) => operands.iter().all(|operand| operand.selects(record)),
            Self::Any(operands) => operands.iter().any(|operand| operand.selects(record)),
            Self::Not(operand) => !operand.selects(record),
            Self::Condition(condition) => condition.holds(record.value(&condition.attribute)),
        }
    }

    /// The texts that the filter compares with an attribute by `eq` or `in`, also under `not`.
    pub(super) fn compared_with(&self, attribute: &str) -> Vec<&str> {
        match self {
            Self::All(operands) | Self::Any(operands) => {
                operands.iter().flat_map(|operand| operand.compared_with(attribute)).collect()
            }
            Self::Not(operand) => operand.compared_with(attribute),
            Self::Condition(condition)
                if condition.attribute == attribute
                    && matches!(condition.operator, Operator::Eq | Operator::In) =>
            {
                condition.values.iter().filter_map(MemberValue::text).collect()
            }
            Self::Condition(_) => Vec::new(),
        }
    }
}

impl Condition {
    fn holds(&self, member: &MemberValue) -> bool {
        let any = |test: &dyn Fn(&MemberValue) -> bool| self.values.iter().any(test);
        let any_order = |test: fn(Ordering) -> bool| any(&|value| order(member, value).is_some_and(test));
        let any_text = |test: fn(&str, &str) -> bool| {
            any(
                &|value| matches!((member.text(), value.text()), (Some(text), Some(part)) if test(text, part)),
            )
        };
        match self.operator {
            Operator::Eq | Operator::In => any(&|value| equal(member, value)),
            Operator::Ne => !any(&|value| equal(member, value)),
            Operator::Gt => any_order(Ordering::is_gt),
            Operator::Ge => any_order(Ordering::is_ge),
            Operator::Lt => any_order(Ordering::is_lt),
            Operator::Le => any_order(Ordering::is_le),
            Operator::Contains => any_text(|text, part| text.contains(part)),
            Operator::StartsWith => any_text(|text, part| text.starts_with(part)),
            Operator::EndsWith => any_text(|text, part| text.ends_with(part)),
            // The parser never makes a condition with one of these.
            Operator::And | Operator::Or | Operator::Not => false,
        }
    }
}

fn equal(member: &MemberValue, value: &MemberValue) -> bool {
    if value.is_null() { member.is_null() } else { order(member, value) == Some(Ordering::Equal) }
}

/// The order of a member and a value, or `None` if one of them is null.
///
/// If the value is a year, a month or a day, only that part of a date is compared. So `date le '2024-08-31'` includes
/// the whole day.
fn order(member: &MemberValue, value: &MemberValue) -> Option<Ordering> {
    if let (MemberValue::Text(text), Some(part)) = (member, value.text())
        && is_date(text)
        && is_date_or_part(part)
        && let Some(start) = text.get(..part.len())
    {
        return Some(start.cmp(part));
    }
    member.compare(value)
}

/// Whether the text is a date, with or without a time.
fn is_date(text: &str) -> bool {
    text.split_at_checked(10)
        .is_some_and(|(day, time)| is_date_or_part(day) && (time.is_empty() || time.starts_with('T')))
}

/// Whether the text has the form `2024`, `2024-08` or `2024-08-31`.
fn is_date_or_part(text: &str) -> bool {
    let fits = |(index, byte): (usize, u8)| match index {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    matches!(text.len(), 4 | 7 | 10) && text.bytes().enumerate().all(fits)
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Quoted(String),
    Open,
    Close,
    Comma,
}

struct Parser<'a> {
    tokens: std::vec::IntoIter<Token<'a>>,
    attributes: &'a [&'a str],
    missing: &'a [Operator],
}

impl Parser<'_> {
    fn disjunction(&mut self, depth: usize) -> Result<Filter, String> {
        let mut operands = vec![self.conjunction(depth)?];
        while self.take(Operator::Or)? {
            operands.push(self.conjunction(depth)?);
        }
        Ok(Filter::Any(operands))
    }

    fn conjunction(&mut self, depth: usize) -> Result<Filter, String> {
        let mut operands = vec![self.operand(depth)?];
        while self.take(Operator::And)? {
            operands.push(self.operand(depth)?);
        }
        Ok(Filter::All(operands))
    }

    /// A condition, a filter in parentheses, or one of these after `not`.
    fn operand(&mut self, depth: usize) -> Result<Filter, String> {
        if depth >= MAX_DEPTH {
            return Err(format!("nested more than {MAX_DEPTH} levels deep"));
        }
        if self.take(Operator::Not)? {
            return Ok(Filter::Not(Box::new(self.operand(depth + 1)?)));
        }
        match self.tokens.next() {
            Some(Token::Open) => {
                let filter = self.disjunction(depth + 1)?;
                self.expect(&Token::Close)?;
                Ok(filter)
            }
            Some(Token::Word(word)) => Ok(Filter::Condition(self.condition(word)?)),
            found => Err(format!("expected a condition, found {}", describe(found.as_ref()))),
        }
    }

    fn condition(&mut self, word: &str) -> Result<Condition, String> {
        if self.tokens.as_slice().first() == Some(&Token::Open) {
            let function = FUNCTIONS.into_iter().find(|function| function.name() == word);
            return self.function(function.ok_or_else(|| format!("unknown function {word:?}"))?);
        }
        let attribute = self.attribute(word)?;
        let word = match self.tokens.next() {
            Some(Token::Word(word)) => word,
            found => return Err(format!("expected an operator, found {}", describe(found.as_ref()))),
        };
        if word == Operator::In.name() {
            self.check(Operator::In)?;
            return Ok(Condition { attribute, operator: Operator::In, values: self.list()? });
        }
        let operator = COMPARISONS.into_iter().find(|operator| operator.name() == word);
        let operator = operator.ok_or_else(|| format!("unknown operator {word:?}"))?;
        self.check(operator)?;
        Ok(Condition { attribute, operator, values: vec![self.value()?] })
    }

    /// The arguments of a function: `(attribute, 'text')`.
    fn function(&mut self, operator: Operator) -> Result<Condition, String> {
        self.check(operator)?;
        self.expect(&Token::Open)?;
        let attribute = match self.tokens.next() {
            Some(Token::Word(word)) => self.attribute(word)?,
            found => return Err(format!("expected an attribute, found {}", describe(found.as_ref()))),
        };
        self.expect(&Token::Comma)?;
        let value = match self.tokens.next() {
            Some(Token::Quoted(text)) => MemberValue::Text(text),
            found => return Err(format!("expected a quoted text, found {}", describe(found.as_ref()))),
        };
        self.expect(&Token::Close)?;
        Ok(Condition { attribute, operator, values: vec![value] })
    }

    /// The values of `in`: `('one', 'other')`.
    fn list(&mut self) -> Result<Vec<MemberValue>, String> {
        self.expect(&Token::Open)?;
        let mut values = vec![self.value()?];
        loop {
            match self.tokens.next() {
                Some(Token::Comma) => values.push(self.value()?),
                Some(Token::Close) => return Ok(values),
                found => return Err(format!("expected , or ), found {}", describe(found.as_ref()))),
            }
        }
    }

    fn value(&mut self) -> Result<MemberValue, String> {
        match self.tokens.next() {
            Some(Token::Quoted(text)) => Ok(MemberValue::Text(text)),
            Some(Token::Word(word)) if !RESERVED.iter().any(|operator| operator.name() == word) => {
                Ok(bare_value(word))
            }
            found => Err(format!("expected a value, found {}", describe(found.as_ref()))),
        }
    }

    fn attribute(&self, name: &str) -> Result<String, String> {
        if self.attributes.contains(&name) {
            return Ok(name.to_owned());
        }
        Err(format!("unknown attribute {name:?}"))
    }

    /// Takes the next token if it is this operator.
    fn take(&mut self, operator: Operator) -> Result<bool, String> {
        if self.tokens.as_slice().first() != Some(&Token::Word(operator.name())) {
            return Ok(false);
        }
        self.tokens.next();
        self.check(operator)?;
        Ok(true)
    }

    fn expect(&mut self, expected: &Token<'_>) -> Result<(), String> {
        match self.tokens.next() {
            Some(token) if token == *expected => Ok(()),
            found => Err(format!("expected {expected}, found {}", describe(found.as_ref()))),
        }
    }

    fn check(&self, operator: Operator) -> Result<(), String> {
        if self.missing.contains(&operator) {
            return Err(format!("{} is not supported", operator.name()));
        }
        Ok(())
    }
}

impl std::fmt::Display for Token<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Word(word) => write!(formatter, "{word:?}"),
            Self::Quoted(text) => write!(formatter, "the text {text:?}"),
            Self::Open => formatter.write_str("("),
            Self::Close => formatter.write_str(")"),
            Self::Comma => formatter.write_str(","),
        }
    }
}

fn describe(token: Option<&Token<'_>>) -> String {
    token.map_or_else(|| "the end".to_owned(), ToString::to_string)
}

fn bare_value(word: &str) -> MemberValue {
    let numeric = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    let starts = word.trim_start_matches('-').starts_with(|letter: char| letter.is_ascii_digit());
    match word {
        "true" => MemberValue::Boolean(true),
        "false" => MemberValue::Boolean(false),
        "null" => MemberValue::Null,
        _ if starts && word.bytes().all(numeric) && word.parse::<f64>().is_ok() => {
            MemberValue::Number(word.to_owned())
        }
        _ => MemberValue::Text(word.to_owned()),
    }
}

/// Splits the text into tokens. A space, a comma or a parenthesis must separate words and quoted values.
fn tokens(text: &str) -> Result<Vec<Token<'_>>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while let Some(first) = rest.chars().next() {
        let (token, after) = match first {
            '(' => (Token::Open, &rest[1..]),
            ')' => (Token::Close, &rest[1..]),
            ',' => (Token::Comma, &rest[1..]),
            '\'' => quoted(&rest[1..])?,
            _ if is_word(first) => {
                let (word, after) = rest.split_at(rest.find(|letter| !is_word(letter)).unwrap_or(rest.len()));
                (Token::Word(word), after)
            }
            _ => return Err(format!("unexpected character {first:?}")),
        };
        let next = after.trim_start_matches(is_space);
        let separated = next.len() < after.len() || next.is_empty() || next.starts_with([')', ',']);
        let opens = matches!(token, Token::Open | Token::Comma)
            || matches!(token, Token::Word(_)) && next.starts_with('(');
        if !separated && !opens {
            return Err(format!("expected a space after {token}"));
        }
        tokens.push(token);
        rest = next;
    }
    Ok(tokens)
}

/// A quoted value, and the text after its closing quote. A doubled quote is part of the value.
fn quoted(mut rest: &str) -> Result<(Token<'_>, &str), String> {
    let mut text = String::new();
    loop {
        let (part, after) = rest.split_once('\'').ok_or("a quote is not closed")?;
        text.push_str(part);
        match after.strip_prefix('\'') {
            Some(after) => {
                text.push('\'');
                rest = after;
            }
            None => return Ok((Token::Quoted(text), after)),
        }
    }
}

fn is_space(letter: char) -> bool {
    letter == ' ' || letter == '\t'
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_-.:+".contains(letter)
}
