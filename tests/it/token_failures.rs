//! Tokens that can't be had, or that nobody takes: each failure has its name, costs a handful of requests, and
//! is one tenant's own.

use std::time::Duration;

use billing_insights_proxy::simulator::{Fault, FaultKind, Target};
use http::{Method, StatusCode};
use rstest::rstest;

use crate::support::peer::{Canned, Peer, TOKEN_PATH, Wire};
use crate::support::{Proxy, SAMPLE_TENANTS, Talkdesk, eventually};
use crate::tokens::{credential, in_state};

const ACME: &str = "organizations/acme";
const INVOICES: &str = "/organizations/acme/express/invoices";

/// A limit that nobody waits for, where it is counted what is sent.
const UNLIMITED: &str = "limits:\n  upstream: { burst: 100000, concurrency: 1000 }\n";

fn page(number: u64) -> String {
    format!("{INVOICES}?page={number}&per_page=1")
}

fn answers(target: Target, status: u16, count: u64) -> Fault {
    Fault { count, ..Fault::once(target, FaultKind::Status { status, retry_after: None, body: None }) }
}

async fn northwind_is_served(proxy: &Proxy) {
    let reply = proxy.get("/organizations/northwind/express/invoices").await;
    assert_eq!(reply.status, StatusCode::OK, "another credential is untouched: {}", reply.text());
}

#[tokio::test]
async fn after_two_rejected_tokens_nothing_is_sent_until_the_back_off_ends() {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, "").await;
    talkdesk.control().inject(answers(Target::Api, 401, 2)).expect("a fault");
    let problem = proxy.get(&page(1)).await.assert_problem(502, "token_rejected");
    assert_eq!(problem["tenant"], ACME);
    assert_eq!(talkdesk.counts(), (2, 2));
    in_state(&proxy, ACME, "rejected").await;
    proxy.advance(Duration::from_secs(20));
    for number in 1..=10 {
        let reply = proxy.get(&page(number)).await;
        reply.assert_problem(502, "token_rejected");
        assert!((1..=16).contains(&reply.field("retry-after").parse::<u64>().expect("seconds")));
    }
    assert_eq!(talkdesk.counts(), (2, 2));
    proxy.advance(Duration::from_secs(17));
    assert_eq!(proxy.get(&page(1)).await.status, StatusCode::OK);
    assert_eq!(talkdesk.counts(), (3, 3));
}

#[tokio::test]
async fn an_api_that_rejects_every_token_costs_a_handful_of_them() {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, UNLIMITED).await;
    talkdesk.control().inject(answers(Target::Api, 401, 1_000_000)).expect("a fault");
    for second in 0..60 {
        let asked: Vec<_> = (1..=10).map(|client| page(second * 10 + client)).collect();
        for reply in futures_util::future::join_all(asked.iter().map(|path| proxy.get(path))).await {
            reply.assert_problem(502, "token_rejected");
        }
        if second < 59 {
            proxy.advance(Duration::from_secs(1));
        }
    }
    let (api, tokens) = talkdesk.counts();
    assert!(tokens <= 5 && api <= 60, "{tokens} tokens and {api} requests in a minute");
}

#[tokio::test]
async fn tokens_that_are_rejected_again_and_again_are_fetched_ever_more_seldom() {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, UNLIMITED).await;
    talkdesk.control().inject(answers(Target::Api, 401, 1_000_000)).expect("a fault");
    for _ in 0..60 {
        proxy.get(INVOICES).await.assert_problem(502, "token_rejected");
        proxy.advance(Duration::from_secs(10));
    }
    let (_, tokens) = talkdesk.counts();
    assert!((4..=8).contains(&tokens), "{tokens} in ten minutes");
}

#[tokio::test]
async fn a_second_401_is_never_answered_from_memory() {
    let talkdesk = Talkdesk::samples().await;
    let rule =
        "cache:\n  endpoints:\n    invoices: { ttl: 60s, stale_while_revalidate: 0s, stale_if_error: 1h }\n";
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, rule).await;
    assert_eq!(proxy.get(INVOICES).await.status, StatusCode::OK);
    proxy.advance(Duration::from_secs(61));
    talkdesk.control().inject(answers(Target::Api, 401, 2)).expect("a fault");
    proxy.get(INVOICES).await.assert_problem(502, "token_rejected");
    proxy.admin(Method::GET, "/api/cache").await;
    assert_eq!(proxy.admin(Method::GET, "/api/cache").await.json()["entries"], 0, "the entry is dropped");
}

