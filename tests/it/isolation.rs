//! No answer of one tenant is ever seen by another.

use std::fmt::Write as _;

use billing_insights_proxy::simulator::Options;
use http::StatusCode;
use rstest::rstest;

use crate::support::peer::{Canned, Peer, Wire};
use crate::support::{SAMPLE_TENANTS, Talkdesk, filter};

const INVOICES: &str = "/express/invoices";
const OWN: &str = "5ea75fe7aa224700012eae40";

#[rstest]
#[tokio::test]
async fn fifty_tenants_at_once_see_their_own_and_cost_a_token_each(#[values(false, true)] tls: bool) {
    let options = Options { tls, ..Options::synthetic(50, 1, 3) };
    let talkdesk = Talkdesk::start(options).await;
    let mut tenants = String::from("organizations:\n");
    for credential in talkdesk.simulator.credentials() {
        let account = &credential.account;
        let _ = writeln!(
            tenants,
            "  - {{ id: {account}, discover_accounts: false, credential: {{ account: {account}, client_id: \"{}\", client_secret: {{ file: {} }} }} }}",
            credential.client_id,
            credential.file_name(),
        );
    }
    let proxy = talkdesk.proxy(&tenants, "").await;
    let paths = ["accounts", "products", "subscriptions", "invoices", "usage/month"];
    let mut asking = Vec::new();
    for credential in talkdesk.simulator.credentials() {
        for path in paths {
            for _ in 0..3 {
                let path = format!("/organizations/{}/express/{path}", credential.account);
                let (proxy, account) = (&proxy, credential.account.clone());
                asking.push(async move { (account, proxy.get(&path).await) });
            }
        }
    }
    let mut bodies = std::collections::HashMap::new();
    for (account, reply) in futures_util::future::join_all(asking).await {
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        assert_eq!(reply.field("x-tenant"), format!("organizations/{account}"));
        let number = account.rsplit('-').next().expect("a number");
        if let Some(accounts) = reply.json()["_embedded"]["accounts"].as_array() {
            for listed in accounts {
                assert!(listed["name"].as_str().expect("a name").starts_with(&format!("instance-{number}-")));
            }
        }
        if let Some(invoices) = reply.json()["_embedded"]["invoices"].as_array() {
            for invoice in invoices {
                let owner =
                    bodies.entry(invoice["account_id"].to_string()).or_insert_with(|| account.clone());
                assert_eq!(*owner, account, "an invoice of another tenant");
            }
        }
    }
    let counters = talkdesk.control().counters();
    assert_eq!(counters.tokens.total, 50);
    assert_eq!(counters.api.total, 250);
}

/// Everybody asks for the same URLs, again and again, while every token ends and is replaced.
#[rstest]
#[tokio::test]
async fn fifty_tenants_see_their_own_while_all_tokens_are_replaced_and_the_configuration_is_reloaded(
    #[values(false, true)] tls: bool,
) {
    let options = Options { tls, ..Options::synthetic(50, 2, 3) };
    let talkdesk = Talkdesk::start(options).await;
    let mut tenants = String::from("organizations:\n");
    for (position, credential) in talkdesk.simulator.credentials().iter().enumerate() {
        let (account, number) = (&credential.account, position as u128 + 1);
        let _ = writeln!(
            tenants,
            "  - id: {account}\n    discover_accounts: false\n    credential: {{ account: {account}, client_id: \"{}\", client_secret: {{ file: {} }} }}\n    \
             accounts: [{{ id: 5ea7{:020x}, name: instance-{number}-2 }}]",
            credential.client_id,
            credential.file_name(),
            number << 32 | 2,
        );
    }
    let further = "upstream:\n  request_timeout: 2h\nlimits:\n  upstream: { rate: 100000/s, burst: 1000, concurrency: 50 }\ncache:\n  endpoints:\n    invoices: { ttl: 60s, stale_while_revalidate: 0s }\n    \
                   subscriptions: { ttl: 60s, stale_while_revalidate: 60s }\n";
    let proxy = talkdesk.proxy(&tenants, further).await;
    let replies = std::cell::Cell::new(0);
    let ask = async |tenant: String, number: u128, own: Option<u128>| {
        for round in 0..4 {
            for (path, records) in
                [("invoices?page=1&per_page=50", "invoices"), ("subscriptions", "subscriptions")]
            {
                let reply = proxy.get(&format!("/{tenant}/express/{path}")).await;
                replies.set(replies.get() + 1);
                assert_eq!(reply.status, StatusCode::OK, "{tenant}, {round}: {}", reply.text());
                assert_eq!(reply.field("x-tenant"), tenant);
                let body = reply.json();
                let records = body["_embedded"][records].as_array().expect("records");
                assert!(!records.is_empty(), "{body}");
                for record in records {
                    let id = record["account_id"]
                        .as_str()
                        .expect("an id")
                        .strip_prefix("5ea7")
                        .expect("one of ours");
                    let id = u128::from_str_radix(id, 16).expect("a number");
                    assert_eq!(id >> 32, number, "{tenant} sees a record of another Organization");
                    assert!(own.is_none_or(|own| id & 0xffff_ffff == own), "{tenant} sees another Instance");
                }
            }
        }
    };
    let mut asking: Vec<futures_util::future::LocalBoxFuture<'_, ()>> = Vec::new();
    for (position, credential) in talkdesk.simulator.credentials().iter().enumerate() {
        let number = position as u128 + 1;
        asking.push(Box::pin(ask(format!("organizations/{}", credential.account), number, None)));
        asking.push(Box::pin(ask(format!("instances/instance-{number}-2"), number, Some(2))));
    }
    // Tokens live for ten minutes. The time moves on while the requests are under way.
    let time = async {
        for share in [100, 300, 500] {
            while replies.get() < share {
                tokio::task::yield_now().await;
            }
            proxy.advance(std::time::Duration::from_mins(11));
            // Something is another each time: the limits, and the rules of both endpoints.
            proxy.edit(|text| {
                let other = text.replace("burst: 1000", "burst: 1001").replace("ttl: 60s", "ttl: 61s");
                if other == text {
                    text.replace("burst: 1001", "burst: 1000").replace("ttl: 61s", "ttl: 60s")
                } else {
                    other
                }
            });
            let reply = proxy.reload().await;
            assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        }
    };
    tokio::join!(futures_util::future::join_all(asking), time);
    assert_eq!(replies.get(), 800);
    let tokens = talkdesk.control().counters().tokens.total;
    assert!(tokens >= 100, "every token was replaced: {tokens}");
}

