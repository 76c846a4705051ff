//! Reads the YAML tree key by key, and records all faults instead of stopping at the first.
//!
//! An [`Object`] returns the values of its keys and remembers which were read; [`Object::finish`] reports the
//! others as unknown keys. Messages about a discreet object (a credential) never repeat text of the file, not even
//! keys, because a secret could be in the wrong place.
//!
//! Not here: the meaning of the keys.

use std::cell::RefCell;

use super::fault::{Fault, Severity};
use super::node::{Content, Node};
use super::spelling;

/// The longest quotation in a message, in characters.
const LONGEST_QUOTATION: usize = 60;

/// The faults recorded so far.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    faults: RefCell<Vec<Fault>>,
}

/// The position of a value in the file and its key path.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
    pub(super) path: String,
    discreet: bool,
}

/// A parsed value and its place.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// A value that is not parsed yet.
#[derive(Clone)]
pub(super) struct Value<'a> {
    node: &'a Node,
    pub(super) place: Place,
    ledger: &'a Ledger,
}

/// A mapping, read key by key.
pub(super) struct Object<'a> {
    entries: Vec<(&'a str, &'a Node, Value<'a>)>,
    known: Vec<&'a str>,
    pub(super) place: Place,
    ledger: &'a Ledger,
}

impl Ledger {
    /// Records an error: the file will be refused.
    pub(super) fn error(&self, place: &Place, message: impl Into<String>) {
        self.note(place, message.into(), Severity::Error, !place.discreet);
    }

    /// Records a warning.
    pub(super) fn warning(&self, place: &Place, message: impl Into<String>) {
        self.note(place, message.into(), Severity::Warning, !place.discreet);
    }

    fn note(&self, place: &Place, message: String, severity: Severity, quotable: bool) {
        let Place { line, column, ref path, .. } = *place;
        self.faults.borrow_mut().push(Fault {
            line,
            column,
            path: path.clone(),
            message,
            severity,
            quotable,
        });
    }

    /// The errors and the warnings.
    pub(super) fn close(self) -> (Vec<Fault>, Vec<Fault>) {
        self.faults.into_inner().into_iter().partition(|fault| fault.severity == Severity::Error)
    }
}

impl Place {
    fn of(node: &Node, path: String, discreet: bool) -> Self {
        Self { line: node.line, column: node.column, path, discreet }
    }

    /// The place of a missing key next to this one.
    pub(super) fn missing_beside(&self, key: &str) -> Self {
        let parent = self.path.rsplit_once('.').map_or("", |(parent, _)| parent);
        Self { path: joined(parent, key), ..self.clone() }
    }

    /// The place of a missing key in this mapping.
    pub(super) fn missing(&self, key: &str) -> Self {
        Self { path: joined(&self.path, key), ..self.clone() }
    }
}

