//! Reads a filter expression.
//!
//! ```text
//! or         = and { "or" and }
//! and        = term { "and" term }
//! term       = "not" term | "(" or ")" | comparison
//! comparison = name operator value
//!            | name "in" "(" value { "," value } ")"
//!            | name "(" value { "," value } ")"
//! value      = "'" text "'" | word
//! ```
//!
//! Keywords are lower case. A quote inside a quoted value is doubled. A text that another parser could read differently is
//! refused, because a client's filter must stay inside the parentheses that are put around it: backslashes (an escape in
//! some languages), control characters, U+FF07, keywords in other cases, and what begins a comment.

use super::expression::{Expression, Value};

/// Why a text is not a filter that this proxy understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {position}: {reason}")]
pub struct FilterError {
    /// Which character, counted from 1.
    pub position: usize,
    /// What is wrong there.
    pub reason: &'static str,
}

/// Expressions nest this deep at most, so that the recursion is bounded whatever the input.
const MAX_DEPTH: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Comma,
    Quoted(String),
    /// A name, keyword, number, date, or an operator made of `=`, `<`, `>` and `!`.
    Word(String),
}

/// Parses a whole text.
///
/// # Errors
/// [`FilterError`] where it is not an expression.
pub fn parse(text: &str) -> Result<Expression, FilterError> {
    let mut parser = Parser { tokens: tokens(text)?, next: 0, end: text.chars().count() + 1 };
    let expression = parser.or(0)?;
    if parser.next < parser.tokens.len() {
        return Err(parser.wrong("`and`, `or` or the end is expected"));
    }
    Ok(expression)
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    end: usize,
}

impl Parser {
    fn or(&mut self, depth: usize) -> Result<Expression, FilterError> {
        let mut parts = vec![self.and(depth)?];
        while self.take_word("or") {
            parts.push(self.and(depth)?);
        }
        Ok(single(parts).unwrap_or_else(Expression::Any))
    }

    fn and(&mut self, depth: usize) -> Result<Expression, FilterError> {
        let mut parts = vec![self.term(depth)?];
        while self.take_word("and") {
            parts.push(self.term(depth)?);
        }
        Ok(single(parts).unwrap_or_else(Expression::All))
    }

