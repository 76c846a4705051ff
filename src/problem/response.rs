//! The response that a rejection becomes (RFC 9457).

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Method, Response};

use super::rejection::{ProblemText, Rejection};
use crate::headers::{PROXY_STATUS, proxy_status, retry_after};
use crate::io::body::Body;
use crate::log::request_id::RequestId;

/// The response to one request.
#[must_use]
pub fn problem_response(
    rejection: &Rejection,
    text: &ProblemText,
    tenant: Option<&str>,
    method: &Method,
    request_id: &RequestId,
) -> Response<Body> {
    let body = rejection.body(text, request_id, tenant);
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = text.status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    fields.insert(CONTENT_LENGTH, body.len().into());
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(PROXY_STATUS, proxy_status(text.proxy_error, text.code.as_str()));
    if let Some(wait) = text.retry_in {
        fields.insert(RETRY_AFTER, retry_after(wait));
    }
    if let Rejection::MethodNotAllowed { allow } = rejection
        && let Ok(allow) = HeaderValue::from_str(allow)
    {
        fields.insert(ALLOW, allow);
    }
    if *method != Method::HEAD {
        *response.body_mut() = Body::Full(body.into());
    }
    response
}
