//! An upstream whose token endpoint works and whose API takes a request and never answers, until it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The upstream.
pub struct BlackHole {
    url: String,
    swallowed: Arc<AtomicUsize>,
    answers: Arc<AtomicBool>,
}

impl BlackHole {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (swallowed, answers) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
        let (counted, open) = (Arc::clone(&swallowed), Arc::clone(&answers));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&counted), Arc::clone(&open)));
            }
        });
        Self { url, swallowed, answers }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Requests to the API that were taken and not answered.
    pub fn swallowed(&self) -> usize {
        self.swallowed.load(Ordering::SeqCst)
    }

    /// Whether it answers from now on.
    pub fn set_answers(&self, answers: bool) {
        self.answers.store(answers, Ordering::SeqCst);
    }
}

async fn serve(mut stream: TcpStream, swallowed: Arc<AtomicUsize>, answers: Arc<AtomicBool>) {
    let mut head = Vec::new();
    loop {
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(read) => head.extend_from_slice(&piece[..read]),
        }
        if !head.windows(4).any(|window| window == b"\r\n\r\n") {
            continue;
        }
        let is_token = head.starts_with(b"POST");
        head.clear();
        if !is_token && !answers.load(Ordering::SeqCst) {
            swallowed.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        let body = if is_token {
            r#"{"access_token":"token-1","token_type":"Bearer","expires_in":86400}"#
        } else {
            r#"{"total":1,"_links":{}}"#
        };
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
