//! The admin plane: what the operator and his machines are told, and who is not told anything.

use std::time::Duration;

use billing_insights_proxy::simulator::{Fault, FaultKind, Target};
use http::{Method, StatusCode};
use rstest::rstest;

use crate::support::raw::say_to;
use crate::support::{Proxy, SAMPLE_TENANTS, Talkdesk};

const PREFIX: &str = "billing_insights_proxy_";
const INVOICES: &str = "/organizations/acme/express/invoices";

async fn sample_proxy(further: &str) -> (Talkdesk, Proxy) {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, further).await;
    (talkdesk, proxy)
}

async fn page(proxy: &Proxy, path: &str) -> String {
    let reply = proxy.admin(Method::GET, path).await;
    assert_eq!(reply.status, StatusCode::OK, "{path}: {}", reply.text());
    reply.text()
}

/// Sends bytes to the admin plane.
async fn say(proxy: &Proxy, request: &str) -> String {
    say_to(&proxy.app.addresses().admin, request.as_bytes()).await
}

#[tokio::test]
async fn the_metrics_have_the_names_that_are_promised() {
    let (_talkdesk, proxy) = sample_proxy("").await;
    proxy.get(INVOICES).await;
    proxy.get(INVOICES).await;
    proxy.get("/instances/initech/express/invoices").await;
    let text = page(&proxy, "/metrics").await;
    for name in [
        "http_requests_total{",
        "http_request_duration_seconds_bucket{",
        "http_requests_in_flight ",
        "tenant_requests_total{",
        "requests_denied_total{",
        "cache_requests_total{",
        "cache_entries ",
        "cache_bytes ",
        "cache_evictions_total{",
        "token_requests_total{",
        "token_request_duration_seconds_bucket{",
        "token_expiry_timestamp_seconds{",
        "upstream_requests_total{",
        "upstream_request_duration_seconds_bucket{",
        "upstream_errors_total{",
        "upstream_retries_total{",
        "upstream_paused_until_timestamp_seconds{",
        "rate_limit_decisions_total{",
        "rate_limit_wait_seconds_bucket{",
        "account_mismatch_total ",
        "tenant_upstream_requests_total{",
        "credential_state{",
        "stale_served_total{",
        "log_dropped_total ",
        "build_info{",
    ] {
        assert!(text.contains(&format!("\n{PREFIX}{name}")), "{name}");
    }
}

#[tokio::test]
async fn every_series_has_the_prefix_and_counters_end_in_total() {
    let (_talkdesk, proxy) = sample_proxy("").await;
    proxy.get(INVOICES).await;
    let text = page(&proxy, "/metrics").await;
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').expect("a name and a type");
        assert!(name.starts_with(PREFIX) || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
    }
}

#[tokio::test]
async fn what_a_client_writes_is_in_no_label() {
    let (_talkdesk, proxy) =
        sample_proxy("limits:\n  client: { rate: 1/m, burst: 1, key: { field: X-Name } }\n").await;
    let fields = [("x-name", "c4nary"), ("x-request-id", "c4nary"), ("user-agent", "c4nary")];
    for path in [
        "/c4nary",
        "/organizations/c4nary/express/invoices",
        "/organizations/acme/express/c4nary",
        "/organizations/acme/express/invoices?c4nary=c4nary",
        "/organizations/acme/express/invoices?filter=account_id+eq+'c4nary'",
        "/instances/josephpinetrees/express/invoices?c4nary=1",
        "/organizations/acme/express/invoices?page=2",
    ] {
        proxy.get_with(path, &fields).await;
        proxy.ask(Method::from_bytes(b"C4NARY").expect("a method"), path, &fields).await;
    }
    let text = page(&proxy, "/metrics").await;
    assert!(!text.to_ascii_lowercase().contains("c4nary"), "{text}");
    let unknown = proxy.metric("http_requests_total", &[("endpoint", "other")]).await;
    assert!(unknown > 3.5, "they are counted as other: {unknown}");
}