#[tokio::test]
async fn a_401_of_another_request_leaves_a_stale_entry_in_its_place() {
    let talkdesk = Talkdesk::samples().await;
    let rule =
        "cache:\n  endpoints:\n    invoices: { ttl: 60s, stale_while_revalidate: 0s, stale_if_error: 1h }\n";
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, rule).await;
    assert_eq!(proxy.get(INVOICES).await.status, StatusCode::OK);
    proxy.advance(Duration::from_secs(61));
    talkdesk.control().inject(answers(Target::Api, 401, 2)).expect("a fault");
    proxy.get("/organizations/acme/express/products").await.assert_problem(502, "token_rejected");
    let sent = talkdesk.counts();
    let stale = proxy.get(INVOICES).await;
    assert_eq!(stale.status, StatusCode::OK, "{}", stale.text());
    assert!(stale.cache_status().contains("detail=rejected"), "{}", stale.cache_status());
    assert_eq!(talkdesk.counts(), sent);
}

#[tokio::test]
async fn a_thousand_clients_cost_a_dead_token_endpoint_a_handful_of_requests() {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, UNLIMITED).await;
    talkdesk.control().inject(answers(Target::Token, 503, 1_000_000)).expect("a fault");
    for second in 0..60 {
        let clients = if second == 0 { 1_000 } else { 10 };
        let asking = (0..clients).map(|_| proxy.get(INVOICES));
        for reply in futures_util::future::join_all(asking).await {
            reply.assert_problem(503, "token_unavailable");
            assert!((1..=72).contains(&reply.field("retry-after").parse::<u64>().expect("seconds")));
        }
        if second < 59 {
            proxy.advance(Duration::from_secs(1));
        }
    }
    let (api, tokens) = talkdesk.counts();
    assert_eq!(api, 0);
    assert!((3..=12).contains(&tokens), "{tokens} token requests in a minute");
    in_state(&proxy, ACME, "backing_off").await;
    let shown = credential(&proxy, ACME).await;
    assert!(shown["last_error"].as_str().expect("an error").contains("503"), "{shown}");
    assert!(shown["next_attempt"].is_string(), "{shown}");
}

#[rstest]
#[case::refuses(FaultKind::Close)]
#[case::answers_html(FaultKind::GarbageToken)]
#[case::answers_nothing(FaultKind::Empty)]
#[case::is_cut_off(FaultKind::Truncate)]
#[case::answers_half_a_json(FaultKind::MalformedJson)]
#[case::answers_500(FaultKind::Status { status: 500, retry_after: None, body: None })]
#[tokio::test]
async fn an_endpoint_that_gives_no_token_is_asked_again_after_a_second(#[case] kind: FaultKind) {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, "").await;
    talkdesk.control().inject(Fault::once(Target::Token, kind)).expect("a fault");
    let reply = proxy.get(INVOICES).await;
    reply.assert_problem(503, "token_unavailable");
    assert!(!reply.field("retry-after").is_empty());
    northwind_is_served(&proxy).await;
    assert_eq!(talkdesk.control().counters().tokens.by_account["acme"], 1);
    proxy.advance(Duration::from_secs(2));
    assert_eq!(proxy.get(INVOICES).await.status, StatusCode::OK);
}

#[rstest]
#[case::no_token(r#"{"token_type":"Bearer","expires_in":600}"#)]
#[case::empty(r#"{"access_token":"","token_type":"Bearer","expires_in":600}"#)]
#[case::another_type(r#"{"access_token":"x","token_type":"mac","expires_in":600}"#)]
#[case::with_a_line_break(r#"{"access_token":"x\r\nX-Evil: 1","token_type":"Bearer","expires_in":600}"#)]
#[case::ended(r#"{"access_token":"x","token_type":"Bearer","expires_in":0}"#)]
#[case::of_negative_life(r#"{"access_token":"x","token_type":"Bearer","expires_in":-5}"#)]
#[case::a_list("[]")]
#[case::a_null("null")]
#[tokio::test]
async fn an_answer_that_is_no_token_is_never_sent_as_one(#[case] body: &str) {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(TOKEN_PATH, [Canned::json(body.to_owned()), Canned::token("good")]);
    peer.answers("/express/invoices", [Canned::page()]);
    let proxy = peer.proxy("").await;
    proxy.get(INVOICES).await.assert_problem(503, "token_unavailable");
    assert_eq!(peer.calls("/express/invoices"), 0);
    proxy.advance(Duration::from_secs(2));
    assert_eq!(proxy.get(INVOICES).await.status, StatusCode::OK);
    assert_eq!(peer.seen("/express/invoices")[0].fields["authorization"], "Bearer good");
}

