//! Every request is authorised, hits included: what differs from one request to the next, and what changes between them,
//! counts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use billing_insights_proxy::domain::id::AccountId;
use billing_insights_proxy::domain::learned::{AccountList, DeniedRequest, LearnedDenial};
use billing_insights_proxy::domain::tenant::TenantKind;
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use crate::support::{Proxy, SAMPLE_TENANTS, Talkdesk};

const PRODUCTS: &str = "/organizations/acme/express/products";

async fn sample_proxy(further: &str) -> (Talkdesk, Proxy) {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, further).await;
    (talkdesk, proxy)
}

/// A proxy that has given this answer twice already, so that the next one is a hit.
async fn knowing(path: &str, further: &str) -> (Talkdesk, Proxy) {
    let (talkdesk, proxy) = sample_proxy(further).await;
    for _ in 0..2 {
        assert_eq!(proxy.get(path).await.status, StatusCode::OK);
    }
    (talkdesk, proxy)
}

/// Says `bytes` from one address to another, and gives the status that comes back.
async fn status_from(own: &str, to: &str, bytes: String) -> String {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(format!("{own}:0").parse().expect("an address")).expect("bound");
    let mut stream = socket.connect(to.parse().expect("an address")).await.expect("a connection");
    stream.write_all(bytes.as_bytes()).await.expect("written");
    let mut heard = [0; 12];
    stream.read_exact(&mut heard).await.expect("a status line");
    String::from_utf8_lossy(&heard[9..]).into_owned()
}

fn head(path: &str, host: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused_on_a_hit() {
    let (_talkdesk, proxy) = knowing(PRODUCTS, "").await;
    for field in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")] {
        proxy.get_with(PRODUCTS, &[field]).await.assert_problem(403, "origin_not_allowed");
    }
}

#[tokio::test]
async fn a_peer_that_is_not_listed_is_refused_on_a_hit() {
    let (_talkdesk, proxy) = knowing(PRODUCTS, "server:\n  allowed_peers: [127.0.0.1]\n").await;
    let address = proxy.app.addresses().data.clone();
    assert_eq!(status_from("127.0.0.1", &address, head(PRODUCTS, &address)).await, "200");
    assert_eq!(status_from("127.0.0.2", &address, head(PRODUCTS, &address)).await, "403");
}

#[tokio::test]
async fn a_host_is_known_for_the_address_that_it_was_let_in_at() {
    let talkdesk = Talkdesk::samples().await;
    let wide = "server:\n  allow_non_loopback: true\n  listeners:\n    - { listen: '0.0.0.0:0', tenants: \
                [organizations/acme] }\n";
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, wide).await;
    let address = proxy.app.addresses().listeners[0].clone();
    let port = address.rsplit(':').next().expect("a port");
    for _ in 0..2 {
        let (to, host) = (format!("127.0.0.2:{port}"), format!("127.0.0.2:{port}"));
        assert_eq!(status_from("127.0.0.1", &to, head(PRODUCTS, &host)).await, "200");
        let elsewhere = format!("127.0.0.3:{port}");
        assert_eq!(status_from("127.0.0.1", &elsewhere, head(PRODUCTS, &host)).await, "421");
    }
}

#[tokio::test]
async fn a_host_that_is_not_ours_is_refused_on_a_hit() {
    let (_talkdesk, proxy) = knowing(PRODUCTS, "").await;
    proxy.get_with(PRODUCTS, &[("host", "evil.example")]).await.assert_problem(421, "host_not_allowed");
}

#[tokio::test]
async fn links_begin_with_the_host_of_each_request() {
    let (_talkdesk, proxy) = knowing("/organizations/acme/express/invoices?per_page=1", "").await;
    let port = proxy.app.addresses().data.rsplit(':').next().expect("a port").to_owned();
    for host in [format!("localhost:{port}"), format!("127.0.0.1:{port}")] {
        let path = "/organizations/acme/express/invoices?per_page=1";
        let reply = proxy.get_with(path, &[("host", &host)]).await;
        assert!(reply.text().contains(&format!("http://{host}/organizations/acme/")), "{}", reply.text());
    }
}

#[tokio::test]
async fn each_listener_has_its_own_tenants_and_its_own_default() {
    let listeners = "server:\n  default_tenant: organizations/northwind\n  listeners:\n    - { listen: '127.0.0.1:0', \
                     tenants: [organizations/acme], default_tenant: organizations/acme }\n";
    let (_talkdesk, proxy) = knowing("/organizations/northwind/express/products", listeners).await;
    let narrow = proxy.app.addresses().listeners[0].clone();
    let host = [("host", "localhost")];
    for _ in 0..2 {
        let path = "/organizations/northwind/express/products";
        proxy.get_at(&narrow, path, &host).await.assert_problem(404, "unknown_tenant");
        let bare = proxy.get_with("/express/products", &host).await;
        assert_eq!(bare.field("x-tenant"), "organizations/northwind");
        let bare = proxy.get_at(&narrow, "/express/products", &host).await;
        assert_eq!(bare.field("x-tenant"), "organizations/acme");
    }
}

#[tokio::test]
async fn the_tenant_field_counts_on_a_hit() {
    let (_talkdesk, proxy) = knowing(PRODUCTS, "").await;
    proxy
        .get_with(PRODUCTS, &[("x-tenant", "organizations/northwind")])
        .await
        .assert_problem(400, "tenant_conflict");
    for tenant in ["organizations/acme", "organizations/northwind", "organizations/acme"] {
        let reply = proxy.get_with("/express/products", &[("x-tenant", tenant)]).await;
        assert_eq!((reply.status, reply.field("x-tenant")), (StatusCode::OK, tenant));
    }
}

