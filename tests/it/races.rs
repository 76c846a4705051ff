//! Answers that are on their way while something changes: what was asked for before is not what is found afterwards.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use rstest::rstest;
use tokio::sync::Notify;

use crate::support::raw::{Act, RawPeer, ok};
use crate::support::{Proxy, eventually};

const ADDED: &str = "
upstream:
  endpoints:
    test: { path: /test/*, forward_request_fields: all }
limits:
  upstream: { rate: 10000/s, burst: 1000, concurrency: 100 }
cache:
  endpoints:
    test: {}
";
const TEST: &str = "/organizations/acme/test/a";
const INVOICES: &str = "/organizations/acme/express/invoices";

fn answer(status: &str, fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
        .into_bytes()
}

fn fresh(body: &str) -> Vec<u8> {
    answer("200 OK", "Content-Type: text/plain\r\nCache-Control: max-age=600\r\n", body)
}

/// An answer that comes when it is told to.
fn held(told: &Arc<Notify>, bytes: Vec<u8>) -> Vec<Act> {
    vec![Act::Until(Arc::clone(told)), Act::Send(bytes)]
}

async fn has_come(peer: &RawPeer, calls: usize) {
    eventually("the request has come", async || (peer.calls() >= calls).then_some(())).await;
}

/// Asks, and goes on once upstream has the request.
async fn under_way(
    proxy: &Arc<Proxy>,
    peer: &RawPeer,
    path: &'static str,
) -> tokio::task::JoinHandle<String> {
    let (calls, asking) = (peer.calls(), Arc::clone(proxy));
    let asked = tokio::spawn(async move { asking.get(path).await.text() });
    has_come(peer, calls + 1).await;
    asked
}

#[tokio::test]
async fn an_older_answer_does_not_take_the_place_of_a_newer_one() {
    let peer = RawPeer::start().await;
    let told = Arc::new(Notify::new());
    let varies = "Content-Type: text/plain\r\nCache-Control: max-age=600\r\n";
    peer.plays([
        held(&told, answer("200 OK", varies, "older")),
        vec![Act::Send(answer("200 OK", varies, "newer"))],
    ]);
    let proxy = Arc::new(peer.proxy(ADDED).await);
    let first = under_way(&proxy, &peer, TEST).await;
    proxy.advance(Duration::from_secs(1));
    // Another field goes upstream with it, so it does not wait for the first.
    assert_eq!(proxy.get_with(TEST, &[("x-mine", "1")]).await.text(), "newer");
    told.notify_one();
    assert_eq!(first.await.expect("an answer"), "older");
    assert_eq!(proxy.get(TEST).await.text(), "newer");
}

#[rstest]
#[case::ours(INVOICES, "", "403 Forbidden")]
#[case::ours_not_found(INVOICES, "", "404 Not Found")]
#[case::plain(TEST, ADDED, "403 Forbidden")]
#[tokio::test]
async fn what_was_asked_for_before_a_refusal_does_not_come_back_after_it(
    #[case] path: &'static str,
    #[case] further: &str,
    #[case] status: &str,
) {
    let peer = RawPeer::start().await;
    let told = Arc::new(Notify::new());
    let body = r#"{"total":1,"_links":{}}"#;
    let json = "Content-Type: application/json\r\nCache-Control: max-age=600\r\n";
    peer.plays([
        held(&told, answer("200 OK", json, body)),
        vec![Act::Send(answer(status, "Cache-Control: no-store\r\n", "{}"))],
        vec![Act::Send(answer("503 Busy", "Retry-After: 60\r\n", "{}"))],
    ]);
    let proxy = Arc::new(peer.proxy(further).await);
    let first = under_way(&proxy, &peer, path).await;
    // Another language, so it does not wait for the first.
    let refused = proxy.get_with(path, &[("accept-language", "de")]).await;
    assert_eq!(refused.status.as_str(), &status[..3]);
    told.notify_one();
    assert_eq!(first.await.expect("an answer"), body);
    let after = proxy.get(path).await;
    assert_ne!(after.status, StatusCode::OK, "{}", after.cache_status());
}

/// The configuration without its Organization, and with it again.
fn without_acme(text: &str) -> String {
    text.replace("id: acme", "id: another").replace("client_id: id,", "client_id: other,")
}

fn with_acme(text: &str) -> String {
    text.replace("id: another", "id: acme").replace("client_id: other,", "client_id: id,")
}

#[tokio::test]
async fn what_is_under_way_when_its_credential_goes_is_not_there_when_it_comes_back() {
    let peer = RawPeer::start().await;
    let told = Arc::new(Notify::new());
    peer.plays([
        held(&told, ok(r#"{"total":1,"_links":{}}"#)),
        vec![Act::Send(ok(r#"{"total":2,"_links":{}}"#))],
    ]);
    let proxy = Arc::new(peer.proxy("").await);
    let first = under_way(&proxy, &peer, INVOICES).await;
    proxy.edit(without_acme);
    assert_eq!(proxy.reload().await.status, StatusCode::OK);
    told.notify_one();
    assert_eq!(first.await.expect("an answer"), r#"{"total":1,"_links":{}}"#, "it ends as it began");
    proxy.edit(with_acme);
    assert_eq!(proxy.reload().await.status, StatusCode::OK);
    assert_eq!(proxy.get(INVOICES).await.text(), r#"{"total":2,"_links":{}}"#);
}

#[tokio::test]
async fn who_waited_while_the_rule_changed_stores_nothing_by_the_old_one() {
    let peer = RawPeer::start().await;
    let (told, then) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let unshared = answer("200 OK", "Cache-Control: no-store\r\n", "x");
    peer.plays([held(&told, unshared), held(&then, fresh("y")), vec![Act::Send(fresh("z"))]]);
    let proxy = Arc::new(peer.proxy(ADDED).await);
    let first = under_way(&proxy, &peer, TEST).await;
    let waiting = {
        let proxy = Arc::clone(&proxy);
        tokio::spawn(async move { proxy.get(TEST).await.text() })
    };
    eventually("the second waits", async || (proxy.app.proxy().waiting_for_fetches() == 2).then_some(()))
        .await;
    proxy.edit(|text| text.replace("    test: {}\n", "    test: { ttl: 0s }\n"));
    assert_eq!(proxy.reload().await.status, StatusCode::OK);
    told.notify_one();
    first.await.expect("an answer");
    has_come(&peer, 2).await;
    then.notify_one();
    assert_eq!(waiting.await.expect("an answer"), "y");
    assert_eq!(proxy.admin(Method::GET, "/api/cache/entries").await.json()["total"], 0);
}

#[tokio::test]
async fn a_denial_that_was_under_way_at_a_purge_is_not_remembered() {
    let peer = RawPeer::start().await;
    let told = Arc::new(Notify::new());
    let denied =
        answer("403 Forbidden", "Content-Type: application/json\r\n", r#"{"code":"1","message":"no"}"#);
    peer.plays([held(&told, denied), vec![Act::Send(ok(r#"{"total":1,"_links":{}}"#))]]);
    let proxy = Arc::new(peer.proxy("").await);
    let first = under_way(&proxy, &peer, INVOICES).await;
    assert_eq!(proxy.admin(Method::DELETE, "/api/cache").await.status, StatusCode::OK);
    told.notify_one();
    let first = first.await.expect("an answer");
    assert!(first.contains("denied_by_talkdesk"), "{first}");
    assert_eq!(proxy.get(INVOICES).await.status, StatusCode::OK);
    assert_eq!(peer.calls(), 2);
}

#[tokio::test]
async fn a_field_that_is_for_the_one_who_asked_alone_does_not_reach_who_waited_with_him() {
    let peer = RawPeer::start().await;
    let told = Arc::new(Notify::new());
    let fields = "Cache-Control: private=\"x-mine\", max-age=600\r\nX-Mine: secret\r\nX-Yours: too\r\n";
    peer.plays([held(&told, answer("200 OK", fields, "x"))]);
    let proxy = Arc::new(peer.proxy(ADDED).await);
    let ask = || {
        let proxy = Arc::clone(&proxy);
        tokio::spawn(async move { proxy.get(TEST).await })
    };
    let first = ask();
    has_come(&peer, 1).await;
    let second = ask();
    eventually("the second waits", async || (proxy.app.proxy().waiting_for_fetches() == 2).then_some(()))
        .await;
    told.notify_one();
    let (first, second) = (first.await.expect("an answer"), second.await.expect("an answer"));
    assert_eq!((first.field("x-mine"), first.field("x-yours")), ("secret", "too"));
    assert_eq!((second.field("x-mine"), second.field("x-yours")), ("", "too"), "{}", second.cache_status());
    assert_eq!(peer.calls(), 1);
}

/// A list with one account in it.
fn one_account(id: &str, name: &str) -> Vec<u8> {
    ok(&format!(
        r#"{{"total":1,"total_pages":1,"_embedded":{{"accounts":[{{"id":"{id}","name":"{name}"}}]}}}}"#
    ))
}

const LISTED: &str = "/instances/wayne/express/products";

/// A proxy that learns the accounts of its Organization.
async fn discovering(peer: &RawPeer) -> Proxy {
    let yaml = peer.configuration("").replace("discover_accounts: false", "discover_accounts: true");
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    std::fs::write(folder.path().join("secret"), "s3cret").expect("a secret");
    Proxy::start(&yaml, folder, billing_insights_proxy::clock::ManualClock::new()).await
}

async fn is_nobodys(proxy: &Proxy) {
    let asking = tokio::time::timeout(Duration::from_secs(10), proxy.get(LISTED));
    asking.await.expect("nothing is asked upstream").assert_problem(404, "unknown_tenant");
}

fn another_client(text: &str) -> String {
    text.replace("client_id: id,", "client_id: other,")
}

#[tokio::test]
async fn a_list_of_accounts_that_is_read_while_the_client_changes_is_not_learned() {
    let peer = RawPeer::start().await;
    let told = Arc::new(Notify::new());
    let list = one_account("5ea75fe7aa224700012eae49", "wayne");
    peer.plays([held(&told, list), vec![Act::Stall]]);
    let proxy = discovering(&peer).await;
    has_come(&peer, 1).await;
    proxy.edit(another_client);
    assert_eq!(proxy.reload().await.status, StatusCode::OK);
    told.notify_one();
    // The first reading has ended once the next begins.
    has_come(&peer, 2).await;
    is_nobodys(&proxy).await;
}

#[tokio::test]
async fn accounts_that_another_client_listed_are_nobodys_after_a_reload() {
    let peer = RawPeer::start().await;
    let list = one_account("5ea75fe7aa224700012eae49", "wayne");
    peer.plays([vec![Act::Send(list)], vec![Act::Stall]]);
    let proxy = discovering(&peer).await;
    eventually("the account is known", async || {
        let tenants = proxy.admin(Method::GET, "/api/tenants").await.text();
        tenants.contains("instances/wayne").then_some(())
    })
    .await;
    proxy.edit(another_client);
    assert_eq!(proxy.reload().await.status, StatusCode::OK);
    is_nobodys(&proxy).await;
}

#[tokio::test]
async fn a_client_that_has_another_owner_after_a_reload_is_told_as_that_ones() {
    let peer = RawPeer::start().await;
    peer.plays([vec![Act::Send(ok(r#"{"total":1,"_links":{}}"#))]]);
    let proxy = peer.proxy("").await;
    proxy.get(INVOICES).await;
    proxy.edit(|text| text.replace("id: acme", "id: another"));
    assert_eq!(proxy.reload().await.status, StatusCode::OK);
    let told = proxy.admin(Method::GET, "/api/credentials").await.json();
    assert_eq!(told["credentials"][0]["credential"], "organizations/another");
    proxy.get(INVOICES).await.assert_problem(404, "unknown_tenant");
}

#[rstest]
#[case::no_store("no-store")]
#[case::private("private")]
#[tokio::test]
async fn section_4_3_4_what_a_304_says_may_not_be_stored_any_more_is_not_found_any_more(
    #[case] directive: &str,
    #[values("GET", "HEAD")] method: &str,
) {
    let peer = RawPeer::start().await;
    let first = "ETag: \"a\"\r\nCache-Control: max-age=600\r\n";
    let then = format!("ETag: \"a\"\r\nCache-Control: {directive}\r\n");
    let confirmed = format!("HTTP/1.1 304 Not Modified\r\n{then}Connection: close\r\n\r\n").into_bytes();
    peer.plays([
        vec![Act::Send(answer("200 OK", first, "old"))],
        vec![Act::Send(confirmed)],
        vec![Act::Send(answer("200 OK", first, "new"))],
    ]);
    let proxy = peer.proxy(ADDED).await;
    proxy.get(TEST).await;
    let method = method.parse().expect("a method");
    let confirmed = proxy.ask(method, TEST, &[("cache-control", "no-cache")]).await;
    assert_eq!(confirmed.status, StatusCode::OK);
    assert_eq!(proxy.get(TEST).await.text(), "new");
}

#[tokio::test]
async fn an_instance_asks_its_organizations_api_for_no_part_under_a_plain_rule_either() {
    let peer = RawPeer::start().await;
    let nothing_of_nobody = vec![Act::Send(ok(r#"{"_links":{}}"#))];
    peer.plays([nothing_of_nobody, vec![Act::Send(ok(r#"{"total":1,"_links":{}}"#))]]);
    let proxy = peer.proxy("cache:\n  endpoints:\n    invoices: {}\n").await;
    let path = "/instances/josephpinetrees/express/invoices";
    let reply = proxy.get_with(path, &[("range", "bytes=0-3")]).await;
    assert_eq!(reply.status, StatusCode::OK, "the whole is checked");
    assert!(!peer.heads()[1].to_ascii_lowercase().contains("\r\nrange:"), "{}", peer.heads()[1]);
}
