//! Faults are told with their place, and all at once.

use std::path::Path;

use super::{only_fault, read, refused, with_acme};
use crate::config::{Environment, load};

/// What is appended to four lines of tenants, the place of its only fault, and a part of the message.
const FAULTS: &[(&str, &str, &str)] = &[
    ("server:\n  lisen: 1\n", "6:3 server.lisen", "found the unknown key `lisen`; write `listen`"),
    ("servr:\n  listen: 1\n", "5:1 servr", "write `server`"),
    ("server:\n  listen: 8080\n", "6:11 server.listen", "found `8080`; write an address and port"),
    ("server: { listen: '127.0.0.1:1', listen: x }\n", "5:34 server.listen", "a second time"),
    ("server:\n  watch: maybe\n", "6:10 server.watch", "write `true` or `false`"),
    ("server:\n  protocols: []\n", "6:3 server.protocols", "unknown key"),
    ("log:\n  journal: /x\n", "6:3 log.journal", "unknown key"),
    ("upstream:\n  follow_redirects: true\n", "6:3 upstream.follow_redirects", "unknown key"),
    (
        "cache:\n  endpoints:\n    invoices: { closed_period: { settle: 5d, ttl: 24h } }\n",
        "7:32 cache.endpoints.invoices.closed_period.attribute",
        "found no `attribute`; write the attribute whose upper bound in `filter` ends a period, such as `month` or `date`",
    ),
    (
        "cache:\n  endpoints:\n    invoices: { closed_period: { attribute: date, ttl: 24h } }\n",
        "7:32 cache.endpoints.invoices.closed_period.settle",
        "as `5d`",
    ),
    (
        "cache:\n  endpoints:\n    invoices: { closed_period: { attribute: date, settle: 5d } }\n",
        "7:32 cache.endpoints.invoices.closed_period.ttl",
        "as `24h`",
    ),
    (
        "cache:\n  endpoints:\n    invoices: { closed_period: { attribute: a=b, settle: 5d, ttl: 24h } }\n",
        "7:45 cache.endpoints.invoices.closed_period.attribute",
        "found `a=b`; write the bare name",
    ),
    (
        "cache:\n  endpoints:\n    invoices: { closed_period: { attribute: date, settle: 5, ttl: 24h } }\n",
        "7:59 cache.endpoints.invoices.closed_period.settle",
        "its unit",
    ),
    (
        "cache:\n  endpoints:\n    invoices: { closed_period: { attribute: date, settle: 5d, ttl: 0s } }\n",
        "7:68 cache.endpoints.invoices.closed_period.ttl",
        "more than zero",
    ),
    (
        "cache:\n  endpoints:\n    invoices: { closed_period: { attribute: date, settle: 5d, ttl: 1h, end: x } }\n",
        "7:72 cache.endpoints.invoices.closed_period.end",
        "unknown key",
    ),
    (
        "cache:\n  endpoints:\n    invoices: { closed_period: 24h }\n",
        "7:32 cache.endpoints.invoices.closed_period",
        "write a mapping",
    ),
    (
        "upstream:\n  endpoints: { r: { path: /r } }\ncache:\n  endpoints:\n    r: { closed_period: { attribute: date, settle: 5d, ttl: 1h } }\n",
        "9:25 cache.endpoints.r.closed_period",
        "found no `ttl` beside it",
    ),
    ("cache:\n  endpoints:\n    invoces: {}\n", "7:5 cache.endpoints.invoces", "write `invoices`"),
    ("cache:\n  endpoints:\n    invoices:\n", "7:13 cache.endpoints.invoices", "found nothing; write `{}`"),
    ("cache:\n  endpoints:\n    invoices: { ttl: 10 }\n", "7:22 cache.endpoints.invoices.ttl", "its unit"),
    (
        "cache:\n  endpoints:\n    invoices: { statuses: [200, 404] }\n",
        "7:33 cache.endpoints.invoices.statuses[1]",
        "an error is never stored",
    ),
    (
        "cache:\n  endpoints:\n    invoices: { override: [no-stor] }\n",
        "7:28 cache.endpoints.invoices.override[0]",
        "write one of: no-store",
    ),
    ("cache:\n  collapse: yes\n", "6:13 cache.collapse", "found `yes`; write `true` or `false`"),
    ("cache:\n  max_bytes: 10 parsecs\n", "6:14 cache.max_bytes", "64MiB"),
    ("cache: [1]\n", "5:8 cache", "found a list; write a mapping"),
    ("cache:\n  max_entry_bytes: 33MiB\n  max_bytes: 1GiB\n", "6:20 cache.max_entry_bytes", "not taken"),
    ("cache:\n  max_bytes: 16MiB\n", "6:14 cache.max_bytes", "a quarter"),
    ("limits:\n  token: { rate: 0/s }\n", "6:18 limits.token.rate", "`10/s`"),
    ("limits:\n  token: { burst: 0 }\n", "6:19 limits.token.burst", "found `0`; write a whole number"),
    ("limits:\n  client: { burst: 5 }\n", "6:11 limits.client.rate", "found no `rate`"),
    ("upstream:\n  request_timeout: 0s\n", "6:20 upstream.request_timeout", "more than zero"),
    ("upstream:\n  region: uk\n", "6:11 upstream.region", "it must be one of us, eu, ca, au"),
    ("upstream:\n  api_url: http://api.example\n", "6:12 upstream.api_url", "write `https://`"),
    ("upstream:\n  api_url: https://api.example/v1\n", "6:12 upstream.api_url", "scheme and host alone"),
    (
        "upstream:\n  account_parameter: account\n",
        "6:3 upstream.account_parameter",
        "write `account_filter: \"account_id eq '{account_id}'\"`",
    ),
    (
        "upstream:\n  account_filter: account_id eq '5ea75fe7aa224700012eae40'\n",
        "6:19 upstream.account_filter",
        "with `{account_id}` as a whole value",
    ),
    (
        "upstream:\n  account_filter: account_id eq '{account_id}\n",
        "6:19 upstream.account_filter",
        "the quote is not closed",
    ),
    ("server:\n  denial_status: 401\n", "6:18 server.denial_status", "write `403` or `422`"),
    ("server:\n  denial_status: 503\n", "6:18 server.denial_status", "from 400 to 499"),
    ("server:\n  listen: 0.0.0.0:8080\n", "6:11 server.listen", "allow_non_loopback"),
    ("server:\n  admin: 127.0.0.1:8080\n", "6:10 server.admin", "the same address"),
    ("server:\n  public_url: billing.internal\n", "6:15 server.public_url", "write a URL without query"),
    ("server:\n  allowed_peers: [10.0.0.0/33]\n", "6:19 server.allowed_peers[0]", "10.0.0.0/8"),
    ("server:\n  default_tenant: acme\n", "6:19 server.default_tenant", "organizations/{id}"),
    (
        "server:\n  default_tenant: organizations/acm\n",
        "6:19 server.default_tenant",
        "write `organizations/acme`",
    ),
    ("log:\n  audit: /var/log/\n", "6:10 log.audit", "write the path of a file"),
    ("log:\n  level: loud\n", "6:10 log.level", "`info`"),
    ("log:\n  format:\n", "6:9 log.format", "found nothing; write `json` or `text`"),
    ("? [1]\n: 2\n", "5:3 ", "found a key that is no text"),
];

