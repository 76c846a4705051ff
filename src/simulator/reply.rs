//! Responses: held in memory, encoded with a strong `ETag`, sent whole or cut off; the errors of the API (`code`,
//! `message`, `description`, `fields`) and of the token endpoint (RFC 6749, section 5.2).
//!
//! The `Date` field follows the injected clock, so that ages computed from it agree with the time that a test set.
//! Weak tags and codings other than gzip are not implemented.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use async_compression::tokio::write::GzipEncoder;
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, DATE, GetAll, HeaderName, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::io::AsyncWriteExt as _;

use super::json::ObjectText;
use super::tenants::Scope;
use crate::clock::Now;

/// A response whose body is in memory.
pub(super) type Reply = Response<Bytes>;

/// How a request is answered.
pub(super) enum Answer {
    /// With the whole reply.
    Whole(Reply),
    /// With half of the body that `Content-Length` says; then the connection is closed.
    Truncated(Reply),
    /// With nothing: the connection is closed.
    Closed,
}

/// The connection is closed early, on purpose.
#[derive(Debug, thiserror::Error)]
#[error("the connection is closed on purpose")]
pub(super) struct ConnectionAborted;

impl From<Infallible> for ConnectionAborted {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// A body that is complete, or is cut off after its data.
pub(super) struct AnswerBody {
    data: Option<Bytes>,
    abort: Option<Abort>,
}

#[derive(Clone, Copy)]
enum Abort {
    /// After one more poll, in which the connection writes what it has buffered.
    AfterFlush,
    Now,
}

/// A reply with a body and its type.
pub(super) fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// A reply of JSON text.
pub(super) fn json(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    reply(status, "application/json", body)
}

/// Sets a field, unless the text is not allowed in one.
pub(super) fn set_field(reply: &mut Reply, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        reply.headers_mut().insert(name, value);
    }
}

impl Answer {
    /// The reply, where there is one.
    pub(super) fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Whole(reply) | Self::Truncated(reply) => Some(reply),
            Self::Closed => None,
        }
    }

    /// The response for hyper; an error makes it close the connection.
    pub(super) fn into_response(self, now: Now) -> Result<Response<AnswerBody>, ConnectionAborted> {
        let (mut reply, whole) = match self {
            Self::Whole(reply) => (reply, true),
            Self::Truncated(reply) => (reply, false),
            Self::Closed => return Err(ConnectionAborted),
        };
        set_field(&mut reply, DATE, &httpdate::fmt_http_date(now.wall));
        if whole {
            return Ok(reply.map(|data| AnswerBody { data: Some(data), abort: None }));
        }
        let length = reply.body().len().max(2);
        set_field(&mut reply, CONTENT_LENGTH, &length.to_string());
        Ok(reply.map(|data| {
            let half = data.slice(..data.len() / 2);
            AnswerBody { data: Some(half), abort: Some(Abort::AfterFlush) }
        }))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = ConnectionAborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ConnectionAborted>>> {
        if let Some(data) = self.data.take().filter(|data| !data.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match self.abort {
            None => Poll::Ready(None),
            Some(Abort::Now) => Poll::Ready(Some(Err(ConnectionAborted))),
            Some(Abort::AfterFlush) => {
                self.abort = Some(Abort::Now);
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.abort.is_none() && self.data.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        match self.abort {
            None => SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64)),
            Some(_) => SizeHint::default(),
        }
    }
}

/// A body, encoded.
pub(super) struct Representation {
    pub(super) bytes: Bytes,
    /// With its quotes.
    pub(super) etag: String,
    /// The content coding, if any.
    pub(super) encoding: Option<&'static str>,
}

/// Encodes a body. Each encoding has its own tag, because the bytes differ.
pub(super) async fn encode(body: String, gzip: bool) -> Representation {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let hash = hasher.finish();
    if gzip && let Ok(bytes) = compress(body.as_bytes()).await {
        return Representation { bytes, etag: format!("\"{hash:016x}-gzip\""), encoding: Some("gzip") };
    }
    Representation { bytes: Bytes::from(body), etag: format!("\"{hash:016x}\""), encoding: None }
}

async fn compress(body: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(body).await?;
    encoder.shutdown().await?;
    Ok(Bytes::from(encoder.into_inner()))
}

/// Whether `Accept-Encoding` admits gzip.
pub(super) fn accepts_gzip(fields: &GetAll<'_, HeaderValue>) -> bool {
    let texts = fields.iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).any(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let refused = parts
            .filter_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
            .any(|weight| weight.parse::<f32>().is_ok_and(|weight| weight <= 0.0));
        (coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip")) && !refused
    })
}

/// Whether `If-None-Match` has this tag, weak or strong, or `*`.
pub(super) fn etag_matches(fields: &GetAll<'_, HeaderValue>, etag: &str) -> bool {
    let texts = fields.iter().filter_map(|value| value.to_str().ok());
    texts
        .flat_map(|text| text.split(','))
        .map(str::trim)
        .any(|entry| entry == "*" || entry.strip_prefix("W/").unwrap_or(entry) == etag)
}

/// What is wrong with a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldError {
    name: String,
    description: String,
}