#[tokio::test]
async fn requests_are_counted_by_what_became_of_them() {
    let (_talkdesk, proxy) = sample_proxy("").await;
    proxy.get(INVOICES).await;
    proxy.get(INVOICES).await;
    proxy.get("/organizations/soylent/express/invoices").await;
    for (name, labels) in [
        ("tenant_requests_total", [("tenant", "organizations/acme"), ("outcome", "miss")]),
        ("tenant_requests_total", [("tenant", "organizations/acme"), ("outcome", "hit")]),
        ("tenant_requests_total", [("tenant", "organizations/soylent"), ("outcome", "denied")]),
        ("cache_requests_total", [("endpoint", "invoices"), ("result", "miss")]),
        ("cache_requests_total", [("endpoint", "invoices"), ("result", "hit")]),
        ("upstream_requests_total", [("endpoint", "invoices"), ("status", "200")]),
        ("token_requests_total", [("tenant", "organizations/acme"), ("result", "ok")]),
        ("http_requests_total", [("endpoint", "invoices"), ("status", "403")]),
    ] {
        let value = proxy.metric(name, &labels).await;
        assert!((value - 1.0).abs() < 0.1, "{name} {labels:?} {value}");
    }
}

#[tokio::test]
async fn a_talkdesk_that_is_down_leaves_the_proxy_ready_and_says_so() {
    let (talkdesk, proxy) = sample_proxy("").await;
    assert_eq!(page(&proxy, "/readyz").await, "ready\n");
    let down = FaultKind::Status { status: 503, retry_after: None, body: None };
    talkdesk.control().inject(Fault::once(Target::Token, down)).expect("a fault");
    proxy.get(INVOICES).await.assert_problem(503, "token_unavailable");
    let ready = page(&proxy, "/readyz").await;
    assert!(ready.contains("degraded") && ready.contains("organizations/acme"), "{ready}");
    assert_eq!(page(&proxy, "/livez").await, "ok\n");
    proxy.advance(Duration::from_secs(2));
    proxy.get(INVOICES).await;
    assert_eq!(page(&proxy, "/readyz").await, "ready\n");
}

#[tokio::test]
async fn every_tenant_is_listed_with_what_it_may_ask_for() {
    let (talkdesk, proxy) = sample_proxy("").await;
    let listed = proxy.admin(Method::GET, "/api/tenants").await.json();
    let verdict = |tenant: &str, endpoint: &str| {
        let all = listed["tenants"].as_array().expect("a list");
        let found = all.iter().find(|one| one["tenant"] == tenant).expect("the tenant");
        found["endpoints"][endpoint].clone()
    };
    assert_eq!(verdict("organizations/acme", "invoices")["credential"], "organizations/acme");
    assert_eq!(verdict("instances/josephpinetrees", "invoices")["credential"], "organizations/acme");
    assert_eq!(verdict("instances/josephpinetrees", "accounts")["reason"], "organization_only");
    assert_eq!(verdict("instances/initech", "invoices")["reason"], "reseller_sold");
    assert_eq!(verdict("organizations/soylent", "products")["reason"], "tenant_disabled");
    assert_eq!(verdict("instances/wonka", "products")["entitled"], false);
    assert_eq!(talkdesk.counts(), (0, 0), "looking costs nothing");
}

