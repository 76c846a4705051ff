//! Each rule of the entitlement, through the whole stack: who is refused, in which words, and that nothing was
//! sent for it.

use std::time::Duration;

use billing_insights_proxy::simulator::samples;
use http::{Method, StatusCode};
use rstest::rstest;

use crate::support::{Proxy, SAMPLE_TENANTS, Talkdesk};

const FOREIGN: &str = "5ea75fe7aa224700012eae99";
const PLANS: &str = "entitlement:\n  eligible_plans: [cx-cloud-elite]\n";

async fn sample_proxy(further: &str) -> (Talkdesk, Proxy) {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, &format!("{PLANS}{further}")).await;
    (talkdesk, proxy)
}

#[rstest]
#[case::disabled("/organizations/soylent/express/invoices", 403, "tenant_disabled")]
#[case::reseller_sold("/instances/initech/express/invoices", 403, "reseller_sold")]
#[case::no_client("/instances/wonka/express/invoices", 403, "no_oauth_client")]
#[case::plan("/instances/umbrella/express/invoices", 403, "plan_not_eligible")]
#[case::organization_only("/instances/josephpinetrees/express/accounts", 403, "organization_only")]
#[case::parameter("/instances/josephpinetrees/express/invoices?status=ACTIVE", 400, "parameter_not_allowed")]
#[case::filter("/instances/josephpinetrees/express/invoices?filter=month+eq", 400, "filter_not_understood")]
#[case::closed_list(
    "/organizations/acme/express/invoices?filter=account_id+eq+'5ea75fe7aa224700012eae99'",
    403,
    "account_not_in_organization"
)]
#[case::encoded_name(
    "/organizations/acme/express/invoices?%66ilter=accoun%74_id+eq+'5ea75fe7aa224700012eae99'",
    403,
    "account_not_in_organization"
)]
#[case::second_account(
    "/organizations/acme/express/invoices?filter=account_id+in+('5ea75fe7aa224700012eae40','5ea75fe7aa224700012eae99')",
    403,
    "account_not_in_organization"
)]
#[case::an_instance_of_an_organization(
    "/instances/josephpinetrees/express/invoices?filter=account_id+eq+'5ea75fe7aa224700012eae99'",
    403,
    "account_not_in_organization"
)]
#[case::direct(
    "/instances/globex/express/invoices?filter=account_id+eq+'5ea75fe7aa224700012eae99'",
    403,
    "account_not_in_organization"
)]
#[tokio::test]
async fn a_denied_request_has_a_reason_and_sends_nothing(
    #[case] path: &str,
    #[case] status: u16,
    #[case] code: &str,
) {
    let (talkdesk, proxy) = sample_proxy("").await;
    let reply = proxy.get(path).await;
    let problem = reply.assert_problem(status, code);
    let tenant = path.trim_start_matches('/').split("/express").next().expect("a prefix");
    assert_eq!(reply.field("x-tenant"), tenant);
    assert!(problem["message"].as_str().expect("text").contains(tenant), "{problem}");
    assert_eq!(talkdesk.counts(), (0, 0));
    assert!((proxy.metric("requests_denied_total", &[("reason", code)]).await - 1.0).abs() < 0.1);
}

#[rstest]
#[case::nowhere("/express/nothing", "GET / lists the endpoints")]
#[case::slash_at_the_end("/express/invoices/", "`/express/invoices`")]
#[case::slash_at_the_end_of_a_prefixed_path(
    "/organizations/acme/express/invoices/",
    "`/organizations/acme/express/invoices`"
)]
#[tokio::test]
async fn a_path_that_is_no_endpoint_is_told_which_is(#[case] path: &str, #[case] advice: &str) {
    let (talkdesk, proxy) = sample_proxy("").await;
    let problem = proxy.get(path).await.assert_problem(404, "unknown_endpoint");
    assert!(problem["description"].as_str().expect("text").contains(advice), "{problem}");
    assert_eq!(talkdesk.counts(), (0, 0));
}

#[rstest]
#[case::doubled("//express/invoices", "`/express/invoices`")]
#[case::doubled_within("/organizations/acme//express/invoices", "`/organizations/acme/express/invoices`")]
#[tokio::test]
async fn a_slash_too_many_is_refused_with_the_right_path(#[case] path: &str, #[case] advice: &str) {
    let (talkdesk, proxy) = sample_proxy("").await;
    let problem = proxy.get(path).await.assert_problem(400, "invalid_target");
    assert!(problem["description"].as_str().expect("text").contains(advice), "{problem}");
    assert_eq!(talkdesk.counts(), (0, 0));
}

