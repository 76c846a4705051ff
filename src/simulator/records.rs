//! The records of the endpoints.
//!
//! A record follows from its Instance and index alone, so it is the same in every run. Every record has the members
//! that Talkdesk documents, in that order; some of them are null or absent in some records, as all of them may be.
//! Some descriptions are difficult for a tool: a period across months, a URL of the API, quotes, letters beyond ASCII.

use jiff::ToSpan as _;
use jiff::civil::Date;

use super::endpoint::{
    ACCOUNT_MEMBERS, Endpoint, INVOICE_MEMBERS, PRODUCT_MEMBERS, SUBSCRIPTION_MEMBERS, USAGE_MEMBERS,
};
use super::json::Value;
use super::tenants::{Instance, Tenant};

/// The number of lines of an invoice.
const LINES: usize = 4;
const SUBSCRIPTIONS: usize = 3;
/// Three types in each of twelve months.
const USAGE: usize = USAGE_TYPES.len() * 12;
const NEWEST: Date = Date::constant(2024, 12, 31);
const CATALOGUE: [(&str, &str, &str, &str, &str); 6] = [
    ("TD-LIC-APP-RC-101910", "CX Cloud Elite", "Licenses", "Seat", "RECURRING"),
    ("TD-LIC-APP-RC-101911", "Workforce Management", "Licenses", "Seat", "RECURRING"),
    ("TD-USG-VOI-OT-200120", "Outbound minutes", "Voice", "Minute", "USAGE"),
    ("TD-USG-MSG-OT-200340", "Messages", "Messaging", "Message", "USAGE"),
    ("TD-USG-NUM-RC-200510", "Phone numbers", "Numbers", "Number", "RECURRING"),
    ("TD-SVC-PRO-OT-300010", "Professional services", "Services", "Hour", "ONE_TIME"),
];

/// Type, description, direction, unit, and position in the catalogue.
const USAGE_TYPES: [(&str, &str, &str, &str, usize); 3] = [
    ("CALL", "Outbound calls", "OUTBOUND", "MINUTE", 2),
    ("MESSAGE", "SMS / MMS messages", "INBOUND", "MESSAGE", 3),
    ("NUMBER", "Local numbers", "", "NUMBER", 4),
];

/// Identifies a record.
#[derive(Clone, Copy, Debug)]
pub(super) enum Row<'a> {
    Product(usize),
    /// The record of an Instance that has this index.
    Of(&'a Instance, usize),
    /// An account without name or id.
    Nameless(&'a Tenant, usize),
}

/// The records of a tenant in the default order: those of one Instance after those of another, the newest first.
pub(super) fn rows<'a>(endpoint: Endpoint, tenant: &'a Tenant, nameless: bool) -> Vec<Row<'a>> {
    let count = |instance: &Instance| match endpoint {
        Endpoint::Products => 0,
        Endpoint::Accounts => 1,
        Endpoint::Subscriptions => SUBSCRIPTIONS,
        Endpoint::Invoices => instance.invoices,
        Endpoint::MonthlyUsage => USAGE,
    };
    let of = |instance: &'a Instance| (0..count(instance)).map(move |index| Row::Of(instance, index));
    let mut rows: Vec<Row<'a>> = tenant.instances.iter().flat_map(of).collect();
    match endpoint {
        Endpoint::Products => rows.extend((0..CATALOGUE.len()).map(Row::Product)),
        Endpoint::Accounts if nameless => rows.extend((0..3).map(|number| Row::Nameless(tenant, number))),
        Endpoint::Accounts | Endpoint::Subscriptions | Endpoint::Invoices | Endpoint::MonthlyUsage => {}
    }
    rows
}

/// The values of a record, one for each of the members. `origin` is the URL that descriptions mention.
pub(super) fn values(endpoint: Endpoint, row: Row<'_>, origin: &str) -> Vec<Value> {
    match (endpoint, row) {
        (_, Row::Product(index)) => product(index).into(),
        (_, Row::Nameless(tenant, number)) => nameless_account(tenant, number).into(),
        (Endpoint::Subscriptions, Row::Of(instance, index)) => subscription(instance, index).into(),
        (Endpoint::Invoices, Row::Of(instance, index)) => invoice_line(instance, index, origin).into(),
        (Endpoint::MonthlyUsage, Row::Of(instance, index)) => usage(instance, index, origin).into(),
        (Endpoint::Accounts | Endpoint::Products, Row::Of(instance, _)) => account(instance).into(),
    }
}

