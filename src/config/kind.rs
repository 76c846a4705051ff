//! The kinds of values: how a value of each is read, and what the JSON Schema says about it.
//!
//! Not here: the kinds themselves, which `value`, `address` and the modules of the sections declare.

use serde_json::{Value as Json, json};

use super::key::{Definition, Definitions, Kind, Section, located};
use super::reader::{Located, NamedValue, YamlValue};

/// Values that are parsed from their text.
pub(super) struct Scalar<T> {
    pub(super) definition: Option<Definition>,
    pub(super) schema: fn() -> Json,
    pub(super) parse: fn(&str) -> Result<T, String>,
}

impl<T> Scalar<T> {
    /// A kind of a single key.
    pub(super) const fn new(schema: fn() -> Json, parse: fn(&str) -> Result<T, String>) -> Self {
        Self { definition: None, schema, parse }
    }

    /// The same texts, parsed to something else.
    pub(super) const fn parsed_by<U>(&self, parse: fn(&str) -> Result<U, String>) -> Scalar<U> {
        Scalar { definition: self.definition, schema: self.schema, parse }
    }
}

impl<T: 'static> Kind for Scalar<T> {
    type Output<'a> = T;

    fn read(&self, value: &YamlValue<'_>) -> Option<T> {
        value.parsed(self.parse)
    }

    fn schema(&self, definitions: &mut Definitions) -> Json {
        match self.definition {
            Some(definition) => definition.refer((self.schema)(), definitions),
            None => (self.schema)(),
        }
    }
}

/// Declares kinds of texts. A row has the parser, the name of the definition in the schema, the title and the
/// description in the reference, and the schema.
macro_rules! kinds {
    ($($kind:ident: $type:ty = $parse:expr, $name:literal, $title:literal, $description:literal, $schema:tt;)+) => {
        $(pub(super) const $kind: $crate::config::kind::Scalar<$type> = $crate::config::kind::Scalar {
            definition: Some($crate::config::key::Definition {
                name: $name,
                title: $title,
                description: $description,
            }),
            schema: || serde_json::json!($schema),
            parse: $parse,
        };)+
    };
}
pub(super) use kinds;

/// `true` and `false`.
pub(super) struct Boolean;

impl Kind for Boolean {
    type Output<'a> = bool;

    fn read(&self, value: &YamlValue<'_>) -> Option<bool> {
        value.boolean()
    }

    fn schema(&self, _: &mut Definitions) -> Json {
        json!({ "type": "boolean" })
    }
}

/// One of several words.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + Sync> Kind for Choice<T> {
    type Output<'a> = T;

    fn read(&self, value: &YamlValue<'_>) -> Option<T> {
        value.parsed(|text| {
            let found = self.0.iter().find(|(word, _)| *word == text);
            found.map(|(_, meaning)| *meaning).ok_or_else(|| match self.0 {
                [(one, _), (other, _)] => format!("write `{one}` or `{other}`"),
                words => {
                    let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                    format!("write one of: {}", words.join(", "))
                }
            })
        })
    }

    fn schema(&self, _: &mut Definitions) -> Json {
        json!({ "enum": self.0.iter().map(|(word, _)| *word).collect::<Vec<_>>() })
    }
}

/// A list of values, each with its place.
pub(super) struct List<K> {
    pub(super) item: K,
    /// What to write instead of an empty list; `None` if the list may be empty.
    pub(super) if_empty: Option<&'static str>,
    /// Whether no value is the same as no items.
    pub(super) takes_null: bool,
}

impl<K> List<K> {
    /// A list that may be empty.
    pub(super) const fn of(item: K) -> Self {
        Self { item, if_empty: None, takes_null: false }
    }
}

impl<K: Kind> Kind for List<K> {
    type Output<'a> = Vec<Located<K::Output<'a>>>;

    fn read<'a>(&self, value: &YamlValue<'a>) -> Option<Self::Output<'a>> {
        if self.takes_null && value.is_null() {
            return Some(Vec::new());
        }
        let items = value.items()?;
        if let Some(advice) = self.if_empty.filter(|_| items.is_empty()) {
            value.wrong(advice);
        }
        Some(items.iter().filter_map(|item| located(&self.item, item)).collect())
    }

    fn schema(&self, definitions: &mut Definitions) -> Json {
        let mut schema = json!({ "type": "array", "items": self.item.schema(definitions) });
        if self.takes_null {
            schema["type"] = json!(["array", "null"]);
        }
        if self.if_empty.is_some() {
            schema["minItems"] = 1.into();
        }
        schema
    }
}

/// The word `all`, or a list.
pub(super) struct AllOr<K> {
    pub(super) item: K,
    /// A list, for the message.
    pub(super) example: &'static str,
}

/// A value of [`AllOr`].
pub(super) enum AllOrListed<T> {
    All,
    Listed(Vec<T>),
}

impl<K: Kind> Kind for AllOr<K> {
    type Output<'a> = AllOrListed<K::Output<'a>>;

    fn read<'a>(&self, value: &YamlValue<'a>) -> Option<Self::Output<'a>> {
        if value.is_list() {
            let items = value.items()?;
            return Some(AllOrListed::Listed(items.iter().filter_map(|item| self.item.read(item)).collect()));
        }
        value.parsed(|text| match text {
            "all" => Ok(AllOrListed::All),
            _ => Err(format!("write `all`, or a list, such as `{}`", self.example)),
        })
    }

    fn schema(&self, definitions: &mut Definitions) -> Json {
        json!({ "anyOf": [{ "const": "all" }, { "type": "array", "items": self.item.schema(definitions) }] })
    }
}

/// A mapping whose keys are names that the operator chooses.
pub(super) struct Named {
    pub(super) item: &'static Section,
    /// Adds further keywords of JSON Schema.
    pub(super) constrain: fn(&mut Json),
}

impl Kind for Named {
    type Output<'a> = Vec<NamedValue<'a>>;

    fn read<'a>(&self, value: &YamlValue<'a>) -> Option<Self::Output<'a>> {
        value.entries()
    }

    fn schema(&self, definitions: &mut Definitions) -> Json {
        let item = self.item.schema(definitions);
        let mut schema = json!({ "type": ["object", "null"], "additionalProperties": item });
        (self.constrain)(&mut schema);
        schema
    }
}
