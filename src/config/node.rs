//! The YAML file as a tree of values with their positions.
//!
//! Only this module uses the YAML library. Duplicate keys are kept so that the reader can report them. Numbers
//! keep their text, because an id of digits is not a number. Limits on depth, nodes and aliases are enforced here.
//! Not here: the meaning of keys and values.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::fault::{Fault, Severity};

/// A value and its position.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) content: NodeContent,
    pub(super) line: u64,
    pub(super) column: u64,
}

/// A value; scalars keep the text as written.
#[derive(Clone, Debug)]
pub(super) enum NodeContent {
    Null,
    Boolean(bool),
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// More than a configuration needs, and little enough for the stack of any thread.
const MAX_DEPTH: usize = 24;
const MAX_NODES: usize = 200_000;
const MAX_ALIASES: usize = 100;
const MAX_REPLAYED: usize = 10_000;

/// Reads a file with one document.
pub(super) fn read(source: &str) -> Result<Node, Fault> {
    let raw: Spanned<Raw> = serde_saphyr::from_str_with_options(source, options()).map_err(|error| {
        let location = error.location();
        Fault {
            line: location.map_or(0, |location| location.line()),
            column: location.map_or(0, |location| location.column()),
            path: String::new(),
            message: describe(error.without_snippet()),
            severity: Severity::Error,
            quotable: false,
        }
    })?;
    Ok(node(raw, source))
}

/// The JSON of a value of a declaration.
pub(super) fn json(text: &str) -> serde_json::Value {
    serde_saphyr::from_str(text).unwrap_or_default()
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_aliases: MAX_ALIASES,
            max_anchors: MAX_ALIASES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_REPLAYED,
            max_replay_stack_depth: 4,
        },
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::PassThrough,
        merge_keys: serde_saphyr::options::MergeKeyPolicy::AsOrdinary,
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::AsString,
        strict_booleans: true,
        with_snippet: false,
    }
}

/// The message of a syntax error. Text that the library quotes is removed, because it may be part of a secret.
fn describe(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error;
    #[expect(clippy::wildcard_enum_match_arm, reason = "dozens of errors, of which the rest are alike")]
    match error {
        Error::Eof { .. } => "the file ends too early".to_owned(),
        Error::MultipleDocuments { .. } => {
            "found a second YAML document (`---`); write one document only".to_owned()
        }
        Error::UnknownAnchor { .. } => {
            "found an alias (`*name`) to no anchor; put a text that begins with `*` in quotes".to_owned()
        }
        Error::Message { msg, .. } | Error::ExternalMessage { msg, .. } => {
            format!("this is not YAML: {}", without_quotations(msg))
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            format!(
                "found more than is ever needed; write at most {MAX_DEPTH} levels and {MAX_ALIASES} aliases"
            )
        }
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            "found an alias to what it stands in; write the value itself".to_owned()
        }
        _ => "this YAML can't be read; write plain mappings, lists and texts without tags".to_owned(),
    }
}

/// The first line of a message; quoted text longer than two characters is replaced.
fn without_quotations(message: &str) -> String {
    // An apostrophe would count as a quotation mark.
    let first_line = message.lines().next().unwrap_or_default().replace("n't", " not");
    let parts = first_line.split(['`', '"', '\'']).enumerate().map(|(index, part)| {
        let is_quoted = index % 2 == 1;
        match part.chars().count() {
            0..=2 if is_quoted => format!("`{part}`"),
            _ if is_quoted => "…".to_owned(),
            _ => part.to_owned(),
        }
    });
    parts.collect()
}

fn node(raw: Spanned<Raw>, source: &str) -> Node {
    let (line, column) = (raw.referenced.line(), raw.referenced.column());
    let content = match raw.value {
        Raw::Null => NodeContent::Null,
        Raw::Boolean(value) => NodeContent::Boolean(value),
        Raw::Number(value) => NodeContent::Number(as_written(source, raw.defined).unwrap_or(value)),
        Raw::Text(value) => NodeContent::Text(value),
        Raw::List(items) => NodeContent::List(items.into_iter().map(|item| node(item, source)).collect()),
        Raw::Map(entries) => NodeContent::Map(
            entries.into_iter().map(|(key, value)| (node(key, source), node(value, source))).collect(),
        ),
    };
    Node { content, line, column }
}

fn as_written(source: &str, place: Location) -> Option<String> {
    let start = usize::try_from(place.span().byte_offset()?).ok()?;
    let length = usize::try_from(place.span().byte_len()?).ok()?;
    let text = source.get(start..start.checked_add(length)?)?.trim();
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte)).then(|| text.to_owned())
}

enum Raw {
    Null,
    Boolean(bool),
    Number(String),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Boolean(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}
