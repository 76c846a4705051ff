//! The values of the YAML tree with their places, and the faults: all are recorded instead of stopping at the first.
//!
//! Messages about a discreet object (a credential) never repeat text of the file, not even
//! keys, because a secret could be in the wrong place.
//!
//! Not here: the keys of mappings (see `object`) and their meaning.

use std::cell::RefCell;

use super::fault::{Fault, Severity};
use super::node::{Node, NodeContent};
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
pub(super) struct Location {
    pub(super) line: u64,
    pub(super) column: u64,
    pub(super) path: String,
    pub(super) discreet: bool,
}

/// A parsed value and its place.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) place: Location,
}

/// The values of a list, without their places.
pub(super) fn values<T, L: FromIterator<T>>(list: Vec<Located<T>>) -> L {
    list.into_iter().map(|item| item.value).collect()
}

/// A value that is not parsed yet.
#[derive(Clone)]
pub(super) struct YamlValue<'a> {
    pub(super) node: &'a Node,
    pub(super) place: Location,
    pub(super) ledger: &'a Ledger,
}

/// A key as written in the file, and its value.
pub(super) struct NamedValue<'a> {
    pub(super) name: &'a str,
    /// The place of the key itself.
    pub(super) key: Location,
    pub(super) value: YamlValue<'a>,
}

impl Ledger {
    /// Records an error: the file will be refused.
    pub(super) fn error(&self, place: &Location, message: impl Into<String>) {
        self.note(place, message.into(), Severity::Error, !place.discreet);
    }

    /// Records a warning.
    pub(super) fn warning(&self, place: &Location, message: impl Into<String>) {
        self.note(place, message.into(), Severity::Warning, !place.discreet);
    }

