//! Inspects a body in one pass: whether it is a page of records, the positions of its links, the total
//! counts, and whether every record belongs to the account.
//!
//! The account check fails closed. It applies to an Instance on its Organization's credential. A record is an
//! element of an array under `_embedded`. It must be an object with the account's id as a string, exactly
//! once; an id in an object inside the record must be the same. Data outside of `_embedded` could belong to
//! any account, so only scalar values and link objects are permitted there.
//!
//! Not implemented: the meaning of records, and data that is hidden inside a string.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::domain::entitlement::AccountScope;
use crate::domain::id::AccountId;
use crate::json::{Bracket, Listener, NotJson, Reader, Text};
use crate::links::{Origin, Splice};

/// The result of inspecting a valid body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// The positions of the API's origin in links.
    pub links: Vec<Splice>,
    /// The total counts.
    pub counts: Counts,
    /// The data of this page.
    pub page: Page,
    /// The hashes of the records' `id`s, in order. Records without an `id` are left out.
    pub record_ids: Vec<u64>,
}

/// The data of one page.
#[expect(clippy::struct_field_names, reason = "whether a page is a page is what it says")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Whether the body is a page: an object with `_embedded` or with links.
    pub is_page: bool,
    /// The number of records.
    pub records: u64,
    /// The hashed ids of the first and the last record; none if no record has an id.
    pub edges: Option<(u64, u64)>,
}

/// The total counts of a list, as stated at the top of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// `total`: the number of records.
    pub total: Count,
    /// `total_pages`: the number of pages.
    pub total_pages: Count,
}

impl Counts {
    /// Whether the page states no counts.
    #[must_use]
    pub fn are_absent(&self) -> bool {
        *self == Self::default()
    }
}

/// The value of a count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Count {
    /// The member is missing, or not a number but `null`, `true` or `false`.
    #[default]
    Absent,
    /// A non-negative integer.
    Number(u64),
    /// Any other value, or a repeated member.
    Unreadable,
}

/// Why a body must not be sent to the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(#[from] NotJson),
    /// It contains, or may contain, records of another account.
    #[error("{0}")]
    AccountViolation(AccountViolation),
}

/// Why a body failed the account check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountViolation {
    /// A record has the id of another account.
    #[error("a record carries another account's id")]
    Foreign,
    /// A record has no account id, or several.
    #[error("a record does not carry its account's id exactly once")]
    Unmarked,
    /// There is data outside of the records.
    #[error("the body holds data outside of its records, which can't be checked")]
    Elsewhere,
}

/// Validates a complete body. An invalid body is never sent to the client.
///
/// # Errors
/// [`Unfit`] if it must not be sent to the client.
pub fn inspect(
    body: &[u8],
    origin: &Origin,
    account_scope: Option<&AccountScope>,
) -> Result<Inspection, Unfit> {
    let mut reader = Reader::new();
    let mut inspector = Inspector::new(origin.clone(), account_scope.cloned());
    reader.feed(body, &mut inspector)?;
    reader.finish(&mut inspector)?;
    match inspector.violation {
        Some(violation) => Err(Unfit::AccountViolation(violation)),
        None => Ok(inspector.inspection()),
    }
}

/// Whether a body may contain links, without parsing it. False only if it has none: a name or URL with
/// escapes has a backslash.
#[must_use]
pub fn may_have_links(body: &[u8]) -> bool {
    static HREF: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"href\""));
    HREF.find(body).is_some() || memchr::memchr(b'\\', body).is_some()
}

/// Tracks the structure of a body while it is parsed.
#[derive(Debug)]
pub struct Inspector {
    origin: Origin,
    account_scope: Option<AccountScope>,
    /// The innermost open object or array.
    frame: Frame,
    /// The enclosing ones, outermost first. The first one stands for the outside of the body.
    around: Vec<Frame>,
    key: Key,
    embedded_seen: bool,
    links: Vec<Splice>,
    counts: Counts,
    page: Page,
    record_ids: Vec<u64>,
    violation: Option<AccountViolation>,
}

#[derive(Debug)]
struct Frame {
    place: Place,
    /// How often this object had the member with the account's id.
    marks: u8,
}

