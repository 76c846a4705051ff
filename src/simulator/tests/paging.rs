//! Pages: their counts, links and order, and walks from the first page to the last.

use std::collections::BTreeSet;

use http::StatusCode;
use rstest::rstest;
use serde_json::Value;

use super::caller::{Caller, filtered};
use crate::simulator::{Options, Quirks, samples};

async fn with_cursors(cursors: bool) -> (Caller, String) {
    let caller = Caller::with(Options { quirks: Quirks { cursors, ..Quirks::default() }, ..samples() }).await;
    let token = caller.token("acme").await;
    (caller, token)
}

fn ids(pages: &[Value], embedded: &str) -> Vec<String> {
    let records = pages.iter().flat_map(|page| page["_embedded"][embedded].as_array().unwrap());
    records.map(|record| record["id"].as_str().unwrap().to_owned()).collect()
}

#[rstest]
#[case("accounts", "accounts", 12)]
#[case("products", "products", 6)]
#[case("subscriptions", "subscriptions", 36)]
#[case("invoices", "invoices", 400)]
#[tokio::test]
async fn a_page_has_counts_records_and_links(#[case] path: &str, #[case] embedded: &str, #[case] total: u64) {
    let (caller, token) = with_cursors(false).await;
    let answer = caller.get(&format!("/express/{path}?per_page=5&page=2"), &token).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.field("content-type"), Some("application/json"));
    assert!(answer.field("x-request-id").is_some());
    let body = answer.json();
    let count = body["_embedded"][embedded].as_array().unwrap().len();
    assert_eq!(body["count"], count);
    assert_eq!(body["page"], 2);
    assert_eq!(body["per_page"], 5);
    assert_eq!(body["total"], total);
    assert_eq!(body["total_pages"], total.div_ceil(5));
    let url = format!("{}/express/{path}", caller.simulator.url());
    assert_eq!(body["_links"]["self"]["href"], format!("{url}?page=2&per_page=5"));
    assert_eq!(body["_links"]["first"]["href"], format!("{url}?page=1&per_page=5"));
    assert_eq!(body["_links"]["prev"]["href"], format!("{url}?page=1&per_page=5"));
    assert_eq!(body["_links"]["last"]["href"], format!("{url}?page={}&per_page=5", total.div_ceil(5)));
    assert!(body["_links"].get("show").is_none());
}

#[tokio::test]
async fn a_page_has_fifty_records_without_per_page() {
    let (caller, token) = with_cursors(false).await;
    let body = caller.get("/express/invoices", &token).await.json();
    assert_eq!((body["count"].as_u64(), body["per_page"].as_u64()), (Some(50), Some(50)));
    assert_eq!(body["total_pages"], 8);
    let usage = caller.get("/express/usage/month", &token).await.json();
    assert_eq!(usage["_embedded"]["usage"].as_array().unwrap().len(), 50);
    let few = Caller::with(Options { max_per_page: 3, ..samples() }).await;
    let token = few.token("acme").await;
    assert_eq!(few.get("/express/invoices", &token).await.json()["count"], 3);
}

#[tokio::test]
async fn the_first_page_has_no_prev_and_the_last_has_no_next() {
    let (caller, token) = with_cursors(false).await;
    for path in ["accounts", "products", "subscriptions", "invoices", "usage/month"] {
        let pages = caller.walk(&format!("/express/{path}?per_page=5"), &token).await;
        let has = |page: &Value, link: &str| page["_links"].get(link).is_some();
        let (last, others) = pages.split_last().unwrap();
        assert!(!has(last, "next") && others.iter().all(|page| has(page, "next")), "{path}");
        let (first, others) = pages.split_first().unwrap();
        assert!(!has(first, "prev") && others.iter().all(|page| has(page, "prev")), "{path}");
        assert!(first.get("prev").is_none() && last.get("next").is_none(), "{path}");
    }
    let all = caller.get("/express/subscriptions?per_page=36", &token).await.json();
    assert!(all["_links"].get("next").is_none(), "a full page can be the last");
}

