//! The reading of a body: what is found is what a tree of the same body holds.

use billing_insights_proxy::page;
use billing_insights_proxy::page::links::ApiOrigin;
use billing_insights_proxy::page::{Count, Unfit};
use serde::de::IgnoredAny;
use serde_json::Value;

pub fn run(body: &[u8]) {
    let found = page::read(body, &ApiOrigin::new("https://api.io".into()), None);
    let Ok(text) = std::str::from_utf8(body) else {
        assert!(matches!(found, Err(Unfit::NotJson(_))), "invalid UTF-8");
        return;
    };
    let json = text.strip_prefix('\u{feff}').unwrap_or(text);
    let deep = body.iter().filter(|byte| b"[{".contains(byte)).count() > 127;
    // It skips values, so it has no limits of size, and takes lone surrogates too.
    let is_json = serde_json::from_str::<IgnoredAny>(json).is_ok();
    let found = match found {
        Ok(found) => found,
        Err(unfit) => {
            assert!(!is_json || deep, "{unfit}");
            return;
        }
    };
    assert!(is_json, "it is not JSON");
    for link in &found.links {
        let start = usize::try_from(link.start).expect("within the body");
        assert_eq!(body[start - 1], b'"');
        assert!(link.start + link.length < body.len() as u64);
    }
    let Ok(tree) = serde_json::from_str::<Value>(json) else { return };
    // The tree has the last of several members of one name, so it can only have less.
    let lists = tree["_embedded"].as_object().into_iter().flat_map(|lists| lists.values());
    let records = lists.filter_map(Value::as_array).flatten().count();
    assert!(found.page.records >= records as u64);
    if let Count::Number(total) = found.counts.total {
        assert!(tree["total"].as_u64() == Some(total) || !tree["total"].is_number());
    }
}