#[rstest]
#[case::foreign(r#"{"_embedded":{"invoices":[{"account_id":"5ea75fe7aa224700012eae99"}]}}"#)]
#[case::unmarked(r#"{"_embedded":{"invoices":[{"amount":1.10}]}}"#)]
#[case::elsewhere(r#"{"invoices":[{"account_id":"5ea75fe7aa224700012eae40"}]}"#)]
#[tokio::test]
async fn an_instance_on_its_organizations_credential_sees_only_itself(
    #[case] body: &str,
    #[values(Wire::HttpMock, Wire::TlsHttp2)] wire: Wire,
) {
    let peer = Peer::start(wire).await;
    peer.answers(INVOICES, [Canned::json(body.to_owned())]);
    let proxy = peer.proxy("").await;
    for _ in 0..2 {
        let reply = proxy.get("/instances/josephpinetrees/express/invoices?page=1").await;
        assert_eq!((reply.status, reply.code().as_str()), (StatusCode::BAD_GATEWAY, "account_mismatch"));
        assert!(!reply.text().contains("eae99"));
    }
    let own = filter(&format!("account_id eq '{OWN}'"));
    assert_eq!(peer.seen(INVOICES)[0].target, format!("/express/invoices?{own}&page=1"));
    assert_eq!(peer.calls(INVOICES), 2, "nothing was stored");
    assert!((proxy.metric("account_mismatch_total", &[]).await - 2.0).abs() < 0.1);
}

#[tokio::test]
async fn an_entry_of_the_organization_never_answers_an_instance_under_it() {
    let peer = Peer::start(Wire::HttpMock).await;
    let foreign = r#"{"_embedded":{"invoices":[{"account_id":"5ea75fe7aa224700012eae99"}]}}"#;
    peer.answers(INVOICES, [Canned::json(foreign)]);
    let proxy = peer.proxy("").await;
    let organization =
        proxy.get(&format!("/organizations/acme/express/invoices?filter=account_id+eq+'{OWN}'")).await;
    assert_eq!(organization.status, StatusCode::OK, "an Organization is not checked record by record");
    let instance = proxy.get("/instances/josephpinetrees/express/invoices").await;
    assert_eq!(instance.status, StatusCode::BAD_GATEWAY, "the same URL upstream, but another reader");
    assert_eq!(peer.calls(INVOICES), 2);
}

#[tokio::test]
async fn the_catalogue_is_shared_and_not_checked() {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, "").await;
    assert_eq!(proxy.get("/organizations/acme/express/products").await.status, StatusCode::OK);
    let instance = proxy.get("/instances/josephpinetrees/express/products").await;
    assert_eq!(instance.status, StatusCode::OK);
    assert!(instance.cache_status().starts_with("hit"), "{}", instance.cache_status());
}

#[rstest]
#[case(404)]
#[case(400)]
#[case(422)]
#[case(302)]
#[tokio::test]
async fn an_error_may_not_carry_another_accounts_records_either(#[case] status: u16) {
    let peer = Peer::start(Wire::HttpMock).await;
    let foreign = r#"{"fields":[],"_embedded":{"invoices":[{"account_id":"5ea75fe7aa224700012eae99"}]}}"#;
    peer.answers(INVOICES, [Canned { status, ..Canned::json(foreign) }]);
    let proxy = peer.proxy("").await;
    let reply = proxy.get("/instances/josephpinetrees/express/invoices").await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::BAD_GATEWAY, "account_mismatch"));
    let error = r#"{"code":"1","message":"no","fields":[{"name":"page","description":"bad"}]}"#;
    peer.answers(INVOICES, [Canned { status, ..Canned::json(error) }]);
    let reply = proxy.get("/instances/josephpinetrees/express/invoices").await;
    assert_eq!((reply.status.as_u16(), reply.text().as_str()), (status, error));
}

#[rstest]
#[case::a_part(206)]
#[case::a_challenge_of_a_proxy(407)]
#[tokio::test]
async fn a_status_that_answers_nothing_asked_is_a_protocol_error(#[case] status: u16) {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(INVOICES, [Canned { status, ..Canned::page() }]);
    let proxy = peer.proxy("").await;
    let reply = proxy.get("/organizations/acme/express/invoices").await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::BAD_GATEWAY, "upstream_protocol_error"));
}
