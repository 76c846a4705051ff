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
use super::node::{self, Node};
use super::reader::{Object, Value};
use super::{Config, load};

/// A key, with the kind of its value.
pub(super) struct Key<K> {
    pub(super) name: &'static str,
    pub(super) kind: K,
    presence: Presence,
    description: &'static str,
    differs: Option<Differs>,
    default: OnceLock<Option<Node>>,
}

/// What holds if a key is missing.
#[derive(Clone, Copy)]
pub(super) enum Presence {
    /// The configuration is refused; the text says what to write.
    Required(&'static str),
    /// The value that this YAML text has.
    Default(&'static str),
    /// There is no value; the description says what that means.
    Optional,
}

/// Whether two configurations differ in the value of a key.
pub(super) type Differs = fn(&Config, &Config) -> bool;

/// A key of any kind, as the schema sees it.
pub(super) trait Declared: Sync {
    fn name(&self) -> &'static str;
    fn presence(&self) -> Presence;
    /// The keys of the value, if that is a mapping.
    fn keys(&self) -> &'static [&'static dyn Declared];
    /// The comparison of a key whose new value needs a restart.
    fn differs(&self) -> Option<Differs>;
    /// The schema of the value, with description and default.
    fn schema(&self, definitions: &mut Definitions) -> Json;
}

impl<K: Kind> Key<K> {
    /// A key without a default.
    pub(super) const fn optional(name: &'static str, kind: K, description: &'static str) -> Self {
        Self {
            name,
            kind,
            presence: Presence::Optional,
            description,
            differs: None,
            default: OnceLock::new(),
        }
    }

    /// A key with a default, written as in the file.
    pub(super) const fn with_default(
        name: &'static str,
        kind: K,
        default: &'static str,
        description: &'static str,
    ) -> Self {
        let mut key = Self::optional(name, kind, description);
        key.presence = Presence::Default(default);
        key
    }

    /// A key that must exist; `advice` says what to write.
    pub(super) const fn required(
        name: &'static str,
        kind: K,
        advice: &'static str,
        description: &'static str,
    ) -> Self {
        let mut key = Self::optional(name, kind, description);
        key.presence = Presence::Required(advice);
        key
    }

    /// The same key, whose new value needs a restart.
    pub(super) const fn needs_restart(mut self, differs: Differs) -> Self {
        self.differs = Some(differs);
        self
    }

    /// What to write if the key is missing; empty if it may be missing.
    pub(super) const fn advice(&self) -> &'static str {
        match self.presence {
            Presence::Required(advice) => advice,
            Presence::Default(_) | Presence::Optional => "",
        }
    }

    /// The default as a value of the file; `None` without one.
    pub(super) fn default(&self) -> Option<&Node> {
        let Presence::Default(text) = self.presence else { return None };
        self.default.get_or_init(|| node::read(text).ok()).as_ref()
    }
}

impl<K: Kind> Declared for Key<K> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn presence(&self) -> Presence {
        self.presence
    }

    fn keys(&self) -> &'static [&'static dyn Declared] {
        self.kind.keys()
    }

    fn differs(&self) -> Option<Differs> {
        self.differs
    }

    fn schema(&self, definitions: &mut Definitions) -> Json {
        let mut schema = self.kind.schema(definitions);
        let restart = if self.differs.is_some() { " A new value needs a restart." } else { "" };
        schema["description"] = format!("{}{restart}", self.description).into();
        if let Some(default) = self.default() {
            schema["default"] = default.json();
        }
        schema
    }
}

/// The keys of a mapping.
#[derive(Clone, Copy)]
pub(super) struct Section {
    pub(super) keys: &'static [&'static dyn Declared],
    /// Keys of earlier versions, each with what replaced it.
    pub(super) removed: &'static [(&'static str, &'static str)],
    /// Whether messages must not repeat text of the mapping.
    pub(super) discreet: bool,
    definition: Option<Definition>,
    description: &'static str,
    takes_null: bool,
    constraints: fn() -> Json,
}

impl Section {
    /// A mapping with these keys and no others.
    pub(super) const fn new(keys: &'static [&'static dyn Declared]) -> Self {
        Self {
            keys,
            removed: &[],
            discreet: false,
            definition: None,
            description: "",
            takes_null: true,
            constraints: || Json::Null,
        }
    }

    /// The same mapping, with keys that earlier versions had.
    pub(super) const fn removed(mut self, removed: &'static [(&'static str, &'static str)]) -> Self {
        self.removed = removed;
        self
    }

    /// The same mapping, whose content messages must not repeat.
    pub(super) const fn discreet(mut self) -> Self {
        self.discreet = true;
        self
    }

    /// The same mapping, defined once in the schema.
    pub(super) const fn defined(mut self, definition: Definition) -> Self {
        self.definition = Some(definition);
        self
    }

    /// The same mapping, with a description of its own besides that of its key.
    pub(super) const fn described(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }

    /// The same mapping, for which no value is not the same as no keys.
    pub(super) const fn not_null(mut self) -> Self {
        self.takes_null = false;
        self
    }

    /// The same mapping, with keywords of JSON Schema that concern several of its keys.
    pub(super) const fn constrained(mut self, constraints: fn() -> Json) -> Self {
        self.constraints = constraints;
        self
    }
}

/// The paths of the keys whose change from one configuration to another needs a restart.
#[must_use]
pub fn changes_that_need_restart(old: &Config, new: &Config) -> Vec<String> {
    fn walk(keys: &[&dyn Declared], prefix: &str, differs: &mut impl FnMut(Differs) -> bool) -> Vec<String> {
        let paths = keys.iter().flat_map(|key| {
            let path = format!("{prefix}{}", key.name());
            let mut found = walk(key.keys(), &format!("{path}."), differs);
            found.extend(key.differs().is_some_and(&mut *differs).then_some(path));
            found
        });
        paths.collect()
    }
    walk(load::ROOT.keys, "", &mut |differs| differs(old, new))
}

impl Kind for Section {
    type Value<'a> = Object<'a>;

    fn read<'a>(&self, value: &Value<'a>) -> Option<Object<'a>> {
        value.object(self)
    }

    fn keys(&self) -> &'static [&'static dyn Declared] {
        self.keys
    }

    fn schema(&self, definitions: &mut Definitions) -> Json {
        let mut schema =
            serde_json::json!({ "type": "object", "properties": {}, "additionalProperties": false });
        let mut required: Vec<Json> = Vec::new();
        for key in self.keys {
            schema["properties"][key.name()] = key.schema(definitions);
            if let Presence::Required(_) = key.presence() {
                required.push(key.name().into());
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
        if let (Json::Object(schema), Json::Object(constraints)) = (&mut schema, (self.constraints)()) {
            schema.extend(constraints);
        }
        match self.definition {
            Some(definition) => definition.refer(schema, definitions),
            None => schema,
        }
    }
}
