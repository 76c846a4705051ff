//! The declaration of a key of the configuration.
//!
//! A [`Key`] is declared once, next to the code that reads it. The reader, the JSON Schema, the reference in
//! `docs/configuration.md`, the suggestions for unknown keys and the list of keys that need a restart are all made from
//! it. A [`Section`] lists the keys of a mapping.
//!
//! Not here: the kinds of values (see `kind`) and the reading of mappings (see `object`).

use std::sync::OnceLock;

use serde_json::{Map, Value as Json, json};

use super::node::{self, Node};
use super::reader::{Located, YamlValue};
use super::settings::Config;

/// The definitions of a schema (`$defs`), by name.
pub(super) type Definitions = Map<String, Json>;

/// A kind of values.
pub(super) trait Kind: Sync + 'static {
    /// What a value is read as.
    type Output<'a>
    where
        Self: Sized;

    /// Reads a value; a wrong one is recorded.
    fn read<'a>(&self, value: &YamlValue<'a>) -> Option<Self::Output<'a>>
    where
        Self: Sized;

    /// The schema of the values; definitions that it refers to are added.
    fn schema(&self, definitions: &mut Definitions) -> Json;

    /// The keys of the value, if that is a mapping.
    fn keys(&self) -> &'static [&'static AnyKey] {
        &[]
    }
}

/// What the schema defines once and refers to by name.
#[derive(Clone, Copy)]
pub(super) struct Definition {
    pub(super) name: &'static str,
    /// The name of the kind in the reference; empty for a mapping that has a section there.
    pub(super) title: &'static str,
    pub(super) description: &'static str,
}

impl Definition {
    /// Adds the definition, and refers to it.
    pub(super) fn refer(self, mut schema: Json, definitions: &mut Definitions) -> Json {
        if !self.title.is_empty() {
            schema["title"] = self.title.into();
        }
        schema["description"] = self.description.into();
        definitions.insert(self.name.to_owned(), schema);
        json!({ "$ref": format!("#/$defs/{}", self.name) })
    }
}

/// Reads a value as one of a kind, with its place.
pub(super) fn located<'a, K: Kind>(kind: &K, value: &YamlValue<'a>) -> Option<Located<K::Output<'a>>> {
    Some(Located { value: kind.read(value)?, place: value.place.clone() })
}

/// A key, with the kind of its value. [`keys`] makes them.
pub(super) struct Key<K: ?Sized> {
    pub(super) name: &'static str,
    pub(super) presence: Presence,
    pub(super) description: &'static str,
    /// Compares the values of two configurations if a new value needs a restart; otherwise empty.
    pub(super) differs: &'static [Differs],
    /// The default, once it was needed.
    pub(super) default: OnceLock<Option<Node>>,
    pub(super) kind: K,
}

/// What holds if a key is missing.
#[derive(Clone, Copy)]
pub(super) enum Presence {
    /// There is no value; the description says what that means.
    Optional,
    /// The value is this text of YAML, as a user would write it.
    Default(&'static str),
    /// The configuration is refused; the text says what to write.
    Required(&'static str),
}

/// Whether two configurations differ in the value of a key.
pub(super) type Differs = fn(&Config, &Config) -> bool;

/// Declares keys, one per row, and the list of them. A row has the key's name, the kind of its value, its
/// [`Presence`], its field of [`Config`] if a new value needs a restart, and its description.
macro_rules! keys {
    ($list_visibility:vis $list:ident; $(
        $visibility:vis $key:ident: $type:ty =
            $name:literal, $kind:expr, $presence:ident $(($text:expr))? $(restart($($field:ident).+))?,
            $description:literal;
    )+) => {
        $list_visibility static $list: &[&$crate::config::key::AnyKey] = &[$(&$key),+];
        $($visibility static $key: $crate::config::key::Key<$type> = $crate::config::key::Key {
            name: $name,
            kind: $kind,
            presence: $crate::config::key::Presence::$presence $(($text))?,
            description: $description,
            differs: &[$(|old, new| old.$($field).+ != new.$($field).+)?],
            default: std::sync::OnceLock::new(),
        };)+
    };
}
pub(super) use keys;

/// A key of any kind.
pub(super) type AnyKey = Key<dyn Kind>;

impl<K: Kind + ?Sized> Key<K> {
    /// The default as a value of the file; `None` without one.
    pub(super) fn default_node(&self) -> Option<&Node> {
        let Presence::Default(text) = self.presence else { return None };
        self.default.get_or_init(|| node::read(text).ok()).as_ref()
    }

    /// The schema of the value, with description and default.
    pub(super) fn schema(&self, definitions: &mut Definitions) -> Json {
        let mut schema = self.kind.schema(definitions);
        let restart = if self.differs.is_empty() { "" } else { " A new value needs a restart." };
        schema["description"] = format!("{}{restart}", self.description).into();
        if let Presence::Default(text) = self.presence {
            schema["default"] = node::json(text);
        }
        schema
    }
}

/// The keys of a mapping.
#[derive(Clone, Copy)]
pub(super) struct Section {
    pub(super) keys: &'static [&'static AnyKey],
    /// Keys of earlier versions, each with what replaced it.
    pub(super) removed: &'static [(&'static str, &'static str)],
    /// Whether messages must not repeat text of the mapping.
    pub(super) discreet: bool,
    /// Whether no value is the same as no keys.
    pub(super) takes_null: bool,
    /// Where the schema defines the mapping once and refers to it.
    pub(super) definition: Option<Definition>,
    /// The description of the mapping itself, if it is an item of a list.
    pub(super) description: &'static str,
    /// Adds keywords of JSON Schema that concern several keys.
    pub(super) constrain: fn(&mut Json),
}

impl Section {
    /// A mapping with these keys and no others.
    pub(super) const fn new(keys: &'static [&'static AnyKey]) -> Self {
        Self {
            keys,
            removed: &[],
            discreet: false,
            takes_null: true,
            definition: None,
            description: "",
            constrain: |_| (),
        }
    }
}
