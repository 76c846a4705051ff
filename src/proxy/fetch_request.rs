//! A permitted request as the cache and the fetch see it.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use http::{HeaderName, Method, Uri};

use super::origin::Origin;
use super::snapshot::Snapshot;
use super::upstream_timer::UpstreamTimer;
use crate::cache::judge::Question;
use crate::cache::{Shelf, primary_key};
use crate::config::Rule;
use crate::domain::entitlement::Permit;
use crate::limit::client::ClientKey;
use crate::limit::gate::Waiter;
use crate::rfc9111::directives::RequestDirectives;
use crate::rfc9111::freshness::RequestSaid;
use crate::rfc9111::key::PrimaryKey;

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
    /// The body, for methods that have one.
    pub body: Bytes,
    /// `Range`, if it may be forwarded.
    pub range: Option<HeaderValue>,
    /// What the client demands of the cache.
    pub wish: Wish,
    /// What of the request decides whether the response may be stored.
    pub said: RequestSaid,
    /// The cache key.
    pub key: PrimaryKey,
    /// The URL to request; none if it is not valid.
    pub target: Option<Uri>,
    /// Whether the response may be streamed to the client.
    pub may_be_early: bool,
    /// The client; none for a request of the proxy itself.
    pub client: Option<ClientKey>,
    /// Measures the wait for upstream.
    pub timer: UpstreamTimer,
}

/// What a client demands of the cache.
pub struct Wish {
    /// The directives of `Cache-Control`.
    pub directives: RequestDirectives,
    /// Whether the request must go to the origin, whatever is stored.
    pub for_origin: bool,
}

/// Identifies requests that may share one fetch: equal URL and equal forwarded fields.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct FlightKey {
    method: Method,
    key: PrimaryKey,
    fields: Vec<(HeaderName, Vec<u8>)>,
    /// A copy, like the fields: a shared value would keep the buffer of the whole request head alive.
    range: Option<Vec<u8>>,
    /// A request after a purge does not join a fetch from before it.
    purges: u64,
    /// A request after a change of the URL does not join a fetch from before it.
    changed: Option<u64>,
}

/// The URL of a permitted request; none if its query has a character that is not allowed in a URL.
#[must_use]
pub fn upstream_target(permit: &Permit) -> Option<Uri> {
    Uri::try_from(format!("{}{}", permit.credential().api_origin, permit.path_and_query())).ok()
}

impl FetchRequest {
    /// A request of the proxy itself, which does not use stored responses.
    #[must_use]
    pub fn own(permit: Permit, origin: &Arc<Origin>, snapshot: &Arc<Snapshot>) -> Self {
        Self {
            key: primary_key(&permit),
            target: upstream_target(&permit),
            origin: Arc::clone(origin),
            snapshot: Arc::clone(snapshot),
            fields: HeaderMap::new(),
            body: Bytes::new(),
            range: None,
            said: RequestSaid::default(),
            wish: Wish {
                directives: RequestDirectives { no_cache: true, ..RequestDirectives::default() },
                for_origin: false,
            },
            may_be_early: false,
            client: None,
            permit,
            timer: UpstreamTimer::default(),
        }
    }

    /// The rule of its endpoint.
    #[must_use]
    pub fn rule(&self) -> &Rule {
        self.snapshot.rule(self.permit.endpoint())
    }

    /// Whether that rule is RFC 9111 alone.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self.rule() == Rule::Plain
    }

    /// The method that goes upstream: ours fetches a `HEAD` as a `GET`, so that its answer can be kept and its length
    /// be known; and so does one whose answer has to be looked through.
    #[must_use]
    pub fn upstream_method(&self) -> &Method {
        let method = self.permit.method();
        let as_get = !self.is_plain() || self.permit.account_scope().is_some();
        if *method == Method::HEAD && as_get { &Method::GET } else { method }
    }

    /// Whether an answer to it may come from the cache.
    #[must_use]
    pub fn asks_the_cache(&self) -> bool {
        !self.wish.for_origin
    }

    /// What of the request decides whether the response may be stored.
    #[must_use]
    pub fn question(&self) -> Question<'_> {
        Question { method: self.upstream_method(), said: self.said }
    }

    /// The key for sharing a fetch, with the purges and changes so far.
    #[must_use]
    pub fn flight_key(&self, so_far: &Shelf) -> FlightKey {
        let traces = |name: &HeaderName| matches!(name.as_str(), "traceparent" | "tracestate");
        let fields = self.fields.iter().filter(|(name, _)| !traces(name));
        FlightKey {
            method: self.upstream_method().clone(),
            key: self.key.clone(),
            fields: fields.map(|(name, value)| (name.clone(), value.as_bytes().to_vec())).collect(),
            range: self.range.as_ref().map(|range| range.as_bytes().to_vec()),
            purges: so_far.purges(),
            changed: so_far.changed(&self.permit.credential().key, self.permit.path_and_query()),
        }
    }

    /// Its place in the queue of the rate limit.
    #[must_use]
    pub fn waiter(&self) -> Waiter {
        self.client.clone().map_or(Waiter::Background, Waiter::Client)
    }
}
