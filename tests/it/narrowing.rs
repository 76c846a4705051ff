//! Instances on their Organization's credential, against the simulated Talkdesk with each quirk: they get their own records
//! and nothing that tells about others.

use std::collections::BTreeSet;
use std::time::Duration;

use billing_insights_proxy::simulator::{
    BeyondEnd, Fault, FaultKind, FilterMode, Operator, Options, Quirks, Target, samples,
};
use http::{Method, StatusCode};
use rstest::rstest;

use crate::support::peer::{Canned, Peer, Wire};
use crate::support::{Proxy, SAMPLE_TENANTS, Talkdesk, filter};

const OWN: &str = "5ea75fe7aa224700012eae40";
const INVOICES: &str = "/express/invoices";
const ASKED: &str = "/instances/josephpinetrees/express/invoices";
const ENDPOINTS: [&str; 3] = ["/express/invoices", "/express/subscriptions", "/express/usage/month"];
/// Limits that a walk does not run into, since a test's clock stands still.
const FAST: &str = "limits:\n  upstream: { rate: 1000/s, burst: 1000, concurrency: 100 }\n";

async fn with_quirks(quirks: Quirks) -> (Talkdesk, Proxy) {
    let talkdesk = Talkdesk::start(Options { quirks, ..samples() }).await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, FAST).await;
    (talkdesk, proxy)
}

/// Quirks under which Talkdesk still narrows.
fn narrowing_quirks() -> Vec<Quirks> {
    let standard = Quirks::default;
    vec![
        standard(),
        Quirks { foreign_accounts_are_empty: true, ..standard() },
        Quirks { refuse_unknown_parameters: true, ..standard() },
        Quirks { omit_counts: true, ..standard() },
        Quirks { cursors: true, ..standard() },
        Quirks { cursors: true, omit_counts: true, foreign_accounts_are_empty: true, ..standard() },
        Quirks { beyond_end: BeyondEnd::NotFound, ..standard() },
        Quirks { escape_slashes: true, no_store: true, no_etag: true, ..standard() },
        Quirks { long_tokens: true, omit_scope: true, ..standard() },
    ]
}

/// Quirks under which it does not.
fn widening_quirks() -> Vec<Quirks> {
    let standard = Quirks::default;
    vec![
        Quirks { filter: FilterMode::Ignored, ..standard() },
        Quirks { filter: FilterMode::Ignored, omit_counts: true, ..standard() },
        Quirks { filter: FilterMode::Ignored, cursors: true, ..standard() },
        Quirks { filter: FilterMode::Refused, ..standard() },
        Quirks { missing_operators: vec![Operator::Eq], ..standard() },
        Quirks { error_in_200: true, ..standard() },
    ]
}

fn ids(records: &[serde_json::Value]) -> BTreeSet<String> {
    records.iter().map(|record| record["id"].as_str().expect("an id").to_owned()).collect()
}

#[rstest]
#[case::all("")]
#[case::one_a_page("per_page=1")]
#[case::with_a_filter_of_its_own("filter=currency+eq+'USD'+or+currency+ne+'USD'&per_page=7")]
#[tokio::test]
async fn an_instance_pages_through_exactly_its_own_records(#[case] query: &str) {
    for quirks in narrowing_quirks() {
        let (talkdesk, proxy) = with_quirks(quirks.clone()).await;
        for endpoint in ENDPOINTS {
            let path = format!("/instances/josephpinetrees{endpoint}?{query}");
            talkdesk.control().reset_counters();
            let records = proxy.walk(&path, &[]).await;
            let pages = talkdesk.control().counters().api.by_path[endpoint] - 1;
            assert!(records.iter().all(|record| record["account_id"] == OWN), "{path}");
            assert_eq!(ids(&records).len(), records.len(), "{path}: a record was seen twice");
            let all = proxy.walk(&format!("/organizations/acme{endpoint}?per_page=100"), &[]).await;
            let own: Vec<_> = all.into_iter().filter(|record| record["account_id"] == OWN).collect();
            assert_eq!(ids(&records), ids(&own), "{path} {quirks:?}");
            let size: usize =
                query.rsplit_once("per_page=").map_or(50, |(_, size)| size.parse().expect("a size"));
            let expected = records.len().div_ceil(size).max(1) as u64;
            assert_eq!(
                pages, expected,
                "{path} {quirks:?}: one request a page, and one that shows that it narrows"
            );
        }
    }
}

#[tokio::test]
async fn a_filter_of_its_own_narrows_further_and_the_next_page_keeps_it() {
    let (_talkdesk, proxy) = with_quirks(Quirks::default()).await;
    let all = proxy.walk(ASKED, &[]).await;
    let chosen = all[0]["date"].as_str().expect("a date")[..10].to_owned();
    let path =
        format!("{ASKED}?filter=date+ge+'{chosen}'+and+date+le+'{chosen}'&per_page=1&order_by=id:desc");
    let some = proxy.walk(&path, &[]).await;
    let expected: BTreeSet<_> = all
        .iter()
        .filter(|one| one["date"].as_str().is_some_and(|date| date.starts_with(&chosen)))
        .cloned()
        .collect::<Vec<_>>()
        .iter()
        .map(|one| one["id"].as_str().expect("an id").to_owned())
        .collect();
    assert_eq!(ids(&some), expected);
    assert!(!some.is_empty() && some.len() < all.len());
}

