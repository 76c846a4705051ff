//! Records: their members, their values and their dates.

use std::collections::{BTreeMap, BTreeSet};

use rstest::rstest;
use serde_json::{Map, Value};

use super::caller::{Caller, filtered};

/// The documented members, in the documented order.
const DOCUMENTED: [(&str, &str, &str); 5] = [
    ("accounts", "accounts", "id name company_name status"),
    ("products", "products", "id name family unit_of_measure charge_type"),
    (
        "subscriptions",
        "subscriptions",
        "id account_id contract_number currency billing_period status term start_date end_date edition auto_renewal \
         renewal_uplift product_id quantity unit_price billing_frequency pricing_model concurrent seasonal \
         contract_line_start_date contract_line_end_date",
    ),
    (
        "invoices",
        "invoices",
        "id account_id number invoice_line_number date due_date currency total_invoice_amount product_id description \
         product_name quantity rate amount total_tax_amount",
    ),
    (
        "usage/month",
        "usage",
        "id account_id product_id aggr_product_id month type description currency direction resolution unit price \
         wallet_name number_of_units total_amount",
    ),
];

async fn all(caller: &Caller, token: &str, endpoint: &str, embedded: &str) -> Vec<Map<String, Value>> {
    let pages = caller.walk(&format!("/express/{endpoint}?per_page=100"), token).await;
    let records = pages.iter().flat_map(|page| page["_embedded"][embedded].as_array().unwrap());
    records.map(|record| record.as_object().unwrap().clone()).collect()
}

#[tokio::test]
async fn records_have_the_documented_members_and_always_an_id_and_an_account() {
    let caller = Caller::new().await;
    let token = caller.token("acme").await;
    for (endpoint, embedded, members) in DOCUMENTED {
        let records = all(&caller, &token, endpoint, embedded).await;
        let documented: BTreeSet<&str> = members.split(' ').collect();
        let seen: BTreeSet<&str> =
            records.iter().flat_map(|record| record.keys()).map(String::as_str).collect();
        assert_eq!(seen, documented, "{endpoint}");
        assert!(records.iter().all(|record| record["id"].is_string()), "{endpoint}");
        let has_account = documented.contains("account_id");
        assert!(records.iter().all(|record| record.contains_key("account_id") == has_account), "{endpoint}");
    }
}

#[rstest]
#[case("accounts", "accounts", "company_name", "")]
#[case("products", "products", "unit_of_measure", "")]
#[case(
    "subscriptions",
    "subscriptions",
    "contract_line_end_date contract_line_start_date pricing_model renewal_uplift",
    "edition seasonal"
)]
#[case("invoices", "invoices", "due_date total_tax_amount", "product_name total_tax_amount")]
#[case("usage/month", "usage", "direction resolution", "wallet_name")]
#[tokio::test]
async fn some_members_are_null_or_absent_in_some_records(
    #[case] endpoint: &str,
    #[case] embedded: &str,
    #[case] null: &str,
    #[case] absent: &str,
) {
    let caller = Caller::new().await;
    let token = caller.token("acme").await;
    let records = all(&caller, &token, endpoint, embedded).await;
    let names: BTreeSet<&String> = records.iter().flat_map(Map::keys).collect();
    let some = |test: &dyn Fn(&Map<String, Value>, &str) -> bool| {
        let found = names.iter().filter(|name| records.iter().any(|record| test(record, name)));
        found.map(|name| name.as_str()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(some(&|record, name| record.get(name) == Some(&Value::Null)), null);
    assert_eq!(some(&|record, name| !record.contains_key(name)), absent);
    for name in names {
        assert!(
            records.iter().any(|record| record.get(name).is_some_and(|value| !value.is_null())),
            "{name}"
        );
    }
}

#[tokio::test]
async fn members_have_the_documented_order() {
    let caller = Caller::new().await;
    let token = caller.token("acme").await;
    for (endpoint, _, members) in DOCUMENTED {
        let body = caller.get(&format!("/express/{endpoint}?per_page=100"), &token).await;
        for record in body.text().split("{\"id\":").skip(1) {
            let record = format!("\"id\":{}", record.split('}').next().unwrap());
            let places = members.split(' ').filter_map(|name| record.find(&format!("\"{name}\":")));
            assert!(places.is_sorted(), "{record}");
        }
    }
}

#[tokio::test]
async fn amounts_have_several_forms_and_totals_are_sums() {
    let caller = Caller::new().await;
    let token = caller.token("acme").await;
    let answer = caller.get("/express/invoices?per_page=100", &token).await;
    assert!(answer.text().contains("\"amount\":1.10,"));
    assert!(answer.text().contains("08/16/2023 - 09/15/2023"));
    let sentence = format!("see {}/express/usage/month?page=1 for", caller.simulator.url());
    assert!(answer.text().contains(&sentence));
    let written = answer.text().split("\"amount\":").skip(1);
    let written: BTreeSet<&str> = written.map(|text| text.split([',', '}']).next().unwrap()).collect();
    let decimals = |count: usize| {
        move |text: &&str| text.split_once('.').is_some_and(|(_, digits)| digits.len() == count)
    };
    for count in [1, 2, 4] {
        assert!(written.iter().any(decimals(count)), "{count} decimals");
    }
    let body = answer.json();
    let lines = &body["_embedded"]["invoices"].as_array().unwrap()[..4];
    let sum: f64 = lines.iter().map(|line| line["amount"].as_f64().unwrap()).sum();
    assert!((sum - lines[0]["total_invoice_amount"].as_f64().unwrap()).abs() < 0.001);
    assert_eq!(lines[0]["number"], lines[3]["number"]);
    let line_numbers: Vec<u64> =
        lines.iter().map(|line| line["invoice_line_number"].as_u64().unwrap()).collect();
    assert_eq!(line_numbers, [1, 2, 3, 4]);
}

#[tokio::test]
async fn each_instance_has_records_of_august_2024() {
    let caller = Caller::new().await;
    for (tenant, instances) in [("acme", 12), ("northwind", 4), ("hooli", 1), ("soylent", 2)] {
        let token = caller.token(tenant).await;
        for (target, embedded) in [
            (filtered("usage/month", "month eq '2024-08'"), "usage"),
            (filtered("invoices", "date ge '2024-08-01' and date le '2024-08-31'"), "invoices"),
        ] {
            let pages = caller.walk(&target, &token).await;
            let records = pages.iter().flat_map(|page| page["_embedded"][embedded].as_array().unwrap());
            let mut by_account = BTreeMap::<&str, usize>::new();
            for record in records {
                *by_account.entry(record["account_id"].as_str().unwrap()).or_default() += 1;
            }
            assert_eq!(by_account.len(), instances, "{tenant}: {target}");
        }
    }
}
