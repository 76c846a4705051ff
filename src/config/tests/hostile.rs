//! No text makes reading panic, hang or take memory without bound.

use proptest::prelude::*;

use super::{read, with_acme};

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

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let source = String::from_utf8_lossy(&bytes);
        if let Err(faults) = read(&source) {
            let _ = faults.render_with_source(&source);
        }
    }

    #[test]
    fn arbitrary_pieces_never_panic(pieces in proptest::collection::vec(0..PIECES.len(), 0..60)) {
        let source: String = pieces.iter().map(|piece| PIECES[*piece]).collect();
        if let Err(faults) = read(&source) {
            let _ = faults.render_with_source(&source);
        }
    }

    #[test]
    fn an_arbitrary_value_never_panics(
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
        if let Err(faults) = read(&source) {
            let _ = faults.render_with_source(&source);
        }
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
