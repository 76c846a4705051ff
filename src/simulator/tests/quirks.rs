//! Quirks: each one changes the behaviour as documented.

use http::{Method, StatusCode};
use serde_json::Value;

use super::caller::{Caller, filtered};
use crate::simulator::{BeyondEnd, FilterMode, Options, Quirks, samples};

async fn with(quirks: Quirks) -> (Caller, String) {
    let caller = Caller::with(Options { quirks, ..samples() }).await;
    let token = caller.token("acme").await;
    (caller, token)
}

#[tokio::test]
async fn quirks_change_the_response_fields() {
    let (caller, token) =
        with(Quirks { no_store: true, vary_authorization: true, no_etag: true, ..Quirks::default() }).await;
    let answer = caller.get("/express/products", &token).await;
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    assert_eq!(answer.field("vary"), Some("Accept-Encoding, Authorization"));
    assert_eq!(answer.field("etag"), None);
    let error = caller.get("/express/products", "unknown").await;
    assert_eq!(error.field("cache-control"), Some("no-store"));
    caller
        .simulator
        .control()
        .set_quirks(Quirks { cache_control: Some("private, max-age=60".to_owned()), ..Quirks::default() });
    let answer = caller.get("/express/products", &token).await;
    assert_eq!(answer.field("cache-control"), Some("private, max-age=60"));
    assert!(answer.field("etag").is_some());
}

#[tokio::test]
async fn the_scope_of_a_token_answer_can_be_missing_or_encoded() {
    let caller =
        Caller::with(Options { quirks: Quirks { omit_scope: true, ..Quirks::default() }, ..samples() }).await;
    let form = "grant_type=client_credentials";
    let answer = caller.ask_token("acme", &caller.basic("acme"), form).await;
    assert!(answer.json().get("scope").is_none());
    caller.simulator.control().set_quirks(Quirks { encode_scope: true, ..Quirks::default() });
    let answer = caller.ask_token("acme", &caller.basic("acme"), form).await;
    assert!(answer.json()["scope"].as_str().unwrap().starts_with("express-accounts%3Aread "));
}

#[tokio::test]
async fn an_ignored_filter_selects_all_records_and_stays_in_the_links() {
    let (caller, token) = with(Quirks { filter: FilterMode::Ignored, ..Quirks::default() }).await;
    for filter in ["account_id eq '5ea75fe7aa224700012eae40'", "account_id eq 'foreign'", "((("] {
        let answer = caller.get(&filtered("invoices", filter), &token).await;
        assert_eq!((answer.status, answer.json()["total"].as_u64()), (StatusCode::OK, Some(400)), "{filter}");
        assert!(answer.json()["_links"]["next"]["href"].as_str().unwrap().contains("filter="));
    }
}

