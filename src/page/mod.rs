//! Reads the body of a list: whether it is a page of records, where its links are, its total counts, and
//! whether every record belongs to the account.
//!
//! [`read`] walks the complete body once with `serde_json`. Nothing is converted and printed again: a body is
//! sent as it came, so `1.10` stays `1.10`, and a link is known by its position.
//!
//! The account check fails closed. It applies to an Instance on its Organization's credential. A record is an
//! element of an array under `_embedded`. It must be an object with the account's id as a string, exactly
//! once; an id in an object inside the record must be the same. Data outside of `_embedded` could belong to
//! any account, so only scalar values and link objects are permitted there.
//!
//! Some bodies that not every parser accepts are accepted, because the proxy passes them on and the client
//! decides: a byte order mark at the start, escapes of lone surrogates (`"\ud800"`), numbers of any size, and
//! duplicate members. Invalid UTF-8 and nesting deeper than 127 levels are refused.
//!
//! Not implemented: the meaning of records, and data that is hidden inside a string.

mod account;
mod content;
mod findings;
pub mod links;
mod string;
mod structure;
mod unfit;
mod walk;

pub use content::{Count, PageContent, PageSummary, TotalCounts};
pub use unfit::{AccountViolation, Unfit};

use crate::domain::entitlement::AccountScope;
use findings::Findings;
use links::ApiOrigin;

/// Reads a complete body. An unfit body must not be sent to the client.
pub fn read(
    body: &[u8],
    origin: &ApiOrigin,
    account_scope: Option<&AccountScope>,
) -> Result<PageContent, Unfit> {
    let json = without_byte_order_mark(body);
    let start = body.len() - json.len();
    let json = std::str::from_utf8(json).map_err(|error| Unfit::NotJson(error.to_string()))?;
    let mut findings = Findings::new(origin, account_scope);
    walk::walk(json, start, &mut findings).map_err(|error| Unfit::NotJson(error.to_string()))?;
    findings.into_content().map_err(Unfit::AccountViolation)
}

/// The JSON text of a body. `serde_json` refuses a byte order mark, which a parser may ignore (RFC 8259,
/// section 8.1).
#[must_use]
pub(crate) fn without_byte_order_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

#[cfg(test)]
mod tests;