#[tokio::test]
async fn a_slow_token_endpoint_is_not_waited_for_beyond_the_request_timeout() {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, "upstream:\n  request_timeout: 5s\n").await;
    let slow = Fault::once(Target::Token, FaultKind::Slow { milliseconds: 60_000 });
    talkdesk.control().inject(slow).expect("a fault");
    let asking = proxy.get(INVOICES);
    let waiting = async {
        crate::support::eventually("it is asked", async || (talkdesk.counts().1 == 1).then_some(())).await;
        proxy.advance(Duration::from_secs(5));
    };
    let (reply, ()) = tokio::join!(asking, waiting);
    reply.assert_problem(503, "token_unavailable");
}

#[tokio::test]
async fn a_pause_of_the_token_endpoint_is_kept() {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, "").await;
    let kind = FaultKind::Status { status: 429, retry_after: Some("40".into()), body: None };
    talkdesk.control().inject(Fault::once(Target::Token, kind)).expect("a fault");
    let reply = proxy.get(INVOICES).await;
    reply.assert_problem(503, "token_unavailable");
    assert_eq!(reply.field("retry-after"), "40");
    proxy.advance(Duration::from_secs(39));
    proxy.get(INVOICES).await.assert_problem(503, "token_unavailable");
    assert_eq!(talkdesk.counts(), (0, 1));
    proxy.advance(Duration::from_secs(1));
    assert_eq!(proxy.get(INVOICES).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_refused_client_is_told_apart_and_touches_no_other() {
    let talkdesk = Talkdesk::samples().await;
    talkdesk.control().rotate_secret("acme", false).expect("an account");
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, "").await;
    // The secret on disk is the old one.
    let reply = proxy.get(INVOICES).await;
    let problem = reply.assert_problem(502, "credential_rejected");
    assert!(problem["message"].as_str().expect("text").contains("invalid_client"), "{problem}");
    assert!((24..=36).contains(&reply.field("retry-after").parse::<u64>().expect("seconds")));
    in_state(&proxy, ACME, "rejected").await;
    northwind_is_served(&proxy).await;
    proxy.advance(Duration::from_secs(20));
    proxy.get(&page(2)).await.assert_problem(502, "credential_rejected");
    assert_eq!(talkdesk.control().counters().tokens.by_account["acme"], 1);
    assert!(
        (proxy.metric("token_requests_total", &[("tenant", ACME), ("result", "rejected")]).await - 1.0).abs()
            < 0.1
    );
}