#[rstest]
#[tokio::test]
async fn a_method_that_changes_something_is_refused(
    #[values(Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::TRACE)] method: Method,
) {
    let (talkdesk, proxy) = sample_proxy("").await;
    let reply = proxy.ask(method, "/organizations/acme/express/invoices", &[]).await;
    reply.assert_problem(405, "method_not_allowed");
    assert_eq!(reply.field("allow"), "GET, HEAD, OPTIONS");
    assert_eq!(talkdesk.counts(), (0, 0));
}

#[tokio::test]
async fn options_is_answered_with_what_is_allowed() {
    let (talkdesk, proxy) = sample_proxy("").await;
    for path in ["/express/invoices", "/organizations/acme/express/invoices", "/"] {
        let reply = proxy.ask(Method::OPTIONS, path, &[]).await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT, "{path}");
        assert_eq!(reply.field("allow"), "GET, HEAD, OPTIONS");
        assert!(!reply.fields.contains_key("access-control-allow-origin"));
    }
    assert_eq!(talkdesk.counts(), (0, 0));
}

#[tokio::test]
async fn a_resellers_customer_is_refused_though_its_own_client_works() {
    let mut options = samples();
    for tenant in &mut options.tenants {
        tenant.api_access |= tenant.account == "initech";
    }
    let talkdesk = Talkdesk::start(options).await;
    let as_direct = talkdesk.proxy(&SAMPLE_TENANTS.replace("Some Reseller", "Talkdesk Internal"), "").await;
    assert_eq!(as_direct.get("/instances/initech/express/invoices").await.status, StatusCode::OK);
    talkdesk.control().reset_counters();
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, "").await;
    let problem = proxy.get("/instances/initech/express/invoices").await.assert_problem(403, "reseller_sold");
    assert_eq!(
        problem["detail"],
        "instances/initech was sold by a reseller (Organization `Some Reseller`), so Talkdesk does not let it call \
         this API with a client of its own. Ask its partner, or configure that partner's Organization with a credential."
    );
    assert_eq!(talkdesk.counts(), (0, 0));
}

#[tokio::test]
async fn a_resellers_customer_is_served_with_its_partners_client() {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, "").await;
    let reply = proxy.get("/instances/josephpinetrees/express/invoices").await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    assert_eq!(talkdesk.control().counters().api.by_account["acme"], 2);
}

#[tokio::test]
async fn an_instance_of_an_organization_without_a_client_is_told_to_request_that_one() {
    let talkdesk = Talkdesk::samples().await;
    let tenants = "
organizations:
  - id: acme
    name: Acme Partners
    accounts:
      - { id: 5ea75fe7aa224700012eae40, name: josephpinetrees }
";
    let proxy = talkdesk.proxy(tenants, "").await;
    let problem =
        proxy.get("/instances/josephpinetrees/express/invoices").await.assert_problem(403, "no_oauth_client");
    assert!(problem["message"].as_str().expect("text").contains("organizations/acme"), "{problem}");
    assert_eq!(talkdesk.counts(), (0, 0));
}

#[tokio::test]
async fn an_instance_without_a_plan_is_not_on_an_eligible_one() {
    let talkdesk = Talkdesk::samples().await;
    let tenants = SAMPLE_TENANTS.replace("    plan: cx-cloud-essentials\n", "");
    let proxy = talkdesk.proxy(&tenants, PLANS).await;
    proxy.get("/instances/umbrella/express/invoices").await.assert_problem(403, "plan_not_eligible");
    assert_eq!(proxy.get("/instances/josephpinetrees/express/invoices").await.status, StatusCode::OK);
    assert_eq!(proxy.get("/instances/hooli/express/invoices").await.status, StatusCode::OK);
    assert_eq!(talkdesk.counts(), (3, 2));
}

#[tokio::test]
async fn a_scope_that_the_first_token_lacks_is_never_asked_for() {
    let (talkdesk, proxy) = sample_proxy("").await;
    for _ in 0..3 {
        let problem =
            proxy.get("/organizations/stark/express/invoices").await.assert_problem(403, "scope_missing");
        assert!(
            problem["message"].as_str().expect("text").contains("express-accounts-invoices:read"),
            "{problem}"
        );
    }
    assert_eq!(talkdesk.counts(), (0, 1));
    assert_eq!(proxy.get("/organizations/stark/express/products").await.status, StatusCode::OK);
    assert_eq!(talkdesk.counts(), (1, 1));
    proxy.advance(Duration::from_mins(11));
    proxy.get("/organizations/stark/express/invoices").await.assert_problem(403, "scope_missing");
    assert_eq!(talkdesk.counts(), (1, 2), "what a token taught ends with it");
}

