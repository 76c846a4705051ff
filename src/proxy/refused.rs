//! The answer that a rejection becomes, made up to the request's own name: where the same is refused again and again it
//! is made once ([`super::routes`]).

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
    VIA,
};
use http::{Method, Response, StatusCode};

use super::headers::{OWN_VIA, PROXY_STATUS, proxy_status, retry_after};
use super::rejection::Rejection;
use crate::body::Body;
use crate::prepared_head::PreparedHead;
use crate::request_id::RequestId;

/// A rejection as it is answered.
#[derive(Debug)]
pub struct Refused {
    status: StatusCode,
    /// The code, which is also the label of metrics.
    pub code: &'static str,
    /// Whether it was made by what the request says.
    pub is_denial: bool,
    /// Its fields, the length of its body first.
    head: PreparedHead,
    /// Their values but for that length.
    values: Vec<HeaderValue>,
    body_before_id: Bytes,
    body_after_id: &'static [u8],
}

impl Refused {
    /// The answer to a tenant, where one is known.
    #[must_use]
    pub fn new(rejection: &Rejection, tenant: Option<&str>, denial_status: StatusCode) -> Self {
        let told = rejection.told(tenant, denial_status);
        let mut fields = vec![
            (CONTENT_TYPE, HeaderValue::from_static("application/problem+json")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (PROXY_STATUS, proxy_status(told.proxy_error, told.code)),
            (VIA, HeaderValue::from_static(OWN_VIA)),
        ];
        fields.extend(told.retry_in.map(|wait| (RETRY_AFTER, retry_after(wait))));
        if let Rejection::MethodNotAllowed { allow } = rejection
            && let Ok(allow) = HeaderValue::from_str(allow)
        {
            fields.push((ALLOW, allow));
        }
        if let Rejection::RangeNotSatisfiable { length } = rejection
            && let Ok(range) = HeaderValue::try_from(format!("bytes */{length}"))
        {
            fields.push((CONTENT_RANGE, range));
        }
        let (names, values): (Vec<HeaderName>, Vec<HeaderValue>) = fields.into_iter().unzip();
        let (body_before_id, body_after_id) = rejection.body_around_id(&told, tenant);
        Self {
            status: told.status,
            code: told.code,
            is_denial: rejection.is_denial(),
            head: PreparedHead::new(std::iter::once(&CONTENT_LENGTH).chain(&names)),
            values,
            body_before_id: body_before_id.into(),
            body_after_id,
        }
    }

    /// The answer to one request.
    #[must_use]
    pub fn answer(&self, method: &Method, request_id: &RequestId) -> Response<Body> {
        let id = request_id.as_str().as_bytes();
        let length = self.body_before_id.len() + id.len() + self.body_after_id.len();
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = self.status;
        let values = std::iter::once(length.into()).chain(self.values.iter().cloned());
        *response.headers_mut() = self.head.with(values);
        if *method != Method::HEAD {
            let mut body = BytesMut::with_capacity(length);
            body.put_slice(&self.body_before_id);
            body.put_slice(id);
            body.put_slice(self.body_after_id);
            *response.body_mut() = Body::Full(body.freeze());
        }
        response
    }
}
