//! Links in bodies and fields: spliced, they are what a tree of the body says they are.

use billing_insights_proxy::page;
use billing_insights_proxy::page::links::{ApiOrigin, Base, rewritten_field, spliced, spliced_length};
use bytes::Bytes;
use serde_json::Value;

const ORIGIN: &str = "https://api.io";
const BASE: &str = "http://localhost:8080/organizations/acme";

pub fn run(body: &[u8]) {
    let (origin, base) =
        (ApiOrigin::new(ORIGIN.into()), Base::new("http://localhost:8080", Some("organizations/acme")));
    fields(body, &origin, &base);
    let body = Bytes::copy_from_slice(body);
    let Ok(content) = page::read(&body, &origin, None) else { return };
    let whole = spliced(&body, &content.links, &base).concat();
    assert_eq!(whole.len() as u64, spliced_length(&body, &content.links, &base));
    assert!(!content.links.is_empty() || whole == body, "nothing else changes");
    let Ok(mut tree) = serde_json::from_slice::<Value>(&body) else { return };
    replace(&mut tree);
    assert_eq!(serde_json::from_slice::<Value>(&whole).expect("it is still JSON"), tree);
    let again = page::read(&whole, &origin, None).expect("it is still JSON");
    assert!(again.links.is_empty(), "a link is left");
    assert_eq!(again.counts, content.counts);
}

fn replace(tree: &mut Value) {
    match tree {
        Value::Array(elements) => elements.iter_mut().for_each(replace),
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(link) if name == "href" => *link = replaced(link),
                    other => replace(other),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn replaced(link: &str) -> String {
    for origin in [format!("{ORIGIN}:443"), ORIGIN.to_owned()] {
        if let Some((head, rest)) = link.split_at_checked(origin.len())
            && head.eq_ignore_ascii_case(&origin)
            && (rest.is_empty() || rest.starts_with(['/', '?', '#']))
        {
            return format!("{BASE}{rest}");
        }
    }
    link.to_owned()
}

fn fields(value: &[u8], origin: &ApiOrigin, base: &Base) {
    let Some(rewritten) = rewritten_field(value, origin, base) else {
        assert!(origin.length_in(value).is_none(), "a value that is a link of the origin's");
        return;
    };
    let occurrences =
        |text: &[u8]| text.windows(BASE.len()).filter(|window| *window == BASE.as_bytes()).count();
    let made = occurrences(&rewritten) - occurrences(value);
    assert!(made > 0);
    assert!(
        rewritten_field(&rewritten, origin, base).is_none_or(|again| again != rewritten),
        "it comes to an end"
    );
}
