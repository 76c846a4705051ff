//! The properties of a request that the entitlement's rules check.

use std::sync::Arc;

use super::endpoint::{Content, Endpoint, Narrowing};
use super::filter::{self, Expression};
use super::policy::{FILTER, Policy};
use super::query::{self, Parameter};

/// The properties of a request that the rules check.
#[derive(Clone, Copy, Debug)]
pub struct AccessRequest<'a> {
    /// The endpoint of the path.
    pub endpoint: &'a Arc<Endpoint>,
    /// The path upstream.
    pub path: &'a str,
    /// The raw query.
    pub query: Option<&'a str>,
}

impl<'a> AccessRequest<'a> {
    pub(super) fn parameters(&self) -> impl Iterator<Item = Parameter<'a>> + use<'a> {
        query::parameters(self.query.unwrap_or_default())
    }

    /// The filters of the query that can be parsed.
    pub(super) fn filters(&self) -> Vec<Expression> {
        self.parameters()
            .filter(|parameter| parameter.is(FILTER))
            .filter_map(|parameter| filter::parse(parameter.text()?).ok())
            .collect()
    }

    /// How a request to the endpoint names accounts.
    pub(super) fn narrowing(&self, policy: &'a Policy) -> &'a Narrowing {
        match &self.endpoint.content {
            Content::Records(narrowing) => narrowing,
            Content::Accounts | Content::Catalogue | Content::Opaque => &policy.narrowing,
        }
    }

    /// The path with the canonical query.
    pub(super) fn canonical(&self) -> Arc<str> {
        query::joined(self.path, &query::canonical(self.query.unwrap_or_default()))
    }
}