/// The position of an object or array in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before or after the body.
    Outside,
    Root,
    /// The object under `_embedded`.
    Embedded,
    /// An array in that object.
    Records,
    Record,
    InsideRecord,
    /// A link object, or an object that contains some.
    Links,
}

/// The name of the current member, if it matters. `Other` in an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Href,
    Account,
    /// The `id` of a record.
    Id,
    Embedded,
    LinkObject,
    Total,
    TotalPages,
    Other,
}

/// The members of the root object that hold link objects (those of HAL, and those of monthly usage).
const LINK_MEMBERS: [&[u8]; 7] = [b"_links", b"first", b"last", b"next", b"prev", b"self", b"show"];

impl Listener for Inspector {
    fn opens(&mut self, bracket: Bracket) {
        self.enter(bracket);
    }

    fn closes(&mut self, _: Bracket) {
        self.leave();
    }

    #[inline]
    fn name(&mut self, text: Text<'_>) {
        self.key = self.key_of(&text);
    }

    #[inline]
    fn string(&mut self, text: Text<'_>) {
        if self.value_matters() {
            self.see_string(&text);
        }
    }

    #[inline]
    fn number(&mut self, whole: impl FnOnce() -> Option<u64>) {
        if self.value_matters() {
            self.value(None, whole());
        }
    }

    #[inline]
    fn word(&mut self) {
        // A literal as a count or in place of a list of records carries no data: it is ignored.
        let is_nothing =
            matches!(self.key, Key::Total | Key::TotalPages) || self.frame.place == Place::Embedded;
        if self.value_matters() && !is_nothing {
            self.value(None, None);
        }
    }
}

impl Inspector {
    /// An inspector for a new body.
    #[must_use]
    pub fn new(origin: Origin, account_scope: Option<AccountScope>) -> Self {
        Self {
            origin,
            account_scope,
            frame: Frame { place: Place::Outside, marks: 0 },
            around: Vec::new(),
            key: Key::Other,
            embedded_seen: false,
            links: Vec::new(),
            counts: Counts::default(),
            page: Page::default(),
            record_ids: Vec::new(),
            violation: None,
        }
    }

    /// Whether the next value, if it is a string, is a link.
    #[must_use]
    pub fn expects_link(&self) -> bool {
        self.key == Key::Href
    }

    /// The links found since the last call.
    pub fn take_links(&mut self) -> Vec<Splice> {
        std::mem::take(&mut self.links)
    }

    /// Whether the next value, if it is a scalar, must be checked. Most need not be, so this comes first.
    #[inline]
    const fn value_matters(&self) -> bool {
        !matches!(self.key, Key::Other)
            || matches!(self.frame.place, Place::Outside | Place::Embedded | Place::Records)
    }

    fn violates(&mut self, violation: AccountViolation) {
        if self.account_scope.is_none() {
            return;
        }
        // A record of another account is the more specific finding, so it replaces data at an unexpected
        // position.
        if self.violation.is_none_or(|known| known == AccountViolation::Elsewhere) {
            self.violation = Some(violation);
        }
    }

    #[inline]
    fn key_of(&mut self, name: &Text<'_>) -> Key {
        if !name.complete {
            return Key::Other;
        }
        if let Some(scope) = &self.account_scope
            && name.decoded == scope.field.as_bytes()
        {
            return Key::Account;
        }
        if name.decoded == b"href" {
            return Key::Href;
        }
        if self.frame.place == Place::Record && name.decoded == b"id" {
            return Key::Id;
        }
        let at_root = self.around.len() == 1;
        if at_root { self.key_at_root(name.decoded) } else { Key::Other }
    }

    fn key_at_root(&mut self, name: &[u8]) -> Key {
        match name {
            b"_embedded" => {
                if std::mem::replace(&mut self.embedded_seen, true) {
                    self.violates(AccountViolation::Elsewhere);
                }
                Key::Embedded
            }
            b"total" => Key::Total,
            b"total_pages" => Key::TotalPages,
            name if LINK_MEMBERS.contains(&name) => Key::LinkObject,
            _ => Key::Other,
        }
    }

