//! `check --online`, as the operator runs it: the program against a Talkdesk with every kind of fault.

use std::process::{Command, Output};

use billing_insights_proxy::simulator::{
    Fault, FaultKind, FilterMode, Operator, Options, Quirks, Target, samples,
};
use rstest::rstest;
use serde_json::Value;

use crate::support::Talkdesk;

const ACME: &str = "organizations:
  - id: acme
    credential: { account: acme, client_id: 2f1c9a0e5b7d4c31, client_secret: { file: acme-client-secret } }
";

const STARK: &str = "organizations:
  - id: stark
    credential: { account: stark, client_id: d42a80e7f59b4c63, client_secret: { file: stark-client-secret } }
";

/// Runs it with a configuration before this Talkdesk. What stands before `---` is of the section `upstream`.
async fn run(talkdesk: &Talkdesk, sections: &str, further: &[&str]) -> Output {
    let (upstream, sections) = sections.split_once("---\n").unwrap_or(("", sections));
    let yaml = format!(
        "upstream: {{ api_url: '{}', token_url: '{}', {upstream} }}\n{sections}",
        talkdesk.simulator.url(),
        talkdesk.simulator.token_url()
    );
    let file = talkdesk.folder.path().join("config.yaml");
    std::fs::write(&file, yaml).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_billing-insights-proxy"));
    command.args(["check", "--online", "--config"]).arg(&file).args(further);
    command.env_remove("CREDENTIALS_DIRECTORY");
    let running = tokio::task::spawn_blocking(move || command.output());
    running.await.expect("no panic").expect("the program")
}

/// The exit code, and the findings of the only credential by what they are about.
async fn findings(talkdesk: &Talkdesk, sections: &str) -> (i32, Vec<Value>) {
    let output = run(talkdesk, sections, &["--format", "json"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    let code = output.status.code().expect("an exit code");
    assert_eq!(report["works"], code == 0, "{report:#}");
    for owner in ["acme", "stark"] {
        let secret = talkdesk.folder.path().join(format!("{owner}-client-secret"));
        let secret = std::fs::read_to_string(secret).expect("a secret");
        for text in [&report.to_string(), &said] {
            assert!(!text.contains(secret.trim()) && !text.contains("Bearer"), "a secret or token is told");
        }
    }
    (code, report["credentials"][0]["findings"].as_array().expect("findings").clone())
}

fn finding<'a>(findings: &'a [Value], what: &str) -> &'a Value {
    findings.iter().find(|finding| finding["what"] == what).unwrap_or_else(|| panic!("{what}: {findings:#?}"))
}

fn result<'a>(findings: &'a [Value], what: &str) -> &'a str {
    finding(findings, what)["result"].as_str().expect("a result")
}

fn text<'a>(findings: &'a [Value], what: &str, member: &str) -> &'a str {
    finding(findings, what)[member].as_str().unwrap_or_else(|| panic!("{what} {member}: {findings:#?}"))
}

const NARROWED: [&str; 3] =
    ["accounts of subscriptions", "accounts of invoices", "accounts of monthly_usage"];

