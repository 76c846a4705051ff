//! The declaration of a key of the configuration.
//!
//! A [`Key`] is declared once, next to the code that reads it. The reader, the JSON Schema, the reference in
//! `docs/configuration.md`, the suggestions for unknown keys and the list of keys that need a restart are all made from
//! it. A [`Section`] lists the keys of a mapping.
//!
//! Not here: the kinds of values (see `kind`).

use std::sync::OnceLock;

use serde_json::Value as Json;

use super::kind::{Definition, Definitions, Kind};
use super::load;
use super::node::{self, Node};
use super::reader::{Object, YamlValue};
use super::settings::Config;

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
    fn schema(&self, definitions: &mut Definitions) -> Json {
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

/// The paths of the keys whose change from one configuration to another needs a restart.
#[must_use]
pub fn changes_that_need_restart(old: &Config, new: &Config) -> Vec<String> {
    changed_below("", load::ROOT.keys, old, new)
}

fn changed_below(prefix: &str, keys: &[&AnyKey], old: &Config, new: &Config) -> Vec<String> {
    let mut changed = Vec::new();
    for key in keys {
        let path = format!("{prefix}{}", key.name);
        changed.extend(changed_below(&format!("{path}."), key.kind.keys(), old, new));
        if key.differs.iter().any(|differs| differs(old, new)) {
            changed.push(path);
        }
    }
    changed
}

impl Kind for Section {
    type Output<'a> = Object<'a>;

    fn read<'a>(&self, value: &YamlValue<'a>) -> Option<Object<'a>> {
        value.object(self)
    }

    fn keys(&self) -> &'static [&'static AnyKey] {
        self.keys
    }

    fn schema(&self, definitions: &mut Definitions) -> Json {
        let mut schema =
            serde_json::json!({ "type": "object", "properties": {}, "additionalProperties": false });
        let mut required: Vec<Json> = Vec::new();
        for key in self.keys {
            schema["properties"][key.name] = key.schema(definitions);
            if let Presence::Required(_) = key.presence {
                required.push(key.name.into());
            }
        }
        if !self.description.is_empty() {
            schema["description"] = self.description.into();
        }
        if !required.is_empty() {
            schema["required"] = required.into();
        } else if self.takes_null {
            schema["type"] = serde_json::json!(["object", "null"]);
        }
        (self.constrain)(&mut schema);
        match self.definition {
            Some(definition) => definition.refer(schema, definitions),
            None => schema,
        }
    }
}
