//! What the API answers, and to whom.

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use rstest::rstest;
use tokio::io::AsyncWriteExt as _;

use super::caller::Caller;

#[tokio::test]
async fn acme_has_four_hundred_invoice_lines_and_a_walk_sees_each_once() {
    let caller = Caller::new().await;
    let token = caller.token("acme").await;
    let mut target = "/express/invoices?per_page=37".to_owned();
    let mut ids = BTreeSet::new();
    loop {
        let page = caller.get(&target, &token).await.json();
        assert_eq!(page["total"], 400);
        assert_eq!(page["total_pages"], 11);
        for record in page["_embedded"]["invoices"].as_array().unwrap() {
            assert!(ids.insert(record["id"].as_str().unwrap().to_owned()));
        }
        let Some(next) = page["_links"]["next"]["href"].as_str() else { break };
        next.strip_prefix(caller.simulator.url()).unwrap().clone_into(&mut target);
    }
    assert_eq!(ids.len(), 400);
}

#[rstest]
#[case("accounts", "accounts", 12)]
#[case("products", "products", 6)]
#[case("subscriptions", "subscriptions", 36)]
#[case("invoices", "invoices", 400)]
#[tokio::test]
async fn a_page_has_counts_records_and_links(#[case] path: &str, #[case] embedded: &str, #[case] total: u64) {
    let caller = Caller::new().await;
    let token = caller.token("acme").await;
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
    let url = format!("{}/express/{path}", caller.simulator.url());
    assert_eq!(body["_links"]["self"]["href"], format!("{url}?page=2&per_page=5"));
    assert_eq!(body["_links"]["prev"]["href"], format!("{url}?page=1&per_page=5"));
    assert_eq!(body["_links"]["last"]["href"], format!("{url}?page={}&per_page=5", total.div_ceil(5)));
}

#[tokio::test]
async fn monthly_usage_has_its_links_at_the_top_level() {
    let caller = Caller::new().await;
    let token = caller.token("acme").await;
    let body = caller.get("/express/usage/month?page=2", &token).await.json();
    assert_eq!(body["total"], 12 * 36);
    assert!(body.get("_links").is_none());
    for name in ["first", "last", "next", "prev", "self", "show"] {
        assert!(body[name]["href"].as_str().unwrap().starts_with(caller.simulator.url()), "{name}");
    }
    let month = body["_embedded"]["usage"][0]["month"].as_str().unwrap().to_owned();
    assert_eq!(month.len(), 7);
}

#[tokio::test]
async fn amounts_keep_their_zeros_and_totals_are_sums() {
    let caller = Caller::new().await;
    let token = caller.token("acme").await;
    let answer = caller.get("/express/invoices?per_page=100", &token).await;
    assert!(answer.text().contains("\"amount\":1.10}"));
    assert!(answer.text().contains("08/16/2023 - 09/15/2023"));
    let sentence = format!("see {}/express/usage/month?page=1 for", caller.simulator.url());
    assert!(answer.text().contains(&sentence));
    let body = answer.json();
    let lines = &body["_embedded"]["invoices"].as_array().unwrap()[..4];
    let sum: f64 = lines.iter().map(|line| line["amount"].as_f64().unwrap()).sum();
    assert!((sum - lines[0]["total_invoice_amount"].as_f64().unwrap()).abs() < 0.001);
    assert_eq!(lines[0]["number"], lines[3]["number"]);
}

#[tokio::test]
async fn accounts_and_a_period_narrow_the_invoices_and_stay_in_the_links() {
    let caller = Caller::new().await;
    let token = caller.token("acme").await;
    let id = "5ea75fe7aa224700012eae40";
    let one = caller.get(&format!("/express/invoices?account_id={id}"), &token).await.json();
    assert_eq!(one["total"], 34);
    assert_eq!(one["_embedded"]["invoices"][0]["account_id"], id);
    assert!(one["_links"]["next"]["href"].as_str().unwrap().contains(&format!("account_id={id}&page=2")));
    let two = format!("/express/invoices?account_id={id}&account_id=5ea75fe7aa224700012eae50");
    assert_eq!(caller.get(&two, &token).await.json()["total"], 68);
    let month = format!("/express/invoices?account_id={id}&from=2024-11&to=2024-11-30");
    let month = caller.get(&month, &token).await.json();
    assert_eq!(month["total"], 4);
    assert_eq!(month["_embedded"]["invoices"][0]["date"], "2024-11-30T00:00:00.000Z");
    let usage = caller.get("/express/usage/month?from=2024-08-15&to=2024-09-01", &token).await.json();
    assert_eq!(usage["total"], 12 * 3 * 2);
}

#[rstest]
#[case("page=0", "page")]
#[case("page=-1", "page")]
#[case("page=%2B1", "page")]
#[case("page=1&page=2", "page")]
#[case("per_page=101", "per_page")]
#[case("per_page=99999999999999999999", "per_page")]
#[case("per_page=", "per_page")]
#[case("from=yesterday", "from")]
#[case("to=2024-13", "to")]
#[case("from=2024-02&to=2024-01", "to")]
#[tokio::test]
async fn a_bad_query_is_told_by_field(#[case] query: &str, #[case] field: &str) {
    let caller = Caller::new().await;
    let token = caller.token("acme").await;
    let answer = caller.get(&format!("/express/invoices?{query}"), &token).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let body = answer.json();
    assert_eq!(body["code"], "bad_request");
    assert_eq!(body["fields"][0]["name"], field);
    assert!(body["fields"][0]["description"].is_string());
}

