//! What the tests speak in: a proxy, those who ask it, and a Talkdesk behind it.

pub mod black_hole;
pub mod peer;
pub mod raw;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use billing_insights_proxy::app::App;
use billing_insights_proxy::clock::{Clock, ManualClock};
use billing_insights_proxy::config::{Config, Environment, parse};
use billing_insights_proxy::reload::Source;
use billing_insights_proxy::simulator::{Control, Options, Simulator, samples};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A running proxy, with the clock that it goes by.
pub struct Proxy {
    pub app: App,
    pub clock: ManualClock,
    client: Client<HttpConnector, Full<Bytes>>,
    folder: Arc<TempDir>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub fields: HeaderMap,
    pub body: Bytes,
}

/// The simulated Talkdesk with its secrets on disk.
pub struct Talkdesk {
    pub simulator: Simulator,
    pub folder: Arc<TempDir>,
    pub clock: ManualClock,
}

impl Talkdesk {
    /// The sample tenants.
    pub async fn samples() -> Self {
        Self::start(samples()).await
    }

    pub async fn start(options: Options) -> Self {
        let clock = ManualClock::new();
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let options = Options { listen: "127.0.0.1:0".parse().expect("an address"), ..options };
        let simulator = Simulator::start(options, Clock::Manual(clock.clone())).await.expect("a simulator");
        simulator.write_credentials(folder.path()).expect("secrets");
        Self { simulator, folder, clock }
    }

    pub fn control(&self) -> Control {
        self.simulator.control()
    }

    /// Requests to the API, and for tokens, so far.
    pub fn counts(&self) -> (u64, u64) {
        let counters = self.control().counters();
        (counters.api.total, counters.tokens.total)
    }

    /// A proxy in front of it, with these tenants and further sections.
    pub async fn proxy(&self, tenants: &str, further: &str) -> Proxy {
        let tls = if self.simulator.ca_pem().is_some() { "\n  ca_file: ca.pem" } else { "" };
        let yaml = format!(
            "upstream:\n  api_url: {}\n  token_url: \"{}\"{tls}\n{}\n{tenants}\n{}",
            self.simulator.url(),
            self.simulator.token_url(),
            section(further, "upstream"),
            without_section(further, "upstream"),
        );
        Proxy::start(&yaml, Arc::clone(&self.folder), self.clock.clone()).await
    }
}

/// The lines of one section of a YAML text, without its head.
fn section(yaml: &str, name: &str) -> String {
    let head = format!("{name}:");
    let mut lines = yaml.lines().skip_while(|line| *line != head).skip(1);
    let mut found = Vec::new();
    for line in lines.by_ref() {
        if !line.starts_with(' ') {
            break;
        }
        found.push(line);
    }
    found.join("\n")
}

fn without_section(yaml: &str, name: &str) -> String {
    let head = format!("{name}:");
    let mut inside = false;
    let mut kept = Vec::new();
    for line in yaml.lines() {
        if !line.starts_with(' ') {
            inside = line == head;
        }
        if !inside {
            kept.push(line);
        }
    }
    kept.join("\n")
}

/// The tenants of the demo, which show every rule; accounts are not discovered unless a test says so.
pub const SAMPLE_TENANTS: &str = "
organizations:
  - id: acme
    name: Acme Partners
    credential: { account: acme, client_id: 2f1c9a0e5b7d4c31, client_secret: { file: acme-client-secret } }
    accounts:
      - { id: 5ea75fe7aa224700012eae40, name: josephpinetrees }
    discover_accounts: false
  - id: northwind
    name: Northwind Partners
    credential: { account: northwind, client_id: 7c4a1e90d3b25f68, client_secret: { file: northwind-client-secret } }
    discover_accounts: false
  - id: soylent
    name: Soylent Partners
    enabled: false
    credential: { account: soylent, client_id: 0b8f3c6e92d74a15, client_secret: { file: soylent-client-secret } }
    discover_accounts: false
  - id: stark
    name: Stark Partners
    credential: { account: stark, client_id: d42a80e7f59b4c63, client_secret: { file: stark-client-secret } }
    discover_accounts: false
