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
use crate::json::{Event, NotJson, Reader, Text};
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
    reader.feed(body, &mut |event| inspector.see(event))?;
    reader.finish(&mut |event| inspector.see(event))?;
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

/// Follows a body's structure, event by event.
#[derive(Debug)]
pub struct Inspector {
    origin: Origin,
    wall: Option<Wall>,
    frames: Vec<Frame>,
    key: Key,
    embedded_seen: bool,
    links: Vec<Splice>,
    counts: Counts,
    breach: Option<Breach>,
}

#[derive(Debug)]
struct Frame {
    place: Place,
    object: bool,
    /// How often this object carried the account's id.
    marks: u8,
}

/// Where in a body an object or array stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
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

/// What the present member is called, as far as it matters.
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

impl Inspector {
    /// An inspector at the beginning of a body.
    #[must_use]
    pub fn new(origin: Origin, wall: Option<Wall>) -> Self {
        Self {
            origin,
            wall,
            frames: Vec::new(),
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
        self.key == Key::Href && self.frames.last().is_some_and(|frame| frame.object)
    }

    /// The links found since the last call.
    pub fn take_links(&mut self) -> Vec<Splice> {
        std::mem::take(&mut self.links)
    }

    /// Takes note of what the reader passed.
    #[inline]
    pub fn see(&mut self, event: Event<'_>) {
        match event {
            Event::ObjectStart => self.enter(true),
            Event::ArrayStart => self.enter(false),
            Event::ObjectEnd | Event::ArrayEnd => self.leave(),
            Event::Key(text) => self.key = self.name(&text),
            Event::String(text) => self.string(&text),
            Event::Number(number) => {
                self.count(number);
                self.value(None);
            }
            Event::Scalar => {
                self.count(None);
                self.value(None);
            }
        }
    }

    fn breach(&mut self, breach: Breach) {
        // A record that is plainly another's says more than data in an unknown place.
        if self.breach.is_none_or(|known| known == Breach::Elsewhere) {
            self.breach = Some(breach);
        }
    }

    fn name(&mut self, text: &Text<'_>) -> Key {
        if !text.complete {
            return Key::Other;
        }
        let at_root = self.frames.len() == 1;
        if let Some(wall) = &self.wall
            && text.decoded == wall.field.as_bytes()
        {
            return Key::Account;
        }
        match text.decoded {
            b"href" => Key::Href,
            b"_embedded" if at_root => {
                if std::mem::replace(&mut self.embedded_seen, true) && self.wall.is_some() {
                    self.breach(Breach::Elsewhere);
                }
                Key::Embedded
            }
            b"total" if at_root => Key::Total,
            b"total_pages" if at_root => Key::TotalPages,
            name if at_root && LINK_MEMBERS.contains(&name) => Key::LinkObject,
            _ => Key::Other,
        }
    }

    fn enter(&mut self, object: bool) {
        self.count(None);
        let place = match self.frames.last().map(|frame| frame.place) {
            _ if self.wall.is_none() => Place::Anywhere,
            None if object => Place::Root,
            Some(Place::Root) if object && self.key == Key::Embedded => Place::Embedded,
            Some(Place::Root) if object && self.key == Key::LinkObject => Place::Links,
            Some(Place::Embedded) if !object => Place::Records,
            Some(Place::Records) if object => Place::Record,
            Some(Place::Record | Place::InsideRecord) => {
                if self.key == Key::Account {
                    self.breach(Breach::Unmarked);
                }
                Place::InsideRecord
            }
            Some(Place::Links) if object => Place::Links,
            None | Some(Place::Root | Place::Embedded | Place::Records | Place::Links | Place::Anywhere) => {
                self.breach(Breach::Elsewhere);
                Place::InsideRecord
            }
        };
        self.frames.push(Frame { place, object, marks: 0 });
        self.key = Key::Other;
    }

    fn leave(&mut self) {
        if let Some(Frame { place: Place::Record, marks, .. }) = self.frames.pop()
            && marks != 1
        {
            self.breach(Breach::Unmarked);
        }
        self.key = Key::Other;
    }

    fn string(&mut self, text: &Text<'_>) {
        if self.expects_link()
            && let Some(length) = self.origin.length_in(text.decoded)
        {
            self.links.push(Splice { start: text.start, length: text.raw_length(length) });
        }
        self.count(None);
        // Read where it counts alone: most strings are no ids.
        let is_id = self.key == Key::Account && text.complete;
        self.value(is_id.then(|| AccountId::from_bytes(text.decoded)).flatten());
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

    /// A plain value, with the account's id that it is, if it is one.
    fn value(&mut self, account: Option<AccountId>) {
        let Some(wall) = &self.wall else { return };
        let (place, expected) = (self.frames.last().map(|frame| frame.place), wall.account);
        match place {
            Some(Place::Record | Place::InsideRecord) if self.key == Key::Account => {
                if account != Some(expected) {
                    self.breach(if account.is_some() { Breach::Foreign } else { Breach::Unmarked });
                }
                if let Some(frame) = self.frames.last_mut() {
                    frame.marks = frame.marks.saturating_add(1);
                }
            }
            // Beside the records nothing may claim to be another account's: it would be a record of it.
            Some(Place::Root | Place::Links) if self.key == Key::Account && account != Some(expected) => {
                self.breach(if account.is_some() { Breach::Foreign } else { Breach::Unmarked });
            }
            // A whole body, a record, or what should be an object, is a plain value: it can't be checked.
            None | Some(Place::Embedded) => self.breach(Breach::Elsewhere),
            Some(Place::Records) => self.breach(Breach::Unmarked),
            Some(Place::Root | Place::Record | Place::InsideRecord | Place::Links | Place::Anywhere) => {}
        }
    }
}

#[cfg(test)]
#[path = "inspect_tests.rs"]
mod tests;
