//! No text makes reading panic, hang or take memory without bound.

use proptest::prelude::*;

use super::{read, schema, with_acme};
use crate::config::fault::Severity;

/// Pieces that reach further into the readers than arbitrary bytes do.
const PIECES: [&str; 30] = [
    "server:",
    "\n",
    "  ",
    "\n  ",
    "\n    ",
    "- ",
    "listen: ",
    "[::1]:80",
    "organizations:",
    "instances:",
    "id: ",
    "acme",
    "credential:",
    "{",
    "}",
    "[",
    "]",
    ", ",
    ": ",
    "&a ",
    "*a",
    "!!str ",
    "null",
    "1e999",
    "10s",
    "'",
    "\"",
    "{account}",
    "https://é@x",
    "\u{feff}",
];

/// The schema takes what the reader takes. What the reader refuses has faults, each with a message and a place in the
/// source, and all of them are shown.
fn check(source: &str) -> Result<(), TestCaseError> {
    let Err(faults) = read(source) else {
        prop_assert_eq!(schema::complaints(source), Vec::<String>::new(), "{}", source);
        return Ok(());
    };
    let shown = faults.render_with_source(source);
    let faults = faults.into_vec();
    prop_assert!(faults.iter().any(|fault| fault.severity == Severity::Error), "{}", source);
    // A fault may be at the end of the source, after the last line.
    let last_line = source.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count() as u64 + 1;
    for fault in faults {
        prop_assert!(!fault.message.is_empty(), "{}", source);
        prop_assert!(fault.line <= last_line, "{:?} in {}", fault, source);
        prop_assert!(shown.contains(&fault.render("config.yaml")), "{:?} in {}", fault, shown);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_have_a_fault_with_a_place(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let source = String::from_utf8_lossy(&bytes);
        check(&source)?;
    }

    #[test]
    fn arbitrary_pieces_are_accepted_or_have_a_fault_with_a_place(pieces in proptest::collection::vec(0..PIECES.len(), 0..60)) {
        let source: String = pieces.iter().map(|piece| PIECES[*piece]).collect();
        check(&source)?;
    }

    #[test]
    fn an_arbitrary_value_is_accepted_or_has_a_fault_with_a_place(
        text in "\\PC{0,30}",
        key in proptest::sample::select(vec![
            "server: { listen", "server: { public_url", "server: { allowed_hosts", "upstream: { api_url",
            "upstream: { token_url", "upstream: { proxy", "upstream: { request_timeout", "cache: { max_bytes",
            "limits: { token: { rate", "log: { level", "server: { default_tenant", "server: { metrics",
        ]),
    ) {
        let quoted = text.replace('\'', "''");
        let closing = "}".repeat(key.matches('{').count());
        let source = with_acme(&format!("{key}: '{quoted}' {closing}\n"));
        check(&source)?;
    }
}

#[test]
fn depth_and_aliases_are_bounded() {
    let deep = "[".repeat(100_000);
    let block: String = (0..2000)
        .flat_map(|level| {
            [
                " ".repeat(level),
                "a:
"
                .to_owned(),
            ]
        })
        .collect();
    let mut laughs = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (one, other) in "abcdefgh".chars().zip("bcdefghi".chars()) {
        let next = format!("{other}: &{other} [*{one}, *{one}, *{one}, *{one}, *{one}, *{one}, *{one}]\n");
        laughs.push_str(&next);
    }
    for source in [deep, block, laughs] {
        let faults = read(&source).expect_err("refused");
        assert_eq!(faults.iter().count(), 1, "{faults}");
    }
}
