//! A decision, explained: what it says is what a request gets.

use http::{Method, StatusCode};
use rstest::rstest;

use crate::support::{Proxy, SAMPLE_TENANTS, Talkdesk, filter};

async fn samples() -> (Talkdesk, Proxy) {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, "entitlement:\n  eligible_plans: [cx-cloud-elite]\n").await;
    (talkdesk, proxy)
}

async fn explained(proxy: &Proxy, tenant: &str, path: &str) -> serde_json::Value {
    let path: String = form_urlencoded::byte_serialize(path.as_bytes()).collect();
    let reply = proxy.admin(Method::GET, &format!("/api/tenants/{tenant}/entitlement?path={path}")).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    reply.json()
}

const TENANTS: [&str; 9] = [
    "organizations/acme",
    "organizations/northwind",
    "organizations/soylent",
    "instances/josephpinetrees",
    "instances/globex",
    "instances/hooli",
    "instances/initech",
    "instances/umbrella",
    "instances/wonka",
];

#[tokio::test]
async fn the_decision_is_the_one_that_a_request_gets() {
    let (talkdesk, proxy) = samples().await;
    let mut denied = 0;
    for tenant in TENANTS {
        for path in
            ["/express/accounts", "/express/products", "/express/invoices?page=1", "/express/invoices?x=1"]
        {
            let before = talkdesk.counts();
            let explained = explained(&proxy, tenant, path).await;
            assert_eq!(talkdesk.counts(), before, "an explanation asks nobody");
            let reply = proxy.get(&format!("/{tenant}{path}")).await;
            if explained["decision"] == "granted" {
                assert!(reply.status.is_success(), "{tenant} {path}: {}", reply.text());
                assert_eq!(explained["code"], serde_json::Value::Null);
            } else {
                denied += 1;
                assert_eq!(explained["code"], reply.code(), "{tenant} {path}");
                assert_eq!(explained["status"], reply.status.as_u16());
                assert_eq!(explained["message"], reply.json()["message"]);
            }
        }
    }
    assert_eq!(denied, 18);
}

#[rstest]
#[case("organizations/soylent", "/express/products", "tenant_disabled", 0)]
#[case("instances/initech", "/express/products", "reseller_sold", 1)]
#[case("instances/wonka", "/express/products", "no_oauth_client", 2)]
#[case("instances/umbrella", "/express/products", "plan_not_eligible", 3)]
#[case("instances/josephpinetrees", "/express/accounts", "organization_only", 5)]
#[case("instances/josephpinetrees", "/express/invoices?x=1", "parameter_not_allowed", 6)]
#[case("instances/josephpinetrees", "/express/invoices?filter=x", "filter_not_understood", 7)]
#[case(
    "organizations/acme",
    "/express/invoices?filter=account_id+eq+'000000000000000000000000'",
    "account_not_in_organization",
    8
)]
#[tokio::test]
async fn the_rules_before_passed_and_those_behind_were_not_reached(
    #[case] tenant: &str,
    #[case] path: &str,
    #[case] rule: &str,
    #[case] place: usize,
) {
    let (_talkdesk, proxy) = samples().await;
    let explained = explained(&proxy, tenant, path).await;
    let rules = explained["rules"].as_array().expect("rules");
    assert_eq!(rules.len(), 10);
    assert_eq!(rules[place]["rule"], rule, "{explained:#}");
    for (position, one) in rules.iter().enumerate() {
        let expected = match position.cmp(&place) {
            std::cmp::Ordering::Less => "passed",
            std::cmp::Ordering::Equal => "denied",
            std::cmp::Ordering::Greater => "not_reached",
        };
        assert_eq!(one["verdict"], expected, "{explained:#}");
        assert!(one["fact"].as_str().is_some_and(|fact| !fact.is_empty()));
    }
}

#[tokio::test]
async fn a_grant_says_what_would_be_sent_and_with_which_client() {
    let (talkdesk, proxy) = samples().await;
    let explained = explained(&proxy, "instances/josephpinetrees", "/express/invoices?page=2").await;
    assert_eq!(explained["decision"], "granted");
    assert_eq!(explained["credential"]["owner"], "organizations/acme");
    let url = format!(
        "{}/express/invoices?{}&page=2",
        talkdesk.simulator.url(),
        filter("account_id eq '5ea75fe7aa224700012eae40'")
    );
    assert_eq!(explained["upstream_url"], url);
    assert_eq!(explained["every_record_must_carry"], "account_id: 5ea75fe7aa224700012eae40");
    let text = explained.to_string();
    assert!(!text.contains("secret"), "{text}");
}

#[rstest]
#[case("/api/tenants/organizations/nobody/entitlement?path=/express/invoices", 404, "unknown_tenant")]
#[case("/api/tenants/organizations/acme/entitlement?path=/nowhere", 404, "unknown_endpoint")]
#[case("/api/tenants/organizations/acme/entitlement?path=/express//invoices", 400, "invalid_target")]
#[case("/api/tenants/organizations/acme/entitlement", 400, "parameter_not_allowed")]
#[case("/api/tenants/organizations/acme/entitlement?file=x", 400, "parameter_not_allowed")]
#[case("/api/tenants/organizations/acme", 404, "not_found")]
#[tokio::test]
async fn what_can_not_be_explained_is_told(#[case] path: &str, #[case] status: u16, #[case] code: &str) {
    let (_talkdesk, proxy) = samples().await;
    let reply = proxy.admin(Method::GET, path).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (status, code), "{}", reply.text());
}
