//! Another configuration without a restart: what changes at once, what stays, and what is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};

use crate::support::peer::{Canned, Peer, TOKEN_PATH, Wire};
use crate::support::{Proxy, Reply, SAMPLE_TENANTS, Talkdesk, eventually};

const PRODUCTS: &str = "/organizations/acme/express/products";
const INVOICES: &str = "/organizations/acme/express/invoices";

fn accepted(reply: &Reply) -> serde_json::Value {
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    let told = reply.json();
    assert_eq!(told["reloaded"], true);
    told
}

async fn samples() -> (Talkdesk, Proxy) {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, "server:\n  denial_status: 403\n").await;
    (talkdesk, proxy)
}

fn lines(value: &serde_json::Value) -> Vec<String> {
    let lines = value.as_array().expect("a list").iter();
    lines.map(|line| line.as_str().expect("text").to_owned()).collect()
}

#[tokio::test]
async fn what_did_not_change_keeps_its_tokens_and_its_entries() {
    let (talkdesk, proxy) = samples().await;
    proxy.get(PRODUCTS).await;
    proxy.get("/instances/globex/express/products").await;
    let before = (talkdesk.counts(), proxy.admin(Method::GET, "/api/cache").await.json());
    proxy.edit(|text| text.replace("denial_status: 403", "denial_status: 422"));
    let told = accepted(&proxy.reload().await);
    assert_eq!(lines(&told["changed"]), ["server is another"]);
    let file = proxy.folder().join("config.yaml").display().to_string();
    let warnings = lines(&told["warnings"]);
    assert!(!warnings.is_empty() && warnings.iter().all(|one| one.starts_with(&file)), "{warnings:?}");
    assert_eq!(
        (told["secrets"].as_array().map(Vec::len), &told["needs_restart"]),
        (Some(0), &serde_json::json!([]))
    );
    assert!(proxy.get(PRODUCTS).await.cache_status().starts_with("hit"));
    assert!(proxy.get("/instances/globex/express/products").await.cache_status().starts_with("hit"));
    let after = (talkdesk.counts(), proxy.admin(Method::GET, "/api/cache").await.json());
    assert_eq!(before, after);
    proxy.get("/instances/initech/express/products").await.assert_problem(422, "reseller_sold");
    assert!((proxy.metric("config_last_reload_successful", &[]).await - 1.0).abs() < 0.1);
}

#[tokio::test]
async fn a_broken_file_leaves_everything_as_it_was_and_every_fault_is_told() {
    let (_talkdesk, proxy) = samples().await;
    proxy.get(PRODUCTS).await;
    proxy.edit(|text| text.replace("denial_status: 403", "denial_status: 200\n  drain_timeout: soon"));
    let reply = proxy.reload().await;
    assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", reply.text());
    let told = reply.json();
    assert_eq!(told["reloaded"], false);
    let faults = lines(&told["faults"]);
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(
        faults[0].contains("server.denial_status") && faults[1].contains("server.drain_timeout"),
        "{faults:?}"
    );
    assert!(proxy.get(PRODUCTS).await.cache_status().starts_with("hit"));
    proxy.get("/instances/initech/express/products").await.assert_problem(403, "reseller_sold");
    assert!(proxy.metric("config_last_reload_successful", &[]).await.abs() < 0.1);
    proxy.edit(|text| text.replace("denial_status: 200\n  drain_timeout: soon", "denial_status: 403"));
    accepted(&proxy.reload().await);
    assert!((proxy.metric("config_last_reload_successful", &[]).await - 1.0).abs() < 0.1);
}

#[tokio::test]
async fn a_tenant_that_is_switched_off_is_refused_at_once_and_one_that_is_new_is_served() {
    let (talkdesk, proxy) = samples().await;
    proxy.get(PRODUCTS).await;
    proxy.get("/organizations/soylent/express/products").await.assert_problem(403, "tenant_disabled");
    proxy.edit(|text| {
        let text = text.replace("    enabled: false\n", "");
        text.replace("    name: Acme Partners\n", "    name: Acme Partners\n    enabled: false\n")
    });
    let told = accepted(&proxy.reload().await);
    let changed = lines(&told["changed"]);
    assert!(changed.contains(&"organizations/acme is another".to_owned()), "{changed:?}");
    let before = talkdesk.counts();
    for denied in [PRODUCTS, "/instances/josephpinetrees/express/invoices"] {
        proxy.get(denied).await.assert_problem(403, "tenant_disabled");
    }
    assert_eq!(talkdesk.counts(), before);
    assert_eq!(proxy.get("/organizations/soylent/express/products").await.status, StatusCode::OK);
}

