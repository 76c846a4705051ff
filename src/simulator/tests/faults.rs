//! Faults: the requests that they apply to, and the answers that result.

use std::time::Duration;

use http::{Method, StatusCode};
use rstest::rstest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::caller::Caller;
use crate::simulator::{Fault, FaultKind, Target};

#[tokio::test]
async fn a_status_fault_applies_to_its_count_account_and_path() {
    let caller = Caller::new().await;
    let (acme, northwind) = (caller.token("acme").await, caller.token("northwind").await);
    let fault = r#"[{"target":"api","account":"acme","path":"/express/inv","count":2,
                     "kind":"status","status":503,"retry_after":7}]"#;
    let installed = caller.post_faults(fault).await;
    assert_eq!((installed.status, installed.json()["installed"].as_u64()), (StatusCode::CREATED, Some(1)));
    assert_eq!(caller.get("/express/invoices", &northwind).await.status, StatusCode::OK);
    assert_eq!(caller.get("/express/products", &acme).await.status, StatusCode::OK);
    for _ in 0..2 {
        let answer = caller.get("/express/invoices", &acme).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.field("retry-after"), Some("7"));
        assert_eq!(answer.json()["code"], "simulated_fault");
    }
    assert_eq!(caller.get("/express/invoices", &acme).await.status, StatusCode::OK);
    assert!(caller.simulator.control().faults().is_empty());
}

#[tokio::test]
async fn a_status_fault_can_have_a_body() {
    let caller = Caller::new().await;
    let fault = r#"{"target":"token","kind":"status","status":400,"body":{"error":"invalid_scope"}}"#;
    caller.post_faults(fault).await;
    let answer = caller.ask_token("acme", &caller.basic("acme"), "grant_type=client_credentials").await;
    assert_eq!((answer.status, answer.text()), (StatusCode::BAD_REQUEST, r#"{"error":"invalid_scope"}"#));
    assert_eq!(caller.simulator.control().counters().tokens.by_result["fault"], 1);
}

#[rstest]
#[case(r#"{"target":"moon","kind":"close"}"#)]
#[case(r#"{"target":"api","kind":"explode"}"#)]
#[case(r#"{"target":"api","kind":"status","status":99}"#)]
#[case(r#"{"target":"api","kind":"status","status":500,"retry_atfer":1}"#)]
#[case(r#"{"target":"api","kind":"slow"}"#)]
#[case(r#"{"target":"token","kind":"rotate_secret"}"#)]
#[case(r#"{"target":"token","account":"wonka","kind":"rotate_secret"}"#)]
#[case(r#"{"target":"api","account":"nobody","kind":"revoke"}"#)]
#[case("not json")]
#[case("[[]]")]
#[tokio::test]
async fn an_invalid_fault_is_refused_with_a_reason(#[case] fault: &str) {
    let caller = Caller::new().await;
    let answer = caller.post_faults(fault).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(!answer.json()["error"].as_str().unwrap().is_empty());
    assert!(caller.simulator.control().faults().is_empty());
}

#[tokio::test]
async fn close_closes_the_connection_without_an_answer() {
    let caller = Caller::new().await;
    let token = caller.token("acme").await;
    caller.simulator.control().inject(Fault::once(Target::Api, FaultKind::Close)).unwrap();
    let bearer = format!("Bearer {token}");
    let error = caller.send(Method::GET, "/express/products", &[("authorization", &bearer)], "").await;
    assert!(error.err().unwrap().starts_with("no answer"));
    assert_eq!(caller.simulator.control().counters().api.by_status["closed"], 1);
}

#[tokio::test]
async fn truncate_sends_half_of_the_content_length() {
    let caller = Caller::new().await;
    let token = caller.token("acme").await;
    caller.simulator.control().inject(Fault::once(Target::Api, FaultKind::Truncate)).unwrap();
    let bearer = format!("Bearer {token}");
    let fields = [("authorization", bearer.as_str())];
    let error = caller.send(Method::GET, "/express/invoices", &fields, "").await;
    assert!(error.err().unwrap().starts_with("broken body"));
    assert_eq!(caller.get("/express/invoices", &token).await.status, StatusCode::OK);
    caller.simulator.control().inject(Fault::once(Target::Api, FaultKind::Truncate)).unwrap();
    let wire = raw(&caller, "GET /express/invoices HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let (head, body) = wire.split_once("\r\n\r\n").unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert_eq!(body.len(), length.parse::<usize>().unwrap() / 2);
    caller.simulator.control().inject(Fault::once(Target::Api, FaultKind::Close)).unwrap();
    assert_eq!(raw(&caller, "GET /express/invoices HTTP/1.1\r\nHost: x\r\n\r\n").await, "");
}

async fn raw(caller: &Caller, request: &str) -> String {
    let mut stream = TcpStream::connect(caller.simulator.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn malformed_json_garbage_token_and_empty_are_complete_messages() {
    let caller = Caller::new().await;
    let token = caller.token("acme").await;
    let control = caller.simulator.control();
    control.inject(Fault::once(Target::Api, FaultKind::MalformedJson)).unwrap();
    let malformed = caller.get("/express/products", &token).await;
    assert_eq!(malformed.status, StatusCode::OK);
    assert!(malformed.text().starts_with("{\"count\":6"));
    assert!(serde_json::from_slice::<serde_json::Value>(&malformed.bytes).is_err());
    control.inject(Fault::once(Target::Token, FaultKind::GarbageToken)).unwrap();
    let form = "grant_type=client_credentials";
    let garbage = caller.ask_token("acme", &caller.basic("acme"), form).await;
    assert_eq!((garbage.status, garbage.field("content-type")), (StatusCode::OK, Some("text/html")));
    control.inject(Fault::once(Target::Token, FaultKind::Empty)).unwrap();
    let empty = caller.ask_token("acme", &caller.basic("acme"), form).await;
    assert_eq!((empty.status, empty.bytes.len()), (StatusCode::OK, 0));
}

#[tokio::test]
async fn slow_waits_by_the_simulators_clock() {
    let caller = Caller::new().await;
    let token = caller.token("acme").await;
    let control = caller.simulator.control();
    control.inject(Fault::once(Target::Api, FaultKind::Slow { milliseconds: 60_000 })).unwrap();
    let answer = caller.get("/express/products", &token);
    let waker = async {
        while control.counters().api.in_flight == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        caller.clock.advance(Duration::from_mins(1));
    };
    let (answer, ()) = tokio::join!(answer, waker);
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn revoke_affects_earlier_tokens_and_not_later_ones() {
    let caller = Caller::new().await;
    let (acme, northwind) = (caller.token("acme").await, caller.token("northwind").await);
    caller.post_faults(r#"{"target":"api","account":"acme","kind":"revoke"}"#).await;
    assert_eq!(caller.get("/express/products", &acme).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(caller.get("/express/products", &northwind).await.status, StatusCode::OK);
    let new = caller.token("acme").await;
    assert_eq!(caller.get("/express/products", &new).await.status, StatusCode::OK);
}

#[tokio::test]
async fn faults_are_listed_and_cleared() {
    let caller = Caller::new().await;
    caller.post_faults(r#"{"target":"api","count":3,"kind":"close"}"#).await;
    let listed = caller.send(Method::GET, "/_simulator/faults", &[], "").await.unwrap();
    assert_eq!(listed.json(), serde_json::json!([{"target": "api", "count": 3, "kind": "close"}]));
    let cleared = caller.send(Method::DELETE, "/_simulator/faults", &[], "").await.unwrap();
    assert_eq!(cleared.status, StatusCode::NO_CONTENT);
    assert!(caller.simulator.control().faults().is_empty());
}
