//! The records of accounts, products, subscriptions and monthly usage, each made from its place alone: the same
//! Instance and index give the same record in every run.
//!
//! Deliberately absent: invoice lines (`invoices.rs`), and choosing which records an answer has (`selection.rs`).

use jiff::civil::Date;

use super::json_text::{ObjectText, decimal};
use super::tenants::Instance;

/// Subscriptions of each Instance.
pub(super) const SUBSCRIPTIONS: usize = 3;
/// Usage records of each Instance: three types in each of twelve months.
pub(super) const USAGE: usize = USAGE_TYPES.len() * 12;
/// Products in the catalogue.
pub(super) const PRODUCTS: usize = CATALOGUE.len();

const CATALOGUE: [(&str, &str, &str, &str, &str); 6] = [
    ("TD-LIC-APP-RC-101910", "CX Cloud Elite", "Licenses", "Seat", "RECURRING"),
    ("TD-LIC-APP-RC-101911", "Workforce Management", "Licenses", "Seat", "RECURRING"),
    ("TD-USG-VOI-OT-200120", "Outbound minutes", "Voice", "Minute", "USAGE"),
    ("TD-USG-MSG-OT-200340", "Messages", "Messaging", "Message", "USAGE"),
    ("TD-USG-NUM-RC-200510", "Phone numbers", "Numbers", "Number", "RECURRING"),
    ("TD-SVC-PRO-OT-300010", "Professional services", "Services", "Hour", "ONE_TIME"),
];

const USAGE_TYPES: [(&str, &str, &str, usize); 3] = [
    ("CALL", "Outbound calls", "OUTBOUND", 2),
    ("MESSAGE", "SMS / MMS messages", "INBOUND", 3),
    ("NUMBER", "Local numbers", "NONE", 4),
];

/// What records need to know of where they are told.
#[derive(Clone, Copy)]
pub(super) struct Setting<'a> {
    /// The API's own origin, for texts that mention it.
    pub(super) origin: &'a str,
    /// The member that carries the account's id.
    pub(super) account_field: &'a str,
}

pub(super) fn account(instance: &Instance) -> String {
    ObjectText::new()
        .string("id", &instance.id)
        .string("name", &instance.name)
        .string("company_name", &instance.company_name)
        .string("status", &instance.status)
        .finish()
}

pub(super) fn product_id(index: usize) -> &'static str {
    CATALOGUE[index % CATALOGUE.len()].0
}

pub(super) fn product(index: usize) -> String {
    let (id, name, family, unit, charge) = CATALOGUE[index % CATALOGUE.len()];
    ObjectText::new()
        .string("id", id)
        .string("name", name)
        .string("family", family)
        .string("unit_of_measure", unit)
        .string("charge_type", charge)
        .finish()
}

/// The first and last day of a contract.
pub(super) fn subscription_span(index: usize) -> (Date, Date) {
    let year = if index.is_multiple_of(2) { 2023 } else { 2024 };
    (Date::constant(year, 1, 1), Date::constant(year + 1, 12, 31))
}

pub(super) fn subscription(setting: Setting<'_>, instance: &Instance, index: usize) -> String {
    let chance = scatter(instance, "subscription", index);
    let (start, end) = subscription_span(index);
    ObjectText::new()
        .string(setting.account_field, &instance.id)
        .string("contract_number", &format!("{:08}", chance % 100_000_000))
        .string("currency", "USD")
        .string("billing_period", "Monthly")
        .string("status", "ACTIVE")
        .literal("term", 24)
        .string("start_date", &start.to_string())
        .string("end_date", &end.to_string())
        .string("edition", "CX Cloud Elite")
        .literal("auto_renewal", chance.is_multiple_of(2))
        .literal("renewal_uplift", "5.00")
        .string("product_id", product_id(index))
        .literal("quantity", 1 + chance % 200)
        .literal("unit_price", decimal(1000 + chance % 90 * 10))
        .string("billing_frequency", "Monthly")
        .finish()
}

/// The first and last day of the month that a usage record is about.
pub(super) fn usage_span(index: usize) -> (Date, Date) {
    month_back(index / USAGE_TYPES.len())
}

pub(super) fn usage(setting: Setting<'_>, instance: &Instance, index: usize) -> String {
    let chance = scatter(instance, "usage", index);
    let (kind, title, direction, product) = USAGE_TYPES[index % USAGE_TYPES.len()];
    let (first, _) = usage_span(index);
    let month = first.strftime("%Y-%m").to_string();
    let description = if index.is_multiple_of(5) {
        format!("{title}, as listed at {}/express/usage/month", setting.origin)
    } else {
        title.to_owned()
    };
    ObjectText::new()
        .string("id", &record_id(chance, index))
        .string(setting.account_field, &instance.id)
        .string("product_id", product_id(product))
        .string("aggr_product_id", &format!("{}-AGGR", product_id(product)))
        .string("month", &month)
        .string("type", kind)
        .string("description", &description)
        .string("currency", "USD")
        .string("direction", direction)
        .literal("quantity", 1 + chance % 10_000)
        .literal("amount", decimal(chance % 50_000 / 10 * 10))
        .finish()
}

/// The month so many before December 2024, by its first and last day.
pub(super) fn month_back(back: usize) -> (Date, Date) {
    // The remainder keeps it in the years 2022 to 2024, whatever the index.
    let back = i16::try_from(back % 36).unwrap_or_default();
    let month = i8::try_from(12 - back % 12).unwrap_or(1);
    let first = Date::constant(2024 - back / 12, month, 1);
    (first, first.last_of_month())
}

/// 24 hex digits that look like the other ids of Talkdesk's.
pub(super) fn record_id(chance: u64, index: usize) -> String {
    format!("{:016x}{:08x}", chance, index % 0x1_0000_0000)
}

/// A number that depends on nothing but the arguments, and looks like chance.
pub(super) fn scatter(instance: &Instance, family: &str, index: usize) -> u64 {
    let bytes = instance.id.bytes().chain(family.bytes()).chain(index.to_le_bytes());
    // FNV-1a, then the finish of splitmix64 to spread neighbouring indexes.
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
