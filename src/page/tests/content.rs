//! What is found in a body.

use rstest::rstest;

use super::{Count, TotalCounts, content, outcome};

#[test]
fn links_are_members_called_href_wherever_they_stand() {
    let body = r#"{"_links":{"next":{"href":"https://api.example.com/a"}},"self":{"href":"https:\/\/api.example.com\/b"},
        "_embedded":{"a":[{"x":{"href":"https://api.example.com/c"},"url":"https://api.example.com/d"}]},
        "description":"https://api.example.com/e","hrefs":["https://api.example.com/f"],"href":["https://api.example.com/g"]}"#;
    assert_eq!(outcome(body, false), Ok(3));
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
    let content = content(body);
    assert_eq!(content.counts, TotalCounts { total, total_pages });
}

#[rstest]
#[case::as_usual(r#"{"_links":{"next":{"href":"https://api.example.com/a"}}}"#)]
#[case::an_escaped_name(r#"{"hr\u0065f":"https://api.example.com/a"}"#)]
#[case::in_capitals(r#"{"href":"HTTPS://API.EXAMPLE.COM/a"}"#)]
fn a_link_is_found_however_it_is_written(#[case] body: &str) {
    assert_eq!(outcome(body, false), Ok(1));
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
    let content = content(body);
    assert_eq!((content.page.is_page, content.page.records), (is_page, records));
    let one = |id: &str| {
        let body = format!(r#"{{"_embedded":{{"a":[{{"id":"{id}"}}]}}}}"#);
        super::content(&body).record_ids[0]
    };
    assert_eq!(content.page.edges, edges.map(|(first, last)| (one(first), one(last))));
}
