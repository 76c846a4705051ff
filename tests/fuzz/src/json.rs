//! The JSON reader: the same in pieces as in one, and the same as `serde_json` has it.

use std::fmt;

use billing_insights_proxy::json::{Event, LONGEST_TEXT, Reader};
use serde::de::{Deserialize as _, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::lines::{cuts_and_body, pieces};

/// What both readers pass.
#[derive(Clone, Debug, PartialEq)]
enum Passed {
    ObjectStart,
    ObjectEnd,
    ArrayStart,
    ArrayEnd,
    Key(Vec<u8>),
    String(Vec<u8>),
    Number(Option<u64>),
    Scalar,
}

pub fn run(data: &[u8]) {
    let (cuts, body) = cuts_and_body(data);
    // Where in a text a fault is told of depends on the pieces, and what it is too.
    let whole = read(body, &[]);
    assert_eq!(read(body, cuts).ok(), whole.as_ref().ok().cloned(), "cuts decide");
    let bytes: Vec<u8> = vec![1; body.len().min(200)];
    assert_eq!(read(body, &bytes).ok(), whole.as_ref().ok().cloned(), "byte by byte it is something else");
    let deep = body.iter().filter(|byte| b"[{".contains(byte)).count() > 100;
    let is_text = std::str::from_utf8(body).is_ok();
    let valid = is_text && serde_json::from_slice::<IgnoredAny>(body).is_ok();
    let mut passed = Vec::new();
    let mut naive = serde_json::Deserializer::from_slice(body);
    let read_by_serde = Collect(&mut passed).deserialize(&mut naive).and_then(|()| naive.end());
    match (&whole, read_by_serde) {
        (Ok(events), Ok(())) => assert_eq!(*events, passed),
        // A number too large for a float is JSON all the same.
        (Ok(_), Err(error)) => assert!(valid && error.to_string().contains("number out of range"), "{error}"),
        (Err(not_json), Ok(())) => assert!(deep, "{not_json}"),
        (Err(_), Err(_)) => {}
    }
}

fn read(body: &[u8], cuts: &[u8]) -> Result<Vec<Passed>, String> {
    let mut reader = Reader::new();
    let mut passed = Vec::new();
    let mut see = |event: Event<'_>| {
        passed.push(match event {
            Event::ObjectStart => Passed::ObjectStart,
            Event::ObjectEnd => Passed::ObjectEnd,
            Event::ArrayStart => Passed::ArrayStart,
            Event::ArrayEnd => Passed::ArrayEnd,
            Event::Key(text) | Event::String(text) => {
                let start = usize::try_from(text.start).expect("within the body");
                assert_eq!(body[start - 1], b'"');
                assert!(text.raw_length(text.decoded.len()) <= (body.len() - start) as u64);
                assert_eq!(text.complete, text.decoded.len() <= LONGEST_TEXT && text.complete);
                let decoded = text.decoded[..text.decoded.len().min(LONGEST_TEXT)].to_vec();
                if matches!(event, Event::Key(_)) { Passed::Key(decoded) } else { Passed::String(decoded) }
            }
            Event::Number(number) => Passed::Number(number),
            Event::Scalar => Passed::Scalar,
        });
    };
    for piece in pieces(body, cuts) {
        reader.feed(piece, &mut see).map_err(|error| error.to_string())?;
    }
    reader.finish(&mut see).map_err(|error| error.to_string())?;
    Ok(passed)
}

struct Collect<'a>(&'a mut Vec<Passed>);

fn beginning(text: &str) -> Vec<u8> {
    text.as_bytes()[..text.len().min(LONGEST_TEXT)].to_vec()
}

impl<'de> DeserializeSeed<'de> for Collect<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Collect<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.0.push(Passed::Scalar);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.push(Passed::Scalar);
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.0.push(Passed::Number(Some(number)));
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.0.push(Passed::Number(None));
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.0.push(Passed::Number(None));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.push(Passed::String(beginning(text)));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        self.0.push(Passed::ArrayStart);
        while elements.next_element_seed(Collect(&mut *self.0))?.is_some() {}
        self.0.push(Passed::ArrayEnd);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        self.0.push(Passed::ObjectStart);
        while let Some(name) = members.next_key_seed(Name)? {
            self.0.push(Passed::Key(beginning(&name)));
            members.next_value_seed(Collect(&mut *self.0))?;
        }
        self.0.push(Passed::ObjectEnd);
        Ok(())
    }
}

struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = String;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<String, D::Error> {
        String::deserialize(from)
    }
}