#[tokio::test]
async fn following_a_link_does_not_add_the_condition_twice() {
    let peer = Peer::start(Wire::HttpMock).await;
    let ours = filter(&format!("account_id eq '{OWN}' and (month eq '2024-08')"));
    let spelled = ours.replace("%20", "+").replace("%27", "'");
    let body =
        format!(r#"{{"_links":{{"next":{{"href":"{}/express/invoices?{spelled}&page=2"}}}}}}"#, peer.url());
    peer.answers(INVOICES, [Canned::json(body)]);
    let proxy = peer.proxy("").await;
    let mut next = format!("{ASKED}?page=2&filter=month+eq+'2024-08'");
    for round in 0..4 {
        let reply = proxy.get(&next).await;
        assert_eq!(reply.cache_status().starts_with("hit"), round > 0, "{}", reply.cache_status());
        next = reply.json()["_links"]["next"]["href"].as_str().expect("a link").to_owned();
        next = next.strip_prefix(&proxy.base()).expect("a link of the proxy").to_owned();
        assert!(next.starts_with(ASKED), "{next}");
    }
    let seen = peer.seen(INVOICES);
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].target, format!("{INVOICES}?{ours}&page=2"));
}

#[tokio::test]
async fn a_link_can_be_followed_whatever_parameters_it_carries() {
    let peer = Peer::start(Wire::HttpMock).await;
    let body = format!(
        r#"{{"_links":{{"next":{{"href":"{}\/express\/invoices?after=a%2Bb&shard=7"}}}}}}"#,
        peer.url().replace('/', "\\/")
    );
    peer.answers(INVOICES, [Canned::json(body)]);
    let proxy = peer.proxy("").await;
    let followed = format!("{ASKED}?after=a%2Bb&shard=7");
    proxy.get(&followed).await.assert_problem(400, "parameter_not_allowed");
    assert_eq!(proxy.get(ASKED).await.status, StatusCode::OK);
    assert_eq!(proxy.get(&followed).await.status, StatusCode::OK);
    let own = filter(&format!("account_id eq '{OWN}'"));
    assert_eq!(peer.seen(INVOICES)[1].target, format!("{INVOICES}?after=a%2Bb&{own}&shard=7"));
    proxy.get(&format!("{ASKED}?after=a%2Bb&shard=8")).await.assert_problem(400, "parameter_not_allowed");
    let other = proxy.get("/instances/josephpinetrees/express/subscriptions?shard=7").await;
    other.assert_problem(400, "parameter_not_allowed");
}

#[tokio::test]
async fn a_parameter_echoed_into_a_link_is_not_learned() {
    let peer = Peer::start(Wire::HttpMock).await;
    // An API that writes what it was asked into its links, without encoding it again; and links of other kinds.
    let body = format!(
        r#"{{"_embedded":{{"invoices":[]}},"_links":{{"self":{{"href":"{0}/express/invoices?order_by=x&account_id=1"}},"a":{{"href":"{0}/other?b=1"}}}}}}"#,
        peer.url()
    );
    peer.answers(INVOICES, [Canned::json(body)]);
    let proxy = peer.proxy("").await;
    assert_eq!(proxy.get(&format!("{ASKED}?order_by=x%26account_id%3D1")).await.status, StatusCode::OK);
    for parameter in ["account_id=1", "b=1"] {
        proxy.get(&format!("{ASKED}?{parameter}")).await.assert_problem(400, "parameter_not_allowed");
    }
}

/// What no answer to an Instance may have: ids and counts of the rest of the Organization.
async fn assert_shows_nothing_of_others(proxy: &Proxy, path: &str, quirks: &Quirks) {
    for (method, fields) in [
        (Method::GET, &[][..]),
        (Method::HEAD, &[]),
        (Method::GET, &[("if-none-match", "\"x\""), ("cache-control", "no-cache")]),
        (Method::GET, &[("if-modified-since", "Sat, 01 Jan 2000 00:00:00 GMT")]),
        (Method::GET, &[("range", "bytes=0-99")]),
        (Method::GET, &[("cache-control", "only-if-cached, max-stale=99999")]),
    ] {
        let reply = proxy.ask(method.clone(), path, fields).await;
        assert!(
            !reply.status.is_success() && reply.status != StatusCode::NOT_MODIFIED,
            "{path} {quirks:?}: {}",
            reply.text()
        );
        if method == Method::GET {
            let problem = reply.json();
            let code = problem["code"].as_str().expect("a code");
            assert!(
                ["account_scope_unproven", "not_in_cache"].contains(&code),
                "{path} {quirks:?}: {problem}"
            );
            assert!(problem.get("_embedded").is_none() && problem.get("total").is_none(), "{problem}");
        } else {
            assert!(reply.body.is_empty() && reply.fields.get("x-total-count").is_none());
        }
        assert!(
            reply.fields.get("link").is_none() && reply.fields.get("etag").is_none(),
            "{:?}",
            reply.fields
        );
    }
}

