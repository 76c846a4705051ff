//! Walks a body with `serde_json`, and tells the findings what stands where.
//!
//! Strings and numbers are taken as they are written ([`RawValue`]): `serde_json` refuses lone surrogates and
//! numbers beyond `f64` only where it converts a value, and a slice of the body has a position. The type of a
//! value must be known before it is taken, because a `RawValue` of an object would be walked a second time.
//! So the walk looks at the value's first byte itself. `serde_json` still checks every byte: where the two
//! disagree, the body is refused.

use std::fmt;

use serde::de::{Deserialize as _, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::findings::Findings;
use super::string::RawString;
use super::structure::{Container, ContainerKind, Place};

/// Walks one complete document that begins at the position `start` of the body.
pub(super) fn walk(json: &str, start: usize, findings: &mut Findings<'_>) -> serde_json::Result<()> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let mut walk = Walk { json, start, position: 0, findings };
    Value { walk: &mut walk, outer: &mut Container::new(Place::Outside) }.deserialize(&mut deserializer)?;
    deserializer.end()
}

struct Walk<'de, 'w, 'f> {
    json: &'de str,
    /// Where the document begins in the body.
    start: usize,
    /// The end of the last token that was passed, in the document.
    position: usize,
    findings: &'w mut Findings<'f>,
}

impl Walk<'_, '_, '_> {
    /// The first byte of the next token. Only white space, a colon or a comma stands before it; that it is
    /// the right one is checked by `serde_json`.
    fn next_token(&mut self) -> Option<u8> {
        let rest = self.json.as_bytes().get(self.position..)?;
        let skipped =
            rest.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b':' | b','))?;
        self.position += skipped;
        rest.get(skipped).copied()
    }

    /// Passes a token, which is a slice of the document, and returns its position in the body.
    fn pass(&mut self, token: &str) -> usize {
        let position = token.as_ptr().addr() - self.json.as_ptr().addr();
        self.position = position + token.len();
        self.start + position
    }

    /// Passes a bracket.
    fn pass_bracket(&mut self) {
        self.next_token();
        self.position += 1;
    }
}

/// The current value of `outer`.
struct Value<'o, 'de, 'w, 'f> {
    walk: &'o mut Walk<'de, 'w, 'f>,
    outer: &'o mut Container,
}

impl<'de> DeserializeSeed<'de> for Value<'_, 'de, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Self { walk, outer } = self;
        match walk.next_token() {
            Some(b'{') => {
                let container = walk.findings.opens(outer, ContainerKind::Object);
                deserializer.deserialize_map(Inside { walk, container })
            }
            Some(b'[') => {
                let container = walk.findings.opens(outer, ContainerKind::Array);
                deserializer.deserialize_seq(Inside { walk, container })
            }
            _ => {
                let raw = <&RawValue>::deserialize(deserializer)?.get();
                // Never so, but an object that is taken as a scalar would not be checked.
                if raw.starts_with(['{', '[']) {
                    return Err(D::Error::custom("an object or array is not where it should be"));
                }
                let position = walk.pass(raw);
                walk.findings.scalar(outer, raw, position).map_err(D::Error::custom)
            }
        }
    }
}

/// What stands between two brackets.
struct Inside<'o, 'de, 'w, 'f> {
    walk: &'o mut Walk<'de, 'w, 'f>,
    container: Container,
}

impl<'de> Visitor<'de> for Inside<'_, 'de, '_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self { walk, mut container } = self;
        walk.pass_bracket();
        while let Some(name) = members.next_key::<&RawValue>()? {
            walk.pass(name.get());
            walk.findings.name(&mut container, RawString(name.get())).map_err(A::Error::custom)?;
            members.next_value_seed(Value { walk: &mut *walk, outer: &mut container })?;
        }
        walk.pass_bracket();
        walk.findings.closes(&container);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Self { walk, mut container } = self;
        walk.pass_bracket();
        while elements.next_element_seed(Value { walk: &mut *walk, outer: &mut container })?.is_some() {}
        walk.pass_bracket();
        walk.findings.closes(&container);
        Ok(())
    }
}
