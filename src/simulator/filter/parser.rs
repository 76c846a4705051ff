//! Parses a filter: first into tokens, then by recursive descent with a bounded depth.

use super::expression::{Condition, Expression, Operator};
use crate::simulator::endpoint::Members;
use crate::simulator::json::Value;

/// How deep parentheses and `not` may be nested.
const MAX_DEPTH: usize = 64;

const COMPARISONS: [Operator; 6] =
    [Operator::Eq, Operator::Ne, Operator::Gt, Operator::Ge, Operator::Lt, Operator::Le];
const FUNCTIONS: [Operator; 3] = [Operator::Contains, Operator::StartsWith, Operator::EndsWith];
/// Words that are no attribute and no value.
const RESERVED: [Operator; 4] = [Operator::And, Operator::Or, Operator::Not, Operator::In];

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
    members: &'a Members<'a>,
    missing: &'a [Operator],
}

pub(super) fn parse(text: &str, members: &Members<'_>, missing: &[Operator]) -> Result<Expression, String> {
    let mut parser = Parser { tokens: tokens(text)?.into_iter(), members, missing };
    let expression = parser.disjunction(0)?;
    match parser.tokens.next() {
        None => Ok(expression),
        Some(token) => Err(format!("expected and, or, or the end, found {token}")),
    }
}

impl Parser<'_> {
    fn disjunction(&mut self, depth: usize) -> Result<Expression, String> {
        let mut operands = vec![self.conjunction(depth)?];
        while self.take(Operator::Or)? {
            operands.push(self.conjunction(depth)?);
        }
        Ok(Expression::Any(operands))
    }

    fn conjunction(&mut self, depth: usize) -> Result<Expression, String> {
        let mut operands = vec![self.operand(depth)?];
        while self.take(Operator::And)? {
            operands.push(self.operand(depth)?);
        }
        Ok(Expression::All(operands))
    }

    /// A condition, an expression in parentheses, or one of these after `not`.
    fn operand(&mut self, depth: usize) -> Result<Expression, String> {
        if depth >= MAX_DEPTH {
            return Err(format!("nested more than {MAX_DEPTH} levels deep"));
        }
        if self.take(Operator::Not)? {
            return Ok(Expression::Not(Box::new(self.operand(depth + 1)?)));
        }
        match self.tokens.next() {
            Some(Token::Open) => {
                let expression = self.disjunction(depth + 1)?;
                self.expect(&Token::Close)?;
                Ok(expression)
            }
            Some(Token::Word(word)) => Ok(Expression::Condition(self.condition(word)?)),
            found => Err(format!("expected a condition, found {}", describe(found.as_ref()))),
        }
    }

    fn condition(&mut self, word: &str) -> Result<Condition, String> {
        if self.tokens.as_slice().first() == Some(&Token::Open) {
            let function = FUNCTIONS.into_iter().find(|function| function.name() == word);
            return self.function(function.ok_or_else(|| format!("unknown function {word:?}"))?);
        }
        let member = self.member(word)?;
        let word = match self.tokens.next() {
            Some(Token::Word(word)) => word,
            found => return Err(format!("expected an operator, found {}", describe(found.as_ref()))),
        };
        if word == Operator::In.name() {
            self.check(Operator::In)?;
            return Ok(Condition { member, operator: Operator::In, values: self.list()? });
        }
        let operator = COMPARISONS.into_iter().find(|operator| operator.name() == word);
        let operator = operator.ok_or_else(|| format!("unknown operator {word:?}"))?;
        self.check(operator)?;
        Ok(Condition { member, operator, values: vec![self.value()?] })
    }

    /// `(attribute, 'text')`
    fn function(&mut self, operator: Operator) -> Result<Condition, String> {
        self.check(operator)?;
        self.expect(&Token::Open)?;
        let member = match self.tokens.next() {
            Some(Token::Word(word)) => self.member(word)?,
            found => return Err(format!("expected an attribute, found {}", describe(found.as_ref()))),
        };
        self.expect(&Token::Comma)?;
        let value = match self.tokens.next() {
            Some(Token::Quoted(text)) => Value::Text(text),
            found => return Err(format!("expected a quoted text, found {}", describe(found.as_ref()))),
        };
        self.expect(&Token::Close)?;
        Ok(Condition { member, operator, values: vec![value] })
    }

    /// `('one', 'other')`
    fn list(&mut self) -> Result<Vec<Value>, String> {
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

    fn value(&mut self) -> Result<Value, String> {
        match self.tokens.next() {
            Some(Token::Quoted(text)) => Ok(Value::Text(text)),
            Some(Token::Word(word)) if !is_reserved(word) => Ok(bare_value(word)),
            found => Err(format!("expected a value, found {}", describe(found.as_ref()))),
        }
    }

    fn member(&self, name: &str) -> Result<usize, String> {
        self.members.position(name).ok_or_else(|| format!("unknown attribute {name:?}"))
    }

    /// Takes the next token if it is this word.
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

fn is_reserved(word: &str) -> bool {
    RESERVED.iter().any(|operator| operator.name() == word)
}

fn bare_value(word: &str) -> Value {
    let numeric = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    let starts = word.trim_start_matches('-').starts_with(|letter: char| letter.is_ascii_digit());
    match word {
        "true" => Value::Boolean(true),
        "false" => Value::Boolean(false),
        "null" => Value::Null,
        _ if starts && word.bytes().all(numeric) && word.parse::<f64>().is_ok() => {
            Value::Number(word.to_owned())
        }
        _ => Value::Text(word.to_owned()),
    }
}

/// Cuts the text into tokens. Words and quoted values must have a space, a comma or a parenthesis between them.
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

/// The text of a quoted value, and what follows the closing quote.
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
