//! Whatever a path is made of, it leads upstream to one of the endpoints or nowhere.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use billing_insights_proxy::clock::{Clock, ManualClock};
use billing_insights_proxy::config::{Config, Environment, parse};
use billing_insights_proxy::domain::endpoint::Endpoint;
use billing_insights_proxy::domain::entitlement::{AccessRequest, authorize};
use billing_insights_proxy::domain::learned::Learned;
use billing_insights_proxy::domain::target;
use proptest::prelude::*;

const CONFIGURATION: &str = "
upstream:
  endpoints:
    reports: { path: /reports/* }
    ping: { path: /ping }
organizations:
  - id: acme
    discover_accounts: false
    credential: { account: acme, client_id: id, client_secret: { file: none } }
    accounts: [{ id: 5ea75fe7aa224700012eae40, name: pine }]
";

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    parse(CONFIGURATION, "test.yaml", Path::new("/nowhere"), &Environment::empty()).expect("a configuration")
});

static ENDPOINTS: LazyLock<Vec<Arc<Endpoint>>> =
    LazyLock::new(|| CONFIG.endpoints.iter().map(|configured| Arc::clone(&configured.endpoint)).collect());

/// The paths upstream that there are, but for what is below `/reports/`.
const KNOWN: [&str; 6] = [
    "/express/accounts",
    "/express/products",
    "/express/subscriptions",
    "/express/invoices",
    "/express/usage/month",
    "/ping",
];

/// What paths are made of, and what they are attacked with.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "/",
        "//",
        "/.",
        "/..",
        "/../",
        "\\",
        ";",
        ";a=b",
        "%",
        "%2e",
        "%2E%2e",
        "%2f",
        "%2F",
        "%5c",
        "%00",
        "%0d%0a",
        "%252e",
        "%c0%af",
        "?",
        "#",
        "*",
        "\0",
        "\r\n",
        " ",
        "\t",
        "http://evil.example",
        "@",
        ":",
        "express",
        "/express",
        "/express/invoices",
        "/express/usage/month",
        "invoices",
        "usage",
        "month",
        "/reports/",
        "reports",
        "organizations",
        "/organizations/acme",
        "/instances/pine",
        "acme",
        "pine",
        "INVOICES",
        "ınvoıces",
    ]);
    prop_oneof![
        6 => known.prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..6),
    ]
}

fn raw_path() -> impl Strategy<Value = Vec<u8>> {
    let attacked = prop::collection::vec(piece(), 0..8).prop_map(|pieces| pieces.concat());
    // A good path with something put in somewhere reaches further than one of pieces alone.
    let good = prop::sample::select(vec![
        "/organizations/acme/express/invoices",
        "/express/usage/month",
        "/instances/pine/express/subscriptions",
        "/organizations/acme/reports/a/b",
        "/ping",
    ]);
    let spoiled = (good, piece(), any::<prop::sample::Index>()).prop_map(|(good, piece, place)| {
        let mut path = good.as_bytes().to_vec();
        let place = place.index(path.len() + 1);
        path.splice(place..place, piece);
        path
    });
    prop_oneof![attacked, spoiled]
}

/// Whether a path is one that may be asked for upstream, read as strictly and as loosely as any server would.
fn leads_where_it_may(path: &str) -> bool {
    if KNOWN.contains(&path) {
        return true;
    }
    let Some(below) = path.strip_prefix("/reports/") else { return false };
    let decoded: Vec<u8> = percent_encoding::percent_decode_str(below).collect();
    let decoded_twice: Vec<u8> = percent_encoding::percent_decode(&decoded).collect();
    let stays = |text: &[u8]| {
        text.split(|byte| *byte == b'/' || *byte == b'\\').all(|segment| segment != b"." && segment != b"..")
            && !text.contains(&b'\\')
            && !text.contains(&b';')
            && !text.iter().any(u8::is_ascii_control)
            && !text.windows(2).any(|pair| pair == b"//")
    };
    let same_structure = |text: &[u8]| text.split(|byte| *byte == b'/').count() == below.split('/').count();
    [below.as_bytes(), &decoded, &decoded_twice].into_iter().all(|text| stays(text) && same_structure(text))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn an_accepted_path_leads_to_a_known_one(raw in raw_path(), query in "[ -~]{0,12}") {
        // As it comes off the wire: bytes that hyper takes for a target.
        let Ok(uri) = http::Uri::try_from(raw) else { return Ok(()) };
        let Ok(target) = target::read(uri.path(), &ENDPOINTS) else { return Ok(()) };
        let Some(endpoint) = target.endpoint else { return Ok(()) };
        prop_assert!(leads_where_it_may(target.path), "{} leads to {}", uri.path(), target.path);
        let learned = Learned::default();
        let now = Clock::Manual(ManualClock::new()).now().monotonic;
        for tenant in CONFIG.tenants.iter() {
            let query = Some(query.as_str()).filter(|query| !query.is_empty());
            let request = AccessRequest { endpoint, path: target.path, query };
            let Ok(permit) = authorize(tenant, &request, &CONFIG.policy, &learned, now) else { continue };
            let upstream = permit.path_and_query().split('?').next().unwrap_or_default();
            prop_assert!(leads_where_it_may(upstream), "{} goes upstream as {upstream}", uri.path());
            prop_assert_eq!(upstream, target.path);
            // What is sent is one target of this path, whatever the query holds: or it can't be sent.
            let url = format!("https://api.example{}", permit.path_and_query());
            if let Ok(sent) = url.parse::<http::Uri>() {
                prop_assert_eq!(sent.path(), target.path);
                prop_assert_eq!(sent.host(), Some("api.example"));
            }
        }
    }
}

#[test]
fn the_paths_that_there_are_are_accepted() {
    for path in KNOWN.into_iter().chain(["/reports/a", "/organizations/acme/express/invoices"]) {
        let target = target::read(path, &ENDPOINTS).expect("a clear path");
        assert!(target.endpoint.is_some_and(|_| leads_where_it_may(target.path)), "{path}");
    }
}
