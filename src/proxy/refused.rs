//! The answer that a rejection becomes, made up to the request's own name: where the same is refused again and again it
//! is made once ([`super::routes`]).

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER,
};
use http::{Method, Response, StatusCode};

use super::headers::{PROXY_STATUS, proxy_status, retry_after};
use super::rejection::Rejection;
use crate::body::Body;
use crate::request_id::RequestId;

/// A rejection as it is answered.
#[derive(Debug)]
pub struct Refused {
    status: StatusCode,
    /// The code, which is also the label of metrics.
    pub code: &'static str,
    /// Whether it was made by what the request says.
    pub is_denial: bool,
    fields: HeaderMap,
    body_before_id: Bytes,
    body_after_id: &'static [u8],
}

impl Refused {
    /// The answer to a tenant, where one is known.
    #[must_use]
    pub fn new(rejection: &Rejection, tenant: Option<&str>, denial_status: StatusCode) -> Self {
        let told = rejection.told(tenant, denial_status);
        let mut fields = HeaderMap::new();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        fields.insert(PROXY_STATUS, proxy_status(told.proxy_error, told.code));
        if let Some(wait) = told.retry_in {
            fields.insert(RETRY_AFTER, retry_after(wait));
        }
        if let Rejection::MethodNotAllowed { allow } = rejection
            && let Ok(allow) = HeaderValue::from_str(allow)
        {
            fields.insert(ALLOW, allow);
        }
        if let Rejection::RangeNotSatisfiable { length } = rejection
            && let Ok(range) = HeaderValue::try_from(format!("bytes */{length}"))
        {
            fields.insert(CONTENT_RANGE, range);
        }
        let (body_before_id, body_after_id) = rejection.body_around_id(&told, tenant);
        Self {
            status: told.status,
            code: told.code,
            is_denial: rejection.is_denial(),
            fields,
            body_before_id: body_before_id.into(),
            body_after_id,
        }
    }

    /// The answer to one request.
    #[must_use]
    pub fn answer(&self, method: &Method, request_id: &RequestId) -> Response<Body> {
        /// Room for what every answer carries.
        const ROOM: usize = 8;
        let id = request_id.as_str().as_bytes();
        let length = self.body_before_id.len() + id.len() + self.body_after_id.len();
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = self.status;
        let fields = response.headers_mut();
        fields.reserve(self.fields.len() + 1 + ROOM);
        for (name, value) in &self.fields {
            fields.insert(name, value.clone());
        }
        fields.insert(CONTENT_LENGTH, length.into());
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
