//! Tokens while all is well: one for everybody, fetched when needed, refreshed while in use, never sent too late.

use std::time::Duration;

use billing_insights_proxy::simulator::{
    Algorithm, Authentication, Client, Fault, FaultKind, Instance, Options, Target, Tenant,
};
use http::{Method, StatusCode};
use rstest::rstest;

use crate::support::{Proxy, SAMPLE_TENANTS, Talkdesk, eventually};

/// One of four hundred answers that nobody has asked for yet.
fn page(number: u64) -> String {
    format!("/organizations/acme/express/invoices?page={number}&per_page=1")
}

/// What the operator is told of a credential.
pub async fn credential(proxy: &Proxy, owner: &str) -> serde_json::Value {
    let all = proxy.admin(Method::GET, "/api/credentials").await.json();
    let found = all["credentials"].as_array().expect("a list").iter().find(|one| one["credential"] == owner);
    found.expect("the credential").clone()
}

/// Waits until a credential is in a state, for people and for machines.
pub async fn in_state(proxy: &Proxy, owner: &str, state: &str) {
    eventually(state, async || (credential(proxy, owner).await["state"] == state).then_some(())).await;
    let labels = [("tenant", owner), ("state", state)];
    assert!((proxy.metric("credential_state", &labels).await - 1.0).abs() < 0.1, "{state}");
    assert!(
        (proxy.metric("credential_state", &[("tenant", owner)]).await - 1.0).abs() < 0.1,
        "one state only"
    );
}

#[tokio::test]
async fn one_token_is_fetched_however_many_wait_for_it() {
    let talkdesk = Talkdesk::samples().await;
    let proxy =
        talkdesk.proxy(SAMPLE_TENANTS, "limits:\n  upstream: { concurrency: 100, burst: 100 }\n").await;
    let slow = Fault::once(Target::Token, FaultKind::Slow { milliseconds: 500 });
    talkdesk.control().inject(slow).expect("a fault");
    let asked: Vec<_> = (1..=50).map(page).collect();
    let asking = futures_util::future::join_all(asked.iter().map(|path| proxy.get(path)));
    let letting_go = async {
        eventually("all wait", async || {
            let waiting = proxy.metric("http_requests_in_flight", &[]).await;
            (waiting > 49.0).then_some(())
        })
        .await;
        assert_eq!(talkdesk.counts(), (0, 1));
        proxy.advance(Duration::from_millis(500));
    };
    let (replies, ()) = tokio::join!(asking, letting_go);
    assert!(replies.iter().all(|reply| reply.status == StatusCode::OK));
    assert_eq!(talkdesk.counts(), (50, 1));
}

#[rstest]
#[case::plain("plain")]
#[case::form_encoded("rfc6749")]
#[tokio::test]
async fn a_client_proves_itself_by_its_secret(#[case] encoding: &str) {
    let talkdesk = Talkdesk::samples().await;
    let tenants = SAMPLE_TENANTS.replace(
        "client_secret: { file: hooli-client-secret }",
        &format!("client_secret: {{ file: hooli-client-secret }}, basic_encoding: {encoding}"),
    );
    let proxy = talkdesk.proxy(&tenants, "").await;
    assert_eq!(proxy.get("/instances/hooli/express/invoices").await.status, StatusCode::OK);
    assert_eq!(talkdesk.control().counters().tokens.by_result["issued"], 1);
}

#[rstest]
#[case(Algorithm::Es256, "ES256")]
#[case(Algorithm::Rs256, "RS256")]
#[tokio::test]
async fn a_client_proves_itself_by_its_key_and_each_time_anew(
    #[case] algorithm: Algorithm,
    #[case] name: &str,
) {
    let key = Authentication::PrivateKey { key_id: "k-1".into(), algorithm };
    let client = Client { authentication: key, ..Client::with_secret("9b3d7e21c4a84f60") };
    let instance = Instance::new("5ea75fe7aa224700012eae41", "globex", 60);
    let talkdesk = Talkdesk::start(Options::new(vec![Tenant::direct(instance, Some(client))])).await;
    let tenants = format!(
        "instances:\n  - name: globex\n    organization: Talkdesk\n    credential: {{ account: globex, client_id: 9b3d7e21c4a84f60, private_key: {{ file: globex-key }}, key_id: k-1, algorithm: {name} }}\n"
    );
    let proxy = talkdesk.proxy(&tenants, "").await;
    for number in 1..=3 {
        let path = format!("/instances/globex/express/invoices?page={number}");
        assert_eq!(proxy.get(&path).await.status, StatusCode::OK);
        proxy.advance(Duration::from_mins(11));
    }
    assert_eq!(talkdesk.control().counters().tokens.by_result["issued"], 3);
}

