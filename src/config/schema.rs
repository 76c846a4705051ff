//! The JSON Schema of the configuration (draft 2020-12), and the Markdown reference that is made from it.
//!
//! Both come from the declarations of the keys (see `key`). `tests/schema.rs` checks that the schema accepts what the
//! reader accepts, and rejects what the reader rejects because of its type.
//!
//! The schema leaves out what can't be decided from one value: whether a named tenant or a group exists, or
//! whether two addresses collide. `check` reports these.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::key::{Definitions, Kind as _};
use super::load::ROOT;

const HEAD: &str = "# Every key of the configuration

`billing-insights-proxy schema --markdown` makes this page from the JSON Schema of the configuration, and a test
compares the two. [`config.example.yaml`](../config.example.yaml) shows the same keys in their places.

Editors with a YAML language server complete and check the keys where the file begins with

```yaml
# yaml-language-server: $schema=billing-insights-proxy.schema.json
```

and the schema lies beside it:

```sh
billing-insights-proxy schema > billing-insights-proxy.schema.json
```

The schema checks each value by itself. `billing-insights-proxy check` also finds what concerns two of them, such as a
tenant that is named and does not exist.
";

/// The JSON Schema.
#[must_use]
pub fn schema() -> Value {
    let mut definitions = Definitions::new();
    let mut schema = ROOT.schema(&mut definitions);
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "Configuration of billing-insights-proxy".into();
    schema["$defs"] = definitions.into();
    schema
}

/// The reference of all keys in Markdown.
#[must_use]
pub fn markdown() -> String {
    let schema = schema();
    let mut page = Page { schema: &schema, text: HEAD.to_owned() };
    page.kinds();
    for (name, section) in members(&schema, "properties") {
        page.mapping(name, section);
    }
    page.text
}

/// The page under construction.
struct Page<'a> {
    schema: &'a Value,
    text: String,
}

fn members<'a>(node: &'a Value, key: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    node[key].as_object().into_iter().flat_map(Map::iter).map(|(name, node)| (name.as_str(), node))
}

fn words<'a>(node: &'a Value, key: &str) -> &'a str {
    node[key].as_str().unwrap_or_default()
}

impl<'a> Page<'a> {
    /// The target of a node's `$ref`; the node itself if it has none.
    fn resolved(&self, node: &'a Value) -> &'a Value {
        node["$ref"]
            .as_str()
            .and_then(|name| self.schema.pointer(name.trim_start_matches('#')))
            .unwrap_or(node)
    }

    /// The table of the kinds of values.
    fn kinds(&mut self) {
        self.text.push_str("\n## How values are written\n\n| kind | what to write |\n|---|---|\n");
        for (_, kind) in members(self.schema, "$defs") {
            if !words(kind, "title").is_empty() {
                let _ =
                    writeln!(self.text, "| {} | {} |", words(kind, "title"), in_table(&with_values(kind)));
            }
        }
    }

    /// The section of a mapping, followed by the sections of its nested mappings.
    fn mapping(&mut self, path: &str, node: &'a Value) {
        let description = words(node, "description");
        let (path, node) = match node["items"].as_object() {
            Some(_) => (format!("{path}[]"), self.resolved(&node["items"])),
            None => (path.to_owned(), node),
        };
        let shape = self.resolved(node);
        let _ = writeln!(self.text, "\n## `{path}`\n");
        let own = if shape == node { "" } else { words(shape, "description") };
        for paragraph in [description, own].into_iter().filter(|text| !text.is_empty()) {
            let _ = writeln!(self.text, "{paragraph}");
        }
        self.text.push_str("\n| key | value | unset | what it is |\n|---|---|---|---|\n");
        let open =
            shape["additionalProperties"].as_object().map(|_| ("{name}", &shape["additionalProperties"]));
        let keys: Vec<_> = members(shape, "properties").chain(open).collect();
        for (key, value) in &keys {
            let needed = shape["required"].as_array().is_some_and(|keys| keys.iter().any(|one| one == key));
            let default = &value["default"];
            let unset = if !default.is_null() {
                format!("`{}`", flow(default))
            } else if needed {
                "**needed**".to_owned()
            } else {
                String::new()
            };
            let kind = self.kind(value);
            let _ = writeln!(
                self.text,
                "| `{key}` | {kind} | {unset} | {} |",
                in_table(words(value, "description"))
            );
        }
        for (key, value) in keys {
            // The rules of the five endpoints have the same keys, which are described once.
            if path == "cache.endpoints" && key != "{name}" {
                continue;
            }
            let inner = if value["items"].is_object() { &value["items"] } else { value };
            let shape = self.resolved(inner);
            let is_told = words(shape, "title").is_empty();
            if is_told && (shape["properties"].is_object() || shape["additionalProperties"].is_object()) {
                // The credential of an Instance has the same keys as an Organization's.
                if path != "instances[]" || key != "credential" {
                    self.mapping(&format!("{path}.{key}"), value);
                }
            }
        }
    }

    fn kind(&self, value: &'a Value) -> String {
        let shape = self.resolved(value);
        if let Some(either) = shape["anyOf"].as_array() {
            return either.iter().map(|one| self.kind(one)).collect::<Vec<_>>().join(", or ");
        }
        if let Some(values) = shape["enum"].as_array() {
            return values.iter().map(|value| format!("`{}`", flow(value))).collect::<Vec<_>>().join(", ");
        }
        if let Some(value) = shape["const"].as_str() {
            return format!("`{value}`");
        }
        if !words(shape, "title").is_empty() {
            return words(shape, "title").to_owned();
        }
        let kind = shape["type"].as_str().or_else(|| shape["type"][0].as_str()).unwrap_or_default();
        match kind {
            "array" => format!("list of: {}", self.kind(&shape["items"])),
            "object" => "mapping".to_owned(),
            "boolean" => "`true` or `false`".to_owned(),
            "integer" => "whole number".to_owned(),
            _ => "text".to_owned(),
        }
    }
}

fn with_values(kind: &Value) -> String {
    let description = words(kind, "description");
    match kind["enum"].as_array() {
        Some(values) => {
            let values: Vec<_> = values.iter().map(|value| format!("`{}`", flow(value))).collect();
            format!("{description} One of {}.", values.join(", "))
        }
        None => description.to_owned(),
    }
}

fn in_table(text: &str) -> String {
    text.replace('|', "\\|")
}

/// A value in YAML flow style.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) if text.starts_with(['[', '0']) => format!("\"{text}\""),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(members) if members.is_empty() => "{}".to_owned(),
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| format!("{key}: {}", flow(value)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
