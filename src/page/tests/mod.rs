//! Tests of the reading of bodies as a whole.

mod account;
mod content;
mod json;
mod naive;

use super::links::{ApiOrigin, Splice};
use super::{AccountViolation, Count, PageContent, TotalCounts, Unfit, read};
use crate::domain::entitlement::AccountScope;

const OWN: &str = "5ea75fe7aa224700012eae40";

fn origin() -> ApiOrigin {
    ApiOrigin::new("https://api.example.com".into())
}

fn account_scope() -> AccountScope {
    AccountScope { field: "account_id".into(), account: OWN.parse().expect("an id") }
}

/// The number of links, if the body is fit.
fn outcome(body: &str, scoped: bool) -> Result<usize, Unfit> {
    read(body.as_bytes(), &origin(), scoped.then_some(&account_scope())).map(|content| content.links.len())
}

fn content(body: &str) -> PageContent {
    read(body.as_bytes(), &origin(), None).expect("JSON")
}

/// The text at the splices of a body.
fn spliced_texts<'b>(body: &'b str, splices: &[Splice]) -> Vec<&'b str> {
    let place = |place: u64| usize::try_from(place).expect("within the body");
    splices.iter().map(|splice| &body[place(splice.start)..place(splice.start + splice.length)]).collect()
}
