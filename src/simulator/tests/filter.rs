//! Filters: the records that they select, the precedence of their operators, and the filters that are refused.

use http::StatusCode;
use proptest::prelude::*;
use rstest::rstest;

use super::caller::{Caller, filtered};
use crate::simulator::filter::Filter;
use crate::simulator::records::{MemberValue, Record, Row, attributes, record};
use crate::simulator::{Endpoint, Instance, Operator};

fn parse(endpoint: Endpoint, filter: &str) -> Result<Filter, String> {
    Filter::parse(filter, &attributes(endpoint, "account_id"), &[])
}

/// A usage record in which these values replace the generated ones.
fn usage(changes: &[(&str, MemberValue)]) -> Record<'static> {
    let instance = Instance::new("5ea75fe7aa224700012eae40", "josephpinetrees", 34);
    let mut record = record(Endpoint::MonthlyUsage, Row::Of(&instance, 0), "account_id", "http://api");
    for (name, value) in changes {
        record.0.iter_mut().find(|(member, _)| member == name).unwrap().1 = value.clone();
    }
    record
}

fn number(text: &str) -> MemberValue {
    MemberValue::Number(text.to_owned())
}

#[rstest]
#[case("month eq '2024-08'", true)]
#[case("month eq 2024-08", true)]
#[case("month eq '2024-09'", false)]
#[case("month ne '2024-09'", true)]
#[case("month ne '2024-08'", false)]
#[case("month gt '2024-07'", true)]
#[case("month gt '2024-08'", false)]
#[case("month ge '2024-08'", true)]
#[case("month ge '2024-09'", false)]
#[case("month lt '2024-09'", true)]
#[case("month lt '2024-08'", false)]
#[case("month le '2024-08'", true)]
#[case("month le '2024-07'", false)]
#[case("month in ('2024-07','2024-08')", true)]
#[case("month in ( 2024-08 , '2024-09' )", true)]
#[case("month in ('2024-07')", false)]
#[case("contains(description, 'der''s ca')", true)]
#[case("contains(description, '')", true)]
#[case("contains(description, 'Rider')", false)]
#[case("contains ( description , 'rider' )", true)]
#[case("startswith(description, 'The ')", true)]
#[case("startswith(description, 'he')", false)]
#[case("endswith(description, 'calls')", true)]
#[case("endswith(description, 'call')", false)]
#[case("price eq 1.10", true)]
#[case("price eq 1.1", true)]
#[case("price eq 11e-1", true)]
#[case("price eq '1.1'", false)]
#[case("price eq '1.10'", true)]
#[case("price lt 9", true)]
#[case("price gt -10", true)]
#[case("number_of_units gt 9", true)]
#[case("number_of_units gt '9'", false)]
#[case("number_of_units in (1, 100)", true)]
#[case("wallet_name eq null", true)]
#[case("wallet_name ne null", false)]
#[case("wallet_name ne 'x'", true)]
#[case("wallet_name ge ''", false)]
#[case("contains(wallet_name, '')", false)]
#[case("not wallet_name eq 'x'", true)]
#[case("resolution eq null", true)]
#[case("month eq null", false)]
#[case("month le null", false)]
#[case("type eq CALL", true)]
#[case("type eq call", false)]
#[case("\ttype  eq\t'CALL' ", true)]
fn an_operator_compares_a_member_with_a_value(#[case] filter: &str, #[case] selected: bool) {
    let record = usage(&[
        ("month", "2024-08".into()),
        ("description", "The rider's calls".into()),
        ("price", number("1.10")),
        ("number_of_units", number("100")),
        ("wallet_name", MemberValue::Absent),
        ("resolution", MemberValue::Null),
        ("type", "CALL".into()),
    ]);
    assert_eq!(parse(Endpoint::MonthlyUsage, filter).unwrap().selects(&record), selected);
}

#[rstest]
#[case("date eq '2024-08-31'", true)]
#[case("date eq '2024-08'", true)]
#[case("date eq 2024", true)]
#[case("date eq '2024-08-31T00:00:00.000Z'", true)]
#[case("date eq '2024-08-3'", false)]
#[case("date ne '2024-08-31'", false)]
#[case("date ge '2024-08-31'", true)]
#[case("date le '2024-08-31'", true)]
#[case("date gt '2024-08-31'", false)]
#[case("date lt '2024-08-31'", false)]
#[case("date gt '2024-08-30'", true)]
#[case("date lt '2024-09-01'", true)]
#[case("date le '2024-08'", true)]
#[case("date lt '2024-08'", false)]
#[case("date in ('2024-08-30', '2024-08-31')", true)]
#[case("date ge '2024-08-01' and date le '2024-08-31'", true)]
#[case("date ge '2024-08-31T00:00:00.001Z'", false)]
fn a_date_is_compared_with_a_year_a_month_or_a_day(#[case] filter: &str, #[case] selected: bool) {
    let instance = Instance::new("5ea75fe7aa224700012eae40", "josephpinetrees", 34);
    let record = record(Endpoint::Invoices, Row::Of(&instance, 16), "account_id", "http://api");
    assert_eq!(record.value("date"), &"2024-08-31T00:00:00.000Z".into());
    assert_eq!(parse(Endpoint::Invoices, filter).unwrap().selects(&record), selected);
}