fn joined(path: &str, key: &str) -> String {
    let is_plain = key.len() <= LONGEST_QUOTATION && key.bytes().all(|byte| byte.is_ascii_graphic());
    let key = if is_plain { key.to_owned() } else { quoted(key) };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// A value for a message: on one line, shortened, in backticks.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(LONGEST_QUOTATION).flat_map(char::escape_debug).collect();
    if text.chars().count() > LONGEST_QUOTATION {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// Whether the text may be a URL with a password or key.
fn could_carry_secret(text: &str) -> bool {
    text.contains(['@', '?', '\n'])
}

impl<'a> Value<'a> {
    /// The root of the file.
    pub(super) fn root(node: &'a Node, ledger: &'a Ledger) -> Self {
        Self { node, place: Place::of(node, String::new(), false), ledger }
    }

    /// Marks the value as one that messages must not repeat.
    pub(super) fn discreet(mut self) -> Self {
        self.place.discreet = true;
        self
    }

    /// Whether the value is empty (null).
    pub(super) fn is_null(&self) -> bool {
        matches!(self.node.content, Content::Null)
    }

    /// Whether the value is null or an empty list.
    pub(super) fn is_empty(&self) -> bool {
        match &self.node.content {
            Content::Null => true,
            Content::List(items) => items.is_empty(),
            Content::Boolean(_) | Content::Number(_) | Content::Text(_) | Content::Map(_) => false,
        }
    }

    /// Whether the value is a mapping.
    pub(super) fn is_mapping(&self) -> bool {
        matches!(self.node.content, Content::Map(_))
    }

    /// Whether the value is a list.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.node.content, Content::List(_))
    }

    fn found(&self) -> String {
        match &self.node.content {
            Content::Null => "nothing".to_owned(),
            Content::List(_) => "a list".to_owned(),
            Content::Map(_) => "a mapping".to_owned(),
            Content::Boolean(_) | Content::Number(_) | Content::Text(_) if self.place.discreet => {
                "a value".to_owned()
            }
            Content::Boolean(value) => format!("`{value}`"),
            Content::Text(text) if could_carry_secret(text) => "a value with a user name or query".to_owned(),
            Content::Number(text) | Content::Text(text) => quoted(text),
        }
    }

    /// Records that the value is wrong; `advice` says what to write.
    pub(super) fn wrong(&self, advice: &str) {
        let quotable = match &self.node.content {
            Content::Text(text) => !self.place.discreet && !could_carry_secret(text),
            Content::Boolean(_) | Content::Number(_) | Content::Null => !self.place.discreet,
            Content::List(_) | Content::Map(_) => false,
        };
        let message = format!("found {}; {advice}", self.found());
        self.ledger.note(&self.place, message, Severity::Error, quotable);
    }

    /// Parses the value as text; the error of `parse` says what to write.
    pub(super) fn parsed<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = match &self.node.content {
            Content::Text(text) | Content::Number(text) => text,
            Content::Boolean(true) => "true",
            Content::Boolean(false) => "false",
            Content::Null | Content::List(_) | Content::Map(_) => {
                // The error for an empty text says what is expected here.
                let advice = parse("").err().unwrap_or_else(|| "write a text".to_owned());
                self.wrong(&advice);
                return None;
            }
        };
        parse(text).map_err(|advice| self.wrong(&advice)).ok()
    }

    /// Like [`Value::parsed`], with the place of the value.
    pub(super) fn located<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<Located<T>> {
        Some(Located { value: self.parsed(parse)?, place: self.place.clone() })
    }

    /// The value as a boolean.
    pub(super) fn boolean(&self) -> Option<bool> {
        if let Content::Boolean(value) = self.node.content {
            return Some(value);
        }
        self.wrong("write `true` or `false`");
        None
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Option<Vec<Value<'a>>> {
        let Content::List(items) = &self.node.content else {
            self.wrong("write a list, as `[one, two]`, or one item per line, each after `- `");
            return None;
        };
        let values = items.iter().enumerate().map(|(index, node)| Value {
            node,
            place: Place::of(node, format!("{}[{index}]", self.place.path), self.place.discreet),
            ledger: self.ledger,
        });
        Some(values.collect())
    }

    /// The value as a mapping. Null is an empty mapping: all keys of a section may be commented out.
    pub(super) fn object(&self) -> Option<Object<'a>> {
        let entries: &[(Node, Node)] = match &self.node.content {
            Content::Map(entries) => entries,
            Content::Null => &[],
            Content::Boolean(_) | Content::Number(_) | Content::Text(_) | Content::List(_) => {
                self.wrong("write a mapping, as `key: value`, one per line and indented");
                return None;
            }
        };
        let mut object =
            Object { entries: Vec::new(), known: Vec::new(), place: self.place.clone(), ledger: self.ledger };
        for (key, node) in entries {
            object.add(key, node);
        }
        Some(object)
    }
}

impl<'a> Object<'a> {
    fn add(&mut self, key: &'a Node, node: &'a Node) {
        let discreet = self.place.discreet;
        let (Content::Text(name) | Content::Number(name)) = &key.content else {
            let place = Place::of(key, self.place.path.clone(), true);
            self.ledger.error(&place, "found a key that is no text; write a name, as `server`");
            return;
        };
        let path = if discreet { self.place.path.clone() } else { joined(&self.place.path, name) };
        if let Some((_, first, _)) = self.entries.iter().find(|(other, ..)| other == name) {
            let shown = if discreet { "a key".to_owned() } else { format!("the key {}", quoted(name)) };
            let message =
                format!("found {shown} a second time, the first is in line {}; write it once", first.line);
            self.ledger.note(&Place::of(key, path, discreet), message, Severity::Error, false);
            return;
        }
        let value = Value { node, place: Place::of(node, path, discreet), ledger: self.ledger };
        self.entries.push((name, key, value));
    }