#[tokio::test]
async fn monthly_usage_has_no_counts_and_has_its_links_in_two_places() {
    let (caller, token) = with_cursors(false).await;
    let target =
        format!("{}&page=2&order_by=month:desc&per_page=10", filtered("usage/month", "month ge '2024-07'"));
    let body = caller.get(&target, &token).await.json();
    for name in ["count", "page", "per_page", "total", "total_pages"] {
        assert!(body.get(name).is_none(), "{name}");
    }
    for name in ["first", "last", "next", "prev", "self", "show"] {
        let link = body[name]["href"].as_str().unwrap();
        assert!(link.starts_with(&format!("{}/express/usage/month", caller.simulator.url())), "{link}");
        assert_eq!(body["_links"][name], body[name], "{name}");
        assert_eq!(
            link.contains("filter=month+ge+%272024-07%27&order_by=month%3Adesc"),
            name != "show",
            "{link}"
        );
    }
    assert_eq!(body["_links"].as_object().unwrap().len(), 6);
}

#[rstest]
#[case("invoices?per_page=37", "invoices", 400, 11)]
#[case("invoices?per_page=100", "invoices", 400, 4)]
#[case("subscriptions?per_page=1", "subscriptions", 36, 36)]
#[case("usage/month?per_page=17", "usage", 432, 26)]
#[case("usage/month?order_by=total_amount:desc", "usage", 432, 9)]
#[case("accounts?per_page=1", "accounts", 12, 12)]
#[case("products?per_page=4&order_by=name", "products", 6, 2)]
#[case("invoices?per_page=1&filter=account_id+eq+%275ea75fe7aa224700012eae40%27", "invoices", 34, 34)]
#[case("invoices?per_page=7&filter=date+eq+%272024-08%27&order_by=amount:desc", "invoices", 48, 7)]
#[case("usage/month?per_page=1&filter=type+eq+%27CALL%27+and+month+lt+%272024-02%27", "usage", 12, 12)]
#[case("invoices?filter=currency+eq+%27EUR%27", "invoices", 0, 1)]
#[tokio::test]
async fn a_walk_reads_each_record_once(
    #[case] target: &str,
    #[case] embedded: &str,
    #[case] total: usize,
    #[case] pages: usize,
    #[values(false, true)] cursors: bool,
) {
    let (caller, token) = with_cursors(cursors).await;
    let walked = caller.walk(&format!("/express/{target}"), &token).await;
    assert_eq!(walked.len(), pages);
    let ids = ids(&walked, embedded);
    assert_eq!((ids.len(), ids.iter().collect::<BTreeSet<_>>().len()), (total, total));
}

#[tokio::test]
async fn a_cursor_replaces_the_page_number() {
    let (caller, token) = with_cursors(true).await;
    let body = caller.get("/express/invoices?page=2&per_page=10", &token).await.json();
    for name in ["next", "prev"] {
        let link = body["_links"][name]["href"].as_str().unwrap();
        assert!(link.contains("?cursor=") && !link.contains("?page") && !link.contains("&page="), "{link}");
        assert!(link.contains("per_page=10"), "{link}");
    }
    let url = caller.simulator.url();
    let follow = async |page: &Value, name: &str| {
        let link = page["_links"][name]["href"].as_str().unwrap().to_owned();
        caller.get(link.strip_prefix(url).unwrap(), &token).await.json()
    };
    let third = follow(&body, "next").await;
    assert_eq!(third["page"], 3);
    assert_eq!(
        third["_embedded"],
        caller.get("/express/invoices?page=3&per_page=10", &token).await.json()["_embedded"]
    );
    assert_eq!(follow(&third, "prev").await["_embedded"], body["_embedded"]);
    assert_eq!(follow(&third, "self").await, third);
    assert_eq!(follow(&third, "first").await["page"], 1);
}

#[rstest]
#[case("cursor=x")]
#[case("cursor=")]
#[case("cursor=YWZ0ZXI6LTE")]
#[case("cursor=YWZ0ZXI6MTA&page=2")]
#[case("cursor=YWZ0ZXI6MTA&cursor=YWZ0ZXI6MTA")]
#[tokio::test]
async fn an_invalid_cursor_is_400(#[case] query: &str) {
    let (caller, token) = with_cursors(true).await;
    let answer = caller.get(&format!("/express/invoices?{query}"), &token).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.json()["fields"][0]["name"], "cursor");
    // after:18446744073709551615
    let far = "/express/invoices?cursor=YWZ0ZXI6MTg0NDY3NDQwNzM3MDk1NTE2MTU&per_page=1";
    let body = caller.get(far, &token).await.json();
    assert_eq!((body["count"].as_u64(), body["page"].as_u64()), (Some(0), Some(u64::MAX)));
}

