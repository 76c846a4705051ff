//! The unknowns of the API, played the other way.

use http::StatusCode;

use super::caller::Caller;
use crate::simulator::{Options, Quirks, samples};

async fn with(quirks: Quirks) -> (Caller, String) {
    let caller = Caller::with(Options { quirks, ..samples() }).await;
    let token = caller.token("acme").await;
    (caller, token)
}

#[tokio::test]
async fn response_fields_follow_the_quirks() {
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
async fn the_scope_can_be_missing_or_encoded() {
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
async fn an_ignored_account_parameter_answers_everything() {
    let (caller, token) = with(Quirks { ignore_account_parameter: true, ..Quirks::default() }).await;
    let answer = caller.get("/express/invoices?account_id=5ea75fe7aa224700012eae40", &token).await;
    assert_eq!((answer.status, answer.json()["total"].as_u64()), (StatusCode::OK, Some(400)));
}

#[tokio::test]
async fn the_account_can_go_by_other_names() {
    let (caller, token) = with(Quirks {
        account_field: "accountId".to_owned(),
        account_parameter: "accounts".to_owned(),
        ..Quirks::default()
    })
    .await;
    let id = "5ea75fe7aa224700012eae40";
    let body =
        caller.get(&format!("/express/invoices?accounts={id}&account_id=ignored"), &token).await.json();
    assert_eq!(body["total"], 34);
    assert_eq!(body["_embedded"]["invoices"][0]["accountId"], id);
    assert!(body["_embedded"]["invoices"][0].get("account_id").is_none());
}

#[tokio::test]
async fn slashes_can_be_escaped_without_changing_what_is_said() {
    let (caller, token) = with(Quirks { escape_slashes: true, ..Quirks::default() }).await;
    let answer = caller.get("/express/invoices", &token).await;
    assert!(answer.text().contains(r#""href":"http:\/\/127.0.0.1:"#));
    assert!(answer.text().contains(r"08\/16\/2023 - 09\/15\/2023"));
    let first = answer.json()["_links"]["first"]["href"].as_str().unwrap().to_owned();
    assert!(first.starts_with(caller.simulator.url()));
}

#[tokio::test]
async fn a_record_can_appear_at_the_front_in_the_middle_of_a_walk() {
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
async fn quirks_are_changed_over_http_and_a_bad_change_changes_nothing() {
    let (caller, token) = with(Quirks::default()).await;
    let put = |body: &'static str| caller.send(http::Method::PUT, "/_simulator/quirks", &[], body);
    let answer = put(r#"{"no_store":true}"#).await.unwrap();
    assert_eq!((answer.status, answer.json()["no_store"].as_bool()), (StatusCode::OK, Some(true)));
    assert_eq!(caller.get("/express/products", &token).await.field("cache-control"), Some("no-store"));
    assert_eq!(put(r#"{"no_such_quirk":true}"#).await.unwrap().status, StatusCode::BAD_REQUEST);
    assert_eq!(caller.get("/express/products", &token).await.field("cache-control"), Some("no-store"));
}
