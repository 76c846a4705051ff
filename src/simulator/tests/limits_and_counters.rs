//! The rate limit, the counters, and many tenants.

use std::time::Duration;

use http::{Method, StatusCode};
use rstest::rstest;

use super::caller::Caller;
use crate::simulator::{Options, RateLimit, samples};

#[rstest]
#[case(true, Some("1"))]
#[case(false, None)]
#[tokio::test]
async fn a_client_over_its_rate_limit_gets_429(#[case] retry_after: bool, #[case] field: Option<&str>) {
    let rate_limit = Some(RateLimit { per_second: 2, burst: 3, retry_after });
    let caller = Caller::with(Options { rate_limit, ..samples() }).await;
    let (acme, northwind) = (caller.token("acme").await, caller.token("northwind").await);
    for _ in 0..3 {
        assert_eq!(caller.get("/express/products", &acme).await.status, StatusCode::OK);
    }
    let refused = caller.get("/express/products", &acme).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.field("retry-after"), field);
    assert_eq!(caller.get("/express/products", &northwind).await.status, StatusCode::OK);
    caller.clock.advance(Duration::from_millis(500));
    assert_eq!(caller.get("/express/products", &acme).await.status, StatusCode::OK);
    assert_eq!(caller.get("/express/products", &acme).await.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn counters_show_accounts_paths_statuses_and_arrivals_and_can_be_reset() {
    let caller = Caller::new().await;
    let token = caller.token("acme").await;
    caller.clock.advance(Duration::from_millis(250));
    caller.get("/express/products", &token).await;
    caller.get("/nothing", "unknown").await;
    let answer = caller.send(Method::GET, "/_simulator/counters", &[], "").await.unwrap();
    assert_eq!(
        answer.json(),
        serde_json::json!({
            "tokens": {
                "total": 1,
                "by_account": {"acme": 1},
                "by_result": {"issued": 1},
                "arrivals": {"acme": [0]},
            },
            "api": {
                "total": 2,
                "by_path": {"/express/products": 1, "other": 1},
                "by_account": {"acme": 1, "unknown": 1},
                "by_status": {"200": 1, "404": 1},
                "expired_token": 0,
                "in_flight": 0,
                "peak_concurrent": 1,
                "peak_concurrent_by_account": {"acme": 1, "unknown": 1},
                "arrivals": {"acme": [250], "unknown": [250]},
            },
        })
    );
    let reset = caller.send(Method::DELETE, "/_simulator/counters", &[], "").await.unwrap();
    assert_eq!(reset.status, StatusCode::NO_CONTENT);
    assert_eq!(caller.simulator.control().counters().api.total, 0);
}

#[tokio::test]
async fn the_peak_is_the_number_of_concurrent_requests() {
    let caller = Caller::new().await;
    let token = caller.token("acme").await;
    caller.post_faults(r#"{"target":"api","count":3,"kind":"slow","milliseconds":1000}"#).await;
    let control = caller.simulator.control();
    let waker = async {
        while control.counters().api.in_flight < 3 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        caller.clock.advance(Duration::from_secs(1));
    };
    let get = || caller.get("/express/products", &token);
    tokio::join!(get(), get(), get(), waker);
    let counters = control.counters();
    assert_eq!(counters.api.peak_concurrent, 3);
    assert_eq!(counters.api.peak_concurrent_by_account["acme"], 3);
    assert_eq!(counters.api.in_flight, 0);
}

#[tokio::test]
async fn a_request_whose_client_disconnects_counts_as_cancelled() {
    let caller = Caller::new().await;
    let token = caller.token("acme").await;
    caller.post_faults(r#"{"target":"api","kind":"slow","milliseconds":1000}"#).await;
    let left =
        tokio::time::timeout(Duration::from_millis(100), caller.get("/express/products", &token)).await;
    assert!(left.is_err());
    let control = caller.simulator.control();
    while control.counters().api.in_flight > 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(control.counters().api.by_status["cancelled"], 1);
}

#[tokio::test]
async fn synthetic_options_have_many_tenants() {
    let caller = Caller::with(Options::synthetic(200, 5, 7)).await;
    let token = caller.token("organization-200").await;
    let body = caller.get("/express/invoices?per_page=100", &token).await.json();
    assert_eq!(body["total"], 35);
    assert_eq!(caller.get("/express/accounts", &token).await.json()["total"], 5);
}