#[tokio::test]
async fn where_talkdesk_does_not_narrow_an_instance_is_shown_nothing() {
    for quirks in widening_quirks() {
        let (talkdesk, proxy) = with_quirks(quirks.clone()).await;
        for endpoint in ENDPOINTS {
            for query in
                ["", "?page=9999", "?per_page=1", "?page=1&per_page=1", "?order_by=date", "?cursor=x"]
            {
                let path = format!("/instances/josephpinetrees{endpoint}{query}");
                assert_shows_nothing_of_others(&proxy, &path, &quirks).await;
            }
        }
        let counters = talkdesk.control().counters();
        for endpoint in ENDPOINTS {
            let asked = counters.api.by_path[endpoint];
            assert_eq!(asked, 1, "{quirks:?}: it is asked once, and nothing of others is read");
        }
        for endpoint in ENDPOINTS {
            let filtered = format!("/instances/josephpinetrees{endpoint}?filter=currency+eq+'USD'&page=9999");
            let reply = proxy.get(&filtered).await;
            assert!(!reply.status.is_success(), "{filtered} {quirks:?}: {}", reply.text());
            // Talkdesk's own 400 is passed on: an error has no records.
            assert!(
                ["account_scope_unproven", "bad_request"].contains(&reply.code().as_str()),
                "{}",
                reply.text()
            );
            assert!(
                !reply.text().contains("_embedded") && !reply.text().contains("\"total\""),
                "{}",
                reply.text()
            );
        }
        let listed = proxy.admin(Method::GET, "/api/cache/entries").await.json();
        assert_eq!(listed["total"], 0, "{listed}");
        let reply = proxy.get("/organizations/acme/express/products").await;
        assert_eq!(reply.status, StatusCode::OK, "the rest goes on");
    }
}

#[tokio::test]
async fn the_refusal_says_what_to_do_and_the_operator_sees_it() {
    let (_talkdesk, proxy) = with_quirks(Quirks { filter: FilterMode::Ignored, ..Quirks::default() }).await;
    let problem = proxy.get(ASKED).await.assert_problem(502, "account_scope_unproven");
    let told = problem["detail"].as_str().expect("text");
    for part in [
        "instances/josephpinetrees",
        "invoices",
        "account_id eq '{account_id}'",
        "check --online",
        "account_filter",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let labels = [("tenant", "organizations/acme"), ("endpoint", "invoices")];
    assert!((proxy.metric("account_scope_unproven", &labels).await - 1.0).abs() < 0.1);
    assert!(
        (proxy.metric("upstream_errors_total", &[("kind", "account_scope_unproven")]).await - 1.0).abs()
            < 0.1
    );
    let tenants = proxy.admin(Method::GET, "/api/tenants").await.json();
    let tenants = tenants["tenants"].as_array().expect("tenants").clone();
    let failing = |name: &str| {
        tenants.iter().find(|tenant| tenant["tenant"] == name).expect("a tenant")["failing"].clone()
    };
    assert_eq!(failing("instances/josephpinetrees")["reason"], "account_scope_unproven", "{tenants:#?}");
    assert_eq!(failing("instances/josephpinetrees")["endpoints"], serde_json::json!(["invoices"]));
    assert!(failing("organizations/acme").is_null(), "the Organization itself is served");
}

#[tokio::test]
async fn talkdesk_is_asked_again_after_a_minute_and_served_once_it_narrows() {
    let (talkdesk, proxy) = with_quirks(Quirks { filter: FilterMode::Ignored, ..Quirks::default() }).await;
    for _ in 0..3 {
        let reply = proxy.get(ASKED).await;
        reply.assert_problem(502, "account_scope_unproven");
        assert_eq!(reply.field("retry-after"), "60");
    }
    assert_eq!(talkdesk.counts().0, 1);
    talkdesk.control().set_quirks(Quirks::default());
    proxy.get(ASKED).await.assert_problem(502, "account_scope_unproven");
    proxy.advance(Duration::from_mins(1));
    assert_eq!(proxy.get(ASKED).await.status, StatusCode::OK);
    assert_eq!(talkdesk.counts().0, 3);
    let labels = [("tenant", "organizations/acme"), ("endpoint", "invoices")];
    assert!(proxy.metric("account_scope_unproven", &labels).await.abs() < 0.1);
}

#[tokio::test]
async fn a_proof_holds_for_a_day_and_what_was_stored_goes_with_it() {
    let further = format!(
        "{FAST}cache:\n  endpoints:\n    invoices: {{ ttl: 1h, stale_while_revalidate: 48h, stale_if_error: 48h }}\n"
    );
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, &further).await;
    let by_path = || talkdesk.control().counters().api.by_path[INVOICES];
    proxy.get(ASKED).await;
    proxy.get(&format!("{ASKED}?per_page=1")).await;
    assert_eq!(by_path(), 3, "one proof for both");
    proxy.advance(Duration::from_hours(23));
    proxy.get_with(ASKED, &[("cache-control", "no-cache")]).await;
    assert_eq!(by_path(), 4, "it still holds");
    talkdesk.control().set_quirks(Quirks { filter: FilterMode::Ignored, ..Quirks::default() });
    proxy.advance(Duration::from_hours(2));
    let reply = proxy.get_with(ASKED, &[("cache-control", "no-cache")]).await;
    reply.assert_problem(502, "account_scope_unproven");
    assert_eq!(by_path(), 5);
    // What is stale is not served any more either, though it could be.
    proxy.get(&format!("{ASKED}?per_page=1")).await.assert_problem(502, "account_scope_unproven");
    assert_eq!(proxy.admin(Method::GET, "/api/cache/entries").await.json()["total"], 0);
}