#[tokio::test]
async fn a_head_and_a_get_are_told_apart() {
    let (_talkdesk, proxy) = knowing(PRODUCTS, "").await;
    assert!(proxy.ask(Method::HEAD, PRODUCTS, &[]).await.body.is_empty());
    assert!(!proxy.get(PRODUCTS).await.body.is_empty());
}

#[tokio::test]
async fn a_scope_that_turns_out_to_be_missing_denies_on_a_hit() {
    let (talkdesk, proxy) = knowing(PRODUCTS, "").await;
    let inner = proxy.app.proxy();
    let key = inner.snapshot().config.credentials[0].credential.key.clone();
    let until = inner.clock.now().after(Duration::from_mins(5));
    let before = talkdesk.counts();
    inner.learned.learn_scopes(&key, &BTreeSet::from(["other:read".to_owned()]), until);
    proxy.get(PRODUCTS).await.assert_problem(403, "scope_missing");
    assert_eq!(talkdesk.counts(), before);
    proxy.advance(Duration::from_mins(6));
    assert_eq!(proxy.get(PRODUCTS).await.status, StatusCode::OK, "the token that taught it has ended");
}

#[tokio::test]
async fn a_denial_of_talkdesks_denies_on_a_hit_for_as_long_as_it_is_remembered() {
    let (talkdesk, proxy) = knowing(PRODUCTS, "").await;
    let inner = proxy.app.proxy();
    let credential = inner.snapshot().config.credentials[0].credential.key.clone();
    let now = inner.clock.now();
    let request = DeniedRequest { credential, path_and_query: "/express/products".into() };
    let denial = LearnedDenial {
        reason: "no".into(),
        upstream_request_id: None,
        until: now.after(Duration::from_mins(1)),
    };
    let before = talkdesk.counts();
    inner.learned.learn_denial(&request, denial, now.monotonic);
    proxy.get(PRODUCTS).await.assert_problem(403, "denied_by_talkdesk");
    assert_eq!(talkdesk.counts(), before);
    inner.learned.forget_denials(|_| true);
    assert_eq!(proxy.get(PRODUCTS).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_account_that_left_its_organization_is_unknown_on_a_hit() {
    let (_talkdesk, proxy) = sample_proxy("").await;
    let inner = proxy.app.proxy();
    let snapshot = inner.snapshot();
    let acme =
        snapshot.config.tenants.find(&"organizations/acme".parse().expect("a name")).expect("configured");
    let TenantKind::Organization(acme) = &acme.kind else { panic!("an Organization") };
    let id: AccountId = "5ea75fe7aa224700012eae4f".parse().expect("an id");
    let path = "/instances/newcomer/express/products";
    let listed = |accounts: &[(AccountId, &str)]| {
        let named: BTreeMap<_, _> = accounts.iter().map(|(id, name)| (*id, name.parse().ok())).collect();
        let read_at = inner.clock.now().monotonic;
        inner.learned.learn_accounts(
            acme,
            AccountList { accounts: named.into_iter().collect(), without_id: 0, without_name: 0, read_at },
        );
    };
    listed(&[(id, "newcomer")]);
    for _ in 0..2 {
        assert_eq!(proxy.get(path).await.field("x-tenant"), "instances/newcomer");
    }
    listed(&[]);
    proxy.get(path).await.assert_problem(404, "unknown_tenant");
}

#[tokio::test]
async fn a_reload_that_switches_a_tenant_off_counts_on_a_hit() {
    let (_talkdesk, proxy) = knowing(PRODUCTS, "").await;
    proxy.edit(|text| text.replacen("name: Acme Partners\n", "name: Acme Partners\n    enabled: false\n", 1));
    assert_eq!(proxy.reload().await.status, StatusCode::OK);
    proxy.get(PRODUCTS).await.assert_problem(403, "tenant_disabled");
}

#[tokio::test]
async fn a_denial_is_the_same_each_time_but_for_the_name_of_the_request() {
    let (talkdesk, proxy) = sample_proxy("").await;
    let path = "/instances/initech/express/products";
    let mut before = None;
    for name in ["first", "second", "third"] {
        let reply = proxy.get_with(path, &[("x-request-id", name)]).await;
        let mut problem = reply.assert_problem(403, "reseller_sold");
        assert_eq!((problem["request_id"].as_str(), reply.field("x-request-id")), (Some(name), name));
        assert_eq!(reply.field("x-tenant"), "instances/initech");
        problem["request_id"] = "any".into();
        let mut fields = reply.fields.clone();
        for own in ["x-request-id", "content-length", "date"] {
            fields.remove(own);
        }
        let said = (problem, fields);
        assert_eq!(*before.get_or_insert_with(|| said.clone()), said);
    }
    assert!(proxy.ask(Method::HEAD, path, &[]).await.body.is_empty());
    proxy
        .get_with(path, &[("origin", "https://evil.example")])
        .await
        .assert_problem(403, "origin_not_allowed");
    let labels = [("tenant", "instances/initech"), ("outcome", "denied")];
    let counted = proxy.metric("tenant_requests_total", &labels).await;
    assert!((counted - 4.0).abs() < f64::EPSILON, "{counted}");
    assert_eq!(talkdesk.counts(), (0, 0));
}

#[tokio::test]
async fn a_reload_that_switches_a_tenant_on_ends_a_denial() {
    let (_talkdesk, proxy) = sample_proxy("").await;
    let path = "/organizations/soylent/express/products";
    for _ in 0..2 {
        proxy.get(path).await.assert_problem(403, "tenant_disabled");
    }
    proxy.edit(|text| text.replacen("enabled: false", "enabled: true", 1));
    assert_eq!(proxy.reload().await.status, StatusCode::OK);
    assert_eq!(proxy.get(path).await.status, StatusCode::OK);
}
