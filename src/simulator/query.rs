//! What an API request asks for: a page, accounts, a period.
//!
//! A parameter that the API does not know is ignored. Deliberately absent: judging whether the accounts may be
//! seen (`api.rs`).

use jiff::civil::Date;

use super::api_errors::FieldError;
use super::options::Quirks;

/// A query that was understood.
#[derive(Clone, Debug)]
pub(super) struct Query {
    /// From 1.
    pub(super) page: u64,
    pub(super) per_page: u64,
    /// The account ids that are asked for; empty where none is named.
    pub(super) accounts: Vec<String>,
    pub(super) period: Period,
    /// All parameters as they came, for links.
    pub(super) parameters: Vec<(String, String)>,
}

/// Days, either end open.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Period {
    first: Option<Date>,
    last: Option<Date>,
}

const DEFAULT_PER_PAGE: u64 = 20;

impl Query {
    /// Reads the query of a target, and says of every wrong parameter what is wrong.
    pub(super) fn read(text: &str, quirks: &Quirks, max_per_page: u64) -> Result<Self, Vec<FieldError>> {
        let parameters: Vec<(String, String)> =
            form_urlencoded::parse(text.as_bytes()).into_owned().collect();
        let mut wrong = Vec::new();
        let page = number(&parameters, "page", 1, u64::MAX, &mut wrong);
        let per_page = number(&parameters, "per_page", DEFAULT_PER_PAGE, max_per_page, &mut wrong);
        let first = day(&parameters, "from", |(first, _)| first, &mut wrong);
        let last = day(&parameters, "to", |(_, last)| last, &mut wrong);
        if let (Some(first), Some(last)) = (first, last)
            && first > last
        {
            wrong.push(FieldError::new("to", "must not be before from"));
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let accounts = parameters.iter().filter(|(name, _)| *name == quirks.account_parameter);
        let accounts = accounts.map(|(_, value)| value.clone()).collect();
        Ok(Self { page, per_page, accounts, period: Period { first, last }, parameters })
    }
}

impl Period {
    /// Whether it leaves nothing out.
    pub(super) fn is_open(&self) -> bool {
        self.first.is_none() && self.last.is_none()
    }

    /// Whether a record about these days belongs to it.
    pub(super) fn meets(&self, (first, last): (Date, Date)) -> bool {
        self.first.is_none_or(|start| last >= start) && self.last.is_none_or(|end| first <= end)
    }
}

/// The one value of a parameter.
fn single<'a>(
    parameters: &'a [(String, String)],
    name: &str,
    wrong: &mut Vec<FieldError>,
) -> Option<&'a str> {
    let mut values = parameters.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let value = values.next();
    if values.next().is_some() {
        wrong.push(FieldError::new(name, "must be given once"));
    }
    value
}

fn number(
    parameters: &[(String, String)],
    name: &str,
    default: u64,
    largest: u64,
    wrong: &mut Vec<FieldError>,
) -> u64 {
    let Some(text) = single(parameters, name, wrong) else { return default.min(largest) };
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let value = text.parse().ok().filter(|value| digits && (1..=largest).contains(value));
    value.unwrap_or_else(|| {
        let range =
            if largest == u64::MAX { "at least 1".to_owned() } else { format!("from 1 to {largest}") };
        wrong.push(FieldError::new(name, &format!("must be a whole number {range}")));
        default
    })
}

/// The first or last day that a month, date or date-time stands for.
fn day(
    parameters: &[(String, String)],
    name: &str,
    edge: fn((Date, Date)) -> Date,
    wrong: &mut Vec<FieldError>,
) -> Option<Date> {
    let text = single(parameters, name, wrong)?;
    let days = days(text);
    if days.is_none() {
        wrong.push(FieldError::new(name, "must be a month as 2024-08 or a date as 2024-08-31"));
    }
    days.map(edge)
}

fn days(text: &str) -> Option<(Date, Date)> {
    if text.len() == 7 {
        let first: Date = format!("{text}-01").parse().ok()?;
        return Some((first, first.last_of_month()));
    }
    let (date, time) = text.split_at_checked(10)?;
    let date: Date = date.parse().ok()?;
    (time.is_empty() || time.starts_with('T')).then_some((date, date))
}
