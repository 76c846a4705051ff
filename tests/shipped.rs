//! What is shipped agrees with the code: the codes and metrics that the documents name, the example configuration,
//! and that nothing in the repository speaks of where it was made.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use billing_insights_proxy::config::{Environment, parse};
use billing_insights_proxy::metrics::{Metrics, PREFIX};
use billing_insights_proxy::problem::Code;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands between the marks, every other time.
fn between(text: &str, mark: char) -> BTreeSet<String> {
    text.split(mark).skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_code_is_documented_with_its_status_meaning_and_remedy_and_every_documented_one_exists() {
    let in_code: BTreeMap<_, _> =
        Code::ALL.iter().map(|code| (code.as_str(), code.status().as_u16())).collect();
    assert_eq!(in_code.len(), Code::ALL.len(), "two codes have the same text");
    let document = read("docs/refusals.md");
    assert_eq!(in_code.keys().map(|code| (*code).to_owned()).collect::<BTreeSet<_>>(), rows(&document));
    for row in document.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [code, status, meaning, remedy] = cells[..] else { panic!("{row}") };
        let code = code.trim_matches('`');
        let status: u16 = status.parse().expect("a status");
        // Without a Host field the status is another one.
        let is_known = status == in_code[code] || (code, status) == ("host_not_allowed", 400);
        assert!(is_known, "{row}: {}", in_code[code]);
        assert!(!meaning.is_empty() && !remedy.is_empty(), "{row}");
    }
}

#[test]
fn every_metric_is_documented_and_every_documented_one_exists() {
    let in_code: BTreeSet<_> = {
        // Series without a child show nothing, so the names come from the source.
        let source = read("src/metrics/registry.rs");
        let names = between(&source, '"').into_iter().filter(|text| {
            !text.contains(' ') && ["_total", "_seconds", "_info"].iter().any(|unit| text.ends_with(unit))
        });
        let names = names.map(|name| name.rsplit('}').next().expect("a name").to_owned());
        names
            .chain(
                [
                    "account_scope_unproven",
                    "accounts_skipped",
                    "http_requests_in_flight",
                    "cache_entries",
                    "cache_bytes",
                    "credential_state",
                    "credential_secret_available",
                    "config_last_reload_successful",
                ]
                .map(str::to_owned),
            )
            .collect()
    };
    let document = read("docs/metrics.md");
    let rows =
        document.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next().map(str::to_owned));
    assert_eq!(in_code, rows.collect());
    let text = Metrics::new().text();
    for shown in
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()?.strip_prefix(PREFIX))
    {
        assert!(document.contains(&format!("| `{shown}` |")), "{shown} is not documented");
    }
}

#[test]
fn the_configurations_of_the_readme_can_be_served() {
    let readme = read("README.md");
    let examples: Vec<_> =
        readme.split("```yaml").skip(1).map(|rest| rest.split("```").next().expect("its end")).collect();
    assert_eq!(examples.len(), 2);
    for example in examples {
        let config = parse(example, "README.md", Path::new("."), &Environment::empty());
        assert!(config.is_ok(), "{}\n{example}", config.expect_err("checked"));
    }
}

#[test]
fn a_unit_names_its_programs_by_their_whole_path_and_needs_none_that_a_small_system_lacks() {
    let unit = read("deploy/systemd/billing-insights-proxy.service");
    let commands = unit.lines().filter_map(|line| line.strip_prefix("Exec")?.split_once('='));
    let programs: Vec<_> = commands.filter_map(|(_, command)| command.split(' ').next()).collect();
    // `kill` is of a package of its own (procps), the shell is of every system.
    assert_eq!(programs, ["/usr/local/bin/billing-insights-proxy", "/bin/sh"]);
}