#[tokio::test]
async fn a_record_of_another_account_puts_the_proof_in_doubt() {
    let (talkdesk, proxy) = with_quirks(Quirks::default()).await;
    assert_eq!(proxy.get(ASKED).await.status, StatusCode::OK);
    talkdesk.control().set_quirks(Quirks { filter: FilterMode::Ignored, ..Quirks::default() });
    let counted = proxy.get(&format!("{ASKED}?page=9999&per_page=2")).await;
    assert_eq!(counted.json()["total"], 400, "until it is noticed");
    proxy.advance(Duration::from_secs(10));
    proxy.get(&format!("{ASKED}?per_page=100")).await.assert_problem(502, "account_mismatch");
    proxy.get(&format!("{ASKED}?page=9999")).await.assert_problem(502, "account_scope_unproven");
    // What was stored meanwhile is gone.
    proxy.get(&format!("{ASKED}?page=9999&per_page=2")).await.assert_problem(502, "account_scope_unproven");
}

#[tokio::test]
async fn a_reload_that_touches_the_proof_asks_anew_and_another_does_not() {
    let (talkdesk, proxy) = with_quirks(Quirks::default()).await;
    proxy.get(ASKED).await;
    assert_eq!(talkdesk.counts().0, 2);
    proxy.edit(|text| text.replace("rate: 1000/s", "rate: 999/s"));
    assert_eq!(proxy.reload().await.status, StatusCode::OK);
    proxy.get(&format!("{ASKED}?page=2")).await;
    assert_eq!(talkdesk.counts().0, 3);
    proxy.edit(|text| {
        text.replace("upstream:\n", "upstream:\n  account_filter: \"account_id in ('{account_id}')\"\n")
    });
    assert_eq!(proxy.reload().await.status, StatusCode::OK);
    assert_eq!(proxy.get(ASKED).await.status, StatusCode::OK);
    assert_eq!(talkdesk.counts().0, 5);
    talkdesk.control().rotate_secret("acme", true).expect("a new secret");
    assert_eq!(proxy.reload().await.status, StatusCode::OK);
    assert_eq!(proxy.get(&format!("{ASKED}?page=2")).await.status, StatusCode::OK);
    assert_eq!(talkdesk.counts().0, 7);
}

#[tokio::test]
async fn a_reload_ends_the_alarm_of_a_filter_that_is_not_configured_any_more() {
    let (talkdesk, proxy) =
        with_quirks(Quirks { missing_operators: vec![Operator::Eq], ..Quirks::default() }).await;
    proxy.get(ASKED).await.assert_problem(502, "account_scope_unproven");
    let gauge = async || proxy.metric("account_scope_unproven", &[("endpoint", "invoices")]).await;
    assert!((gauge().await - 1.0).abs() < 0.1);
    proxy.edit(|text| text.replace("rate: 1000/s", "rate: 999/s"));
    assert_eq!(proxy.reload().await.status, StatusCode::OK);
    assert!((gauge().await - 1.0).abs() < 0.1, "it still does not narrow");
    proxy.edit(|text| {
        text.replace("upstream:\n", "upstream:\n  account_filter: \"account_id in ('{account_id}')\"\n")
    });
    assert_eq!(proxy.reload().await.status, StatusCode::OK);
    assert!(gauge().await.abs() < 0.1);
    assert_eq!(proxy.get(ASKED).await.status, StatusCode::OK);
    assert_eq!(talkdesk.counts().0, 3);
}

#[tokio::test]
async fn fifty_requests_at_once_ask_for_the_proof_once() {
    let (talkdesk, proxy) = with_quirks(Quirks::default()).await;
    let paths: Vec<_> = (1..=50).map(|page| format!("{ASKED}?per_page=1&page={page}")).collect();
    let replies = futures_util::future::join_all(paths.iter().map(|path| proxy.get(path))).await;
    assert!(replies.iter().all(|reply| reply.status == StatusCode::OK));
    // One probe and 50 requests: a 403 to the probe is reused while its meaning is pending.
    let asked = talkdesk.control().counters().api.by_path[INVOICES];
    assert_eq!(asked, 51);
}

