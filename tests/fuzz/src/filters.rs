//! Filters: what is parsed is printed so that it is parsed as the same, and a composed one keeps what was composed inside
//! its parentheses, however often it is composed.

use billing_insights_proxy::domain::filter::{AccountFilter, Bound, compose, parse};

use crate::requests::is_enclosed;

const OWN: &str = "5ea75fe7aa224700012eae40";

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    configured(text);
    let Ok(filter) = parse(text) else { return };
    assert!(!text.contains('\\') && !text.contains('\0'), "it can be read in two ways");
    let printed = filter.to_string();
    assert_eq!(parse(&printed).as_ref(), Ok(&filter), "{printed}");
    let ours = AccountFilter::default().for_account(OWN.parse().expect("an id"));
    let once = compose(&ours, Some(&filter));
    let rest = once.strip_prefix(&ours.to_string()).expect("ours first");
    assert!(rest.is_empty() || is_enclosed(rest), "{once}");
    let again = parse(&once).expect("a filter");
    assert_eq!(compose(&ours, Some(&again)), once);
    assert!(again.conjuncts().contains(&&ours));
    let bound = filter.upper_bound("month", &|text, bound| Some((text.to_owned(), bound == Bound::Included)));
    assert!(bound.is_none_or(|(bound, _)| printed.contains(&bound.replace('\'', "''"))));
}

/// As the operator may write it.
fn configured(text: &str) {
    let Ok(filter) = text.parse::<AccountFilter>() else { return };
    let ours = filter.for_account(OWN.parse().expect("an id"));
    assert_eq!(
        ours.to_string().matches(OWN).count(),
        text.matches("{account_id}").count() + text.matches(OWN).count()
    );
    assert_eq!(parse(&ours.to_string()), Ok(ours.clone()));
    let once = compose(&ours, None);
    assert_eq!(compose(&ours, Some(&parse(&once).expect("a filter"))), once);
}
