//! Tenants, their sellers and their credentials.

use super::{accepted, only_fault, refused, with_acme};
use crate::config::Config;
use crate::domain::tenant::{Instance, Seller, Tenant, TenantKind};

const ACCOUNT: &str = "5ea75fe7aa224700012eae40";
const OTHER: &str = "5ea75fe7aa224700012eae41";
const DIRECT: &str = "client_id: x, client_secret: { file: f }";

fn tenant<'a>(config: &'a Config, name: &str) -> &'a Tenant {
    config.tenants.find(&name.parse().expect("a name")).expect("a tenant")
}

fn instance<'a>(config: &'a Config, name: &str) -> &'a Instance {
    match &tenant(config, name).kind {
        TenantKind::Instance(instance) => instance,
        TenantKind::Organization(_) => panic!("{name} is an Instance"),
    }
}

/// Two Organizations, the first with a listed account, and one entry of `instances`.
fn with_instance(entry: &str) -> String {
    format!(
        "organizations:
  - id: acme
    name: Acme Partners
    talkdesk_id: 6011f4e2c3a1b20001d4e5f6
    credential: {{ account: acme, client_id: abc, client_secret: {{ file: none }} }}
    accounts: [{{ id: {ACCOUNT}, name: hooli }}]
  - id: umbrella
    region: eu
    credential: {{ account: umbrella, client_id: abc, client_secret: {{ file: none }} }}
instances:
  - {entry}
"
    )
}

#[test]
fn an_organization_that_is_nearly_named_is_told_its_spelling() {
    for (written, fragment) in [
        ("talkdesk", "write `Talkdesk`"),
        ("Talkdsk", "write `Talkdesk`"),
        ("TalkdeskInternal", "write `Talkdesk Internal`"),
        ("talkdesk-internal", "write `Talkdesk Internal`"),
        ("Acme", "write `acme`"),
        ("acmee", "write `acme`"),
        ("Acme Partners", "the `name` of an organization; write its id, `acme`"),
        ("acme-partners", "the `name` of an organization; write its id, `acme`"),
        ("6011f4e2c3a1b20001d4e5f6", "the `talkdesk_id` of an organization; write its id, `acme`"),
        ("umbrela", "write `umbrella`"),
    ] {
        let entry = format!("{{ name: globex, account_id: {OTHER}, organization: {written} }}");
        let fault = only_fault(&with_instance(&entry));
        assert_eq!((fault.line, fault.path.as_str()), (11, "instances[0].organization"));
        assert!(fault.message.contains(fragment), "{written}: {fault}");
    }
    let missing = only_fault(&with_instance("{ name: globex }"));
    assert_eq!(missing.path, "instances[0].organization");
    assert!(missing.message.contains("`Talkdesk Internal`"), "{missing}");
}

#[test]
fn a_seller_is_configured_or_direct_or_a_reseller() {
    let seller = |organization: &str| {
        let entry = format!("{{ name: globex, account_id: {OTHER}, organization: {organization} }}");
        let config = accepted(&with_instance(&entry));
        let seller = instance(&config, "instances/globex").seller.clone();
        (seller, config)
    };
    assert!(
        matches!(seller("acme").0, Seller::Configured(organization) if organization.id.as_str() == "acme")
    );
    assert!(matches!(seller("Talkdesk Internal").0, Seller::Talkdesk(_)));
    let (reseller, config) = seller("Some Reseller");
    assert!(matches!(reseller, Seller::Reseller(name) if &*name == "Some Reseller"));
    assert!(config.warnings.iter().any(|warning| warning.message.contains("reseller_sold")));
}

