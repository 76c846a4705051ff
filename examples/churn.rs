//! Churn: a full cache, and requests for ever new URLs with answers of all sizes, for as long as one likes.
//!
//! ```sh
//! cargo run --release --example churn -- --seconds 300
//! ```
//!
//! Everything happens in this process and on the loopback interface: a simulated Talkdesk, the proxy before it, and
//! the clients. It prints the resident memory as it goes, and fails where that is ever more than 1.25 times
//! `max_bytes` and 40 MiB.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use billing_insights_proxy::app::App;
use billing_insights_proxy::clock::Clock;
use billing_insights_proxy::config::{Environment, parse};
use billing_insights_proxy::simulator::{Options, Simulator};
use bytes::Bytes;
use bytesize::ByteSize;
use clap::Parser;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

#[derive(Parser)]
struct Arguments {
    /// How long it runs
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How much the cache may hold
    #[arg(long, default_value = "64MiB")]
    max_bytes: ByteSize,
    /// Clients that ask at once
    #[arg(long, default_value_t = 16)]
    clients: u64,
    /// What the requests are drawn by; the same seed draws the same
    #[arg(long)]
    seed: Option<u64>,
}

/// Clients and simulator need some memory too, whatever the cache holds.
const ALLOWANCE: u64 = 40 << 20;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(churn(&arguments)),
        Err(error) => {
            eprintln!("no runtime: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn churn(arguments: &Arguments) -> ExitCode {
    let drawn_by = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    let clock = Clock::System;
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { max_per_page: 1000, ..Options::synthetic(4, 2, 600) };
    let simulator = Simulator::start(options, clock.clone()).await.expect("a simulator");
    simulator.write_credentials(folder.path()).expect("secrets");
    let yaml = configuration(&simulator, arguments.max_bytes.as_u64());
    let config = parse(&yaml, "churn.yaml", folder.path(), &Environment::empty()).expect("a configuration");
    let app = App::start(config, clock.clone()).await.expect("a proxy");
    let (data, admin) = (app.addresses().data.clone(), app.addresses().admin.clone());
    let ends = clock.now().after(Duration::from_secs(arguments.seconds));
    let most = arguments.max_bytes.as_u64() / 4 * 5 + ALLOWANCE;
    println!("seed {drawn_by}, max_bytes {}, at most {} resident", arguments.max_bytes, ByteSize(most));

    let (answers, bytes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut clients = Vec::new();
    for number in 0..arguments.clients {
        let random = fastrand::Rng::with_seed(drawn_by.wrapping_add(number));
        let (data, clock) = (data.clone(), clock.clone());
        let (answers, bytes) = (Arc::clone(&answers), Arc::clone(&bytes));
        clients.push(tokio::spawn(async move {
            ask(&data, random, &answers, &bytes, || clock.now().monotonic < ends).await;
        }));
    }
    let (mut highest, mut seconds) = (0, 0);
    while clock.now().monotonic < ends {
        clock.sleep(Duration::from_secs(1)).await;
        drop(simulator.control().take_counters());
        let resident = resident();
        highest = highest.max(resident);
        seconds += 1;
        if seconds % 10 == 0 {
            println!(
                "{seconds:4} s: {} resident, {} cached, {} answers of {}",
                ByteSize(resident),
                ByteSize(cached(&admin).await),
                answers.load(Ordering::Relaxed),
                ByteSize(bytes.load(Ordering::Relaxed)),
            );
        }
    }
    for client in clients {
        client.await.expect("no client panics");
    }
    let full = cached(&admin).await;
    app.stop(std::future::pending()).await;
    simulator.shutdown().await;
    println!("highest {} of {}", ByteSize(highest), ByteSize(most));
    if bytes.load(Ordering::Relaxed) > 2 * arguments.max_bytes.as_u64()
        && full < arguments.max_bytes.as_u64() / 2
    {
        println!("FAILED: the cache is not full");
        return ExitCode::FAILURE;
    }
    if highest > most {
        println!("FAILED: more memory than promised");
        return ExitCode::FAILURE;
    }
    println!("passed");
    ExitCode::SUCCESS
}

fn configuration(simulator: &Simulator, max_bytes: u64) -> String {
    let mut yaml = format!(
        "server: {{ listen: \"127.0.0.1:0\", admin: \"127.0.0.1:0\", drain_delay: 0s }}\n\
         log: {{ access: false, level: error }}\n\
         upstream: {{ api_url: \"{}\", token_url: \"{}\" }}\n\
         limits:\n  upstream: {{ rate: 1000000/s, burst: 10000, concurrency: 64 }}\n\
         cache: {{ max_bytes: {max_bytes}B, max_entry_bytes: 8MiB }}\norganizations:\n",
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

/// One client: asks for what nobody asked for before, mostly little, sometimes much, now and then again.
async fn ask(
    data: &str,
    mut random: fastrand::Rng,
    answers: &AtomicU64,
    bytes: &AtomicU64,
    goes_on: impl Fn() -> bool,
) {
    let browser: Client<HttpConnector, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(HttpConnector::new());
    let mut last = String::new();
    while goes_on() {
        if last.is_empty() || random.u8(0..10) > 0 {
            let records = if random.u8(0..10) == 0 { random.u32(100..1000) } else { random.u32(1..40) };
            last = format!(
                "http://{data}/organizations/organization-{}/express/invoices?page={}&per_page={records}&note={:x}",
                random.u8(1..=4),
                random.u8(1..=3),
                random.u64(..)
            );
        }
        let request = Request::builder().uri(&last).body(Full::default()).expect("a request");
        if let Ok(answer) = browser.request(request).await
            && let Ok(body) = answer.into_body().collect().await
        {
            answers.fetch_add(1, Ordering::Relaxed);
            bytes.fetch_add(body.to_bytes().len() as u64, Ordering::Relaxed);
        }
    }
}

/// What the cache says that it holds.
async fn cached(admin: &str) -> u64 {
    let browser: Client<HttpConnector, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    let request =
        Request::builder().uri(format!("http://{admin}/api/cache")).body(Full::default()).expect("a request");
    let Ok(answer) = browser.request(request).await else { return 0 };
    let Ok(body) = answer.into_body().collect().await else { return 0 };
    let shown: serde_json::Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
    shown["bytes"].as_u64().unwrap_or_default()
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kibibytes.unwrap_or_default() * 1024
}
