//! The body of a page: counts, records and links, in the shape that Talkdesk documents.
//!
//! Links are absolute URLs of the API's own host, whatever name the request used. Monthly usage has its links at
//! the top level of the body, and one more, `show`.
//!
//! Deliberately absent: response fields (`answer.rs`).

use super::endpoint::Endpoint;
use super::json_text::{ObjectText, quoted};
use super::query::Query;
use super::selection::Selection;

/// Writes the body.
pub(super) fn body(origin: &str, endpoint: Endpoint, query: &Query, selection: &Selection) -> String {
    let pages = selection.total.div_ceil(query.per_page);
    let records = format!("[{}]", selection.records.join(","));
    let text = ObjectText::new()
        .literal("count", selection.records.len())
        .literal("page", query.page)
        .literal("per_page", query.per_page)
        .literal("total", selection.total)
        .literal("total_pages", pages)
        .literal("_embedded", ObjectText::new().literal(endpoint.embedded(), records).finish());
    let links = links(origin, endpoint, query, pages);
    if endpoint == Endpoint::MonthlyUsage {
        let show = format!("{origin}{}", endpoint.path());
        let text = links.into_iter().fold(text, |text, (name, url)| text.literal(name, link(&url)));
        return text.literal("show", link(&show)).finish();
    }
    let object =
        links.into_iter().fold(ObjectText::new(), |object, (name, url)| object.literal(name, link(&url)));
    text.literal("_links", object.finish()).finish()
}

fn link(url: &str) -> String {
    format!("{{\"href\":{}}}", quoted(url))
}

fn links(origin: &str, endpoint: Endpoint, query: &Query, pages: u64) -> Vec<(&'static str, String)> {
    let last = pages.max(1);
    let url = |page: u64| url(origin, endpoint, query, page);
    let mut links = vec![("self", url(query.page)), ("first", url(1)), ("last", url(last))];
    if query.page < last {
        links.push(("next", url(query.page + 1)));
    }
    if query.page > 1 {
        links.push(("prev", url((query.page - 1).min(last))));
    }
    links
}

/// The request's own URL with another page.
fn url(origin: &str, endpoint: Endpoint, query: &Query, page: u64) -> String {
    let kept = query.parameters.iter().filter(|(name, _)| name != "page" && name != "per_page");
    let parameters = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(kept)
        .append_pair("page", &page.to_string())
        .append_pair("per_page", &query.per_page.to_string())
        .finish();
    format!("{origin}{}?{parameters}", endpoint.path())
}