#[tokio::test]
async fn the_cache_is_shown_by_endpoint_and_emptied_by_tenant_and_path() {
    let (talkdesk, proxy) = sample_proxy("").await;
    let paths = [
        "/organizations/acme/express/invoices",
        "/organizations/acme/express/products",
        "/instances/josephpinetrees/express/invoices",
        "/organizations/northwind/express/invoices",
    ];
    for path in paths {
        assert_eq!(proxy.get(path).await.status, StatusCode::OK);
    }
    let shown = proxy.admin(Method::GET, "/api/cache").await.json();
    assert_eq!((&shown["entries"], &shown["endpoints"]["invoices"]["entries"]), (&4.into(), &3.into()));
    assert!(shown["bytes"].as_u64() > Some(1000) && shown["max_bytes"] == 256 << 20, "{shown}");
    let purge = async |query: &str| {
        let reply = proxy.admin(Method::DELETE, &format!("/api/cache?{query}")).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        reply.json()["purged"].clone()
    };
    assert_eq!(purge("tenant=instances/josephpinetrees").await, 1);
    assert_eq!(purge("tenant=organizations/acme&path_prefix=/express/inv").await, 1);
    assert!(proxy.get(paths[1]).await.cache_status().starts_with("hit"));
    assert!(proxy.get(paths[3]).await.cache_status().starts_with("hit"));
    assert_eq!(purge("").await, 2);
    assert_eq!(talkdesk.counts().0, 5, "one for each path, and one that shows that Talkdesk narrows");
}

#[rstest]
#[case::unknown_tenant("tenant=organizations/nobody")]
#[case::no_tenant("tenant=acme")]
#[case::a_slip("tenat=organizations/acme")]
#[tokio::test]
async fn a_purge_that_is_not_understood_empties_nothing(#[case] query: &str) {
    let (_talkdesk, proxy) = sample_proxy("").await;
    proxy.get(INVOICES).await;
    let reply = proxy.admin(Method::DELETE, &format!("/api/cache?{query}")).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{}", reply.text());
    assert!(proxy.get(INVOICES).await.cache_status().starts_with("hit"));
}

#[tokio::test]
async fn a_method_that_a_path_does_not_know_is_refused() {
    let (_talkdesk, proxy) = sample_proxy("").await;
    for (method, path, allow) in [
        (Method::POST, "/metrics", "GET, HEAD"),
        (Method::DELETE, "/api/tenants", "GET, HEAD"),
        (Method::PUT, "/api/cache", "GET, HEAD, DELETE"),
        (Method::POST, "/", "GET, HEAD"),
    ] {
        let reply = proxy.admin(method, path).await;
        assert_eq!((reply.status, reply.field("allow")), (StatusCode::METHOD_NOT_ALLOWED, allow), "{path}");
    }
    assert_eq!(proxy.admin(Method::GET, "/nothing").await.status, StatusCode::NOT_FOUND);
    let head = proxy.admin(Method::HEAD, "/api/tenants").await;
    assert!(head.status == StatusCode::OK && head.body.is_empty());
}

#[rstest]
#[case::rebound("GET", "/api/tenants", "evil.example", "", "421")]
#[case::rebound_at_the_history("GET", "/api/history", "evil.example", "", "421")]
#[case::rebound_at_the_page("GET", "/", "evil.example", "", "421")]
#[case::rebound_purge("DELETE", "/api/cache", "evil.example", "", "421")]
#[case::foreign_page("DELETE", "/api/cache", "127.0.0.1", "Origin: https://evil.example\r\n", "403")]
#[case::foreign_file("GET", "/api/credentials", "127.0.0.1", "Origin: null\r\n", "403")]
#[case::foreign_image("GET", "/metrics", "127.0.0.1", "Sec-Fetch-Site: cross-site\r\n", "403")]
#[case::framed(
    "GET",
    "/",
    "127.0.0.1",
    "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n",
    "403"
)]
#[case::followed_a_link(
    "GET",
    "/",
    "127.0.0.1",
    "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n",
    "200"
)]
#[case::a_link_to_the_data(
    "GET",
    "/api/tenants",
    "127.0.0.1",
    "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n",
    "403"
)]
#[case::health_by_any_name("GET", "/readyz", "evil.example", "", "200")]
#[case::life_by_any_name("GET", "/livez", "evil.example", "Origin: null\r\n", "200")]
#[tokio::test]
async fn a_browser_from_elsewhere_is_not_told_anything(
    #[case] method: &str,
    #[case] path: &str,
    #[case] host: &str,
    #[case] fields: &str,
    #[case] expected: &str,
) {
    let (_talkdesk, proxy) = sample_proxy("").await;
    proxy.get(INVOICES).await;
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n");
    let heard = say(&proxy, &request).await;
    assert_eq!(heard.get(9..12), Some(expected), "{heard:.300}");
    assert!(expected == "200" || !heard.contains("acme"), "{heard}");
    assert!(!heard.to_ascii_lowercase().contains("access-control-"), "{heard}");
    assert!(heard.contains("x-content-type-options: nosniff"), "{heard:.500}");
    assert!(heard.contains("cross-origin-resource-policy: same-origin"), "{heard:.500}");
    assert!(proxy.get(INVOICES).await.cache_status().starts_with("hit"), "nothing is purged");
}

