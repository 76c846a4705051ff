//! The sections: endpoints, cache rules, listeners, limits.

use std::time::Duration;

use http::Method;

use super::{accepted, only_fault, with_acme};
use crate::config::{CacheRule, Listen, OriginDirective, Overrides, changes_that_need_restart};
use crate::domain::endpoint::{Content, ForwardedFields, PathPattern};

fn with_endpoint(endpoint: &str) -> String {
    with_acme(&format!("upstream:\n  endpoints:\n    reports: {endpoint}\n"))
}

#[test]
fn an_added_endpoint_stands_behind_the_five_with_a_plain_rule() {
    let config =
        accepted(&with_endpoint("{ path: /reports/*, methods: [GET], forward_request_fields: all }"));
    let added = &config.endpoints[5];
    assert_eq!((added.endpoint.position, &*added.endpoint.name), (5, "reports"));
    assert_eq!(added.endpoint.path, PathPattern::Prefix("/reports/".into()));
    assert_eq!(added.endpoint.methods, [Method::GET]);
    assert_eq!(added.endpoint.content, Content::Opaque);
    assert_eq!(added.endpoint.forward_request_fields, ForwardedFields::All);
    assert_eq!(added.rule, CacheRule::default());
    let records =
        accepted(&with_endpoint("{ path: /r, account_filter: \"a eq {account_id}\", account_field: b }"));
    assert!(matches!(records.endpoints[5].endpoint.content, Content::Records(_)));
}

#[test]
fn an_added_endpoint_leaves_every_other_path_what_it_is() {
    for (path, fragment) in [
        ("/express/invoices", "`invoices`"),
        ("/express/invoices/more", "`invoices`"),
        ("/express/usage/month/*", "`monthly_usage`"),
        ("/organizations/x", "names a tenant"),
        ("/instances/*", "names a tenant"),
        ("/a/../b", "write a path"),
        ("/a%2fb", "write a path"),
        ("//a", "write a path"),
        ("/*", "write a path"),
        ("/", "write a path"),
        ("/a*", "write a path"),
        ("reports", "write a path"),
        ("/a;b", "write a path"),
    ] {
        let fault = only_fault(&with_endpoint(&format!("{{ path: \"{path}\" }}")));
        assert_eq!(fault.path, "upstream.endpoints.reports.path");
        assert!(fault.message.contains(fragment), "{path}: {fault}");
    }
    assert!(super::refused(&with_endpoint("{ path: /express/* }")).len() >= 5);
    let two = with_acme("upstream: { endpoints: { a: { path: /x/* }, b: { path: /x/y } } }\n");
    assert!(only_fault(&two).message.contains("endpoint `a`"));
}

#[test]
fn an_added_endpoint_is_refused_what_this_version_does_not_do() {
    for (endpoint, path, fragment) in [
        ("{ path: /r, methods: [POST] }", "methods[0]", "write `GET` or `HEAD`"),
        ("{ path: /r, methods: [] }", "methods", "write `[GET]`"),
        ("{ path: /r, forward_request_fields: [Authorization] }", "forward_request_fields[0]", "take it out"),
        (
            "{ path: /r, forward_request_fields: [X-Forwarded-For] }",
            "forward_request_fields[0]",
            "take it out",
        ),
        ("{ path: /r, forward_request_fields: [If-Match] }", "forward_request_fields[0]", "take it out"),
        ("{ path: /r, forward_request_fields: [a b] }", "forward_request_fields[0]", "request field"),
        ("{ path: /r, forward_request_fields: some }", "forward_request_fields", "write `all`"),
        ("{ path: /r, account_filter: \"a eq {account_id}\" }", "account_field", "both, or neither"),
        ("{ path: /r, account_field: a }", "account_filter", "both, or neither"),
        ("{ path: /r, account_parameter: a }", "account_parameter", "removed; the API has no parameter"),
        ("{ methods: [GET] }", "path", "found no `path`"),
    ] {
        let fault = only_fault(&with_endpoint(endpoint));
        assert_eq!(fault.path, format!("upstream.endpoints.reports.{path}"));
        assert!(fault.message.contains(fragment), "{fault}");
    }
    let own = with_acme("upstream: { endpoints: { invoices: { path: /x } } }\n");
    assert!(only_fault(&own).message.contains("API's own"));
}

#[test]
fn a_rule_keeps_the_defaults_of_what_it_leaves_out() {
    let config = accepted(&with_acme(
        "cache: { endpoints: { invoices: { ttl: 0, override: [private, vary-any] }, products: {} } }\n",
    ));
    let rule = &config.endpoints[3].rule;
    assert_eq!(rule.ttl, Some(Duration::ZERO));
    assert_eq!(rule.stale_if_error, Duration::from_hours(6));
    let listed = Overrides::Listed(vec![OriginDirective::Private, OriginDirective::VaryAny]);
    assert_eq!(rule.overrides, listed);
    assert_eq!(config.endpoints[1].rule, CacheRule::default());
    assert_eq!(config.endpoints[0].rule.overrides, Overrides::All);
}