/// `T` stands for a condition that holds for the record, and `F` for one that does not.
#[rstest]
#[case("T or T and F", true)]
#[case("F and T or T", true)]
#[case("(T or T) and F", false)]
#[case("F and (T or T)", false)]
#[case("not F and F", false)]
#[case("not (F and F)", true)]
#[case("not F or T", true)]
#[case("not (F or T)", false)]
#[case("not T or T", true)]
#[case("not not T", true)]
#[case("not(F)and(T)", true)]
#[case("((T))", true)]
#[case("T and T and T and F", false)]
#[case("F or F or F or T", true)]
#[case("T and not F or F", true)]
fn not_binds_tighter_than_and_and_and_tighter_than_or(#[case] text: &str, #[case] selected: bool) {
    let filter = text.replace('T', "type eq 'CALL'").replace('F', "type eq 'x'");
    // `)and(` has no spaces.
    let filter = filter.replace(")and(", ") and (");
    assert_eq!(parse(Endpoint::MonthlyUsage, &filter).unwrap().selects(&usage(&[])), selected);
}

#[rstest]
#[case::nothing("")]
#[case::spaces("   ")]
#[case::open_quote("month eq '2024-08")]
#[case::open_doubled_quote("month eq '2024-08''")]
#[case::stray_quote("month eq '2024'-08'")]
#[case::lone_quote("'")]
#[case::open_parenthesis("(month eq '2024-08'")]
#[case::closed_parenthesis("month eq '2024-08')")]
#[case::empty_parentheses("()")]
#[case::crossed(")(")]
#[case::upper_case_and("month eq '2024-08' AND type eq 'CALL'")]
#[case::upper_case_or("month eq '2024-08' OR type eq 'CALL'")]
#[case::upper_case_not("NOT month eq '2024-08'")]
#[case::upper_case_eq("month EQ '2024-08'")]
#[case::upper_case_in("month IN ('2024-08')")]
#[case::upper_case_function("CONTAINS(description, 'x')")]
#[case::upper_case_attribute("Month eq '2024-08'")]
#[case::unknown_function("tolower(description)")]
#[case::unknown_function_in_a_comparison("tolower(description) eq 'x'")]
#[case::unknown_attribute("colour eq 'red'")]
#[case::attribute_of_another_endpoint("date eq '2024-08-31'")]
#[case::unknown_attribute_in_a_function("contains(colour, 'x')")]
#[case::unknown_operator("month has '2024-08'")]
#[case::symbol("month = '2024-08'")]
#[case::symbol_of_and("month eq '2024-08' && type eq 'CALL'")]
#[case::double_quotes("month eq \"2024-08\"")]
#[case::no_value("month eq")]
#[case::no_operator("month '2024-08'")]
#[case::only_attribute("month")]
#[case::only_value("'2024-08'")]
#[case::value_first("'2024-08' eq month")]
#[case::only_function("contains")]
#[case::one_argument("contains(description)")]
#[case::three_arguments("contains(description, 'x', 'y')")]
#[case::bare_argument("contains(description, x)")]
#[case::no_arguments("contains()")]
#[case::empty_list("month in ()")]
#[case::open_list("month in ('2024-08'")]
#[case::list_with_a_gap("month in ('2024-08',,'2024-09')")]
#[case::list_with_a_comma_at_the_end("month in ('2024-08',)")]
#[case::list_without_commas("month in ('2024-08' '2024-09')")]
#[case::no_list("month in '2024-08'")]
#[case::list_for_eq("month eq ('2024-08')")]
#[case::reserved_word_as_value("month eq and")]
#[case::and_at_the_end("month eq '2024-08' and")]
#[case::and_at_the_start("and month eq '2024-08'")]
#[case::or_twice("month eq '2024-08' or or type eq 'CALL'")]
#[case::only_not("not")]
#[case::two_conditions("month eq '2024-08' type eq 'CALL'")]
#[case::no_space_after_a_value("month eq '2024-08'and type eq 'CALL'")]
#[case::no_space_before_a_value("month eq'2024-08'")]
#[case::no_space_after_a_parenthesis("(month eq '2024-08')and type eq 'CALL'")]
#[case::two_parentheses("(month eq '2024-08')(type eq 'CALL')")]
#[case::line_end("month eq '2024-08'\nand type eq 'CALL'")]
#[case::beyond_ascii("m\u{f6}nth eq '2024-08'")]
#[case::nul("month eq '2024-08'\0")]
#[tokio::test]
async fn an_invalid_filter_is_400(#[case] filter: &str) {
    assert!(parse(Endpoint::MonthlyUsage, filter).is_err(), "{filter}");
    let caller = Caller::new().await;
    let token = caller.token("acme").await;
    let answer = caller.get(&filtered("usage/month", filter), &token).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let body = answer.json();
    assert_eq!(body["code"], "bad_request");
    assert_eq!(body["fields"].as_array().unwrap().len(), 1);
    assert_eq!(body["fields"][0]["name"], "filter");
    assert!(!body["fields"][0]["description"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn the_depth_of_a_filter_is_limited_and_its_length_is_not() {
    let nested = |depth: usize| format!("{}type eq 'CALL'{}", "(".repeat(depth), ")".repeat(depth));
    assert!(parse(Endpoint::MonthlyUsage, &nested(63)).unwrap().selects(&usage(&[])));
    for deep in [nested(64), nested(8192), "(".repeat(8192), format!("{}type eq 'CALL'", "not ".repeat(64))] {
        assert!(parse(Endpoint::MonthlyUsage, &deep).unwrap_err().contains("64 levels"));
    }
    let long = vec!["type eq 'CALL'"; 10_000].join(" and ");
    assert!(parse(Endpoint::MonthlyUsage, &long).unwrap().selects(&usage(&[])));
    let caller = Caller::new().await;
    let token = caller.token("acme").await;
    let answer = caller.get(&filtered("usage/month", &"(".repeat(8192)), &token).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[test]
fn the_accounts_of_a_filter_are_those_that_it_compares_by_eq_or_in() {
    let filter = "account_id eq 'a' and not (account_id in ('b', c) or id eq 'd') or account_id ne 'e' \
                  or startswith(account_id, 'f') or account_id gt 'g' or account_id eq null";
    assert_eq!(parse(Endpoint::Invoices, filter).unwrap().compared_with("account_id"), ["a", "b", "c"]);
    assert!(parse(Endpoint::Products, "id eq 'a'").unwrap().compared_with("account_id").is_empty());
}

#[test]
fn json_and_filters_use_the_same_operator_names() {
    for operator in [Operator::Eq, Operator::In, Operator::StartsWith, Operator::EndsWith, Operator::Not] {
        assert_eq!(serde_json::to_value(operator).unwrap(), operator.name());
    }
}

#[tokio::test]
async fn each_endpoint_applies_a_filter_and_repeats_it_in_its_links() {
    let caller = Caller::new().await;
    let token = caller.token("acme").await;
    let id = "5ea75fe7aa224700012eae40";
    for (endpoint, filter, total) in [
        ("invoices", format!("account_id eq '{id}'"), 34),
        ("invoices", format!("account_id in ('{id}', '5ea75fe7aa224700012eae50')"), 68),
        ("invoices", format!("account_id eq '{id}' and date ge '2024-08-01' and date le '2024-08-31'"), 4),
        ("invoices", "date ge '2024-08-01' and date le '2024-08-31'".to_owned(), 48),
        ("invoices", "amount eq 1.1 and quantity eq 1".to_owned(), 48),
        ("subscriptions", "start_date eq '2023-01-01'".to_owned(), 24),
        ("subscriptions", "seasonal eq false or seasonal eq null".to_owned(), 36),
        ("products", "family eq 'Licenses'".to_owned(), 2),
        ("products", "unit_of_measure eq null".to_owned(), 1),
    ] {
        let body = caller.get(&filtered(endpoint, &filter), &token).await.json();
        assert_eq!(body["total"], total, "{filter}");
        let link = body["_links"]["self"]["href"].as_str().unwrap();
        assert_eq!(
            link,
            format!("{}{}&page=1&per_page=50", caller.simulator.url(), filtered(endpoint, &filter))
        );
    }
    let usage = filtered("usage/month", "month eq '2024-08' and type eq 'CALL'");
    let usage = caller.get(&usage, &token).await.json();
    assert_eq!(usage["_embedded"]["usage"].as_array().unwrap().len(), 12, "one for each Instance");
}

#[tokio::test]
async fn a_repeated_filter_is_400() {
    let caller = Caller::new().await;
    let token = caller.token("acme").await;
    let target = "/express/invoices?filter=amount+gt+1&filter=amount+gt+1";
    let answer = caller.get(target, &token).await;
    assert_eq!(
        (answer.status, answer.json()["fields"][0]["name"].as_str()),
        (StatusCode::BAD_REQUEST, Some("filter"))
    );
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(filter in "\\PC{0,60}") {
        let _ = parse(Endpoint::Invoices, &filter);
    }

    #[test]
    fn any_tokens_are_parsed_or_refused(
        words in proptest::collection::vec(
            prop::sample::select(vec!["(", ")", ",", "'a''b'", "not", "and", "or", "in", "eq", "id", "7", "contains", "'"]),
            0..40,
        ),
    ) {
        if let Ok(filter) = parse(Endpoint::Products, &words.join(" ")) {
            filter.selects(&record(Endpoint::Products, Row::Product(0), "account_id", ""));
        }
    }

    #[test]
    fn a_doubled_quote_stands_for_one_quote(text in "\\PC{0,30}") {
        let filter = format!("description eq '{}'", text.replace('\'', "''"));
        let filter = parse(Endpoint::MonthlyUsage, &filter).unwrap();
        prop_assert!(filter.selects(&usage(&[("description", text.into())])));
    }
}
