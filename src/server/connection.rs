//! Serves one connection, from its first byte to its end.
//!
//! Graceful shutdown must not cut off a connection on which a request may be on its way. A new connection gets
//! [`LINGER`] plus [`FIRST_REQUEST`] for its first request, a kept-alive one [`LINGER`] for its next. Every
//! response from then on carries `Connection: close`. Connections that are still idle after that are closed (RFC
//! 9112, section 9.3).
//!
//! hyper's `pipeline_flush`, which writes the responses to pipelined requests together, is off. With eight
//! requests at a time it reduces the processor time of a hit to 0.43 (`wrk`, medians of nine rounds of one second)
//! and changes nothing for single requests. But it holds a response back while a part of the next request has been
//! received, so a client that sends a partial request and waits for a response would wait forever, and clients
//! that pipeline are rare.

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
use crate::io::body::Body;
use crate::io::joined_writes::JoinedWrites;

/// The longest request head, in bytes. The number of fields is left at hyper's default of 100: with any other
/// number hyper allocates and fills a list for each request, which took a tenth of the instructions of a hit.
const LONGEST_HEAD: usize = 32 * 1024;

/// How long an idle connection stays open after the listener has stopped.
const LINGER: Duration = Duration::from_millis(250);

/// Additional time for a connection on which nothing has been received yet: its client may be about to send its
/// only request.
const FIRST_REQUEST: Duration = Duration::from_millis(750);

/// Serves a connection to its end. Once `stopping.accepting` is given, the connection ends with its current
/// request. The caller drops the future when `stopping.serving` is given, as
/// [`ListeningSocket::serve`](super::ListeningSocket::serve) does.
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

/// State shared by the connection, its service and its responses.
struct Told {
    accepting: Word,
    waits: Arc<Waits>,
}

/// Reports to [`Waits`] when a request head has been received and when the response is complete, and adds
/// `Connection: close` once the listener stops.
struct Telling<S> {
    service: S,
    told: Arc<Told>,
}

struct Answering<S: Answers> {
    answer: S::Future,
    told: Arc<Told>,
}

/// A response body. hyper drops it when it has taken all of it, or when the connection ends.
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
        // The service is called here and not when the future is first polled, so that a cache hit is counted even
        // if the client has disconnected meanwhile. hyper-util's adapter is not used: it stores the request until
        // the service is ready, which these services always are ([`Answers`]), and moving the request costs a
        // noticeable part of a hit.
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
            // Checked when the response is ready, not when the request arrives: the request in progress at
            // shutdown is the last of its connection.
            if self.told.accepting.is_given() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            response.map(|body| Answer { body, told: Arc::clone(&self.told) })
        })
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
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
