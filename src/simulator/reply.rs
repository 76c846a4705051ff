//! Responses: JSON bodies, errors, `ETag` and gzip, and bodies that end early.
//!
//! The API's errors have the members `code`, `message`, `description` and `fields`; those of the token endpoint follow
//! RFC 6749, section 5.2. The `Date` field follows the simulator's clock, so that it agrees with the time that a test
//! sets. Weak tags and codings other than gzip are not implemented.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use async_compression::tokio::write::GzipEncoder;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderName, IF_NONE_MATCH,
    RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use tokio::io::AsyncWriteExt as _;

use super::tenants::Endpoint;
use crate::clock::Now;

/// A response whose body is in memory.
pub(super) type Reply = Response<Bytes>;

/// The answer to a request.
pub(super) enum Answer {
    /// The whole reply.
    Whole(Reply),
    /// Half of the body that `Content-Length` announces; then the connection is closed.
    Truncated(Reply),
    /// No reply: the connection is closed.
    Closed,
}

/// The error that makes hyper close a connection because of a fault.
#[derive(Debug, thiserror::Error)]
#[error("a fault closed the connection")]
pub(super) struct ConnectionAborted;

/// The body of a response.
pub(super) type AnswerBody = UnsyncBoxBody<Bytes, ConnectionAborted>;

/// A reply with a body and its type.
pub(super) fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// A reply whose body is JSON text.
pub(super) fn json_text(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    reply(status, "application/json", body)
}

/// A reply whose body is this value as JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Reply {
    // Serialization fails only for types that no body has, such as a map whose keys are not strings.
    json_text(status, serde_json::to_vec(body).unwrap_or_default())
}

/// A JSON object that keeps the order of its members, unlike [`serde_json::Map`].
#[derive(Default)]
pub(super) struct JsonObject<'a>(Vec<(&'a str, Box<RawValue>)>);

impl<'a> JsonObject<'a> {
    #[must_use]
    pub(super) fn with(mut self, name: &'a str, value: &impl Serialize) -> Self {
        self.0.extend(serde_json::value::to_raw_value(value).ok().map(|value| (name, value)));
        self
    }
}

impl fmt::Display for JsonObject<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for JsonObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// Sets a header field. Text that a field must not contain is ignored.
pub(super) fn set_field(reply: &mut Reply, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        reply.headers_mut().insert(name, value);
    }
}

impl Answer {
    /// The reply, if there is one.
    pub(super) fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Whole(reply) | Self::Truncated(reply) => Some(reply),
            Self::Closed => None,
        }
    }

    /// The response for hyper. The error makes hyper close the connection.
    pub(super) fn into_response(self, now: Now) -> Result<Response<AnswerBody>, ConnectionAborted> {
        let (mut reply, is_whole) = match self {
            Self::Whole(reply) => (reply, true),
            Self::Truncated(reply) => (reply, false),
            Self::Closed => return Err(ConnectionAborted),
        };
        set_field(&mut reply, DATE, &httpdate::fmt_http_date(now.wall));
        if is_whole {
            return Ok(reply.map(|data| Full::new(data).map_err(|never| match never {}).boxed_unsync()));
        }
        let length = reply.body().len().max(2);
        set_field(&mut reply, CONTENT_LENGTH, &length.to_string());
        Ok(reply.map(|data| {
            let half = stream::iter([Ok(Frame::data(data.slice(..data.len() / 2)))]);
            let abort = stream::once(async {
                // The connection writes its buffer before it polls the body again.
                tokio::task::yield_now().await;
                Err(ConnectionAborted)
            });
            StreamBody::new(half.chain(abort)).boxed_unsync()
        }))
    }
}

/// An encoded body.
pub(super) struct Representation {
    pub(super) bytes: Bytes,
    /// The tag with its quotes.
    pub(super) etag: String,
    pub(super) is_gzip: bool,
}

/// Encodes a body. The gzip encoding has a tag of its own, because its bytes differ.
pub(super) async fn encode(body: String, gzip: bool) -> Representation {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let hash = hasher.finish();
    if gzip && let Ok(bytes) = compress(body.as_bytes()).await {
        return Representation { bytes, etag: format!("\"{hash:016x}-gzip\""), is_gzip: true };
    }
    Representation { bytes: Bytes::from(body), etag: format!("\"{hash:016x}\""), is_gzip: false }
}