#[tokio::test]
async fn a_page_beyond_the_last_is_empty() {
    let caller = Caller::new().await;
    let token = caller.token("acme").await;
    let body = caller.get(&format!("/express/invoices?page={}", u64::MAX), &token).await.json();
    assert_eq!(body["count"], 0);
    assert!(body["_links"].get("next").is_none());
}

#[tokio::test]
async fn a_foreign_account_is_forbidden() {
    let caller = Caller::new().await;
    let token = caller.token("northwind").await;
    let answer = caller.get("/express/usage/month?account_id=5ea75fe7aa224700012eae40", &token).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.json()["code"], "forbidden");
    let accounts = caller.get("/express/accounts?account_id=5ea75fe7aa224700012eae40", &token).await;
    assert_eq!(accounts.json()["total"], 4);
}

#[tokio::test]
async fn without_a_good_token_the_api_answers_401() {
    let caller = Caller::new().await;
    let none = caller.send(Method::GET, "/express/invoices", &[], "").await.unwrap();
    assert_eq!(none.status, StatusCode::UNAUTHORIZED);
    assert_eq!(none.field("www-authenticate"), Some("Bearer"));
    let unknown = caller.get("/express/invoices", "unknown").await;
    assert_eq!(unknown.status, StatusCode::UNAUTHORIZED);
    assert!(unknown.field("www-authenticate").unwrap().contains("invalid_token"));
    let token = caller.token("acme").await;
    caller.clock.advance(std::time::Duration::from_secs(599));
    assert_eq!(caller.get("/express/invoices", &token).await.status, StatusCode::OK);
    caller.clock.advance(std::time::Duration::from_secs(1));
    let expired = caller.get("/express/invoices", &token).await;
    assert_eq!(expired.status, StatusCode::UNAUTHORIZED);
    assert!(expired.text().contains("expired"));
    assert_eq!(caller.simulator.control().counters().api.expired_token, 1);
}

#[tokio::test]
async fn a_missing_scope_and_a_missing_entitlement_are_403() {
    let caller = Caller::new().await;
    let stark = caller.token("stark").await;
    let answer = caller.get("/express/invoices", &stark).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.json()["code"], "insufficient_scope");
    assert_eq!(caller.get("/express/accounts", &stark).await.status, StatusCode::OK);
    for account in ["initech", "umbrella"] {
        let token = caller.token(account).await;
        let answer = caller.get("/express/products", &token).await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (StatusCode::FORBIDDEN, Some("forbidden"))
        );
    }
}

#[tokio::test]
async fn unknown_paths_are_404_and_other_methods_405() {
    let caller = Caller::new().await;
    let token = caller.token("acme").await;
    for path in ["/", "/express", "/express/invoices/", "/express//invoices", "/express/%69nvoices"] {
        assert_eq!(caller.get(path, &token).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    for method in [Method::POST, Method::HEAD, Method::DELETE, Method::from_bytes(b"BREW").unwrap()] {
        let answer = caller.send(method, "/express/invoices", &[], "").await.unwrap();
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.field("allow"), Some("GET"));
    }
}

#[tokio::test]
async fn an_etag_is_strong_and_validates_what_was_sent() {
    let caller = Caller::new().await;
    let token = caller.token("acme").await;
    let bearer = format!("Bearer {token}");
    let first = caller.get("/express/products", &token).await;
    let etag = first.field("etag").unwrap().to_owned();
    assert!(etag.starts_with('"'));
    let fields = [("authorization", bearer.as_str()), ("if-none-match", etag.as_str())];
    let second = caller.send(Method::GET, "/express/products", &fields, "").await.unwrap();
    assert_eq!(second.status, StatusCode::NOT_MODIFIED);
    assert_eq!(second.field("etag"), Some(etag.as_str()));
    assert!(second.bytes.is_empty());
    let other = caller.send(Method::GET, "/express/accounts", &fields, "").await.unwrap();
    assert_eq!(other.status, StatusCode::OK);
}

#[tokio::test]
async fn gzip_is_sent_when_asked_for_under_a_tag_of_its_own() {
    let caller = Caller::new().await;
    let token = caller.token("acme").await;
    let bearer = format!("Bearer {token}");
    let plain = caller.get("/express/invoices", &token).await;
    let fields = [("authorization", bearer.as_str()), ("accept-encoding", "br, gzip;q=0.5")];
    let packed = caller.send(Method::GET, "/express/invoices", &fields, "").await.unwrap();
    assert_eq!(packed.field("content-encoding"), Some("gzip"));
    assert_eq!(packed.field("vary"), Some("Accept-Encoding"));
    assert_ne!(packed.field("etag"), plain.field("etag"));
    let mut decoder = async_compression::tokio::write::GzipDecoder::new(Vec::new());
    decoder.write_all(&packed.bytes).await.unwrap();
    decoder.shutdown().await.unwrap();
    assert_eq!(decoder.into_inner(), plain.bytes);
    let refused = [("authorization", bearer.as_str()), ("accept-encoding", "gzip;q=0")];
    let refused = caller.send(Method::GET, "/express/invoices", &refused, "").await.unwrap();
    assert_eq!(refused.field("content-encoding"), None);
}
