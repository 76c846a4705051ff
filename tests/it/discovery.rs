//! The accounts under an Organization: learned page by page, believed for a while, and never by halves.

use std::time::Duration;

use billing_insights_proxy::simulator::{Fault, FaultKind, Options, Quirks, Target, samples};
use http::StatusCode;
use rstest::rstest;

use crate::support::{Proxy, Talkdesk, eventually, filter};

const DISCOVERING: &str = "
organizations:
  - id: acme
    name: Acme Partners
    credential: { account: acme, client_id: 2f1c9a0e5b7d4c31, client_secret: { file: acme-client-secret } }
";
const FOREIGN: &str = "5ea75fe7aa224700012eae99";

/// Accounts that take four pages.
fn small_pages() -> Options {
    Options { max_per_page: 3, ..samples() }
}

async fn learned(proxy: &Proxy, count: usize) {
    eventually("the accounts are learned", async || {
        let tenants = proxy.admin(http::Method::GET, "/api/tenants").await.json();
        let learned = tenants["tenants"].as_array()?.iter().filter(|one| one["learned"] == true).count();
        (learned == count).then_some(())
    })
    .await;
}

async fn accounts_asked_for(talkdesk: &Talkdesk, at_least: u64) {
    eventually("the list is asked for", async || {
        let asked = talkdesk.control().counters().api.by_path.get("/express/accounts").copied();
        let is_asked = asked.unwrap_or_default() >= at_least;
        if !is_asked {
            // The proxy sets its alarm after the answer, so the time may have been moved before that.
            talkdesk.clock.advance(Duration::from_millis(100));
        }
        is_asked.then_some(())
    })
    .await;
}

fn on_accounts(kind: FaultKind) -> Fault {
    Fault { path: Some("/express/accounts".into()), ..Fault::once(Target::Api, kind) }
}

#[rstest]
#[case::of_a_hundred(100)]
#[case::small(3)]
#[tokio::test]
async fn every_account_of_every_page_becomes_a_tenant(#[case] max_per_page: u64) {
    let talkdesk = Talkdesk::start(Options { max_per_page, ..samples() }).await;
    let proxy = talkdesk.proxy(DISCOVERING, "").await;
    learned(&proxy, 12).await;
    for name in ["josephpinetrees", "canyon-travel"] {
        let reply = proxy.get(&format!("/instances/{name}/express/invoices?per_page=3")).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        assert_eq!(reply.field("x-tenant"), format!("instances/{name}"));
        assert_eq!(reply.json()["total"], if name == "josephpinetrees" { 34 } else { 33 });
    }
    let unknown = proxy.get("/instances/bluebay/express/invoices").await;
    unknown.assert_problem(404, "unknown_tenant");
}

#[rstest]
#[case::without_some_names_and_ids(Quirks { nameless_accounts: true, ..Quirks::default() }, 3.0)]
#[case::without_counts(Quirks { omit_counts: true, ..Quirks::default() }, 0.0)]
#[case::by_cursors(Quirks { cursors: true, omit_counts: true, ..Quirks::default() }, 0.0)]
#[case::with_escaped_slashes(Quirks { escape_slashes: true, ..Quirks::default() }, 0.0)]
#[tokio::test]
async fn what_talkdesk_may_leave_out_is_not_needed(#[case] quirks: Quirks, #[case] skipped: f64) {
    let talkdesk = Talkdesk::start(Options { quirks, ..small_pages() }).await;
    let proxy = talkdesk.proxy(DISCOVERING, "").await;
    learned(&proxy, 12).await;
    assert_eq!(
        proxy.get("/instances/canyon-travel/express/invoices?per_page=3").await.status,
        StatusCode::OK
    );
    let counted = proxy.metric("accounts_skipped", &[("tenant", "organizations/acme")]).await;
    assert!((counted - skipped).abs() < 0.1, "{counted}");
    // Talkdesk decides about an account that may be the one without an id, and about no other.
    let path =
        format!("/organizations/acme/express/invoices?{}", filter(&format!("account_id eq '{FOREIGN}'")));
    let code = if skipped > 0.0 { "denied_by_talkdesk" } else { "account_not_in_organization" };
    proxy.get(&path).await.assert_problem(403, code);
}