    fn term(&mut self, depth: usize) -> Result<Expression, FilterError> {
        if depth >= MAX_DEPTH {
            return Err(self.wrong("it is nested too deeply"));
        }
        if self.take_word("not") {
            return Ok(Expression::Not(Box::new(self.term(depth + 1)?)));
        }
        if self.take(&Token::Open) {
            let inner = self.or(depth + 1)?;
            self.expect(&Token::Close, "`)` is expected")?;
            return Ok(inner);
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Expression, FilterError> {
        let name = self.word(is_name, "an attribute's name is expected")?;
        if self.take(&Token::Open) {
            return Ok(Expression::Call { function: name, arguments: self.values()? });
        }
        if self.take_word("in") {
            self.expect(&Token::Open, "`(` is expected after `in`")?;
            return Ok(Expression::In { attribute: name, values: self.values()? });
        }
        let operator = self.word(is_operator, "an operator is expected")?;
        Ok(Expression::Comparison { attribute: name, operator, value: self.value()? })
    }

    fn values(&mut self) -> Result<Vec<Value>, FilterError> {
        let mut values = vec![self.value()?];
        while self.take(&Token::Comma) {
            values.push(self.value()?);
        }
        self.expect(&Token::Close, "`,` or `)` is expected")?;
        Ok(values)
    }

    fn value(&mut self) -> Result<Value, FilterError> {
        const EXPECTED: &str = "a value is expected";
        if let Some(Token::Quoted(text)) = self.peek() {
            let text = text.clone();
            self.next += 1;
            return Ok(Value { text, quoted: true });
        }
        Ok(Value { text: self.word(|word| !is_keyword(word) && !is_symbol(word), EXPECTED)?, quoted: false })
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn take(&mut self, token: &Token) -> bool {
        let is_next = self.peek() == Some(token);
        self.next += usize::from(is_next);
        is_next
    }

    fn take_word(&mut self, keyword: &str) -> bool {
        let is_next = matches!(self.peek(), Some(Token::Word(word)) if word == keyword);
        self.next += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, token: &Token, otherwise: &'static str) -> Result<(), FilterError> {
        if self.take(token) { Ok(()) } else { Err(self.wrong(otherwise)) }
    }

    fn word(&mut self, fits: fn(&str) -> bool, otherwise: &'static str) -> Result<String, FilterError> {
        match self.peek() {
            Some(Token::Word(word)) if fits(word) => {
                let word = word.clone();
                self.next += 1;
                Ok(word)
            }
            _ => Err(self.wrong(otherwise)),
        }
    }

    fn wrong(&self, reason: &'static str) -> FilterError {
        let position = self.tokens.get(self.next).map_or(self.end, |(position, _)| *position);
        FilterError { position, reason }
    }
}

/// The only part, or all of them.
fn single(mut parts: Vec<Expression>) -> Result<Expression, Vec<Expression>> {
    if parts.len() > 1 { Err(parts) } else { parts.pop().ok_or(parts) }
}

/// Keywords in other cases too: Talkdesk may accept `AND`, so it is neither a name nor a value here.
fn is_keyword(word: &str) -> bool {
    ["and", "or", "not", "in"].iter().any(|keyword| word.eq_ignore_ascii_case(keyword))
}

fn is_name(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && word.chars().all(|one| one.is_ascii_alphanumeric() || matches!(one, '_' | '.' | '-'))
        && !is_keyword(word)
}

fn is_operator(word: &str) -> bool {
    is_symbol(word) || (is_name(word) && !word.contains(['.', '-']))
}

fn is_symbol(word: &str) -> bool {
    word.starts_with(symbol_character)
}

fn symbol_character(one: char) -> bool {
    matches!(one, '=' | '<' | '>' | '!')
}

fn word_character(one: char) -> bool {
    one.is_ascii_alphanumeric() || matches!(one, '_' | '.' | '-' | ':' | '+')
}

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, FilterError> {
    let mut tokens = Vec::new();
    let mut rest = text.chars().zip(1..).peekable();
    while let Some((one, position)) = rest.next() {
        let token = match one {
            ' ' | '\t' | '\r' | '\n' => continue,
            '(' => Token::Open,
            ')' => Token::Close,
            ',' => Token::Comma,
            '\'' => Token::Quoted(quoted(&mut rest, position)?),
            _ if word_character(one) || symbol_character(one) => {
                let belongs = if symbol_character(one) { symbol_character } else { word_character };
                let mut word = String::from(one);
                while let Some((one, _)) = rest.next_if(|(one, _)| belongs(*one)) {
                    word.push(one);
                }
                if word.contains("--") {
                    return Err(FilterError {
                        position,
                        reason: "`--` is not allowed: it could be read as a comment",
                    });
                }
                Token::Word(word)
            }
            _ => {
                return Err(FilterError {
                    position,
                    reason: "this character is allowed only in a quoted value",
                });
            }
        };
        tokens.push((position, token));
    }
    Ok(tokens)
}

/// The rest of a quoted value, whose first quote was taken.
fn quoted(
    rest: &mut std::iter::Peekable<impl Iterator<Item = (char, usize)>>,
    position: usize,
) -> Result<String, FilterError> {
    let mut text = String::new();
    while let Some((one, position)) = rest.next() {
        match one {
            '\'' if rest.next_if(|(next, _)| *next == '\'').is_some() => text.push('\''),
            '\'' => return Ok(text),
            '\\' => {
                return Err(FilterError {
                    position,
                    reason: "a backslash is not allowed: it could be read as an escape",
                });
            }
            // Its compatibility form is a quote (Unicode Standard Annex 15).
            '\u{ff07}' => {
                return Err(FilterError { position, reason: "U+FF07 is not allowed; write a quote as `''`" });
            }
            _ if one.is_control() => {
                return Err(FilterError { position, reason: "a control character is not allowed" });
            }
            _ => text.push(one),
        }
    }
    Err(FilterError { position, reason: "the quote is not closed" })
}
