//! The query of a list request, and the page that it selects.
//!
//! The parameters are `filter`, `order_by`, `page` or `cursor`, and `per_page`. Links are absolute URLs of the API; the
//! `Host` field of the request does not change them. The last page has no link `next`. Pages of monthly usage have no
//! counts, and they contain their links both at the top level and in `_links`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::filter::Filter;
use super::options::{FilterMode, Quirks};
use super::records::{Record, Row, attributes};
use super::reply::{FieldError, JsonObject};
use super::tenants::Endpoint;

const DEFAULT_PER_PAGE: u64 = 50;

/// The query of an API request.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) filter: Option<Filter>,
    order: Option<Order>,
    position: Position,
    per_page: u64,
    /// `filter` and `order_by` as they were received, for the links.
    kept: Vec<(&'static str, String)>,
}

/// The member that the records are sorted by.
#[derive(Clone, Debug)]
struct Order {
    attribute: String,
    descending: bool,
}

/// The position of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// The number of the page, from 1.
    Page(u64),
    /// The number of records before the page.
    Cursor(u64),
}

/// The parameters of a request, and the errors found so far.
struct Parameters {
    given: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl Query {
    /// Reads a query. The error has an entry for each wrong parameter.
    pub(super) fn read(
        text: &str,
        endpoint: Endpoint,
        quirks: &Quirks,
        max_per_page: u64,
    ) -> Result<Self, Vec<FieldError>> {
        let attributes = attributes(endpoint, &quirks.account_field);
        let given = form_urlencoded::parse(text.as_bytes()).into_owned().collect();
        let mut parameters = Parameters { given, errors: Vec::new() };
        let mut names = vec!["order_by", "page", "per_page"];
        names.extend((endpoint != Endpoint::Accounts).then_some("filter"));
        names.extend(quirks.cursors.then_some("cursor"));
        parameters.check_names(&names, quirks.refuse_unknown_parameters);
        let filter_text = parameters.value("filter").filter(|_| names.contains(&"filter"));
        let order_text = parameters.value("order_by");
        let per_page = parameters.number("per_page", max_per_page);
        let query = Self {
            filter: filter_text.as_deref().and_then(|text| parameters.filter(text, &attributes, quirks)),
            order: order_text.as_deref().and_then(|text| parameters.order(text, &attributes)),
            position: parameters.position(quirks.cursors),
            per_page: per_page.unwrap_or_else(|| DEFAULT_PER_PAGE.min(max_per_page)),
            kept: [("filter", filter_text), ("order_by", order_text)]
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect(),
        };
        if parameters.errors.is_empty() { Ok(query) } else { Err(parameters.errors) }
    }

    /// The number of records before the page.
    fn offset(&self) -> u64 {
        match self.position {
            Position::Page(page) => (page - 1).saturating_mul(self.per_page),
            Position::Cursor(offset) => offset,
        }
    }

    /// The number of the page, from 1.
    fn page(&self) -> u64 {
        match self.position {
            Position::Page(page) => page,
            Position::Cursor(offset) => (offset / self.per_page).saturating_add(1),
        }
    }
}

impl Position {
    /// The parameter of a link to this position.
    fn parameter(self) -> (&'static str, String) {
        match self {
            Self::Page(page) => ("page", page.to_string()),
            Self::Cursor(offset) => ("cursor", URL_SAFE_NO_PAD.encode(format!("after:{offset}"))),
        }
    }

    fn from_cursor(text: &str) -> Option<Self> {
        let decoded = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        Some(Self::Cursor(whole_number(decoded.strip_prefix("after:")?)?))
    }
}

impl Parameters {
    fn wrong(&mut self, name: &str, description: impl Into<String>) {
        self.errors.push(FieldError { name: name.to_owned(), description: description.into() });
    }

    fn check_names(&mut self, known: &[&str], refuse_unknown: bool) {
        for name in known {
            if self.given.iter().filter(|(given, _)| given == name).count() > 1 {
                self.wrong(name, "must not be repeated");
            }
        }
        if refuse_unknown {
            let names: Vec<String> = self.given.iter().map(|(name, _)| name.clone()).collect();
            for name in names.iter().filter(|name| !known.contains(&name.as_str())) {
                self.wrong(name, "is not a parameter of this endpoint");
            }
        }
    }

    fn value(&self, name: &str) -> Option<String> {
        self.given.iter().find(|(given, _)| given == name).map(|(_, value)| value.clone())
    }

    fn number(&mut self, name: &str, largest: u64) -> Option<u64> {
        let text = self.value(name)?;
        let number = whole_number(&text).filter(|number| (1..=largest).contains(number));
        if number.is_none() && largest == u64::MAX {
            self.wrong(name, "must be a whole number, at least 1");
        } else if number.is_none() {
            self.wrong(name, format!("must be a whole number from 1 to {largest}"));
        }
        number
    }

