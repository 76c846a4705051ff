//! The access log, line by line, as requests through the whole proxy make it.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use billing_insights_proxy::clock::ManualClock;
use billing_insights_proxy::config::LogFormat;
use billing_insights_proxy::guard::Connection;
use billing_insights_proxy::log::access_log::AccessLog;
use billing_insights_proxy::proxy::envelope::Envelope;
use billing_insights_proxy::proxy::listener::Listener;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tower::Service as _;

use crate::support::black_hole::BlackHole;
use crate::support::peer::TOKEN_PATH;
use crate::support::{Proxy, eventually};

const ASKED: &str = "/organizations/acme/express/invoices";

/// A proxy before an upstream that swallows requests, with a listener whose lines are kept.
struct Logged {
    hole: BlackHole,
    proxy: Proxy,
    address: String,
    log: AccessLog,
    written: Written,
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Logged {
    async fn start(invoices: &str) -> Self {
        let hole = BlackHole::start().await;
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        std::fs::write(folder.path().join("secret"), "s3cret").expect("written");
        let yaml = format!(
            "upstream:\n  api_url: {0}\n  token_url: {0}{TOKEN_PATH}\n  request_timeout: 30s\n  stale_wait: 2s\norganizations:\n  - {{ id: acme, discover_accounts: false, credential: {{ account: acme, client_id: id, client_secret: {{ file: secret }} }} }}\ncache:\n  endpoints:\n    invoices: {invoices}\n",
            hole.url()
        );
        let proxy = Proxy::start(&yaml, folder, ManualClock::new()).await;
        let written = Written::default();
        let metrics = &proxy.app.proxy().metrics;
        let log = AccessLog::start(LogFormat::Json, written.clone(), metrics).expect("a thread");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let entrance = Arc::new(Listener::for_all_tenants(&address));
        let (served, lines) = (Arc::clone(proxy.app.proxy()), log.clone());
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let local = stream.local_addr().expect("an address");
                let connection = Connection::Tcp { peer, local };
                let envelope = Envelope::new(
                    Arc::clone(&served),
                    connection,
                    Arc::clone(&entrance),
                    Some(lines.clone()),
                );
                let service = service_fn(move |request| envelope.clone().call(request));
                let serving = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(serving);
            }
        });
        Self { hole, proxy, address, log, written }
    }

    /// Asks, and moves the time once the request is swallowed.
    async fn ask_in_vain(&self, many: usize, by: Duration) {
        let asking = (0..many).map(|_| self.proxy.get_at(&self.address, ASKED, &[]));
        let (_, ()) = tokio::join!(futures_util::future::join_all(asking), async {
            eventually("the request is swallowed, and all wait for it", async || {
                let waiting = self.proxy.app.proxy().waiting_for_fetches();
                (self.hole.swallowed() == 1 && waiting == many).then_some(())
            })
            .await;
            self.proxy.advance(by);
        });
    }

    /// The lines so far.
    fn lines(&self) -> Vec<Value> {
        self.log.finish();
        let written = self.written.0.lock().expect("not poisoned");
        let text = std::str::from_utf8(&written).expect("text");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

#[tokio::test]
async fn who_got_no_answer_of_talkdesks_is_told_how_long_it_was_waited_for() {
    let logged = Logged::start("{ ttl: 60s, stale_while_revalidate: 0s, stale_if_error: 0s }").await;
    logged.hole.set_answers(false);
    logged.ask_in_vain(2, Duration::from_secs(30)).await;
    let lines = logged.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for line in lines {
        assert_eq!(line["error.type"], "upstream_timeout");
        assert_eq!(line["http.client.request.duration"], 30.0, "it was sent at once, by one of both: {line}");
        assert_eq!(line["http.server.request.duration"], 30.0);
    }
    // It is known to be down now, so nothing is sent, and nothing is waited for.
    logged.proxy.get_at(&logged.address, ASKED, &[]).await;
    let line = logged.lines().pop().expect("a line");
    assert_eq!(
        (&line["error.type"], &line["http.client.request.duration"]),
        (&"upstream_timeout".into(), &0.0.into())
    );
}

#[tokio::test]
async fn a_stale_answer_says_how_long_a_fresh_one_was_waited_for() {
    let logged = Logged::start("{ ttl: 60s, stale_while_revalidate: 0s, stale_if_error: 6h }").await;
    logged.proxy.get_at(&logged.address, ASKED, &[]).await;
    logged.proxy.advance(Duration::from_mins(2));
    logged.hole.set_answers(false);
    logged.ask_in_vain(1, Duration::from_secs(2)).await;
    let line = logged.lines().pop().expect("a line");
    assert_eq!(line["billing_insights_proxy.cache.reason"], "slow");
    assert_eq!(line["http.client.request.duration"], 2.0, "{line}");
}
