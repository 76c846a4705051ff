use super::*;
use rstest::rstest;

const OWN: &str = "5ea75fe7aa224700012eae40";

fn outcome(body: &str, scoped: bool) -> Result<usize, Unfit> {
    let account_scope = AccountScope { field: "account_id".into(), account: OWN.parse().expect("an id") };
    let origin = Origin::new("https://api.example.com".into());
    inspect(body.as_bytes(), &origin, scoped.then_some(&account_scope))
        .map(|inspection| inspection.links.len())
}

#[rstest]
#[case::one_record(
    r#"{"total":1,"_embedded":{"invoices":[{"account_id":"5ea75fe7aa224700012eae40","amount":1.10}]}}"#
)]
#[case::the_id_in_capitals(r#"{"_embedded":{"invoices":[{"account_id":"5EA75FE7AA224700012EAE40"}]}}"#)]
#[case::an_escaped_member_name(
    r#"{"_embedded":{"invoices":[{"account\u005fid":"5ea75fe7aa224700012eae40"}]}}"#
)]
#[case::no_record(r#"{"total":0,"_embedded":{"invoices":[]}}"#)]
#[case::nothing_embedded(r#"{"total":0}"#)]
#[case::links_of_hal(r#"{"_links":{"self":{"href":"x"}},"_embedded":{"a":[]}}"#)]
#[case::links_at_the_top(r#"{"next":{"href":"x"},"show":{"href":"y"},"_embedded":{"a":[]}}"#)]
#[case::nested_and_own(r#"{"_embedded":{"a":[{"account_id":"5ea75fe7aa224700012eae40","lines":[{"account_id":"5ea75fe7aa224700012eae40"},{"x":1}]}]}}"#)]
fn what_is_the_accounts_own_passes(#[case] body: &str) {
    assert!(outcome(body, true).is_ok(), "{:?}", outcome(body, true));
}

