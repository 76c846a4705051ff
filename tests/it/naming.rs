//! Who a request is for: the three ways to say so, and what is said back.

use http::{Method, StatusCode};
use rstest::rstest;

use crate::support::{Proxy, SAMPLE_TENANTS, Talkdesk};

const BARE: &str = "/express/products";
const DEFAULT: &str = "server:\n  default_tenant: organizations/northwind\n";

async fn sample_proxy(further: &str) -> (Talkdesk, Proxy) {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, further).await;
    (talkdesk, proxy)
}

#[tokio::test]
async fn a_tenant_is_named_by_the_path_the_field_or_the_default() {
    let (talkdesk, proxy) = sample_proxy(DEFAULT).await;
    let acme = [("x-tenant", "organizations/acme")];
    for (path, fields, tenant, vary) in [
        ("/organizations/acme/express/products", &[][..], "organizations/acme", false),
        ("/organizations/acme/express/products", &acme[..], "organizations/acme", false),
        (BARE, &acme[..], "organizations/acme", true),
        (BARE, &[][..], "organizations/northwind", true),
        ("/instances/hooli/express/products", &[][..], "instances/hooli", false),
    ] {
        let reply = proxy.get_with(path, fields).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        assert_eq!(reply.field("x-tenant"), tenant, "{path}");
        assert_eq!(reply.field("vary").contains("X-Tenant"), vary, "{path}");
    }
    assert_eq!(talkdesk.counts(), (3, 3));
}

#[tokio::test]
async fn a_forgetful_tool_sees_nobodys_data() {
    let (talkdesk, proxy) = sample_proxy("").await;
    let reply = proxy.get(BARE).await;
    let problem = reply.assert_problem(400, "tenant_missing");
    assert!(problem["description"].as_str().expect("text").contains("X-Tenant"), "{problem}");
    assert_eq!(reply.field("vary"), "X-Tenant");
    assert_eq!(talkdesk.counts(), (0, 0));
}

#[rstest]
#[case::disagreeing("/organizations/acme/express/products", &["organizations/northwind"])]
#[case::twice(BARE, &["organizations/acme", "organizations/northwind"])]
#[case::twice_the_same("/organizations/acme/express/products", &["organizations/acme", "organizations/acme"])]
#[tokio::test]
async fn two_names_are_a_conflict(#[case] path: &str, #[case] tenants: &[&str]) {
    let (talkdesk, proxy) = sample_proxy(DEFAULT).await;
    let fields: Vec<_> = tenants.iter().map(|tenant| ("x-tenant", *tenant)).collect();
    proxy.get_with(path, &fields).await.assert_problem(400, "tenant_conflict");
    assert_eq!(talkdesk.counts(), (0, 0));
}

#[rstest]
#[case::nobody("organizations/nobody")]
#[case::of_the_other_kind("instances/acme")]
#[case::in_capitals("organizations/ACME")]
#[case::encoded("organizations/%61cme")]
#[case::two_in_one("organizations/acme, organizations/northwind")]
#[case::with_dots("organizations/../organizations/acme")]
#[case::empty("")]
#[tokio::test]
async fn a_name_that_nobody_has_is_unknown(#[case] name: &str) {
    let (talkdesk, proxy) = sample_proxy(DEFAULT).await;
    let reply = proxy.get_with(BARE, &[("x-tenant", name)]).await;
    reply.assert_problem(404, "unknown_tenant");
    assert_eq!(reply.field("vary"), "X-Tenant");
    assert!(!reply.fields.contains_key("x-tenant"));
    assert_eq!(talkdesk.counts(), (0, 0));
}

#[tokio::test]
async fn a_name_in_the_path_is_never_decoded() {
    let (talkdesk, proxy) = sample_proxy("").await;
    proxy.get("/organizations/nobody/express/products").await.assert_problem(404, "unknown_tenant");
    proxy.get("/organizations/ACME/express/products").await.assert_problem(404, "unknown_tenant");
    proxy.get("/organizations/%61cme/express/products").await.assert_problem(400, "invalid_target");
    proxy.get("/organizations/acme%2fx/express/products").await.assert_problem(400, "invalid_target");
    assert_eq!(talkdesk.counts(), (0, 0));
}

#[tokio::test]
async fn an_error_on_a_bare_path_says_that_it_depends_on_the_field() {
    let (_talkdesk, proxy) = sample_proxy("").await;
    let refused = proxy.get_with("/express/invoices", &[("x-tenant", "instances/initech")]).await;
    refused.assert_problem(403, "reseller_sold");
    assert_eq!(refused.field("vary"), "X-Tenant");
    let prefixed = proxy.get("/instances/initech/express/invoices").await;
    assert!(!prefixed.fields.contains_key("vary"));
}

#[tokio::test]
async fn a_head_request_is_refused_without_a_body() {
    let (talkdesk, proxy) = sample_proxy("").await;
    let reply = proxy.ask(Method::HEAD, "/instances/initech/express/invoices", &[]).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    assert!(reply.body.is_empty());
    assert_eq!(reply.field("content-type"), "application/problem+json");
    assert_eq!(talkdesk.counts(), (0, 0));
}

#[tokio::test]
async fn the_root_lists_the_endpoints_and_the_ways_to_name_a_tenant() {
    let (talkdesk, proxy) = sample_proxy("").await;
    let reply = proxy.get("/").await;
    assert_eq!(reply.status, StatusCode::OK);
    let listing = reply.json();
    let paths: Vec<_> =
        listing["endpoints"].as_array().expect("a list").iter().map(|one| &one["path"]).collect();
    assert_eq!(paths.len(), 5);
    assert!(listing.to_string().contains("X-Tenant"));
    assert!(!reply.text().contains("acme"), "tenants are not listed to everybody");
    assert_eq!(talkdesk.counts(), (0, 0));
}
