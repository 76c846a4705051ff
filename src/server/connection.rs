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
//! wait for ever; and clients that send several at once are rare.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::bare_answer::Dressed;
use super::head_timer::{Waits, Watched};
use super::{Answers, Bounds, Stopping, Word};
use crate::body::{Body, CutOff};
use crate::joined_writes::JoinedWrites;

/// The longest head of a request. Of its fields there may be a hundred, hyper's own bound: for any other it makes and fills
/// a list for each request, which took a tenth of the instructions of a hit.
const LONGEST_HEAD: usize = 32 * 1024;

/// How long a connection at rest stays open once the listener stops.
const LINGER: Duration = Duration::from_millis(250);

/// How much longer one does on which nothing has come yet: its client may be about to send its only request.
const FIRST_REQUEST: Duration = Duration::from_millis(750);

/// Serves a connection to its end, or, once it is told that no more are accepted, to the end of the request that it is at.
/// Whoever calls this drops it when nothing is to be served any more; [`Listener::serve`](super::Listener::serve) does.
pub async fn serve<S, T>(stream: T, service: S, bounds: Bounds, stopping: Stopping)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Answers,
{
    let waits = Arc::new(Waits::new());
    let stream = Dressed::new(JoinedWrites(stream), Arc::clone(&bounds.metrics), Arc::clone(&waits));
    let told = Arc::new(Told { accepting: stopping.accepting.clone(), waits: Arc::clone(&waits) });
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), Telling { service, told });
    let mut connection = pin!(Watched::new(connection, Arc::clone(&waits), bounds.header_timeout));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.accepting.wait() => 'ended: {
            if let Ok(ended) = timeout(LINGER, connection.as_mut()).await {
                break 'ended ended;
            }
            if !waits.has_heard()
                && let Ok(ended) = timeout(FIRST_REQUEST, connection.as_mut()).await
            {
                break 'ended ended;
            }
            connection.as_mut().connection().graceful_shutdown();
            connection.await
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection ended early"),
        Err(error) => tracing::debug!(%error, "a connection ended early"),
    }
}

/// What the requests of a connection are told, and tell.
struct Told {
    accepting: Word,
    waits: Arc<Waits>,
}

/// A service that tells when a head has come and when its answer is over, and whose answers say that the connection
/// closes, once it will.
struct Telling<S> {
    service: S,
    told: Arc<Told>,
}

struct Answering<S: Answers> {
    answer: S::Future,
    told: Arc<Told>,
}

/// The body of an answer, which is over when hyper drops it: not before it has taken all of it, if it does.
struct Answer {
    body: Body,
    told: Arc<Told>,
}

impl<S: Answers> hyper::service::Service<Request<Incoming>> for Telling<S> {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Answering<S>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.told.waits.head_came();
        // Here and not when it is first waited for: what memory answers is counted though its client may have gone meanwhile.
        // Not by hyper-util's adapter, which keeps the request until the service is ready: these always are ([`Answers`]), and
        // to move a request about is no small part of what a hit takes.
        let mut service = self.service.clone();
        let is_ready = service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready();
        debug_assert!(is_ready, "a service that has no room says so in its answer");
        Answering { answer: service.call(request), told: Arc::clone(&self.told) }
    }
}

impl<S: Answers> Future for Answering<S> {
    type Output = Result<Response<Answer>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.answer).poll(context);
        answer.map_ok(|mut response| {
            // At the end and not at the beginning: a request under way when it stops is the connection's last.
            if self.told.accepting.is_given() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            response.map(|body| Answer { body, told: Arc::clone(&self.told) })
        })
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.told.waits.answer_ended();
    }
}
