//! The program itself, as a process: what the system may keep of its memory, and what `check` and `serve` say of files
//! that are not as they should be.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_billing-insights-proxy");

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder with a configuration and its secret.
fn configured(further: &str, mode: u32) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "s3cret-canary").expect("written");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(mode)).expect("a mode");
    let yaml = format!(
        "server: {{ listen: '127.0.0.1:0', admin: '127.0.0.1:0', drain_delay: 0s }}\norganizations:\n  - id: acme\n    discover_accounts: \
         false\n    credential: {{ account: acme, client_id: id, client_secret: {{ file: secret }} }}\n{further}"
    );
    std::fs::write(folder.path().join("config.yaml"), yaml).expect("written");
    folder
}

fn command(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args([name, "--config"]).arg(folder.join("config.yaml")).env_remove("CREDENTIALS_DIRECTORY");
    command
}

/// Serves, and gives what it said up to the moment at which it does. Nobody reads what it says after that.
fn serve(folder: &Path) -> (Running, String) {
    let mut serving = Running(
        command("serve", folder).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the program"),
    );
    let mut said = String::new();
    for line in BufReader::new(serving.0.stderr.take().expect("its words")).lines() {
        let line = line.expect("text");
        said += &line;
        if line.contains("\"serving\"") {
            return (serving, said);
        }
    }
    panic!("it does not serve: {said}");
}

fn check(folder: &Path) -> (Option<i32>, String) {
    let output = command("check", folder).output().expect("the program");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
#[cfg(target_os = "linux")]
fn a_process_that_serves_leaves_no_core_dump() {
    let folder = configured("", 0o600);
    let (serving, _) = serve(folder.path());
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", serving.0.id())).expect("its limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a line");
    let values: Vec<_> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(values, ["0", "0"], "{core}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_process_that_serves_takes_no_huge_pages() {
    let folder = configured("", 0o600);
    let (serving, _) = serve(folder.path());
    let status = std::fs::read_to_string(format!("/proc/{}/status", serving.0.id())).expect("its status");
    let told = status.lines().find_map(|line| line.strip_prefix("THP_enabled:")).map(str::trim);
    assert!(matches!(told, None | Some("0")), "older systems do not say: {told:?}");
}

#[test]
fn a_secret_that_others_can_read_draws_a_warning_and_no_more() {
    for (mode, warned) in [(0o644, true), (0o640, true), (0o600, false), (0o400, false)] {
        let folder = configured("", mode);
        let (code, said) = check(folder.path());
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(said.contains("can be read by others"), warned, "{mode:o}: {said}");
        let (_serving, said) = serve(folder.path());
        assert_eq!(said.contains("can be read by others"), warned, "{mode:o}: {said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
}

#[test]
fn an_audit_log_that_can_not_be_written_is_refused_by_check_and_at_the_start() {
    let folder = configured("log: { audit: nowhere/audit.jsonl }\n", 0o600);
    let (code, said) = check(folder.path());
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("log.audit") && said.contains("nowhere/audit.jsonl"), "{said}");
    let output = command("serve", folder.path()).output().expect("the program");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("log.audit"), "{said}");
    let folder = configured("log: { audit: audit.jsonl }\n", 0o600);
    assert_eq!(check(folder.path()).0, Some(0));
    assert!(!folder.path().join("audit.jsonl").exists(), "check makes nothing");
}

#[test]
fn a_listener_that_other_machines_can_reach_is_said_at_the_start() {
    let folder = configured("", 0o600);
    let file = folder.path().join("config.yaml");
    let yaml = std::fs::read_to_string(&file).expect("text");
    let yaml = yaml.replace("listen: '127.0.0.1:0'", "listen: '0.0.0.0:0', allow_non_loopback: true");
    std::fs::write(&file, yaml).expect("written");
    let (_serving, said) = serve(folder.path());
    assert!(said.contains("server.listen is 0.0.0.0:0, which other machines can reach"), "{said}");
}

#[test]
fn the_start_says_how_many_tenants_are_entitled_and_how_many_are_refused() {
    let reseller = "instances:\n  - { name: initech, organization: Someone Else }\n";
    let folder = configured(&format!("log: {{ format: json }}\n{reseller}"), 0o600);
    let (_serving, said) = serve(folder.path());
    for part in ["\"tenants\":2", "\"entitled\":1", "\"refused\":1"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_reload_that_a_signal_asks_for_is_audited_whether_it_is_done_or_refused() {
    let folder = configured("log: { audit: audit.jsonl }\n", 0o600);
    let (serving, _) = serve(folder.path());
    let hang_up = || {
        let status = Command::new("kill").args(["-HUP", &serving.0.id().to_string()]).status();
        assert!(status.expect("kill").success());
    };
    hang_up();
    assert_eq!(reloads(folder.path(), 1), ["ok"]);
    std::fs::write(folder.path().join("config.yaml"), "server: [\n").expect("written");
    hang_up();
    assert_eq!(reloads(folder.path(), 2), ["ok", "refused"]);
}

/// How the reloads went that the audit log has, once it has so many; after ten seconds whatever it has.
fn reloads(folder: &Path, many: usize) -> Vec<String> {
    let mut results = Vec::new();
    for _ in 0..1_000 {
        let text = std::fs::read_to_string(folder.join("audit.jsonl")).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let reloads = lines.filter(|line| line["event.name"] == "billing_insights_proxy.audit.reload");
        results = reloads
            .map(|line| line["billing_insights_proxy.result"].as_str().unwrap_or_default().to_owned())
            .collect();
        if results.len() >= many {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    results
}
