//! Tests of the configuration as a whole.

mod example;
mod hostile;
mod listeners;
mod malformed;
mod schema;
mod secrecy;
mod sections;
mod tenants;

use std::path::Path;

use super::{Config, Environment, Fault, Faults, parse};

const CREDENTIAL: &str = "credential: { account: acme, client_id: abc, client_secret: { file: none } }";

/// A complete configuration of one Organization, with `rest` behind it.
fn with_acme(rest: &str) -> String {
    format!("organizations:\n  - id: acme\n    name: Acme Partners\n    {CREDENTIAL}\n{rest}")
}

fn read(source: &str) -> Result<Config, Faults> {
    parse(source, "config.yaml", Path::new("/nowhere"), &Environment::empty())
}

/// A configuration that the reader takes, and then the schema takes it too.
fn accepted(source: &str) -> Config {
    let config = read(source).unwrap_or_else(|faults| panic!("{faults}\n{source}"));
    assert_eq!(schema::complaints(source), Vec::<String>::new(), "{source}");
    config
}

fn refused(source: &str) -> Vec<Fault> {
    read(source).expect_err(source).into_vec()
}

/// The only fault of a text.
fn only_fault(source: &str) -> Fault {
    let faults = refused(source);
    assert_eq!(faults.len(), 1, "{source}\n{faults:#?}");
    faults.into_iter().next().expect("one fault")
}
