//! The section `upstream`: the settings of the API that are common to all tenants.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;

use super::key::{Key, Section};
use super::kind::{Boolean, List, Scalar};
use super::reader::{Object, values};
use super::{Upstream, address, endpoints, value};
use crate::domain::endpoint::Narrowing;
use crate::domain::entitlement::INSTANCE_QUERY_PARAMETERS;
use crate::domain::filter::AccountFilter;
use crate::domain::region::Region;

/// A key that the first version had, and what replaced it.
pub(super) const ACCOUNT_PARAMETER: (&str, &str) = (
    "account_parameter",
    "the API has no parameter for an account, it narrows by `filter`; take this out, or write `account_filter: \
     \"account_id eq '{account_id}'\"` with the attribute's name in it",
);

pub(super) static UPSTREAM: Key<Section> = Key::optional(
    "upstream",
    Section::new(&[
        &REGION,
        &API_URL,
        &TOKEN_URL,
        &ACCOUNT_FILTER,
        &ACCOUNT_FIELD,
        &INSTANCE_PARAMETERS,
        &CONNECT_TIMEOUT,
        &REQUEST_TIMEOUT,
        &STALE_WAIT,
        &MAX_RESPONSE_BYTES,
        &MAX_REQUEST_BYTES,
        &CA_FILE,
        &PROXY,
        &DEFAULT_TOKEN_LIFETIME,
        &ALLOW_UNSAFE_METHODS,
        &endpoints::ENDPOINTS,
    ])
    .removed(&[ACCOUNT_PARAMETER]),
    "Talkdesk's API.",
);

static REGION: Key<Scalar<Region>> = Key::with_default(
    "region",
    value::REGION,
    "us",
    "The region of Talkdesk, which sets `api_url` and `token_url`.",
);

static API_URL: Key<Scalar<Arc<str>>> =
    Key::optional("api_url", address::API_ORIGIN, "The API's origin; unset: that of the region.");

static TOKEN_URL: Key<Scalar<Arc<str>>> = Key::optional(
    "token_url",
    address::TOKEN_URL,
    "The token endpoint, in which `{account}` stands for the credential's account; unset: that of the region.",
);

static ACCOUNT_FILTER: Key<Scalar<AccountFilter>> = Key::with_default(
    "account_filter",
    value::ACCOUNT_FILTER,
    "account_id eq '{account_id}'",
    "What `filter` says to narrow to an account. Not documented in public: `check --online` proves it.",
);

static ACCOUNT_FIELD: Key<Scalar<String>> = Key::with_default(
    "account_field",
    value::PARAMETER,
    "account_id",
    "The member of a record that carries the account's id.",
);

static INSTANCE_PARAMETERS: Key<List<Scalar<String>>> = Key::with_default(
    "instance_query_parameters",
    List::of(value::PARAMETER),
    "[]",
    "What an Instance on its Organization's client may ask with beside `filter`, `order_by`, `page`, `per_page` \
     and `cursor`.",
);

static CONNECT_TIMEOUT: Key<Scalar<Duration>> = Key::with_default(
    "connect_timeout",
    value::TIMEOUT,
    "3s",
    "How long a connection may take to be made, TLS included.",
)
.needs_restart(|old, new| old.upstream.connect_timeout != new.upstream.connect_timeout);

static REQUEST_TIMEOUT: Key<Scalar<Duration>> = Key::with_default(
    "request_timeout",
    value::TIMEOUT,
    "30s",
    "How long a request may take: waiting, token, retry and body included.",
);

static STALE_WAIT: Key<Scalar<Duration>> = Key::with_default(
    "stale_wait",
    value::DURATION,
    "2s",
    "No client with an older answer in the cache waits longer.",
);

static MAX_RESPONSE_BYTES: Key<Scalar<u64>> = Key::with_default(
    "max_response_bytes",
    value::SIZE,
    "32MiB",
    "The largest answer that is taken, after decompression.",
);

