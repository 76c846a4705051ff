//! Mappings, read key by key.
//!
//! An [`Object`] has the keys of a [`Section`]; all others are reported when it is made. Only a declared [`Key`] can be read
//! from it.

use serde_json::{Value as Json, json};

use super::fault::Severity;
use super::key::{AnyKey, Definitions, Key, Kind, Presence, Section, located};
use super::reader::{Ledger, Located, Location, NamedValue, YamlValue, joined};

/// A mapping with the keys of a section.
pub(super) struct Object<'a> {
    entries: Vec<NamedValue<'a>>,
    pub(super) place: Location,
    ledger: &'a Ledger,
}

impl<'a> Object<'a> {
    /// A value as a mapping with the keys of a section; other keys are recorded.
    fn of(from: &YamlValue<'a>, section: &Section) -> Option<Self> {
        let mut value = from.clone();
        value.place.discreet |= section.discreet;
        let mut entries = value.entries()?;
        let known: Vec<&str> = section.keys.iter().map(|key| key.name).collect();
        entries.retain_mut(|entry| {
            if let Some((name, instead)) = section.removed.iter().find(|(name, _)| *name == entry.name) {
                let message = format!("found `{name}`, which was removed; {instead}");
                from.ledger.note(&entry.key, message, Severity::Error, false);
                return false;
            }
            if !known.contains(&entry.name) {
                entry.unknown(&known, from.ledger);
                return false;
            }
            // The name of a known key may be shown even in a discreet object.
            entry.value.place.path = joined(&from.place.path, entry.name);
            true
        });
        Some(Self { entries, place: value.place, ledger: from.ledger })
    }

    /// The value of a key as written.
    pub(super) fn value<K>(&self, key: &Key<K>) -> Option<&YamlValue<'a>> {
        self.entries.iter().find(|entry| entry.name == key.name).map(|entry| &entry.value)
    }

    /// The place of a key's value, if the key is written.
    pub(super) fn place_of<K>(&self, key: &Key<K>) -> Option<Location> {
        self.value(key).map(|value| value.place.clone())
    }

    /// The value of a key; `None` if it is missing or wrong.
    pub(super) fn optional<K: Kind>(&self, key: &Key<K>) -> Option<K::Output<'a>> {
        key.kind.read(self.value(key)?)
    }

    /// The value of a key, with its place; `None` if it is missing or wrong.
    pub(super) fn located<K: Kind>(&self, key: &Key<K>) -> Option<Located<K::Output<'a>>> {
        located(&key.kind, self.value(key)?)
    }

    /// The value of a key, or its default. A key without a default is recorded as missing.
    pub(super) fn get<K: Kind>(&self, key: &'static Key<K>) -> Option<K::Output<'a>> {
        self.optional(key).or_else(|| self.default(key))
    }

    fn default<K: Kind>(&self, key: &'static Key<K>) -> Option<K::Output<'a>> {
        let Some(node) = key.default_node() else {
            self.missing(key, "write one");
            return None;
        };
        key.kind.read(&YamlValue { node, place: self.place.missing(key.name), ledger: self.ledger })
    }

    /// The value of a required key, with its place.
    pub(super) fn required<K: Kind>(&self, key: &Key<K>) -> Option<Located<K::Output<'a>>> {
        if self.value(key).is_none() {
            let advice = if let Presence::Required(advice) = key.presence { advice } else { "write one" };
            self.missing(key, advice);
        }
        self.located(key)
    }

    /// Records that a key is missing; `advice` says what to write.
    pub(super) fn missing<K>(&self, key: &Key<K>, advice: &str) {
        self.ledger.error(&self.place.missing(key.name), format!("found no `{}`; {advice}", key.name));
    }

    /// The mapping of a key; an empty one if the key is missing or wrong.
    pub(super) fn section(&self, key: &Key<Section>) -> Object<'a> {
        let empty =
            || Object { entries: Vec::new(), place: self.place.missing(key.name), ledger: self.ledger };
        self.optional(key).unwrap_or_else(empty)
    }
}

impl Kind for Section {
    type Output<'a> = Object<'a>;

    fn read<'a>(&self, value: &YamlValue<'a>) -> Option<Object<'a>> {
        Object::of(value, self)
    }

    fn keys(&self) -> &'static [&'static AnyKey] {
        self.keys
    }

    fn schema(&self, definitions: &mut Definitions) -> Json {
        let mut schema = json!({ "type": "object", "properties": {}, "additionalProperties": false });
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
            schema["type"] = json!(["object", "null"]);
        }
        (self.constrain)(&mut schema);
        match self.definition {
            Some(definition) => definition.refer(schema, definitions),
            None => schema,
        }
    }
}
