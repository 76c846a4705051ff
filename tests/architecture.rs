//! The house rules that a compiler does not check: which floor may know which, and what only one file may do.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Every Rust file below `src`, with its text.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&entry).expect("text");
                found.push((entry, text));
            }
        }
    }
    assert!(found.len() > 50, "the sources were not found");
    found
}

fn relative(path: &Path) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    path.strip_prefix(source).expect("below src").display().to_string()
}

/// The module at the top of which a file belongs: `proxy` for `proxy/origin.rs`.
fn module_of(path: &str) -> &str {
    path.split(['/', '.']).next().expect("a name")
}

/// A file without its tests and comments.
fn production(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]\nmod tests {").next().expect("something");
    before_tests.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn is_test_file(path: &str) -> bool {
    path.contains("tests")
}

#[test]
fn a_module_imports_only_modules_listed_before_it() {
    let sources = sources();
    let map = &sources.iter().find(|(path, _)| relative(path) == "lib.rs").expect("lib.rs").1;
    let floors: HashMap<&str, usize> = map
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .enumerate()
        .map(|(place, name)| (name, place))
        .collect();
    let mut wrong = Vec::new();
    for (path, text) in &sources {
        let path = relative(path);
        let own = module_of(&path);
        if matches!(own, "lib" | "main") || is_test_file(&path) {
            continue;
        }
        let place = floors.get(own).unwrap_or_else(|| panic!("{own} is not in the map"));
        for used in production(text).split("crate::").skip(1) {
            let used: String =
                used.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
            match floors.get(used.as_str()) {
                Some(other) if other > place => wrong.push(format!("{path} imports {used}")),
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_domain_knows_no_network_no_runtime_and_no_serialization() {
    for (path, text) in sources() {
        let path = relative(&path);
        if matches!(module_of(&path), "domain" | "rfc9111") && !is_test_file(&path) {
            for outside in ["serde", "tokio", "hyper", "crate::clock"] {
                assert!(!production(&text).contains(outside), "{path} knows {outside}");
            }
        }
    }
}

#[test]
fn the_simulator_shares_no_code_with_what_it_is_to_test() {
    for (path, text) in sources() {
        let path = relative(&path);
        if module_of(&path) == "simulator" {
            for shared in production(&text).split("crate::").skip(1) {
                assert!(
                    shared.starts_with("clock") || shared.starts_with("simulator"),
                    "{path} uses crate::{}",
                    shared.lines().next().unwrap_or_default()
                );
            }
        }
    }
}

#[test]
fn only_one_file_asks_the_time_and_only_one_dials_out() {
    for (path, text) in sources() {
        let (path, text) = (relative(&path), production(&text));
        if path != "clock.rs" {
            assert!(
                !text.contains("Instant::now()") && !text.contains("SystemTime::now()"),
                "{path} asks the time"
            );
        }
        if path != "client.rs" && !path.starts_with("simulator") {
            assert!(
                !text.contains("HttpConnector") && !text.contains("TcpStream::connect"),
                "{path} dials out"
            );
        }
    }
}

#[test]
fn files_and_names_are_as_the_house_has_them() {
    for (path, text) in sources() {
        let path = relative(&path);
        let name = path.rsplit('/').next().expect("a name");
        for banned in ["utils.rs", "helpers.rs", "common.rs", "types.rs", "manager.rs"] {
            assert_ne!(name, banned, "{path}");
        }
        assert!(text.starts_with("//!") || is_test_file(&path), "{path} does not say what it is for");
        assert!(!text.contains("#[allow"), "{path}: use #[expect(.., reason = \"..\")]");
        if !is_test_file(&path) {
            let lines = production(&text).lines().count();
            assert!(lines <= 400, "{path} has {lines} lines without its tests");
            assert!(!production(&text).contains(".unwrap()"), "{path} unwraps");
        }
    }
}