async fn with_quirks(quirks: Quirks) -> Talkdesk {
    Talkdesk::start(Options { quirks, ..samples() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_well_where_all_works_and_it_takes_few_requests() {
    let quirks = Quirks { cache_control: Some("no-store, max-age=7".into()), ..Quirks::default() };
    let talkdesk = with_quirks(quirks).await;
    let (code, findings) = findings(&talkdesk, ACME).await;
    assert_eq!(code, 0, "{findings:#?}");
    let asked: Vec<_> = findings.iter().map(|finding| finding["what"].as_str().expect("a name")).collect();
    let five = ["token", "accounts", "products", "subscriptions", "invoices", "monthly_usage"];
    assert_eq!(asked, [&five[..], &NARROWED].concat());
    for what in asked {
        assert_eq!(result(&findings, what), "works", "{findings:#?}");
    }
    assert_eq!(talkdesk.counts(), (11, 1), "requests to the API, and for tokens");
    let caching = &finding(&findings, "products")["caching"];
    let fields = caching["origin_fields"].as_array().expect("fields");
    assert!(fields.iter().any(|field| field["value"] == "no-store, max-age=7"), "{caching:#}");
    assert_eq!((&caching["kept"], &caching["by_our_rule"]), (&true.into(), &true.into()), "{caching:#}");
    let fresh = caching["fresh_seconds"].as_u64().expect("seconds");
    assert!((82_000..=86_400).contains(&fresh), "a day, less what keeps pages from ending together: {fresh}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_origin_decides_that_is_told() {
    let quirks = Quirks { no_store: true, ..Quirks::default() };
    let talkdesk = with_quirks(quirks).await;
    let rules = "cache: { endpoints: { products: {}, invoices: { override: [] } } }\n";
    let (code, findings) = findings(&talkdesk, &format!("{ACME}{rules}")).await;
    assert_eq!(code, 0, "{findings:#?}");
    for (what, kept, ours) in
        [("products", false, false), ("invoices", false, false), ("accounts", true, true)]
    {
        let caching = &finding(&findings, what)["caching"];
        assert_eq!(
            (&caching["kept"], &caching["by_our_rule"]),
            (&kept.into(), &ours.into()),
            "{what} {caching:#}"
        );
    }
    assert_eq!(finding(&findings, "invoices")["caching"]["not_kept_because"], "no_store");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_told_in_the_token_endpoints_words_and_nothing_more_is_asked() {
    let talkdesk = Talkdesk::samples().await;
    let right = talkdesk.folder.path().join("acme-client-secret");
    std::fs::write(&right, "quite-another-secret").expect("written");
    let (code, findings) = findings(&talkdesk, ACME).await;
    assert_eq!((code, findings.len()), (1, 1), "{findings:#?}");
    assert_eq!(result(&findings, "token"), "fails");
    assert!(text(&findings, "token", "said").contains("invalid_client"), "{findings:#?}");
    assert!(text(&findings, "token", "remedy").len() > 10);
    assert_eq!(talkdesk.counts(), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_that_the_client_lacks_is_told_and_its_endpoint_is_not_asked() {
    let talkdesk = Talkdesk::samples().await;
    let (code, findings) = findings(&talkdesk, STARK).await;
    assert_eq!(code, 1);
    assert!(text(&findings, "token", "said").contains("4 of the 5 scopes"), "{findings:#?}");
    assert!(text(&findings, "token", "said").contains("express-accounts-invoices:read"), "{findings:#?}");
    assert_eq!(result(&findings, "invoices"), "fails");
    assert!(text(&findings, "invoices", "remedy").contains("Have Talkdesk add the scope"), "{findings:#?}");
    assert_eq!(result(&findings, "monthly_usage"), "works");
    assert_eq!(talkdesk.control().counters().api.by_path.get("/express/invoices"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_talkdesk_is_the_failure_of_that_endpoint_alone() {
    let talkdesk = Talkdesk::samples().await;
    let kind = FaultKind::Status { status: 500, retry_after: None, body: None };
    let fault = Fault { path: Some("/express/products".into()), count: 9, ..Fault::once(Target::Api, kind) };
    talkdesk.control().inject(fault).expect("a fault");
    let (code, findings) = findings(&talkdesk, ACME).await;
    assert_eq!(code, 1);
    assert_eq!(result(&findings, "products"), "fails");
    assert!(text(&findings, "products", "said").contains("Talkdesk answered 500"), "{findings:#?}");
    assert!(findings.iter().all(|finding| finding["what"] == "products" || finding["result"] == "works"));
}

const LISTED: &str = "organizations:
  - id: acme
    credential: { account: acme, client_id: 2f1c9a0e5b7d4c31, client_secret: { file: acme-client-secret } }
    accounts: [{ id: 5ea75fe7aa224700012eae40, name: josephpinetrees }]
    discover_accounts: false
";

#[rstest]
#[case::discovered(ACME)]
#[case::one_listed_account(LISTED)]
#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_is_ignored_is_told_whatever_accounts_are_known(#[case] sections: &str) {
    let talkdesk = with_quirks(Quirks { filter: FilterMode::Ignored, ..Quirks::default() }).await;
    let (code, findings) = findings(&talkdesk, sections).await;
    assert_eq!(code, 1);
    for what in NARROWED {
        assert_eq!(result(&findings, what), "fails", "{findings:#?}");
        assert!(text(&findings, what, "said").contains("does not narrow"), "{findings:#?}");
        assert!(text(&findings, what, "remedy").contains("upstream.account_filter"), "{findings:#?}");
    }
    assert_eq!(result(&findings, "invoices"), "works");
}

#[rstest]
#[case::empty_for_strangers(true)]
#[case::strangers_are_refused(false)]
#[tokio::test(flavor = "multi_thread")]
async fn one_listed_account_is_enough_for_a_proof(#[case] foreign_accounts_are_empty: bool) {
    let talkdesk = with_quirks(Quirks { foreign_accounts_are_empty, ..Quirks::default() }).await;
    let (code, findings) = findings(&talkdesk, LISTED).await;
    assert_eq!(code, 0, "{findings:#?}");
    for what in NARROWED {
        assert_eq!(result(&findings, what), "works", "{findings:#?}");
        assert!(text(&findings, what, "said").contains("none of others"), "{findings:#?}");
    }
}

#[rstest]
#[case::eq_is_missing(vec![Operator::Eq], "account_id in ('{account_id}')")]
#[case::eq_and_in_are_missing(vec![Operator::Eq, Operator::In], "contains(account_id, '{account_id}')")]
#[tokio::test(flavor = "multi_thread")]
async fn where_another_filter_narrows_the_line_to_write_is_told(
    #[case] missing_operators: Vec<Operator>,
    #[case] line: &str,
    #[values(ACME, LISTED)] sections: &str,
) {
    let talkdesk = with_quirks(Quirks { missing_operators, ..Quirks::default() }).await;
    let (code, findings) = findings(&talkdesk, sections).await;
    assert_eq!(code, 1);
    for what in NARROWED {
        assert_eq!(result(&findings, what), "fails", "{findings:#?}");
        let remedy = text(&findings, what, "remedy");
        assert!(remedy.contains(&format!("`account_filter: \"{line}\"`")), "{findings:#?}");
    }
    let filter = format!("account_filter: \"{line}\"\n---\n{sections}");
    let (code, findings) = self::findings(&talkdesk, &filter).await;
    assert_eq!(code, 0, "the line works: {findings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_every_filter_is_refused_that_is_told() {
    let talkdesk = with_quirks(Quirks { filter: FilterMode::Refused, ..Quirks::default() }).await;
    let (code, findings) = findings(&talkdesk, LISTED).await;
    assert_eq!(code, 1);
    for what in NARROWED {
        assert_eq!(result(&findings, what), "fails", "{findings:#?}");
        assert!(text(&findings, what, "said").contains("answered 400"), "{findings:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_the_account_field_is_told_with_the_members_that_it_has() {
    let talkdesk = with_quirks(Quirks { account_field: "accountId".into(), ..Quirks::default() }).await;
    let (code, findings) = findings(&talkdesk, ACME).await;
    assert_eq!(code, 1);
    for what in NARROWED {
        assert_eq!(result(&findings, what), "fails", "{findings:#?}");
        assert!(text(&findings, what, "said").contains("accountId"), "{findings:#?}");
        assert!(text(&findings, what, "remedy").contains("upstream.account_field"), "{findings:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_of_the_configuration_are_kept() {
    let talkdesk = Talkdesk::samples().await;
    let limits = "limits: { upstream: { rate: 10/s, burst: 1, concurrency: 1, max_wait: 0s } }\n";
    let begin = tokio::time::Instant::now();
    let (code, findings) = findings(&talkdesk, &format!("{ACME}{limits}")).await;
    assert_eq!(code, 0, "{findings:#?}");
    let took = begin.elapsed();
    assert!(took.as_millis() >= 650, "eight requests, a tenth of a second apart: {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_says_what_to_do_and_progress_is_told_meanwhile() {
    let talkdesk = Talkdesk::samples().await;
    let output = run(&talkdesk, STARK, &[]).await;
    let (table, progress) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
    let line = table.lines().find(|line| line.contains("scope_missing")).expect("a line");
    assert!(line.trim_start().starts_with("FAILS") && line.contains("invoices"), "{table}");
    assert!(table.contains("-> Have Talkdesk add the scope"), "{table}");
    assert!(table.trim_end().ends_with("fails: 1, unproven: 0, not asked: 0"), "{table}");
    for step in ["token", "accounts", "products", "accounts of subscriptions"] {
        assert!(progress.contains(&format!("[1/1] organizations/stark: {step}\n")), "{progress}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_added_endpoint_of_which_no_path_is_known_is_said_not_to_be_asked() {
    let talkdesk = Talkdesk::samples().await;
    let endpoints = "endpoints: { reports: { path: /reports/* } }";
    let sections = format!("{endpoints}\n---\n{ACME}");
    let (code, findings) = findings(&talkdesk, &sections).await;
    assert_eq!(code, 0, "{findings:#?}");
    assert_eq!(result(&findings, "reports"), "not_asked");
    assert!(text(&findings, "reports", "said").starts_with("its path ends in `/*`"), "{findings:#?}");
    let table = run(&talkdesk, &sections, &[]).await.stdout;
    let table = String::from_utf8_lossy(&table);
    let line = table.lines().find(|line| line.contains("so there is no path to request")).expect("a line");
    assert!(line.trim_start().starts_with("not asked  reports "), "{line}");
    assert!(table.trim_end().ends_with("not asked: 1"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_configuration_is_refused_before_anything_is_asked() {
    let talkdesk = Talkdesk::samples().await;
    let output = run(&talkdesk, "organizations: []\n", &[]).await;
    assert_eq!(output.status.code(), Some(2));
    std::fs::remove_file(talkdesk.folder.path().join("acme-client-secret")).expect("removed");
    let output = run(&talkdesk, ACME, &[]).await;
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(talkdesk.counts(), (0, 0));
}
