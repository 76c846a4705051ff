//! The account check.

use rstest::rstest;

use super::{AccountViolation, Unfit, outcome};

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
fn what_could_be_anothers_does_not(#[case] body: &str, #[case] violation: AccountViolation) {
    assert_eq!(outcome(body, true), Err(Unfit::AccountViolation(violation)));
    assert!(outcome(body, false).is_ok(), "without an account scope any JSON passes");
}
