//! Which records an answer has: those of the selected Instances and period, cut to one page.
//!
//! Records are made only for the page, so that an Organization with very many costs nothing until it is asked.
//! Their order is that of the Instances, and within an Instance the newest come first.
//!
//! Deliberately absent: the shape of the body around them (`page.rs`).

use jiff::civil::Date;

use super::endpoint::Endpoint;
use super::invoices;
use super::query::{Period, Query};
use super::records::{self, Setting};
use super::tenants::Instance;

/// The records of one page, and how many there are in all.
pub(super) struct Selection {
    pub(super) records: Vec<String>,
    pub(super) total: u64,
}

/// The window of one page while records are counted past it.
struct Window {
    skip: u64,
    end: u64,
    seen: u64,
}

/// Chooses from `instances`; `late` is the Instance that has got an invoice line more since the walk began.
pub(super) fn select(
    setting: Setting<'_>,
    endpoint: Endpoint,
    instances: &[&Instance],
    late: Option<&Instance>,
    query: &Query,
) -> Selection {
    let skip = (query.page - 1).saturating_mul(query.per_page);
    let mut window = Window { skip, end: skip.saturating_add(query.per_page), seen: 0 };
    let mut chosen = Vec::new();
    if let Some(instance) = late {
        let index = invoices::late_index(instance);
        if query.period.meets(span(endpoint, instance, index)) && window.admits() {
            chosen.push(render(setting, endpoint, Some(instance), index));
        }
    }
    if endpoint == Endpoint::Products {
        let indexes = window.range(records::PRODUCTS);
        chosen.extend(indexes.map(|index| render(setting, endpoint, None, index)));
    } else {
        for instance in instances {
            let indexes = matching(endpoint, instance, query.period, &mut window);
            chosen.extend(indexes.into_iter().map(|index| render(setting, endpoint, Some(instance), index)));
        }
    }
    Selection { records: chosen, total: window.seen }
}

impl Window {
    /// Counts one record and says whether it is on the page.
    fn admits(&mut self) -> bool {
        self.seen += 1;
        (self.skip..self.end).contains(&(self.seen - 1))
    }

    /// Counts so many records at once and says which are on the page.
    fn range(&mut self, count: usize) -> std::ops::Range<usize> {
        let clip = |edge: u64, seen: u64| {
            usize::try_from(edge.saturating_sub(seen)).map_or(count, |passed| passed.min(count))
        };
        let range = clip(self.skip, self.seen)..clip(self.end, self.seen);
        self.seen += count as u64;
        range
    }
}

fn matching(endpoint: Endpoint, instance: &Instance, period: Period, window: &mut Window) -> Vec<usize> {
    let count = count(endpoint, instance);
    if period.is_open() || !endpoint.narrows() {
        return window.range(count).collect();
    }
    let in_period = |index: &usize| period.meets(span(endpoint, instance, *index));
    (0..count).filter(in_period).filter(|_| window.admits()).collect()
}

fn count(endpoint: Endpoint, instance: &Instance) -> usize {
    match endpoint {
        Endpoint::Accounts => 1,
        Endpoint::Products => 0,
        Endpoint::Subscriptions => records::SUBSCRIPTIONS,
        Endpoint::Invoices => instance.invoices,
        Endpoint::MonthlyUsage => records::USAGE,
    }
}

/// The days that a record is about. Accounts and products are about none, and are not narrowed by any.
fn span(endpoint: Endpoint, instance: &Instance, index: usize) -> (Date, Date) {
    match endpoint {
        Endpoint::Accounts | Endpoint::Products => (Date::MIN, Date::MAX),
        Endpoint::Subscriptions => records::subscription_span(index),
        Endpoint::Invoices => {
            let date = invoices::date(instance, index);
            (date, date)
        }
        Endpoint::MonthlyUsage => records::usage_span(index),
    }
}

fn render(setting: Setting<'_>, endpoint: Endpoint, instance: Option<&Instance>, index: usize) -> String {
    match (endpoint, instance) {
        (Endpoint::Accounts, Some(instance)) => records::account(instance),
        (Endpoint::Subscriptions, Some(instance)) => records::subscription(setting, instance, index),
        (Endpoint::Invoices, Some(instance)) => invoices::line(setting, instance, index),
        (Endpoint::MonthlyUsage, Some(instance)) => records::usage(setting, instance, index),
        (Endpoint::Products, _) | (_, None) => records::product(index),
    }
}
