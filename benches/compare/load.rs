//! The load of the comparison where wrk can't make it: at a fixed rate, one after the other, all at once, and each URL
//! of a list once.
//!
//! ```sh
//! cargo run --release --example compare-load -- paced --address 127.0.0.1:8080 --path /express/invoices --rate 30000
//! ```
//!
//! Every answer is checked for its status and its length; the result is a line of JSON, with times in microseconds.
//!
//! `paced` is an open loop. When each request should be sent is drawn beforehand (a Poisson process), and its latency
//! counts from then, also where no connection was free: a server that stalls is charged for everything that it made
//! wait, and not only for the 64 requests that happened to be under way (what is called coordinated omission). It
//! never sleeps, since the system's timers are coarser than what it measures, so it wants a core of its own; `starved`
//! is the share of the time in which it had none, because something else ran there.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use billing_insights_proxy::clock::Clock;
use clap::{Args, Parser, Subcommand};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Requests at a fixed rate, whether or not they are answered in time
    Paced(Paced),
    /// Requests one after the other over one connection
    Probe(Probe),
    /// As many requests as there are connections, at once
    Burst(Burst),
    /// Each path of a file once
    Fill(Fill),
}

/// Whom to ask, and what the answer has to be.
#[derive(Args, Clone)]
struct Target {
    #[arg(long)]
    address: SocketAddr,
    /// The status that every answer must have
    #[arg(long, default_value_t = 200)]
    status: u16,
    /// The length that every answer's body must have
    #[arg(long)]
    length: Option<usize>,
}

#[derive(Args)]
struct Paced {
    #[command(flatten)]
    target: Target,
    #[arg(long)]
    path: String,
    /// Requests per second
    #[arg(long)]
    rate: f64,
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// What the times are drawn by
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Args)]
struct Probe {
    #[command(flatten)]
    target: Target,
    /// `{}` in it is replaced by a number that is never the same
    #[arg(long)]
    path: String,
    #[arg(long, default_value_t = 50)]
    count: u32,
    /// The first number
    #[arg(long, default_value_t = 0)]
    from: u64,
}

#[derive(Args)]
struct Burst {
    #[command(flatten)]
    target: Target,
    #[arg(long)]
    path: String,
    #[arg(long, default_value_t = 200)]
    connections: usize,
}

#[derive(Args)]
struct Fill {
    #[command(flatten)]
    target: Target,
    /// A path on each line
    #[arg(long)]
    paths: PathBuf,
    #[arg(long, default_value_t = 32)]
    connections: usize,
}

