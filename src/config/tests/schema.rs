//! The schema accepts what the reader accepts, and has the same defaults.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::example::with_every_key;
use super::{read, with_acme};
use crate::config::schema::{markdown, schema};
use crate::config::{Environment, Faults, parse};

static SCHEMA: LazyLock<Value> = LazyLock::new(schema);
static VALIDATOR: LazyLock<Validator> = LazyLock::new(|| {
    jsonschema::meta::validate(&SCHEMA).expect("the schema is one");
    jsonschema::draft202012::new(&SCHEMA).expect("the schema can be used")
});

fn value(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

/// The example configuration, with every key that exists.
fn full() -> Value {
    let mut full = value(&with_every_key());
    full["instances"][0]["credential"]["private_key"] = json!({ "env": "GLOBEX_KEY" });
    // The rule of an added endpoint would make that endpoint necessary.
    full["cache"]["endpoints"].as_object_mut().expect("a mapping").remove("reports");
    full
}

/// What the schema has against a configuration.
pub(super) fn complaints(yaml: &str) -> Vec<String> {
    let value = value(yaml);
    VALIDATOR.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// What a node of the schema refers to.
fn resolved(node: &'static Value) -> &'static Value {
    match node["$ref"].as_str() {
        Some(name) => SCHEMA.pointer(&name[1..]).expect("it is there"),
        None => node,
    }
}

/// Every place in a value (as a JSON pointer), with its node of the schema.
fn places(value: &Value) -> Vec<(String, &'static Value)> {
    fn walk(pointer: &str, value: &Value, node: &'static Value, found: &mut Vec<(String, &'static Value)>) {
        found.push((pointer.to_owned(), node));
        let shape = resolved(node);
        match value {
            Value::Object(members) => {
                for (key, value) in members {
                    let own = &shape["properties"][key];
                    let node = if own.is_null() { &shape["additionalProperties"] } else { own };
                    assert!(node.is_object(), "{pointer}/{key} is not in the schema");
                    walk(&format!("{pointer}/{key}"), value, node, found);
                }
            }
            Value::Array(items) => {
                let either = shape["anyOf"].as_array().and_then(|either| either.last());
                for (index, value) in items.iter().enumerate() {
                    walk(&format!("{pointer}/{index}"), value, &either.unwrap_or(shape)["items"], found);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut found = Vec::new();
    walk("", value, &SCHEMA, &mut found);
    found
}

/// The value with another in one place; without the place for none.
fn changed(value: &Value, pointer: &str, other: Option<Value>) -> Value {
    let mut value = value.clone();
    let (parent, key) = pointer.rsplit_once('/').expect("not the top");
    match (value.pointer_mut(parent).expect("it is there"), other) {
        (Value::Object(members), Some(other)) => {
            members.insert(key.to_owned(), other);
        }
        (Value::Object(members), None) => {
            members.remove(key);
        }
        (Value::Array(items), Some(other)) => items[key.parse::<usize>().expect("a number")] = other,
        (Value::Array(items), None) => {
            items.remove(key.parse().expect("a number"));
        }
        _ => unreachable!("only these have members"),
    }
    value
}

#[test]
fn shipped_and_documented_configurations_satisfy_the_schema() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file =
        |name: &str| fs::read_to_string(root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut texts = vec![
        ("config.example.yaml".to_owned(), file("config.example.yaml")),
        ("the demo's".to_owned(), demo(&file("src/cli/demo.yaml"))),
        ("all keys".to_owned(), with_every_key()),
    ];
    let pages =
        fs::read_dir(root.join("docs")).expect("a folder").map(|entry| entry.expect("an entry").path());
    let pages = pages.chain([root.join("README.md"), root.join("SECURITY.md")]);
    for page in pages.filter(|page| page.extension().is_some_and(|extension| extension == "md")) {
        let text = fs::read_to_string(&page).expect("text");
        for block in text.split("\n```yaml\n").skip(1) {
            let block = block.split("\n```").next().expect("its text").to_owned();
            if block.lines().any(|line| ["organizations:", "instances:"].contains(&line)) {
                texts.push((page.display().to_string(), block));
            }
        }
    }
    for entry in fs::read_dir(root.join("deploy/kubernetes")).expect("a folder") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("text");
        for part in text.split("\n---\n") {
            let manifest = value(part);
            if let Some(configuration) = manifest["data"]["config.yaml"].as_str() {
                texts.push((path.display().to_string(), configuration.to_owned()));
            }
        }
    }
    assert!(
        texts.len() >= 7,
        "examples were not found: {:?}",
        texts.iter().map(|(name, _)| name).collect::<Vec<_>>()
    );
    for (name, text) in texts {
        assert_eq!(complaints(&text), Vec::<String>::new(), "{name}\n{text}");
    }
}

fn demo(text: &str) -> String {
    let text = text.replace("{listen}", "127.0.0.1:1").replace("{admin}", "127.0.0.1:2");
    text.replace("{api_url}", "http://127.0.0.1:3").replace("{token_url}", "http://127.0.0.1:3/{account}")
}

/// The nodes of all keys in the schema, by their address, with their places.
fn declared(node: &'static Value, place: &str, found: &mut BTreeMap<usize, String>) {
    for (key, node) in node["properties"].as_object().into_iter().flatten() {
        let place = format!("{place}.{key}");
        if found.insert(std::ptr::from_ref(node).addr(), place.clone()).is_none() {
            declared(resolved(node), &place, found);
        }
    }
    let inner = [&node["items"], &node["additionalProperties"]].into_iter().filter(|inner| inner.is_object());
    for inner in inner {
        declared(resolved(inner), place, found);
    }
}

#[test]
fn the_full_configuration_has_every_key() {
    let mut missing = BTreeMap::new();
    declared(&SCHEMA, "", &mut missing);
    assert!(missing.len() > 100, "{missing:#?}");
    for (_, node) in places(&full()) {
        missing.remove(&std::ptr::from_ref(node).addr());
    }
    assert!(missing.is_empty(), "{:?}", missing.values());
}

#[test]
fn a_default_in_the_schema_is_what_the_reader_uses_without_the_key() {
    let full = full();
    let mut compared = 0;
    for (pointer, node) in places(&full) {
        let Some(default) = node.get("default").or_else(|| resolved(node).get("default")) else { continue };
        // Without any tenant nothing is served, and these two hold all that there are.
        if matches!(pointer.as_str(), "/organizations" | "/instances") {
            continue;
        }
        let read = |value: &Value| {
            let config = parse(&value.to_string(), "", Path::new("/nowhere"), &Environment::empty());
            config.unwrap_or_else(|faults| panic!("{pointer}: {faults}"))
        };
        let without = read(&changed(&full, &pointer, None));
        let with = read(&changed(&full, &pointer, Some(default.clone())));
        assert_eq!(shown(&without), shown(&with), "{pointer}");
        compared += 1;
    }
    assert!(compared > 50, "{compared} were compared");
}

/// A configuration without what tells where its parts stood in the file.
fn shown(config: &crate::config::Config) -> String {
    let warnings: Vec<_> = config.warnings.iter().map(|warning| &warning.message).collect();
    let parameters: BTreeSet<_> = config.policy.instance_query_parameters.iter().collect();
    format!(
        "{:?} {:?} {:?} {:?} {parameters:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {warnings:?}",
        config.server,
        config.upstream,
        config.policy.eligible_plans,
        (config.policy.accounts_max_age, config.policy.remember_denials),
        config.policy.narrowing,
        config.rejected_grace,
        config.endpoints,
        config.tenants.iter().collect::<Vec<_>>(),
        config.credentials,
        config.limits,
        config.cache,
        config.log,
        config.metrics
    )
}

#[test]
fn a_missing_key_is_refused_by_both_or_by_neither() {
    let full = full();
    for (pointer, _) in places(&full).into_iter().skip(1) {
        let without = changed(&full, &pointer, None);
        let reader = read(&without.to_string());
        let takes = VALIDATOR.is_valid(&without);
        match reader {
            Err(faults) if takes => assert!(only_the_reader_can_tell(&faults), "{pointer}: {faults}"),
            Ok(_) | Err(_) => {
                assert_eq!(reader.is_ok(), takes, "{pointer}: {:?}", complaints(&without.to_string()));
            }
        }
    }
}

/// The values that are tried for every key.
fn anything() -> Vec<Value> {
    let values = r#"[null, true, 0, 1, -1, 1.5, 404, 100000000, "", " ", nonsense and more, "two\nlines", "10", 10s, 1h 30m,
        PT5M, 0s, 5 parsecs, 64MiB, "1000", 10/s, 0/s, 10/d, "0600", "https://example.com",
        "https://user:password@example.com", "ftp://example.com", "127.0.0.1:7", "unix:/run/x.sock", "unix:relative",
        "localhost:7", "::1", 10.0.0.0/8, us, US, ES256, plain, json, "info,hyper=debug", WARN, all, acme, Acme,
        organizations/acme, /reports, /reports/, "[]", [], [null], [nonsense and more], [[]], [{}], {}, { nonsense: 1 }]"#;
    value(values).as_array().expect("a list").clone()
}

/// Of what one value does not tell, and a schema therefore can't.
const READER_ALONE: [&str; 11] = [
    "is not configured",
    "may not be named at this listener",
    "write the name of a group that is in /etc/group",
    "at most a quarter of",
    "found less than one answer may take",
    "(`upstream.max_response_bytes`) are not taken",
    "asks for this instance with its own",
    "found `Acme`; write `acme`",
    "the account that owns the client, for the token URL",
    "whose place it takes",
    "whose client asks for it, is in",
];

fn only_the_reader_can_tell(faults: &Faults) -> bool {
    faults.iter().all(|fault| READER_ALONE.iter().any(|part| fault.message.contains(part)))
}

/// A section of the full configuration with the fewest tenants that it may name. It is read thousands of times.
fn alone(full: &Value, section: &str) -> Value {
    let mut alone = value(
        "organizations: [{ id: acme, region: eu, credential: { account: acme, client_id: abc, client_secret: { file: a } } }]
instances: [{ name: globex, organization: Talkdesk, credential: { client_id: def, client_secret: { file: b } } }]",
    );
    alone[section] = full[section].clone();
    assert!(read(&alone.to_string()).is_ok() && VALIDATOR.is_valid(&alone), "{section}");
    alone
}

#[test]
fn the_schema_accepts_what_the_reader_accepts_and_refuses_what_it_refuses_by_type() {
    let full = full();
    let (mut strict, mut loose) = (BTreeSet::new(), BTreeSet::new());
    let (mut sections, mut tried) = (BTreeMap::new(), BTreeSet::new());
    for (pointer, node) in places(&full).into_iter().skip(1) {
        if !tried.insert(std::ptr::from_ref(node).addr()) {
            continue;
        }
        let section = pointer.split('/').nth(1).expect("a name").to_owned();
        let full = sections.entry(section).or_insert_with_key(|section| alone(&full, section));
        let is_container = full.pointer(&pointer).is_some_and(|value| value.is_object() || value.is_array());
        // One text is like another where a mapping or a list is expected.
        let tells = |other: &Value| !is_container || !other.is_string() || *other == json!("all");
        for other in anything().into_iter().filter(tells) {
            let tried = changed(full, &pointer, Some(other.clone()));
            let (reader, schema) = (read(&tried.to_string()), VALIDATOR.is_valid(&tried));
            match reader {
                // If every method is allowed, any word is one; a schema that accepted numbers would be no help.
                Ok(_) if !schema && pointer.ends_with("/methods/0") && other.is_number() => {}
                Ok(_) if !schema => {
                    strict.insert(format!("{pointer}: {other}"));
                }
                Err(faults) if schema && !only_the_reader_can_tell(&faults) => {
                    loose.insert(format!("{pointer}: {other}   {faults}"));
                }
                _ => {}
            }
        }
    }
    assert!(strict.is_empty() && loose.is_empty(), "too strict: {strict:#?}\ntoo loose: {loose:#?}");
}

#[test]
fn a_configuration_of_no_tenants_or_no_mapping_is_refused_by_both() {
    for text in
        ["{}", "[]", "server: {}", "organizations: []", "instances: []\norganizations: []", "nonsense"]
    {
        assert!(read(text).is_err(), "{text}");
        assert!(!complaints(text).is_empty(), "{text}");
    }
    assert_eq!(complaints(&with_acme("")), Vec::<String>::new());
}

#[test]
fn the_reference_is_up_to_date_and_describes_every_key() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let written = fs::read_to_string(page).expect("the page");
    assert!(
        written == markdown(),
        "docs/configuration.md is not up to date; write it again with \
         `cargo run -- schema --markdown > docs/configuration.md`"
    );
    for (pointer, node) in places(&full()).into_iter().skip(1) {
        let told = node["description"].as_str().or(resolved(node)["description"].as_str());
        let is_item = pointer.ends_with(|last: char| last.is_ascii_digit());
        assert!(is_item || told.is_some_and(|told| told.len() > 5), "{pointer} has no description");
    }
}