#[tokio::test]
async fn a_client_that_worked_a_moment_ago_is_asked_again_within_about_a_minute() {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, "").await;
    assert_eq!(proxy.get(&page(1)).await.status, StatusCode::OK);
    talkdesk.control().revoke_tokens(Some("acme")).expect("an account");
    talkdesk.control().inject(answers(Target::Token, 401, 3)).expect("a fault");
    for _ in 0..3 {
        let reply = proxy.get(&page(2)).await;
        reply.assert_problem(502, "credential_rejected");
        let wait: u64 = reply.field("retry-after").parse().expect("seconds");
        assert!((24..=72).contains(&wait), "{wait}");
        proxy.advance(Duration::from_secs(wait));
    }
    assert_eq!(proxy.get(&page(2)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_stored_outlives_a_refused_client_for_a_quarter_of_an_hour() {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, "").await;
    assert_eq!(proxy.get(INVOICES).await.status, StatusCode::OK);
    northwind_is_served(&proxy).await;
    talkdesk.control().rotate_secret("acme", false).expect("an account");
    talkdesk.control().revoke_tokens(Some("acme")).expect("an account");
    proxy.get(&page(2)).await.assert_problem(502, "credential_rejected");
    proxy.advance(Duration::from_mins(14));
    assert!(proxy.get(INVOICES).await.cache_status().starts_with("hit"));
    proxy.advance(Duration::from_mins(2));
    let tokens = talkdesk.control().counters().tokens.by_account["acme"];
    let cached_only = proxy.get_with(INVOICES, &[("cache-control", "only-if-cached")]).await;
    cached_only.assert_problem(504, "not_in_cache");
    assert_eq!(talkdesk.control().counters().tokens.by_account["acme"], tokens, "nothing is sent");
    proxy.get(INVOICES).await.assert_problem(502, "credential_rejected");
    assert!(
        proxy.get("/organizations/northwind/express/invoices").await.cache_status().starts_with("hit"),
        "another's entries stay"
    );
}

#[tokio::test]
async fn what_is_stored_does_not_outlive_it_where_there_are_too_many_requests() {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk
        .proxy(SAMPLE_TENANTS, "server:\n  max_requests_in_flight: 1\nentitlement:\n  rejected_grace: 15s\n")
        .await;
    assert_eq!(proxy.get(INVOICES).await.status, StatusCode::OK);
    talkdesk.control().rotate_secret("acme", false).expect("an account");
    talkdesk.control().revoke_tokens(Some("acme")).expect("an account");
    proxy.get(&page(2)).await.assert_problem(502, "credential_rejected");
    let slow = Fault::once(Target::Api, FaultKind::Slow { milliseconds: 3_600_000 });
    talkdesk.control().inject(slow).expect("a fault");
    let mut another = std::pin::pin!(proxy.get("/organizations/northwind/express/invoices"));
    let arrived = eventually("it has arrived", async || talkdesk.control().faults().is_empty().then_some(()));
    tokio::select! {
        _ = &mut another => panic!("it was answered at once"),
        () = arrived => {}
    }
    assert!(proxy.get(INVOICES).await.cache_status().starts_with("hit"));
    proxy.advance(Duration::from_secs(16));
    proxy.get(INVOICES).await.assert_problem(503, "overloaded");
}

#[tokio::test]
async fn a_scope_that_is_not_granted_has_a_name_of_its_own() {
    let talkdesk = Talkdesk::samples().await;
    let tenants = SAMPLE_TENANTS.replace(
        "client_secret: { file: stark-client-secret }",
        "client_secret: { file: stark-client-secret }, scopes: [\"express-accounts-invoices:read\"]",
    );
    let proxy = talkdesk.proxy(&tenants, "").await;
    let reply = proxy.get("/organizations/stark/express/invoices").await;
    reply.assert_problem(503, "scope_not_effective");
    assert!(!reply.field("retry-after").is_empty());
    assert_eq!(talkdesk.counts(), (0, 1));
}

#[tokio::test]
async fn a_missing_secret_is_that_tenants_trouble_alone() {
    let talkdesk = Talkdesk::samples().await;
    let tenants = SAMPLE_TENANTS.replace("file: acme-client-secret", "file: nowhere");
    let proxy = talkdesk.proxy(&tenants, "").await;
    let problem = proxy.get(INVOICES).await.assert_problem(503, "secret_unavailable");
    assert!(problem["message"].as_str().expect("text").contains(ACME), "{problem}");
    northwind_is_served(&proxy).await;
    assert_eq!(talkdesk.control().counters().tokens.by_account.get("acme"), None);
    let shown = credential(&proxy, ACME).await;
    let looked_for = proxy.folder().join("nowhere").display().to_string();
    assert!(shown["last_error"].as_str().is_some_and(|error| error.contains(&looked_for)), "{shown}");
}

#[tokio::test]
async fn no_secret_and_no_token_is_shown_anywhere() {
    let peer = Peer::start(Wire::HttpMock).await;
    let talkative = |status: u16, error: &str| {
        let body = format!(r#"{{"error":"{error}","error_description":"wrong secret s3cret of id"}}"#);
        Canned { status, ..Canned::json(body) }
    };
    let repeating = Canned { status: 502, ..Canned::json(r#"{"seen":"Bearer c4nary-token"}"#) };
    peer.answers(
        TOKEN_PATH,
        [Canned::token("c4nary-token"), talkative(400, "invalid_request"), talkative(401, "invalid_client")],
    );
    peer.answers("/express/invoices", [Canned::page(), Canned::status(401)]);
    peer.answers("/express/products", [Canned::json(r#"{"seen":"#).with("content-type", "application/json")]);
    peer.answers("/express/subscriptions", [Canned { status: 403, ..repeating }]);
    let proxy = peer.proxy("").await;
    let mut shown = Vec::new();
    for path in ["invoices", "products", "subscriptions", "invoices?page=2", "invoices?page=3"] {
        shown.push(proxy.get(&format!("/organizations/acme/express/{path}")).await);
        for path in ["/", "/metrics", "/readyz", "/api/tenants", "/api/credentials", "/api/cache"] {
            shown.push(proxy.admin(Method::GET, path).await);
        }
        proxy.advance(Duration::from_mins(1));
    }
    assert!(shown.iter().any(|reply| reply.text().contains("credential_rejected")));
    for reply in shown {
        for canary in ["s3cret", "c4nary-token", "aWQ6czNjcmV0"] {
            assert!(!reply.text().contains(canary), "{}", reply.text());
            assert!(!format!("{:?}", reply.fields).contains(canary), "{:?}", reply.fields);
        }
    }
}
