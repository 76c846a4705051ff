//! More data listeners, each for some tenants only; the files of Unix sockets; and what other machines can reach.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use http::{Method, StatusCode};
use rstest::rstest;

use crate::support::raw::say_to;
use crate::support::{Proxy, SAMPLE_TENANTS, Talkdesk, eventually, say_to_file};

/// One listener for the Organization alone, one for an Instance with a default.
const LISTENERS: &str = "server:\n  default_tenant: organizations/northwind\n  listeners:\n    - { listen: '127.0.0.1:0', tenants: \
                         [organizations/acme] }\n    - { listen: '127.0.0.1:0', tenants: [instances/globex, instances/initech], default_tenant: \
                         instances/globex }\n";

const PRODUCTS: &str = "/express/products";

async fn sample_proxy(further: &str) -> (Talkdesk, Proxy) {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, further).await;
    (talkdesk, proxy)
}

#[tokio::test]
async fn at_a_narrow_listener_its_tenants_are_served() {
    let (_talkdesk, proxy) = sample_proxy(LISTENERS).await;
    let [acme, globex] = &*proxy.app.addresses().listeners.clone() else { panic!("two listeners") };
    let reply = proxy.get_at(acme, "/organizations/acme/express/products", &[]).await;
    assert_eq!((reply.status, reply.field("x-tenant")), (StatusCode::OK, "organizations/acme"));
    let reply = proxy.get_at(acme, PRODUCTS, &[("x-tenant", "organizations/acme")]).await;
    assert_eq!(reply.status, StatusCode::OK);
    let reply = proxy.get_at(globex, PRODUCTS, &[]).await;
    assert_eq!((reply.status, reply.field("x-tenant")), (StatusCode::OK, "instances/globex"));
    // The entitlement is asked there too.
    proxy
        .get_at(globex, "/instances/initech/express/products", &[])
        .await
        .assert_problem(403, "reseller_sold");
    proxy.get_at(acme, PRODUCTS, &[]).await.assert_problem(400, "tenant_missing");
}

#[rstest]
#[case::another_organization("organizations/northwind")]
#[case::another_instance("instances/globex")]
#[case::an_instance_under_a_listed_organization("instances/josephpinetrees")]
#[case::one_that_is_switched_off("organizations/soylent")]
#[tokio::test]
async fn at_a_narrow_listener_others_do_not_exist(
    #[case] other: &str,
    #[values(false, true)] in_field: bool,
) {
    let (talkdesk, proxy) = sample_proxy(LISTENERS).await;
    let acme = proxy.app.addresses().listeners[0].clone();
    let ask = async |name: &str| {
        let id = [("x-request-id", "same")];
        if in_field {
            proxy.get_at(&acme, PRODUCTS, &[("x-tenant", name), id[0]]).await
        } else {
            proxy.get_at(&acme, &format!("/{name}{PRODUCTS}"), &id).await
        }
    };
    // What is in memory is not shown there either.
    proxy.get(&format!("/{other}{PRODUCTS}")).await;
    let before = talkdesk.counts();
    let reply = ask(other).await;
    reply.assert_problem(404, "unknown_tenant");
    assert!(!reply.fields.contains_key("x-tenant"));
    let (kind, _) = other.split_once('/').expect("a name");
    let nobody = ask(&format!("{kind}/nobody")).await;
    let name = other.rsplit('/').next().expect("a name");
    assert_eq!(nobody.text().replace("/nobody", &format!("/{name}")), reply.text(), "the very same words");
    let names = |reply: &crate::support::Reply| {
        let mut names: Vec<_> = reply.fields.keys().map(ToString::to_string).collect();
        names.sort();
        names
    };
    assert_eq!(names(&nobody), names(&reply));
    assert_eq!(talkdesk.counts(), before);
}

#[tokio::test]
async fn the_default_of_one_listener_is_not_that_of_another() {
    let (_talkdesk, proxy) = sample_proxy(LISTENERS).await;
    assert_eq!(proxy.get(PRODUCTS).await.field("x-tenant"), "organizations/northwind");
    let acme = proxy.app.addresses().listeners[0].clone();
    proxy.get_at(&acme, PRODUCTS, &[]).await.assert_problem(400, "tenant_missing");
}

