//! A naive reading of the same body as a tree: for bodies without duplicate members it finds the same.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Map, Value};

use super::{AccountViolation, Count, OWN, Unfit, content, outcome};
use crate::page::links::{Base, spliced};

const FOREIGN: &str = "5ea75fe7aa224700012eae41";
const LINKS: [&str; 3] = ["_links", "next", "self"];

/// A string of JSON whose first character is escaped.
fn quoted(text: &str, escaped: bool) -> String {
    match text.chars().next() {
        Some(first) if escaped => format!(r#""\u{:04x}{}""#, u32::from(first), &text[first.len_utf8()..]),
        _ => format!("\"{text}\""),
    }
}

fn json() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "account_id",
        "href",
        "id",
        "_embedded",
        "total",
        "total_pages",
        "_links",
        "next",
        "self",
        "other",
    ]);
    let text = prop::sample::select(vec![
        OWN,
        FOREIGN,
        "é",
        "https://api.example.com/a",
        r"https:\/\/api.example.com\/a",
        "HTTPS://api.example.com:443?x",
        "https://api.example.com.evil",
    ]);
    let number = prop::sample::select(vec!["0", "12", "-1", "1.0", "1e3", "18446744073709551616"]);
    let scalar = prop_oneof![
        3 => (text, any::<bool>()).prop_map(|(text, escaped)| quoted(text, escaped)),
        1 => number.prop_map(str::to_owned),
        1 => "true|false|null",
    ];
    let space = "|||| |\n\t";
    scalar.prop_recursive(6, 60, 6, move |value| {
        let member = (any::<bool>(), space, value.clone(), space);
        let object = prop::collection::btree_map(name.clone(), member, 0..6).prop_map(written);
        let array = (space, prop::collection::vec(value, 0..6))
            .prop_map(|(space, elements)| format!("[{space}{}{space}]", elements.join(&format!("{space},"))));
        prop_oneof![3 => object, 1 => array]
    })
}

fn written(members: BTreeMap<&str, (bool, String, String, String)>) -> String {
    let member = |(name, (escaped, before, value, after)): (&str, (bool, String, String, String))| {
        format!("{}{before}:{after}{value}{before}", quoted(name, escaped))
    };
    format!("{{{}}}", members.into_iter().map(member).collect::<Vec<_>>().join(","))
}