#[test]
fn a_fault_has_its_line_column_and_path() {
    for (rest, place, fragment) in FAULTS {
        let fault = only_fault(&with_acme(rest));
        assert_eq!(format!("{}:{} {}", fault.line, fault.column, fault.path), *place, "{rest}{fault}");
        assert!(fault.message.contains(fragment), "{rest}{fault}");
    }
}

#[test]
fn broken_yaml_is_one_fault_with_its_place() {
    let table: &[(&str, u64, u64, &str)] = &[
        ("", 1, 1, "the file is empty"),
        ("# nothing\n", 2, 1, "the file is empty"),
        ("a: *nobody\n", 1, 4, "to no anchor"),
        ("---\na: 1\n---\nb: 2\n", 4, 1, "a second YAML document"),
        ("a: b: c\n", 1, 5, "this is not YAML"),
        ("- 1\n", 1, 1, "found a list"),
        ("5\n", 1, 1, "found `5`"),
    ];
    for (source, line, column, fragment) in table {
        let fault = only_fault(source);
        assert_eq!((fault.line, fault.column), (*line, *column), "{source}{fault}");
        assert!(fault.message.contains(fragment), "{source}{fault}");
    }
}

#[test]
fn eight_faults_are_found_at_once() {
    let source = "\
server:
  lisen: 127.0.0.1:8080
  header_timeout: 10
organizations:
  - id: Acme
    enabled: maybe
instances:
  - name: globex
    organization: talkdesk
    account_id: 5ea7
cache:
  max_bytes: much
cache:
  collapse: true
";
    let faults = refused(source);
    let found: Vec<_> = faults.iter().map(|fault| (fault.line, fault.column, fault.path.as_str())).collect();
    assert_eq!(
        found,
        [
            (2, 3, "server.lisen"),
            (3, 19, "server.header_timeout"),
            (5, 9, "organizations[0].id"),
            (6, 14, "organizations[0].enabled"),
            (9, 19, "instances[0].organization"),
            (10, 17, "instances[0].account_id"),
            (12, 14, "cache.max_bytes"),
            (13, 1, "cache"),
        ]
    );
    let text = read(source).expect_err("faults").to_string();
    assert_eq!(text.lines().count(), 8);
    assert!(
        text.starts_with("config.yaml:2:3: server.lisen: found the unknown key `lisen`; write `listen`\n")
    );
}

#[test]
fn a_shown_line_has_a_caret_under_the_fault() {
    let source = with_acme("server:\n  header_timeout: 0s\n");
    let text = read(&source).expect_err("a fault").render_with_source(&source);
    assert!(text.contains("\n  |\n6 |   header_timeout: 0s\n  |                   ^\n"), "{text}");
}

#[test]
fn a_file_that_can_not_be_read_is_one_fault() {
    let directory = tempfile::tempdir().expect("a directory");
    let large = vec![b'#'; 4 * 1024 * 1024 + 1];
    let table: [(&str, Option<&[u8]>, &str); 5] = [
        ("missing.yaml", None, "there is no such file"),
        ("empty.yaml", Some(b""), "the file is empty"),
        ("binary.yaml", Some(b"a: 1\nb: \xff\xfe\n"), "not UTF-8 text (in line 2)"),
        ("large.yaml", Some(&large), "larger than 4 MiB"),
        ("broken.yaml", Some(b"a: [\n"), "this is not YAML"),
    ];
    for (name, content, fragment) in table {
        let path = directory.path().join(name);
        if let Some(content) = content {
            std::fs::write(&path, content).expect("written");
        }
        let faults = load(&path, &Environment::empty()).expect_err(name);
        assert_eq!(faults.iter().count(), 1, "{faults}");
        assert!(faults.to_string().contains(fragment), "{faults}");
    }
    assert!(load(directory.path(), &Environment::empty()).is_err());
    assert!(load(Path::new(""), &Environment::empty()).is_err());
}