#[test]
fn the_ages_for_tool_authors_are_those_that_ship() {
    let config =
        parse(&read("config.example.yaml"), "config.example.yaml", Path::new("."), &Environment::empty())
            .expect("a configuration");
    let document = read("docs/tool-authors.md");
    let words = |seconds: u64| match seconds {
        0..3_600 => format!("{} minutes", seconds / 60),
        3_600 => "1 hour".to_owned(),
        3_601..=86_400 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    };
    for configured in &config.endpoints {
        let rule = &configured.rule;
        let row = format!(
            "| `{}` | {} | {} | {} |",
            configured.endpoint.path.display(),
            words(rule.ttl.expect("a ttl").as_secs()),
            words(rule.stale_while_revalidate.as_secs()),
            words(rule.stale_if_error.as_secs()),
        );
        assert!(document.contains(&row), "{row}");
    }
}

#[test]
fn the_documented_path_of_a_request_is_the_code() {
    let document = read("docs/architecture.md");
    let code = read("src/proxy/answer.rs");
    let documented =
        document.split("```rust\n").nth(1).expect("a block").split("\n```").next().expect("its end");
    let mut code_lines = code.lines().map(str::trim);
    for line in documented.lines().map(str::trim).filter(|line| *line != "// ...") {
        assert!(
            code_lines.any(|code_line| code_line == line),
            "not in the code, or not in this order: {line}"
        );
    }
    for path in
        document.split('`').filter(|quoted| quoted.starts_with("src/") || quoted.starts_with("tests/"))
    {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists(), "{path}");
    }
}

#[test]
fn the_readme_names_the_two_commands() {
    let readme = read("README.md");
    for command in ["```sh\ncargo run --release -- demo\n```", "```sh\ncargo test\n```"] {
        assert!(readme.contains(command), "{command}");
    }
}

/// The first cells of the tables of a document, where they are code.
fn rows(document: &str) -> BTreeSet<String> {
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    rows.map(str::to_owned).collect()
}

#[test]
fn every_member_of_the_access_log_is_documented_and_every_documented_one_exists() {
    let source = read("src/log/access_log.rs");
    let line = source.split("struct Line<").nth(1).expect("the line").split("\n}").next().expect("its end");
    let names =
        line.split("rename = \"").skip(1).map(|rest| rest.split('"').next().expect("a name").to_owned());
    let in_code: BTreeSet<_> = names.collect();
    assert_eq!(line.matches("\n    #[serde").count(), in_code.len(), "each member has a name of its own");
    let document = read("docs/logs.md");
    assert_eq!(in_code, rows(&document));
    let example = document.split("```json\n").nth(1).expect("an example").split("\n```").next().expect("it");
    let example: serde_json::Map<String, serde_json::Value> = serde_json::from_str(example).expect("JSON");
    for name in example.keys() {
        assert!(in_code.contains(name), "{name} of the example");
    }
}

/// The last text in quotes before the parenthesis that ends a call.
fn last_text(call: &str) -> Option<String> {
    let (mut depth, mut in_text, mut text, mut last) = (0, false, String::new(), None);
    for character in call.chars() {
        match character {
            '"' if in_text => last = Some(std::mem::take(&mut text)),
            _ if in_text && character != '"' => text.push(character),
            '(' => depth += 1,
            ')' if depth == 1 => return last,
            ')' => depth -= 1,
            _ => {}
        }
        in_text ^= character == '"';
    }
    None
}

/// All that the program says in its log, but what has no fixed text.
fn log_messages(source: &str) -> BTreeSet<String> {
    let calls = source.split("tracing::").skip(1).filter(|call| {
        ["debug!(", "info!(", "warn!(", "error!("].iter().any(|begin| call.starts_with(begin))
    });
    calls.filter_map(last_text).filter(|text| !text.starts_with('{')).collect()
}

#[test]
fn every_line_of_the_log_is_documented_and_every_documented_one_exists() {
    let mut in_code = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                in_code.extend(log_messages(&fs::read_to_string(path).expect("a file")));
            }
        }
    }
    let document = read("docs/operating.md");
    let section = document.split("## Lines of the log").nth(1).expect("the section");
    assert_eq!(in_code, rows(section));
}
