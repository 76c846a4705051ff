use super::*;
use proptest::prelude::*;

/// What was told, in a form that can be compared: decoded text with where it stood.
#[derive(Default)]
struct Told(Vec<String>);

impl Listener for Told {
    fn opens(&mut self, bracket: Bracket) {
        self.0.push(format!("{bracket:?}Start"));
    }

    fn closes(&mut self, bracket: Bracket) {
        self.0.push(format!("{bracket:?}End"));
    }

    fn name(&mut self, text: Text<'_>) {
        self.0.push(format!("key {} @{}", String::from_utf8_lossy(text.decoded), text.start));
    }

    fn string(&mut self, text: Text<'_>) {
        let (decoded, raw) = (String::from_utf8_lossy(text.decoded), text.raw_length(text.decoded.len()));
        self.0.push(format!("string {decoded} @{}+{raw} {}", text.start, text.complete));
    }

    fn number(&mut self, whole: impl FnOnce() -> Option<u64>) {
        self.0.push(format!("Number({:?})", whole()));
    }

    fn word(&mut self) {
        self.0.push("Word".to_owned());
    }
}

fn events(pieces: &[&[u8]]) -> Result<Vec<String>, NotJson> {
    let mut told = Told::default();
    let mut reader = Reader::new();
    for piece in pieces {
        reader.feed(piece, &mut told)?;
    }
    reader.finish(&mut told)?;
    Ok(told.0)
}

#[test]
fn keys_and_strings_are_told_with_their_place() {
    let told = events(&[br#"{"a":["x",1.10,null,120]}"#]).expect("JSON");
    assert_eq!(
        told,
        [
            "ObjectStart",
            "key a @2",
            "ArrayStart",
            "string x @7+1 true",
            "Number(None)",
            "Word",
            "Number(Some(120))",
            "ArrayEnd",
            "ObjectEnd"
        ]
    );
}

#[test]
fn a_number_has_a_value_where_it_can_be_a_count() {
    let value = |text: &str| events(&[text.as_bytes()]).expect("JSON").concat();
    assert_eq!(value("0"), "Number(Some(0))");
    assert_eq!(value("18446744073709551615"), format!("Number(Some({}))", u64::MAX));
    for other in ["18446744073709551616", "-0", "-1", "1.0", "0.0", "1e3", "0e1"] {
        assert_eq!(value(other), "Number(None)", "{other}");
    }
}

#[test]
fn escapes_are_decoded_and_their_raw_length_is_known() {
    let told = events(&[br#""http:\/\/a\u002fb\ud83d\ude00c""#]).expect("JSON");
    assert_eq!(told, ["string http://a/b\u{1f600}c @1+30 true"]);
}

#[test]
fn a_long_string_is_told_of_as_incomplete_and_once() {
    let long = format!("\"{}\"", "é".repeat(LONGEST_TEXT));
    let told = events(&[long.as_bytes()]).expect("JSON");
    assert_eq!(told.len(), 1);
    assert!(told[0].ends_with("false"));
}

#[test]
fn what_is_not_json_is_refused() {
    for text in [
        "",
        " ",
        "{",
        "[1,]",
        "{\"a\"}",
        "{\"a\":1,}",
        "[1 2]",
        "01",
        "1.",
        "-",
        "1e",
        "tru",
        "nul",
        "\"a",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\ud800\\n\"",
        "\"\\udc00\"",
        "\"\n\"",
        "{}{}",
        "]",
        "{]",
        "[1}",
        "{\"a\":1]",
        "[01]",
        "{\"a\":01}",
        "[1.]",
        "{\"a\":1.,\"b\":2}",
        "{1:2}",
        "NaN",
        "+1",
        "'a'",
        "\u{feff}1",
    ] {
        assert!(events(&[text.as_bytes()]).is_err(), "{text:?}");
    }
    assert!(events(&[b"\"\xff\""]).is_err());
    assert!(events(&[b"\"\xc3"]).is_err());
    assert!(events(&[b"\"\xc3", b"a", b"\xa9\""]).is_err(), "another character in the middle of one");
}

#[test]
fn nesting_has_an_end() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = |depth| format!("{}1{}", open.repeat(depth), close.repeat(depth));
        assert!(events(&[nested(nesting::DEEPEST).as_bytes()]).is_ok());
        let reason = events(&[nested(nesting::DEEPEST + 1).as_bytes()]).map_err(|error| error.reason);
        assert_eq!(reason, Err("the nesting is too deep"));
    }
}

/// JSON of every kind, with texts that end before, at and beyond what is looked at at once.
fn json() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        20 => "[a-z_]{0,20}".prop_map(|text| format!("\"{text}\"")),
        5 => r#"(a|é|/|\\/|\\n|\\"|\\u00e9|\\ud83d\\ude00){0,20}"#.prop_map(|text| format!("\"{text}\"")),
        1 => (LONGEST_TEXT - 2..LONGEST_TEXT + 20).prop_map(|length| format!("\"{}\"", "x".repeat(length))),
    ];
    let number = r"-?(0|[1-9][0-9]{0,22})(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?";
    let plain = prop_oneof![3 => text.clone(), 2 => number, 1 => "true|false|null"];
    let space = "|||| |\n\t";
    plain.prop_recursive(4, 60, 6, move |value| {
        let member = (text.clone(), space, value.clone(), space)
            .prop_map(|(name, before, value, after)| format!("{name}:{before}{value}{after}"));
        prop_oneof![
            2 => (space, prop::collection::vec(member, 0..6))
                .prop_map(|(space, members)| format!("{{{space}{}}}", members.join(","))),
            1 => (space, prop::collection::vec(value, 0..6))
                .prop_map(|(space, elements)| format!("[{space}{}]", elements.join(","))),
        ]
    })
}

proptest! {
    #[test]
    fn what_stands_whole_is_passed_as_byte_by_byte(
        text in json(),
        damage in prop::option::of((any::<prop::sample::Index>(), r#"[\[\]{}",:0-9eE+\-. truefalsn\\\x00-\x1f]?"#)),
        cut in any::<prop::sample::Index>(),
    ) {
        let text = match damage {
            None => text,
            Some((place, other)) => {
                let place = place.index(text.chars().count());
                let (head, rest): (String, String) =
                    (text.chars().take(place).collect(), text.chars().skip(place + 1).collect());
                head + &other + &rest
            }
        };
        let whole = events(&[text.as_bytes()]);
        let bytes: Vec<_> = text.as_bytes().chunks(1).collect();
        prop_assert_eq!(&whole, &events(&bytes), "{}", text);
        let (head, rest) = text.as_bytes().split_at(cut.index(text.len() + 1));
        let in_two = events(&[head, rest]);
        prop_assert_eq!(whole, in_two, "{}", text);
    }
    #[test]
    fn agrees_with_a_parser_on_what_is_json(text in r#"[\[\]{}",:0-9eE+\-. truefalsn\\u/é]{0,24}"#) {
        // serde_json takes a lone surrogate for an error too, and a depth that this alphabet can't reach.
        let parsed = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        prop_assert_eq!(events(&[text.as_bytes()]).is_ok(), parsed, "{}", text);
    }

    #[test]
    fn pieces_make_no_difference(text in r#"\[("(a|é|\\/|\\u00e9|\\ud83d\\ude00){0,8}",)*\{"href":"(h|\\/){0,9}"\}\]"#, cuts in prop::collection::vec(0usize..200, 0..5)) {
        let bytes = text.as_bytes();
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(events(&pieces), events(&[bytes]));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = events(&[&bytes]);
    }
}