fn invoices(account: &str, further: &str) -> Canned {
    Canned::json(format!(
        r#"{{"_embedded":{{"invoices":[{{"id":"a","account_id":"{account}"}}]}}{further}}}"#
    ))
}

#[rstest]
#[case::a_page_without_records(
    Canned::json(r#"{"total":0,"total_pages":0,"_embedded":{"invoices":[]}}"#),
    None
)]
#[case::one_empty_page(Canned::json(r#"{"total":0,"total_pages":1,"_embedded":{"invoices":[]}}"#), None)]
#[case::links_alone(Canned::page(), None)]
#[case::counts_that_are_null(Canned::json(r#"{"total":null,"_embedded":{"invoices":[]}}"#), None)]
#[case::a_refusal(Canned { status: 403, ..Canned::json(r#"{"code":"1","message":"no"}"#) }, None)]
#[case::records(invoices(OWN, ""), Some((502, "account_scope_unproven")))]
#[case::records_of_nobody(invoices("000000000000000000000000", ""), Some((502, "account_scope_unproven")))]
#[case::counts_of_others(Canned::json(r#"{"total":400,"_embedded":{"invoices":[]}}"#), Some((502, "account_scope_unproven")))]
#[case::pages_of_others(Canned::json(r#"{"total_pages":8,"_embedded":{"invoices":[]}}"#), Some((502, "account_scope_unproven")))]
#[case::a_count_of_others(Canned::json(r#"{"count":7,"_embedded":{"usage":[]}}"#), Some((502, "account_scope_unproven")))]
#[case::a_total_by_another_name(Canned::json(r#"{"total_elements":7,"_embedded":{"usage":[]}}"#), Some((502, "account_scope_unproven")))]
#[case::a_next_page(Canned::json(r#"{"_embedded":{"usage":[]},"next":{"href":"/express/invoices?page=2"}}"#), Some((502, "account_scope_unproven")))]
#[case::a_last_page(Canned::json(r#"{"_embedded":{"usage":[]},"_links":{"last":{"href":"https://x/y?page=57"}}}"#), Some((502, "account_scope_unproven")))]
#[case::links_to_the_only_page(Canned::json(r#"{"_embedded":{"usage":[]},"_links":{"next":null,"first":{"href":"/y?page=1"},"last":{"href":"/y?page=0"}}}"#), None)]
#[case::no_list(Canned::json(r#"{"total":0,"_embedded":{"invoices":null}}"#), None)]
#[case::no_page(Canned::json(r#"{"code":"1","message":"no"}"#), Some((502, "account_scope_unproven")))]
#[case::nothing(Canned::json("{}"), Some((502, "account_scope_unproven")))]
#[case::bad_request(Canned::status(400), Some((502, "account_scope_unproven")))]
#[case::a_redirect(Canned::status(302), Some((502, "account_scope_unproven")))]
#[case::no_json(Canned::json("<html>"), Some((502, "upstream_protocol_error")))]
#[case::an_error(Canned::status(500), Some((502, "upstream_protocol_error")))]
#[case::a_pause(Canned::status(429), Some((429, "upstream_rate_limited")))]
#[tokio::test]
async fn the_answer_to_the_probe_decides(
    #[case] answer: Canned,
    #[case] refused: Option<(u16, &str)>,
    #[values(Wire::HttpMock, Wire::TlsHttp2)] wire: Wire,
) {
    let peer = Peer::start(wire).await;
    peer.answers(INVOICES, [invoices(OWN, "")]);
    peer.answers_to_probe(INVOICES, [answer]);
    let proxy = peer.proxy("").await;
    let reply = proxy.get(ASKED).await;
    match refused {
        None => assert_eq!(reply.status, StatusCode::OK, "{}", reply.text()),
        Some((status, code)) => {
            reply.assert_problem(status, code);
            assert_eq!(peer.calls(INVOICES), 0, "the Instance's own request was not sent");
        }
    }
    let nobody = filter("account_id eq '000000000000000000000000'");
    assert_eq!(peer.probes_seen(INVOICES)[0].target, format!("{INVOICES}?{nobody}&per_page=1"));
    assert_eq!(peer.probes_seen(INVOICES).len(), 1);
}

#[rstest]
#[case::refused_too(Canned { status: 403, ..Canned::json(r#"{"code":"1","message":"no scope"}"#) }, (403, "denied_by_talkdesk"))]
#[case::not_found(Canned { status: 404, ..Canned::json(r#"{"code":"2"}"#) }, (404, "2"))]
#[case::bad_request(Canned { status: 400, ..Canned::json(r#"{"code":"3"}"#) }, (400, "3"))]
#[case::an_error(Canned { status: 500, ..Canned::json(r#"{"code":"4"}"#) }, (500, "4"))]
#[tokio::test]
async fn a_403_to_the_probe_proves_nothing_where_the_instance_gets_an_error(
    #[case] own: Canned,
    #[case] expected: (u16, &str),
) {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(INVOICES, [own, invoices(OWN, "")]);
    peer.answers_to_probe(INVOICES, [refused(), invoices("5ea75fe7aa224700012eae99", "")]);
    let proxy = peer.proxy("").await;
    let reply = proxy.get(ASKED).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), expected, "its own error is passed on");
    proxy.advance(Duration::from_mins(2));
    // Same token: the earlier 403 must not count as a proof.
    proxy.get(ASKED).await.assert_problem(502, "account_scope_unproven");
    assert_eq!(peer.probes_seen(INVOICES).len(), 2);
}