/// The ids of the accounts that [`Row::Nameless`] adds to a tenant's.
pub(super) fn nameless_ids(tenant: &Tenant) -> [String; 2] {
    [0, 1].map(|number| format!("5ea7{:020x}", pseudo_random(&tenant.account, "nameless", number)))
}

/// The index of the invoice line that is added while somebody reads the pages. It has an invoice to itself.
pub(super) fn added_invoice_line(instance: &Instance) -> usize {
    instance.invoices.next_multiple_of(LINES)
}

fn account(instance: &Instance) -> [Value; ACCOUNT_MEMBERS.len()] {
    let company =
        if instance.status == "IN_TRIAL" { Value::Null } else { instance.company_name.as_str().into() };
    [instance.id.as_str().into(), instance.name.as_str().into(), company, instance.status.as_str().into()]
}

fn nameless_account(tenant: &Tenant, number: usize) -> [Value; ACCOUNT_MEMBERS.len()] {
    let id = nameless_ids(tenant).into_iter().nth(number).map_or(Value::Absent, Value::from);
    let name = match number {
        0 => Value::Null,
        1 => Value::Absent,
        _ => "nobody".into(),
    };
    [id, name, Value::Null, "PROSPECT".into()]
}

fn product(index: usize) -> [Value; PRODUCT_MEMBERS.len()] {
    let (id, name, family, unit, charge) = CATALOGUE[index % CATALOGUE.len()];
    let unit = if charge == "ONE_TIME" { Value::Null } else { unit.into() };
    [id.into(), name.into(), family.into(), unit, charge.into()]
}

fn product_id(index: usize) -> &'static str {
    CATALOGUE[index % CATALOGUE.len()].0
}

fn subscription(instance: &Instance, index: usize) -> [Value; SUBSCRIPTION_MEMBERS.len()] {
    let random = pseudo_random(&instance.id, "subscription", index);
    let year = if index.is_multiple_of(2) { 2023 } else { 2024 };
    let (start, end) = (format!("{year}-01-01"), format!("{}-12-31", year + 1));
    let auto_renewal = random.is_multiple_of(2);
    [
        record_id(random, index),
        instance.id.as_str().into(),
        format!("{:08}", random % 100_000_000).into(),
        "USD".into(),
        "Monthly".into(),
        "ACTIVE".into(),
        24.into(),
        start.as_str().into(),
        end.as_str().into(),
        if index == 2 { Value::Absent } else { "CX Cloud Elite".into() },
        auto_renewal.into(),
        if auto_renewal { Value::Number("5.00".to_owned()) } else { Value::Null },
        product_id(index).into(),
        (1 + random % 200).into(),
        money(1000 + random % 90 * 10, random),
        "Monthly".into(),
        if random.is_multiple_of(3) { Value::Null } else { "PER_UNIT".into() },
        (index == 1).into(),
        if random.is_multiple_of(4) { Value::Absent } else { false.into() },
        if index == 2 { Value::Null } else { start.into() },
        if index == 2 { Value::Null } else { end.into() },
    ]
}

fn invoice_line(instance: &Instance, index: usize, origin: &str) -> [Value; INVOICE_MEMBERS.len()] {
    let random = pseudo_random(&instance.id, "invoice", index);
    let invoice = pseudo_random(&instance.id, "number", index / LINES);
    let (quantity, rate) = charge(instance, index);
    let total = invoice_total(instance, index);
    let date =
        if index >= instance.invoices { NEWEST } else { month_back(index / LINES % 24).last_of_month() };
    let due = date.saturating_add(30.days());
    // Every tenth amount is written `1.10`.
    let style = if index.is_multiple_of(10) { 0 } else { random };
    [
        record_id(random, index),
        instance.id.as_str().into(),
        format!("INV{:08}", invoice % 100_000_000).into(),
        (index as u64 % LINES as u64 + 1).into(),
        format!("{date}T00:00:00.000Z").into(),
        if index % 7 == 6 { Value::Null } else { format!("{due}T00:00:00.000Z").into() },
        "USD".into(),
        money(total, invoice),
        product_id(index).into(),
        description(origin, index).into(),
        if index % 6 == 5 { Value::Absent } else { CATALOGUE[index % CATALOGUE.len()].1.into() },
        quantity.into(),
        money(rate, style),
        money(quantity * rate, style),
        match index / LINES % 5 {
            3 => Value::Null,
            4 => Value::Absent,
            _ => money(total * 7 / 100, invoice / 16),
        },
    ]
}

