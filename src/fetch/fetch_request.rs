//! A permitted request as the cache and the fetch see it.

use std::sync::Arc;

use http::header::HeaderMap;
use http::{HeaderName, Uri};

use crate::cache::policy::CachePolicy;
use crate::cache::{ResponseCache, primary_key};
use crate::domain::entitlement::Permit;
use crate::limit::client::ClientKey;
use crate::limit::gate::Waiter;
use crate::rfc9111::directives::RequestDirectives;
use crate::rfc9111::freshness::RequestSaid;
use crate::rfc9111::key::PrimaryKey;
use crate::snapshot::Snapshot;
use crate::upstream::origin::Origin;
use crate::upstream::upstream_timer::UpstreamTimer;

/// A permitted request, with the configuration it started with.
pub struct FetchRequest {
    /// The proof that it may be made.
    pub permit: Permit,
    /// The configuration it started with.
    pub snapshot: Arc<Snapshot>,
    /// The credential's way to the API.
    pub origin: Arc<Origin>,
    /// The client's fields that are forwarded.
    pub fields: HeaderMap,
    /// What the client demands of the cache.
    pub directives: RequestDirectives,
    /// What of the request decides whether the response may be stored.
    pub said: RequestSaid,
    /// The cache key.
    pub key: PrimaryKey,
    /// The URL to request; none if it is not valid.
    pub target: Option<Uri>,
    /// The client; none for a request of the proxy itself.
    pub client: Option<ClientKey>,
    /// Measures the wait for upstream.
    pub timer: UpstreamTimer,
}

/// Identifies requests that may share one fetch: equal URL and equal forwarded fields, except trace context.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct FlightKey {
    key: PrimaryKey,
    /// Copies: shared values would keep the buffer of the whole request head alive.
    fields: Vec<(HeaderName, Vec<u8>)>,
    /// A request after a purge does not join a fetch from before it.
    purges: u64,
    /// A request after a refusal of the URL does not join a fetch from before it.
    refusal: Option<u64>,
}

/// The URL of a permitted request; none if its query has a character that is not allowed in a URL.
#[must_use]
pub fn upstream_target(permit: &Permit) -> Option<Uri> {
    Uri::try_from(format!("{}{}", permit.credential().api_origin, permit.path_and_query())).ok()
}

impl FetchRequest {
    /// A request of the proxy itself, with `no-cache`; an entry that is younger than `min_refresh` is used nevertheless.
    #[must_use]
    pub fn own(permit: Permit, origin: &Arc<Origin>, snapshot: &Arc<Snapshot>) -> Self {
        Self {
            key: primary_key(&permit),
            target: upstream_target(&permit),
            origin: Arc::clone(origin),
            snapshot: Arc::clone(snapshot),
            fields: HeaderMap::new(),
            said: RequestSaid::default(),
            directives: RequestDirectives { no_cache: true, ..RequestDirectives::default() },
            client: None,
            permit,
            timer: UpstreamTimer::default(),
        }
    }

    /// The caching policy of its endpoint.
    #[must_use]
    pub fn policy(&self) -> &CachePolicy {
        self.snapshot.policy(self.permit.endpoint())
    }

    /// The key for sharing a fetch.
    #[must_use]
    pub fn flight_key(&self, cache: &ResponseCache) -> FlightKey {
        let traces = |name: &HeaderName| matches!(name.as_str(), "traceparent" | "tracestate");
        let fields = self.fields.iter().filter(|(name, _)| !traces(name));
        FlightKey {
            key: self.key.clone(),
            fields: fields.map(|(name, value)| (name.clone(), value.as_bytes().to_vec())).collect(),
            purges: cache.purges(),
            refusal: cache.latest_refusal(&self.permit.credential().key, self.permit.path_and_query()),
        }
    }

    /// Its place in the queue of the rate limit.
    #[must_use]
    pub fn waiter(&self) -> Waiter {
        self.client.clone().map_or(Waiter::Background, Waiter::Client)
    }
}