static MAX_REQUEST_BYTES: Key<Scalar<u64>> = Key::with_default(
    "max_request_bytes",
    value::SIZE,
    "1MiB",
    "The largest body of a client, for methods that have one.",
);

static CA_FILE: Key<Scalar<PathBuf>> =
    Key::optional("ca_file", address::PATH, "Certificate authorities beside the system's (PEM).")
        .needs_restart(|old, new| old.upstream.ca_file != new.upstream.ca_file);

static PROXY: Key<Scalar<Uri>> = Key::optional(
    "proxy",
    address::FORWARD_PROXY,
    "The way out; unset: `HTTPS_PROXY` and `NO_PROXY` decide.",
)
.needs_restart(|old, new| old.upstream.proxy != new.upstream.proxy);

static DEFAULT_TOKEN_LIFETIME: Key<Scalar<Duration>> = Key::with_default(
    "default_token_lifetime",
    value::TIMEOUT,
    "5m",
    "How long a token is valid whose answer does not say.",
);

static ALLOW_UNSAFE_METHODS: Key<Boolean> = Key::with_default(
    "allow_unsafe_methods",
    Boolean,
    "false",
    "Whether added endpoints may name methods other than `GET` and `HEAD`.",
);

/// The section; parts of it belong to other sections of the configuration.
pub(super) struct UpstreamSection {
    pub(super) upstream: Upstream,
    pub(super) addresses: Addresses,
    pub(super) narrowing: Narrowing,
    pub(super) instance_query_parameters: HashSet<Arc<str>>,
    /// Whether added endpoints may name methods other than `GET` and `HEAD`.
    pub(super) allow_unsafe_methods: bool,
}

/// The URLs of the API and the token endpoint, by region.
pub(super) struct Addresses {
    pub(super) region: Region,
    pub(super) api_url: Option<Arc<str>>,
    pub(super) token_url: Option<Arc<str>>,
}

impl Addresses {
    /// The API's origin in a region; a configured URL applies to the configured region only.
    pub(super) fn api_origin(&self, region: Region) -> Arc<str> {
        let configured = self.api_url.as_ref().filter(|_| region == self.region);
        configured.cloned().unwrap_or_else(|| region.api_url().into())
    }

    /// The token endpoint in a region, still with `{account}`.
    pub(super) fn token_url(&self, region: Region) -> Arc<str> {
        let configured = self.token_url.as_ref().filter(|_| region == self.region);
        configured.cloned().unwrap_or_else(|| region.token_url().into())
    }
}

/// Reads the section, except for the endpoints.
pub(super) fn read(section: &Object<'_>, directory: &Path) -> Option<UpstreamSection> {
    let added: Vec<String> = values(section.get(&INSTANCE_PARAMETERS)?);
    let parameters = INSTANCE_QUERY_PARAMETERS.into_iter().map(Arc::from);
    Some(UpstreamSection {
        upstream: Upstream {
            connect_timeout: section.get(&CONNECT_TIMEOUT)?,
            request_timeout: section.get(&REQUEST_TIMEOUT)?,
            stale_wait: section.get(&STALE_WAIT)?,
            max_response_bytes: section.get(&MAX_RESPONSE_BYTES)?,
            max_request_bytes: section.get(&MAX_REQUEST_BYTES)?,
            ca_file: section.optional(&CA_FILE).map(|path| directory.join(path)),
            proxy: section.optional(&PROXY),
            default_token_lifetime: section.get(&DEFAULT_TOKEN_LIFETIME)?,
        },
        addresses: Addresses {
            region: section.get(&REGION)?,
            api_url: section.optional(&API_URL),
            token_url: section.optional(&TOKEN_URL),
        },
        narrowing: Narrowing {
            filter: section.get(&ACCOUNT_FILTER)?,
            field: section.get(&ACCOUNT_FIELD)?.into(),
        },
        instance_query_parameters: parameters.chain(added.into_iter().map(Arc::from)).collect(),
        allow_unsafe_methods: section.get(&ALLOW_UNSAFE_METHODS)?,
    })
}