    pub(super) fn note(&self, place: &Location, message: String, severity: Severity, quotable: bool) {
        let Location { line, column, ref path, .. } = *place;
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

impl Location {
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

pub(super) fn joined(path: &str, key: &str) -> String {
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

impl<'a> YamlValue<'a> {
    /// The root of the file.
    pub(super) fn root(node: &'a Node, ledger: &'a Ledger) -> Self {
        Self { node, place: Location::of(node, String::new(), false), ledger }
    }

    /// Whether the value is empty (null).
    pub(super) fn is_null(&self) -> bool {
        matches!(self.node.content, NodeContent::Null)
    }

    /// Whether the value is null, an empty list or an empty mapping.
    pub(super) fn is_empty(&self) -> bool {
        match &self.node.content {
            NodeContent::Null => true,
            NodeContent::List(items) => items.is_empty(),
            NodeContent::Map(entries) => entries.is_empty(),
            NodeContent::Boolean(_) | NodeContent::Number(_) | NodeContent::Text(_) => false,
        }
    }

    /// Whether the value is a mapping.
    pub(super) fn is_mapping(&self) -> bool {
        matches!(self.node.content, NodeContent::Map(_))
    }

    /// Whether the value is a list.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.node.content, NodeContent::List(_))
    }

    fn found(&self) -> String {
        match &self.node.content {
            NodeContent::Null => "nothing".to_owned(),
            NodeContent::List(items) if items.is_empty() => "an empty list".to_owned(),
            NodeContent::List(_) => "a list".to_owned(),
            NodeContent::Map(_) => "a mapping".to_owned(),
            NodeContent::Boolean(_) | NodeContent::Number(_) | NodeContent::Text(_)
                if self.place.discreet =>
            {
                "a value".to_owned()
            }
            NodeContent::Boolean(value) => format!("`{value}`"),
            NodeContent::Text(text) if could_carry_secret(text) => {
                "a value with a user name or query".to_owned()
            }
            NodeContent::Number(text) | NodeContent::Text(text) => quoted(text),
        }
    }

    /// Records that the value is wrong; `advice` says what to write.
    pub(super) fn wrong(&self, advice: &str) {
        let quotable = match &self.node.content {
            NodeContent::Text(text) => !self.place.discreet && !could_carry_secret(text),
            NodeContent::Boolean(_) | NodeContent::Number(_) | NodeContent::Null => !self.place.discreet,
            NodeContent::List(_) | NodeContent::Map(_) => false,
        };
        let message = format!("found {}; {advice}", self.found());
        self.ledger.note(&self.place, message, Severity::Error, quotable);
    }

    /// Parses the value as text; the error of `parse` says what to write.
    pub(super) fn parsed<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = match &self.node.content {
            NodeContent::Text(text) | NodeContent::Number(text) => text,
            NodeContent::Boolean(true) => "true",
            NodeContent::Boolean(false) => "false",
            NodeContent::Null | NodeContent::List(_) | NodeContent::Map(_) => {
                // The error for an empty text says what is expected here.
                let advice = parse("").err().unwrap_or_else(|| "write a text".to_owned());
                self.wrong(&advice);
                return None;
            }
        };
        parse(text).map_err(|advice| self.wrong(&advice)).ok()
    }

    /// The value as a boolean.
    pub(super) fn boolean(&self) -> Option<bool> {
        if let NodeContent::Boolean(value) = self.node.content {
            return Some(value);
        }
        self.wrong("write `true` or `false`");
        None
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Option<Vec<YamlValue<'a>>> {
        let NodeContent::List(items) = &self.node.content else {
            self.wrong("write a list, such as `[one, two]`, or one item per line, each after `- `");
            return None;
        };
        let values = items.iter().enumerate().map(|(index, node)| YamlValue {
            node,
            place: Location::of(node, format!("{}[{index}]", self.place.path), self.place.discreet),
            ledger: self.ledger,
        });
        Some(values.collect())
    }

    /// The entries of a mapping. Null is an empty mapping: all keys of a section may be commented out.
    pub(super) fn entries(&self) -> Option<Vec<NamedValue<'a>>> {
        let entries: &[(Node, Node)] = match &self.node.content {
            NodeContent::Map(entries) => entries,
            NodeContent::Null => &[],
            NodeContent::Boolean(_)
            | NodeContent::Number(_)
            | NodeContent::Text(_)
            | NodeContent::List(_) => {
                self.wrong("write a mapping, such as `key: value`, one per line and indented");
                return None;
            }
        };
        let mut found = Vec::new();
        for (key, node) in entries {
            found.extend(self.entry(key, node, &found));
        }
        Some(found)
    }

    fn entry(&self, key: &'a Node, node: &'a Node, earlier: &[NamedValue<'a>]) -> Option<NamedValue<'a>> {
        let discreet = self.place.discreet;
        let (NodeContent::Text(name) | NodeContent::Number(name)) = &key.content else {
            let place = Location::of(key, self.place.path.clone(), true);
            self.ledger.error(&place, "found a key that is no text; write a name, such as `server`");
            return None;
        };
        let path = if discreet { self.place.path.clone() } else { joined(&self.place.path, name) };
        let key = Location::of(key, path.clone(), discreet);
        if let Some(first) = earlier.iter().find(|other| other.name == name) {
            let shown = if discreet { "a key".to_owned() } else { format!("the key {}", quoted(name)) };
            let line = first.key.line;
            let message = format!("found {shown} a second time, the first is in line {line}; write it once");
            self.ledger.note(&key, message, Severity::Error, false);
            return None;
        }
        Some(NamedValue {
            name,
            key,
            value: YamlValue { node, place: Location::of(node, path, discreet), ledger: self.ledger },
        })
    }
}

impl NamedValue<'_> {
    /// Records the key as none of those that are known.
    pub(super) fn unknown(&self, known: &[&str], ledger: &Ledger) {
        let found = if self.key.discreet { "key".to_owned() } else { format!("key {}", quoted(self.name)) };
        let advice = match spelling::nearest(self.name, known.iter().copied()) {
            Some(near) => format!("write `{near}`"),
            None => format!("write one of: {}", known.join(", ")),
        };
        ledger.note(&self.key, format!("found the unknown {found}; {advice}"), Severity::Error, false);
    }
}
