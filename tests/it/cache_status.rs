//! `Cache-Status` (RFC 9211) on every kind of answer.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use rstest::rstest;

use crate::added_endpoints::ADDED;
use crate::support::peer::{Canned, Peer, Wire};
use crate::support::{Proxy, Reply};

const ASKED: &str = "/organizations/acme/test/a";
const PATH: &str = "/test/a";

fn answer(directives: &str) -> Canned {
    let answer = Canned { status: 200, fields: Vec::new(), body: "x".into() };
    undated(answer.with("cache-control", directives).with("etag", "\"a\""))
}

/// Its clock goes by the time of day, and the test's clock is ahead of that.
fn undated(canned: Canned) -> Canned {
    canned.with("date", "Fri, 31 Dec 9999 23:59:59 GMT")
}

fn confirmed() -> Canned {
    undated(Canned::status(304).with("etag", "\"a\""))
}

/// The one member of the field, read as a structured field; and that what RFC 9211 says of its parameters holds.
fn parameters(reply: &Reply) -> BTreeMap<String, String> {
    let lines = reply.lines("cache-status");
    assert_eq!(lines.len(), 1, "one line");
    let list: sfv::List = sfv::Parser::new(lines[0]).parse().expect("a structured field");
    let [sfv::ListEntry::Item(item)] = &list[..] else { panic!("one item: {list:?}") };
    assert_eq!(item.bare_item.as_token().map(sfv::TokenRef::as_str), Some("billing-insights-proxy"));
    let value = |value: &sfv::BareItem| {
        let boolean = value.as_boolean().map(|value| value.to_string());
        let integer = || value.as_integer().map(|value| i64::from(value).to_string());
        let token = || value.as_token().map(|value| value.as_str().to_owned());
        boolean.or_else(integer).or_else(token).expect("a boolean, an integer or a token")
    };
    let found: BTreeMap<String, String> =
        item.params.iter().map(|(name, item)| (name.as_str().to_owned(), value(item))).collect();
    assert!(!(found.contains_key("hit") && found.contains_key("fwd")), "hit and fwd exclude each other");
    for of_a_forward in ["fwd-status", "stored", "collapsed"] {
        assert!(found.contains_key("fwd") || !found.contains_key(of_a_forward), "{found:?}");
    }
    assert!(!found.contains_key("key"), "no key is shown: the credential is in it");
    for name in found.keys() {
        assert!(
            ["hit", "fwd", "fwd-status", "ttl", "stored", "collapsed", "detail"].contains(&name.as_str()),
            "{name}"
        );
    }
    found
}

/// What is asked, after `wait` seconds, of a cache in which the first answer stands.
struct Second {
    wait: u64,
    method: Method,
    fields: &'static [(&'static str, &'static str)],
}

const GET: Second = Second { wait: 0, method: Method::GET, fields: &[] };