/// Anything, and what has the form of a page.
fn body() -> impl Strategy<Value = String> {
    let record = (json(), any::<bool>())
        .prop_map(|(value, own)| format!(r#"{{"account_id":"{}","a":{value}}}"#, if own { OWN } else { "" }));
    let records = prop::collection::vec(prop_oneof![4 => record, 1 => json()], 0..4);
    prop_oneof![
        json(),
        records.prop_map(|records| format!(r#"{{"_embedded":{{"a":[{}]}}}}"#, records.join(","))),
        (json(), json(), json()).prop_map(|(embedded, links, total)| format!(
            r#"{{"_embedded":{embedded},"_links":{links},"total":{total}}}"#
        )),
    ]
}

/// Replaces the links of a tree, and counts them.
fn replace(tree: &mut Value) -> usize {
    match tree {
        Value::Array(elements) => elements.iter_mut().map(replace).sum(),
        Value::Object(members) => members.iter_mut().map(|(name, value)| replace_member(name, value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

fn replace_member(name: &str, value: &mut Value) -> usize {
    let Value::String(link) = value else { return replace(value) };
    let origins = ["https://api.example.com:443", "https://api.example.com"];
    let lower = link.to_ascii_lowercase();
    let origin = origins.into_iter().find(|origin| name == "href" && lower.starts_with(origin));
    let Some(rest) = origin.map(|origin| &link[origin.len()..]) else { return 0 };
    if !rest.is_empty() && !rest.starts_with(['/', '?', '#']) {
        return 0;
    }
    *link = format!("http://localhost{rest}");
    1
}

fn count(value: &Value) -> Count {
    match value {
        Value::Null | Value::Bool(_) => Count::Absent,
        Value::Number(number) => number.as_u64().map_or(Count::Unreadable, Count::Number),
        Value::String(_) | Value::Array(_) | Value::Object(_) => Count::Unreadable,
    }
}

fn records(tree: &Value) -> Vec<&Value> {
    let lists = tree["_embedded"].as_object().into_iter().flat_map(Map::values);
    lists.filter_map(Value::as_array).flatten().collect()
}

/// Every violation of a tree, in no order.
#[derive(Default)]
struct Violations(BTreeSet<&'static str>);

impl Violations {
    fn root(&mut self, tree: &Value) {
        let Value::Object(members) = tree else {
            self.elsewhere(tree);
            return;
        };
        for (name, value) in members {
            match (name.as_str(), value) {
                ("_embedded", Value::Object(lists)) => lists.values().for_each(|list| self.list(list)),
                (name, Value::Object(links)) if LINKS.contains(&name) => self.links(links),
                (_, Value::Object(_) | Value::Array(_)) => self.elsewhere(value),
                ("account_id", scalar) => self.id(scalar),
                _ => {}
            }
        }
    }

    fn elsewhere(&mut self, value: &Value) {
        self.0.insert("Elsewhere");
        self.nested(value);
    }

    fn list(&mut self, list: &Value) {
        match list {
            Value::Null | Value::Bool(_) => {}
            Value::Array(records) => records.iter().for_each(|record| self.record(record)),
            Value::Number(_) | Value::String(_) | Value::Object(_) => self.elsewhere(list),
        }
    }

    fn record(&mut self, record: &Value) {
        if record.is_array() {
            self.elsewhere(record);
            return;
        }
        if record.get("account_id").is_none_or(|id| id.is_object() || id.is_array()) {
            self.0.insert("Unmarked");
        }
        self.nested(record);
    }

    fn links(&mut self, links: &Map<String, Value>) {
        for (name, value) in links {
            match (name.as_str(), value) {
                (_, Value::Object(links)) => self.links(links),
                (_, Value::Array(_)) => self.elsewhere(value),
                ("account_id", scalar) => self.id(scalar),
                _ => {}
            }
        }
    }

    fn nested(&mut self, value: &Value) {
        match value {
            Value::Array(elements) => elements.iter().for_each(|element| self.nested(element)),
            Value::Object(members) => members.iter().for_each(|(name, value)| {
                if name == "account_id" {
                    self.id(value);
                }
                self.nested(value);
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn id(&mut self, value: &Value) {
        match value.as_str() {
            Some(OWN) => {}
            Some(FOREIGN) => drop(self.0.insert("Foreign")),
            _ => drop(self.0.insert("Unmarked")),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn what_is_found_is_what_a_tree_holds(body in body()) {
        let tree: Value = serde_json::from_str(&body).expect("JSON");
        let found = content(&body);
        let is_object = |name: &str| tree[name].is_object();
        prop_assert_eq!(found.counts.total, count(&tree["total"]));
        prop_assert_eq!(found.counts.total_pages, count(&tree["total_pages"]));
        prop_assert_eq!(found.page.is_page, is_object("_embedded") || LINKS.into_iter().any(is_object));
        prop_assert_eq!(found.page.records, records(&tree).len() as u64);
        let ids = records(&tree).into_iter().filter(|record| record["id"].is_string() || record["id"].is_u64());
        prop_assert_eq!(found.record_ids.len(), ids.count());

        let mut replaced = tree;
        prop_assert_eq!(found.links.len(), replace(&mut replaced));
        let joined = spliced(&Bytes::from(body), &found.links, &Base::new("http://localhost", None)).concat();
        prop_assert_eq!(serde_json::from_slice::<Value>(&joined).expect("JSON"), replaced);
    }

    #[test]
    fn a_body_is_unfit_for_a_reason_that_a_tree_shows(body in body()) {
        let tree: Value = serde_json::from_str(&body).expect("JSON");
        let mut violations = Violations::default();
        violations.root(&tree);
        match outcome(&body, true) {
            Ok(_) => prop_assert!(violations.0.is_empty(), "{:?} in {}", violations.0, body),
            Err(Unfit::AccountViolation(violation)) => {
                prop_assert!(violations.0.remove(&*format!("{violation:?}")), "{}: {}", violation, body);
                let is_general = violation == AccountViolation::Elsewhere;
                prop_assert!(!is_general || violations.0.is_empty(), "{:?} in {}", violations.0, body);
            }
            Err(Unfit::NotJson(reason)) => prop_assert!(false, "{}", reason),
        }
    }

    #[test]
    fn links_have_the_same_positions_behind_a_byte_order_mark(body in body()) {
        let (plain, marked) = (content(&body), content(&format!("\u{feff}{body}")));
        let starts = |links: &[super::Splice], added: u64| {
            links.iter().map(|link| (link.start + added, link.length)).collect::<Vec<_>>()
        };
        prop_assert_eq!(starts(&plain.links, 3), starts(&marked.links, 0));
    }
}
