//! A page: which records it has, and its body.
//!
//! The links are absolute URLs of the API's own host, whatever `Host` the request has. The last page has no link
//! `next`. Monthly usage has no counts, and its links stand at the top level of the body as well as in `_links`.

use super::endpoint::{Endpoint, Members};
use super::filter::Filter;
use super::json::{ObjectText, Value};
use super::options::Quirks;
use super::query::{Position, Query};
use super::records::{self, Row};

/// A page of records.
pub(super) struct Page<'a> {
    endpoint: Endpoint,
    query: &'a Query,
    /// The records, as JSON.
    records: Vec<String>,
    /// The number of records that the query selects.
    total: u64,
}

impl<'a> Page<'a> {
    /// Selects the records of a page. Without filter and order, only these records are made.
    pub(super) fn select(
        endpoint: Endpoint,
        members: &Members<'_>,
        rows: Vec<Row<'_>>,
        query: &'a Query,
        origin: &str,
    ) -> Self {
        let offset = usize::try_from(query.offset()).unwrap_or(usize::MAX);
        let length = usize::try_from(query.per_page).unwrap_or(usize::MAX);
        let values = |row: Row<'_>| records::values(endpoint, row, origin);
        let (total, page): (usize, Vec<Vec<Value>>) = if query.filter.is_none() && query.order.is_none() {
            (rows.len(), rows.into_iter().skip(offset).take(length).map(values).collect())
        } else {
            let selects = |record: &Vec<Value>| {
                query.filter.as_ref().is_none_or(|filter: &Filter| filter.selects(record))
            };
            let mut records: Vec<Vec<Value>> = rows.into_iter().map(values).filter(selects).collect();
            if let Some(order) = query.order {
                records.sort_by(|one, other| {
                    let ascending = one[order.member].sort_order(&other[order.member]);
                    if order.descending { ascending.reverse() } else { ascending }
                });
            }
            (records.len(), records.into_iter().skip(offset).take(length).collect())
        };
        let records = page.iter().map(|record| members.object(record)).collect();
        Self { endpoint, query, records, total: total as u64 }
    }

    /// Whether it comes after the last page.
    pub(super) fn is_beyond_end(&self) -> bool {
        self.query.offset() > 0 && self.query.offset() >= self.total
    }

    /// The body of the answer.
    pub(super) fn body(&self, origin: &str, quirks: &Quirks) -> String {
        let embedded = format!("[{}]", self.records.join(","));
        let embedded = ObjectText::new().literal(self.endpoint.embedded(), embedded).finish();
        let links = self.links(origin, quirks.cursors);
        let with_links = |object: ObjectText| {
            links.iter().fold(object, |object, (name, url)| {
                object.literal(name, ObjectText::new().string("href", url).finish())
            })
        };
        let all_links = with_links(ObjectText::new()).finish();
        if self.endpoint == Endpoint::MonthlyUsage {
            let object = with_links(ObjectText::new().literal("_embedded", embedded));
            return object.literal("_links", all_links).finish();
        }
        let counts = [
            ("count", self.records.len() as u64, true),
            ("page", self.query.page(), false),
            ("per_page", self.query.per_page, false),
            ("total", self.total, true),
            ("total_pages", self.pages(), true),
        ];
        let shown = counts.into_iter().filter(|(_, _, counted)| !(quirks.omit_counts && *counted));
        let object = shown.fold(ObjectText::new(), |object, (name, number, _)| object.literal(name, number));
        object.literal("_embedded", embedded).literal("_links", all_links).finish()
    }

    fn pages(&self) -> u64 {
        self.total.div_ceil(self.query.per_page)
    }

    fn links(&self, origin: &str, cursors: bool) -> Vec<(&'static str, String)> {
        let (offset, per_page) = (self.query.offset(), self.query.per_page);
        let last = self.pages().max(1);
        let url = |position: Position| self.url(origin, position);
        let neighbour = |offset: u64| {
            url(if cursors { Position::Cursor(offset) } else { Position::Page(offset / per_page + 1) })
        };
        let mut links = vec![
            ("self", url(self.query.position)),
            ("first", url(Position::Page(1))),
            ("last", url(Position::Page(last))),
        ];
        let next = offset.saturating_add(per_page);
        if next < self.total {
            links.push(("next", neighbour(next)));
        }
        if offset > 0 {
            links.push(("prev", neighbour(offset.saturating_sub(per_page).min((last - 1) * per_page))));
        }
        if self.endpoint == Endpoint::MonthlyUsage {
            links.push(("show", format!("{origin}{}", self.endpoint.path())));
        }
        links
    }

    /// The request's own URL at another position.
    fn url(&self, origin: &str, position: Position) -> String {
        let (name, value) = position.parameter();
        let parameters = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&self.query.kept)
            .append_pair(name, &value)
            .append_pair("per_page", &self.query.per_page.to_string())
            .finish();
        format!("{origin}{}?{parameters}", self.endpoint.path())
    }
}