    /// The keys with their values.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, &Value<'a>)> {
        self.entries.iter().map(|(name, _, value)| (*name, value))
    }

    /// The place of a key's value, if the key exists.
    pub(super) fn place_of(&self, key: &str) -> Option<Place> {
        self.entries.iter().find(|(name, ..)| *name == key).map(|(_, _, value)| value.place.clone())
    }

    /// The value of a key.
    pub(super) fn value(&mut self, key: &'a str) -> Option<Value<'a>> {
        self.known.push(key);
        let (_, _, value) = self.entries.iter().find(|(name, ..)| *name == key)?;
        let mut value = value.clone();
        // The name of a known key may be shown even in a discreet object.
        value.place.path = joined(&self.place.path, key);
        Some(value)
    }

    /// Parses the value of a key, see [`Value::parsed`].
    pub(super) fn parsed<T>(
        &mut self,
        key: &'a str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.value(key)?.parsed(parse)
    }

    /// Parses the value of a key, with its place.
    pub(super) fn located<T>(
        &mut self,
        key: &'a str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Located<T>> {
        self.value(key)?.located(parse)
    }

    /// Parses the value of a required key; `advice` says what to write if it is missing.
    pub(super) fn required<T>(
        &mut self,
        key: &'a str,
        advice: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Located<T>> {
        let value = self.value(key);
        if value.is_none() {
            self.missing(key, advice);
        }
        value?.located(parse)
    }

    /// Records that a key is missing.
    pub(super) fn missing(&self, key: &str, advice: &str) {
        self.ledger.error(&self.place.missing(key), format!("found no `{key}`; {advice}"));
    }

    /// The value of a key as a boolean.
    pub(super) fn boolean(&mut self, key: &'a str) -> Option<bool> {
        self.value(key)?.boolean()
    }

    /// The items of a list, each parsed like [`Value::located`]; invalid items are recorded and left out.
    pub(super) fn list<T>(
        &mut self,
        key: &'a str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<Located<T>>> {
        let items = self.value(key)?.items()?;
        Some(items.iter().filter_map(|item| item.located(&parse)).collect())
    }

    /// The mapping of a key; an empty one if the key is missing or invalid.
    pub(super) fn section(&mut self, key: &'a str) -> Object<'a> {
        let object = self.value(key).and_then(|value| value.object());
        object.unwrap_or_else(|| Object {
            entries: Vec::new(),
            known: Vec::new(),
            place: self.place.missing(key),
            ledger: self.ledger,
        })
    }

    /// Records a key that earlier versions had, if it exists.
    pub(super) fn removed(&mut self, key: &str, instead: &str) {
        let Some(index) = self.entries.iter().position(|(name, ..)| *name == key) else { return };
        let (_, node, value) = self.entries.remove(index);
        let place = Place::of(node, value.place.path, self.place.discreet);
        let message = format!("found `{key}`, which was removed; {instead}");
        self.ledger.note(&place, message, Severity::Error, false);
    }

    /// Records every key that was not read as unknown.
    pub(super) fn finish(self) {
        for (name, key, value) in &self.entries {
            if self.known.contains(name) {
                continue;
            }
            let place = Place::of(key, value.place.path.clone(), self.place.discreet);
            let found = if self.place.discreet { "key".to_owned() } else { format!("key {}", quoted(name)) };
            let advice = match spelling::nearest(name, self.known.iter().copied()) {
                Some(near) => format!("write `{near}`"),
                None if self.known.is_empty() => "take it out".to_owned(),
                None => format!("write one of: {}", self.known.join(", ")),
            };
            self.ledger.note(&place, format!("found the unknown {found}; {advice}"), Severity::Error, false);
        }
    }
}
