//! What is JSON: which bodies are accepted, and that positions are those of the whole body.

use proptest::prelude::*;
use rstest::rstest;

use super::{AccountViolation, Count, Unfit, content, origin, outcome, read, spliced_texts};

#[rstest]
#[case::nothing("")]
#[case::white_space(" \n")]
#[case::a_byte_order_mark_alone("\u{feff}")]
#[case::two_byte_order_marks("\u{feff}\u{feff}{}")]
#[case::a_byte_order_mark_inside("{\u{feff}}")]
#[case::cut_off(r#"{"total":"#)]
#[case::cut_off_in_a_string(r#"{"href":"https://api.exa"#)]
#[case::cut_off_in_an_escape(r#""\u12"#)]
#[case::two_documents("{}{}")]
#[case::two_documents_with_white_space("{} []")]
#[case::trailing_garbage("{} x")]
#[case::a_trailing_comma("[1,]")]
#[case::a_trailing_comma_in_an_object(r#"{"a":1,}"#)]
#[case::a_second_comma("[1,,{}]")]
#[case::a_leading_comma("[,{}]")]
#[case::a_second_colon(r#"{"a"::{}}"#)]
#[case::no_colon(r#"{"a"{}}"#)]
#[case::no_value(r#"{"a"}"#)]
#[case::no_comma("[{}{}]")]
#[case::a_comma_for_a_colon(r#"{"a",{}}"#)]
#[case::a_colon_for_a_comma("[1:{}]")]
#[case::a_comma_before_the_body(",{}")]
#[case::a_name_that_is_none("{1:2}")]
#[case::an_object_as_a_name("{{}:2}")]
#[case::another_bracket("[1}")]
#[case::another_bracket_of_an_object(r#"{"a":1]"#)]
#[case::a_bracket_that_closes_nothing("]")]
#[case::a_leading_zero("[01]")]
#[case::no_fraction("[1.]")]
#[case::no_exponent("1e")]
#[case::a_plus("+1")]
#[case::no_number("NaN")]
#[case::a_word_that_is_cut("tru")]
#[case::an_unknown_escape(r#""\x""#)]
#[case::an_escape_without_digits(r#"{"\u12":1}"#)]
#[case::a_control_character("\"\n\"")]
#[case::single_quotes("'a'")]
fn what_is_not_json_is_unfit(#[case] body: &str) {
    assert!(matches!(outcome(body, false), Err(Unfit::NotJson(_))), "{:?}", outcome(body, false));
    assert!(matches!(outcome(body, true), Err(Unfit::NotJson(_))), "it comes before the account check");
}

#[rstest]
#[case::in_a_string(b"\"\xff\"")]
#[case::in_a_name(b"{\"\xff\":1}")]
#[case::cut_off(b"\"\xc3\"")]
#[case::a_surrogate_that_is_not_escaped(b"\"\xed\xa0\x80\"")]
#[case::another_encoding(b"\xff\xfe{\0}\0")]
fn invalid_utf_8_is_unfit(#[case] body: &[u8]) {
    assert!(matches!(read(body, &origin(), None), Err(Unfit::NotJson(_))));
}

#[rstest]
#[case::arrays("[", "]")]
#[case::objects(r#"{"a":"#, "}")]
#[case::both(r#"[{"a":"#, "}]")]
fn nesting_has_a_limit(#[case] open: &str, #[case] close: &str) {
    let brackets = open.matches(['[', '{']).count();
    let nested = |depth: usize| {
        let depth = depth / brackets;
        format!("{}1{}", open.repeat(depth), close.repeat(depth))
    };
    let deepest = 127 / brackets * brackets;
    assert_eq!(outcome(&nested(deepest), false), Ok(0));
    for depth in [129_usize, 130, 100_000] {
        let depth = depth.next_multiple_of(brackets);
        let Err(Unfit::NotJson(reason)) = outcome(&nested(depth), false) else { panic!("{depth} levels") };
        assert!(reason.contains("recursion limit exceeded"), "{reason}");
    }
}

#[test]
fn a_byte_order_mark_counts_in_positions() {
    let body = "\u{feff} {\"href\":\"https://api.example.com/a\"}";
    let links = content(body).links;
    assert_eq!(spliced_texts(body, &links), ["https://api.example.com"]);
    assert_eq!(links[0].start, 3 + 10);
}

#[rstest]
#[case::in_a_value(r#"{"a":"\ud800","href":"https://api.example.com"}"#)]
#[case::in_an_element(r#"["\udc00",{"href":"https://api.example.com"}]"#)]
#[case::in_a_name(r#"{"\ud800":1,"href":"https://api.example.com"}"#)]
#[case::in_a_name_before_an_object(r#"{"\ud800\n":{"href":"https://api.example.com"}}"#)]
#[case::in_the_link(r#"{"href":"https://api.example.com/\udfff\ud83d"}"#)]
#[case::in_a_count_and_an_id(
    r#"{"total":"\ud800","_embedded":{"a":[{"id":"\ud800","href":"https://api.example.com"}]}}"#
)]
fn a_lone_surrogate_is_accepted(#[case] body: &str) {
    assert_eq!(spliced_texts(body, &content(body).links), ["https://api.example.com"]);
}

