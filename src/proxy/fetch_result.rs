//! The result of a fetch, and the answer that is made of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderMap;

use super::growing::{Beyond, Next, Reader};
use super::headers::{CacheStatus, RateState};
use super::rejection::Rejection;
use crate::body::CutOff;
use crate::cache::Entry;
use crate::cache::judge::Bypass;
use crate::clock::Now;
use crate::metrics::CacheResult;
use crate::oauth::token_use::TokenUse;

/// The result of a fetch that got a response.
pub struct FetchResult {
    /// The response; none if it is streamed because it is too large for memory.
    pub entry: Option<Arc<Entry>>,
    /// The response for the clients that share the fetch, if some fields are only for the client that started it.
    pub for_others: Option<Arc<Entry>>,
    /// Whether it was stored; if not, why.
    pub stored: Result<(), Bypass>,
    /// Whether it is a stored entry that upstream validated.
    pub revalidated: bool,
    /// The state of the credential's rate limit.
    pub rate: Option<RateState>,
    /// How long upstream took.
    pub upstream: Duration,
    /// How long it waited for the rate limit.
    pub waited: Duration,
    /// Where its token came from.
    pub token: TokenUse,
    /// The status of the upstream response.
    pub status: u16,
}

/// An answer that is passed on as it comes: it is too large for memory, or it is not there yet.
pub struct Streaming {
    /// The status.
    pub status: StatusCode,
    /// The fields that may be passed on.
    pub fields: HeaderMap,
    /// What was read of the body so far.
    pub first: Bytes,
    /// The rest of it.
    pub rest: Rest,
    /// Whether its links are rewritten, and its being JSON is checked.
    pub json: Json,
    /// How long upstream may take for the next piece.
    pub patience: Duration,
    /// Talkdesk's id of the request.
    pub upstream_request_id: Option<Arc<str>>,
}

/// Where the rest of a stream comes from.
pub enum Rest {
    /// From upstream, with its place among the requests in flight.
    Upstream(Box<Beyond>),
    /// From the fetch that keeps it as well.
    Held(Reader),
}

impl Rest {
    /// Whether it keeps a place towards upstream for as long as it is not read.
    #[must_use]
    pub fn keeps_a_place(&self) -> bool {
        match self {
            Self::Upstream(_) => true,
            Self::Held(reader) => reader.has_the_rest(),
        }
    }

    /// The next piece; none at the end.
    ///
    /// # Errors
    /// [`CutOff`] where there is none.
    pub async fn next(&mut self) -> Result<Option<Bytes>, CutOff> {
        loop {
            match self {
                Self::Upstream(beyond) => {
                    let next = beyond.0.next().await;
                    return next.map_err(|rejection| CutOff(format!("{rejection:?}")));
                }
                Self::Held(reader) => match reader.next().await? {
                    Next::Piece(piece) => return Ok(Some(piece)),
                    Next::End => return Ok(None),
                    Next::Beyond(beyond) => *self = Self::Upstream(beyond),
                },
            }
        }
    }
}

/// Whether the body of a stream is JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Json {
    /// It does not say so.
    No,
    /// It says so, and passes as it is where it is none.
    Said,
    /// It has to be.
    Must,
}

/// What every request that shares a fetch gets.
pub type Outcome = Result<Arc<Fetched>, FetchError>;

/// A fetch that got no response to use.
#[derive(Clone)]
pub struct FetchError {
    /// Why.
    pub rejection: Rejection,
    /// How long it waited for upstream.
    pub upstream: Duration,
}

/// A finished fetch.
pub struct Fetched {
    /// Its result.
    pub landed: FetchResult,
    /// A streamed body; only one client can take it.
    pub stream: Mutex<Option<Box<Streaming>>>,
}

impl Fetched {
    /// A finished fetch with this result.
    #[must_use]
    pub fn new(landed: FetchResult, stream: Option<Streaming>) -> Self {
        Self { landed, stream: Mutex::new(stream.map(Box::new)) }
    }
}

/// Whether anybody still waits for the fetch.
pub type Interest = crate::single_flight::Interest<Outcome>;

/// A response before it is adapted to the client.
pub struct Answer {
    /// The answer.
    pub content: Content,
    /// What to say of the cache.
    pub status: CacheStatus,
    /// What to count.
    pub result: CacheResult,
    /// How the credential stands; known where something was sent.
    pub rate: Option<RateState>,
    /// How long it took upstream.
    pub upstream: Duration,
    /// How long it waited for the limit.
    pub waited: Duration,
    /// How its token was come by, where one was used.
    pub token: Option<TokenUse>,
}

/// An answer in memory, or one that is not.
pub enum Content {
    /// In memory.
    Entry(Arc<Entry>),
    /// As it comes.
    Stream(Box<Streaming>),
}

impl From<Rejection> for FetchError {
    fn from(rejection: Rejection) -> Self {
        Self { rejection, upstream: Duration::ZERO }
    }
}

impl Answer {
    /// An answer from the cache.
    #[must_use]
    pub fn hit(entry: Arc<Entry>, now: Now) -> Self {
        entry.hit();
        let status = CacheStatus { hit: true, ttl: Some(entry.remaining(now)), ..CacheStatus::default() };
        Self {
            content: Content::Entry(entry),
            status,
            result: CacheResult::Hit,
            rate: None,
            upstream: Duration::ZERO,
            waited: Duration::ZERO,
            token: None,
        }
    }

    /// Whether it is an error of the server for which a stale answer may stand in (RFC 5861, section 4).
    #[must_use]
    pub fn is_server_error(&self) -> bool {
        match &self.content {
            Content::Entry(entry) => matches!(entry.status.as_u16(), 500 | 502 | 503 | 504),
            Content::Stream(_) => false,
        }
    }
}
