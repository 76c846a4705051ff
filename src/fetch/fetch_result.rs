//! The result of a fetch, and the answer that is made of it.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::Entry;
use crate::cache::policy::Bypass;
use crate::clock::Now;
use crate::metrics::CacheResult;
use crate::problem::Rejection;
use crate::rfc9111::cache_status::CacheStatus;
use crate::upstream::exchange::Exchange;

/// The result of a fetch that got a response.
pub struct FetchResult {
    /// The response.
    pub entry: Arc<Entry>,
    /// The response for the clients that share the fetch, if some fields are only for the client that started it.
    pub for_others: Option<Arc<Entry>>,
    /// Whether it was stored; if not, why.
    pub stored: Result<(), Bypass>,
    /// Whether it is a stored entry that upstream validated.
    pub revalidated: bool,
    /// The exchange with upstream.
    pub exchange: Exchange,
}

/// What every request that shares a fetch gets.
pub type SharedResult = Result<Arc<FetchResult>, FetchError>;

/// A fetch that got no response to use.
#[derive(Clone)]
pub struct FetchError {
    /// Why.
    pub rejection: Rejection,
    /// How long it waited for upstream.
    pub upstream: Duration,
}

/// Whether anybody still waits for the fetch.
pub type FetchInterest = crate::single_flight::Interest<SharedResult>;

/// A response before it is adapted to the client.
pub struct Answer {
    /// The response.
    pub entry: Arc<Entry>,
    /// What `Cache-Status` says.
    pub status: CacheStatus,
    /// What the metrics count.
    pub result: CacheResult,
    /// The exchange with upstream, if there was one.
    pub exchange: Exchange,
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
        Self { entry, status, result: CacheResult::Hit, exchange: Exchange::default() }
    }

    /// Whether it is a server error that a stale response may replace (RFC 5861, section 4).
    #[must_use]
    pub fn is_server_error(&self) -> bool {
        matches!(self.entry.status.as_u16(), 500 | 502 | 503 | 504)
    }
}
