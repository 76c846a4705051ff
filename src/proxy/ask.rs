//! A permitted request, as far as the cache and upstream are concerned.

use std::sync::Arc;

use http::HeaderName;
use http::header::HeaderMap;

use super::origin::Origin;
use super::snapshot::Snapshot;
use crate::config::Rule;
use crate::domain::entitlement::Permit;
use crate::limit::client::ClientKey;
use crate::limit::gate::Waiter;
use crate::rfc9111::directives::RequestDirectives;
use crate::rfc9111::key::PrimaryKey;

/// The request, and the configuration that it began with.
pub struct Ask {
    /// The proof that it may be made.
    pub permit: Permit,
    /// The configuration that it began with.
    pub snapshot: Arc<Snapshot>,
    /// The way upstream.
    pub origin: Arc<Origin>,
    /// The client's fields that go upstream.
    pub fields: HeaderMap,
    /// What the client accepts.
    pub directives: RequestDirectives,
    /// Where its answer stands in the cache.
    pub key: PrimaryKey,
    /// Who asks; none for the proxy itself.
    pub client: Option<ClientKey>,
}

/// Requests that may share one fetch: those for one URL with equal fields.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct FlightKey {
    key: PrimaryKey,
    fields: Vec<(HeaderName, Vec<u8>)>,
    /// Whoever asks after a purge does not wait for what was asked for before.
    purges: u64,
}

impl Ask {
    /// The rule of its endpoint.
    #[must_use]
    pub fn rule(&self) -> &Rule {
        self.snapshot.rule(self.permit.endpoint())
    }

    /// What it may share a fetch by, there having been so many purges.
    #[must_use]
    pub fn flight_key(&self, purges: u64) -> FlightKey {
        let traces = |name: &HeaderName| matches!(name.as_str(), "traceparent" | "tracestate");
        let fields = self.fields.iter().filter(|(name, _)| !traces(name));
        FlightKey {
            key: self.key.clone(),
            fields: fields.map(|(name, value)| (name.clone(), value.as_bytes().to_vec())).collect(),
            purges,
        }
    }

    /// Who waits for it, to the limit.
    #[must_use]
    pub fn waiter(&self) -> Waiter {
        self.client.clone().map_or(Waiter::Background, Waiter::Client)
    }
}