fn refused() -> Canned {
    Canned { status: 403, ..Canned::json(r#"{"code":"1","message":"no"}"#) }
}

#[tokio::test]
async fn a_stale_answer_takes_the_place_of_an_error_though_the_proof_is_pending() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(INVOICES, [invoices(OWN, ""), Canned::status(500)]);
    peer.answers_to_probe(INVOICES, [refused()]);
    let rule =
        "cache:\n  endpoints:\n    invoices: { ttl: 1h, stale_while_revalidate: 0s, stale_if_error: 72h }\n";
    let proxy = peer.proxy(rule).await;
    assert_eq!(proxy.get(ASKED).await.status, StatusCode::OK);
    proxy.advance(Duration::from_hours(25));
    let reply = proxy.get(ASKED).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    assert!(reply.cache_status().contains("detail=error"), "{}", reply.cache_status());
}

#[rstest]
#[case::for_both(Canned { status: 404, ..Canned::json(r#"{"code":"2"}"#) }, (404, "2"))]
#[case::for_nobody_alone(invoices(OWN, ""), (502, "account_scope_unproven"))]
#[tokio::test]
async fn a_404_to_the_probe_withholds_a_success(#[case] own: Canned, #[case] expected: (u16, &str)) {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(INVOICES, [own]);
    peer.answers_to_probe(INVOICES, [Canned::status(404)]);
    let proxy = peer.proxy("").await;
    let reply = proxy.get(ASKED).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), expected, "{}", reply.text());
}

#[tokio::test]
async fn each_shape_of_filter_is_proven_by_itself() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(INVOICES, [invoices(OWN, "")]);
    let everybodys = Canned::json(r#"{"total":48211,"_embedded":{"invoices":[]}}"#);
    peer.answers_to_probe(INVOICES, [Canned::page(), Canned::page(), everybodys, Canned::page()]);
    let proxy = peer.proxy("").await;
    let ask = async |filter: &str| {
        proxy.get(&format!("{ASKED}?page=9999&{}", crate::support::filter(filter))).await
    };
    assert_eq!(proxy.get(ASKED).await.status, StatusCode::OK);
    assert_eq!(ask("month eq '2024-08'").await.status, StatusCode::OK);
    assert_eq!(ask("month eq '2024-09'").await.status, StatusCode::OK, "the same kind");
    assert_eq!(peer.probes_seen(INVOICES).len(), 2);
    // This one is not understood, and Talkdesk ignores the whole filter then.
    ask("zz zz 'x'").await.assert_problem(502, "account_scope_unproven");
    let nobody = filter("account_id eq '000000000000000000000000' and (zz zz 'x')");
    assert_eq!(peer.probes_seen(INVOICES)[2].target, format!("{INVOICES}?{nobody}&per_page=1"));
    assert_eq!(ask("month eq '2024-10' or amount gt 5").await.status, StatusCode::OK);
    assert_eq!(peer.probes_seen(INVOICES).len(), 4);
    let labels = [("tenant", "organizations/acme"), ("endpoint", "invoices")];
    assert!(
        proxy.metric("account_scope_unproven", &labels).await.abs() < 0.1,
        "a filter of a client is no alarm"
    );
}

#[tokio::test]
async fn tokens_that_change_faster_than_talkdesk_answers_prove_nothing() {
    let peer = Peer::start(Wire::HttpMock).await;
    // Each request is answered with another token than its probe was.
    peer.answers(
        INVOICES,
        [Canned::status(401), invoices(OWN, ""), Canned::status(401), invoices(OWN, ""), invoices(OWN, "")],
    );
    peer.answers_to_probe(INVOICES, [refused()]);
    let proxy = peer.proxy("").await;
    let reply = proxy.get(ASKED).await;
    assert!(!reply.status.is_success(), "{}", reply.text());
    assert_eq!(proxy.admin(Method::GET, "/api/cache/entries").await.json()["total"], 0);
}

#[tokio::test]
async fn a_filter_of_one_client_empties_no_cache() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(INVOICES, [invoices(OWN, "")]);
    let everybodys = Canned::json(r#"{"total":48211,"_embedded":{"invoices":[]}}"#);
    peer.answers_to_probe(INVOICES, [Canned::page(), everybodys]);
    let proxy = peer.proxy("").await;
    assert_eq!(proxy.get(ASKED).await.status, StatusCode::OK);
    proxy
        .get(&format!("{ASKED}?{}", filter("zz zz 'x'")))
        .await
        .assert_problem(502, "account_scope_unproven");
    assert!(proxy.get(ASKED).await.cache_status().starts_with("hit"));
}