#[tokio::test]
async fn a_refused_filter_is_400() {
    let (caller, token) = with(Quirks { filter: FilterMode::Refused, ..Quirks::default() }).await;
    let answer = caller.get(&filtered("invoices", "date ge '2024-08-01'"), &token).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.json()["fields"][0]["name"], "filter");
    assert_eq!(caller.get("/express/invoices", &token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn missing_operators_are_400_and_the_others_work() {
    let (caller, token) = with(Quirks::default()).await;
    for (missing, refused, taken) in [
        ("eq", "currency eq 'USD'", "currency ne 'EUR'"),
        ("ne", "currency ne 'USD'", "currency eq 'USD'"),
        ("gt", "amount gt 1", "amount ge 1"),
        ("ge", "amount ge 1", "amount gt 1"),
        ("lt", "amount lt 1", "amount le 1"),
        ("le", "amount le 1", "amount lt 1"),
        ("in", "currency in ('USD')", "currency eq 'USD'"),
        ("contains", "contains(currency, 'S')", "startswith(currency, 'U')"),
        ("startswith", "startswith(currency, 'U')", "endswith(currency, 'D')"),
        ("endswith", "endswith(currency, 'D')", "contains(currency, 'S')"),
        ("and", "amount gt 1 and amount lt 2", "amount gt 1 or amount lt 2"),
        ("or", "amount gt 1 or amount lt 2", "amount gt 1 and amount lt 2"),
        ("not", "not amount gt 1", "amount gt 1"),
    ] {
        let body = format!(r#"{{"missing_operators":["{missing}"]}}"#);
        let put = caller.send(Method::PUT, "/_simulator/quirks", &[], &body).await.unwrap();
        assert_eq!(put.status, StatusCode::OK, "{missing}");
        let answer = caller.get(&filtered("invoices", refused), &token).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{refused}");
        assert_eq!(answer.json()["fields"][0]["description"], format!("{missing} is not supported"));
        let answer = caller.get(&filtered("invoices", taken), &token).await;
        assert_eq!(answer.status, StatusCode::OK, "{taken}");
    }
    let body = r#"{"missing_operators":["EQ"]}"#;
    let put = caller.send(Method::PUT, "/_simulator/quirks", &[], body).await.unwrap();
    assert_eq!(put.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_foreign_account_can_select_no_records() {
    let (caller, token) = with(Quirks { foreign_accounts_are_empty: true, ..Quirks::default() }).await;
    let body =
        caller.get(&filtered("invoices", "account_id eq '000000000000000000000000'"), &token).await.json();
    assert_eq!(
        (body["total"].as_u64(), body["_embedded"]["invoices"].as_array().unwrap().len()),
        (Some(0), 0)
    );
    let mixed = "account_id in ('5ea75fe7aa224700012eae40', '5ea75fe7aa224700012eae41')";
    assert_eq!(caller.get(&filtered("invoices", mixed), &token).await.json()["total"], 34);
}

#[tokio::test]
async fn unknown_parameters_are_ignored_or_refused() {
    let (caller, token) = with(Quirks::default()).await;
    let target = "/express/invoices?account_id=x&from=2024-08&from=2024-09&cursor=x";
    assert_eq!(caller.get(target, &token).await.json()["total"], 400);
    let accounts = "/express/accounts?filter=%28&filter=x";
    assert_eq!(caller.get(accounts, &token).await.json()["total"], 12);
    caller.simulator.control().set_quirks(Quirks { refuse_unknown_parameters: true, ..Quirks::default() });
    let answer = caller.get("/express/invoices?account_id=x&per_page=3&from=2024-08", &token).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let body = answer.json();
    let names: Vec<&Value> = body["fields"].as_array().unwrap().iter().map(|field| &field["name"]).collect();
    assert_eq!(names, ["account_id", "from"]);
    assert_eq!(caller.get("/express/accounts?filter=x", &token).await.status, StatusCode::BAD_REQUEST);
    let known = "/express/invoices?filter=amount+gt+1&order_by=id&page=1&per_page=3";
    assert_eq!(caller.get(known, &token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_account_field_names_the_member_and_the_attribute() {
    let (caller, token) = with(Quirks { account_field: "accountId".to_owned(), ..Quirks::default() }).await;
    let id = "5ea75fe7aa224700012eae40";
    for (endpoint, embedded, total) in
        [("invoices", "invoices", 34), ("subscriptions", "subscriptions", 3), ("usage/month", "usage", 36)]
    {
        let filter = format!("accountId eq '{id}'");
        let body = caller.get(&filtered(endpoint, &filter), &token).await.json();
        let records = body["_embedded"][embedded].as_array().unwrap();
        assert_eq!(records.len(), total);
        assert!(records.iter().all(|record| record["accountId"] == id && record.get("account_id").is_none()));
        let documented = caller.get(&filtered(endpoint, &format!("account_id eq '{id}'")), &token).await;
        assert_eq!(documented.status, StatusCode::BAD_REQUEST);
        let foreign = caller.get(&filtered(endpoint, "accountId eq 'x'"), &token).await;
        assert_eq!(foreign.status, StatusCode::FORBIDDEN);
        let ordered = caller.get(&format!("/express/{endpoint}?order_by=accountId"), &token).await;
        assert_eq!(ordered.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn counts_can_be_left_out() {
    let (caller, token) = with(Quirks { omit_counts: true, ..Quirks::default() }).await;
    let body = caller.get("/express/invoices?per_page=10", &token).await.json();
    for name in ["count", "total", "total_pages"] {
        assert!(body.get(name).is_none(), "{name}");
    }
    assert_eq!((body["page"].as_u64(), body["per_page"].as_u64()), (Some(1), Some(10)));
    assert!(body["_links"]["next"]["href"].is_string());
}

#[tokio::test]
async fn a_page_beyond_the_last_can_be_404() {
    let (caller, token) = with(Quirks { beyond_end: BeyondEnd::NotFound, ..Quirks::default() }).await;
    for page in ["9", "18446744073709551615"] {
        let answer = caller.get(&format!("/express/invoices?page={page}"), &token).await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (StatusCode::NOT_FOUND, Some("not_found"))
        );
    }
    assert_eq!(caller.get("/express/invoices?page=8", &token).await.status, StatusCode::OK);
    let nothing = caller.get(&filtered("invoices", "currency eq 'EUR'"), &token).await;
    assert_eq!(nothing.status, StatusCode::OK, "the first page is never beyond the end");
}

#[tokio::test]
async fn nameless_accounts_come_last() {
    let (caller, token) = with(Quirks { nameless_accounts: true, ..Quirks::default() }).await;
    let body = caller.get("/express/accounts", &token).await.json();
    assert_eq!(body["total"], 15);
    let accounts = body["_embedded"]["accounts"].as_array().unwrap();
    assert!(accounts[..12].iter().all(|account| account["id"].is_string() && account["name"].is_string()));
    assert!(accounts[12]["id"].is_string() && accounts[12].get("name") == Some(&Value::Null));
    assert!(accounts[13]["id"].is_string() && accounts[13].get("name").is_none());
    assert!(accounts[14].get("id").is_none() && accounts[14]["name"].is_string());
    let filter = format!("account_id eq {}", accounts[13]["id"]).replace('"', "'");
    let invoices = caller.get(&filtered("invoices", &filter), &token).await;
    assert_eq!((invoices.status, invoices.json()["total"].as_u64()), (StatusCode::OK, Some(0)));
    assert_eq!(caller.get("/express/invoices", &token).await.json()["total"], 400);
    let other = caller.get("/express/accounts", &caller.token("northwind").await).await.json();
    assert_ne!(other["_embedded"]["accounts"][4]["id"], accounts[12]["id"]);
}

#[tokio::test]
async fn tokens_can_be_long() {
    let (caller, short) = with(Quirks::default()).await;
    assert_eq!(short.len(), 64);
    caller.simulator.control().set_quirks(Quirks { long_tokens: true, ..Quirks::default() });
    let token = caller.token("acme").await;
    assert!((2900..3300).contains(&token.len()), "{}", token.len());
    assert_eq!(token.split('.').count(), 3);
    for token in [token, short] {
        assert_eq!(caller.get("/express/invoices", &token).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn an_error_can_have_status_200() {
    let (caller, token) = with(Quirks { error_in_200: true, ..Quirks::default() }).await;
    let answer = caller.get("/express/invoices", &token).await;
    assert_eq!(answer.status, StatusCode::OK);
    let body = answer.json();
    assert!(body["code"].is_string() && body["message"].is_string() && body.get("_embedded").is_none());
    assert_eq!(caller.get("/express/invoices", "unknown").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn escaped_slashes_do_not_change_the_values() {
    let (caller, token) = with(Quirks { escape_slashes: true, ..Quirks::default() }).await;
    let answer = caller.get("/express/invoices", &token).await;
    assert!(answer.text().contains(r#""href":"http:\/\/127.0.0.1:"#));
    assert!(answer.text().contains(r"08\/16\/2023 - 09\/15\/2023"));
    let first = answer.json()["_links"]["first"]["href"].as_str().unwrap().to_owned();
    assert!(first.starts_with(caller.simulator.url()));
}

#[tokio::test]
async fn a_new_first_record_can_appear_during_a_walk() {
    let (caller, token) = with(Quirks { insert_after: Some(2), ..Quirks::default() }).await;
    let first = caller.get("/express/invoices?per_page=10", &token).await.json();
    let second = caller.get("/express/invoices?per_page=10&page=2", &token).await.json();
    assert_eq!((first["total"].as_u64(), second["total"].as_u64()), (Some(400), Some(400)));
    let third = caller.get("/express/invoices?per_page=10&page=2", &token).await.json();
    assert_eq!(third["total"], 401);
    let last_of_first = &first["_embedded"]["invoices"][9];
    assert_eq!(&third["_embedded"]["invoices"][0], last_of_first);
    let front = caller.get("/express/invoices?per_page=10", &token).await.json();
    let new = &front["_embedded"]["invoices"][0];
    assert_eq!(new["date"], "2024-12-31T00:00:00.000Z");
    assert_eq!(new["total_invoice_amount"], new["amount"]);
    assert_eq!(front["_embedded"]["invoices"][1], first["_embedded"]["invoices"][0]);
}

#[tokio::test]
async fn quirks_change_over_http_and_an_invalid_change_has_no_effect() {
    let (caller, token) = with(Quirks::default()).await;
    let put = |body: &'static str| caller.send(Method::PUT, "/_simulator/quirks", &[], body);
    let answer = put(r#"{"no_store":true}"#).await.unwrap();
    assert_eq!((answer.status, answer.json()["no_store"].as_bool()), (StatusCode::OK, Some(true)));
    assert_eq!(caller.get("/express/products", &token).await.field("cache-control"), Some("no-store"));
    assert_eq!(put(r#"{"no_such_quirk":true}"#).await.unwrap().status, StatusCode::BAD_REQUEST);
    assert_eq!(caller.get("/express/products", &token).await.field("cache-control"), Some("no-store"));
}
