//! The table of `docs/rfc9111.md` and the tests that it names agree.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The names of all tests.
fn tests() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("tests/it")];
    let mut found = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("text");
                let names = text.split("#[test]").skip(1).chain(text.split("#[tokio::test]").skip(1));
                let rstests = text.split("#[rstest]").skip(1);
                found.extend(names.chain(rstests).filter_map(first_function));
            }
        }
    }
    found
}

fn first_function(text: &str) -> Option<String> {
    let name = text.split("fn ").nth(1)?;
    let end = name.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')?;
    Some(name[..end].to_owned())
}

/// The rows of the table: section, requirement, and what holds it.
fn rows() -> Vec<[String; 3]> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rfc9111.md");
    let text = fs::read_to_string(path).expect("the table");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let cells = rows.map(|row| row.splitn(3, " | ").map(str::to_owned).collect::<Vec<_>>());
    cells.skip(1).map(|cells| cells.try_into().expect("three cells")).collect()
}

fn is_about_a_section(name: &str) -> bool {
    ["section_1_2_2", "section_3", "section_4", "section_5", "rfc_5861", "rfc_9211"]
        .iter()
        .any(|begin| name.starts_with(begin))
}

fn named(cell: &str) -> impl Iterator<Item = &str> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted.filter(|name| name.contains('_') && !name.contains(['/', '.']))
}

#[test]
fn every_test_of_the_table_exists_and_every_row_has_one_or_a_reason() {
    let (tests, rows) = (tests(), rows());
    assert!(rows.len() > 60 && tests.len() > 500, "{} rows, {} tests", rows.len(), tests.len());
    for [section, requirement, holds] in &rows {
        for name in named(holds) {
            assert!(tests.contains(name), "{section}, {requirement}: there is no test {name}");
        }
        let has_reason = ["Does not apply", "Instead"].iter().any(|word| holds.contains(word));
        assert!(has_reason || named(holds).any(is_about_a_section), "{section}, {requirement}: {holds}");
    }
}

#[test]
fn every_test_of_a_section_is_in_the_table() {
    let rows = rows();
    let listed: BTreeSet<&str> = rows.iter().flat_map(|[_, _, holds]| named(holds)).collect();
    for name in tests().iter().filter(|name| is_about_a_section(name)) {
        assert!(listed.contains(name.as_str()), "{name} is missing in the table");
    }
}

#[test]
fn every_section_of_the_standard_about_caches_is_in_the_table() {
    let rows = rows();
    let sections: BTreeSet<&str> = rows.iter().map(|[section, _, _]| section.as_str()).collect();
    for section in [
        "3",
        "3.1",
        "3.2",
        "3.3",
        "3.4",
        "3.5",
        "4",
        "4.1",
        "4.2",
        "4.2.1",
        "4.2.2",
        "4.2.3",
        "4.2.4",
        "4.3.1",
        "4.3.2",
        "4.3.3",
        "4.3.4",
        "4.3.5",
        "4.4",
        "5.1",
        "5.2",
        "5.2.1.1",
        "5.2.1.2",
        "5.2.1.3",
        "5.2.1.4",
        "5.2.1.5",
        "5.2.1.6",
        "5.2.1.7",
        "5.2.2.1",
        "5.2.2.2",
        "5.2.2.3",
        "5.2.2.4",
        "5.2.2.5",
        "5.2.2.6",
        "5.2.2.7",
        "5.2.2.8",
        "5.2.2.9",
        "5.2.2.10",
        "5.2.3",
        "5.3",
        "5.4",
        "5.5",
        "RFC 5861, 3",
        "RFC 5861, 4",
    ] {
        assert!(sections.contains(section), "{section}");
    }
}
