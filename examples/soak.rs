//! A soak: many clients and tenants, and faults that come and go, for as long as one likes.
//!
//! ```sh
//! cargo run --release --example soak -- --seconds 600
//! ```
//!
//! Everything happens in this process and on the loopback interface: a simulated Talkdesk, the proxy before it, and
//! the clients. Every body is checked for its tenant and its content. It ends by itself, prints what it saw, and fails
//! where a body was wrong, a token was used after its end, or memory kept growing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use billing_insights_proxy::app::App;
use billing_insights_proxy::clock::Clock;
use billing_insights_proxy::config::{Environment, parse};
use billing_insights_proxy::simulator::{Control, Fault, FaultKind, Options, Simulator, Target};
use bytes::Bytes;
use clap::Parser;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Mutex;

#[derive(Parser)]
struct Arguments {
    /// How long it runs
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Clients that ask at once
    #[arg(long, default_value_t = 200)]
    clients: usize,
    /// Organizations, with two Instances each
    #[arg(long, default_value_t = 24)]
    organizations: usize,
    /// What the faults and requests are drawn by; the same seed draws the same
    #[arg(long)]
    seed: Option<u64>,
}

type Browser = Client<HttpConnector, Full<Bytes>>;

/// What was seen, by all clients.
#[derive(Default)]
struct Seen {
    requests: AtomicU64,
    good: AtomicU64,
    stale: AtomicU64,
    wrong: AtomicU64,
    cut_off: AtomicU64,
    api: AtomicU64,
    tokens: AtomicU64,
    expired: AtomicU64,
    codes: Mutex<BTreeMap<String, u64>>,
}

