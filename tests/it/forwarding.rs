//! What goes upstream, what comes back, and that links stay on the proxy.

use http::{Method, StatusCode, Version};
use rstest::rstest;

use crate::support::peer::{Canned, Peer, TOKEN_PATH, Wire};
use crate::support::{SAMPLE_TENANTS, Talkdesk};

const INVOICES: &str = "/express/invoices";

#[rstest]
#[tokio::test]
async fn only_listed_fields_and_the_proxys_own_reach_upstream(
    #[values(Wire::HttpMock, Wire::TlsHttp2)] wire: Wire,
) {
    let peer = Peer::start(wire).await;
    peer.answers(INVOICES, [Canned::json(r#"{"total":0,"_links":{}}"#)]);
    let proxy = peer.proxy("").await;
    let fields = [
        ("accept", "application/json"),
        ("accept-language", "de"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("authorization", "Bearer stolen"),
        ("cookie", "session=1"),
        ("x-forwarded-for", "203.0.113.9"),
        ("x_tenant", "organizations/other"),
        ("if-none-match", "\"x\""),
        ("x-request-id", "mine"),
        ("user-agent", "a-tool/1"),
    ];
    let reply = proxy.get_with("/organizations/acme/express/invoices?page=1", &fields).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    assert_eq!(reply.field("x-request-id"), "mine");

    let seen = &peer.seen(INVOICES)[0];
    assert_eq!(seen.target, "/express/invoices?page=1");
    if wire == Wire::TlsHttp2 {
        assert_eq!(seen.version, Some(Version::HTTP_2));
    }
    let mut names: Vec<_> =
        seen.fields.keys().map(http::HeaderName::as_str).filter(|name| *name != "host").collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["accept", "accept-encoding", "accept-language", "authorization", "traceparent", "user-agent", "via"]
    );
    assert_eq!(seen.fields["authorization"], "Bearer token-1");
    assert_eq!(seen.fields["accept-encoding"], "gzip");
    assert!(seen.fields["user-agent"].to_str().expect("text").starts_with("billing-insights-proxy/"));
    assert_eq!(peer.calls(TOKEN_PATH), 1);
}

#[rstest]
#[tokio::test]
async fn what_is_upstreams_own_does_not_reach_a_client(#[values(Wire::HttpMock, Wire::TlsHttp2)] wire: Wire) {
    let peer = Peer::start(wire).await;
    let answer = Canned::json(r#"{"total":0,"_links":{}}"#)
        .with("set-cookie", "a=b")
        .with("www-authenticate", "Bearer")
        .with("access-control-allow-origin", "*")
        .with("x-custom", "kept");
    peer.answers(INVOICES, [answer]);
    let proxy = peer.proxy("").await;
    for _ in 0..2 {
        let reply = proxy.get("/organizations/acme/express/invoices").await;
        for name in ["set-cookie", "www-authenticate", "access-control-allow-origin"] {
            assert!(!reply.fields.contains_key(name), "{name}");
        }
        assert_eq!(reply.field("x-custom"), "kept");
        assert_eq!(reply.field("x-tenant"), "organizations/acme");
        assert!(reply.field("via").ends_with("billing-insights-proxy"));
        assert_eq!(reply.fields.get_all("via").iter().count(), 1);
        assert_eq!(reply.field("cache-control"), "private, no-cache");
    }
}

#[rstest]
#[tokio::test]
async fn a_link_is_rewritten_and_nothing_else_changes_by_a_byte(
    #[values(Wire::HttpMock, Wire::TlsHttp2)] wire: Wire,
) {
    let peer = Peer::start(wire).await;
    let url = peer.url().to_owned();
    let escaped = url.replace('/', "\\/");
    let template = |first: &str, second: &str| {
        format!(
            "{{ \"total\" : 1, \"rate\":1.10, \"big\":12345678901234567890.10,\n \"description\":\"see {url}/express and 08/16/2023 - 09/15/2023\",\
             \"_links\":{{\"next\":{{\"href\":\"{first}/express/invoices?page=2\"}}}},\"show\":{{\"href\":\"{second}\\/x\"}},\
             \"_embedded\":{{\"invoices\":[{{\"nested\":{{\"href\":\"{first}/deep\"}},\"url\":\"{url}/stays\"}}]}},\"odd\":{{\"href\":\"{url}.evil.example/\"}} }}"
        )
    };
    peer.answers(INVOICES, [Canned::json(template(&url, &escaped))]);
    let proxy = peer.proxy("").await;
    let base = format!("{}/organizations/acme", proxy.base());
    for _ in 0..2 {
        let reply = proxy.get("/organizations/acme/express/invoices").await;
        assert_eq!(reply.text(), template(&base, &base));
        assert_eq!(reply.field("content-length"), reply.body.len().to_string());
        assert!(reply.field("etag").starts_with("W/"));
    }
    let bare = proxy.get_with(INVOICES, &[("x-tenant", "organizations/acme")]).await;
    assert_eq!(bare.text(), template(&proxy.base(), &proxy.base()));
    assert_eq!(bare.field("vary"), "X-Tenant");
    assert_eq!(peer.calls(INVOICES), 1);
}

#[tokio::test]
async fn links_begin_with_public_url_where_it_is_set() {
    let peer = Peer::start(Wire::HttpMock).await;
    let body = format!(r#"{{"self":{{"href":"{}/express/invoices"}}}}"#, peer.url());
    let answer =
        Canned::json(body).with("link", &format!("<{}/express/invoices?page=2>; rel=\"next\"", peer.url()));
    peer.answers(INVOICES, [answer]);
    let proxy = peer.proxy("server:\n  public_url: https://billing.example.com\n").await;
    let reply = proxy.get("/organizations/acme/express/invoices").await;
    assert_eq!(
        reply.text(),
        r#"{"self":{"href":"https://billing.example.com/organizations/acme/express/invoices"}}"#
    );
    assert_eq!(
        reply.field("link"),
        "<https://billing.example.com/organizations/acme/express/invoices?page=2>; rel=\"next\""
    );
}

#[rstest]
#[case::organization("/organizations/acme/express/invoices", &[], 400)]
#[case::organization_in_a_field("/express/invoices", &[("x-tenant", "organizations/acme")], 400)]
#[case::instance_under_it("/instances/josephpinetrees/express/invoices", &[], 34)]
#[case::direct_instance("/instances/globex/express/invoices", &[], 60)]
#[case::usage_with_links_at_the_top("/instances/globex/express/usage/month", &[], 0)]
#[tokio::test]
async fn following_next_sees_every_record_once(
    #[case] path: &str,
    #[case] fields: &[(&str, &str)],
    #[case] expected: usize,
    #[values(false, true)] escape_slashes: bool,
) {
    let mut options = billing_insights_proxy::simulator::samples();
    options.quirks.escape_slashes = escape_slashes;
    let talkdesk = Talkdesk::start(options).await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, FAST).await;
    let records = proxy.walk(path, fields).await;
    let mut ids: Vec<_> =
        records.iter().map(|record| record["id"].as_str().expect("an id").to_owned()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), records.len(), "a record was seen twice");
    if expected > 0 {
        assert_eq!(records.len(), expected);
    } else {
        assert!(!records.is_empty());
    }
    if path.contains("josephpinetrees") {
        assert!(records.iter().all(|record| record["account_id"] == "5ea75fe7aa224700012eae40"));
    }
}

/// Limits that a walk does not run into, since a test's clock stands still.
const FAST: &str = "limits:\n  upstream: { rate: 1000/s, burst: 1000, concurrency: 100 }\n";

#[rstest]
#[tokio::test]
async fn head_has_the_length_of_get_and_costs_nothing_after_it(
    #[values(Wire::HttpMock, Wire::TlsHttp2)] wire: Wire,
) {
    let peer = Peer::start(wire).await;
    let body = format!(r#"{{"self":{{"href":"{}/x"}}}}"#, peer.url());
    peer.answers(INVOICES, [Canned::json(body)]);
    let proxy = peer.proxy("").await;
    let head = proxy.ask(Method::HEAD, "/organizations/acme/express/invoices", &[]).await;
    let get = proxy.get("/organizations/acme/express/invoices").await;
    assert_eq!(head.status, StatusCode::OK);
    assert!(head.body.is_empty());
    assert_eq!(head.field("content-length"), get.body.len().to_string());
    assert_eq!(head.field("etag"), get.field("etag"));
    assert_eq!(peer.calls(INVOICES), 1);
}

#[tokio::test]
async fn every_spelling_of_a_query_is_one_request_upstream() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(INVOICES, [Canned::page()]);
    let proxy = peer.proxy("").await;
    for query in [
        "filter=contains(description,'a%2Bb')&page=2",
        "page=2&filter=contains(description,'a%2Bb')",
        "page=2&%66ilter=contains%28description%2C%27a%2bb%27%29",
        "&page=2&&filter=contains(description%2c%27a%2Bb')",
    ] {
        proxy.get(&format!("/organizations/acme/express/invoices?{query}")).await;
    }
    proxy.get("/organizations/acme/express/invoices?page=2&filter=contains(description,'a+b')").await;
    let seen = peer.seen(INVOICES);
    assert_eq!(seen.len(), 2, "a plus that is encoded is a plus, and another one is a space");
    assert_eq!(seen[0].target, "/express/invoices?filter=contains%28description%2C%27a%2Bb%27%29&page=2");
    assert_eq!(seen[1].target, "/express/invoices?filter=contains%28description%2C%27a%20b%27%29&page=2");
}

#[tokio::test]
async fn errors_of_talkdesk_that_are_the_callers_are_passed_on() {
    let peer = Peer::start(Wire::HttpMock).await;
    let error = r#"{"code":"0040002","message":"Bad page","fields":[]}"#;
    peer.answers(INVOICES, [Canned { status: 400, ..Canned::json(error) }]);
    let proxy = peer.proxy("").await;
    for _ in 0..2 {
        let reply = proxy.get("/organizations/acme/express/invoices?page=x").await;
        assert_eq!((reply.status, reply.text().as_str()), (StatusCode::BAD_REQUEST, error));
    }
    assert_eq!(peer.calls(INVOICES), 2, "an error is never stored");
}

#[tokio::test]
async fn a_redirect_is_passed_on_and_not_followed() {
    let peer = Peer::start(Wire::HttpMock).await;
    let elsewhere = format!("{}/express/elsewhere", peer.url());
    peer.answers(INVOICES, [Canned::status(302).with("location", &elsewhere)]);
    let proxy = peer.proxy("").await;
    let reply = proxy.get("/organizations/acme/express/invoices").await;
    assert_eq!(reply.status, StatusCode::FOUND);
    assert_eq!(reply.field("location"), format!("{}/organizations/acme/express/elsewhere", proxy.base()));
    assert_eq!(peer.calls("/express/elsewhere"), 0);
}
