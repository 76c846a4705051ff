//! Does a client that asks for everything at once slow the others down?
//!
//! ```sh
//! cargo run --release --example fairness
//! ```
//!
//! All ask with one credential, whose API takes 20 milliseconds and whose limit is 400 requests a second. (Where the
//! limit of requests at once is what is used up, whoever is next in turn waits for one of them to end: up to the time
//! that one takes.) Rounds alternate between one client that asks for one page after the other, and the same client beside another that keeps
//! 256 requests waiting all the time. What counts is the ratio of the polite client's 99th percentiles within a pair of
//! rounds, and of those the median; for hits and for misses.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use billing_insights_proxy::app::App;
use billing_insights_proxy::clock::Clock;
use billing_insights_proxy::config::{Environment, parse};
use billing_insights_proxy::simulator::{Fault, FaultKind, Options, Simulator, Target};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

type Browser = Client<HttpConnector, Full<Bytes>>;

const PAIRS: usize = 5;
const REQUESTS: usize = 300;
const GREED: usize = 256;
const LATENCY: u64 = 20;

struct Round {
    hits: Duration,
    misses: Duration,
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let Ok(runtime) = runtime else { return ExitCode::FAILURE };
    runtime.block_on(compare())
}

async fn compare() -> ExitCode {
    let mut ratios: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    println!(
        "{:>6} {:>12} {:>12} {:>12} {:>12}",
        "pair", "hit p99", "beside greed", "miss p99", "beside greed"
    );
    for pair in 1..=PAIRS {
        let alone = round(false).await;
        let beside = round(true).await;
        println!(
            "{pair:>6} {:>12.3?} {:>12.3?} {:>12.3?} {:>12.3?}",
            alone.hits, beside.hits, alone.misses, beside.misses
        );
        ratios[0].push(beside.hits.as_secs_f64() / alone.hits.as_secs_f64());
        ratios[1].push(beside.misses.as_secs_f64() / alone.misses.as_secs_f64());
    }
    let [hits, misses] = ratios.map(|mut ratios| {
        ratios.sort_by(f64::total_cmp);
        ratios[PAIRS / 2]
    });
    println!(
        "median ratio of the 99th percentiles: hits {hits:.2}, misses {misses:.2} (misses to be at most 1.5)"
    );
    if misses <= 1.5 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn round(beside_greed: bool) -> Round {
    let clock = Clock::System;
    let folder = tempfile::tempdir().expect("a folder");
    let simulator =
        Simulator::start(Options::synthetic(1, 1, 2000), clock.clone()).await.expect("a simulator");
    simulator.write_credentials(folder.path()).expect("secrets");
    let kind = FaultKind::Slow { milliseconds: LATENCY };
    let slow = Fault { target: Target::Api, account: None, path: None, count: u32::MAX.into(), kind };
    simulator.control().inject(slow).expect("a fault");
    let config = parse(&configuration(&simulator), "fairness.yaml", folder.path(), &Environment::empty());
    let app = App::start(config.expect("a configuration"), clock.clone()).await.expect("a proxy");
    let base = format!("http://{}/organizations/organization-1/express/invoices", app.addresses().data);
    let polite: Browser = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    get(&polite, &format!("{base}?per_page=1"), "polite").await;
    let done = Arc::new(AtomicBool::new(false));
    let greedy = if beside_greed { GREED } else { 0 };
    let next = Arc::new(AtomicUsize::new(1));
    let others: Vec<_> = (0..greedy)
        .map(|_| {
            let (done, next, base) = (Arc::clone(&done), Arc::clone(&next), base.clone());
            let browser: Browser = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    let page = next.fetch_add(1, Ordering::Relaxed);
                    get(&browser, &format!("{base}?per_page=10&page=1&number={page}"), "greedy").await;
                }
            })
        })
        .collect();
    let mut misses = Vec::new();
    let mut hits = Vec::new();
    for number in 0..REQUESTS {
        let began = clock.now();
        get(&polite, &format!("{base}?per_page=2&page={}", number + 1), "polite").await;
        misses.push(clock.now().since(began.monotonic));
        let began = clock.now();
        get(&polite, &format!("{base}?per_page=2&page={}", number + 1), "polite").await;
        hits.push(clock.now().since(began.monotonic));
    }
    done.store(true, Ordering::Relaxed);
    for other in others {
        let _ = other.await;
    }
    app.stop(std::future::ready(())).await;
    simulator.shutdown().await;
    Round { hits: percentile(hits), misses: percentile(misses) }
}

fn configuration(simulator: &Simulator) -> String {
    let credential = &simulator.credentials()[0];
    format!(
        "server: {{ listen: \"127.0.0.1:0\", admin: \"127.0.0.1:0\", drain_delay: 0s }}\n\
         log: {{ access: false, level: error }}\n\
         upstream: {{ api_url: \"{}\", token_url: \"{}\" }}\n\
         limits:\n  upstream: {{ rate: 400/s, burst: 16, concurrency: 64, max_wait: 30s }}\n\
         \x20 client: {{ rate: 100000/s, burst: 100000, key: {{ field: X-Client-Name }} }}\n\
         organizations:\n  - {{ id: {account}, discover_accounts: false, credential: {{ account: {account}, \
         client_id: \"{}\", client_secret: {{ file: {} }} }} }}\n",
        simulator.url(),
        simulator.token_url(),
        credential.client_id,
        credential.file_name(),
        account = credential.account,
    )
}

async fn get(browser: &Browser, url: &str, name: &str) {
    let request = Request::builder().uri(url).header("x-client-name", name).body(Full::default());
    let response = browser.request(request.expect("a request")).await.expect("an answer");
    assert!(response.status().is_success(), "{}", response.status());
    let _ = response.into_body().collect().await;
}

fn percentile(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100]
}
