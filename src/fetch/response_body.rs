//! Reads a response body of the API to its end: decodes it, limits its size, and detects one that is cut off or contains the
//! access token.
//!
//! The limit applies to the decoded size, so that a small compressed body cannot grow without bound. Trailers are skipped.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_compression::tokio::bufread::GzipDecoder;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, Response, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio_util::io::{ReaderStream, StreamReader};

use super::read_budget::{ReadBudget, Reservation};
use crate::problem::Rejection;
use crate::upstream::token_scanner::TokenScanner;

/// A complete response body.
pub(super) struct ResponseBody {
    bytes: Bytes,
    /// Whether a content coding was removed.
    pub is_decoded: bool,
    reservation: Reservation,
}

/// The most that is decompressed at a time, in bytes.
const DECOMPRESS_AT_ONCE: usize = 64 * 1024;

impl ResponseBody {
    /// Reads the body of `response`, of at most `limit` bytes.
    ///
    /// # Errors
    /// [`Rejection::UpstreamProtocolError`] for a body that is cut off or has a content coding that was not requested,
    /// [`Rejection::UpstreamResponseTooLarge`], [`Rejection::TokenInAnswer`], and [`Rejection::Overloaded`] if the bodies being
    /// read exceed the budget.
    pub(super) async fn read(
        response: Response<Incoming>,
        limit: u64,
        budget: &Arc<ReadBudget>,
    ) -> Result<Self, Rejection> {
        let scanner = TokenScanner::of(&response);
        let (head, body) = response.into_parts();
        let fields = &head.headers;
        let too_large = || Rejection::UpstreamResponseTooLarge { limit };
        let declared = fields.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if declared.is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let is_decoded = is_gzip(fields);
        let expected = body.size_hint().exact().filter(|_| !is_decoded).unwrap_or_default();
        let data = Data { body, end_must_be_seen: head.version == Version::HTTP_2 };
        let mut pieces: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>> = if is_decoded {
            let mut decoder = GzipDecoder::new(StreamReader::new(data));
            decoder.multiple_members(true);
            Box::pin(ReaderStream::with_capacity(decoder, DECOMPRESS_AT_ONCE))
        } else if is_identity(fields) {
            Box::pin(data)
        } else {
            return Err(Rejection::UpstreamProtocolError("its content coding was not asked for".into()));
        };
        let mut reservation = budget.reservation();
        reservation.extend_to(expected)?;
        let mut whole = BytesMut::with_capacity(usize::try_from(expected).unwrap_or_default());
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| {
                Rejection::UpstreamProtocolError(format!("its body is cut off or malformed ({error})"))
            })?;
            if (whole.len() + piece.len()) as u64 > limit {
                return Err(too_large());
            }
            whole.reserve(piece.len());
            reservation.extend_to(whole.capacity() as u64)?;
            whole.extend_from_slice(&piece);
        }
        if let Some(scanner) = scanner {
            scanner.check(&whole)?;
        }
        Ok(Self { bytes: of_exact_size(whole), is_decoded, reservation })
    }

    /// An empty body.
    #[must_use]
    pub(super) fn empty(budget: &Arc<ReadBudget>) -> Self {
        Self { bytes: Bytes::new(), is_decoded: false, reservation: budget.reservation() }
    }

    /// The bytes.
    #[must_use]
    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes, for the cache, which has its own limit: releases the reservation.
    #[must_use]
    pub(super) fn into_stored(self) -> Bytes {
        self.bytes
    }

    /// The bytes, for the clients that wait: the reservation lasts until the last of them has been served.
    #[must_use]
    pub(super) fn into_unstored(self) -> Bytes {
        struct Reserved(Bytes, #[expect(dead_code, reason = "held until it is dropped")] Reservation);
        impl AsRef<[u8]> for Reserved {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        Bytes::from_owner(Reserved(self.bytes, self.reservation))
    }
}

/// Avoids unused capacity: the cache weighs an entry by its length.
fn of_exact_size(body: BytesMut) -> Bytes {
    if body.len() == body.capacity() { body.freeze() } else { Bytes::copy_from_slice(&body) }
}

/// Whether the content coding is gzip, which is decoded.
#[must_use]
pub(super) fn is_gzip(fields: &HeaderMap) -> bool {
    has_coding(fields, &["gzip", "x-gzip"])
}

fn is_identity(fields: &HeaderMap) -> bool {
    !fields.contains_key(CONTENT_ENCODING) || has_coding(fields, &["identity"])
}

fn has_coding(fields: &HeaderMap, codings: &[&str]) -> bool {
    let value = fields.get(CONTENT_ENCODING).map(|value| value.as_bytes().trim_ascii());
    value.is_some_and(|value| codings.iter().any(|coding| value.eq_ignore_ascii_case(coding.as_bytes())))
}

/// The data frames of a body.
struct Data {
    body: Incoming,
    /// For HTTP/2: hyper reports a stream that was reset without an error, or cancelled, as ended.
    end_must_be_seen: bool,
}

impl Stream for Data {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            return match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(None) if self.end_must_be_seen && !self.body.is_end_stream() => {
                    Poll::Ready(Some(Err(io::Error::other("the stream was reset before its end"))))
                }
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(io::Error::other(error)))),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => Poll::Ready(Some(Ok(data))),
                    Err(_) => continue,
                },
            };
        }
    }
}
