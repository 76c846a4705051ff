//! The API: authorization, status codes, `ETag` and gzip.

use http::{Method, StatusCode};
use tokio::io::AsyncWriteExt as _;

use super::caller::{Caller, filtered};

#[tokio::test]
async fn a_filter_with_a_foreign_account_is_403() {
    let caller = Caller::new().await;
    let token = caller.token("northwind").await;
    let (own, foreign) = ("5ea75fe7aa224700012eae60", "5ea75fe7aa224700012eae40");
    for filter in [
        format!("account_id eq '{foreign}'"),
        format!("account_id eq {foreign}"),
        format!("account_id in ('{own}', '{foreign}')"),
        format!("account_id eq '{own}' and (month eq '2024-08' or not (account_id eq '{foreign}'))"),
        "account_id eq '000000000000000000000000'".to_owned(),
    ] {
        let answer = caller.get(&filtered("usage/month", &filter), &token).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{filter}");
        assert_eq!(answer.json()["code"], "forbidden");
    }
    for filter in [
        format!("account_id in ('{own}')"),
        format!("account_id ne '{foreign}'"),
        format!("id eq '{foreign}' or account_id eq '{own}'"),
    ] {
        assert_eq!(
            caller.get(&filtered("usage/month", &filter), &token).await.status,
            StatusCode::OK,
            "{filter}"
        );
    }
}

#[tokio::test]
async fn a_missing_unknown_or_expired_token_is_401() {
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
async fn a_missing_scope_and_missing_api_access_are_403() {
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
async fn a_request_with_a_known_etag_is_304() {
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
async fn a_gzip_answer_has_an_etag_of_its_own() {
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
