//! The field `Cache-Status` (RFC 9211): how the cache handled a request.

use std::fmt::Write as _;

use http::header::HeaderValue;

use crate::version::NAME;

/// Why a request goes upstream: the `fwd` parameter of `Cache-Status` (RFC 9211, section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Nothing is stored for the URL.
    UriMiss,
    /// The responses stored for the URL do not match the request's `Vary` fields.
    VaryMiss,
    /// The stored response is stale.
    Stale,
    /// The request's directives do not permit the stored response.
    Request,
}

impl Forward {
    /// The token of RFC 9211.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
            Self::Request => "request",
        }
    }
}

/// The members of `Cache-Status` (RFC 9211, section 2).
#[derive(Clone, Copy, Debug, Default)]
pub struct CacheStatus {
    /// The response came from the cache, without a request upstream.
    pub hit: bool,
    /// Why the request went upstream.
    pub forward: Option<Forward>,
    /// The status of upstream's response.
    pub forward_status: Option<u16>,
    /// The response was stored.
    pub stored: bool,
    /// The response was fetched for another request.
    pub collapsed: bool,
    /// The remaining freshness in seconds; negative if the response is stale.
    pub ttl: Option<i64>,
    /// A reason.
    pub detail: Option<&'static str>,
}

impl CacheStatus {
    /// The field's value.
    #[must_use]
    pub fn value(&self) -> HeaderValue {
        let mut value = String::with_capacity(96);
        value.push_str(NAME);
        if self.hit {
            value.push_str("; hit");
        }
        if let Some(forward) = self.forward {
            let _ = write!(value, "; fwd={}", forward.as_str());
        }
        if let Some(status) = self.forward_status {
            let _ = write!(value, "; fwd-status={status}");
        }
        if let Some(ttl) = self.ttl {
            let _ = write!(value, "; ttl={ttl}");
        }
        if self.stored {
            value.push_str("; stored");
        }
        if self.collapsed {
            value.push_str("; collapsed");
        }
        if let Some(detail) = self.detail {
            let _ = write!(value, "; detail={detail}");
        }
        HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static(NAME))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_status_is_a_structured_field() {
        let status = CacheStatus {
            forward: Some(Forward::UriMiss),
            forward_status: Some(200),
            stored: true,
            ttl: Some(3600),
            ..CacheStatus::default()
        };
        let value = status.value();
        assert_eq!(value, "billing-insights-proxy; fwd=uri-miss; fwd-status=200; ttl=3600; stored");
        let parsed: Result<sfv::List, _> = sfv::Parser::new(value.as_bytes()).parse();
        assert!(parsed.is_ok());
    }
}