#[rstest]
#[case::foreign(
    r#"{"_embedded":{"a":[{"account_id":"5ea75fe7aa224700012eae41"}]}}"#,
    AccountViolation::Foreign
)]
#[case::foreign_after_own(r#"{"_embedded":{"a":[{"account_id":"5ea75fe7aa224700012eae40"},{"account_id":"5ea75fe7aa224700012eae41"}]}}"#, AccountViolation::Foreign)]
#[case::foreign_in_a_second_array(
    r#"{"_embedded":{"a":[],"b":[{"account_id":"5ea75fe7aa224700012eae41"}]}}"#,
    AccountViolation::Foreign
)]
#[case::no_id(r#"{"_embedded":{"a":[{"amount":1}]}}"#, AccountViolation::Unmarked)]
#[case::another_spelling(
    r#"{"_embedded":{"a":[{"Account_Id":"5ea75fe7aa224700012eae40"}]}}"#,
    AccountViolation::Unmarked
)]
#[case::twice(r#"{"_embedded":{"a":[{"account_id":"5ea75fe7aa224700012eae40","account_id":"5ea75fe7aa224700012eae40"}]}}"#, AccountViolation::Unmarked)]
#[case::own_and_foreign(r#"{"_embedded":{"a":[{"account_id":"5ea75fe7aa224700012eae40","account_id":"5ea75fe7aa224700012eae41"}]}}"#, AccountViolation::Foreign)]
#[case::not_a_string(r#"{"_embedded":{"a":[{"account_id":5}]}}"#, AccountViolation::Unmarked)]
#[case::an_object_for_an_id(
    r#"{"_embedded":{"a":[{"account_id":{"id":"5ea75fe7aa224700012eae40"}}]}}"#,
    AccountViolation::Unmarked
)]
#[case::an_object_for_a_nested_id(
    r#"{"_embedded":{"a":[{"account_id":"5ea75fe7aa224700012eae40","x":{"account_id":{}}}]}}"#,
    AccountViolation::Unmarked
)]
#[case::an_array_for_a_nested_id(r#"{"_embedded":{"a":[{"account_id":"5ea75fe7aa224700012eae40","x":{"account_id":["5ea75fe7aa224700012eae41"]}}]}}"#, AccountViolation::Unmarked)]
#[case::only_a_nested_one(
    r#"{"_embedded":{"a":[{"x":{"account_id":"5ea75fe7aa224700012eae40"}}]}}"#,
    AccountViolation::Unmarked
)]
#[case::nested_foreign(r#"{"_embedded":{"a":[{"account_id":"5ea75fe7aa224700012eae40","x":{"account_id":"5ea75fe7aa224700012eae41"}}]}}"#, AccountViolation::Foreign)]
#[case::a_record_that_is_none(r#"{"_embedded":{"a":["text"]}}"#, AccountViolation::Unmarked)]
#[case::records_that_are_a_text(r#"{"_embedded":{"a":"text"}}"#, AccountViolation::Elsewhere)]
#[case::records_that_are_a_number(r#"{"_embedded":{"a":1}}"#, AccountViolation::Elsewhere)]
#[case::records_in_an_object(
    r#"{"_embedded":{"a":{"b":{"account_id":"5ea75fe7aa224700012eae40"}}}}"#,
    AccountViolation::Elsewhere
)]
#[case::embedded_as_an_array(
    r#"{"_embedded":[{"account_id":"5ea75fe7aa224700012eae40"}]}"#,
    AccountViolation::Elsewhere
)]
#[case::embedded_twice(r#"{"_embedded":{"a":[]},"_embedded":{"a":[]}}"#, AccountViolation::Elsewhere)]
#[case::records_at_the_top(
    r#"{"invoices":[{"account_id":"5ea75fe7aa224700012eae40"}]}"#,
    AccountViolation::Elsewhere
)]
#[case::records_among_links(r#"{"_links":{"data":[{"a":1}]}}"#, AccountViolation::Elsewhere)]
#[case::a_record_that_is_the_body(
    r#"{"account_id":"5ea75fe7aa224700012eae41","amount":1.10}"#,
    AccountViolation::Foreign
)]
#[case::a_record_among_the_links(
    r#"{"_embedded":{"a":[]},"_links":{"self":{"href":"x","account_id":"5ea75fe7aa224700012eae41"}}}"#,
    AccountViolation::Foreign
)]
#[case::foreign_after_elsewhere(
    r#"{"fields":[],"_embedded":{"a":[{"account_id":"5ea75fe7aa224700012eae41"}]}}"#,
    AccountViolation::Foreign
)]
#[case::a_bare_array(r#"[{"account_id":"5ea75fe7aa224700012eae40"}]"#, AccountViolation::Elsewhere)]
#[case::a_bare_value(r#""text""#, AccountViolation::Elsewhere)]
fn what_could_be_anothers_does_not(#[case] body: &str, #[case] breach: AccountViolation) {
    assert_eq!(outcome(body, true), Err(Unfit::AccountViolation(breach)));
    assert!(outcome(body, false).is_ok(), "without an account scope any JSON passes");
}

#[test]
fn links_are_members_called_href_wherever_they_stand() {
    let body = r#"{"_links":{"next":{"href":"https://api.example.com/a"}},"self":{"href":"https:\/\/api.example.com\/b"},
        "_embedded":{"a":[{"x":{"href":"https://api.example.com/c"},"url":"https://api.example.com/d"}]},
        "description":"https://api.example.com/e","hrefs":["https://api.example.com/f"],"href":["https://api.example.com/g"]}"#;
    assert_eq!(outcome(body, false), Ok(3));
}

#[test]
fn what_is_not_json_is_unfit() {
    assert!(matches!(outcome("{\"total\":", false), Err(Unfit::NotJson(_))));
}