#[tokio::test]
async fn a_narrow_listener_looks_at_host_and_origin_too() {
    let (talkdesk, proxy) = sample_proxy(LISTENERS).await;
    let acme = proxy.app.addresses().listeners[0].clone();
    let path = "/organizations/acme/express/products";
    let rebound = format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert!(say_to(&acme, rebound.as_bytes()).await.contains("host_not_allowed"));
    let fields = [("origin", "https://evil.example")];
    proxy.get_at(&acme, path, &fields).await.assert_problem(403, "origin_not_allowed");
    assert_eq!(talkdesk.counts(), (0, 0));
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

const GET_OVER_FILE: &[u8] =
    b"GET /organizations/acme/express/products HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// A listener at a Unix socket, with what `server.unix_socket` says.
fn at_socket(path: &Path, access: &str) -> String {
    format!(
        "server:\n  listeners:\n    - {{ listen: 'unix:{}', tenants: [organizations/acme] }}\n{access}",
        path.display()
    )
}

#[rstest]
#[case::as_shipped("", 0o600)]
#[case::for_a_group("  unix_socket: { mode: \"0660\", group: 12345 }\n", 0o660)]
#[tokio::test]
async fn a_socket_has_the_mode_and_group_that_are_configured(#[case] access: &str, #[case] expected: u32) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("proxy.sock");
    let is_root = rustix::process::geteuid().is_root();
    let own_group = rustix::process::getegid().as_raw();
    // Only root may give a file to any group.
    let group = if is_root { 12345 } else { own_group };
    let access = access.replace("12345", &group.to_string());
    let (_talkdesk, proxy) = sample_proxy(&at_socket(&path, &access)).await;
    assert_eq!(mode(&path), expected);
    let owner = std::os::unix::fs::MetadataExt::gid(&std::fs::metadata(&path).expect("a file"));
    assert_eq!(owner, if access.is_empty() { own_group } else { group });
    assert!(say_to_file(&path, GET_OVER_FILE).await.starts_with("HTTP/1.1 200 "));
    proxy.app.stop(std::future::ready(())).await;
    eventually("the file goes with its listener", async || (!path.exists()).then_some(())).await;
}

#[tokio::test]
async fn a_socket_that_was_left_behind_is_replaced_and_one_that_is_used_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("proxy.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    assert!(path.exists(), "left behind");
    let (talkdesk, proxy) = sample_proxy(&at_socket(&path, "")).await;
    assert!(say_to_file(&path, GET_OVER_FILE).await.starts_with("HTTP/1.1 200 "));
    let yaml =
        format!("{SAMPLE_TENANTS}server:\n  listen: 'unix:{}'\n  admin: 127.0.0.1:0\n", path.display());
    let config = crate::support::configuration(&yaml, talkdesk.folder.path());
    let clock = billing_insights_proxy::clock::Clock::System;
    let refused = billing_insights_proxy::app::App::start(config, clock).await.err().expect("it is in use");
    assert!(refused.to_string().contains("another program has it"), "{refused}");
    assert!(say_to_file(&path, GET_OVER_FILE).await.starts_with("HTTP/1.1 200 "), "the first goes on");
    // A file that somebody else has put there meanwhile is theirs.
    std::fs::remove_file(&path).expect("removed");
    std::fs::write(&path, "theirs").expect("written");
    proxy.app.stop(std::future::ready(())).await;
    assert_eq!(std::fs::read_to_string(&path).expect("text"), "theirs");
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("precious");
    std::fs::write(&path, "data").expect("written");
    let yaml =
        format!("{SAMPLE_TENANTS}server:\n  listen: 'unix:{}'\n  admin: 127.0.0.1:0\n", path.display());
    let config = crate::support::configuration(&yaml, folder.path());
    let clock = billing_insights_proxy::clock::Clock::System;
    assert!(billing_insights_proxy::app::App::start(config, clock).await.is_err());
    assert_eq!(std::fs::read_to_string(&path).expect("text"), "data");
}

#[tokio::test]
async fn the_status_page_says_what_other_machines_can_reach() {
    let (_talkdesk, proxy) = sample_proxy("").await;
    let status = proxy.admin(Method::GET, "/api/status").await.json();
    assert_eq!(status["exposed"], serde_json::json!([]));
    let reachable = "server:\n  allow_non_loopback: true\n  metrics: '0.0.0.0:0'\n";
    let (_talkdesk, proxy) = sample_proxy(reachable).await;
    let status = proxy.admin(Method::GET, "/api/status").await.json();
    let exposed = status["exposed"][0].as_str().expect("words");
    assert!(exposed.starts_with("server.metrics is 0.0.0.0:0, which other machines can reach"), "{exposed}");
}
