//! Links in bodies and fields: spliced, they are what a tree of the body says they are, in pieces or in one.

use billing_insights_proxy::inspect::inspect;
use billing_insights_proxy::links::{Base, Origin, rewritten_field, spliced, spliced_length};
use billing_insights_proxy::rewrite::Rewriter;
use bytes::Bytes;
use serde_json::Value;

use crate::lines::{cuts_and_body, pieces};

const ORIGIN: &str = "https://api.io";
const BASE: &str = "http://localhost:8080/organizations/acme";

pub fn run(data: &[u8]) {
    let (cuts, body) = cuts_and_body(data);
    let (origin, base) =
        (Origin::new(ORIGIN.into()), Base::new("http://localhost:8080", Some("organizations/acme")));
    fields(body, &origin, &base);
    let body = Bytes::copy_from_slice(body);
    let inspection = inspect(&body, &origin, None);
    let in_pieces = rewritten(&body, cuts, &origin, &base);
    let Ok(inspection) = inspection else {
        assert!(in_pieces.is_err(), "only in pieces is it JSON");
        return;
    };
    let whole = spliced(&body, &inspection.links, &base).concat();
    assert_eq!(whole.len() as u64, spliced_length(&body, &inspection.links, &base));
    assert_eq!(in_pieces.as_deref(), Ok(&whole[..]), "cuts decide");
    assert!(!inspection.links.is_empty() || whole == body, "nothing else changes");
    let Ok(mut tree) = serde_json::from_slice::<Value>(&body) else { return };
    replace(&mut tree);
    assert_eq!(serde_json::from_slice::<Value>(&whole).expect("it is still JSON"), tree);
    let again = inspect(&whole, &origin, None).expect("it is still JSON");
    assert!(again.links.is_empty(), "a link is left");
    assert_eq!(again.counts, inspection.counts);
}

fn rewritten(body: &Bytes, cuts: &[u8], origin: &Origin, base: &Base) -> Result<Vec<u8>, String> {
    let mut rewriter = Rewriter::new(origin.clone(), base.clone());
    let mut out = Vec::new();
    for piece in pieces(body, cuts) {
        let pieces = rewriter.feed(&body.slice_ref(piece)).map_err(|error| error.to_string())?;
        pieces.iter().for_each(|piece| out.extend_from_slice(piece));
    }
    rewriter.finish().map_err(|(error, _)| error.to_string())?;
    Ok(out)
}

/// Every `href` that is a string and leads to the origin leads to the base.
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

fn fields(value: &[u8], origin: &Origin, base: &Base) {
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