#[tokio::test]
async fn entries_of_a_credential_that_is_gone_go_with_it() {
    let (_talkdesk, proxy) = samples().await;
    proxy.get(PRODUCTS).await;
    proxy.get("/organizations/northwind/express/products").await;
    proxy.edit(|text| {
        let begins = text.find("  - id: northwind").expect("an Organization");
        let ends = text.find("  - id: soylent").expect("the next");
        format!("{}{}", &text[..begins], &text[ends..])
    });
    let northwind = [("tenant", "organizations/northwind"), ("state", "valid")];
    assert!((proxy.metric("credential_state", &northwind).await - 1.0).abs() < 0.1);
    accepted(&proxy.reload().await);
    assert_eq!(proxy.admin(Method::GET, "/api/cache").await.json()["entries"], 1);
    let text = proxy.admin(Method::GET, "/metrics").await.text();
    let gauges = ["credential_state", "credential_secret_available", "token_expiry", "upstream_paused"];
    let left = text.lines().filter(|line| line.contains("organizations/northwind"));
    let left: Vec<_> = left.filter(|line| gauges.iter().any(|gauge| line.contains(gauge))).collect();
    assert!(left.is_empty(), "an alert about it would never end: {left:?}");
    proxy.get("/organizations/northwind/express/products").await.assert_problem(404, "unknown_tenant");
}

#[tokio::test]
async fn a_new_secret_is_proven_at_once_while_the_old_token_serves() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers("/express/products", [Canned::page()]);
    let refused = Canned::json(r#"{"error":"invalid_client"}"#);
    peer.answers(TOKEN_PATH, [Canned::token("old"), Canned { status: 401, ..refused }, Canned::token("new")]);
    let proxy = peer.proxy("cache:\n  endpoints:\n    products: { ttl: 0s }\n").await;
    proxy.get(PRODUCTS).await;
    std::fs::write(proxy.folder().join("secret"), "wrong").expect("written");
    let told = accepted(&proxy.reload().await);
    assert_eq!(told["secrets"][0]["tenant"], "organizations/acme");
    assert_eq!(told["secrets"][0]["result"], "not_proven", "{told}");
    assert!(told["secrets"][0]["detail"].as_str().expect("text").contains("invalid_client"), "{told}");
    assert_eq!(proxy.get(PRODUCTS).await.status, StatusCode::OK, "the old token serves on");
    assert_eq!(peer.seen("/express/products")[1].fields["authorization"], "Bearer old");
    std::fs::write(proxy.folder().join("secret"), "right").expect("written");
    let told = accepted(&proxy.reload().await);
    assert_eq!(told["secrets"][0]["result"], "proven", "{told}");
    proxy.get(PRODUCTS).await;
    assert_eq!(peer.seen("/express/products")[2].fields["authorization"], "Bearer new");
    let sent = peer.seen(TOKEN_PATH);
    let basic = |secret: &str| {
        use base64::Engine as _;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("id:{secret}")))
    };
    assert_eq!(sent[1].fields["authorization"], basic("wrong"));
    assert_eq!(sent[2].fields["authorization"], basic("right"));
}

#[tokio::test]
async fn a_secret_that_can_not_be_read_leaves_the_last_one_in_its_place() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers("/express/products", [Canned::page()]);
    let proxy = peer.proxy("").await;
    std::fs::remove_file(proxy.folder().join("secret")).expect("removed");
    let told = accepted(&proxy.reload().await);
    assert_eq!(told["secrets"][0]["result"], "kept", "{told}");
    assert_eq!(proxy.get(PRODUCTS).await.status, StatusCode::OK, "a token is had with the last one");
}

