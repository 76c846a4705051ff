//! Further listeners, each for some tenants, and the files of Unix sockets.

use rstest::rstest;

use super::{accepted, only_fault, with_acme};
use crate::config::{Listen, UnixSocket};

/// The Organization discovers its accounts or not, and lists one.
fn with_listener(listener: &str, discovers: bool) -> String {
    with_acme(&format!(
        "    discover_accounts: {discovers}\n    accounts: [{{ id: 5ea75fe7aa224700012eae40, name: pine }}]\n\
         server:\n  listeners:\n    - {listener}\n"
    ))
}

#[test]
fn a_listener_has_tenants_and_a_default_of_its_own() {
    let config = accepted(&with_listener(
        "{ listen: 'unix:/run/pine.sock', tenants: [instances/pine, organizations/acme], default_tenant: instances/pine }",
        false,
    ));
    let [listener] = &*config.server.listeners else { panic!("one listener") };
    assert_eq!(listener.listen, Listen::Unix("/run/pine.sock".into()));
    assert_eq!(listener.tenants.len(), 2);
    assert_eq!(listener.default_tenant.as_ref().map(ToString::to_string).as_deref(), Some("instances/pine"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[rstest]
#[case::no_address("{ tenants: [instances/pine] }", "listeners[0].listen", "write an address")]
#[case::no_tenants("{ listen: '127.0.0.1:81' }", "listeners[0].tenants", "write the tenants")]
#[case::nobody(
    "{ listen: '127.0.0.1:81', tenants: [] }",
    "listeners[0].tenants",
    "found an empty list; write the tenants"
)]
#[case::no_name(
    "{ listen: '127.0.0.1:81', tenants: [acme] }",
    "listeners[0].tenants[0]",
    "organizations/{id}"
)]
#[case::a_slip(
    "{ listen: '127.0.0.1:81', tenants: [organizations/acmee] }",
    "listeners[0].tenants[0]",
    "write `organizations/acme`"
)]
#[case::unknown("{ listen: '127.0.0.1:81', tenants: [instances/oak] }", "listeners[0].tenants[0]", "oak")]
#[case::a_default_of_another(
    "{ listen: '127.0.0.1:81', tenants: [instances/pine], default_tenant: organizations/acme }",
    "listeners[0].default_tenant",
    "write one of its `tenants`"
)]
#[case::reachable_from_elsewhere(
    "{ listen: '0.0.0.0:81', tenants: [instances/pine] }",
    "listeners[0].listen",
    "allow_non_loopback"
)]
#[case::at_the_address_of_another(
    "{ listen: '127.0.0.1:9090', tenants: [instances/pine] }",
    "listeners[0].listen",
    "the same address for `admin`"
)]
#[case::a_slip_in_a_key(
    "{ listen: '127.0.0.1:81', tenants: [instances/pine], default: x }",
    "listeners[0].default",
    "unknown key"
)]
fn a_listener_that_can_not_be_meant_is_refused(
    #[case] listener: &str,
    #[case] path: &str,
    #[case] fragment: &str,
) {
    let fault = only_fault(&with_listener(listener, false));
    assert_eq!(fault.path, format!("server.{path}"));
    assert!(fault.message.contains(fragment), "{fault}");
}

#[test]
fn an_account_that_may_be_learned_is_a_warning_and_an_organization_is_not() {
    let learned = accepted(&with_listener("{ listen: '127.0.0.1:81', tenants: [instances/oakwood] }", true));
    assert_eq!(learned.warnings.len(), 1);
    assert_eq!(learned.warnings[0].path, "server.listeners[0].tenants[0]");
    only_fault(&with_listener("{ listen: '127.0.0.1:81', tenants: [organizations/oakwood] }", true));
}

#[test]
fn the_file_of_a_unix_socket_is_its_owners_unless_that_is_said() {
    assert_eq!(accepted(&with_acme("")).server.unix_socket, UnixSocket { mode: 0o600, group: None });
    let config = accepted(&with_acme("server: { unix_socket: { mode: 0660, group: root } }\n"));
    assert_eq!(config.server.unix_socket, UnixSocket { mode: 0o660, group: Some(0) });
    for (socket, path) in [
        ("{ mode: 9 }", "mode"),
        ("{ mode: '0060' }", "mode"),
        ("{ group: no-such-group-here }", "group"),
        ("{ owner: root }", "owner"),
    ] {
        let fault = only_fault(&with_acme(&format!("server: {{ unix_socket: {socket} }}\n")));
        assert_eq!(fault.path, format!("server.unix_socket.{path}"));
    }
}

#[test]
fn what_other_machines_can_reach_is_known() {
    let config = accepted(&with_acme(
        "server: { listen: 'unix:/run/a.sock', metrics: '10.0.0.1:9091', allow_non_loopback: true, listeners: \
         [{ listen: '[::]:81', tenants: [organizations/acme] }] }\n",
    ));
    let exposed = config.server.exposed();
    assert_eq!(exposed.len(), 2, "{exposed:?}");
    assert!(exposed[0].starts_with("server.metrics is 10.0.0.1:9091"), "{exposed:?}");
    assert!(exposed[1].starts_with("server.listeners[0].listen is [::]:81"), "{exposed:?}");
}