#[tokio::test]
async fn clients_of_one_id_at_two_token_urls_have_a_token_each() {
    let tenant = |number: usize, account: &str| {
        let instance =
            Instance::new(format!("5ea7000000000000000000{number:02}"), format!("of-{account}"), 3);
        Tenant::organization(account, Client::with_secret("same"), vec![instance])
    };
    let talkdesk = Talkdesk::start(Options::new(vec![tenant(1, "one"), tenant(2, "other")])).await;
    let entry = |account: &str| {
        format!(
            "  - {{ id: {account}, discover_accounts: false, credential: {{ account: {account}, client_id: same, client_secret: {{ file: {account}-client-secret }} }} }}\n"
        )
    };
    let proxy = talkdesk.proxy(&format!("organizations:\n{}{}", entry("one"), entry("other")), "").await;
    for account in ["one", "other"] {
        let reply = proxy.get(&format!("/organizations/{account}/express/accounts")).await;
        assert_eq!(reply.json()["_embedded"]["accounts"][0]["name"], format!("of-{account}"));
    }
    let counters = talkdesk.control().counters();
    assert_eq!((counters.tokens.by_account["one"], counters.tokens.by_account["other"]), (1, 1));
}

#[tokio::test]
async fn a_token_in_use_is_refreshed_at_four_fifths_of_its_life() {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, "").await;
    proxy.get(&page(1)).await;
    proxy.advance(Duration::from_secs(435));
    proxy.get(&page(2)).await;
    assert_eq!(talkdesk.counts(), (2, 1), "too early");
    proxy.advance(Duration::from_secs(70));
    assert_eq!(proxy.get(&page(3)).await.status, StatusCode::OK);
    eventually("it is refreshed", async || (talkdesk.counts().1 == 2).then_some(())).await;
}

#[tokio::test]
async fn nobody_waits_for_a_refresh() {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, "").await;
    proxy.get(&page(1)).await;
    let slow = Fault::once(Target::Token, FaultKind::Slow { milliseconds: 5_000 });
    talkdesk.control().inject(slow).expect("a fault");
    proxy.advance(Duration::from_secs(505));
    for number in 2..=4 {
        assert_eq!(proxy.get(&page(number)).await.status, StatusCode::OK);
    }
    in_state(&proxy, "organizations/acme", "refreshing").await;
    proxy.advance(Duration::from_secs(5));
    in_state(&proxy, "organizations/acme", "valid").await;
    assert_eq!(talkdesk.counts(), (4, 2));
}

#[tokio::test]
async fn a_token_that_nobody_uses_is_not_refreshed() {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, "").await;
    proxy.get(&page(1)).await;
    for _ in 0..20 {
        proxy.advance(Duration::from_secs(100));
        // A hit needs no token.
        assert!(proxy.get(&page(1)).await.cache_status().starts_with("hit"));
    }
    assert_eq!(talkdesk.counts(), (1, 1));
    in_state(&proxy, "organizations/acme", "absent").await;
}

#[tokio::test]
async fn an_expired_token_is_never_sent() {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, "").await;
    let down = FaultKind::Status { status: 503, retry_after: None, body: None };
    let mut answered = 0;
    for number in 1..=120 {
        if number % 30 == 0 {
            // For a while there is no new token to be had, and the old one ends.
            let fault = Fault { count: 4, ..Fault::once(Target::Token, down.clone()) };
            talkdesk.control().inject(fault).expect("a fault");
        }
        let reply = proxy.get(&page(number)).await;
        answered += u32::from(reply.status == StatusCode::OK);
        assert!(matches!(reply.status.as_u16(), 200 | 503), "{}", reply.text());
        proxy.advance(Duration::from_millis(7_000 * (number % 37)));
    }
    let counters = talkdesk.control().counters();
    assert!(answered > 100, "{answered}");
    assert_eq!(counters.api.expired_token, 0);
    assert_eq!(counters.api.by_status.get("401"), None);
}

#[tokio::test]
async fn a_rejected_token_costs_one_new_token_and_one_retry_and_the_request_is_answered() {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, "").await;
    proxy.get(&page(1)).await;
    talkdesk.control().revoke_tokens(Some("acme")).expect("an account");
    let reply = proxy.get(&page(2)).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    assert_eq!(talkdesk.counts(), (3, 2));
    assert!(
        (proxy.metric("upstream_retries_total", &[("reason", "token_rejected")]).await - 1.0).abs() < 0.1
    );
    in_state(&proxy, "organizations/acme", "valid").await;
}

#[tokio::test]
async fn many_requests_whose_token_is_rejected_fetch_one_other() {
    let talkdesk = Talkdesk::samples().await;
    let proxy =
        talkdesk.proxy(SAMPLE_TENANTS, "limits:\n  upstream: { concurrency: 100, burst: 1000 }\n").await;
    proxy.get(&page(1)).await;
    talkdesk.control().revoke_tokens(None).expect("all");
    let asked: Vec<_> = (2..=41).map(page).collect();
    for reply in futures_util::future::join_all(asked.iter().map(|path| proxy.get(path))).await {
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    }
    assert_eq!(talkdesk.counts().1, 2);
}

#[tokio::test]
async fn a_credential_is_absent_until_it_is_needed_and_then_valid() {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, "").await;
    in_state(&proxy, "organizations/acme", "absent").await;
    proxy.get(&page(1)).await;
    in_state(&proxy, "organizations/acme", "valid").await;
    let shown = credential(&proxy, "organizations/acme").await;
    assert_eq!(shown["token_number"], 1);
    assert!(shown["scopes"].to_string().contains("express-accounts-invoices:read"), "{shown}");
    assert!(shown["token_usable_until"].is_string() && shown["last_error"].is_null(), "{shown}");
    in_state(&proxy, "organizations/northwind", "absent").await;
}
