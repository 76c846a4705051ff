//! The JSON reader: the same in pieces as in one, and the same as `serde_json` has it.

use std::fmt;

use billing_insights_proxy::json::{Bracket, LONGEST_TEXT, Listener, Reader, Text};
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
    let mut told = Told { body, passed: Vec::new() };
    for piece in pieces(body, cuts) {
        reader.feed(piece, &mut told).map_err(|error| error.to_string())?;
    }
    reader.finish(&mut told).map_err(|error| error.to_string())?;
    Ok(told.passed)
}

struct Told<'a> {
    body: &'a [u8],
    passed: Vec<Passed>,
}

impl Told<'_> {
    /// The beginning of a text, which has to stand where it says.
    fn beginning(&self, text: Text<'_>) -> Vec<u8> {
        let start = usize::try_from(text.start).expect("within the body");
        assert_eq!(self.body[start - 1], b'"');
        assert!(text.raw_length(text.decoded.len()) <= (self.body.len() - start) as u64);
        assert_eq!(text.complete, text.decoded.len() <= LONGEST_TEXT && text.complete);
        text.decoded[..text.decoded.len().min(LONGEST_TEXT)].to_vec()
    }
}

impl Listener for Told<'_> {
    fn opens(&mut self, bracket: Bracket) {
        self.passed.push(match bracket {
            Bracket::Object => Passed::ObjectStart,
            Bracket::Array => Passed::ArrayStart,
        });
    }

    fn closes(&mut self, bracket: Bracket) {
        self.passed.push(match bracket {
            Bracket::Object => Passed::ObjectEnd,
            Bracket::Array => Passed::ArrayEnd,
        });
    }

    fn name(&mut self, text: Text<'_>) {
        self.passed.push(Passed::Key(self.beginning(text)));
    }

    fn string(&mut self, text: Text<'_>) {
        self.passed.push(Passed::String(self.beginning(text)));
    }

    fn number(&mut self, whole: impl FnOnce() -> Option<u64>) {
        self.passed.push(Passed::Number(whole()));
    }

    fn word(&mut self) {
        self.passed.push(Passed::Scalar);
    }
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
