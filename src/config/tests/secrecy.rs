//! No secret is in anything that is shown.

use std::ffi::OsString;
use std::path::Path;

use super::{read, with_acme};
use crate::config::{Environment, parse};

const CANARY: &str = "c4n4ry-s3cr3t-v4lu3";

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    let credentials = [
        format!("{{ client_id: a, client_secret: {CANARY} }}"),
        format!("{{ client_id: a, private_key: \"{CANARY}\" }}"),
        format!("{{ client_id: a, client_sercet: {CANARY} }}"),
        format!("{{ client_id: a, client_secret: [{CANARY}] }}"),
        format!("{{ client_id: a, client_secret: {{ {CANARY} }} }}"),
        format!("{{ client_id: a, client_secret: {{ value: {CANARY} }} }}"),
        format!("{{ client_id: a, client_secret: {{ {CANARY}: x, {CANARY}: y }} }}"),
        format!("{{ client_id: a, client_secret: {{ file: [{CANARY}] }} }}"),
        format!("{{ client_id: a, client_secret: {{ env: {CANARY} }} }}"),
        format!("{{ client_id: a, client_secret: {{ file: f }}, algorithm: {CANARY} }}"),
        format!("{{ client_id: a, basic_encoding: {CANARY}, client_secret: {{ file: f }} }}"),
        format!("{{ {CANARY}: a }}"),
        CANARY.to_owned(),
        format!("[{CANARY}]"),
        format!("\n      client_id: a\n      client_secret: |\n        {CANARY}"),
        format!("\n      client_id: a\n      client_secret: '{CANARY}"),
        format!("\n      client_id: a\n      client_secret: *{CANARY}"),
        format!("\n      client_id: a\n      client_secret: @{CANARY}"),
        format!("\n      client_id: a\n      client_secret: !{CANARY}!x y"),
        format!("\n      client_id: a\n      client_secret: \"\\q{CANARY}\""),
        format!("\n      client_id: a\n      client_secret: {CANARY}: {CANARY}"),
        format!("\n      client_id: a\n      client_secret: %{CANARY}\n      : {CANARY}"),
    ];
    let elsewhere = [
        format!("client_secret: {CANARY}\n"),
        format!("server: {{ pasword: {CANARY} }}\n"),
        format!("server: {{\n  header_timeout: 0s, pasword: {CANARY} }}\n"),
        format!("server:\n  header_timeout: 0s # was {CANARY}\n"),
        format!("upstream: {{ proxy: 'http://user:{CANARY}@proxy:1' }}\n"),
        format!("upstream: {{ token_url: 'https://x/?client_secret={CANARY} ' }}\n"),
        format!("upstream:\n  api_url: https://user:{CANARY}@host\n"),
    ];
    let under_acme = credentials
        .iter()
        .map(|credential| format!("organizations:\n  - id: acme\n    credential: {credential}\n"));
    for source in under_acme.chain(elsewhere.iter().map(|rest| with_acme(rest))) {
        let faults = read(&source).expect_err(&source);
        for text in [faults.to_string(), format!("{faults:?}"), faults.render_with_source(&source)] {
            assert!(!text.contains(CANARY), "{source}\n{text}");
        }
    }
}

#[test]
fn a_secret_that_was_read_is_in_no_debug_output() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("from-file"), CANARY).expect("written");
    let environment =
        Environment::new(|name| (name == "ACME").then(|| OsString::from(format!("{CANARY}-environment"))));
    let source = "\
organizations:
  - id: acme
    credential: { account: acme, client_id: a, client_secret: { file: from-file } }
  - id: other
    credential: { account: acme, client_id: b, client_secret: { env: ACME } }
";
    let config = parse(source, "config.yaml", directory.path(), &environment).expect("a configuration");
    let secrets: Vec<_> = config
        .credentials
        .iter()
        .map(|one| one.secret.as_ref().map(|secret| secret.expose().to_owned()))
        .collect();
    assert_eq!(secrets, [Ok(CANARY.to_owned()), Ok(format!("{CANARY}-environment"))]);
    assert!(!format!("{config:?} {environment:?}").contains(CANARY));
}

#[test]
fn a_missing_secret_is_no_fault_of_the_file() {
    let config = parse(&with_acme(""), "config.yaml", Path::new("/nowhere"), &Environment::empty());
    let config = config.expect("a configuration");
    let error = config.credentials[0].secret.as_ref().expect_err("no such file");
    assert_eq!(error.to_string(), "file /nowhere/none: there is no such file");
}