#[tokio::test]
async fn the_third_listener_has_metrics_and_health_alone() {
    let (_talkdesk, proxy) = sample_proxy("server:\n  metrics: 127.0.0.1:0\n").await;
    let address = proxy.app.addresses().metrics.clone().expect("a third listener");
    for (method, path, expected) in [
        ("GET", "/metrics", "200"),
        ("GET", "/livez", "200"),
        ("GET", "/readyz", "200"),
        ("GET", "/", "404"),
        ("GET", "/api/status", "404"),
        ("GET", "/api/history", "404"),
        ("GET", "/api/tenants", "404"),
        ("GET", "/api/credentials", "404"),
        ("GET", "/api/cache", "404"),
        ("DELETE", "/api/cache", "404"),
        ("POST", "/api/reload", "404"),
        ("GET", "/organizations/acme/express/invoices", "404"),
    ] {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let heard = say_to(&address, request.as_bytes()).await;
        assert_eq!(heard.get(9..12), Some(expected), "{method} {path}: {heard:.300}");
    }
}

#[tokio::test]
async fn the_planes_do_not_answer_for_each_other() {
    let (_talkdesk, proxy) = sample_proxy("").await;
    for path in ["/metrics", "/api/tenants", "/readyz"] {
        proxy.get(path).await.assert_problem(404, "unknown_endpoint");
    }
    assert_eq!(proxy.admin(Method::GET, INVOICES).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_status_page_is_one_document_that_may_load_nothing() {
    let (_talkdesk, proxy) = sample_proxy("").await;
    let reply = proxy.admin(Method::GET, "/").await;
    assert_eq!((reply.status, reply.field("content-type")), (StatusCode::OK, "text/html; charset=utf-8"));
    let policy = reply.field("content-security-policy");
    for part in [
        "default-src 'none'; ",
        "style-src 'sha256-",
        "script-src 'sha256-",
        "connect-src 'self'; ",
        "form-action 'none'; ",
        "base-uri 'none'; ",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{part}: {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    assert_eq!((reply.field("x-frame-options"), reply.field("cache-control")), ("DENY", "no-store"));
    let page = reply.text();
    assert!(!page.contains("acme"), "nothing of anybody is in the document itself");
    let other = proxy.admin(Method::GET, "/api/status").await;
    assert!(!other.field("content-security-policy").contains("sha256"), "what is no page may do nothing");
}

#[tokio::test]
async fn every_tenant_that_fails_is_told_with_its_reason() {
    let (talkdesk, proxy) = sample_proxy("").await;
    let failing = async || {
        let tenants = proxy.admin(Method::GET, "/api/tenants").await.json();
        let tenants = tenants["tenants"].as_array().expect("a list").clone();
        let one = |tenant: &serde_json::Value| (tenant["tenant"].clone(), tenant["failing"].clone());
        tenants.iter().map(one).collect::<Vec<_>>()
    };
    let of = |all: &[(serde_json::Value, serde_json::Value)], name: &str| {
        all.iter().find(|(tenant, _)| tenant == name).expect("the tenant").1.clone()
    };
    let all = failing().await;
    assert_eq!(of(&all, "instances/initech")["reason"], "reseller_sold");
    assert_eq!(of(&all, "organizations/soylent")["reason"], "tenant_disabled");
    assert!(of(&all, "organizations/acme").is_null(), "{all:?}");
    assert!(of(&all, "instances/josephpinetrees").is_null(), "organization_only is no failure");
    let refused = serde_json::json!({ "error": "invalid_client", "error_description": "<b>unknown" });
    let kind = FaultKind::Status { status: 401, retry_after: None, body: Some(refused) };
    talkdesk.control().inject(Fault::once(Target::Token, kind)).expect("a fault");
    proxy.get(INVOICES).await.assert_problem(502, "credential_rejected");
    let all = failing().await;
    for tenant in ["organizations/acme", "instances/josephpinetrees"] {
        let failing = of(&all, tenant);
        assert_eq!((&failing["reason"], &failing["serving"]), (&"credential_rejected".into(), &false.into()));
        assert!(failing["message"].as_str().expect("words").contains("<b>unknown"), "{failing}");
    }
    proxy.advance(Duration::from_mins(20));
    proxy.get(INVOICES).await;
    assert!(of(&failing().await, "organizations/acme").is_null());
}

#[tokio::test]
async fn a_pause_is_told_of_its_credential_and_of_every_tenant_on_it() {
    let (talkdesk, proxy) = sample_proxy("").await;
    let kind = FaultKind::Status { status: 429, retry_after: Some("60".into()), body: None };
    talkdesk.control().inject(Fault::once(Target::Api, kind)).expect("a fault");
    proxy.get(INVOICES).await;
    let tenants = proxy.admin(Method::GET, "/api/tenants").await.json();
    let failing = |name: &str| {
        let all = tenants["tenants"].as_array().expect("a list");
        all.iter().find(|one| one["tenant"] == name).expect("the tenant")["failing"]["reason"].clone()
    };
    assert_eq!(failing("instances/josephpinetrees"), "upstream_rate_limited");
    assert!(failing("organizations/northwind").is_null());
    let credentials = proxy.admin(Method::GET, "/api/credentials").await.json();
    let acme = &credentials["credentials"][0];
    assert!(acme["paused"] == true && acme["paused_until"].is_string(), "{acme}");
    let events = proxy.admin(Method::GET, "/api/history").await.json()["events"].clone();
    let kinds: Vec<_> = events.as_array().expect("a list").iter().map(|one| one["kind"].clone()).collect();
    assert_eq!(kinds, ["token", "paused"]);
}

#[tokio::test]
async fn a_tenant_whose_new_secret_is_wrong_fails_while_its_old_token_serves() {
    let (talkdesk, proxy) = sample_proxy("").await;
    proxy.get(INVOICES).await;
    std::fs::write(talkdesk.folder.path().join("acme-client-secret"), "another-secret").expect("written");
    assert_eq!(proxy.reload().await.status, StatusCode::OK);
    let tenants = proxy.admin(Method::GET, "/api/tenants").await.json();
    let failing = &tenants["tenants"][0]["failing"];
    assert_eq!((&failing["reason"], &failing["serving"]), (&"credential_rejected".into(), &true.into()));
    assert_eq!(proxy.get("/organizations/acme/express/products").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_way_that_is_down_is_told_of_the_tenants_on_it() {
    let (talkdesk, proxy) = sample_proxy("").await;
    let fault = Fault { count: 20, ..Fault::once(Target::Api, FaultKind::Close) };
    talkdesk.control().inject(fault).expect("a fault");
    proxy.get(INVOICES).await.assert_problem(502, "upstream_unreachable");
    let tenants = proxy.admin(Method::GET, "/api/tenants").await.json();
    assert_eq!(tenants["tenants"][0]["failing"]["reason"], "upstream_unreachable");
    assert!(tenants["tenants"][1]["failing"].is_null());
    let history = proxy.admin(Method::GET, "/api/history").await.json();
    assert!(history["points"][0]["upstream_errors"].as_object().is_some_and(|errors| !errors.is_empty()));
}

#[tokio::test]
async fn the_history_holds_what_was_counted_and_goes_on_from_where_it_was_read() {
    let (_talkdesk, proxy) = sample_proxy("").await;
    for path in [INVOICES, INVOICES, "/organizations/soylent/express/invoices"] {
        proxy.get(path).await;
    }
    let history = async |query: &str| proxy.admin(Method::GET, &format!("/api/history{query}")).await.json();
    let points = |history: &serde_json::Value| history["points"].as_array().expect("a list").clone();
    let first = history("").await;
    assert_eq!(points(&first).len(), 1, "what is not over yet: {first}");
    let point = &points(&first)[0];
    assert_eq!((&point["requests"], &point["upstream_requests"]), (&3.into(), &1.into()));
    assert_eq!(point["cache"], serde_json::json!({ "hit": 1, "miss": 1 }));
    assert_eq!(point["tenants"], serde_json::json!({ "organizations/acme": 1 }));
    let metric = proxy.metric("http_requests_total", &[]).await;
    assert!((metric - 3.0).abs() < 0.1, "as it is scraped: {metric}");
    // The proxy reads itself once its clock says so.
    let mut seen = points(&first);
    for _ in 0..500 {
        if seen.len() > 1 {
            break;
        }
        proxy.advance(Duration::from_secs(10));
        tokio::task::yield_now().await;
        seen = points(&history("").await);
    }
    assert!(seen.len() > 1, "it does not read itself");
    let last = seen.len() - 1;
    assert_eq!(seen.iter().map(|point| point["requests"].as_u64().expect("a number")).sum::<u64>(), 3);
    let rest = history(&format!("?after={}", last - 1)).await;
    assert_eq!(points(&rest).len(), 1);
    assert_eq!(points(&rest)[0]["number"], last);
    assert_eq!(rest["run"], first["run"]);
    let refused = proxy.admin(Method::GET, "/api/history?after=yesterday").await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.text());
}

#[tokio::test]
async fn what_a_tenant_asked_last_is_told_by_endpoint_with_when_and_how_it_ended() {
    let (_talkdesk, proxy) = sample_proxy("metrics: { max_tenants: 2 }\n").await;
    let last = async |name: &str| {
        let tenants = proxy.admin(Method::GET, "/api/tenants").await.json();
        let all = tenants["tenants"].as_array().expect("a list").clone();
        all.into_iter().find(|one| one["tenant"] == name).expect("it is there")["asked_last"].clone()
    };
    for (tenant, path, endpoint, status, outcome) in [
        ("organizations/acme", "/express/invoices?per_page=1", "invoices", 200, "miss"),
        ("organizations/acme", "/express/invoices?per_page=1", "invoices", 200, "hit"),
        ("organizations/acme", "/express/products", "products", 200, "miss"),
        ("organizations/acme", "/express/nothing", "other", 404, "denied"),
        // It has no series of its own, and another one denies without going far.
        ("instances/globex", "/express/usage/month", "monthly_usage", 200, "miss"),
        ("instances/initech", "/express/invoices", "invoices", 403, "denied"),
        ("instances/initech", "/express/products?filter=secret-value", "products", 403, "denied"),
    ] {
        proxy.advance(std::time::Duration::from_secs(1));
        proxy.get(&format!("/{tenant}{path}")).await;
        let asked = last(tenant).await;
        let told = (&asked["endpoint"], &asked["status"], &asked["outcome"]);
        assert_eq!(told, (&endpoint.into(), &status.into(), &outcome.into()), "{tenant}{path}");
        let at: jiff::Timestamp = asked["at"].as_str().expect("a time").parse().expect("a time");
        let now = jiff::Timestamp::try_from(proxy.app.proxy().clock.now().wall).expect("a time");
        assert_eq!(at.as_second(), now.as_second());
        assert!(!asked.to_string().contains("secret-value"), "{asked}");
    }
    assert!(last("instances/hooli").await.is_null(), "it has not asked");
    assert_eq!(proxy.reload().await.status, StatusCode::OK);
    assert_eq!(last("organizations/acme").await["endpoint"], "other", "a reload forgets nothing");
    assert_eq!(last("instances/globex").await["endpoint"], "monthly_usage");
}