#[rstest]
#[case("page=0", "page")]
#[case("page=-1", "page")]
#[case("page=%2B1", "page")]
#[case("page=1&page=2", "page")]
#[case("per_page=101", "per_page")]
#[case("per_page=0", "per_page")]
#[case("per_page=99999999999999999999", "per_page")]
#[case("per_page=", "per_page")]
#[case("per_page=5&per_page=5", "per_page")]
#[case("order_by=id&order_by=id", "order_by")]
#[case("order_by=colour", "order_by")]
#[case("order_by=", "order_by")]
#[case("order_by=amount:up", "order_by")]
#[case("order_by=amount:DESC", "order_by")]
#[case("order_by=amount:", "order_by")]
#[case("order_by=amount+desc", "order_by")]
#[case("order_by=amount,id", "order_by")]
#[case("order_by=month", "order_by")]
#[tokio::test]
async fn an_invalid_query_is_400_and_names_the_parameter(#[case] query: &str, #[case] parameter: &str) {
    let (caller, token) = with_cursors(false).await;
    let answer = caller.get(&format!("/express/invoices?{query}"), &token).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let body = answer.json();
    assert_eq!(body["code"], "bad_request");
    assert_eq!(body["fields"][0]["name"], parameter);
    assert!(body["fields"][0]["description"].is_string());
}

#[tokio::test]
async fn every_wrong_parameter_is_named() {
    let (caller, token) = with_cursors(false).await;
    let target = "/express/invoices?page=0&per_page=0&order_by=x&filter=x";
    let body = caller.get(target, &token).await.json();
    let names: BTreeSet<&str> =
        body["fields"].as_array().unwrap().iter().map(|field| field["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["filter", "order_by", "page", "per_page"].into());
}

#[tokio::test]
async fn a_page_beyond_the_last_is_empty_and_links_to_the_last() {
    let (caller, token) = with_cursors(false).await;
    for page in [9, u64::MAX] {
        let body = caller.get(&format!("/express/invoices?page={page}"), &token).await.json();
        assert_eq!((body["count"].as_u64(), body["page"].as_u64()), (Some(0), Some(page)));
        assert_eq!((body["total"].as_u64(), body["total_pages"].as_u64()), (Some(400), Some(8)));
        assert!(body["_links"].get("next").is_none());
        let last = body["_links"]["last"]["href"].as_str().unwrap();
        assert_eq!(body["_links"]["prev"]["href"].as_str().unwrap(), last);
    }
}

#[tokio::test]
async fn order_by_sorts_the_records() {
    let (caller, token) = with_cursors(false).await;
    let amounts = async |order: &str| {
        let pages = caller.walk(&format!("/express/invoices?order_by={order}&per_page=100"), &token).await;
        let records =
            pages.into_iter().flat_map(|page| page["_embedded"]["invoices"].as_array().unwrap().clone());
        records.collect::<Vec<Value>>()
    };
    let amount = |record: &Value| record["amount"].as_f64().unwrap();
    let ascending = amounts("amount").await;
    assert!(ascending.is_sorted_by(|one, other| amount(one) <= amount(other)));
    assert_eq!(amounts("amount:asc").await, ascending);
    let descending = amounts("amount:desc").await;
    assert!(descending.is_sorted_by(|one, other| amount(one) >= amount(other)));
    let ties = |records: &[Value]| {
        let records = records.iter().filter(|record| amount(record).to_bits() == 1.1_f64.to_bits());
        records.map(|record| record["id"].clone()).collect::<Vec<_>>()
    };
    let regular: Vec<Value> = {
        let pages = caller.walk("/express/invoices?per_page=100", &token).await;
        pages.into_iter().flat_map(|page| page["_embedded"]["invoices"].as_array().unwrap().clone()).collect()
    };
    assert!(ties(&regular).len() > 40);
    assert_eq!(ties(&ascending), ties(&regular), "equal records keep their order");
    assert_eq!(ties(&descending), ties(&regular), "in descending order too");
    let due = amounts("due_date").await;
    let nulls = due.iter().filter(|record| record["due_date"].is_null()).count();
    assert!(nulls > 0 && due[..nulls].iter().all(|record| record["due_date"].is_null()), "null comes first");
}
