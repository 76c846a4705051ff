//! A permitted request, as far as the cache and upstream are concerned.

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

/// The request, and the configuration that it began with.
pub struct FetchRequest {
    /// The proof that it may be made.
    pub permit: Permit,
    /// The configuration that it began with.
    pub snapshot: Arc<Snapshot>,
    /// The way upstream.
    pub origin: Arc<Origin>,
    /// The client's fields that go upstream.
    pub fields: HeaderMap,
    /// The body, for methods that have one.
    pub body: Bytes,
    /// The part that it asks for, where that may go upstream.
    pub range: Option<HeaderValue>,
    /// Where the answer may come from.
    pub wish: Wish,
    /// What it says about storing the answer.
    pub said: RequestSaid,
    /// Where its answer stands in the cache.
    pub key: PrimaryKey,
    /// What it asks upstream for; none where that is no URL.
    pub target: Option<Uri>,
    /// Whether its answer may be passed on while it still comes.
    pub may_be_early: bool,
    /// Who asks; none for the proxy itself.
    pub client: Option<ClientKey>,
    /// How long upstream is waited for.
    pub timer: UpstreamTimer,
}

/// What a request says of where its answer may come from.
pub struct Wish {
    /// What the client accepts.
    pub directives: RequestDirectives,
    /// Whether only the origin can answer it, whatever is stored.
    pub for_origin: bool,
}

/// Requests that may share one fetch: those for one URL with equal fields.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct FlightKey {
    method: Method,
    key: PrimaryKey,
    fields: Vec<(HeaderName, Vec<u8>)>,
    /// A copy, as those of the fields: it is remembered for a while, and would hold on to the whole head.
    range: Option<Vec<u8>>,
    /// Whoever asks after a purge does not wait for what was asked for before.
    purges: u64,
    /// Nor whoever asks after the URL was changed.
    changed: Option<u64>,
}

/// What a permitted request asks upstream for; none where its query has a character that must not stand in a URL.
#[must_use]
pub fn upstream_target(permit: &Permit) -> Option<Uri> {
    Uri::try_from(format!("{}{}", permit.credential().api_origin, permit.path_and_query())).ok()
}

impl FetchRequest {
    /// A request of the proxy's own, which takes nothing from the cache.
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

    /// What the judge of storing looks at.
    #[must_use]
    pub fn question(&self) -> Question<'_> {
        Question { method: self.upstream_method(), said: self.said }
    }

    /// What it may share a fetch by, with what has happened so far.
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

    /// Who waits for it, to the limit.
    #[must_use]
    pub fn waiter(&self) -> Waiter {
        self.client.clone().map_or(Waiter::Background, Waiter::Client)
    }
}
