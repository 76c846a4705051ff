//! Both ends of the wire, byte by byte: an upstream that plays scripts, and a client that sends what it likes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use billing_insights_proxy::clock::ManualClock;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::peer::{ONE_ORGANIZATION, TOKEN_PATH};
use super::{Proxy, section, without_section};

/// What an upstream does with a connection once it has read a request's head. At the end it closes.
#[derive(Clone, Debug)]
pub enum Act {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends these bytes so many times.
    Repeat(Vec<u8>, usize),
    /// Sends these bytes in HTTP chunks of that many.
    Chunks(Vec<u8>, usize),
    /// Waits until it is told to go on.
    Until(Arc<tokio::sync::Notify>),
    /// Ends the connection without a goodbye.
    Reset,
    /// Sends nothing more, and does not end.
    Stall,
}

/// An upstream that plays scripts.
pub struct RawPeer {
    url: String,
    folder: Arc<TempDir>,
    stage: Arc<Stage>,
}

#[derive(Default)]
struct Stage {
    plays: Mutex<VecDeque<Vec<Act>>>,
    heads: Mutex<Vec<String>>,
    token: Mutex<Option<String>>,
}

impl RawPeer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        std::fs::write(folder.path().join("secret"), "s3cret").expect("a secret");
        let stage = Arc::new(Stage::default());
        let shared = Arc::clone(&stage);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let stage = Arc::clone(&shared);
                tokio::spawn(async move { stage.perform(stream).await });
            }
        });
        Self { url, folder, stage }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it does to requests to the API: one after the other, the last for ever.
    pub fn plays(&self, plays: impl IntoIterator<Item = Vec<Act>>) {
        *self.stage.plays.lock().expect("no panic") = plays.into_iter().collect();
    }

    /// The token that it gives; `token-1` unless set.
    pub fn issues(&self, token: &str) {
        *self.stage.token.lock().expect("no panic") = Some(token.to_owned());
    }

    /// The heads of the requests to the API so far.
    pub fn heads(&self) -> Vec<String> {
        self.stage.heads.lock().expect("no panic").clone()
    }

    pub fn calls(&self) -> usize {
        self.heads().len()
    }

    /// The sections that lead to it, with the Organization `acme` and the Instance `josephpinetrees`.
    pub fn configuration(&self, further: &str) -> String {
        format!(
            "upstream:\n  api_url: {url}\n  token_url: {url}{TOKEN_PATH}\n{}\n{ONE_ORGANIZATION}{}",
            section(further, "upstream"),
            without_section(further, "upstream"),
            url = self.url,
        )
    }

    /// A proxy in front of it.
    pub async fn proxy(&self, further: &str) -> Proxy {
        Proxy::start(&self.configuration(further), Arc::clone(&self.folder), ManualClock::new()).await
    }

    /// The folder with its secret.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

impl Stage {
    async fn perform(&self, mut stream: TcpStream) {
        let Some(head) = read_head(&mut stream).await else { return };
        if head.starts_with(&format!("POST {TOKEN_PATH}")) {
            let name = self.token.lock().expect("no panic").clone().unwrap_or_else(|| "token-1".to_owned());
            let token = format!(r#"{{"access_token":"{name}","token_type":"Bearer","expires_in":600}}"#);
            let _ = stream.write_all(&ok(&token)).await;
            return drain(stream).await;
        }
        self.heads.lock().expect("no panic").push(head);
        let play = {
            let mut plays = self.plays.lock().expect("no panic");
            if plays.len() > 1 { plays.pop_front() } else { plays.front().cloned() }
        };
        for act in play.unwrap_or_default() {
            // A proxy that has heard enough hangs up, which is its right.
            let done = match act {
                Act::Send(bytes) => stream.write_all(&bytes).await,
                Act::Repeat(bytes, times) => repeat(&mut stream, &bytes, times).await,
                Act::Chunks(bytes, size) => chunks(&mut stream, &bytes, size).await,
                Act::Until(told) => {
                    told.notified().await;
                    Ok(())
                }
                Act::Reset => return drop(stream.set_zero_linger()),
                Act::Stall => std::future::pending().await,
            };
            if done.is_err() {
                return;
            }
        }
        drain(stream).await;
    }
}

async fn repeat(stream: &mut TcpStream, bytes: &[u8], times: usize) -> std::io::Result<()> {
    for _ in 0..times {
        stream.write_all(bytes).await?;
    }
    Ok(())
}

async fn chunks(stream: &mut TcpStream, bytes: &[u8], size: usize) -> std::io::Result<()> {
    for piece in bytes.chunks(size) {
        let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
        stream.write_all(&chunk).await?;
    }
    Ok(())
}

/// Ends what is sent, and reads what is left, so that the goodbye is not taken for a reset.
async fn drain(mut stream: TcpStream) {
    let _ = stream.shutdown().await;
    let mut rest = [0; 4096];
    while stream.read(&mut rest).await.is_ok_and(|length| length > 0) {}
}

async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    // A byte is a character, so that none is lost.
    Some(head.into_iter().map(char::from).collect())
}

/// A whole answer of JSON, after which the connection ends.
pub fn ok(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The head of an answer of JSON in chunks.
pub fn chunked() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()
}

/// Sends bytes to the proxy as they are, and gives what comes back until the connection ends. What the other
/// side does not want to read is not an error.
pub async fn say(proxy: &Proxy, bytes: &[u8]) -> String {
    say_to(&proxy.app.addresses().data, bytes).await
}

/// The same, to any address.
pub async fn say_to(address: &str, bytes: &[u8]) -> String {
    String::from_utf8_lossy(&exchange(address, bytes).await).into_owned()
}

/// The same, with the bytes as they come.
pub async fn exchange(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let (mut reading, mut writing) = stream.split();
    let mut heard = Vec::new();
    let listening = async {
        // A reset after the answer ends it just as well.
        while reading.read_buf(&mut heard).await.is_ok_and(|length| length > 0) {}
    };
    let saying = async {
        let _ = writing.write_all(bytes).await;
    };
    let both = async { tokio::join!(listening, saying) };
    tokio::time::timeout(Duration::from_secs(10), both).await.expect("the connection ends");
    heard
}

/// Lasts until two who say nothing are hung up on, one after the other.
pub async fn the_time_for_a_head_passes(proxy: &Proxy) {
    for _ in 0..2 {
        let mut silent = TcpStream::connect(&proxy.app.addresses().data).await.expect("a connection");
        let ended = tokio::time::timeout(Duration::from_secs(20), silent.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok(), "a connection that says nothing stays open");
    }
}