#[tokio::test]
async fn what_a_learned_tenant_asked_last_is_told_and_a_reload_keeps_it() {
    let talkdesk = Talkdesk::start(samples()).await;
    let proxy = talkdesk.proxy(DISCOVERING, "").await;
    learned(&proxy, 12).await;
    let last = async |name: &str| {
        let tenants = proxy.admin(http::Method::GET, "/api/tenants").await.json();
        let all = tenants["tenants"].as_array().expect("a list").clone();
        all.into_iter().find(|one| one["tenant"] == name).expect("it is there")["asked_last"].clone()
    };
    proxy.get("/instances/canyon-travel/express/invoices").await;
    proxy.get("/instances/josephpinetrees/express/accounts").await;
    for reloaded in [false, true] {
        if reloaded {
            assert_eq!(proxy.reload().await.status, StatusCode::OK);
            learned(&proxy, 12).await;
        }
        let (served, denied) =
            (last("instances/canyon-travel").await, last("instances/josephpinetrees").await);
        assert_eq!((&served["endpoint"], &served["status"]), (&"invoices".into(), &200.into()), "{reloaded}");
        assert_eq!((&denied["endpoint"], &denied["outcome"]), (&"accounts".into(), &"denied".into()));
        assert!(last("instances/tunnel-paint").await.is_null(), "each has its own");
    }
}

/// The next reading is refused pages of a hundred, gets one page, and meets the fault on the second.
fn spoil_page_two(talkdesk: &Talkdesk, kind: FaultKind) {
    let harmless = on_accounts(FaultKind::Slow { milliseconds: 0 });
    talkdesk.control().inject(Fault { count: 2, ..harmless }).expect("a fault");
    // A reset is tried again once, unseen.
    let count = if matches!(kind, FaultKind::Close) { 2 } else { 1 };
    talkdesk.control().inject(Fault { count, ..on_accounts(kind) }).expect("a fault");
}

async fn fault_is_met(talkdesk: &Talkdesk) {
    eventually("the fault is met", async || talkdesk.control().faults().is_empty().then_some(())).await;
}

#[rstest]
#[case::an_error(FaultKind::Status { status: 500, retry_after: None, body: None })]
#[case::a_reset(FaultKind::Close)]
#[case::half_a_body(FaultKind::Truncate)]
#[case::half_a_json(FaultKind::MalformedJson)]
#[tokio::test]
async fn a_list_that_is_read_by_half_teaches_nothing(#[case] kind: FaultKind) {
    let talkdesk = Talkdesk::start(small_pages()).await;
    spoil_page_two(&talkdesk, kind);
    let proxy = talkdesk.proxy(DISCOVERING, "").await;
    fault_is_met(&talkdesk).await;
    for _ in 0..20 {
        let first = proxy.get("/instances/josephpinetrees/express/products").await;
        first.assert_problem(404, "unknown_tenant");
    }
    proxy.advance(Duration::from_secs(61));
    learned(&proxy, 12).await;
}