instances:
  - name: globex
    account_id: 5ea75fe7aa224700012eae41
    organization: Talkdesk
    plan: cx-cloud-elite
    credential: { account: globex, client_id: 9b3d7e21c4a84f60, private_key: { file: globex-key }, key_id: k-2026-01 }
  - name: hooli
    account_id: 5ea75fe7aa224700012eae43
    organization: Talkdesk Internal
    plan: cx-cloud-elite
    credential: { account: hooli, client_id: 51d0f7a3c86e4b29, client_secret: { file: hooli-client-secret } }
  - name: initech
    account_id: 5ea75fe7aa224700012eae42
    organization: Some Reseller
    credential: { account: initech, client_id: c08e6d5b17f94a32, client_secret: { file: initech-client-secret } }
  - name: umbrella
    account_id: 5ea75fe7aa224700012eae44
    organization: Talkdesk
    plan: cx-cloud-essentials
    credential: { account: umbrella, client_id: e6b94d02a71c4f85, client_secret: { file: umbrella-client-secret } }
  - name: wonka
    account_id: 5ea75fe7aa224700012eae45
    organization: Talkdesk
    plan: cx-cloud-elite
";

impl Proxy {
    /// A proxy for a configuration. Listeners and the access log are the test's.
    pub async fn start(yaml: &str, folder: Arc<TempDir>, clock: ManualClock) -> Self {
        let own = "  listen: 127.0.0.1:0\n  admin: 127.0.0.1:0";
        let own =
            if yaml.contains("drain_delay") { own.to_owned() } else { format!("{own}\n  drain_delay: 0s") };
        let yaml = format!(
            "server:\n{own}\n{}\n{}\nlog:\n  access: false\n{}\n",
            section(yaml, "server"),
            without_section(&without_section(yaml, "server"), "log"),
            section(yaml, "log"),
        );
        let config = configuration(&yaml, folder.path());
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, &yaml).expect("written");
        let source = Some(Source { path, environment: Environment::empty() });
        let app = App::start_from(config, source, Clock::Manual(clock.clone())).await.expect("a proxy");
        Self { app, clock, client: client(), folder }
    }

    /// Changes the text of the configuration's file.
    pub fn edit(&self, edit: impl Fn(&str) -> String) {
        let path = self.folder.path().join("config.yaml");
        let text = std::fs::read_to_string(&path).expect("a file");
        let edited = edit(&text);
        assert_ne!(edited, text, "the edit changes nothing");
        std::fs::write(&path, edited).expect("written");
    }

    /// Has the configuration read again.
    pub async fn reload(&self) -> Reply {
        self.admin(Method::POST, "/api/reload").await
    }

    /// The proxy's address as clients write it.
    pub fn base(&self) -> String {
        format!("http://{}", self.app.addresses().data)
    }

    /// The folder with its secrets.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.ask(Method::GET, path, &[]).await
    }

    pub async fn get_with(&self, path: &str, fields: &[(&str, &str)]) -> Reply {
        self.ask(Method::GET, path, fields).await
    }

    pub async fn ask(&self, method: Method, path: &str, fields: &[(&str, &str)]) -> Reply {
        let path = path.strip_prefix(&self.base()).unwrap_or(path);
        self.send(method, path, fields, "").await
    }

    /// A request with a body.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        fields: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let url = format!("{}{path}", self.base());
        send(&self.client, method, &url, fields, body.into()).await.expect("an answer")
    }

    /// Like `ask`, where the answer may be cut off.
    pub async fn try_get(&self, path: &str) -> Result<Reply, String> {
        send(&self.client, Method::GET, &format!("{}{path}", self.base()), &[], Bytes::new()).await
    }

    /// Like `get_with`, at another of its addresses.
    pub async fn get_at(&self, address: &str, path: &str, fields: &[(&str, &str)]) -> Reply {
        let url = format!("http://{address}{path}");
        send(&self.client, Method::GET, &url, fields, Bytes::new()).await.expect("an answer")
    }

    pub async fn admin(&self, method: Method, path: &str) -> Reply {
        let url = format!("http://{}{path}", self.app.addresses().admin);
        send(&self.client, method, &url, &[], Bytes::new()).await.expect("an answer")
    }

    /// The value of a series, summed over the labels that the text names.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let text = self.admin(Method::GET, "/metrics").await.text();
        let wanted: Vec<_> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        text.lines()
            .filter(|line| line.starts_with(&format!("billing_insights_proxy_{name}")))
            .filter(|line| {
                let rest = &line["billing_insights_proxy_".len() + name.len()..];
                rest.starts_with('{') || rest.starts_with(' ')
            })
            .filter(|line| wanted.iter().all(|label| line.contains(label.as_str())))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Moves the time.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Follows `next` from a page to the last, as a client that knows nothing of the proxy would.
    pub async fn walk(&self, first: &str, fields: &[(&str, &str)]) -> Vec<serde_json::Value> {
        let mut records = Vec::new();
        let mut next = Some(first.to_owned());
        while let Some(path) = next {
            let reply = self.get_with(&path, fields).await;
            assert_eq!(reply.status, StatusCode::OK, "{path}: {}", reply.text());
            let page = reply.json();
            let embedded = page["_embedded"].as_object().expect("records").values().next().expect("a list");
            records.extend(embedded.as_array().expect("a list").iter().cloned());
            let links = if page["_links"].is_object() { &page["_links"] } else { &page };
            next = links["next"]["href"].as_str().map(str::to_owned);
            if let Some(next) = &next {
                assert!(next.starts_with(&self.base()), "a link leaves the proxy: {next}");
            }
        }
        records
    }
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Every line of a field, as bytes.
    pub fn lines(&self, name: &str) -> Vec<&[u8]> {
        self.fields.get_all(name).iter().map(http::HeaderValue::as_bytes).collect()
    }

    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// The code of a problem.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Fails unless it is a problem that the proxy made, with every member that one must have.
    pub fn assert_problem(&self, status: u16, code: &str) -> serde_json::Value {
        assert_eq!((self.status.as_u16(), self.code().as_str()), (status, code), "{:.400}", self.text());
        assert_eq!(self.field("content-type"), "application/problem+json");
        assert_eq!(self.field("cache-control"), "no-store");
        assert!(
            self.field("proxy-status").starts_with("billing-insights-proxy; error="),
            "{:?}",
            self.fields
        );
        let problem = self.json();
        for member in ["type", "title", "detail", "message", "description", "request_id"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {problem}");
        }
        assert_eq!(problem["status"], status);
        assert!(problem["fields"].is_array(), "{problem}");
        assert_eq!(problem["request_id"], self.field("x-request-id"));
        assert_eq!(problem["tenant"].as_str().unwrap_or_default(), self.field("x-tenant"));
        problem
    }

    /// What the proxy said of its cache.
    pub fn cache_status(&self) -> &str {
        self.field("cache-status")
            .strip_prefix("billing-insights-proxy")
            .expect("the proxy's own")
            .trim_start_matches("; ")
    }
}

