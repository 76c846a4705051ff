//! `health`: asks a proxy on this machine whether it is ready, for container images without a shell or curl.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use super::arguments::{Failed, HealthArguments};
use crate::io::client;

/// The time limit for connecting, and for each read of the response.
const PATIENCE: Duration = Duration::from_secs(5);

/// The maximum number of bytes read; responses of `/readyz` and `/livez` are short.
const MOST: u64 = 16 * 1024;

/// Prints the response; succeeds if its status is 200.
pub(super) fn run(arguments: &HealthArguments) -> Result<(), Failed> {
    let address = arguments.address;
    let path = if arguments.live { "/livez" } else { "/readyz" };
    let mut stream = client::connect_to_own_machine(address, PATIENCE)
        .with_context(|| format!("no connection to {address}"))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MOST).read_to_end(&mut answer).with_context(|| format!("no answer from {address}"))?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split(' ').nth(1) {
        Some("200") => println!("{}", body.trim()),
        Some(status) => return Err(anyhow!("{status} {}", body.trim()).into()),
        None => return Err(anyhow!("what answers at {address} is not HTTP").into()),
    }
    Ok(())
}