/// An error of the API.
#[derive(Debug)]
pub(super) enum ApiError {
    TokenMissing,
    TokenInvalid(&'static str),
    ScopeMissing(Scope),
    AccessDenied,
    ForeignAccount(String),
    InvalidQuery(Vec<FieldError>),
    UnknownPath,
    NoSuchPage,
    MethodNotAllowed,
    /// With the seconds in `Retry-After`, if any.
    RateLimited(Option<u64>),
}

impl FieldError {
    pub(super) fn new(name: &str, description: &str) -> Self {
        Self { name: name.to_owned(), description: description.to_owned() }
    }
}

impl ApiError {
    /// The response.
    pub(super) fn reply(&self) -> Reply {
        let (status, code, message, description) = self.parts();
        let mut reply = error_reply(status, code, message, description.as_deref(), self.fields());
        match self {
            Self::TokenMissing => set_field(&mut reply, WWW_AUTHENTICATE, "Bearer"),
            Self::TokenInvalid(why) => {
                let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{why}\"");
                set_field(&mut reply, WWW_AUTHENTICATE, &challenge);
            }
            Self::ScopeMissing(scope) => {
                let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", scope.name());
                set_field(&mut reply, WWW_AUTHENTICATE, &challenge);
            }
            Self::MethodNotAllowed => set_field(&mut reply, ALLOW, "GET"),
            Self::RateLimited(Some(seconds)) => set_field(&mut reply, RETRY_AFTER, &seconds.to_string()),
            Self::AccessDenied
            | Self::ForeignAccount(_)
            | Self::InvalidQuery(_)
            | Self::UnknownPath
            | Self::NoSuchPage
            | Self::RateLimited(None) => {}
        }
        reply
    }

    fn parts(&self) -> (StatusCode, &'static str, &'static str, Option<String>) {
        match self {
            Self::TokenMissing => {
                (StatusCode::UNAUTHORIZED, "unauthorized", "An access token is required", None)
            }
            Self::TokenInvalid(why) => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "The access token is invalid",
                Some((*why).to_owned()),
            ),
            Self::ScopeMissing(scope) => {
                let description = format!("The token lacks the scope {}", scope.name());
                (StatusCode::FORBIDDEN, "insufficient_scope", "Insufficient scope", Some(description))
            }
            Self::AccessDenied => {
                let description = "This account may not use the Billing Insights API".to_owned();
                (StatusCode::FORBIDDEN, "forbidden", "Access denied", Some(description))
            }
            Self::ForeignAccount(account) => {
                let description = format!("Account {account} is not under the calling Organization");
                (StatusCode::FORBIDDEN, "forbidden", "Access denied", Some(description))
            }
            Self::InvalidQuery(_) => (StatusCode::BAD_REQUEST, "bad_request", "The request is invalid", None),
            Self::UnknownPath => (StatusCode::NOT_FOUND, "not_found", "No such resource", None),
            Self::NoSuchPage => (StatusCode::NOT_FOUND, "not_found", "No such page", None),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed", None)
            }
            Self::RateLimited(_) => {
                (StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "Too many requests", None)
            }
        }
    }

    fn fields(&self) -> &[FieldError] {
        match self {
            Self::InvalidQuery(fields) => fields,
            Self::TokenMissing
            | Self::TokenInvalid(_)
            | Self::ScopeMissing(_)
            | Self::AccessDenied
            | Self::ForeignAccount(_)
            | Self::UnknownPath
            | Self::NoSuchPage
            | Self::MethodNotAllowed
            | Self::RateLimited(_) => &[],
        }
    }
}

fn error_reply(
    status: StatusCode,
    code: &str,
    message: &str,
    description: Option<&str>,
    fields: &[FieldError],
) -> Reply {
    let object = ObjectText::new().string("code", code).string("message", message);
    let object = match description {
        Some(description) => object.string("description", description),
        None => object,
    };
    let fields: Vec<String> = fields
        .iter()
        .map(|field| {
            let object = ObjectText::new().string("name", &field.name);
            object.string("description", &field.description).finish()
        })
        .collect();
    json(status, object.literal("fields", format!("[{}]", fields.join(","))).finish())
}

/// How the request ended, for the counters. It is an extension of the reply.
#[derive(Clone)]
pub(super) struct TokenResult(pub(super) &'static str);

/// An error of the token endpoint.
#[derive(Debug)]
pub(super) struct OauthError {
    status: StatusCode,
    code: &'static str,
    description: &'static str,
}

impl OauthError {
    pub(super) fn new(status: StatusCode, code: &'static str, description: &'static str) -> Self {
        Self { status, code, description }
    }

    pub(super) fn bad_request(code: &'static str, description: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, description)
    }

    pub(super) fn invalid_request(description: &'static str) -> Self {
        Self::bad_request("invalid_request", description)
    }

    pub(super) fn invalid_client(description: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_client", description)
    }

    pub(super) fn reply(&self) -> Reply {
        let object = ObjectText::new().string("error", self.code);
        let mut reply = json(self.status, object.string("error_description", self.description).finish());
        set_field(&mut reply, CACHE_CONTROL, "no-store");
        if self.status == StatusCode::UNAUTHORIZED {
            set_field(&mut reply, WWW_AUTHENTICATE, "Basic realm=\"talkdesk\"");
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            set_field(&mut reply, ALLOW, "POST");
        }
        reply.extensions_mut().insert(TokenResult(self.code));
        reply
    }
}
