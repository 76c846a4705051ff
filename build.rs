//! Tells the program which revision it is built from.
//!
//! Whoever builds from sources without git (an archive, a container, a package) can say it in
//! `BILLING_INSIGHTS_PROXY_REVISION`; else it is the commit that is checked out; else it is unknown, and the program
//! says so. Changes that are not committed are not told: that would take a look at every file at every build.

#[path = "build/revision.rs"]
mod revision;

use std::path::PathBuf;

const VARIABLE: &str = "BILLING_INSIGHTS_PROXY_REVISION";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build/revision.rs");
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let named = std::env::var(VARIABLE).ok().filter(|named| !named.is_empty());
    if named.as_ref().is_some_and(|named| !is_revision(named)) {
        println!("cargo::warning={VARIABLE} is left alone: write one word of letters, digits and `-_.+:/~`");
    }
    let named = named.filter(|named| is_revision(named));
    let revision = named.or_else(|| {
        let sources = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from)?;
        let found = revision::find(&sources);
        for file in found.read {
            println!("cargo::rerun-if-changed={}", file.display());
        }
        found.revision
    });
    println!("cargo::rustc-env={VARIABLE}={}", revision.as_deref().unwrap_or("unknown"));
}

/// One word of what versions are made of, for it becomes a line of `--version` and a label of a metric.
fn is_revision(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+:/~".contains(&byte);
    text.len() <= 64 && text.bytes().all(is_plain)
}
