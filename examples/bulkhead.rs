//! Does a tenant whose upstream is slow slow the others down?
//!
//! ```sh
//! cargo run --release --example bulkhead
//! ```
//!
//! Rounds alternate between all well and one Organization whose API takes 30 seconds while clients keep asking for
//! it. In each, the hits and the misses of the other Organizations are timed. What counts is the ratio of the two
//! 99th percentiles within a pair of rounds, and of those the median.

use std::fmt::Write as _;
use std::process::ExitCode;
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
const OTHERS: usize = 8;
const REQUESTS: usize = 400;

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
        "pair", "hit p99", "with a slow", "miss p99", "with a slow"
    );
    for pair in 1..=PAIRS {
        let well = round(false).await;
        let slow = round(true).await;
        println!(
            "{pair:>6} {:>12.3?} {:>12.3?} {:>12.3?} {:>12.3?}",
            well.hits, slow.hits, well.misses, slow.misses
        );
        ratios[0].push(slow.hits.as_secs_f64() / well.hits.as_secs_f64());
        ratios[1].push(slow.misses.as_secs_f64() / well.misses.as_secs_f64());
    }
    let [hits, misses] = ratios.map(|mut ratios| {
        ratios.sort_by(f64::total_cmp);
        ratios[PAIRS / 2]
    });
    println!("median ratio of the 99th percentiles: hits {hits:.2}, misses {misses:.2} (to be at most 1.5)");
    if hits <= 1.5 && misses <= 1.5 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn round(one_is_slow: bool) -> Round {
    let clock = Clock::System;
    let folder = tempfile::tempdir().expect("a folder");
    let simulator =
        Simulator::start(Options::synthetic(OTHERS + 1, 1, 2000), clock.clone()).await.expect("a simulator");
    simulator.write_credentials(folder.path()).expect("secrets");
    let config = parse(&configuration(&simulator), "bulkhead.yaml", folder.path(), &Environment::empty());
    let app = App::start(config.expect("a configuration"), clock.clone()).await.expect("a proxy");
    let base = format!("http://{}", app.addresses().data);
    let browser: Browser = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    for other in 1..=OTHERS {
        get(&browser, &format!("{base}/organizations/organization-{other}/express/products")).await;
    }
    let slow = format!("organization-{}", OTHERS + 1);
    let mut waiting = Vec::new();
    if one_is_slow {
        let kind = FaultKind::Slow { milliseconds: 30_000 };
        let fault =
            Fault { target: Target::Api, account: Some(slow.clone()), path: None, count: 10_000, kind };
        simulator.control().inject(fault).expect("a fault");
        for page in 1..=200 {
            let url = format!("{base}/organizations/{slow}/express/invoices?page={page}");
            let browser = browser.clone();
            waiting.push(tokio::spawn(async move { get(&browser, &url).await }));
        }
        clock.sleep(Duration::from_millis(200)).await;
    }
    let (mut hits, mut misses) = (Vec::new(), Vec::new());
    for number in 0..REQUESTS {
        let other = number % OTHERS + 1;
        let began = clock.now();
        get(&browser, &format!("{base}/organizations/organization-{other}/express/products")).await;
        hits.push(clock.now().since(began.monotonic));
        let began = clock.now();
        let page = number / OTHERS + 1;
        get(&browser, &format!("{base}/organizations/organization-{other}/express/invoices?page={page}"))
            .await;
        misses.push(clock.now().since(began.monotonic));
    }
    for task in waiting {
        task.abort();
    }
    app.stop(std::future::ready(())).await;
    simulator.shutdown().await;
    Round { hits: percentile(hits), misses: percentile(misses) }
}

fn configuration(simulator: &Simulator) -> String {
    let mut yaml = format!(
        "server: {{ listen: \"127.0.0.1:0\", admin: \"127.0.0.1:0\", drain_delay: 0s }}\nlog: {{ access: false, level: error }}\n\
         upstream: {{ api_url: \"{}\", token_url: \"{}\" }}\n\
         limits:\n  upstream: {{ rate: 10000/s, burst: 10000, concurrency: 8, max_wait: 10s }}\norganizations:\n",
        simulator.url(),
        simulator.token_url()
    );
    for credential in simulator.credentials() {
        let _ = writeln!(
            yaml,
            "  - {{ id: {0}, discover_accounts: false, credential: {{ account: {0}, client_id: \"{1}\", client_secret: {{ file: {2} }} }} }}",
            credential.account,
            credential.client_id,
            credential.file_name()
        );
    }
    yaml
}

async fn get(browser: &Browser, url: &str) {
    let request = Request::builder().uri(url).body(Full::default()).expect("a request");
    let response = browser.request(request).await.expect("an answer");
    let _ = response.into_body().collect().await;
}

fn percentile(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100]
}
