//! The records of the endpoints, and their values.
//!
//! A record depends on its Instance and its index only, so it is the same in every run. It has the members that
//! Talkdesk documents, in the documented order. Some members are null or absent in some records, because Talkdesk does
//! not say which ones are always present. Numbers keep their text, so that an amount can be written as `1.10`.
//! Some descriptions contain text that clients often handle wrongly: a period across two months, a URL of the API,
//! quotes, and letters outside ASCII.

use std::cmp::Ordering;

use jiff::ToSpan as _;
use jiff::civil::Date;
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::value::RawValue;

use super::tenants::{Endpoint, Instance, Tenant};

/// The value of a record's member, or a value in a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MemberValue {
    /// The record does not have the member.
    Absent,
    Null,
    Boolean(bool),
    /// The number as JSON text.
    Number(String),
    Text(String),
}

impl MemberValue {
    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Absent | Self::Null)
    }

    /// The text that a filter compares. Null has no text.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Absent | Self::Null => None,
            Self::Boolean(true) => Some("true"),
            Self::Boolean(false) => Some("false"),
            Self::Number(text) | Self::Text(text) => Some(text),
        }
    }

    /// Compares two numbers by value, and other values by text. The result is `None` if one of them is null.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        if let (Self::Number(one), Self::Number(other)) = (self, other)
            && let (Ok(one), Ok(other)) = (one.parse::<f64>(), other.parse::<f64>())
        {
            return one.partial_cmp(&other);
        }
        Some(self.text()?.cmp(other.text()?))
    }

    /// The order that `order_by` sorts by. Null comes first.
    pub(super) fn sort_order(&self, other: &Self) -> Ordering {
        let of_null = other.is_null().cmp(&self.is_null());
        of_null.then_with(|| self.compare(other).unwrap_or(Ordering::Equal))
    }
}

impl Serialize for MemberValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent | Self::Null => serializer.serialize_unit(),
            Self::Boolean(value) => serializer.serialize_bool(*value),
            Self::Number(text) => {
                RawValue::from_string(text.clone()).map_err(S::Error::custom)?.serialize(serializer)
            }
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl From<&str> for MemberValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for MemberValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for MemberValue {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<u64> for MemberValue {
    fn from(number: u64) -> Self {
        Self::Number(number.to_string())
    }
}

type Members = Vec<(&'static str, MemberValue)>;

/// A record: the names and values of its members, including the absent ones.
#[derive(Clone, Debug)]
pub(super) struct Record<'a>(pub(super) Vec<(&'a str, MemberValue)>);

impl Record<'_> {
    /// The value of a member. The member is absent if the record does not have it.
    pub(super) fn value(&self, name: &str) -> &MemberValue {
        self.0.iter().find(|(member, _)| *member == name).map_or(&MemberValue::Absent, |(_, value)| value)
    }
}

impl Serialize for Record<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let present = self.0.iter().filter(|(_, value)| *value != MemberValue::Absent);
        serializer.collect_map(present.map(|(name, value)| (name, value)))
    }
}

/// The number of lines of an invoice.
const LINES: usize = 4;
const SUBSCRIPTIONS: usize = 3;
/// Three types of usage in each of twelve months.
const USAGE: usize = USAGE_TYPES.len() * 12;
/// The date of an invoice line that the quirk `insert_after` adds.
const NEWEST: Date = Date::constant(2024, 12, 31);
/// The id, the name, the family, the unit and the charge type.
const CATALOGUE: [(&str, &str, &str, &str, &str); 6] = [
    ("TD-LIC-APP-RC-101910", "CX Cloud Elite", "Licenses", "Seat", "RECURRING"),
    ("TD-LIC-APP-RC-101911", "Workforce Management", "Licenses", "Seat", "RECURRING"),
    ("TD-USG-VOI-OT-200120", "Outbound minutes", "Voice", "Minute", "USAGE"),
    ("TD-USG-MSG-OT-200340", "Messages", "Messaging", "Message", "USAGE"),
    ("TD-USG-NUM-RC-200510", "Phone numbers", "Numbers", "Number", "RECURRING"),
    ("TD-SVC-PRO-OT-300010", "Professional services", "Services", "Hour", "ONE_TIME"),
];

/// The type, the description, the direction, the unit, and the index in the catalogue.
const USAGE_TYPES: [(&str, &str, &str, &str, usize); 3] = [
    ("CALL", "Outbound calls", "OUTBOUND", "MINUTE", 2),
    ("MESSAGE", "SMS / MMS messages", "INBOUND", "MESSAGE", 3),
    ("NUMBER", "Local numbers", "", "NUMBER", 4),
];

