//! Reads a response body of the API: decodes it, limits its size, and detects one that is cut off.
//!
//! A body up to `cache.max_entry_bytes` is read to its end before a byte of it is sent to a client, so it can still be refused
//! if it is cut off, is not JSON, or holds another account's records. A larger one is streamed, and so is one that arrives
//! slowly under a plain rule ([`early`](super::early)). The limit applies to the decoded size, so that a small compressed
//! body cannot grow without bound.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_compression::tokio::bufread::GzipDecoder;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::StreamReader;

use super::rejection::Rejection;
use super::token_scanner::TokenScanner;

/// The body of an answer, decoded as it comes.
pub struct Receiving {
    source: Source,
    received: u64,
    limit: u64,
    /// How long it is, where that is known before.
    length: Option<u64>,
    scanner: Option<TokenScanner>,
}

/// What was read.
pub enum Received {
    /// All of it.
    Whole(Bytes),
    /// This much, and there is more.
    Part(Bytes),
}

enum Source {
    Identity(Data),
    Gzip(Box<GzipDecoder<StreamReader<Data, Bytes>>>, BytesMut),
}

/// How often the others of this thread are let go first, before a piece counts as one that has to be waited for: between
/// a connection and who reads from it stands a task that has to run for each piece.
const CHANCES: usize = 2;

/// How much is inflated at a time.
const INFLATE_AT_ONCE: usize = 64 * 1024;

impl Receiving {
    /// Prepares to read a body, of `limit` bytes at most, in which a token must not be.
    ///
    /// # Errors
    /// [`Rejection::UpstreamProtocolError`] for an encoding that was not asked for, unless it may pass as it is
    /// (`any_coding`); [`Rejection::UpstreamResponseTooLarge`] where its length says so.
    ///
    /// `ends_openly` is for what comes over HTTP/2 and has no reason to be reset once it is whole, as the answer to a
    /// request with a body has that was answered before it was read (RFC 9113, section 8.1).
    pub fn new(
        fields: &HeaderMap,
        body: Incoming,
        limit: u64,
        any_coding: bool,
        scanner: Option<TokenScanner>,
        ends_openly: bool,
    ) -> Result<Self, Rejection> {
        let body = Data { body, ends_openly };
        let declared = fields.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if declared.is_some_and(|length| length > limit) {
            return Err(Rejection::UpstreamResponseTooLarge { limit });
        }
        let length = body.body.size_hint().exact();
        let source = match fields.get(CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase()) {
            None => Source::Identity(body),
            Some(encoding) if encoding == b"identity" => Source::Identity(body),
            Some(_) if is_gzip(fields) => {
                let mut decoder = GzipDecoder::new(StreamReader::new(body));
                decoder.multiple_members(true);
                Source::Gzip(Box::new(decoder), BytesMut::new())
            }
            Some(_) if any_coding => Source::Identity(body),
            Some(_) => {
                return Err(Rejection::UpstreamProtocolError("its content coding was not asked for".into()));
            }
        };
        Ok(Self { source, received: 0, limit, length, scanner })
    }