#[test]
fn a_name_with_a_lone_surrogate_is_not_the_accounts() {
    let body = |name: &str| format!(r#"{{"_embedded":{{"a":[{{"{name}":"5ea75fe7aa224700012eae40"}}]}}}}"#);
    let unmarked = Err(Unfit::AccountViolation(AccountViolation::Unmarked));
    for name in [r"account_id\ud800", r"\udc00account_id", r"account\ud800_id", r"account\ufffdid"] {
        assert_eq!(outcome(&body(name), true), unmarked, "{name}");
    }
    for name in [r"account_id", r"\u0061ccount_id", r"account\u005Fid"] {
        assert_eq!(outcome(&body(name), true), Ok(0), "{name}");
    }
}

#[test]
fn an_account_id_may_have_escapes_but_no_lone_surrogate() {
    let body = |id: &str| format!(r#"{{"_embedded":{{"a":[{{"account_id":"{id}"}}]}}}}"#);
    let violation = |violation| Err(Unfit::AccountViolation(violation));
    assert_eq!(outcome(&body(r"\u0035ea75fe7aa224700012eae40"), true), Ok(0));
    assert_eq!(outcome(&body(r"\u0035ea75fe7aa224700012eae41"), true), violation(AccountViolation::Foreign));
    assert_eq!(outcome(&body(r"5ea75fe7aa224700012ea\ud800"), true), violation(AccountViolation::Unmarked));
}

#[rstest]
#[case::beyond_a_float("1e400")]
#[case::beyond_a_float_below_zero("-1E+999999999999999999999")]
#[case::many_digits("1234567890123456789012345678901234567890")]
#[case::many_digits_after_the_point("0.1234567890123456789012345678901234567890")]
#[case::one_more_than_fits("18446744073709551616")]
#[case::not_whole("1.0")]
#[case::minus_zero("-0")]
fn a_number_of_any_size_is_accepted_but_counts_nothing(#[case] number: &str) {
    let body =
        format!(r#"{{"a":{number},"total":{number},"_embedded":{{"a":[{number},{{"id":{number}}}]}}}}"#);
    let content = content(&body);
    assert_eq!(content.counts.total, Count::Unreadable);
    assert_eq!((content.page.records, content.record_ids.len()), (2, 0));
    assert_eq!(outcome(number, false), Ok(0));
}

#[test]
fn the_largest_count_is_read() {
    assert_eq!(content(r#"{"total":18446744073709551615}"#).counts.total, Count::Number(u64::MAX));
}

#[rstest]
#[case::a_solidus(r#"{"href":"https:\/\/api.example.com\/a"}"#, r"https:\/\/api.example.com")]
#[case::a_letter(r#"{"href":"\u0068ttps://api.example.com"}"#, r"\u0068ttps://api.example.com")]
#[case::the_last_letter(r#"{"href":"https://api.example.co\u006D/"}"#, r"https://api.example.co\u006D")]
#[case::the_port(r#"{"href":"https://api.example.com\u003a443/a"}"#, r"https://api.example.com\u003a443")]
#[case::only_after_the_origin(r#"{"href":"https://api.example.com?a\u0026b"}"#, "https://api.example.com")]
#[case::an_escaped_name(r#"{"\u0068ref":"https://api.example.com"}"#, "https://api.example.com")]
#[case::white_space("{ \"href\"\t:\r\n \"https://api.example.com\" }", "https://api.example.com")]
#[case::after_other_values(
    r#"[{},[],[ ],{ },"é",-1.5e3,null,{"a":[{}],"href":"https://api.example.com"}]"#,
    "https://api.example.com"
)]
#[case::one_of_two_members(r#"{"href":1,"href":"https://api.example.com"}"#, "https://api.example.com")]
fn a_link_is_found_with_its_escapes(#[case] body: &str, #[case] raw: &str) {
    assert_eq!(spliced_texts(body, &content(body).links), [raw]);
}

#[rstest]
#[case::elements_of_an_array(r#"{"href":["https://api.example.com"]}"#)]
#[case::an_object(r#"{"href":{"a":"https://api.example.com"}}"#)]
#[case::an_element_after_a_member(r#"[{"href":1},"https://api.example.com"]"#)]
#[case::another_host(r#"{"href":"https://api.example.com\u002eevil.com"}"#)]
#[case::another_name(r#"{"href\u0000":"https://api.example.com"}"#)]
fn what_is_not_the_string_of_an_href_is_no_link(#[case] body: &str) {
    assert_eq!(outcome(body, false), Ok(0));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_fit_exactly_if_they_are_json(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(br#"[]{}",:0e"#.to_vec())], 0..16),
    ) {
        let json = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let parsed = std::str::from_utf8(json)
            .is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
        prop_assert_eq!(read(&bytes, &origin(), None).is_ok(), parsed);
    }

    #[test]
    fn a_body_is_fit_exactly_if_serde_json_can_skip_it(text in r#"[\[\]{}",:0-9eE+\-. truefalsn\\u/é]{0,24}"#) {
        let parsed = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        prop_assert_eq!(outcome(&text, false).is_ok(), parsed, "{}", text);
    }
}