impl Seen {
    /// Adds up what the simulator counted. Taken now and then, so that its own books do not grow with the run.
    fn count(&self, control: &Control) {
        let counters = control.take_counters();
        self.api.fetch_add(counters.api.total, Ordering::Relaxed);
        self.tokens.fetch_add(counters.tokens.total, Ordering::Relaxed);
        self.expired.fetch_add(counters.api.expired_token, Ordering::Relaxed);
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(soak(&arguments)),
        Err(error) => {
            eprintln!("no runtime: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn soak(arguments: &Arguments) -> ExitCode {
    let drawn_by = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    println!(
        "seed {drawn_by}, {} clients, {} organizations, {} s",
        arguments.clients, arguments.organizations, arguments.seconds
    );
    let clock = Clock::System;
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options {
        token_lifetime: Duration::from_secs(20),
        ..Options::synthetic(arguments.organizations, 2, 30)
    };
    let simulator = Simulator::start(options, clock.clone()).await.expect("a simulator");
    simulator.write_credentials(folder.path()).expect("secrets");
    let config = parse(&configuration(&simulator), "soak.yaml", folder.path(), &Environment::empty())
        .expect("a configuration");
    let app = App::start(config, clock.clone()).await.expect("a proxy");
    let base = format!("http://{}", app.addresses().data);
    let seen = Arc::new(Seen::default());
    let ends = clock.now().after(Duration::from_secs(arguments.seconds));

    let faults = tokio::spawn(make_trouble(
        simulator.control(),
        clock.clone(),
        fastrand::Rng::with_seed(drawn_by),
        Arc::clone(&seen),
        ends,
    ));
    let mut clients = Vec::new();
    for number in 0..arguments.clients {
        let random = fastrand::Rng::with_seed(drawn_by.wrapping_add(number as u64 + 1));
        let (base, seen, clock) = (base.clone(), Arc::clone(&seen), clock.clone());
        clients.push(tokio::spawn(ask(base, arguments.organizations, random, seen, clock, ends)));
    }
    let memory_at_start = settled_memory(&clock, arguments.seconds).await;
    for client in clients {
        client.await.expect("no client panics");
    }
    faults.await.expect("no panic");
    seen.count(&simulator.control());
    let memory_at_end = resident_kib();

    let wrong = seen.wrong.load(Ordering::Relaxed);
    println!("requests {}", seen.requests.load(Ordering::Relaxed));
    println!(
        "  good {} (of these stale {})",
        seen.good.load(Ordering::Relaxed),
        seen.stale.load(Ordering::Relaxed)
    );
    println!("  cut off {}", seen.cut_off.load(Ordering::Relaxed));
    println!("  wrong {wrong}");
    for (code, count) in seen.codes.lock().await.iter() {
        println!("  refused: {code} {count}");
    }
    let total = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!("upstream: {} API requests, {} token requests", total(&seen.api), total(&seen.tokens));
    println!("tokens used after their end: {}", total(&seen.expired));
    println!("resident memory: {memory_at_start} KiB after warming up, {memory_at_end} KiB at the end");
    app.stop(std::future::pending()).await;
    simulator.shutdown().await;
    let grew = memory_at_end > memory_at_start + memory_at_start / 20;
    if grew && arguments.seconds >= 180 {
        println!("FAILED: memory grew by more than 5 %");
    }
    if wrong == 0 && total(&seen.expired) == 0 && !(grew && arguments.seconds >= 180) {
        println!("passed");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn configuration(simulator: &Simulator) -> String {
    let mut yaml = format!(
        "server: {{ listen: \"127.0.0.1:0\", admin: \"127.0.0.1:0\", drain_delay: 0s }}\nlog: {{ access: false, level: error }}\n\
         upstream: {{ api_url: \"{}\", token_url: \"{}\", request_timeout: 5s, stale_wait: 500ms }}\n\
         limits:\n  upstream: {{ rate: 50/s, burst: 100, concurrency: 8, max_wait: 2s, max_pause: 5s }}\n\
         cache:\n  max_bytes: 64MiB\n  max_entry_bytes: 1MiB\n  endpoints:\n    invoices: {{ ttl: 2s, stale_while_revalidate: 2s, stale_if_error: 30s, min_refresh: 1s }}\n\
         \n    monthly_usage: {{ ttl: 1s, stale_while_revalidate: 0s, stale_if_error: 5s, min_refresh: 0s }}\norganizations:\n",
        simulator.url(),
        simulator.token_url()
    );
    for credential in simulator.credentials() {
        let _ = writeln!(
            yaml,
            "  - {{ id: {0}, credential: {{ account: {0}, client_id: \"{1}\", client_secret: {{ file: {2} }} }} }}",
            credential.account,
            credential.client_id,
            credential.file_name()
        );
    }
    yaml
}

/// One client: asks at random until the end, and checks what it gets.
async fn ask(
    base: String,
    organizations: usize,
    mut random: fastrand::Rng,
    seen: Arc<Seen>,
    clock: Clock,
    ends: std::time::Instant,
) {
    let browser: Browser =
        Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(HttpConnector::new());
    while clock.now().monotonic < ends {
        let number = random.usize(1..=organizations);
        let path = ["invoices", "usage/month", "subscriptions", "products"][random.usize(0..4)];
        let instance = random.bool().then(|| random.usize(1..=2));
        let tenant = match instance {
            Some(instance) => format!("instances/instance-{number}-{instance}"),
            None => format!("organizations/organization-{number}"),
        };
        let url = format!("{base}/{tenant}/express/{path}?page={}", random.usize(1..=2));
        let mut request = Request::builder().uri(&url);
        if random.u8(0..10) == 0 {
            request = request.header("cache-control", "no-cache");
        }
        let request = request.body(Full::default()).expect("a request");
        seen.requests.fetch_add(1, Ordering::Relaxed);
        let impatient = random.u8(0..20) == 0;
        let answer = browser.request(request);
        if impatient {
            // A client that leaves in the middle.
            let _ = clock.timeout(Duration::from_millis(random.u64(1..20)), answer).await;
        } else if let Ok(response) = answer.await {
            check(response, number, instance, &tenant, &seen).await;
        } else {
            seen.cut_off.fetch_add(1, Ordering::Relaxed);
        }
        clock.sleep(Duration::from_millis(random.u64(1..50))).await;
    }
}

async fn check(
    response: http::Response<hyper::body::Incoming>,
    organization: usize,
    instance: Option<usize>,
    tenant: &str,
    seen: &Seen,
) {
    let (head, body) = response.into_parts();
    let Ok(body) = body.collect().await else {
        seen.cut_off.fetch_add(1, Ordering::Relaxed);
        return;
    };
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(&body.to_bytes()) else {
        seen.wrong.fetch_add(1, Ordering::Relaxed);
        eprintln!("{tenant}: a {} that is no JSON", head.status);
        return;
    };
    if head.status != 200 {
        let code = value["code"].as_str().unwrap_or("(none)").to_owned();
        *seen.codes.lock().await.entry(format!("{} {code}", head.status.as_u16())).or_default() += 1;
        return;
    }
    let label = head.headers.get("x-tenant").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let own = |record: &serde_json::Value| owns(organization, instance, record["account_id"].as_str());
    let records = ["invoices", "usage", "subscriptions"]
        .into_iter()
        .filter_map(|name| value["_embedded"][name].as_array());
    if label == tenant && records.flatten().all(own) {
        seen.good.fetch_add(1, Ordering::Relaxed);
        let status =
            head.headers.get("cache-status").and_then(|value| value.to_str().ok()).unwrap_or_default();
        if status.contains("hit") && status.contains("detail=") {
            seen.stale.fetch_add(1, Ordering::Relaxed);
        }
    } else {
        seen.wrong.fetch_add(1, Ordering::Relaxed);
        eprintln!("{tenant}: an answer of {label}");
    }
}

/// Whether an account id is of this Organization, and of this Instance of it: the simulator numbers them in order.
fn owns(organization: usize, instance: Option<usize>, account_id: Option<&str>) -> bool {
    let options = Options::synthetic(organization, 2, 0);
    let Some(tenant) = options.tenants.get(organization - 1) else { return false };
    let mut instances = tenant.instances.iter().enumerate();
    instances.any(|(place, known)| {
        Some(known.id.as_str()) == account_id && instance.is_none_or(|own| own == place + 1)
    })
}

/// Faults that come and go, each for a few requests.
async fn make_trouble(
    control: Control,
    clock: Clock,
    mut random: fastrand::Rng,
    seen: Arc<Seen>,
    ends: std::time::Instant,
) {
    while clock.now().monotonic < ends {
        let target = if random.u8(0..4) == 0 { Target::Token } else { Target::Api };
        let kind = match random.u16(0..330) / 10 {
            0..4 => FaultKind::Status { status: 500, retry_after: None, body: None },
            4..8 => FaultKind::Status { status: 503, retry_after: None, body: None },
            8..10 => FaultKind::Status { status: 429, retry_after: Some("1".into()), body: None },
            10..16 => FaultKind::Slow { milliseconds: random.u64(10..1500) },
            16..20 => FaultKind::Close,
            20..24 => FaultKind::Truncate,
            24..28 => FaultKind::MalformedJson,
            28..32 => FaultKind::Empty,
            // Rare: after two within half a minute a credential is left alone, and nothing else happens.
            _ if random.u8(0..10) == 0 => FaultKind::Revoke,
            _ => FaultKind::Close,
        };
        let fault = Fault { target, account: None, path: None, count: random.u64(1..30), kind };
        seen.count(&control);
        if control.inject(fault).is_err() {
            eprintln!("a fault was refused");
        }
        clock.sleep(Duration::from_millis(random.u64(20..400))).await;
        if random.u8(0..8) == 0 {
            control.clear_faults();
            clock.sleep(Duration::from_secs(2)).await;
        }
    }
    control.clear_faults();
}

/// The resident memory once everything has been used: after a minute, or a third of a shorter run.
async fn settled_memory(clock: &Clock, seconds: u64) -> u64 {
    clock.sleep(Duration::from_secs(60.min(seconds / 3))).await;
    resident_kib()
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
