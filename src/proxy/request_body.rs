//! The body of a request, for the methods that have one. It is read whole before anything is sent, so that a client that
//! is slow, or leaves, holds none of its credential's places, and so that a request whose token was rejected can be
//! sent again.

use bytes::Bytes;
use http::Method;
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;

use super::rejection::Rejection;
use crate::clock::Clock;
use crate::config::Upstream;

/// Whether a request of this method may have a body at all. One that must not have one is refused before anything
/// else is looked at (CVE-2025-4366).
///
/// # Errors
/// [`Rejection::BodyNotAllowed`]
pub(super) fn may_be(method: &Method, body: &Incoming) -> Result<(), Rejection> {
    let takes_one =
        !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::CONNECT | Method::TRACE);
    if takes_one || body.is_end_stream() { Ok(()) } else { Err(Rejection::BodyNotAllowed) }
}

/// Reads it to its end.
///
/// # Errors
/// [`Rejection::ContentTooLarge`], [`Rejection::BodyIncomplete`]
pub(super) async fn read(body: Incoming, upstream: &Upstream, clock: &Clock) -> Result<Bytes, Rejection> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let limit = upstream.max_request_bytes;
    let limited = Limited::new(body, usize::try_from(limit).unwrap_or(usize::MAX));
    match clock.timeout(upstream.request_timeout, limited.collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Rejection::ContentTooLarge { limit }),
        Ok(Err(_)) | Err(_) => Err(Rejection::BodyIncomplete),
    }
}
