//! Accepts connections and serves them until it is told to stop.
//!
//! Deliberately absent: limits on connections, and a graceful end: a simulator that stops, stops at once.

use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::router;
use super::world::World;

/// What each connection needs.
#[derive(Clone)]
pub(super) struct Serving {
    pub(super) world: Arc<World>,
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

/// Accepts until `stop`; the port is free once this has returned.
pub(super) async fn accept(serving: Serving, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            () = serving.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = serving.clone();
                serving.tasks.spawn(async move {
                    tokio::select! {
                        () = connection.stop.cancelled() => {}
                        () = connect(&connection, stream) => {}
                    }
                });
            }
            // Out of descriptors, most likely. The pause is no simulated time: a test's clock may stand still.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn connect(serving: &Serving, stream: TcpStream) {
    // Without this, small answers wait for the other side's acknowledgement. A refusal only makes it slower.
    let _ = stream.set_nodelay(true);
    match &serving.tls {
        None => serve(serving, stream, true).await,
        Some(config) => {
            // A client that does not trust the certificate is its own to report.
            if let Ok(stream) = TlsAcceptor::from(Arc::clone(config)).accept(stream).await {
                serve(serving, stream, false).await;
            }
        }
    }
}

async fn serve<S>(serving: &Serving, stream: S, plain: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).auto_date_header(false);
    builder.http2().timer(TokioTimer::new()).auto_date_header(false);
    let builder = if plain { builder.http1_only() } else { builder };
    let service = service_fn(|request| router::answer(Arc::clone(&serving.world), request));
    // Broken connections are part of the play.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}