/// Identifies a record of an endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) enum Row<'a> {
    Product(usize),
    /// The record of an Instance with this index.
    Of(&'a Instance, usize),
    /// An account without name or id.
    Nameless(&'a Tenant, usize),
}

/// The records of a tenant in the default order: Instance by Instance, the newest record of an Instance first.
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

/// A record. `account_field` is the name of the member that contains the account's id, and `origin` is the URL that
/// descriptions mention.
pub(super) fn record<'a>(
    endpoint: Endpoint,
    row: Row<'_>,
    account_field: &'a str,
    origin: &str,
) -> Record<'a> {
    let members = match (endpoint, row) {
        (_, Row::Product(index)) => product(index),
        (_, Row::Nameless(tenant, number)) => nameless_account(tenant, number),
        (Endpoint::Subscriptions, Row::Of(instance, index)) => subscription(instance, index),
        (Endpoint::Invoices, Row::Of(instance, index)) => invoice_line(instance, index, origin),
        (Endpoint::MonthlyUsage, Row::Of(instance, index)) => usage(instance, index, origin),
        (Endpoint::Accounts | Endpoint::Products, Row::Of(instance, _)) => account(instance),
    };
    let renamed = |(name, value)| (if name == "account_id" { account_field } else { name }, value);
    Record(members.into_iter().map(renamed).collect())
}

/// The names of the members that the records of an endpoint can have.
pub(super) fn attributes(endpoint: Endpoint, account_field: &str) -> Vec<&str> {
    let instance = Instance::new("", "", 1);
    let row = if endpoint == Endpoint::Products { Row::Product(0) } else { Row::Of(&instance, 0) };
    record(endpoint, row, account_field, "").0.into_iter().map(|(name, _)| name).collect()
}

/// The ids of the accounts that [`Row::Nameless`] adds. The third of these accounts has no id.
pub(super) fn nameless_ids(tenant: &Tenant) -> [String; 2] {
    [0, 1].map(|number| format!("5ea7{:020x}", pseudo_random(&tenant.account, "nameless", number)))
}

/// The index of the invoice line that the quirk `insert_after` adds. It is the only line of its invoice.
pub(super) fn added_invoice_line(instance: &Instance) -> usize {
    instance.invoices.next_multiple_of(LINES)
}

fn account(instance: &Instance) -> Members {
    let is_trial = instance.status == "IN_TRIAL";
    vec![
        ("id", instance.id.as_str().into()),
        ("name", instance.name.as_str().into()),
        ("company_name", if is_trial { MemberValue::Null } else { format!("{} Ltd.", instance.name).into() }),
        ("status", instance.status.as_str().into()),
    ]
}

fn nameless_account(tenant: &Tenant, number: usize) -> Members {
    let id = nameless_ids(tenant).into_iter().nth(number).map_or(MemberValue::Absent, MemberValue::from);
    let name = match number {
        0 => MemberValue::Null,
        1 => MemberValue::Absent,
        _ => "nobody".into(),
    };
    vec![("id", id), ("name", name), ("company_name", MemberValue::Null), ("status", "PROSPECT".into())]
}

fn product(index: usize) -> Members {
    let (id, name, family, unit, charge) = CATALOGUE[index % CATALOGUE.len()];
    vec![
        ("id", id.into()),
        ("name", name.into()),
        ("family", family.into()),
        ("unit_of_measure", if charge == "ONE_TIME" { MemberValue::Null } else { unit.into() }),
        ("charge_type", charge.into()),
    ]
}

fn product_id(index: usize) -> &'static str {
    CATALOGUE[index % CATALOGUE.len()].0
}

fn subscription(instance: &Instance, index: usize) -> Members {
    let random = pseudo_random(&instance.id, "subscription", index);
    let year = if index.is_multiple_of(2) { 2023 } else { 2024 };
    let (start, end) = (format!("{year}-01-01"), format!("{}-12-31", year + 1));
    let auto_renewal = random.is_multiple_of(2);
    let uplift = if auto_renewal { MemberValue::Number("5.00".to_owned()) } else { MemberValue::Null };
    vec![
        ("id", record_id(random, index)),
        ("account_id", instance.id.as_str().into()),
        ("contract_number", format!("{:08}", random % 100_000_000).into()),
        ("currency", "USD".into()),
        ("billing_period", "Monthly".into()),
        ("status", "ACTIVE".into()),
        ("term", 24.into()),
        ("start_date", start.as_str().into()),
        ("end_date", end.as_str().into()),
        ("edition", if index == 2 { MemberValue::Absent } else { "CX Cloud Elite".into() }),
        ("auto_renewal", auto_renewal.into()),
        ("renewal_uplift", uplift),
        ("product_id", product_id(index).into()),
        ("quantity", (1 + random % 200).into()),
        ("unit_price", money(1000 + random % 90 * 10, random)),
        ("billing_frequency", "Monthly".into()),
        ("pricing_model", if random.is_multiple_of(3) { MemberValue::Null } else { "PER_UNIT".into() }),
        ("concurrent", (index == 1).into()),
        ("seasonal", if random.is_multiple_of(4) { MemberValue::Absent } else { false.into() }),
        ("contract_line_start_date", if index == 2 { MemberValue::Null } else { start.into() }),
        ("contract_line_end_date", if index == 2 { MemberValue::Null } else { end.into() }),
    ]
}

