//! The section `upstream`: the settings of the API that are common to all tenants.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;

use super::key::keys;
use super::kind::{List, Named, Scalar};
use super::object::Object;
use super::reader::{Ledger, values};
use super::settings::Upstream;
use super::{address, endpoints, value};
use crate::domain::endpoint::Narrowing;
use crate::domain::entitlement::INSTANCE_QUERY_PARAMETERS;
use crate::domain::filter::AccountFilter;
use crate::domain::region::Region;

/// Keys of versions that forwarded methods other than `GET` and `HEAD`.
const READ_ONLY: &str =
    "the proxy is read-only: it answers GET and HEAD, and takes no request body; take this out";

/// The keys that the section had in earlier versions, each with what replaced it.
pub(super) const REMOVED: &[(&str, &str)] =
    &[endpoints::ACCOUNT_PARAMETER, ("allow_unsafe_methods", READ_ONLY), ("max_request_bytes", READ_ONLY)];

keys! {
    pub(super) KEYS;
    REGION: Scalar<Region> = "region", value::REGION, Default("us"),
        "The region of Talkdesk, which sets `api_url` and `token_url`.";
    API_URL: Scalar<Arc<str>> = "api_url", address::API_ORIGIN, Optional,
        "The API's origin; unset: that of the region.";
    TOKEN_URL: Scalar<Arc<str>> = "token_url", address::TOKEN_URL, Optional,
        "The token endpoint, in which `{account}` stands for the credential's account; unset: that of the \
         region.";
    ACCOUNT_FILTER: Scalar<AccountFilter> = "account_filter", value::ACCOUNT_FILTER,
        Default("account_id eq '{account_id}'"),
        "What `filter` says to narrow to an account. Not documented in public: `check --online` proves it.";
    ACCOUNT_FIELD: Scalar<String> = "account_field", value::PARAMETER, Default("account_id"),
        "The member of a record that carries the account's id.";
    INSTANCE_PARAMETERS: List<Scalar<String>> = "instance_query_parameters", List::of(value::PARAMETER),
        Default("[]"),
        "What an Instance on its Organization's client may ask with beside `filter`, `order_by`, `page`, \
         `per_page` and `cursor`.";
    CONNECT_TIMEOUT: Scalar<Duration> = "connect_timeout", value::TIMEOUT,
        Default("3s") restart(upstream.connect_timeout),
        "How long a connection may take to be made, TLS included.";
    REQUEST_TIMEOUT: Scalar<Duration> = "request_timeout", value::TIMEOUT, Default("30s"),
        "How long a request may take: waiting, token, retry and body included.";
    STALE_WAIT: Scalar<Duration> = "stale_wait", value::DURATION, Default("2s"),
        "No client with an older answer in the cache waits longer.";
    MAX_RESPONSE_BYTES: Scalar<u64> = "max_response_bytes", value::SIZE, Default("32MiB"),
        "The largest answer that is taken, after decompression.";
    MAX_BUFFERED_BYTES: Scalar<u64> = "max_buffered_bytes", value::SIZE, Default("256MiB"),
        "The memory that answers being read take together; beyond it requests get 503 `overloaded`. Never less than \
         `max_response_bytes`.";
    CA_FILE: Scalar<PathBuf> = "ca_file", address::PATH, Optional restart(upstream.ca_file),
        "Certificate authorities beside the system's (PEM).";
    PROXY: Scalar<Uri> = "proxy", address::FORWARD_PROXY, Optional restart(upstream.proxy),
        "The way out; unset: `HTTPS_PROXY` and `NO_PROXY` decide.";
    DEFAULT_TOKEN_LIFETIME: Scalar<Duration> = "default_token_lifetime", value::TIMEOUT, Default("5m"),
        "How long a token is valid whose answer does not say.";
    pub(super) ENDPOINTS: Named = "endpoints", endpoints::NAMED, Default("{}"),
        "Endpoints beyond the five of the Billing Insights API, by name.";
}

/// The section; parts of it belong to other sections of the configuration.
pub(super) struct UpstreamSection {
    pub(super) upstream: Upstream,
    pub(super) addresses: RegionUrls,
    pub(super) narrowing: Narrowing,
    pub(super) instance_query_parameters: HashSet<Arc<str>>,
}

/// The URLs of the API and the token endpoint, by region.
pub(super) struct RegionUrls {
    pub(super) region: Region,
    pub(super) api_url: Option<Arc<str>>,
    pub(super) token_url: Option<Arc<str>>,
}

impl RegionUrls {
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
pub(super) fn read(section: &Object<'_>, directory: &Path, ledger: &Ledger) -> Option<UpstreamSection> {
    let added: Vec<String> = values(section.get(&INSTANCE_PARAMETERS)?);
    let max_response_bytes = section.get(&MAX_RESPONSE_BYTES)?;
    if let Some(buffered) = section.located(&MAX_BUFFERED_BYTES)
        && buffered.value < max_response_bytes
    {
        let least = bytesize::ByteSize::b(max_response_bytes);
        ledger.error(
            &buffered.place,
            format!("found less than one answer may take; write at least `{least}` (`max_response_bytes`)"),
        );
    }
    let parameters = INSTANCE_QUERY_PARAMETERS.into_iter().map(Arc::from);
    Some(UpstreamSection {
        upstream: Upstream {
            connect_timeout: section.get(&CONNECT_TIMEOUT)?,
            request_timeout: section.get(&REQUEST_TIMEOUT)?,
            stale_wait: section.get(&STALE_WAIT)?,
            max_response_bytes,
            max_buffered_bytes: section.get(&MAX_BUFFERED_BYTES)?.max(max_response_bytes),
            ca_file: section.optional(&CA_FILE).map(|path| directory.join(path)),
            proxy: section.optional(&PROXY),
            default_token_lifetime: section.get(&DEFAULT_TOKEN_LIFETIME)?,
        },
        addresses: RegionUrls {
            region: section.get(&REGION)?,
            api_url: section.optional(&API_URL),
            token_url: section.optional(&TOKEN_URL),
        },
        narrowing: Narrowing {
            filter: section.get(&ACCOUNT_FILTER)?,
            field: section.get(&ACCOUNT_FIELD)?.into(),
        },
        instance_query_parameters: parameters.chain(added.into_iter().map(Arc::from)).collect(),
    })
}