/// A filter as a query parameter, in the form that goes upstream.
pub fn filter(filter: &str) -> String {
    let value: String = form_urlencoded::byte_serialize(filter.as_bytes()).collect();
    format!("filter={}", value.replace('+', "%20"))
}

/// The `ttl` of a `Cache-Status`, or less by the jitter that our rules have.
pub fn is_nearly(cache_status: &str, expected: &str) -> bool {
    let parted = |status: &str| -> Option<(String, i64)> {
        let (before, rest) = status.split_once("ttl=")?;
        let end = rest.find(';').unwrap_or(rest.len());
        Some((format!("{before}{}", &rest[end..]), rest[..end].parse().ok()?))
    };
    let (Some((words, ttl)), Some((expected_words, most))) = (parted(cache_status), parted(expected)) else {
        return cache_status == expected;
    };
    words == expected_words && ttl <= most && ttl >= most - most.abs() / 20 - 5
}

/// A configuration that must be right.
pub fn configuration(yaml: &str, folder: &Path) -> Config {
    parse(yaml, "test.yaml", folder, &Environment::empty())
        .unwrap_or_else(|faults| panic!("{faults}\n{yaml}"))
}

/// Sends bytes to a Unix socket, and gives what comes back until the connection ends.
pub async fn say_to_file(path: &Path, bytes: &[u8]) -> String {
    let mut stream = tokio::net::UnixStream::connect(path).await.expect("a connection");
    stream.write_all(bytes).await.expect("sent");
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await.expect("an answer");
    String::from_utf8_lossy(&heard).into_owned()
}

/// Waits for something that happens by itself, and fails where it does not within ten seconds.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "it did not come to pass: {what}");
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A client that keeps connections open.
pub fn client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build(HttpConnector::new())
}

async fn send(
    client: &Client<HttpConnector, Full<Bytes>>,
    method: Method,
    url: &str,
    fields: &[(&str, &str)],
    body: Bytes,
) -> Result<Reply, String> {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body)).expect("a request");
    let response = client.request(request).await.map_err(|error| error.to_string())?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
    Ok(Reply { status: head.status, fields: head.headers, body })
}