#[test]
fn an_instance_under_an_organization_is_asked_for_with_its_client() {
    for (entry, path, fragment) in [
        ("{ name: globex, organization: acme }".to_owned(), "account_id", "found no `account_id`"),
        (
            format!(
                "{{ name: globex, organization: acme, account_id: {OTHER}, credential: {{ {DIRECT} }} }}"
            ),
            "credential",
            "take it out",
        ),
        (
            format!("{{ name: globex, organization: umbrella, account_id: {OTHER}, region: us }}"),
            "region",
            "is in `eu`",
        ),
        (
            format!("{{ name: hooli, organization: Talkdesk, account_id: {ACCOUNT} }}"),
            "name",
            "`organization: acme`",
        ),
        (format!("{{ name: hooli, organization: acme, account_id: {OTHER} }}"), "account_id", "another id"),
        (format!("{{ name: globex, organization: acme, account_id: {ACCOUNT} }}"), "account_id", "`hooli`"),
    ] {
        let fault = only_fault(&with_instance(&entry));
        assert_eq!(fault.path, format!("instances[0].{path}"), "{fault}");
        assert!(fault.message.contains(fragment), "{fault}");
    }
}

#[test]
fn an_entry_adds_to_a_listed_account() {
    let config = accepted(&with_instance("{ name: hooli, organization: acme, plan: elite, enabled: false }"));
    assert_eq!(config.tenants.iter().count(), 3);
    assert!(!tenant(&config, "instances/hooli").enabled);
    let hooli = instance(&config, "instances/hooli");
    assert_eq!(hooli.plan.as_deref(), Some("elite"));
    assert_eq!(hooli.account_id.expect("the listed one").to_string(), ACCOUNT);
}

#[test]
fn talkdesk_is_no_organization_of_ours() {
    for id in ["talkdesk", "talkdesk-internal", "talkdesk_internal"] {
        let source = format!("organizations: [{{ id: {id}, {} }}]\n", super::CREDENTIAL);
        assert!(only_fault(&source).message.contains("a client each"), "{id}");
    }
    let named = format!("organizations: [{{ id: td, name: Talkdesk Internal, {} }}]\n", super::CREDENTIAL);
    assert_eq!(only_fault(&named).path, "organizations[0].name");
}

#[test]
fn nothing_is_there_twice() {
    let source = format!(
        "organizations:
  - {{ id: a, name: One, {credential}, accounts: [{{ id: {ACCOUNT}, name: x }}, {{ id: {OTHER}, name: x }}] }}
  - {{ id: a, name: One, {credential}, accounts: [{{ id: {ACCOUNT}, name: y }}] }}
",
        credential = super::CREDENTIAL
    );
    let paths: Vec<_> = refused(&source).into_iter().map(|fault| fault.path).collect();
    let mut expected = [
        "organizations[0].accounts[1].name",
        "organizations[1].id",
        "organizations[1].name",
        "organizations[1].credential.client_id",
        "organizations[1].accounts[0].id",
    ];
    expected.sort_unstable();
    let mut sorted = paths;
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
}

#[test]
fn a_credential_has_one_proof() {
    for (credential, path, fragment) in [
        ("client_id: x", "client_secret", "found no `client_secret`"),
        ("client_id: x, client_secret: { file: a }, private_key: { file: b }", "private_key", "found both"),
        ("client_id: x, client_secret: { file: a, env: B }", "client_secret", "one of `file` and `env`"),
        ("client_id: x, client_secret: {}", "client_secret", "one of `file` and `env`"),
        ("client_secret: { file: a }", "client_id", "found no `client_id`"),
        (
            "client_id: x, client_secret: { file: a }, algorithm: ES256",
            "algorithm",
            "belongs to `private_key`",
        ),
        (
            "client_id: x, private_key: { file: a }, basic_encoding: plain",
            "basic_encoding",
            "`client_secret`",
        ),
        ("client_id: x, private_key: { file: a }, algorithm: none", "algorithm", "write `ES256`"),
        ("client_id: x, client_secret: { file: a }, scopes: []", "scopes", "at least one scope"),
        ("client_id: x, client_secret: { file: a }, scopes: ['a b']", "scopes[0]", "one scope"),
    ] {
        let entry = format!("{{ name: globex, organization: Talkdesk, credential: {{ {credential} }} }}");
        let fault = only_fault(&with_instance(&entry));
        assert_eq!(fault.path, format!("instances[0].credential.{path}"), "{fault}");
        assert!(fault.message.contains(fragment), "{fault}");
    }
}