    fn position(&mut self, cursors: bool) -> Position {
        let page = self.number("page", u64::MAX);
        let Some(cursor) = self.value("cursor").filter(|_| cursors) else {
            return Position::Page(page.unwrap_or(1));
        };
        if self.value("page").is_some() {
            self.wrong("cursor", "must not be combined with page");
        }
        Position::from_cursor(&cursor).unwrap_or_else(|| {
            self.wrong("cursor", "must come from a link");
            Position::Page(1)
        })
    }

    fn filter(&mut self, text: &str, attributes: &[&str], quirks: &Quirks) -> Option<Filter> {
        let parsed = match quirks.filter {
            FilterMode::Applied => Filter::parse(text, attributes, &quirks.missing_operators).map(Some),
            FilterMode::Ignored => Ok(None),
            FilterMode::Refused => Err("filters are not supported".to_owned()),
        };
        parsed.unwrap_or_else(|error| {
            self.wrong("filter", error);
            None
        })
    }

    fn order(&mut self, text: &str, attributes: &[&str]) -> Option<Order> {
        let (name, direction) = text.split_once(':').unwrap_or((text, "asc"));
        if !attributes.contains(&name) {
            self.wrong("order_by", format!("unknown field {name:?}"));
            return None;
        }
        if !matches!(direction, "asc" | "desc") {
            self.wrong("order_by", "must have the form field, field:asc or field:desc");
        }
        Some(Order { attribute: name.to_owned(), descending: direction == "desc" })
    }
}

fn whole_number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// A page of records.
pub(super) struct Page<'a> {
    endpoint: Endpoint,
    query: &'a Query,
    records: Vec<Record<'a>>,
    /// The number of records that the query selects.
    total: u64,
}

impl<'a> Page<'a> {
    /// Selects the records of a page. `record` makes a record. Without a filter and an order, only the records of the
    /// page are made.
    pub(super) fn select(
        endpoint: Endpoint,
        query: &'a Query,
        rows: Vec<Row<'_>>,
        record: impl Fn(Row<'_>) -> Record<'a>,
    ) -> Self {
        let offset = usize::try_from(query.offset()).unwrap_or(usize::MAX);
        let length = usize::try_from(query.per_page).unwrap_or(usize::MAX);
        let (total, records) = if query.filter.is_none() && query.order.is_none() {
            (rows.len(), rows.into_iter().skip(offset).take(length).map(record).collect())
        } else {
            let selects =
                |record: &Record<'_>| query.filter.as_ref().is_none_or(|filter| filter.selects(record));
            let mut records: Vec<Record<'a>> = rows.into_iter().map(record).filter(selects).collect();
            if let Some(Order { attribute, descending }) = &query.order {
                records.sort_by(|one, other| {
                    let ascending = one.value(attribute).sort_order(other.value(attribute));
                    if *descending { ascending.reverse() } else { ascending }
                });
            }
            (records.len(), records.into_iter().skip(offset).take(length).collect())
        };
        Self { endpoint, query, records, total: total as u64 }
    }

    /// Whether the page comes after the last one.
    pub(super) fn is_beyond_end(&self) -> bool {
        self.query.offset() > 0 && self.query.offset() >= self.total
    }

    /// The body of the answer. `origin` is the base of the links.
    pub(super) fn body(&self, origin: &str, quirks: &Quirks) -> String {
        let embedded = JsonObject::default().with(self.endpoint.embedded(), &self.records);
        let links = self.links(origin, quirks.cursors);
        let with_links = |object| {
            let link = |url| JsonObject::default().with("href", url);
            links.iter().fold(object, |object: JsonObject<'_>, (name, url)| object.with(name, &link(url)))
        };
        let object = if self.endpoint == Endpoint::MonthlyUsage {
            with_links(JsonObject::default().with("_embedded", &embedded))
        } else {
            let counts = [
                ("count", self.records.len() as u64),
                ("page", self.query.page()),
                ("per_page", self.query.per_page),
                ("total", self.total),
                ("total_pages", self.total_pages()),
            ];
            let is_shown = |name| !quirks.omit_counts || matches!(name, "page" | "per_page");
            let shown = counts.into_iter().filter(|(name, _)| is_shown(*name));
            let object =
                shown.fold(JsonObject::default(), |object, (name, number)| object.with(name, &number));
            object.with("_embedded", &embedded)
        };
        object.with("_links", &with_links(JsonObject::default())).to_string()
    }

    fn total_pages(&self) -> u64 {
        self.total.div_ceil(self.query.per_page)
    }

    fn links(&self, origin: &str, cursors: bool) -> Vec<(&'static str, String)> {
        let (offset, per_page) = (self.query.offset(), self.query.per_page);
        let last = self.total_pages().max(1);
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

    /// The URL of the request, but for another position.
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