#[tokio::test]
async fn scopes_that_are_percent_encoded_are_read_too() {
    let mut options = samples();
    options.quirks.encode_scope = true;
    let talkdesk = Talkdesk::start(options).await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, "").await;
    assert_eq!(proxy.get("/organizations/acme/express/invoices").await.status, StatusCode::OK);
    proxy.get("/organizations/stark/express/invoices").await.assert_problem(403, "scope_missing");
}

#[tokio::test]
async fn a_token_without_scopes_denies_nothing() {
    let mut options = samples();
    options.quirks.omit_scope = true;
    let talkdesk = Talkdesk::start(options).await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, "").await;
    assert_eq!(proxy.get("/organizations/acme/express/invoices").await.status, StatusCode::OK);
    let stark = proxy.get("/organizations/stark/express/invoices").await;
    stark.assert_problem(403, "denied_by_talkdesk");
    assert_eq!(talkdesk.counts(), (2, 2));
}

#[tokio::test]
async fn a_scope_that_is_not_configured_is_missing_without_a_token() {
    let talkdesk = Talkdesk::samples().await;
    let tenants = SAMPLE_TENANTS.replace(
        "client_secret: { file: hooli-client-secret }",
        "client_secret: { file: hooli-client-secret }, scopes: [\"express-products:read\"]",
    );
    let proxy = talkdesk.proxy(&tenants, "").await;
    proxy.get("/instances/hooli/express/invoices").await.assert_problem(403, "scope_missing");
    assert_eq!(talkdesk.counts(), (0, 0));
    assert_eq!(proxy.get("/instances/hooli/express/products").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_denial_of_talkdesk_is_remembered_for_a_minute_and_then_asked_for_again() {
    let (talkdesk, proxy) = sample_proxy("").await;
    let path = format!("/organizations/northwind/express/invoices?filter=account_id+eq+'{FOREIGN}'");
    for _ in 0..3 {
        let problem = proxy.get(&path).await.assert_problem(403, "denied_by_talkdesk");
        assert!(
            problem["message"].as_str().expect("text").contains("Access denied (forbidden)"),
            "{problem}"
        );
        assert!(problem["upstream_request_id"].is_string(), "{problem}");
    }
    assert_eq!(talkdesk.counts(), (1, 1));
    assert_eq!(proxy.get("/organizations/northwind/express/invoices").await.status, StatusCode::OK);
    proxy.advance(Duration::from_secs(61));
    proxy.get(&path).await.assert_problem(403, "denied_by_talkdesk");
    assert_eq!(talkdesk.counts(), (3, 1));
}

#[tokio::test]
async fn a_purge_ends_a_remembered_denial() {
    let (talkdesk, proxy) = sample_proxy("").await;
    let path = format!("/organizations/northwind/express/invoices?filter=account_id+eq+'{FOREIGN}'");
    proxy.get(&path).await.assert_problem(403, "denied_by_talkdesk");
    proxy.admin(Method::DELETE, "/api/cache").await;
    proxy.get(&path).await.assert_problem(403, "denied_by_talkdesk");
    assert_eq!(talkdesk.counts(), (2, 1));
}

#[tokio::test]
async fn the_status_of_denials_can_be_chosen_and_other_statuses_stay() {
    let (talkdesk, proxy) = sample_proxy("server:\n  denial_status: 422\n").await;
    proxy.get("/instances/initech/express/invoices").await.assert_problem(422, "reseller_sold");
    proxy.get("/organizations/soylent/express/invoices").await.assert_problem(422, "tenant_disabled");
    proxy.get("/organizations/stark/express/invoices").await.assert_problem(422, "scope_missing");
    let path = format!("/organizations/northwind/express/invoices?filter=account_id+eq+'{FOREIGN}'");
    proxy.get(&path).await.assert_problem(422, "denied_by_talkdesk");
    proxy.get("/organizations/nobody/express/invoices").await.assert_problem(404, "unknown_tenant");
    let scoped = proxy.get("/instances/josephpinetrees/express/invoices?x=1").await;
    scoped.assert_problem(400, "parameter_not_allowed");
    assert_eq!(talkdesk.counts(), (1, 2));
}
