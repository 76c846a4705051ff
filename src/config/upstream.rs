//! The section `upstream`: the settings of the API that are common to all tenants.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::reader::{Ledger, Object, Value};
use super::{Upstream, address, value};
use crate::domain::endpoint::Narrowing;
use crate::domain::entitlement::INSTANCE_QUERY_PARAMETERS;
use crate::domain::region::Region;

/// The message for a key that the first version had.
pub(super) const ACCOUNT_PARAMETER_REMOVED: &str = "the API has no parameter for an account, it narrows by `filter`; \
    take this out, or write `account_filter: \"account_id eq '{account_id}'\"` with the attribute's name in it";

/// The message for keys of versions that passed on other methods than `GET` and `HEAD`.
const READ_ONLY: &str =
    "the proxy is read-only: it answers GET and HEAD, and takes no request body; take this out";

/// The section; parts of it belong to other sections of the configuration.
pub(super) struct UpstreamSection<'a> {
    pub(super) upstream: Upstream,
    pub(super) addresses: Addresses,
    pub(super) narrowing: Narrowing,
    pub(super) instance_query_parameters: HashSet<Arc<str>>,
    pub(super) endpoints: Option<Value<'a>>,
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

/// Reads the section.
pub(super) fn read<'a>(mut section: Object<'a>, directory: &Path, ledger: &Ledger) -> UpstreamSection<'a> {
    let addresses = Addresses {
        region: section.parsed("region", value::domain).unwrap_or_default(),
        api_url: section.parsed("api_url", address::api_origin),
        token_url: section.parsed("token_url", address::token_url),
    };
    section.removed("account_parameter", ACCOUNT_PARAMETER_REMOVED);
    let standard = Narrowing::default();
    let narrowing = Narrowing {
        filter: section.parsed("account_filter", value::account_filter).unwrap_or(standard.filter),
        field: section.parsed("account_field", value::parameter).map_or(standard.field, Into::into),
    };
    let added = section.list("instance_query_parameters", value::parameter).unwrap_or_default();
    let instance_query_parameters = INSTANCE_QUERY_PARAMETERS
        .into_iter()
        .map(Arc::from)
        .chain(added.into_iter().map(|one| one.value.into()));
    section.removed("allow_unsafe_methods", READ_ONLY);
    section.removed("max_request_bytes", READ_ONLY);
    let max_response_bytes = section.parsed("max_response_bytes", value::size).unwrap_or(32 << 20);
    let max_buffered_bytes = section.located("max_buffered_bytes", value::size);
    if let Some(buffered) = &max_buffered_bytes
        && buffered.value < max_response_bytes
    {
        let least = bytesize::ByteSize::b(max_response_bytes);
        ledger.error(
            &buffered.place,
            format!("found less than one answer may take; write at least `{least}` (`max_response_bytes`)"),
        );
    }
    let upstream = Upstream {
        connect_timeout: section.parsed("connect_timeout", value::timeout).unwrap_or(Duration::from_secs(3)),
        request_timeout: section.parsed("request_timeout", value::timeout).unwrap_or(Duration::from_secs(30)),
        stale_wait: section.parsed("stale_wait", value::duration).unwrap_or(Duration::from_secs(2)),
        max_response_bytes,
        max_buffered_bytes: max_buffered_bytes
            .map_or_else(|| max_response_bytes.max(256 << 20), |buffered| buffered.value),
        ca_file: section.parsed("ca_file", |text| address::path(text, directory)),
        proxy: section.parsed("proxy", address::forward_proxy),
        default_token_lifetime: section
            .parsed("default_token_lifetime", value::timeout)
            .unwrap_or(Duration::from_mins(5)),
    };
    let endpoints = section.value("endpoints");
    section.finish();
    UpstreamSection {
        upstream,
        addresses,
        narrowing,
        instance_query_parameters: instance_query_parameters.collect(),
        endpoints,
    }
}