#[tokio::test]
async fn each_path_below_a_prefix_is_proven_by_itself() {
    let peer = Peer::start(Wire::HttpMock).await;
    let upstream = "upstream:\n  endpoints:\n    reports: { path: /reports/*, account_filter: \"account_id eq '{account_id}'\", account_field: account_id }\n";
    peer.answers("/reports/a", [invoices(OWN, "")]);
    peer.answers("/reports/b", [Canned::json(r#"{"total":400,"_embedded":{"invoices":[]}}"#)]);
    peer.answers_to_probe("/reports/b", [Canned::json(r#"{"total":400,"_embedded":{"invoices":[]}}"#)]);
    peer.answers_to_probe("/reports/c", [Canned::status(404)]);
    let proxy = peer.proxy(upstream).await;
    assert_eq!(proxy.get("/instances/josephpinetrees/reports/a").await.status, StatusCode::OK);
    proxy
        .get("/instances/josephpinetrees/reports/b?page=9999")
        .await
        .assert_problem(502, "account_scope_unproven");
    assert_eq!(proxy.get("/instances/josephpinetrees/reports/c").await.status, StatusCode::NOT_FOUND);
    assert_eq!(proxy.get("/instances/josephpinetrees/reports/a?page=2").await.status, StatusCode::OK);
    assert!(!peer.probes_seen("/reports/a")[0].target.contains("per_page"), "it may not know that parameter");
    peer.answers_to_probe("/reports/d", [Canned::status(429)]);
    proxy.get("/instances/josephpinetrees/reports/d").await.assert_problem(429, "upstream_rate_limited");
}

#[tokio::test]
async fn a_renewed_token_does_not_deadlock_at_a_concurrency_of_one() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(INVOICES, [Canned::status(401), invoices(OWN, "")]);
    peer.answers_to_probe(INVOICES, [refused()]);
    let proxy =
        peer.proxy("limits:\n  upstream: { rate: 1000/s, burst: 100, concurrency: 1, max_wait: 1s }\n").await;
    let replies = futures_util::future::join_all((1..=8).map(|page| {
        let path = format!("{ASKED}?page={page}");
        let proxy = &proxy;
        async move { proxy.get(&path).await.status }
    }));
    assert!(replies.await.iter().all(|status| *status == StatusCode::OK));
}

#[tokio::test]
async fn a_refusal_with_another_token_is_asked_for_again() {
    let peer = Peer::start(Wire::HttpMock).await;
    // The second token is fetched because the first is rejected in between.
    peer.answers(INVOICES, [Canned::status(401), invoices(OWN, "")]);
    peer.answers_to_probe(INVOICES, [refused(), refused()]);
    let proxy = peer.proxy("").await;
    assert_eq!(proxy.get(ASKED).await.status, StatusCode::OK);
    assert_eq!(peer.probes_seen(INVOICES).len(), 2);
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(INVOICES, [Canned::status(401), invoices(OWN, "")]);
    peer.answers_to_probe(INVOICES, [refused(), invoices("5ea75fe7aa224700012eae99", "")]);
    let proxy = peer.proxy("").await;
    proxy.get(ASKED).await.assert_problem(502, "account_scope_unproven");
}

#[tokio::test]
async fn while_it_can_not_be_asked_what_was_stored_answers_stale() {
    let further = format!(
        "{FAST}cache:\n  endpoints:\n    invoices: {{ ttl: 1h, stale_while_revalidate: 0s, stale_if_error: 72h }}\n"
    );
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, &further).await;
    assert_eq!(proxy.get(ASKED).await.status, StatusCode::OK);
    proxy.advance(Duration::from_hours(25));
    let kind = FaultKind::Status { status: 500, retry_after: None, body: None };
    talkdesk.control().inject(Fault { count: 9, ..Fault::once(Target::Api, kind) }).expect("a fault");
    let reply = proxy.get(ASKED).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    assert!(reply.cache_status().contains("detail=error"), "{}", reply.cache_status());
}

const CRAFTED: [&str; 24] = [
    "filter=",
    "filter='",
    "filter=month+eq+'",
    "filter=month+eq+'2024-08''",
    "filter=month+eq+'2024-08''+or+''a'+eq+'a'",
    "filter=month+eq+'2024-08')+or+(account_id+ne+'x'",
    "filter=month+eq+'2024-08')+or+(month+ne+'x'",
    "filter=)+or+(month+ne+''",
    "filter=(((month+eq+'2024-08')",
    "filter=month+eq+'\\'+or+month+ne+'",
    "filter=month+eq+'%5C'+or+month+ne+'",
    "filter=month+eq+'2024-08'--",
    "filter=month+eq+'2024-08'+%23",
    "filter=month+eq+'2024-08'+/*+*/",
    "filter=month+eq+'2024-08%00'",
    "filter=month+eq+'2024-08'&filter=month+ne+''",
    "%66ilter=account_id+ne+'x'",
    "filter=month+ne+''+OR+month+ne+''",
    "filter=ACCOUNT_ID+ne+'x'",
    "filter=Account_Id+eq+'5ea75fe7aa224700012eae41'",
    "filter=account_id+eq+'5EA75FE7AA224700012EAE50'",
    "filter=account_id+in+('5ea75fe7aa224700012eae40','5ea75fe7aa224700012eae50')",
    "filter=tolower(account_id)+eq+'x'",
    "filter=currency+ne+'x'+or+not+currency+eq+''",
];

#[tokio::test]
async fn a_crafted_filter_is_refused_or_yields_own_records_only() {
    let talkdesk = Talkdesk::samples().await;
    let further = format!("{FAST}cache:\n  max_bytes: 64MiB\n");
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, &further).await;
    let deep = format!("filter={}", "(".repeat(8000));
    let own = proxy.walk(ASKED, &[]).await.len() as u64;
    let mut served = 0;
    for query in CRAFTED.into_iter().chain([deep.as_str()]) {
        for endpoint in ENDPOINTS {
            let before = talkdesk.counts().0;
            let reply = proxy.get(&format!("/instances/josephpinetrees{endpoint}?{query}")).await;
            match reply.status {
                StatusCode::OK => {
                    served += 1;
                    let page = reply.json();
                    let lists = page["_embedded"].as_object().expect("records").values();
                    let records: Vec<_> =
                        lists.flat_map(|list| list.as_array().expect("a list").clone()).collect();
                    assert!(records.iter().all(|record| record["account_id"] == OWN), "{query}");
                    assert!(
                        page["total"].as_u64().is_none_or(|total| total <= own.max(50)),
                        "{query}: {}",
                        page["total"]
                    );
                }
                StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN => {
                    let code = reply.code();
                    let ours =
                        ["filter_not_understood", "account_not_in_organization"].contains(&code.as_str());
                    assert!(!ours || talkdesk.counts().0 == before, "{query}: it was sent");
                }
                status => panic!("{query}: {status} {}", reply.text()),
            }
        }
    }
    assert!(served >= 6, "some of them are filters: {served}");
}

#[tokio::test]
async fn what_is_no_page_is_passed_on_and_not_stored() {
    for body in [r#"{"code":"1","message":"no"}"#, "[]", "null", "{}"] {
        let peer = Peer::start(Wire::HttpMock).await;
        peer.answers(INVOICES, [Canned::json(body)]);
        let proxy = peer.proxy("").await;
        for _ in 0..2 {
            let reply = proxy.get("/organizations/acme/express/invoices").await;
            assert_eq!((reply.status, reply.text().as_str()), (StatusCode::OK, body));
            assert_eq!(reply.cache_status(), "fwd=uri-miss; fwd-status=200; detail=not_a_page", "{body}");
        }
        assert_eq!(peer.calls(INVOICES), 2, "{body}");
    }
}

#[tokio::test]
async fn overlapping_pages_of_usage_are_dropped() {
    let peer = Peer::start(Wire::HttpMock).await;
    let page = |records: &[&str]| {
        let records: Vec<_> = records.iter().map(|id| format!(r#"{{"id":"{id}"}}"#)).collect();
        Canned::json(format!(r#"{{"_embedded":{{"usage":[{}]}},"_links":{{}}}}"#, records.join(",")))
    };
    // A record was added at the front after the first page was fetched.
    peer.answers("/express/usage/month", [page(&["1", "2"]), page(&["2", "3"]), page(&["0", "1"])]);
    let proxy = peer.proxy("").await;
    let usage = "/organizations/acme/express/usage/month";
    proxy.get(&format!("{usage}?page=1")).await;
    proxy.get(&format!("{usage}?page=2")).await;
    let first = proxy.get(&format!("{usage}?page=1")).await;
    assert!(
        first.text().contains(r#""id":"0""#),
        "the walk that begins now sees the new record: {}",
        first.text()
    );
    let second = proxy.get(&format!("{usage}?page=2")).await;
    assert!(second.cache_status().starts_with("hit"), "it follows on that: {}", second.cache_status());
    assert_eq!(peer.calls("/express/usage/month"), 3);
}

#[tokio::test]
async fn both_kinds_of_links_of_usage_lead_back() {
    let (talkdesk, proxy) = with_quirks(Quirks::default()).await;
    let page = proxy.get("/organizations/acme/express/usage/month?per_page=1").await;
    let api = format!("\"href\":\"{}", talkdesk.simulator.url());
    assert!(!page.text().contains(&api), "{}", page.text());
    let page = page.json();
    for links in [&page, &page["_links"]] {
        let next = links["next"]["href"].as_str().expect("a link");
        assert!(
            next.starts_with(&format!("{}/organizations/acme/express/usage/month?", proxy.base())),
            "{next}"
        );
    }
    assert!(page.get("total").is_none());
}
