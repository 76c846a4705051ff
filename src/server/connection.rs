//! One connection, from its first byte to its end.
//!
//! When the listener stops, no connection is cut off that could still bring a request: one that has just been made is
//! given a moment for its first, and a kept-alive one a shorter moment for its next. Whatever is answered from then on
//! says `Connection: close`, so that clients leave by themselves. What rests after that is closed, as HTTP has it for
//! connections at rest (RFC 9112, section 9.3).
//!
//! hyper can write the answers to requests that came together (pipelined) at once. For eight at a time a hit took 0.43 of
//! the processor time then (`wrk`, medians of nine rounds of a second), and one by one it takes the same. It is left off:
//! an answer is then not written while a part of the next request has come, so a client that sends a part and waits would
//! wait for as long as a head may take; and clients that send several at once are rare.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::{TowerToHyperService, TowerToHyperServiceFuture};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::bare_answer::Dressed;
use super::head_timer::HeadTimer;
use super::{Answers, Bounds, Stopping, Word};
use crate::body::Body;
use crate::joined_writes::JoinedWrites;

/// The longest head of a request. Of its fields there may be a hundred, hyper's own bound: for any other it makes and fills
/// a list for each request, which took a tenth of the instructions of a hit.
const LONGEST_HEAD: usize = 32 * 1024;

/// How long a connection at rest stays open once the listener stops.
const LINGER: Duration = Duration::from_millis(250);

/// How much longer one does on which nothing has come yet: its client may be about to send its only request.
const FIRST_REQUEST: Duration = Duration::from_millis(750);

/// Serves a connection to its end.
pub(super) async fn serve<S, T>(stream: T, service: S, bounds: Bounds, stopping: Stopping)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Answers,
{
    let heard = Arc::new(AtomicBool::new(false));
    let stream = Dressed::new(JoinedWrites(stream), Arc::clone(&bounds.metrics), Arc::clone(&heard));
    let service =
        Closing { service: TowerToHyperService::new(service), accepting: stopping.accepting.clone() };
    let timer = HeadTimer::new();
    let connection = http1::Builder::new()
        .timer(timer.clone())
        .header_read_timeout(bounds.header_timeout)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(timer.watch(connection, bounds.header_timeout));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.accepting.wait() => 'ended: {
            if let Ok(ended) = timeout(LINGER, connection.as_mut()).await {
                break 'ended ended;
            }
            if !heard.load(Ordering::Relaxed)
                && let Ok(ended) = timeout(FIRST_REQUEST, connection.as_mut()).await
            {
                break 'ended ended;
            }
            connection.as_mut().connection().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// A service whose answers say that the connection closes, once it will.
struct Closing<S> {
    service: TowerToHyperService<S>,
    accepting: Word,
}

struct Answer<S: Answers> {
    answer: TowerToHyperServiceFuture<S, Request<Incoming>>,
    accepting: Word,
}

impl<S: Answers> hyper::service::Service<Request<Incoming>> for Closing<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer<S>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        Answer { answer: self.service.call(request), accepting: self.accepting.clone() }
    }
}

impl<S: Answers> Future for Answer<S> {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.answer).poll(context);
        answer.map_ok(|mut response| {
            // At the end and not at the beginning: a request under way when it stops is the connection's last.
            if self.accepting.is_given() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            response
        })
    }
}