struct Connection {
    stream: TcpStream,
    target: Target,
    buffer: Vec<u8>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return ExitCode::FAILURE };
    let outcome = LocalSet::new().block_on(&runtime, async {
        match arguments.command {
            Command::Paced(paced) => paced.run().await,
            Command::Probe(probe) => probe.run().await,
            Command::Burst(burst) => burst.run().await,
            Command::Fill(fill) => fill.run().await,
        }
    });
    match outcome {
        Ok(result) => {
            println!("{result}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Paced {
    #[expect(clippy::cast_precision_loss, reason = "a rate, for people")]
    async fn run(self) -> anyhow::Result<serde_json::Value> {
        let clock = Clock::System;
        let latencies = Rc::new(RefCell::new(Vec::new()));
        let failure = Rc::new(RefCell::new(None));
        let idle = Rc::new(RefCell::new(VecDeque::new()));
        let mut senders = Vec::new();
        for place in 0..self.connections {
            let (sender, mut due) = mpsc::unbounded_channel::<Instant>();
            senders.push(sender);
            idle.borrow_mut().push_back(place);
            let mut connection = Connection::open(&self.target).await?;
            let request = connection.request(&self.path);
            let (latencies, failure) = (Rc::clone(&latencies), Rc::clone(&failure));
            let idle = Rc::clone(&idle);
            tokio::task::spawn_local(async move {
                while let Some(due) = due.recv().await {
                    match connection.ask(&request).await {
                        Ok(last_byte) => latencies.borrow_mut().push(last_byte - due),
                        Err(error) => {
                            failure.borrow_mut().get_or_insert(error);
                            return;
                        }
                    }
                    idle.borrow_mut().push_back(place);
                }
            });
        }
        let mut random = fastrand::Rng::with_seed(self.seed);
        let began = clock.now().monotonic;
        let ends = began + Duration::from_secs_f64(self.seconds);
        let mut due = began;
        let mut sent = 0_usize;
        let starved_before = waited_for_core();
        loop {
            let now = clock.now().monotonic;
            while due <= now && due < ends {
                let Some(place) = idle.borrow_mut().pop_front() else { break };
                senders[place].send(due).context("a connection ended")?;
                sent += 1;
                due += Duration::from_secs_f64(-(1.0 - random.f64()).ln() / self.rate);
            }
            if due >= ends && latencies.borrow().len() == sent {
                break;
            }
            if let Some(failure) = failure.borrow_mut().take() {
                return Err(failure);
            }
            tokio::task::yield_now().await;
        }
        let took = clock.now().since(began).as_secs_f64();
        let summary = summary(&mut latencies.borrow_mut());
        Ok(json!({
            "requests": sent, "seconds": took, "rate": sent as f64 / took, "latency": summary,
            "starved": waited_for_core().saturating_sub(starved_before).as_secs_f64() / took,
        }))
    }
}

impl Probe {
    async fn run(self) -> anyhow::Result<serde_json::Value> {
        let clock = Clock::System;
        let mut connection = Connection::open(&self.target).await?;
        let mut latencies = Vec::new();
        for number in (self.from..).take(self.count as usize) {
            let request = connection.request(&self.path.replace("{}", &number.to_string()));
            let began = clock.now().monotonic;
            latencies.push(connection.ask(&request).await? - began);
        }
        Ok(json!({ "requests": self.count, "latency": summary(&mut latencies) }))
    }
}

impl Burst {
    async fn run(self) -> anyhow::Result<serde_json::Value> {
        let clock = Clock::System;
        let mut connections = Vec::new();
        for _ in 0..self.connections {
            connections.push(Connection::open(&self.target).await?);
        }
        let began = clock.now().monotonic;
        let asked = connections.into_iter().map(|mut connection| {
            let request = connection.request(&self.path);
            tokio::task::spawn_local(async move { connection.ask(&request).await })
        });
        let asked: Vec<_> = asked.collect();
        let mut latencies = Vec::new();
        for answer in asked {
            latencies.push(answer.await?? - began);
        }
        Ok(json!({ "requests": self.connections, "latency": summary(&mut latencies) }))
    }
}

impl Fill {
    async fn run(self) -> anyhow::Result<serde_json::Value> {
        let clock = Clock::System;
        let text = std::fs::read_to_string(&self.paths).context("the paths can't be read")?;
        let left: VecDeque<String> = text.lines().map(str::to_owned).collect();
        let count = left.len();
        let left = Rc::new(RefCell::new(left));
        let began = clock.now().monotonic;
        let mut workers = Vec::new();
        for _ in 0..self.connections {
            let left = Rc::clone(&left);
            let mut connection = Connection::open(&self.target).await?;
            workers.push(tokio::task::spawn_local(async move {
                loop {
                    let Some(path) = left.borrow_mut().pop_front() else { return anyhow::Ok(()) };
                    let request = connection.request(&path);
                    connection.ask(&request).await.with_context(|| format!("at {path}"))?;
                }
            }));
        }
        for worker in workers {
            worker.await??;
        }
        Ok(json!({ "requests": count, "seconds": clock.now().since(began).as_secs_f64() }))
    }
}

impl Connection {
    async fn open(target: &Target) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(target.address).await.context("can't connect")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, target: target.clone(), buffer: vec![0; 256 * 1024] })
    }

    fn request(&self, path: &str) -> Vec<u8> {
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.target.address).into_bytes()
    }

    /// Sends the request, reads the response, and returns when its last byte arrived.
    async fn ask(&mut self, request: &[u8]) -> anyhow::Result<Instant> {
        self.stream.write_all(request).await?;
        let mut read = 0;
        let (came, length) = loop {
            let more = self.stream.read(&mut self.buffer[read..]).await?;
            ensure!(more > 0, "the connection ended within a head");
            let from = read.saturating_sub(3);
            read += more;
            let end = memchr::memmem::find(&self.buffer[from..read], b"\r\n\r\n").map(|end| from + end);
            if let Some(end) = end {
                break (end + 4..read, self.check(end)?);
            }
        };
        let mut body = Body::new(length);
        body.take(&self.buffer[came])?;
        while !body.is_whole() {
            let more = self.stream.read(&mut self.buffer).await?;
            ensure!(more > 0, "the connection ended after {} bytes", body.got);
            body.take(&self.buffer[..more])?;
        }
        if let Some(wanted) = self.target.length {
            ensure!(body.got == wanted, "a body of {} bytes", body.got);
        }
        Ok(Clock::System.now().monotonic)
    }

    /// The length that the head before `end` says, none where the body comes in chunks, if the status is as it has to be.
    fn check(&self, end: usize) -> anyhow::Result<Option<usize>> {
        let head = std::str::from_utf8(&self.buffer[..end]).context("a head that is no text")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
        ensure!(status == Some(self.target.status), "an answer other than {}: {head}", self.target.status);
        let value_of = |wanted: &str| {
            head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case(wanted).then_some(value.trim())
            })
        };
        if value_of("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            return Ok(None);
        }
        let length = value_of("content-length").unwrap_or("0");
        Ok(Some(length.parse().context("a length that is no number")?))
    }
}