#[test]
fn a_closed_period_has_no_default_and_stands_beside_the_ttl() {
    let rule = |text: &str| {
        let yaml = format!("cache: {{ endpoints: {{ invoices: {text} }} }}\n");
        accepted(&with_acme(&yaml)).endpoints[3].rule.clone()
    };
    let configured = rule("{ closed_period: { attribute: month, settle: 5d, ttl: 24h } }");
    let closed_period = configured.closed_period.expect("one");
    assert_eq!(&*closed_period.attribute, "month");
    assert_eq!(
        (closed_period.settle, closed_period.ttl),
        (Duration::from_hours(120), Duration::from_hours(24))
    );
    assert_eq!(configured.ttl, Some(Duration::from_hours(1)));
    assert!(rule("{ ttl: 1h }").closed_period.is_none());
}

#[test]
fn a_listener_may_be_reached_from_elsewhere_only_if_that_is_said() {
    let config = accepted(&with_acme("server: { listen: '0.0.0.0:80', allow_non_loopback: true }\n"));
    assert_eq!(config.server.listen, Listen::Tcp(([0, 0, 0, 0], 80).into()));
    accepted(&with_acme(
        "server: { listen: '[::1]:80', admin: 'unix:/run/a.sock', metrics: '127.0.0.1:0' }\n",
    ));
    accepted(&with_acme("server: { listen: '127.0.0.1:0', admin: '127.0.0.1:0' }\n"));
    let same = with_acme("server: { listen: '0.0.0.0:9090', allow_non_loopback: true }\n");
    assert!(only_fault(&same).message.contains("the same address"));
}

#[test]
fn a_client_limit_is_off_unless_it_is_there() {
    assert!(accepted(&with_acme("")).limits.client.is_none());
    let config = accepted(&with_acme("limits: { client: { rate: 600/m, key: { field: X-Client-Name } } }\n"));
    let client = config.limits.client.expect("a limit");
    assert_eq!(client.rate.interval, Duration::from_millis(100));
    assert_eq!(client.key_field.expect("a field").as_str(), "x-client-name");
}

#[test]
fn the_proxy_is_read_only() {
    let with_methods = |methods: &str| {
        with_acme(&format!(
            "upstream: {{ endpoints: {{ test: {{ path: /test/*, methods: {methods} }} }} }}\n"
        ))
    };
    let config = accepted(&with_methods("[HEAD, GET, HEAD]"));
    let added = config.endpoints.last().expect("the added one");
    assert_eq!(added.endpoint.methods, [Method::HEAD, Method::GET]);
    for methods in ["[POST]", "[CONNECT]", "[get]"] {
        let fault = only_fault(&with_methods(methods));
        assert!(fault.message.contains("the proxy is read-only"), "{methods}: {fault}");
    }
    for key in ["allow_unsafe_methods: true", "max_request_bytes: 1MiB"] {
        let fault = only_fault(&with_acme(&format!("upstream: {{ {key} }}\n")));
        let name = key.split(':').next().expect("a name");
        assert!(
            fault.message.starts_with(&format!("found `{name}`, which was removed; the proxy is read-only")),
            "{fault}"
        );
    }
}

#[test]
fn answers_being_read_may_take_at_least_what_one_may() {
    let config = accepted(&with_acme("upstream: { max_response_bytes: 512MiB }\n"));
    assert_eq!(config.upstream.max_buffered_bytes, 512 << 20);
    let fault =
        only_fault(&with_acme("upstream: { max_response_bytes: 64MiB, max_buffered_bytes: 63MiB }\n"));
    assert!(fault.message.contains("write at least `64.0 MiB`"), "{fault}");
}

#[test]
fn every_changed_key_that_needs_a_restart_is_named_and_no_other() {
    let old = accepted(&with_acme(""));
    let new = accepted(&with_acme(
        "server:
  listen: 127.0.0.1:1
  admin: 127.0.0.1:2
  metrics: 127.0.0.1:3
  listeners: [{ listen: 127.0.0.1:4, tenants: [organizations/acme] }]
  unix_socket: { mode: '0660' }
  drain_delay: 1s
  drain_timeout: 1s
  max_connections: 1
  header_timeout: 1s
  watch: true
  denial_status: 422
cache: { max_bytes: 64MiB }
upstream: { connect_timeout: 1s, ca_file: ca.pem, proxy: 'http://127.0.0.1:5', stale_wait: 1s }
log: { level: warn }
",
    ));
    let mut named = changes_that_need_restart(&old, &new);
    named.sort();
    let expected = [
        "cache.max_bytes",
        "log",
        "server.admin",
        "server.drain_delay",
        "server.drain_timeout",
        "server.header_timeout",
        "server.listen",
        "server.listeners",
        "server.max_connections",
        "server.metrics",
        "server.unix_socket",
        "server.watch",
        "upstream.ca_file",
        "upstream.connect_timeout",
        "upstream.proxy",
    ];
    assert_eq!(named, expected);
    assert!(changes_that_need_restart(&new, &new).is_empty());
}
