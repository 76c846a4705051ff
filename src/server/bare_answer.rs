//! What is no HTTP/1.1, and what is too large for a head, never becomes a request: hyper answers it itself, with a
//! status alone, or not at all. Here, between hyper and the socket, such an answer gets the fields and the body
//! that every other refusal has; and the preface of HTTP/2 gets one at all.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::head_timer::Waits;
use crate::headers::proxy_status;
use crate::log::request_id::RequestId;
use crate::metrics::Metrics;
use crate::problem::Rejection;
use crate::version::NAME;

/// A connection whose bare answers are dressed.
pub(super) struct Dressed<T> {
    stream: T,
    metrics: Arc<Metrics>,
    /// An answer that is being written in place of a bare one, and how far that has come.
    answer: Option<(Vec<u8>, usize)>,
    /// ProblemText when something has come, and when all is written.
    waits: Arc<Waits>,
}

/// What HTTP/2 begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A bare answer has three fields.
const LONGEST_BARE: usize = 256;

impl<T> Dressed<T> {
    /// `waits` is what it tells of the connection.
    pub(super) fn new(stream: T, metrics: Arc<Metrics>, waits: Arc<Waits>) -> Self {
        Self { stream, metrics, answer: None, waits }
    }
}

impl<T: AsyncWrite + Unpin> Dressed<T> {
    /// Writes the answer that takes the place of a bare one of that length.
    fn poll_answer(&mut self, context: &mut Context<'_>, length: usize) -> Poll<io::Result<usize>> {
        if let Some((answer, written)) = &mut self.answer {
            while *written < answer.len() {
                let more = ready!(Pin::new(&mut self.stream).poll_write(context, &answer[*written..]))?;
                if more == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                *written += more;
            }
        }
        self.answer = None;
        Poll::Ready(Ok(length))
    }

    /// Whether these bytes are a bare answer, and then another is to be written in their place.
    fn takes_the_place_of(&mut self, bytes: &[u8]) -> bool {
        if self.answer.is_none()
            && let Some(rejection) = meant_by(bytes)
        {
            let problem = rejection.problem(None, StatusCode::FORBIDDEN);
            self.metrics.denied(problem.code.as_str());
            self.answer = Some((dressed(&rejection), 0));
        }
        self.answer.is_some()
    }
}

/// What hyper's own answer means; none where it is the answer of a request.
fn meant_by(bytes: &[u8]) -> Option<Rejection> {
    // The hot path: nearly every answer is no refusal.
    if !bytes.starts_with(b"HTTP/1.1 4") || bytes.len() > LONGEST_BARE {
        return None;
    }
    let head = bytes.strip_suffix(b"\r\n\r\n")?;
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let rejection = match lines.next()? {
        b"HTTP/1.1 400 Bad Request" => Rejection::MalformedRequest,
        b"HTTP/1.1 414 URI Too Long" => Rejection::UriTooLong,
        b"HTTP/1.1 431 Request Header Fields Too Large" => Rejection::HeaderTooLarge,
        _ => return None,
    };
    let is_hypers_own = |line: &[u8]| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        [&b"connection"[..], b"content-length", b"date"].iter().any(|own| name.eq_ignore_ascii_case(own))
    };
    lines.all(is_hypers_own).then_some(rejection)
}

/// A whole answer, after which the connection is closed.
fn dressed(rejection: &Rejection) -> Vec<u8> {
    let problem = rejection.problem(None, StatusCode::FORBIDDEN);
    let request_id = RequestId::random();
    let body = rejection.body(&problem, &request_id, None);
    let proxy_status = proxy_status(problem.proxy_error, problem.code.as_str());
    let mut answer = format!(
        "HTTP/1.1 {} {}\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\nConnection: close\r\n\
         Cache-Control: no-store\r\nProxy-Status: {}\r\nCache-Status: {NAME}\r\nX-Request-Id: {request_id}\r\n\
         X-Content-Type-Options: nosniff\r\nCross-Origin-Resource-Policy: same-origin\r\n\r\n",
        problem.status.as_u16(),
        problem.status.canonical_reason().unwrap_or_default(),
        body.len(),
        proxy_status.to_str().unwrap_or(NAME),
    )
    .into_bytes();
    answer.extend(body);
    answer
}

impl<T: AsyncRead + Unpin> AsyncRead for Dressed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.waits.something_came();
        let read = &mut buffer.filled_mut()[before..];
        if read.starts_with(PREFACE) {
            // hyper would hang up without a word. A method that no method is, it answers.
            read[0] = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Dressed<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.takes_the_place_of(bytes) {
            return self.poll_answer(context, bytes.len());
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = pieces.iter().find(|piece| !piece.is_empty());
        if let Some(first) = first
            && self.takes_the_place_of(first)
        {
            return self.poll_answer(context, first.len());
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper comes here when nothing is left to be written; also when nothing was.
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.waits.all_is_written();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hypers_own_answers_are_dressed() {
        let bare =
            b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: now\r\n\r\n";
        assert_eq!(meant_by(bare), Some(Rejection::HeaderTooLarge));
        for other in [
            &b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 4",
            b"",
        ] {
            assert_eq!(meant_by(other), None, "{}", String::from_utf8_lossy(other));
        }
    }
}
