//! What a hit costs beside the least that an HTTP server can do.
//!
//! ```sh
//! cargo run --release --example hits -- proxy 200000
//! cargo run --release --example hits -- bare 200000
//! ```
//!
//! One connection in memory, requests one after the other: first one that fills the cache, then so many hits. `bare` is
//! hyper alone, with a body of about the same size. Run under `valgrind --tool=callgrind`, the difference
//! between two numbers of requests is the instructions of a request, which are the same each time.

use std::process::ExitCode;

use billing_insights_proxy::clock::Clock;
use tokio::io::DuplexStream;

#[path = "../benches/in_memory/mod.rs"]
mod in_memory;

/// The program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (what, requests) = (arguments.next().unwrap_or_default(), arguments.next());
    let requests: usize = requests.and_then(|number| number.parse().ok()).unwrap_or(100_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return ExitCode::FAILURE };
    runtime.block_on(async {
        match what.as_str() {
            "proxy" => {
                let (connection, _alive) = in_memory::proxy().await;
                measure("proxy", connection, requests).await;
            }
            "bare" => measure("bare", in_memory::bare(), requests).await,
            _ => {
                eprintln!("usage: hits proxy|bare [REQUESTS]");
                return ExitCode::from(2);
            }
        }
        ExitCode::SUCCESS
    })
}

async fn measure(what: &str, mut connection: DuplexStream, requests: usize) {
    let mut buffer = vec![0; 64 * 1024];
    let length = in_memory::ask(&mut connection, &mut buffer).await;
    let length = length.max(in_memory::ask(&mut connection, &mut buffer).await);
    let clock = Clock::System;
    let began = clock.now();
    for _ in 0..requests {
        in_memory::ask(&mut connection, &mut buffer).await;
    }
    let each = clock.now().since(began.monotonic) / u32::try_from(requests.max(1)).unwrap_or(u32::MAX);
    println!("{what}: {requests} requests, {length} bytes each, {each:?} each");
}