#[tokio::test]
async fn a_rejected_back_off_ends_with_a_changed_secret() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers("/express/products", [Canned::page()]);
    let refused = Canned { status: 401, ..Canned::json(r#"{"error":"invalid_client"}"#) };
    peer.answers(TOKEN_PATH, [refused, Canned::token("new")]);
    let proxy = peer.proxy("").await;
    proxy.get(PRODUCTS).await.assert_problem(502, "credential_rejected");
    proxy.get(PRODUCTS).await.assert_problem(502, "credential_rejected");
    assert_eq!(peer.calls(TOKEN_PATH), 1, "it is left alone");
    std::fs::write(proxy.folder().join("secret"), "right").expect("written");
    accepted(&proxy.reload().await);
    assert_eq!(proxy.get(PRODUCTS).await.status, StatusCode::OK);
}

#[tokio::test]
async fn another_limit_holds_at_once() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers("/express/invoices", [Canned::page()]);
    let limits = "limits:\n  upstream: { rate: 1/m, burst: 1, max_wait: 0s }\n";
    let proxy = peer.proxy(limits).await;
    proxy.get(INVOICES).await;
    let refused = proxy.get(&format!("{INVOICES}?page=2")).await;
    refused.assert_problem(429, "rate_limited");
    proxy.edit(|text| text.replace("rate: 1/m, burst: 1,", "rate: 100/s, burst: 100,"));
    accepted(&proxy.reload().await);
    for page in 2..10 {
        assert_eq!(proxy.get(&format!("{INVOICES}?page={page}")).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn who_waits_for_a_limit_goes_by_the_new_one() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers("/express/invoices", [Canned::page()]);
    let proxy = peer.proxy("limits:\n  upstream: { rate: 1/m, burst: 1, max_wait: 1h }\n").await;
    proxy.get(INVOICES).await;
    let path = format!("{INVOICES}?page=2");
    let relaxing = async {
        let waits =
            async || (proxy.app.proxy().snapshot().origins().any(|one| one.gate.waiting() > 0)).then_some(());
        eventually("it waits", waits).await;
        proxy.edit(|text| text.replace("rate: 1/m, burst: 1,", "rate: 100/s, burst: 100,"));
        accepted(&proxy.reload().await);
    };
    let (reply, ()) = tokio::join!(proxy.get(&path), relaxing);
    assert_eq!(reply.status, StatusCode::OK);
}

#[tokio::test]
async fn entries_of_an_endpoint_whose_rule_changed_are_stale() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers("/express/invoices", [Canned::page()]);
    let proxy =
        peer.proxy("cache:\n  endpoints:\n    invoices: { ttl: 1h, stale_while_revalidate: 0s }\n").await;
    proxy.get(INVOICES).await;
    proxy.edit(|text| text.replace("ttl: 1h", "ttl: 1m"));
    let told = accepted(&proxy.reload().await);
    assert!(lines(&told["changed"]).iter().any(|line| line.contains("cache.endpoints.invoices")), "{told}");
    proxy.get(INVOICES).await;
    assert_eq!(peer.calls("/express/invoices"), 2);
}

#[tokio::test]
async fn a_denial_by_talkdesk_that_is_remembered_ends_with_a_reload() {
    let peer = Peer::start(Wire::HttpMock).await;
    let denied = Canned { status: 403, ..Canned::json(r#"{"code":"1","message":"no"}"#) };
    peer.answers("/express/invoices", [denied, Canned::page()]);
    let proxy = peer.proxy("server:\n  denial_status: 403\n").await;
    proxy.get(INVOICES).await;
    proxy.get(INVOICES).await.assert_problem(403, "denied_by_talkdesk");
    assert_eq!(peer.calls("/express/invoices"), 1);
    accepted(&proxy.reload().await);
    assert_eq!(proxy.get(INVOICES).await.status, StatusCode::OK);
}

#[tokio::test]
async fn accounts_that_were_learned_are_the_organizations_as_it_is_now() {
    let talkdesk = Talkdesk::samples().await;
    let tenants = SAMPLE_TENANTS.replacen("discover_accounts: false", "discover_accounts: true", 1);
    let proxy = talkdesk.proxy(&tenants, "").await;
    let learned =
        || proxy.app.proxy().learned.instances().into_iter().map(|one| one.label.to_string()).next();
    let name = eventually("accounts are learned", async || learned()).await;
    let path = format!("/{name}/express/invoices");
    assert_eq!(proxy.get(&path).await.status, StatusCode::OK);
    proxy.edit(|text| {
        text.replace("    name: Acme Partners\n", "    name: Acme Partners\n    enabled: false\n")
    });
    accepted(&proxy.reload().await);
    let refused = proxy.get(&path).await;
    assert!(!refused.status.is_success(), "{}", refused.text());
    proxy.edit(|text| {
        text.replace("    enabled: false\n    credential: { account: acme", "    credential: { account: acme")
    });
    accepted(&proxy.reload().await);
    eventually("accounts are learned again", async || {
        (proxy.get(&path).await.status == StatusCode::OK).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_takes_a_restart_is_named_and_stays() {
    let (_talkdesk, proxy) = samples().await;
    proxy.edit(|text| text.replace("admin: 127.0.0.1:0", "admin: 127.0.0.1:1\n  header_timeout: 3s"));
    let told = accepted(&proxy.reload().await);
    assert_eq!(lines(&told["needs_restart"]), ["server.admin", "server.header_timeout"]);
    assert_eq!(proxy.admin(Method::GET, "/livez").await.status, StatusCode::OK);
}

#[tokio::test]
async fn reload_answers_post_alone() {
    let (_talkdesk, proxy) = samples().await;
    for method in [Method::GET, Method::DELETE, Method::PUT] {
        let reply = proxy.admin(method, "/api/reload").await;
        assert_eq!((reply.status, reply.field("allow")), (StatusCode::METHOD_NOT_ALLOWED, "POST"));
    }
}

#[tokio::test]
async fn a_file_that_changes_is_read_where_that_is_wished_for() {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, "server:\n  watch: true\n  denial_status: 403\n").await;
    proxy.edit(|text| text.replace("denial_status: 403", "denial_status: 422"));
    eventually("the new configuration holds", async || {
        proxy.advance(Duration::from_secs(2));
        let reply = proxy.get("/instances/initech/express/products").await;
        (reply.status == StatusCode::UNPROCESSABLE_ENTITY).then_some(())
    })
    .await;
    // As Kubernetes does it: the file is a link, and what it leads to is swapped.
    let file = proxy.folder().join("config.yaml");
    let other = proxy.folder().join("other.yaml");
    let text =
        std::fs::read_to_string(&file).expect("a file").replace("denial_status: 422", "denial_status: 410");
    std::fs::write(&other, text).expect("written");
    std::os::unix::fs::symlink(&other, proxy.folder().join("link")).expect("a link");
    std::fs::rename(proxy.folder().join("link"), &file).expect("swapped");
    eventually("the new configuration holds", async || {
        proxy.advance(Duration::from_secs(2));
        let reply = proxy.get("/instances/initech/express/products").await;
        (reply.status == StatusCode::GONE).then_some(())
    })
    .await;
}

#[tokio::test]
async fn no_request_fails_and_no_token_is_lost_while_it_is_reloaded_under_load() {
    let talkdesk = Talkdesk::samples().await;
    let further = "server:\n  denial_status: 403\nlimits:\n  upstream: { rate: 10000/s, burst: 10000, concurrency: 64 }\n";
    let proxy = Arc::new(talkdesk.proxy(SAMPLE_TENANTS, further).await);
    proxy.get(PRODUCTS).await;
    let tokens = talkdesk.counts().1;
    let (done, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let (proxy, done, asked) = (Arc::clone(&proxy), Arc::clone(&done), Arc::clone(&asked));
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    let number = asked.fetch_add(1, Ordering::Relaxed);
                    let miss = format!("{INVOICES}?per_page={}", 1 + number % 100);
                    let path = if number.is_multiple_of(4) { miss.as_str() } else { PRODUCTS };
                    let reply = proxy.get(path).await;
                    assert_eq!(reply.status, StatusCode::OK, "{client}: {}", reply.text());
                }
            })
        })
        .collect();
    for round in 0..20 {
        let at_least = asked.load(Ordering::Relaxed) + 50;
        eventually("requests come", async || (asked.load(Ordering::Relaxed) >= at_least).then_some(())).await;
        let broken = round % 10 == 9;
        let (old, new) = if round % 2 == 0 { ("403", "422") } else { ("422", "403") };
        let wrong = if broken { "nonsense" } else { new };
        proxy.edit(|text| text.replace(&format!("denial_status: {old}"), &format!("denial_status: {wrong}")));
        let reply = proxy.reload().await;
        assert_eq!(reply.status.is_success(), !broken, "{}", reply.text());
        if broken {
            proxy.edit(|text| text.replace("denial_status: nonsense", &format!("denial_status: {new}")));
        }
    }
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("no request failed");
    }
    assert_eq!(talkdesk.counts().1, tokens);
}