#[test]
fn an_id_of_digits_is_kept_as_it_is_written() {
    let source = "\
# é ü 漢
organizations:
  - id: 5e10
    credential: { account: 007, client_id: 0x1F, client_secret: { file: 0123 } }
    accounts: [{ id: 600000000000000000000000, name: 1_0 }]
";
    let config = accepted(source);
    assert_eq!(config.credentials[0].credential.client_id.as_str(), "0x1F");
    assert_eq!(&*config.credentials[0].credential.token_url, "https://007.talkdeskid.com/oauth/token");
    tenant(&config, "organizations/5e10");
    let account = instance(&config, "instances/1_0").account_id.expect("an id");
    assert_eq!(account.to_string(), "600000000000000000000000");
    let missing = config.credentials[0].secret.as_ref().expect_err("no file").to_string();
    assert!(missing.starts_with("file /nowhere/0123"), "{missing}");
}

#[test]
fn a_client_belongs_to_one_tenant() {
    let entry = "{ name: globex, organization: Talkdesk, credential: { account: acme, client_id: abc, \
                 client_secret: { file: f } } }";
    let fault = only_fault(&with_instance(entry));
    assert_eq!(fault.path, "instances[0].credential.client_id");
    assert!(fault.message.contains("organizations/acme has in line 5"), "{fault}");
}

#[test]
fn addresses_are_those_of_the_region() {
    let source = with_acme(&format!(
        "  - id: second
    region: eu
    credential: {{ account: second, client_id: abc, client_secret: {{ file: f }} }}
instances:
  - {{ name: globex, organization: Talkdesk, credential: {{ {DIRECT} }} }}
upstream:
  region: us
  api_url: http://localhost:9000
  token_url: http://localhost:9000/{{account}}/token
"
    ));
    let config = accepted(&source);
    let addresses: Vec<_> = config
        .credentials
        .iter()
        .map(|one| (&*one.credential.api_origin, &*one.credential.token_url))
        .collect();
    assert_eq!(
        addresses,
        [
            ("http://localhost:9000", "http://localhost:9000/acme/token"),
            ("https://api.talkdeskapp.eu", "https://second.talkdeskid.eu/oauth/token"),
            ("http://localhost:9000", "http://localhost:9000/globex/token"),
        ]
    );
    let nameless =
        "organizations: [{ id: acme, credential: { client_id: a, client_secret: { file: f } } }]\n";
    assert_eq!(only_fault(nameless).path, "organizations[0].credential.account");
}

#[test]
fn what_will_be_refused_is_a_warning() {
    let source = "\
entitlement: { eligible_plans: [elite] }
server: { default_tenant: instances/unknown }
organizations: [{ id: acme }]
instances:
  - { name: a, organization: Talkdesk }
  - { name: b, organization: Talkdesk, credential: { client_id: x, client_secret: { file: f } } }
";
    let warnings = accepted(source).warnings;
    let found: Vec<_> = warnings.iter().map(|warning| (warning.line, warning.path.as_str())).collect();
    assert_eq!(
        found,
        [
            (2, "server.default_tenant"),
            (3, "organizations[0]"),
            (5, "instances[0].name"),
            (6, "instances[1].name")
        ]
    );
    assert!(warnings[3].message.contains("plan_not_eligible"));
    assert!(warnings[0].render("c.yaml").starts_with("c.yaml:2:27: warning: server.default_tenant: "));
}

#[cfg(unix)]
#[test]
fn a_secret_that_others_can_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("none");
    std::fs::write(&file, "secret").expect("written");
    for (mode, count) in [(0o600, 0), (0o640, 1), (0o604, 1)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("a mode");
        let environment = crate::config::Environment::empty();
        let config = crate::config::parse(&with_acme(""), "c.yaml", directory.path(), &environment);
        assert_eq!(config.expect("a configuration").warnings.len(), count, "{mode:o}");
    }
}
