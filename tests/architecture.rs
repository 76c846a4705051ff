//! The house rules that a compiler does not check: which floor may know which, and what only one file may do.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
    let before_tests = text.split("#[cfg(test)]\n").next().expect("something");
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
        if path != "io/client.rs" && !path.starts_with("simulator") {
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

/// The modules of the crate by path (`proxy`, `proxy::route`), with the text of their files. Tests and the crate's root are
/// left out.
fn modules() -> BTreeMap<String, String> {
    let files = sources().into_iter().map(|(path, text)| (relative(&path), text));
    let files =
        files.filter(|(path, _)| !is_test_file(path) && !matches!(path.as_str(), "lib.rs" | "main.rs"));
    files
        .map(|(path, text)| {
            let name = path.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
            (name, production(&text))
        })
        .collect()
}

/// The paths that a file names, from the crate's root: `use` declarations expanded, and paths in the code.
fn named_paths(module: &str, text: &str) -> Vec<Vec<String>> {
    let mut written = Vec::new();
    for (position, _) in text.match_indices("use ") {
        let is_start = text[..position].chars().next_back().is_none_or(char::is_whitespace);
        let declaration = text[position + 4..].split(';').next().unwrap_or_default();
        if is_start && ["crate::", "super::", "self::"].iter().any(|start| declaration.starts_with(start)) {
            expand("", &declaration.split_whitespace().collect::<String>(), &mut written);
        }
    }
    for (position, _) in text.match_indices("crate::").chain(text.match_indices("super::")) {
        let is_path = |character: char| character.is_alphanumeric() || matches!(character, '_' | ':');
        let is_start = !text[..position].chars().next_back().is_some_and(is_path);
        if is_start {
            let path: String = text[position..].chars().take_while(|character| is_path(*character)).collect();
            // The paths of a `use` with braces are expanded above.
            written.extend((!path.ends_with("::")).then_some(path));
        }
    }
    written.iter().map(|path| from_root(module, path)).collect()
}

/// Expands the braces of a `use` declaration.
fn expand(prefix: &str, declaration: &str, paths: &mut Vec<String>) {
    let Some((before, rest)) = declaration.split_once('{') else {
        paths.push(format!("{prefix}{declaration}"));
        return;
    };
    let inner = rest.strip_suffix('}').unwrap_or(rest);
    let (mut depth, mut start) = (0, 0);
    for (position, character) in inner.char_indices().chain([(inner.len(), ',')]) {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&format!("{prefix}{before}"), &inner[start..position], paths);
                start = position + 1;
            }
            _ => {}
        }
    }
}

fn from_root(module: &str, path: &str) -> Vec<String> {
    let mut at: Vec<String> = module.split("::").map(str::to_owned).collect();
    for (index, segment) in path.split("::").enumerate() {
        match segment {
            "crate" if index == 0 => at.clear(),
            "self" if index == 0 => {}
            "super" => drop(at.pop()),
            "self" => {}
            segment => at.push(segment.to_owned()),
        }
    }
    at
}

/// The modules that each module imports: the innermost module of each path.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let modules = modules();
    let innermost = |path: &[String]| {
        (1..=path.len()).rev().map(|length| path[..length].join("::")).find(|name| modules.contains_key(name))
    };
    let imported = |(module, text): (&String, &String)| {
        let found =
            named_paths(module, text).iter().filter_map(|path| innermost(path)).collect::<BTreeSet<_>>();
        (module.clone(), found.into_iter().filter(|other| other != module).collect())
    };
    modules.iter().map(imported).collect()
}

#[test]
fn a_module_in_a_folder_does_not_import_the_module_that_is_its_folder() {
    let imports = imports();
    assert!(imports["proxy::answer"].contains("proxy::route"), "imports are not found");
    let pairs =
        imports.iter().flat_map(|(module, imported)| imported.iter().map(move |other| (module, other)));
    let is_in =
        |module: &str, folder: &str| module.strip_prefix(folder).is_some_and(|rest| rest.starts_with("::"));
    let wrong = pairs.filter(|(module, other)| is_in(module, other));
    let wrong = wrong.map(|(module, other)| format!("{module} imports {other}"));
    assert_eq!(wrong.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn imports_have_no_cycle() {
    let mut imports = imports();
    // Remove what imports nothing that is left, until nothing changes: what is left then are cycles.
    loop {
        let free: BTreeSet<_> = imports
            .iter()
            .filter(|(_, imported)| imported.is_empty())
            .map(|(module, _)| module.clone())
            .collect();
        if free.is_empty() {
            break;
        }
        imports.retain(|module, _| !free.contains(module));
        for imported in imports.values_mut() {
            imported.retain(|module| !free.contains(module));
        }
    }
    // And from the other side: what nobody in a cycle imports is not part of one.
    loop {
        let imported: BTreeSet<_> = imports.values().flatten().cloned().collect();
        let before = imports.len();
        imports.retain(|module, _| imported.contains(module));
        if imports.len() == before {
            break;
        }
    }
    assert!(imports.is_empty(), "{imports:#?}");
}

#[test]
fn no_two_types_that_other_files_can_see_have_the_same_name() {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (module, text) in modules().into_iter().filter(|(module, _)| !module.starts_with("simulator")) {
        for line in text.lines().map(str::trim_start).filter(|line| line.starts_with("pub")) {
            let words: Vec<_> =
                line.split([' ', '<', '(', '{', ';', ':']).filter(|word| !word.is_empty()).collect();
            let kind = words.iter().position(|word| ["struct", "enum", "trait", "type"].contains(word));
            if let Some(name) = kind.filter(|kind| *kind <= 2).and_then(|kind| words.get(kind + 1)) {
                found.entry((*name).to_owned()).or_default().push(module.clone());
            }
        }
    }
    assert!(found.len() > 200, "types are not found");
    found.retain(|_, modules| modules.len() > 1);
    assert!(found.is_empty(), "{found:#?}");
}