/// Quantity, and rate in cents; every tenth line is one at 1.10.
fn charge(instance: &Instance, index: usize) -> (u64, u64) {
    if index.is_multiple_of(10) {
        return (1, 110);
    }
    let random = pseudo_random(&instance.id, "charge", index);
    (1 + random % 50, 5 + random / 64 % 5000)
}

/// The sum of the lines that are on one invoice with this one, in cents.
fn invoice_total(instance: &Instance, index: usize) -> u64 {
    let first = index / LINES * LINES;
    let end = if index >= instance.invoices { index + 1 } else { instance.invoices.min(first + LINES) };
    (first..end).map(|index| charge(instance, index)).map(|(quantity, rate)| quantity * rate).sum()
}

fn description(origin: &str, index: usize) -> String {
    match index % 5 {
        0 => "Outbound minutes 08/16/2023 - 09/15/2023".to_owned(),
        1 => "CX Cloud Elite, seats".to_owned(),
        2 => format!("Usage, see {origin}/express/usage/month?page=1 for details"),
        3 => "Auslandsgespr\u{e4}che \u{2013} \"Flatrate\" \u{2713}".to_owned(),
        _ => "Phone numbers\tlocal & toll-free".to_owned(),
    }
}

fn usage(instance: &Instance, index: usize, origin: &str) -> [Value; USAGE_MEMBERS.len()] {
    let random = pseudo_random(&instance.id, "usage", index);
    let (kind, title, direction, unit, product) = USAGE_TYPES[index % USAGE_TYPES.len()];
    let month = month_back(index / USAGE_TYPES.len());
    let mentioned = format!("{title}, as listed at {origin}/express/usage/month");
    let (price, units) = (1 + random % 40, 1 + random / 64 % 10_000);
    [
        record_id(random, index),
        instance.id.as_str().into(),
        product_id(product).into(),
        format!("{}-AGGR", product_id(product)).into(),
        month.strftime("%Y-%m").to_string().into(),
        kind.into(),
        if index.is_multiple_of(5) { mentioned.into() } else { title.into() },
        "USD".into(),
        if direction.is_empty() { Value::Null } else { direction.into() },
        if kind == "CALL" { "60/60".into() } else { Value::Null },
        unit.into(),
        money(price, random / 4),
        if kind == "NUMBER" { Value::Absent } else { "Main wallet".into() },
        units.into(),
        money(price * units, random),
    ]
}

/// An amount of cents, in one of the forms that JSON has for it.
fn money(cents: u64, style: u64) -> Value {
    let decimal = format!("{}.{:02}", cents / 100, cents % 100);
    Value::Number(match style % 4 {
        0 | 1 => decimal,
        2 => decimal.strip_suffix('0').map_or(decimal.clone(), str::to_owned),
        _ => format!("{decimal}00"),
    })
}

/// The first day of the month so many before December 2024.
fn month_back(back: usize) -> Date {
    // The remainders keep it within 2022 to 2024.
    let back = i16::try_from(back % 36).unwrap_or_default();
    let month = i8::try_from(12 - back % 12).unwrap_or(1);
    Date::constant(2024 - back / 12, month, 1)
}

/// 24 hex digits, as the ids of Talkdesk are.
fn record_id(random: u64, index: usize) -> Value {
    format!("{:016x}{:08x}", random, index % 0x1_0000_0000).into()
}

/// A number that depends on nothing but the arguments: FNV-1a with the finish of splitmix64, which spreads
/// neighbouring indexes.
fn pseudo_random(id: &str, family: &str, index: usize) -> u64 {
    let bytes = id.bytes().chain(family.bytes()).chain(index.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
