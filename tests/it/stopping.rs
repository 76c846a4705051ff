//! Ending well: what is under way is finished, what asks for readiness is told at once, and a second signal is
//! heeded.

use std::future::{pending, ready};
use std::sync::Arc;
use std::time::Duration;

use billing_insights_proxy::config::{Listen, UnixSocket};
use billing_insights_proxy::io::body::Body;
use billing_insights_proxy::server::{Bounds, ListeningSocket, PassedSockets, Workers};
use billing_insights_proxy::simulator::{Fault, FaultKind, Target};
use http::{Response, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::support::raw::say_to;
use crate::support::{Proxy, SAMPLE_TENANTS, Talkdesk, eventually};

const INVOICES: &str = "/organizations/acme/express/invoices";

/// A Talkdesk that takes a second for its next answer, by the clock that stands still.
async fn slow_talkdesk() -> Talkdesk {
    let talkdesk = Talkdesk::samples().await;
    let slow = Fault::once(Target::Api, FaultKind::Slow { milliseconds: 1_000 });
    talkdesk.control().inject(slow).expect("a fault");
    talkdesk
}

fn request(address: &str, path: &str, fields: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{fields}\r\n").into_bytes()
}

#[tokio::test]
async fn what_is_under_way_is_finished_and_then_the_port_is_free() {
    let talkdesk = slow_talkdesk().await;
    let Proxy { app, clock, .. } = talkdesk.proxy(SAMPLE_TENANTS, "").await;
    let address = app.addresses().data.clone();
    let text = request(&address, INVOICES, "");
    let asking = say_to(&address, &text);
    let stopping = async {
        eventually("it is under way", async || (talkdesk.counts().0 == 1).then_some(())).await;
        let stopped = tokio::spawn(app.stop(pending()));
        eventually("no more are taken", async || TcpStream::connect(&address).await.is_err().then_some(()))
            .await;
        assert!(!stopped.is_finished(), "it waits for what is under way");
        clock.advance(Duration::from_secs(1));
        stopped.await.expect("it ends");
    };
    let (heard, ()) = tokio::join!(asking, stopping);
    assert!(heard.starts_with("HTTP/1.1 200 ") && heard.ends_with('}'), "{heard:.300}");
}

#[tokio::test]
async fn readiness_ends_at_once_and_serving_goes_on_for_the_drain_delay() {
    let talkdesk = Talkdesk::samples().await;
    let Proxy { app, .. } = talkdesk.proxy(SAMPLE_TENANTS, "server:\n  drain_delay: 5m\n").await;
    let (data, admin) = (app.addresses().data.clone(), app.addresses().admin.clone());
    let (end, at_once) = oneshot::channel::<()>();
    let stopped = tokio::spawn(app.stop(async {
        let _ = at_once.await;
    }));
    eventually("it is not ready", async || {
        let heard = say_to(&admin, &request(&admin, "/readyz", "Connection: close\r\n")).await;
        heard.starts_with("HTTP/1.1 503 ").then_some(())
    })
    .await;
    let alive = say_to(&admin, &request(&admin, "/livez", "Connection: close\r\n")).await;
    assert!(alive.starts_with("HTTP/1.1 200 "), "{alive}");
    let served = say_to(&data, &request(&data, INVOICES, "Connection: close\r\n")).await;
    assert!(served.starts_with("HTTP/1.1 200 "), "{served:.300}");
    end.send(()).expect("it is stopping");
    stopped.await.expect("it ends");
}

#[tokio::test]
async fn a_connection_that_rests_does_not_hold_up_the_end() {
    let talkdesk = Talkdesk::samples().await;
    let proxy = talkdesk.proxy(SAMPLE_TENANTS, "server:\n  drain_timeout: 10m\n").await;
    assert_eq!(proxy.get(INVOICES).await.status, StatusCode::OK);
    let Proxy { app, .. } = proxy;
    tokio::time::timeout(Duration::from_secs(9), app.stop(pending())).await.expect("it ends");
}

#[tokio::test]
async fn what_is_not_finished_in_the_drain_timeout_is_dropped() {
    let talkdesk = slow_talkdesk().await;
    let Proxy { app, .. } = talkdesk.proxy(SAMPLE_TENANTS, "server:\n  drain_timeout: 100ms\n").await;
    let address = app.addresses().data.clone();
    let text = request(&address, INVOICES, "");
    let asking = say_to(&address, &text);
    let stopping = async {
        eventually("it is under way", async || (talkdesk.counts().0 == 1).then_some(())).await;
        app.stop(pending()).await;
    };
    let (heard, ()) = tokio::join!(asking, stopping);
    assert_eq!(heard, "", "the connection is dropped");
}

#[tokio::test]
async fn a_connection_that_was_just_made_is_answered_though_the_stop_came_before_its_request() {
    let talkdesk = Talkdesk::samples().await;
    let Proxy { app, .. } = talkdesk.proxy(SAMPLE_TENANTS, "").await;
    let address = app.addresses().data.clone();
    let mut early = TcpStream::connect(&address).await.expect("a connection");
    // Connections are taken in their order, so the one before this has been.
    let served = say_to(&address, &request(&address, INVOICES, "Connection: close\r\n")).await;
    assert!(served.starts_with("HTTP/1.1 200 "), "{served:.300}");
    let mut at_rest = TcpStream::connect(&address).await.expect("a connection");
    at_rest.write_all(&request(&address, INVOICES, "")).await.expect("sent");
    at_rest.read_exact(&mut [0; 12]).await.expect("a status line");
    let stopped = tokio::spawn(app.stop(pending()));
    eventually("no more are taken", async || TcpStream::connect(&address).await.is_err().then_some(())).await;
    at_rest.read_to_end(&mut Vec::new()).await.expect("it is closed, though the other one is not yet");
    early.write_all(&request(&address, INVOICES, "")).await.expect("it is open");
    let mut heard = String::new();
    early.read_to_string(&mut heard).await.expect("an answer");
    assert!(heard.starts_with("HTTP/1.1 200 ") && heard.ends_with('}'), "{heard:.300}");
    assert!(heard.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{heard:.900}");
    stopped.await.expect("it ends");
}

#[tokio::test]
async fn one_that_never_asks_for_anything_holds_the_end_up_for_a_moment_only() {
    let talkdesk = Talkdesk::samples().await;
    let Proxy { app, .. } = talkdesk.proxy(SAMPLE_TENANTS, "server:\n  drain_timeout: 10m\n").await;
    let address = app.addresses().data.clone();
    let _silent = TcpStream::connect(&address).await.expect("a connection");
    say_to(&address, &request(&address, INVOICES, "Connection: close\r\n")).await;
    tokio::time::timeout(Duration::from_secs(7), app.stop(pending())).await.expect("it ends");
}

#[tokio::test]
async fn who_waits_in_the_queue_of_a_socket_that_goes_is_answered_before_it_does() {
    let listen = Listen::Tcp("127.0.0.1:0".parse().expect("an address"));
    let (access, mut none_passed) = (UnixSocket::default(), PassedSockets::default());
    let listener =
        ListeningSocket::open(&listen, "server.listen", &access, &mut none_passed).await.expect("a port");
    let bounds = Bounds {
        connections: Arc::new(Semaphore::new(100)),
        workers: Workers::default(),
        header_timeout: Duration::from_secs(10),
    };
    let address = listener.address();
    let mut waiting = Vec::new();
    for _ in 0..16 {
        let mut stream = TcpStream::connect(&address).await.expect("a place in the queue");
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
        waiting.push(stream);
    }
    let draining = CancellationToken::new();
    draining.cancel();
    let answer = |_| ready(Ok(Response::new(Body::Empty)));
    listener.serve(bounds, draining, |_| Some(tower::service_fn(answer))).await;
    for mut stream in waiting {
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.expect("an answer");
        assert!(heard.starts_with("HTTP/1.1 200 "), "{heard}");
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let talkdesk = slow_talkdesk().await;
    let Proxy { app, .. } = talkdesk.proxy(SAMPLE_TENANTS, "").await;
    let address = app.addresses().data.clone();
    let text = request(&address, INVOICES, "");
    let asking = say_to(&address, &text);
    let stopping = async {
        eventually("it is under way", async || (talkdesk.counts().0 == 1).then_some(())).await;
        app.stop(ready(())).await;
    };
    let (heard, ()) = tokio::join!(asking, stopping);
    assert_eq!(heard, "", "the connection is dropped");
}
