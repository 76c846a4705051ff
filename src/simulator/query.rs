//! The query of an API request: `filter`, `order_by`, `page` or `cursor`, and `per_page`, each at most once.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::endpoint::{Endpoint, Members};
use super::filter::Filter;
use super::options::{FilterMode, Quirks};
use super::reply::FieldError;

const DEFAULT_PER_PAGE: u64 = 50;

/// A query that was understood.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) filter: Option<Filter>,
    pub(super) order: Option<Order>,
    pub(super) position: Position,
    pub(super) per_page: u64,
    /// `filter` and `order_by` as they were sent, for links.
    pub(super) kept: Vec<(&'static str, String)>,
}

/// What the records are sorted by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    /// The position of the member.
    pub(super) member: usize,
    pub(super) descending: bool,
}

/// Where a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// The number of the page, from 1.
    Page(u64),
    /// The number of records before it.
    Cursor(u64),
}

/// The parameters of a request, and what is wrong with them.
struct Parameters {
    given: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl Query {
    /// Reads a query. The error has an entry for each parameter that is wrong.
    pub(super) fn read(
        text: &str,
        endpoint: Endpoint,
        quirks: &Quirks,
        max_per_page: u64,
    ) -> Result<Self, Vec<FieldError>> {
        let members = Members::new(endpoint, &quirks.account_field);
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
            filter: filter_text.as_deref().and_then(|text| parameters.filter(text, &members, quirks)),
            order: order_text.as_deref().and_then(|text| parameters.order(text, &members)),
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
    pub(super) fn offset(&self) -> u64 {
        match self.position {
            Position::Page(page) => (page - 1).saturating_mul(self.per_page),
            Position::Cursor(offset) => offset,
        }
    }

    /// The number of the page, from 1.
    pub(super) fn page(&self) -> u64 {
        match self.position {
            Position::Page(page) => page,
            Position::Cursor(offset) => (offset / self.per_page).saturating_add(1),
        }
    }
}

impl Position {
    /// As the parameter of a link.
    pub(super) fn parameter(self) -> (&'static str, String) {
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
    fn wrong(&mut self, name: &str, description: &str) {
        self.errors.push(FieldError::new(name, description));
    }

    fn check_names(&mut self, known: &[&str], refuse_unknown: bool) {
        for name in known {
            if self.given.iter().filter(|(given, _)| given == name).count() > 1 {
                self.wrong(name, "must be given once");
            }
        }
        if refuse_unknown {
            let unknown = self.given.iter().filter(|(name, _)| !known.contains(&name.as_str()));
            let unknown: Vec<FieldError> =
                unknown.map(|(name, _)| FieldError::new(name, "is no parameter of this endpoint")).collect();
            self.errors.extend(unknown);
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
            self.wrong(name, &format!("must be a whole number from 1 to {largest}"));
        }
        number
    }

    fn position(&mut self, cursors: bool) -> Position {
        let page = self.number("page", u64::MAX);
        let Some(cursor) = self.value("cursor").filter(|_| cursors) else {
            return Position::Page(page.unwrap_or(1));
        };
        if self.value("page").is_some() {
            self.wrong("cursor", "must not be given together with page");
        }
        Position::from_cursor(&cursor).unwrap_or_else(|| {
            self.wrong("cursor", "must be taken from a link");
            Position::Page(1)
        })
    }

    fn filter(&mut self, text: &str, members: &Members<'_>, quirks: &Quirks) -> Option<Filter> {
        let parsed = match quirks.filter {
            FilterMode::Applied => Filter::parse(text, members, &quirks.missing_operators).map(Some),
            FilterMode::Ignored => Ok(None),
            FilterMode::Refused => Err("filters are not supported".to_owned()),
        };
        parsed.unwrap_or_else(|error| {
            self.wrong("filter", &error);
            None
        })
    }

    fn order(&mut self, text: &str, members: &Members<'_>) -> Option<Order> {
        let (name, direction) = text.split_once(':').unwrap_or((text, "asc"));
        let Some(member) = members.position(name) else {
            self.wrong("order_by", &format!("unknown field {name:?}"));
            return None;
        };
        if !matches!(direction, "asc" | "desc") {
            self.wrong("order_by", "must be written field, field:asc or field:desc");
        }
        Some(Order { member, descending: direction == "desc" })
    }
}

fn whole_number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}
