//! Reads a body once: whether it is a page of records, where its links are, how much there is in all, and whether every
//! record is the account's.
//!
//! The check fails closed. For an Instance on its Organization's credential, a record is each
//! element of each array under `_embedded`, and must be an object that carries the account's id, once, as a
//! string; an object inside a record that carries an id must carry the same. Data that stands anywhere else
//! than under `_embedded` could be anybody's, so there may be none: beside it only plain values and link
//! objects are let through.
//!
//! Deliberately absent: what a record means, and data that hides inside a string.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::domain::entitlement::AccountScope;
use crate::domain::id::AccountId;
use crate::json::{Bracket, Listener, NotJson, Reader, Text};
use crate::links::{Origin, Splice};

/// What a body that may be given out looks like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Where the API's origin stands in links.
    pub links: Vec<Splice>,
    /// How much there is in all.
    pub counts: Counts,
    /// What is on this page.
    pub page: Page,
    /// Its records, in order, each as the hash of its `id`; those without one are left out.
    pub record_ids: Vec<u64>,
}

/// What is on one page.
#[expect(clippy::struct_field_names, reason = "whether a page is a page is what it says")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Whether it looks like a page at all: an object with `_embedded` or with links.
    pub is_page: bool,
    /// How many records it has.
    pub records: u64,
    /// The hashed ids of its first and its last record; none where no record has an id.
    pub edges: Option<(u64, u64)>,
}

/// How much there is in all, as the top of a page says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// `total`: records.
    pub total: Count,
    /// `total_pages`: pages.
    pub total_pages: Count,
}

impl Counts {
    /// Whether it says nothing of how much there is.
    #[must_use]
    pub fn are_absent(&self) -> bool {
        *self == Self::default()
    }
}

/// What a member says that should be a count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Count {
    /// It is not there.
    #[default]
    Absent,
    /// So many.
    Number(u64),
    /// It is no whole number, or there twice.
    Unreadable,
}

/// Why a body may not be given out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(#[from] NotJson),
    /// It holds, or might hold, somebody else's records.
    #[error("{0}")]
    AccountViolation(AccountViolation),
}

/// How a body failed the account check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountViolation {
    /// A record with another account's id.
    #[error("a record carries another account's id")]
    Foreign,
    /// A record without the account's id, or with two.
    #[error("a record does not carry its account's id exactly once")]
    Unmarked,
    /// Data outside of the records.
    #[error("the body holds data outside of its records, which can't be checked")]
    Elsewhere,
}

/// Looks through a whole body.
///
/// # Errors
/// [`Unfit`] where it may not be given out.
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

/// Whether a body may have links in it, without being read: false only where it can have none. A name or a URL that is
/// written with escapes has a backslash.
#[must_use]
pub fn may_have_links(body: &[u8]) -> bool {
    static HREF: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"href\""));
    HREF.find(body).is_some() || memchr::memchr(b'\\', body).is_some()
}

/// Follows a body's structure, as the reader passes it.
#[derive(Debug)]
pub struct Inspector {
    origin: Origin,
    account_scope: Option<AccountScope>,
    /// The innermost object or array.
    frame: Frame,
    /// Those that it stands in, the outermost first; before them what is outside of the body.
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
    /// How often this object carried the account's id.
    marks: u8,
}

/// Where in a body an object or array stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the body or after it.
    Outside,
    Root,
    /// The object under `_embedded`.
    Embedded,
    /// An array under it.
    Records,
    Record,
    InsideRecord,
    /// A link object, or an object of them.
    Links,
}

/// What the present member is called, as far as it matters. In an array it is nothing.
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

/// The members at the top of a body that hold link objects (HAL's, and those of monthly usage).
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
        // A count that is null is none, and a list that is null has no records.
        let is_nothing =
            matches!(self.key, Key::Total | Key::TotalPages) || self.frame.place == Place::Embedded;
        if self.value_matters() && !is_nothing {
            self.value(None, None);
        }
    }
}

impl Inspector {
    /// An inspector at the beginning of a body.
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

    /// Whether the next value, if it is a string, is a link's.
    #[must_use]
    pub fn expects_link(&self) -> bool {
        self.key == Key::Href
    }

    /// The links found since the last call.
    pub fn take_links(&mut self) -> Vec<Splice> {
        std::mem::take(&mut self.links)
    }

    /// Whether the next value, if it is a plain one, has to be looked at. Most do not, and that is told by this alone.
    #[inline]
    const fn value_matters(&self) -> bool {
        !matches!(self.key, Key::Other)
            || matches!(self.frame.place, Place::Outside | Place::Embedded | Place::Records)
    }

    fn violates(&mut self, violation: AccountViolation) {
        if self.account_scope.is_none() {
            return;
        }
        // A record that is plainly another's says more than data in an unknown place.
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

    /// A value, where it may be that of a count.
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

    /// A plain value: a whole text, or a number that may be a count, or neither.
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
        // Read where it counts alone: most texts are no ids.
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
            // Beside the records nothing may claim to be another account's: it would be a record of it.
            Place::Root | Place::Links if self.key == Key::Account && account != expected => {
                self.violates(if account.is_some() {
                    AccountViolation::Foreign
                } else {
                    AccountViolation::Unmarked
                });
            }
            // A whole body, a record, or what should be an object, is a plain value: it can't be checked.
            Place::Outside | Place::Embedded => self.violates(AccountViolation::Elsewhere),
            Place::Records => self.violates(AccountViolation::Unmarked),
            Place::Root | Place::Record | Place::InsideRecord | Place::Links => {}
        }
    }
}

#[cfg(test)]
#[path = "inspect_tests.rs"]
mod tests;
