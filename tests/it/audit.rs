//! The audit log: a line for who was let in to what and who was not, and nothing in it that is a secret.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use http::Method;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Proxy, SAMPLE_TENANTS, Talkdesk, say_to_file};

struct Audited {
    talkdesk: Talkdesk,
    proxy: Proxy,
    folder: TempDir,
}

impl Audited {
    async fn start(server: &str) -> Self {
        let talkdesk = Talkdesk::samples().await;
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("audit.jsonl");
        let server = server.replace("FOLDER", &folder.path().display().to_string());
        let further = format!("{server}log:\n  audit: {}\n", log.display());
        let proxy = talkdesk.proxy(SAMPLE_TENANTS, &further).await;
        Self { talkdesk, proxy, folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    /// The lines so far, once those that are under way are written.
    fn lines(&self) -> Vec<Value> {
        self.proxy.app.proxy().audit.finish();
        let text = std::fs::read_to_string(self.file()).expect("a log");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON in every line")).collect()
    }

    fn last(&self) -> Value {
        self.lines().pop().expect("a line")
    }
}

#[tokio::test]
async fn a_grant_says_who_saw_what_with_which_credential_and_from_where() {
    let audited = Audited::start("").await;
    let path = "/instances/josephpinetrees/express/invoices?page=1";
    audited.proxy.get_with(path, &[("x-request-id", "first")]).await;
    let lines = audited.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0]["event.name"], "billing_insights_proxy.audit.token_request");
    assert_eq!(
        (&lines[0]["billing_insights_proxy.credential"], &lines[0]["billing_insights_proxy.result"]),
        (&"organizations/acme".into(), &"ok".into())
    );
    let granted = &lines[1];
    for (member, expected) in [
        ("event.name", "billing_insights_proxy.audit.request"),
        ("billing_insights_proxy.decision", "granted"),
        ("billing_insights_proxy.rule", "granted"),
        ("billing_insights_proxy.tenant", "instances/josephpinetrees"),
        ("billing_insights_proxy.endpoint", "invoices"),
        ("billing_insights_proxy.credential", "organizations/acme"),
        ("billing_insights_proxy.source", "upstream"),
        ("billing_insights_proxy.request_id", "first"),
        ("client.address", "127.0.0.1"),
        ("billing_insights_proxy.listener", &audited.proxy.app.addresses().data),
    ] {
        assert_eq!(granted[member], expected, "{member}: {granted}");
    }
    assert_eq!(granted["http.response.status_code"], 200);
    assert!(granted["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{granted}");
    audited.proxy.get(path).await;
    assert_eq!(audited.last()["billing_insights_proxy.source"], "cache");
}

#[tokio::test]
async fn a_denial_names_its_rule() {
    let audited = Audited::start("").await;
    for (path, fields, rule) in [
        ("/instances/initech/express/invoices", &[][..], "reseller_sold"),
        ("/organizations/soylent/express/invoices", &[], "tenant_disabled"),
        ("/organizations/nobody/express/invoices", &[], "unknown_tenant"),
        ("/organizations/acme/express/nothing", &[], "unknown_endpoint"),
        ("/organizations/acme/express/invoices", &[("origin", "https://evil.example")], "origin_not_allowed"),
    ] {
        audited.proxy.get_with(path, fields).await;
        let line = audited.last();
        assert_eq!(
            (&line["billing_insights_proxy.decision"], &line["billing_insights_proxy.rule"]),
            (&"denied".into(), &rule.into()),
            "{line}"
        );
        assert_eq!(line["error.type"], rule, "as in the access log: {line}");
        assert!(
            line.get("billing_insights_proxy.credential").is_none()
                && line.get("billing_insights_proxy.source").is_none(),
            "{line}"
        );
    }
    assert_eq!(audited.lines().len(), 5);
    assert_eq!(audited.talkdesk.counts(), (0, 0));
}

#[tokio::test]
async fn what_was_granted_and_failed_says_so() {
    let audited = Audited::start("").await;
    let down =
        billing_insights_proxy::simulator::FaultKind::Status { status: 500, retry_after: None, body: None };
    let fault = billing_insights_proxy::simulator::Fault::once(
        billing_insights_proxy::simulator::Target::Token,
        down,
    );
    audited.talkdesk.control().inject(fault).expect("a fault");
    audited.proxy.get("/organizations/acme/express/invoices").await;
    let lines = audited.lines();
    assert_eq!(lines[0]["billing_insights_proxy.result"], "unavailable");
    assert_eq!(
        (&lines[1]["billing_insights_proxy.rule"], &lines[1]["error.type"]),
        (&"granted".into(), &"token_unavailable".into())
    );
}

#[tokio::test]
async fn a_purge_and_who_was_not_let_in_to_the_admin_plane_are_there() {
    let audited = Audited::start("").await;
    audited.proxy.get("/organizations/acme/express/invoices").await;
    let purge = "/api/cache?tenant=organizations/acme&path_prefix=/express/invoices%3Fpage=secret-value";
    audited.proxy.admin(Method::DELETE, purge).await;
    let line = audited.last();
    assert_eq!(
        (&line["event.name"], &line["billing_insights_proxy.decision"]),
        (&"billing_insights_proxy.audit.purge".into(), &"granted".into())
    );
    assert_eq!(
        (&line["billing_insights_proxy.tenant"], &line["billing_insights_proxy.path_prefix"]),
        (&"organizations/acme".into(), &"/express/invoices".into())
    );
    assert_eq!(
        (&line["billing_insights_proxy.entries"], &line["client.address"]),
        (&0.into(), &"127.0.0.1".into())
    );
    assert_eq!(line["billing_insights_proxy.listener"], audited.proxy.app.addresses().admin.as_str());
    audited.proxy.admin(Method::DELETE, "/api/cache").await;
    assert_eq!(audited.last()["billing_insights_proxy.entries"], 1);
    audited.proxy.admin(Method::DELETE, "/api/cache?tenant=organizations/nobody").await;
    assert_eq!(audited.last()["billing_insights_proxy.decision"], "denied");
    let admin = audited.proxy.app.addresses().admin.clone();
    audited.proxy.get_at(&admin, "/metrics", &[("origin", "null")]).await;
    let line = audited.last();
    assert_eq!(
        (&line["event.name"], &line["billing_insights_proxy.rule"]),
        (&"billing_insights_proxy.audit.admin_request".into(), &"origin_not_allowed".into())
    );
}

#[tokio::test]
async fn no_value_of_a_query_and_no_secret_is_in_it() {
    let audited = Audited::start("").await;
    for path in [
        "/organizations/acme/express/invoices?filter=account_id+eq+'5ea75fe7aa224700012eae40'&q=canary-value",
        "/instances/josephpinetrees/express/invoices?canary-name=canary-value",
        "/canary-path/express/invoices",
        "/organizations/canary-name/express/invoices",
    ] {
        audited.proxy.get_with(path, &[("authorization", "Bearer canary"), ("cookie", "canary")]).await;
    }
    audited.lines();
    let text = std::fs::read_to_string(audited.file()).expect("a log");
    assert!(!text.contains("canary") && !text.contains("eae40"), "{text}");
    for credential in audited.talkdesk.simulator.credentials() {
        let secret = std::fs::read_to_string(audited.talkdesk.folder.path().join(credential.file_name()));
        assert!(!text.contains(secret.expect("a secret").trim()));
    }
}

#[tokio::test]
async fn a_client_at_a_unix_socket_is_its_user() {
    let server =
        "server:\n  listeners:\n    - { listen: 'unix:FOLDER/proxy.sock', tenants: [organizations/acme] }\n";
    let audited = Audited::start(server).await;
    let request = b"GET /instances/globex/express/products HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let socket = audited.folder.path().join("proxy.sock");
    assert!(say_to_file(&socket, request).await.contains("unknown_tenant"));
    let line = audited.last();
    assert_eq!(line["billing_insights_proxy.client.user_id"], rustix::process::getuid().as_raw());
    assert_eq!(line["billing_insights_proxy.listener"], format!("unix:{}", socket.display()));
    assert!(line.get("client.address").is_none(), "{line}");
}

#[tokio::test]
async fn the_last_lines_are_there_when_the_proxy_has_stopped() {
    let Audited { proxy, folder, talkdesk: _talkdesk } = Audited::start("").await;
    proxy.get("/instances/initech/express/invoices").await;
    proxy.app.stop(std::future::ready(())).await;
    let text = std::fs::read_to_string(folder.path().join("audit.jsonl")).expect("a log");
    assert!(text.ends_with("}\n") && text.contains("reseller_sold"), "{text}");
}

#[tokio::test]
async fn a_log_that_is_cut_off_at_its_beginning_goes_on_from_there() {
    let audited = Audited::start("").await;
    audited.proxy.get("/instances/initech/express/invoices").await;
    audited.lines();
    let file = std::fs::OpenOptions::new().write(true).open(audited.file()).expect("a log");
    file.set_len(0).expect("cut off");
    audited.proxy.get("/instances/initech/express/invoices").await;
    assert_eq!(audited.lines().len(), 1, "no hole of zeros before it");
}

#[tokio::test]
async fn a_log_that_can_not_be_written_stops_the_start() {
    let talkdesk = Talkdesk::samples().await;
    let yaml = format!(
        "{SAMPLE_TENANTS}server: {{ listen: '127.0.0.1:0', admin: '127.0.0.1:0' }}\nlog: {{ access: false, audit: nowhere/audit.jsonl }}\n"
    );
    let config = crate::support::configuration(&yaml, talkdesk.folder.path());
    let clock = billing_insights_proxy::clock::Clock::System;
    let refused = billing_insights_proxy::app::App::start(config, clock).await.err().expect("refused");
    let words = refused.to_string();
    assert!(words.contains("nowhere/audit.jsonl") && words.contains("log.audit"), "{words}");
}

/// The members that a page has a row for.
fn members(page: &str) -> BTreeSet<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    let text = std::fs::read_to_string(page).expect("a page");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    rows.map(|(member, _)| member.to_owned()).collect()
}