#[tokio::test]
async fn a_list_that_is_read_by_half_replaces_nothing() {
    let talkdesk = Talkdesk::start(small_pages()).await;
    let proxy = talkdesk.proxy(DISCOVERING, "").await;
    learned(&proxy, 12).await;
    proxy.admin(http::Method::DELETE, "/api/cache").await;
    spoil_page_two(&talkdesk, FaultKind::Close);
    proxy.advance(Duration::from_mins(13));
    fault_is_met(&talkdesk).await;
    for _ in 0..20 {
        learned(&proxy, 12).await;
    }
    // After a reset the way counts as down for a moment.
    proxy.advance(Duration::from_secs(2));
    assert_eq!(proxy.get("/instances/canyon-travel/express/products").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_list_is_read_again_before_it_is_too_old_to_decide_by() {
    let talkdesk = Talkdesk::start(samples()).await;
    let proxy = talkdesk.proxy(DISCOVERING, "").await;
    learned(&proxy, 12).await;
    assert_eq!(talkdesk.counts().0, 1);
    proxy.advance(Duration::from_mins(11));
    learned(&proxy, 12).await;
    assert_eq!(talkdesk.counts().0, 1, "it is young enough");
    proxy.advance(Duration::from_mins(2));
    accounts_asked_for(&talkdesk, 2).await;
}

#[tokio::test]
async fn a_complete_list_denies_an_account_outside_it() {
    let talkdesk = Talkdesk::start(samples()).await;
    let proxy = talkdesk.proxy(DISCOVERING, "").await;
    learned(&proxy, 12).await;
    let before = talkdesk.counts();
    let path =
        format!("/organizations/acme/express/invoices?{}", filter(&format!("account_id eq '{FOREIGN}'")));
    proxy.get(&path).await.assert_problem(403, "account_not_in_organization");
    assert_eq!(talkdesk.counts(), before);
    let own = proxy
        .get("/organizations/acme/express/invoices?filter=account_id+eq+'5ea75fe7aa224700012eae50'")
        .await;
    assert_eq!(own.status, StatusCode::OK, "{}", own.text());
}

#[tokio::test]
async fn an_old_list_lets_talkdesk_decide_and_is_read_again_once() {
    let talkdesk = Talkdesk::start(samples()).await;
    let proxy = talkdesk.proxy(DISCOVERING, "").await;
    learned(&proxy, 12).await;
    // The readings that come by themselves fail, so that the list grows old.
    let failing =
        Fault { count: 2, ..on_accounts(FaultKind::Status { status: 500, retry_after: None, body: None }) };
    talkdesk.control().inject(failing).expect("a fault");
    proxy.advance(Duration::from_mins(14));
    accounts_asked_for(&talkdesk, 2).await;
    proxy.advance(Duration::from_secs(90));
    accounts_asked_for(&talkdesk, 3).await;
    assert!(talkdesk.control().faults().is_empty());
    // For a moment after an error Talkdesk is not asked for what is stored.
    proxy.advance(Duration::from_secs(3));
    // The reading that requests start is held up, so that all of them meet the old list.
    talkdesk.control().inject(on_accounts(FaultKind::Slow { milliseconds: 1000 })).expect("a fault");
    let path =
        format!("/organizations/acme/express/invoices?{}", filter(&format!("account_id eq '{FOREIGN}'")));
    let asking = (0..5).map(|_| proxy.get(&path));
    for reply in futures_util::future::join_all(asking).await {
        reply.assert_problem(403, "denied_by_talkdesk");
    }
    accounts_asked_for(&talkdesk, 4).await;
    let counters = talkdesk.control().counters();
    assert_eq!(counters.api.by_path["/express/invoices"], 1);
    proxy.advance(Duration::from_secs(1));
    eventually("the new list decides", async || {
        (proxy.get(&path).await.code() == "account_not_in_organization").then_some(())
    })
    .await;
    assert_eq!(talkdesk.control().counters().api.by_path["/express/accounts"], 4);
}

#[tokio::test]
async fn a_list_that_says_it_has_more_than_it_shows_teaches_nothing() {
    let talkdesk = Talkdesk::start(samples()).await;
    let short = serde_json::json!({
        "total": 2, "total_pages": 1,
        "_embedded": { "accounts": [{ "id": "5ea75fe7aa224700012eae40", "name": "josephpinetrees" }] },
    });
    let kind = FaultKind::Status { status: 200, retry_after: None, body: Some(short) };
    talkdesk.control().inject(on_accounts(kind)).expect("a fault");
    let proxy = talkdesk.proxy(DISCOVERING, "").await;
    fault_is_met(&talkdesk).await;
    for _ in 0..20 {
        let reply = proxy.get("/instances/josephpinetrees/express/products").await;
        reply.assert_problem(404, "unknown_tenant");
    }
}
