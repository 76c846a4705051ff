//! A response of the admin plane.

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};

use super::page;
use crate::io::body::Body;

/// A response before it is converted to HTTP.
pub(super) struct AdminResponse {
    pub(super) status: StatusCode,
    pub(super) kind: &'static str,
    pub(super) policy: &'static str,
    pub(super) body: Vec<u8>,
}

impl AdminResponse {
    pub(super) fn json(status: StatusCode, value: &serde_json::Value) -> Self {
        let mut body = serde_json::to_vec_pretty(value).unwrap_or_default();
        body.push(b'\n');
        Self { status, kind: "application/json", policy: POLICY, body }
    }

    /// JSON without whitespace, for long responses.
    pub(super) fn compact(value: &serde_json::Value) -> Self {
        let body = value.to_string().into_bytes();
        Self { status: StatusCode::OK, kind: "application/json", policy: POLICY, body }
    }

    pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Self {
        let problem = serde_json::json!({
            "type": format!("urn:billing-insights-proxy:problem:{code}"),
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "code": code,
            "detail": message,
        });
        Self { kind: "application/problem+json", ..Self::json(status, &problem) }
    }

    #[expect(clippy::unnecessary_wraps, reason = "one arm of a match whose others can fail")]
    pub(super) fn not_found() -> Result<Self, &'static str> {
        Ok(Self::error(
            StatusCode::NOT_FOUND,
            "not_found",
            "this path does not exist; see /, /metrics, /livez, /readyz, /api/status, /api/history, /api/tenants, /api/credentials, /api/cache, /api/cache/entries and /api/reload",
        ))
    }

    pub(super) fn text(status: StatusCode, text: &str) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", policy: POLICY, body: text.as_bytes().to_vec() }
    }

    pub(super) fn page() -> Self {
        Self {
            status: StatusCode::OK,
            kind: "text/html; charset=utf-8",
            policy: &page::POLICY,
            body: page::PAGE.as_bytes().to_vec(),
        }
    }

    pub(super) fn into_response(self, method: &Method) -> Response<Body> {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = self.status;
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        fields.insert(CONTENT_LENGTH, self.body.len().into());
        for (name, value) in OWN_FIELDS {
            fields.insert(name, HeaderValue::from_static(value));
        }
        fields.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(self.policy));
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if *method != Method::HEAD {
            *response.body_mut() = Body::Full(self.body.into());
        }
        response
    }
}

/// Fields that prevent browsers from reinterpreting or embedding a response.
pub(super) const OWN_FIELDS: [(&str, &str); 3] = [
    ("x-content-type-options", "nosniff"),
    ("cross-origin-resource-policy", "same-origin"),
    ("x-frame-options", "DENY"),
];

/// The Content-Security-Policy of responses that are not a page: nothing is allowed.
pub(super) const POLICY: &str =
    "default-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";