    fn enter(&mut self, bracket: Bracket) {
        self.count(None);
        let object = bracket == Bracket::Object;
        if self.frame.place == Place::Records {
            self.page.records += 1;
        }
        let place = match self.frame.place {
            Place::Outside if object => Place::Root,
            Place::Root if object && self.key == Key::Embedded => Place::Embedded,
            Place::Root if object && self.key == Key::LinkObject => Place::Links,
            Place::Embedded if !object => Place::Records,
            Place::Records if object => Place::Record,
            Place::Links if object => Place::Links,
            Place::Record | Place::InsideRecord => {
                if self.key == Key::Account {
                    self.violates(AccountViolation::Unmarked);
                }
                Place::InsideRecord
            }
            Place::Outside | Place::Root | Place::Embedded | Place::Records | Place::Links => {
                self.violates(AccountViolation::Elsewhere);
                Place::InsideRecord
            }
        };
        self.page.is_page |=
            matches!((self.frame.place, place), (Place::Root, Place::Embedded | Place::Links));
        self.around.push(std::mem::replace(&mut self.frame, Frame { place, marks: 0 }));
        self.key = Key::Other;
    }

    fn leave(&mut self) {
        let Some(around) = self.around.pop() else { return };
        let left = std::mem::replace(&mut self.frame, around);
        if left.place == Place::Record && left.marks != 1 {
            self.violates(AccountViolation::Unmarked);
        }
        self.key = Key::Other;
    }

    fn see_string(&mut self, text: &Text<'_>) {
        if self.expects_link()
            && let Some(length) = self.origin.length_in(text.decoded)
        {
            self.links.push(Splice { start: text.start, length: text.raw_length(length) });
        }
        self.value(text.complete.then_some(text.decoded), None);
    }

    /// Handles a value that may be a count.
    #[inline]
    fn count(&mut self, number: Option<u64>) {
        let count = match self.key {
            Key::Total => &mut self.counts.total,
            Key::TotalPages => &mut self.counts.total_pages,
            Key::Href | Key::Account | Key::Id | Key::Embedded | Key::LinkObject | Key::Other => return,
        };
        *count = match (*count, number) {
            (Count::Absent, Some(number)) => Count::Number(number),
            _ => Count::Unreadable,
        };
    }

    fn inspection(self) -> Inspection {
        let edges = self.record_ids.first().copied().zip(self.record_ids.last().copied());
        Inspection {
            links: self.links,
            counts: self.counts,
            page: Page { edges, ..self.page },
            record_ids: self.record_ids,
        }
    }

    fn note_id(&mut self, text: Option<&[u8]>, number: Option<u64>) {
        if text.is_none() && number.is_none() {
            return;
        }
        let mut hasher = DefaultHasher::new();
        (text, number).hash(&mut hasher);
        self.record_ids.push(hasher.finish());
    }

    /// Handles a scalar value: a complete string, an integer that may be a count, or neither.
    fn value(&mut self, text: Option<&[u8]>, number: Option<u64>) {
        self.count(number);
        match self.frame.place {
            Place::Record if self.key == Key::Id => self.note_id(text, number),
            Place::Records => self.page.records += 1,
            Place::Outside
            | Place::Root
            | Place::Embedded
            | Place::Record
            | Place::InsideRecord
            | Place::Links => {}
        }
        let Some(scope) = &self.account_scope else { return };
        let expected = Some(scope.account);
        // Parse account members only: most strings are no ids.
        let account = text.filter(|_| self.key == Key::Account).and_then(AccountId::from_bytes);
        match self.frame.place {
            Place::Record | Place::InsideRecord if self.key == Key::Account => {
                if account != expected {
                    self.violates(if account.is_some() {
                        AccountViolation::Foreign
                    } else {
                        AccountViolation::Unmarked
                    });
                }
                self.frame.marks = self.frame.marks.saturating_add(1);
            }
            // Outside of the records, an id of another account is not permitted: the data may belong to that
            // account.
            Place::Root | Place::Links if self.key == Key::Account && account != expected => {
                self.violates(if account.is_some() {
                    AccountViolation::Foreign
                } else {
                    AccountViolation::Unmarked
                });
            }
            // A scalar in place of the body, of a list or of a record can't be checked.
            Place::Outside | Place::Embedded => self.violates(AccountViolation::Elsewhere),
            Place::Records => self.violates(AccountViolation::Unmarked),
            Place::Root | Place::Record | Place::InsideRecord | Place::Links => {}
        }
    }
}

#[cfg(test)]
#[path = "inspect_tests.rs"]
mod tests;