    /// How long it is, where that is known before it is read.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length.filter(|_| !self.is_decoded())
    }

    /// Whether what is read is not what the origin sent, but what that decodes to.
    #[must_use]
    pub fn is_decoded(&self) -> bool {
        matches!(self.source, Source::Gzip(..))
    }

    /// Whether nothing more comes, as far as that is known without looking.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        match &self.source {
            Source::Identity(data) => data.body.is_end_stream(),
            Source::Gzip(..) => false,
        }
    }

    /// Searches what was read, and what comes after it, for a token.
    ///
    /// # Errors
    /// [`Rejection::TokenInAnswer`]
    pub fn search(&mut self, mut scanner: TokenScanner, read: &[u8]) -> Result<(), Rejection> {
        scanner.look(read)?;
        self.scanner = Some(scanner);
        Ok(())
    }

    /// Reads to the end, or until there is more than `most`.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn read(&mut self, most: u64) -> Result<Received, Rejection> {
        let expected = self.length().unwrap_or_default().min(most);
        let mut whole = BytesMut::with_capacity(usize::try_from(expected).unwrap_or_default());
        while let Some(piece) = self.next().await? {
            whole.extend_from_slice(&piece);
            if whole.len() as u64 > most {
                return Ok(Received::Part(whole.freeze()));
            }
        }
        Ok(Received::Whole(of_its_size(whole)))
    }

    /// Reads for as long as nothing has to be waited for: to the end, or until there is more than `enough`.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn read_at_once(&mut self, enough: usize) -> Result<Received, Rejection> {
        let mut read = BytesMut::new();
        while read.len() <= enough {
            if self.is_at_end() {
                return Ok(Received::Whole(of_its_size(read)));
            }
            match self.next_at_once().await {
                Some(Ok(Some(piece))) => read.extend_from_slice(&piece),
                Some(Ok(None)) => return Ok(Received::Whole(of_its_size(read))),
                Some(Err(rejection)) => return Err(rejection),
                None => break,
            }
        }
        Ok(Received::Part(read.freeze()))
    }

    /// The next piece; none at the end.
    ///
    /// # Errors
    /// [`Rejection::UpstreamProtocolError`] where the body is cut off or malformed,
    /// [`Rejection::UpstreamResponseTooLarge`] where it passes the limit, [`Rejection::TokenInAnswer`] where it has
    /// the token.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Rejection> {
        let piece = match &mut self.source {
            Source::Identity(data) => poll_fn(|context| data.poll(context)).await.transpose(),
            Source::Gzip(decoder, buffer) => inflate(decoder, buffer).await,
        };
        let piece = piece.map_err(|error| Rejection::UpstreamProtocolError(cut_off(&error)))?;
        self.received += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        if self.received > self.limit {
            return Err(Rejection::UpstreamResponseTooLarge { limit: self.limit });
        }
        if let (Some(scanner), Some(piece)) = (&mut self.scanner, &piece) {
            scanner.look(piece)?;
        }
        Ok(piece)
    }

    /// The next piece, or the end, where neither has to be waited for.
    async fn next_at_once(&mut self) -> Option<Result<Option<Bytes>, Rejection>> {
        for _ in 0..CHANCES {
            if let Poll::Ready(next) = self.poll_next().await {
                return Some(next);
            }
            tokio::task::yield_now().await;
        }
        match self.poll_next().await {
            Poll::Ready(next) => Some(next),
            Poll::Pending => None,
        }
    }

    /// Looks once. What is not there yet is not lost where nobody waits for it: it is the source that remembers.
    async fn poll_next(&mut self) -> Poll<Result<Option<Bytes>, Rejection>> {
        let mut next = std::pin::pin!(self.next());
        poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await
    }
}

/// In memory that is as large as it, since the entry that keeps it is weighed by its length.
fn of_its_size(body: BytesMut) -> Bytes {
    if body.len() == body.capacity() { body.freeze() } else { Bytes::copy_from_slice(&body) }
}

/// Whether the body is one that is decoded here.
pub(super) fn is_gzip(fields: &HeaderMap) -> bool {
    let coding = fields.get(CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase());
    coding.is_some_and(|coding| coding == b"gzip" || coding == b"x-gzip")
}

fn cut_off(error: &io::Error) -> String {
    format!("its body is cut off or malformed ({error})")
}

async fn inflate(
    decoder: &mut GzipDecoder<StreamReader<Data, Bytes>>,
    buffer: &mut BytesMut,
) -> io::Result<Option<Bytes>> {
    buffer.resize(INFLATE_AT_ONCE, 0);
    let read = poll_fn(|context| {
        let mut window = ReadBuf::new(buffer);
        match Pin::new(&mut *decoder).poll_read(context, &mut window) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(window.filled().len())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await?;
    Ok((read > 0).then(|| buffer.split_to(read).freeze()))
}

/// The data frames of a body; trailers are passed over.
struct Data {
    body: Incoming,
    /// Whether its end has to be seen to be believed.
    ends_openly: bool,
}

impl Data {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            return match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Pending => Poll::Pending,
                // hyper takes a stream that is reset without an error, or cancelled, for one that has ended.
                Poll::Ready(None) if self.ends_openly && !self.body.is_end_stream() => {
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

impl futures_util::Stream for Data {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(context)
    }
}