async fn compress(body: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(body).await?;
    encoder.shutdown().await?;
    Ok(Bytes::from(encoder.into_inner()))
}

/// Whether `Accept-Encoding` permits gzip.
pub(super) fn accepts_gzip(fields: &HeaderMap) -> bool {
    list(fields, ACCEPT_ENCODING).any(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let is_refused = parts
            .filter_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
            .any(|weight| weight.parse::<f32>().is_ok_and(|weight| weight <= 0.0));
        (coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip")) && !is_refused
    })
}

/// Whether `If-None-Match` contains this tag, weak or strong, or `*`.
pub(super) fn etag_matches(fields: &HeaderMap, etag: &str) -> bool {
    list(fields, IF_NONE_MATCH).any(|entry| entry == "*" || entry.strip_prefix("W/").unwrap_or(entry) == etag)
}

/// The entries of a header field whose value is a list.
fn list(fields: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let texts = fields.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).map(str::trim)
}

/// What is wrong with a query parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct FieldError {
    pub(super) name: String,
    pub(super) description: String,
}

/// An error of the API.
#[derive(Debug)]
pub(super) enum ApiError {
    TokenMissing,
    /// With the reason.
    TokenInvalid(&'static str),
    ScopeMissing(Endpoint),
    AccessDenied,
    ForeignAccount(String),
    InvalidQuery(Vec<FieldError>),
    UnknownPath,
    NoSuchPage,
    MethodNotAllowed,
    /// With the seconds for `Retry-After`.
    RateLimited(Option<u64>),
}

impl ApiError {
    pub(super) fn reply(&self) -> Reply {
        let (status, code, message, description) = self.parts();
        let fields: &[FieldError] = if let Self::InvalidQuery(fields) = self { fields } else { &[] };
        let mut reply = api_error(status, code, message, description.as_deref(), fields);
        match self {
            Self::TokenMissing => set_field(&mut reply, WWW_AUTHENTICATE, "Bearer"),
            Self::TokenInvalid(reason) => {
                let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{reason}\"");
                set_field(&mut reply, WWW_AUTHENTICATE, &challenge);
            }
            Self::ScopeMissing(endpoint) => {
                let challenge =
                    format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", endpoint.scope());
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

    /// The status, the code, the message and the description.
    fn parts(&self) -> (StatusCode, &'static str, &'static str, Option<String>) {
        let denied = |description| (StatusCode::FORBIDDEN, "forbidden", "Access denied", Some(description));
        match self {
            Self::TokenMissing => {
                (StatusCode::UNAUTHORIZED, "unauthorized", "An access token is required", None)
            }
            Self::TokenInvalid(reason) => {
                let description = Some((*reason).to_owned());
                (StatusCode::UNAUTHORIZED, "unauthorized", "The access token is invalid", description)
            }
            Self::ScopeMissing(endpoint) => {
                let description = format!("The token lacks the scope {}", endpoint.scope());
                (StatusCode::FORBIDDEN, "insufficient_scope", "Insufficient scope", Some(description))
            }
            Self::AccessDenied => denied("This account may not use the Billing Insights API".to_owned()),
            Self::ForeignAccount(account) => {
                denied(format!("Account {account} is not under the calling Organization"))
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
}

/// An error in the form that the API uses.
pub(super) fn api_error(
    status: StatusCode,
    code: &str,
    message: &str,
    description: Option<&str>,
    fields: &[FieldError],
) -> Reply {
    let object = JsonObject::default().with("code", &code).with("message", &message);
    let object = match description {
        Some(description) => object.with("description", &description),
        None => object,
    };
    json(status, &object.with("fields", &fields))
}

/// The result of a token request, for the counters. It is an extension of the reply.
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

    pub(super) fn invalid_request(description: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    pub(super) fn invalid_client(description: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_client", description)
    }

    pub(super) fn reply(&self) -> Reply {
        let mut reply = oauth_error(self.status, self.code, self.description);
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

/// An error in the form that RFC 6749 requires.
pub(super) fn oauth_error(status: StatusCode, code: &str, description: &str) -> Reply {
    json(status, &JsonObject::default().with("error", &code).with("error_description", &description))
}