#[tokio::test]
async fn what_both_logs_have_has_one_name_and_each_member_has_its_row() {
    let audited = Audited::start("").await;
    audited.proxy.get("/instances/josephpinetrees/express/invoices").await;
    audited.proxy.get("/instances/initech/express/invoices").await;
    audited.proxy.admin(Method::DELETE, "/api/cache?tenant=organizations/acme&path_prefix=/express").await;
    audited.proxy.admin(Method::POST, "/api/reload").await;
    let found: BTreeSet<String> = audited
        .lines()
        .iter()
        .flat_map(|line| line.as_object().expect("an object").keys().cloned())
        .collect();
    let (of_audit, of_access) = (members("audit.md"), members("logs.md"));
    let no_row: Vec<_> = found.iter().filter(|member| !of_audit.contains(*member)).collect();
    assert!(no_row.is_empty(), "docs/audit.md has no row for {no_row:?}");
    let both = [
        "timestamp",
        "event.name",
        "error.type",
        "http.response.status_code",
        "client.address",
        "client.port",
        "billing_insights_proxy.tenant",
        "billing_insights_proxy.endpoint",
        "billing_insights_proxy.listener",
        "billing_insights_proxy.request_id",
    ];
    for member in both {
        assert!(found.contains(member) && of_access.contains(member), "{member}: {found:?}");
    }
    let bare: Vec<_> = found.iter().filter(|member| !of_access.contains(*member)).collect();
    assert!(bare.iter().all(|member| member.starts_with("billing_insights_proxy.")), "{bare:?}");
}
