//! Serves one connection, from its first byte to its end.
//!
//! Graceful shutdown must not close a connection while a request may be in transit on it. A new connection gets
//! [`LINGER`] plus [`FIRST_REQUEST`] for its first request, a kept-alive one [`LINGER`] for its next. Every
//! response from then on carries `Connection: close`. Connections that are still idle after that are closed (RFC
//! 9112, section 9.3).
//!
//! The header timeout is hyper's. It runs from when the connection is accepted, and again from when a response is
//! written, until a request head is complete, so it also closes idle connections.
//!
//! hyper's `pipeline_flush`, which writes the responses to pipelined requests together, is off. With eight
//! requests at a time it reduces the processor time of a hit to 0.43 (`wrk`, medians of nine rounds of one second)
//! and changes nothing for single requests. But it holds a response back while a part of the next request has been
//! received, so a client that sends a partial request and waits for a response would wait forever, and clients
//! that pipeline are rare.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::connection_service::ConnectionService;
use crate::io::joined_writes::JoinedWrites;

/// The maximum size of a request head, in bytes. The maximum number of fields is left at hyper's default of 100:
/// with any other number hyper allocates and fills a list for each request, which took a tenth of the instructions
/// of a hit.
const MAX_HEAD: usize = 32 * 1024;

/// How long an idle connection stays open once draining has begun.
const LINGER: Duration = Duration::from_millis(250);

/// Additional time for a connection without a request so far: its client may be about to send its only request.
const FIRST_REQUEST: Duration = Duration::from_millis(750);

/// Serves a connection to its end. Once `draining` is cancelled, the connection ends with its current request.
pub async fn serve<S, T>(stream: T, service: S, header_timeout: Duration, draining: CancellationToken)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: ConnectionService,
{
    let has_requested = AtomicBool::new(false);
    let service = service_fn(|request: Request<Incoming>| {
        has_requested.store(true, Ordering::Relaxed);
        // The service is called here and not when the future is first polled, so that a cache hit is counted even
        // if the client has disconnected meanwhile. hyper-util's adapter is not used: it stores the request until
        // the service is ready, which these services always are ([`ConnectionService`]), and moving the request
        // costs a noticeable part of a hit.
        let response = service.clone().call(request);
        let draining = &draining;
        async move {
            let mut response = response.await?;
            // Checked when the response is ready, not when the request arrives: the request in progress at
            // shutdown is the last of its connection.
            if draining.is_cancelled() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(JoinedWrites(stream)), service);
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = draining.cancelled() => 'ended: {
            if let Ok(result) = timeout(LINGER, connection.as_mut()).await {
                break 'ended result;
            }
            if !has_requested.load(Ordering::Relaxed)
                && let Ok(result) = timeout(FIRST_REQUEST, connection.as_mut()).await
            {
                break 'ended result;
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}