fn invoice_line(instance: &Instance, index: usize, origin: &str) -> Members {
    let random = pseudo_random(&instance.id, "invoice", index);
    let invoice = pseudo_random(&instance.id, "number", index / LINES);
    let (quantity, rate) = charge(instance, index);
    let total = invoice_total(instance, index);
    let is_added = index >= instance.invoices;
    let date = if is_added { NEWEST } else { month_back(index / LINES % 24).last_of_month() };
    let due = date.saturating_add(30.days());
    let product_name = CATALOGUE[index % CATALOGUE.len()].1;
    // Every tenth amount is written as `1.10`.
    let style = if index.is_multiple_of(10) { 0 } else { random };
    let tax = match index / LINES % 5 {
        3 => MemberValue::Null,
        4 => MemberValue::Absent,
        _ => money(total * 7 / 100, invoice / 16),
    };
    vec![
        ("id", record_id(random, index)),
        ("account_id", instance.id.as_str().into()),
        ("number", format!("INV{:08}", invoice % 100_000_000).into()),
        ("invoice_line_number", (index as u64 % LINES as u64 + 1).into()),
        ("date", format!("{date}T00:00:00.000Z").into()),
        ("due_date", if index % 7 == 6 { MemberValue::Null } else { format!("{due}T00:00:00.000Z").into() }),
        ("currency", "USD".into()),
        ("total_invoice_amount", money(total, invoice)),
        ("product_id", product_id(index).into()),
        ("description", description(origin, index).into()),
        ("product_name", if index % 6 == 5 { MemberValue::Absent } else { product_name.into() }),
        ("quantity", quantity.into()),
        ("rate", money(rate, style)),
        ("amount", money(quantity * rate, style)),
        ("total_tax_amount", tax),
    ]
}

/// The quantity, and the rate in cents. On every tenth line, the quantity is 1 and the rate is 1.10.
fn charge(instance: &Instance, index: usize) -> (u64, u64) {
    if index.is_multiple_of(10) {
        return (1, 110);
    }
    let random = pseudo_random(&instance.id, "charge", index);
    (1 + random % 50, 5 + random / 64 % 5000)
}

/// The total of the invoice that contains this line, in cents.
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

fn usage(instance: &Instance, index: usize, origin: &str) -> Members {
    let random = pseudo_random(&instance.id, "usage", index);
    let (kind, title, direction, unit, product) = USAGE_TYPES[index % USAGE_TYPES.len()];
    let month = month_back(index / USAGE_TYPES.len());
    let with_url = format!("{title}, as listed at {origin}/express/usage/month");
    let (price, units) = (1 + random % 40, 1 + random / 64 % 10_000);
    vec![
        ("id", record_id(random, index)),
        ("account_id", instance.id.as_str().into()),
        ("product_id", product_id(product).into()),
        ("aggr_product_id", format!("{}-AGGR", product_id(product)).into()),
        ("month", month.strftime("%Y-%m").to_string().into()),
        ("type", kind.into()),
        ("description", if index.is_multiple_of(5) { with_url.into() } else { title.into() }),
        ("currency", "USD".into()),
        ("direction", if direction.is_empty() { MemberValue::Null } else { direction.into() }),
        ("resolution", if kind == "CALL" { "60/60".into() } else { MemberValue::Null }),
        ("unit", unit.into()),
        ("price", money(price, random / 4)),
        ("wallet_name", if kind == "NUMBER" { MemberValue::Absent } else { "Main wallet".into() }),
        ("number_of_units", units.into()),
        ("total_amount", money(price * units, random)),
    ]
}

/// An amount in one of several JSON forms: `12.30`, `12.3` or `12.3000`.
fn money(cents: u64, style: u64) -> MemberValue {
    let decimal = format!("{}.{:02}", cents / 100, cents % 100);
    MemberValue::Number(match style % 4 {
        0 | 1 => decimal,
        2 => decimal.strip_suffix('0').map_or(decimal.clone(), str::to_owned),
        _ => format!("{decimal}00"),
    })
}

/// The first day of the month that is `back` months before December 2024.
fn month_back(back: usize) -> Date {
    // The remainders keep the date between 2022 and 2024, so the conversions cannot fail.
    let back = i16::try_from(back % 36).unwrap_or_default();
    let month = i8::try_from(12 - back % 12).unwrap_or(1);
    Date::constant(2024 - back / 12, month, 1)
}

/// 24 hexadecimal digits, like the ids of Talkdesk.
fn record_id(random: u64, index: usize) -> MemberValue {
    format!("{:016x}{:08x}", random, index % 0x1_0000_0000).into()
}

/// A number that depends only on the arguments: the FNV-1a hash, followed by the last steps of splitmix64, because
/// FNV-1a alone gives similar numbers for consecutive indexes.
fn pseudo_random(id: &str, family: &str, index: usize) -> u64 {
    let bytes = id.bytes().chain(family.bytes()).chain(index.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
