//! Invoice lines: up to four to an invoice, whose total is their sum.
//!
//! Among the descriptions are those that are awkward for a tool: a period across months, the API's own URL as
//! plain text, quotes and letters beyond ASCII.
//!
//! Deliberately absent: choosing which lines an answer has (`selection.rs`).

use jiff::civil::Date;

use super::json_text::{ObjectText, decimal};
use super::records::{Setting, month_back, product_id, record_id, scatter};
use super::tenants::Instance;

const LINES: usize = 4;
const NEWEST: Date = Date::constant(2024, 12, 31);

/// The invoice date of a line.
pub(super) fn date(instance: &Instance, index: usize) -> Date {
    if index >= instance.invoices { NEWEST } else { month_back(index / LINES % 24).1 }
}

/// The index of the line that turns up while somebody walks the pages: the first of an invoice of its own.
pub(super) fn late_index(instance: &Instance) -> usize {
    instance.invoices.next_multiple_of(LINES)
}

pub(super) fn line(setting: Setting<'_>, instance: &Instance, index: usize) -> String {
    let chance = scatter(instance, "invoice", index);
    let number = scatter(instance, "number", index / LINES) % 100_000_000;
    let (quantity, rate) = charge(instance, index);
    ObjectText::new()
        .string("id", &record_id(chance, index))
        .string(setting.account_field, &instance.id)
        .string("number", &format!("INV{number:08}"))
        .string("date", &format!("{}T00:00:00.000Z", date(instance, index)))
        .string("currency", "USD")
        .literal("total_invoice_amount", decimal(total(instance, index)))
        .string("product_id", product_id(index))
        .string("description", &description(setting.origin, index))
        .literal("quantity", quantity)
        .literal("rate", decimal(rate))
        .literal("amount", decimal(quantity * rate))
        .finish()
}

/// Quantity, and rate in cents; every tenth line is one at 1.10.
fn charge(instance: &Instance, index: usize) -> (u64, u64) {
    if index.is_multiple_of(10) {
        return (1, 110);
    }
    let chance = scatter(instance, "charge", index);
    (1 + chance % 50, 5 + chance / 64 % 5000)
}

/// The sum of the lines that are on one invoice with this one, in cents.
fn total(instance: &Instance, index: usize) -> u64 {
    let first = index / LINES * LINES;
    // A late line is alone on its invoice.
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
