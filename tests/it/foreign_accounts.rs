//! Who is foreign to an Organization of five thousand accounts: decided by a list that is whole and fresh, and else by
//! Talkdesk.

use std::sync::Arc;
use std::time::Duration;

use billing_insights_proxy::clock::ManualClock;
use http::StatusCode;
use tempfile::TempDir;

use crate::support::peer::{Canned, Peer, TOKEN_PATH, Wire};
use crate::support::{Proxy, eventually};

const ACCOUNTS: &str = "/express/accounts";
const INVOICES: &str = "/express/invoices";
const PAGES: usize = 50;
const EACH: usize = 100;

fn id(number: usize) -> String {
    format!("5ea75fe7{number:016x}")
}

fn next(page: usize) -> serde_json::Value {
    serde_json::json!({ "next": { "href": format!("{ACCOUNTS}?page={page}&per_page={EACH}") } })
}

/// The pages of a list of five thousand, whose first account has that number.
fn pages(first: usize) -> Vec<Canned> {
    let page = |page: usize| {
        let numbers = (first + page * EACH..).take(EACH);
        let accounts: Vec<_> = numbers
            .map(|number| serde_json::json!({ "id": id(number), "name": format!("account-{number}") }))
            .collect();
        let body = serde_json::json!({
            "total": PAGES * EACH, "page": page + 1, "per_page": EACH, "total_pages": PAGES,
            "_embedded": { "accounts": accounts },
            "_links": if page + 1 < PAGES { next(page + 2) } else { serde_json::json!({}) },
        });
        Canned::json(body.to_string())
    };
    (0..PAGES).map(page).collect()
}

struct Scene {
    peer: Peer,
    proxy: Proxy,
}

impl Scene {
    async fn start(pages: Vec<Canned>) -> Self {
        let peer = Peer::start(Wire::HttpMock).await;
        peer.answers(ACCOUNTS, pages);
        peer.answers(INVOICES, [Canned::page()]);
        let folder: Arc<TempDir> = Arc::new(tempfile::tempdir().expect("a folder"));
        std::fs::write(folder.path().join("secret"), "s3cret").expect("a secret");
        let yaml = format!(
            "upstream:\n  api_url: {url}\n  token_url: {url}{TOKEN_PATH}\norganizations:\n  - id: acme\n    credential: {{ account: \
             acme, client_id: id, client_secret: {{ file: secret }} }}\nlimits:\n  upstream: {{ rate: 100000/s, burst: \
             10000 }}\n",
            url = peer.url()
        );
        let proxy = Proxy::start(&yaml, folder, ManualClock::new()).await;
        Self { peer, proxy }
    }

    async fn read(&self, times: usize) {
        eventually("the list is read", async || {
            let calls = self.peer.calls(ACCOUNTS);
            // The proxy sets its alarm after the last answer, so the time may have been moved before that; but
            // while it reads, the time must stand still.
            if calls == (times - 1) * PAGES {
                self.proxy.advance(Duration::from_millis(100));
            }
            (calls >= times * PAGES).then_some(())
        })
        .await;
    }

    async fn asks_for(&self, number: usize) -> StatusCode {
        self.proxy
            .get(&format!("/organizations/acme{INVOICES}?filter=account_id+eq+'{}'", id(number)))
            .await
            .status
    }

    async fn instance(&self, number: usize) -> String {
        let reply = self.proxy.get(&format!("/instances/account-{number}{INVOICES}")).await;
        if reply.status == StatusCode::NOT_FOUND { reply.code() } else { reply.status.as_str().to_owned() }
    }
}

#[tokio::test]
async fn an_account_outside_a_list_of_thousands_is_foreign_and_costs_no_call() {
    let scene = Scene::start(pages(0)).await;
    scene.read(1).await;
    eventually("it is learned", async || (scene.instance(4_999).await != "unknown_tenant").then_some(()))
        .await;
    for inside in [0, 1, 99, 100, 2_500, 4_999] {
        assert_eq!(scene.asks_for(inside).await, StatusCode::OK, "{inside}");
    }
    let calls = scene.peer.calls(INVOICES);
    for outside in [5_000, 5_001, 1 << 40] {
        let path =
            format!("/organizations/acme{INVOICES}?filter=account_id+in+('{}','{}')", id(0), id(outside));
        scene.proxy.get(&path).await.assert_problem(403, "account_not_in_organization");
    }
    assert_eq!(scene.instance(5_000).await, "unknown_tenant");
    assert_eq!(scene.peer.calls(INVOICES), calls);
    assert_eq!(scene.peer.calls(ACCOUNTS), PAGES, "a whole and fresh list is not read again for it");
}

#[tokio::test]
async fn a_list_that_changed_moves_the_border_with_it() {
    let scene = Scene::start(pages(0).into_iter().chain(pages(1_000)).collect()).await;
    scene.read(1).await;
    eventually("it is learned", async || (scene.instance(0).await != "unknown_tenant").then_some(())).await;
    assert_eq!(scene.asks_for(5_500).await, StatusCode::FORBIDDEN);
    scene.proxy.advance(Duration::from_mins(13));
    scene.read(2).await;
    eventually("the new list is learned", async || {
        (scene.asks_for(5_500).await == StatusCode::OK).then_some(())
    })
    .await;
    // Who has left is foreign at once, and no tenant any more.
    assert_eq!(scene.asks_for(999).await, StatusCode::FORBIDDEN);
    assert_eq!(scene.instance(999).await, "unknown_tenant");
    assert_ne!(scene.instance(5_500).await, "unknown_tenant");
}

#[tokio::test]
async fn of_a_list_that_stops_half_way_nothing_counts() {
    let mut half = pages(0);
    half.truncate(30);
    half.push(Canned::json(r#"{"total":5000,"total_pages":50,"_embedded":{"accounts":[{"id":"5ea7"#));
    half.push(Canned::status(404));
    let scene = Scene::start(half).await;
    eventually("it stops", async || (scene.peer.calls(ACCOUNTS) >= 31).then_some(())).await;
    // Closed where it decides whose data is seen: there is no such tenant, though its page was read.
    assert_eq!(scene.instance(0).await, "unknown_tenant");
    // Open where Talkdesk decides: whoever is not on the pages that came may well be on the others.
    for number in [0, 4_000, 9_000] {
        assert_eq!(scene.asks_for(number).await, StatusCode::OK, "{number}");
    }
}

#[tokio::test]
async fn a_list_with_an_account_missing_is_none() {
    let mut short = pages(0);
    // The last page repeats the one before it: five thousand records of fewer accounts.
    short[PAGES - 1] = short[PAGES - 2].clone();
    let scene = Scene::start(short).await;
    scene.read(1).await;
    assert_eq!(scene.instance(0).await, "unknown_tenant");
    assert_eq!(scene.asks_for(4_950).await, StatusCode::OK, "upstream decides");
}

#[tokio::test]
async fn a_list_that_is_too_old_denies_nobody_and_is_read_again() {
    let mut once = pages(0);
    once.push(Canned::status(404));
    let scene = Scene::start(once).await;
    scene.read(1).await;
    eventually("it is learned", async || (scene.instance(0).await != "unknown_tenant").then_some(())).await;
    assert_eq!(scene.asks_for(7_000).await, StatusCode::FORBIDDEN);
    let before = scene.peer.calls(ACCOUNTS);
    scene.proxy.advance(Duration::from_mins(16));
    assert_eq!(scene.asks_for(7_000).await, StatusCode::OK, "upstream decides");
    eventually("it is asked for again", async || (scene.peer.calls(ACCOUNTS) > before).then_some(())).await;
}
