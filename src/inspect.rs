//! Looks a body through once: where its links are, how much there is in all, and whether every record is the
//! account's.
//!
//! The check is a wall, so it fails closed. For an Instance on its Organization's credential, a record is each
//! element of each array under `_embedded`, and must be an object that carries the account's id, once, as a
//! string; an object inside a record that carries an id must carry the same. Data that stands anywhere else
//! than under `_embedded` could be anybody's, so there may be none: beside it only plain values and link
//! objects are let through.
//!
//! Deliberately absent: what a record means, and data that hides inside a string.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::domain::entitlement::Wall;
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
}

/// How much there is in all, as the top of a page says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// `total`: records.
    pub total: Count,
    /// `total_pages`: pages.
    pub total_pages: Count,
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
    Breach(Breach),
}

/// How a body failed the wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
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
pub fn inspect(body: &[u8], origin: &Origin, wall: Option<&Wall>) -> Result<Inspection, Unfit> {
    let mut reader = Reader::new();
    let mut inspector = Inspector::new(origin.clone(), wall.cloned());
    reader.feed(body, &mut inspector)?;
    reader.finish(&mut inspector)?;
    match inspector.breach {
        Some(breach) => Err(Unfit::Breach(breach)),
        None => Ok(Inspection { links: inspector.links, counts: inspector.counts }),
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
    wall: Option<Wall>,
    /// The innermost object or array.
    frame: Frame,
    /// Those that it stands in, the outermost first; before them what is outside of the body.
    around: Vec<Frame>,
    key: Key,
    embedded_seen: bool,
    links: Vec<Splice>,
    counts: Counts,
    breach: Option<Breach>,
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
    /// Anywhere, where no wall asks.
    Anywhere,
}

/// What the present member is called, as far as it matters. In an array it is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Href,
    Account,
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
        if self.value_matters() {
            self.value(None, None);
        }
    }
}

impl Inspector {
    /// An inspector at the beginning of a body.
    #[must_use]
    pub fn new(origin: Origin, wall: Option<Wall>) -> Self {
        let place = if wall.is_some() { Place::Outside } else { Place::Anywhere };
        Self {
            origin,
            wall,
            frame: Frame { place, marks: 0 },
            around: Vec::new(),
            key: Key::Other,
            embedded_seen: false,
            links: Vec::new(),
            counts: Counts::default(),
            breach: None,
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

    fn breach(&mut self, breach: Breach) {
        // A record that is plainly another's says more than data in an unknown place.
        if self.breach.is_none_or(|known| known == Breach::Elsewhere) {
            self.breach = Some(breach);
        }
    }

    #[inline]
    fn key_of(&mut self, name: &Text<'_>) -> Key {
        if !name.complete {
            return Key::Other;
        }
        if let Some(wall) = &self.wall
            && name.decoded == wall.field.as_bytes()
        {
            return Key::Account;
        }
        if name.decoded == b"href" {
            return Key::Href;
        }
        let at_root = self.around.len() == 1;
        if at_root { self.key_at_root(name.decoded) } else { Key::Other }
    }

    fn key_at_root(&mut self, name: &[u8]) -> Key {
        match name {
            b"_embedded" => {
                if std::mem::replace(&mut self.embedded_seen, true) && self.wall.is_some() {
                    self.breach(Breach::Elsewhere);
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
        let place = match self.frame.place {
            Place::Anywhere => Place::Anywhere,
            Place::Outside if object => Place::Root,
            Place::Root if object && self.key == Key::Embedded => Place::Embedded,
            Place::Root if object && self.key == Key::LinkObject => Place::Links,
            Place::Embedded if !object => Place::Records,
            Place::Records if object => Place::Record,
            Place::Links if object => Place::Links,
            Place::Record | Place::InsideRecord => {
                if self.key == Key::Account {
                    self.breach(Breach::Unmarked);
                }
                Place::InsideRecord
            }
            Place::Outside | Place::Root | Place::Embedded | Place::Records | Place::Links => {
                self.breach(Breach::Elsewhere);
                Place::InsideRecord
            }
        };
        self.around.push(std::mem::replace(&mut self.frame, Frame { place, marks: 0 }));
        self.key = Key::Other;
    }

    fn leave(&mut self) {
        let Some(around) = self.around.pop() else { return };
        let left = std::mem::replace(&mut self.frame, around);
        if left.place == Place::Record && left.marks != 1 {
            self.breach(Breach::Unmarked);
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
            Key::Href | Key::Account | Key::Embedded | Key::LinkObject | Key::Other => return,
        };
        *count = match (*count, number) {
            (Count::Absent, Some(number)) => Count::Number(number),
            _ => Count::Unreadable,
        };
    }

    /// A plain value: a whole text, or a number that may be a count, or neither.
    fn value(&mut self, text: Option<&[u8]>, number: Option<u64>) {
        self.count(number);
        let Some(wall) = &self.wall else { return };
        let expected = Some(wall.account);
        // Read where it counts alone: most texts are no ids.
        let account = text.filter(|_| self.key == Key::Account).and_then(AccountId::from_bytes);
        match self.frame.place {
            Place::Record | Place::InsideRecord if self.key == Key::Account => {
                if account != expected {
                    self.breach(if account.is_some() { Breach::Foreign } else { Breach::Unmarked });
                }
                self.frame.marks = self.frame.marks.saturating_add(1);
            }
            // Beside the records nothing may claim to be another account's: it would be a record of it.
            Place::Root | Place::Links if self.key == Key::Account && account != expected => {
                self.breach(if account.is_some() { Breach::Foreign } else { Breach::Unmarked });
            }
            // A whole body, a record, or what should be an object, is a plain value: it can't be checked.
            Place::Outside | Place::Embedded => self.breach(Breach::Elsewhere),
            Place::Records => self.breach(Breach::Unmarked),
            Place::Root | Place::Record | Place::InsideRecord | Place::Links | Place::Anywhere => {}
        }
    }
}

#[cfg(test)]
#[path = "inspect_tests.rs"]
mod tests;