#[rstest]
#[case::both(
    r#"{"total":12,"_embedded":{"a":[{"total":7}]},"total_pages":2}"#,
    Count::Number(12),
    Count::Number(2)
)]
#[case::neither("{}", Count::Absent, Count::Absent)]
#[case::not_at_the_top(r#"{"page":{"total":1,"total_pages":1}}"#, Count::Absent, Count::Absent)]
#[case::a_list(r#"[{"total":1}]"#, Count::Absent, Count::Absent)]
#[case::words(r#"{"total":"12","total_pages":"2"}"#, Count::Unreadable, Count::Unreadable)]
#[case::null(r#"{"total":null,"total_pages":null}"#, Count::Absent, Count::Absent)]
#[case::twice(r#"{"total":1,"total":1,"total_pages":[2]}"#, Count::Unreadable, Count::Unreadable)]
#[case::fractions(r#"{"total":1.0,"total_pages":{"total_pages":3}}"#, Count::Unreadable, Count::Unreadable)]
fn the_counts_at_the_top_are_read(#[case] body: &str, #[case] total: Count, #[case] total_pages: Count) {
    let origin = Origin::new("https://api.example.com".into());
    let read = inspect(body.as_bytes(), &origin, None).expect("JSON");
    assert_eq!(read.counts, Counts { total, total_pages });
}

#[rstest]
#[case::as_usual(r#"{"_links":{"next":{"href":"https://api.example.com/a"}}}"#)]
#[case::an_escaped_name(r#"{"hr\u0065f":"https://api.example.com/a"}"#)]
#[case::in_capitals(r#"{"href":"HTTPS://API.EXAMPLE.COM/a"}"#)]
fn a_body_with_links_is_never_taken_for_one_without(#[case] body: &str) {
    assert_eq!(outcome(body, false), Ok(1));
    assert!(may_have_links(body.as_bytes()));
}

#[test]
fn a_body_without_links_is_known_without_being_read() {
    for body in
        [r#"{"total":1,"_embedded":{"invoices":[{"url":"https://api.example.com/a"}]}}"#, "[]", "", "no JSON"]
    {
        assert!(!may_have_links(body.as_bytes()), "{body}");
    }
}

#[rstest]
#[case::invoices(r#"{"total":2,"_embedded":{"invoices":[{"id":"a"},{"id":"b"}]},"_links":{}}"#, true, 2, Some(("a", "b")))]
#[case::without_records(r#"{"_embedded":{"invoices":[]}}"#, true, 0, None)]
#[case::links_alone(r#"{"_links":{"self":{"href":"x"}}}"#, true, 0, None)]
#[case::usage(r#"{"self":{"href":"x"},"_embedded":{"usage":[{"id":"a"}]}}"#, true, 1, Some(("a", "a")))]
#[case::without_ids(r#"{"_embedded":{"usage":[{"id":null},{"month":"2024-08"}]}}"#, true, 2, None)]
#[case::an_id_deeper_is_another(r#"{"_embedded":{"usage":[{"a":{"id":"x"},"id":"y"}]}}"#, true, 1, Some(("y", "y")))]
#[case::records_that_are_none(r#"{"_embedded":{"usage":[1,"two",[]]}}"#, true, 3, None)]
#[case::an_error(r#"{"code":"1","message":"no"}"#, false, 0, None)]
#[case::nothing("{}", false, 0, None)]
#[case::null("null", false, 0, None)]
#[case::a_list(r#"[{"id":"a"}]"#, false, 0, None)]
#[case::no_object(r#"{"_embedded":[],"_links":"x","next":null}"#, false, 0, None)]
#[case::deeper(r#"{"data":{"_embedded":{"a":[{"id":"a"}]},"_links":{}}}"#, false, 0, None)]
fn a_page_is_told_from_what_is_none(
    #[case] body: &str,
    #[case] is_page: bool,
    #[case] records: u64,
    #[case] edges: Option<(&str, &str)>,
) {
    let origin = Origin::new("https://api.example.com".into());
    let read = inspect(body.as_bytes(), &origin, None).expect("JSON");
    assert_eq!((read.page.is_page, read.page.records), (is_page, records));
    let one = |id: &str| {
        let body = format!(r#"{{"_embedded":{{"a":[{{"id":"{id}"}}]}}}}"#);
        inspect(body.as_bytes(), &origin, None).expect("JSON").record_ids[0]
    };
    assert_eq!(read.page.edges, edges.map(|(first, last)| (one(first), one(last))));
}
