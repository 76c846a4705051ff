//! Secrets and tokens are marked, the program runs at its most talkative, everything that can go wrong with them goes
//! wrong, and then all that it wrote and answered is searched for the marks.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use rstest::rstest;

use crate::support::eventually;
use crate::support::peer::{Canned, Peer, TOKEN_PATH, Wire};
use crate::support::raw::say_to;

const SECRET: &str = "canary-secret-7f3a9c5e";
const TOKEN: &str = "canary-token-1b2c3d4e";
const OF_THE_CLIENT: &str = "canary-of-the-client";

/// What must be nowhere.
fn marks() -> Vec<String> {
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("id:{SECRET}"));
    [SECRET, TOKEN, OF_THE_CLIENT, &basic, "canary"].map(str::to_owned).to_vec()
}

struct Running {
    child: Child,
    data: String,
    admin: String,
    folder: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program before that peer, as an operator who looks for a fault would run it.
async fn talkative(peer: &Peer, wire: Wire) -> Running {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("secret"), SECRET).expect("written");
    let ca_file = match wire {
        Wire::HttpMock => String::new(),
        Wire::TlsHttp2 => format!("  ca_file: {}\n", peer.folder().join("ca.pem").display()),
    };
    let yaml = format!(
        "server: {{ listen: '127.0.0.1:0', admin: '127.0.0.1:0', drain_delay: 0s }}\nupstream:\n  api_url: {url}\n  token_url: \
         {url}{TOKEN_PATH}\n{ca_file}organizations:\n  - id: acme\n    credential: {{ account: acme, client_id: id, client_secret: \
         {{ file: secret }} }}\n    discover_accounts: false\nlog: {{ level: trace, audit: audit.jsonl }}\ncache: {{ max_entry_bytes: \
         4KiB }}\nlimits: {{ token: {{ rate: 1000/s, burst: 1000 }} }}\n",
        url = peer.url(),
    );
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, yaml).expect("written");
    let output = |name: &str| std::fs::File::create(folder.path().join(name)).expect("a file");
    let child = Command::new(env!("CARGO_BIN_EXE_billing-insights-proxy"))
        .args(["serve", "--config"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(output("stdout"))
        .stderr(output("stderr"))
        .spawn()
        .expect("the program");
    let mut running = Running { child, data: String::new(), admin: String::new(), folder };
    let serving = eventually("it serves", async || {
        let said = running.read("stderr");
        let line = said.lines().find(|line| line.contains("\"message\":\"serving\""))?;
        serde_json::from_str::<serde_json::Value>(line).ok()
    })
    .await;
    for (address, name) in [(&mut running.data, "data"), (&mut running.admin, "admin")] {
        serving[name].as_str().expect("an address").clone_into(address);
    }
    running
}

impl Running {
    fn read(&self, name: &str) -> String {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(self.folder.path().join(name));
        file.and_then(|mut file| file.read_to_end(&mut bytes)).expect("a file");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    async fn ask(&self, path: &str) -> String {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {OF_THE_CLIENT}\r\nCookie: a={OF_THE_CLIENT}\r\nConnection: \
             close\r\n\r\n",
            self.data
        );
        say_to(&self.data, request.as_bytes()).await
    }

    async fn ask_admin(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin);
        say_to(&self.admin, request.as_bytes()).await
    }
}

/// Answers of the API, by the way in which they are bad for a secret.
fn api_answers() -> Vec<Canned> {
    let echo = format!(r#"{{"echo":"Bearer {TOKEN}"}}"#);
    let long = format!(r#"{{"filler":"{}","echo":"{TOKEN}"}}"#, "a".repeat(20_000));
    vec![
        Canned::json(r#"{"total":1,"_links":{}}"#),
        Canned::json(echo.clone()),
        Canned {
            status: 403,
            ..Canned::json(format!(r#"{{"code":"1","message":"{TOKEN}","description":"","fields":[]}}"#))
        },
        Canned { status: 404, ..Canned::json(echo.clone()) },
        Canned { status: 500, ..Canned::json(echo) },
        Canned::json(long),
        Canned::json(r#"{"total":1,"_links":{}}"#)
            .with("x-echo", TOKEN)
            .with("set-cookie", &format!("a={TOKEN}")),
        Canned::json("this is no JSON"),
        Canned::status(401),
    ]
}

/// Answers of the token endpoint, likewise. Each is met by a program of its own: failures are remembered.
fn token_answers() -> Vec<Canned> {
    let described = |status: u16, error: &str| Canned {
        status,
        ..Canned::json(format!(
            r#"{{"error":"{error}","error_description":"client id has the secret {SECRET}"}}"#
        ))
    };
    vec![
        described(401, "invalid_client"),
        described(400, "invalid_scope"),
        described(500, "server_error"),
        Canned::json(format!(r#"{{"access_token":"{TOKEN}","token_type":"mac"}}"#)),
        Canned::json(format!(r#"{{"access_token":"{TOKEN}"#)),
    ]
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_written_or_answered_holds_a_secret(
    #[values(Wire::HttpMock, Wire::TlsHttp2)] wire: Wire,
) {
    let mut heard = Vec::new();
    for token in std::iter::once(Canned::token(TOKEN)).chain(token_answers()) {
        let peer = Peer::start(wire).await;
        peer.answers(TOKEN_PATH, [token]);
        let mut running = talkative(&peer, wire).await;
        for (number, answer) in api_answers().into_iter().enumerate() {
            peer.answers("/express/invoices", [answer]);
            heard.push(running.ask(&format!("/organizations/acme/express/invoices?page={number}")).await);
        }
        for path in ["/", "/metrics", "/readyz", "/api/tenants", "/api/credentials", "/api/cache"] {
            heard.push(running.ask_admin(path).await);
        }
        // The last lines are written off the path of the requests.
        eventually("the access log is written", async || {
            (running.read("stdout").lines().count() >= api_answers().len()).then_some(())
        })
        .await;
        let arguments = std::fs::read(format!("/proc/{}/cmdline", running.child.id())).unwrap_or_default();
        heard.push(String::from_utf8_lossy(&arguments).into_owned());
        // What ends well has written everything.
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&running.child),
            rustix::process::Signal::TERM,
        )
        .expect("it runs");
        eventually("it ends", async || running.child.try_wait().expect("a child")).await;
        for name in ["stdout", "stderr", "audit.jsonl"] {
            let written = running.read(name);
            assert!(!written.is_empty(), "{name} is empty");
            heard.push(written);
        }
        assert!(running.read("stderr").contains("\"level\":\"TRACE\""), "it is talkative");
        assert!(peer.calls(TOKEN_PATH) > 0, "the secret was used");
    }
    for text in &heard {
        for mark in marks() {
            let place =
                text.find(&mark).map(|place| text[..place].chars().rev().take(300).collect::<String>());
            let before: Option<String> = place.map(|before| before.chars().rev().collect());
            assert!(before.is_none(), "{mark} was given away after: {}", before.unwrap_or_default());
        }
    }
    let answered = heard.iter().filter(|text| text.starts_with("HTTP/1.1 200 ")).count();
    assert!(answered > 10, "something was answered: {answered}");
}