/// How much of a body came, and how much is to come (RFC 9112, sections 6.3 and 7.1).
struct Body {
    got: usize,
    /// Of the whole, or of the present chunk.
    left: usize,
    /// The line that says how long the next chunk is, as far as it came; none where the length is known.
    line: Option<Vec<u8>>,
    last_chunk: bool,
    ended: bool,
}

impl Body {
    fn new(length: Option<usize>) -> Self {
        let line = length.is_none().then(Vec::new);
        Self { got: 0, left: length.unwrap_or(0), line, last_chunk: false, ended: length == Some(0) }
    }

    fn is_whole(&self) -> bool {
        self.ended
    }

    fn take(&mut self, mut piece: &[u8]) -> anyhow::Result<()> {
        while !piece.is_empty() {
            ensure!(!self.ended, "more than a body");
            if self.left > 0 {
                let taken = self.left.min(piece.len());
                self.left -= taken;
                self.got += taken;
                self.ended = self.left == 0 && self.line.is_none();
                piece = &piece[taken..];
                continue;
            }
            let line = self.line.get_or_insert_default();
            line.push(piece[0]);
            piece = &piece[1..];
            let Some(text) = line.strip_suffix(b"\r\n") else { continue };
            // An empty line ends each chunk, and the body after the last one.
            if text.is_empty() {
                self.ended = self.last_chunk;
            } else {
                self.left = usize::from_str_radix(std::str::from_utf8(text)?, 16)
                    .context("a chunk without a length")?;
                self.last_chunk = self.left == 0;
            }
            line.clear();
        }
        Ok(())
    }
}

/// Mean and percentiles.
fn summary(latencies: &mut [Duration]) -> serde_json::Value {
    latencies.sort_unstable();
    let at = |per_mille: usize| {
        let place = (latencies.len() * per_mille).div_ceil(1000).saturating_sub(1);
        microseconds(latencies.get(place).copied().unwrap_or_default())
    };
    let count = u32::try_from(latencies.len().max(1)).unwrap_or(u32::MAX);
    let mean = microseconds(latencies.iter().sum::<Duration>() / count);
    json!({ "mean": mean, "p50": at(500), "p90": at(900), "p99": at(990), "p999": at(999), "most": at(1000) })
}

/// How long this thread could have run, but had no core.
fn waited_for_core() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split_whitespace().nth(1).and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