#[rstest]
#[case::hit(answer("max-age=60"), answer("max-age=60"), GET, "hit; ttl=60")]
#[case::hit_later(answer("max-age=60"), answer(""), Second { wait: 59, ..GET }, "hit; ttl=1")]
#[case::hit_by_head(answer("max-age=60"), answer(""), Second { method: Method::HEAD, ..GET }, "hit; ttl=60")]
#[case::hit_with_a_condition(
    answer("max-age=60"), answer(""), Second { fields: &[("if-none-match", "\"a\"")], ..GET }, "hit; ttl=60"
)]
#[case::hit_of_a_part(answer("max-age=60"), answer(""), Second { fields: &[("range", "bytes=0-0")], ..GET }, "hit; ttl=60")]
#[case::stale_that_the_client_takes(
    answer("max-age=60"), answer(""), Second { wait: 70, fields: &[("cache-control", "max-stale")], ..GET }, "hit; ttl=-10"
)]
#[case::stale_while_revalidating(
    answer("max-age=60, stale-while-revalidate=99"), answer(""), Second { wait: 70, ..GET },
    "hit; ttl=-10; detail=while_revalidate"
)]
#[case::stale_on_an_error(
    answer("max-age=60, stale-if-error=99"), Canned::status(503), Second { wait: 70, ..GET }, "hit; ttl=-10; detail=error"
)]
#[case::revalidated(
    answer("max-age=60"), confirmed(), Second { wait: 70, ..GET }, "fwd=stale; fwd-status=304; ttl=60; stored"
)]
#[case::replaced(
    answer("max-age=60"), answer("max-age=5"), Second { wait: 70, ..GET }, "fwd=stale; fwd-status=200; ttl=5; stored"
)]
#[case::asked_for_by_the_client(
    answer("max-age=60"), confirmed(), Second { fields: &[("cache-control", "no-cache")], ..GET },
    "fwd=request; fwd-status=304; ttl=60; stored"
)]
#[case::another_variant(
    answer("max-age=60").with("vary", "x-kind"), answer("max-age=60").with("vary", "x-kind"),
    Second { fields: &[("x-kind", "b")], ..GET }, "fwd=vary-miss; fwd-status=200; ttl=60; stored"
)]
#[case::not_stored(
    answer("no-store"),
    answer("no-store"),
    GET,
    "fwd=uri-miss; fwd-status=200; detail=no_store"
)]
#[case::an_error_that_passes(
    answer("no-store"),
    Canned::status(500),
    GET,
    "fwd=uri-miss; fwd-status=500; detail=no_freshness"
)]
#[case::only_if_cached(
    answer("no-store"), answer(""), Second { fields: &[("cache-control", "only-if-cached")], ..GET }, ""
)]
#[tokio::test]
async fn rfc_9211_every_answer_says_what_the_cache_did(
    #[case] first: Canned,
    #[case] then: Canned,
    #[case] second: Second,
    #[case] expected: &str,
) {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(PATH, [first, then]);
    let proxy = peer.proxy(ADDED).await;
    let miss = proxy.get(ASKED).await;
    assert_eq!((&*parameters(&miss)["fwd"], &*parameters(&miss)["fwd-status"]), ("uri-miss", "200"));
    proxy.advance(Duration::from_secs(second.wait));
    let reply = proxy.ask(second.method, ASKED, second.fields).await;
    assert_eq!(reply.cache_status(), expected);
    let parameters = parameters(&reply);
    assert_eq!(parameters.len(), expected.split("; ").filter(|parameter| !parameter.is_empty()).count());
}

#[rstest]
#[case::no_tenant("/test/a")]
#[case::unknown_tenant("/organizations/nobody/test/a")]
#[case::no_endpoint("/organizations/acme/nowhere")]
#[case::ambiguous("/organizations/acme//test/a")]
#[case::upstream_fails("/organizations/acme/express/invoices")]
#[case::index("/")]
#[tokio::test]
async fn rfc_9211_an_answer_without_the_cache_names_it_and_says_no_more(#[case] path: &str) {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers("/express/invoices", [Canned::json("no JSON")]);
    let proxy = peer.proxy(ADDED).await;
    assert_eq!(parameters(&proxy.get(path).await), BTreeMap::new());
}

#[tokio::test]
async fn rfc_9211_who_shared_a_fetch_is_told_that_it_was_collapsed() {
    let peer = Peer::start(Wire::HttpMock).await;
    peer.answers(PATH, [answer("max-age=60")]);
    let proxy: Proxy = peer.proxy(ADDED).await;
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for reply in futures_util::future::join_all((0..50).map(|_| proxy.get(ASKED))).await {
        parameters(&reply);
        *kinds.entry(reply.cache_status().to_owned()).or_default() += 1;
    }
    let led = "fwd=uri-miss; fwd-status=200; ttl=60; stored";
    assert_eq!(kinds.remove(led), Some(1), "{kinds:?}");
    kinds.remove("hit; ttl=60");
    assert!(kinds.keys().all(|kind| *kind == format!("{led}; collapsed")), "{kinds:?}");
}
