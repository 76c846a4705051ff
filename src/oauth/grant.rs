//! One request to the token endpoint (RFC 6749, sections 2.3.1, 4.4 and 5; RFC 7523, section 2.2).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use serde::Deserialize;
use tower::ServiceExt as _;
use zeroize::Zeroizing;

use super::assertion::Signer;
use crate::config::secret::Secret;
use crate::config::{Authentication, BasicEncoding, ConfiguredCredential};
use crate::domain::credential::Credential;
use crate::io::client::Outbound;

/// The `User-Agent` of the proxy.
pub const AGENT: &str = concat!("billing-insights-proxy/", env!("CARGO_PKG_VERSION"));

/// Makes token requests for one credential.
pub struct Grant {
    credential: Arc<Credential>,
    proof: Result<Proof, Arc<str>>,
    default_lifetime: Duration,
}

enum Proof {
    Basic(Secret, BasicEncoding),
    Assertion(Box<Signer>),
}

/// A token from the token endpoint.
pub struct Granted {
    /// The `Authorization` field value with the token, marked as sensitive.
    pub authorization: HeaderValue,
    /// The lifetime, from the time of the request.
    pub lifetime: Duration,
    /// The granted scopes, decoded; empty if the endpoint did not list them.
    pub scopes: BTreeSet<String>,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// The credential's secret can't be read, or is not a usable key.
    #[error("{0}")]
    SecretUnavailable(Arc<str>),
    /// No response, a server error, or another error response that has no variant here.
    #[error("the token endpoint can't be used: {0}")]
    Unavailable(String),
    /// A 200 response that is not a valid token response.
    #[error("the token endpoint's answer is not a token: {0}")]
    Malformed(&'static str),
    /// The client is refused: `invalid_client`, `unauthorized_client`, or a 401.
    #[error("the token endpoint refuses the client: {0}")]
    Rejected(String),
    /// `invalid_scope`: a scope is not granted, or not effective yet.
    #[error("a scope is not effective: {0}")]
    ScopeNotEffective(String),
    /// 429, or the proxy's own limit of token requests: too many requests.
    #[error("the token endpoint asks for a pause")]
    Limited {
        /// How long to wait, where it is known.
        retry_after: Option<Duration>,
    },
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Option<String>,
    token_type: Option<String>,
    expires_in: Option<serde_json::Value>,
    scope: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error: String,
    error_description: Option<String>,
}

/// The largest accepted response body of a token endpoint.
const LARGEST_ANSWER: usize = 64 * 1024;

/// Longer lifetimes are reduced to this.
const LONGEST_LIFETIME: Duration = Duration::from_hours(24);

impl Grant {
    /// Prepares token requests for a credential.
    #[must_use]
    pub fn new(configured: &ConfiguredCredential, default_lifetime: Duration) -> Self {
        Self {
            credential: Arc::clone(&configured.credential),
            proof: proof(configured).map_err(Into::into),
            default_lifetime,
        }
    }

    /// Checks whether the credential's secret can be used.
    ///
    /// # Errors
    /// [`GrantError::SecretUnavailable`]
    pub fn usable(&self) -> Result<(), GrantError> {
        self.proof.as_ref().map(|_| ()).map_err(|reason| GrantError::SecretUnavailable(Arc::clone(reason)))
    }

    /// Requests a token once. The caller sets the time limit.
    ///
    /// # Errors
    /// [`GrantError`]
    pub async fn exchange(&self, outbound: Outbound, now: SystemTime) -> Result<Granted, GrantError> {
        let request = self.request(now)?;
        let answer = outbound
            .oneshot(request)
            .await
            .map_err(|failure| GrantError::Unavailable(failure.to_string()))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, LARGEST_ANSWER).collect().await.map(Collected::to_bytes);
        let body = match body {
            Ok(body) => body,
            Err(_) if head.status == StatusCode::OK => {
                return Err(GrantError::Malformed("its body is cut off or too large"));
            }
            // The status and `Retry-After` are sufficient without a body.
            Err(_) => Bytes::new(),
        };
        let retry_after = head.headers.get(RETRY_AFTER).and_then(|value| retry_after(value, now));
        self.read(head.status, &body, retry_after)
    }

    /// Interprets a response of the token endpoint.
    ///
    /// # Errors
    /// [`GrantError`] if the response is not a token.
    pub fn read(
        &self,
        status: StatusCode,
        body: &[u8],
        retry_after: Option<Duration>,
    ) -> Result<Granted, GrantError> {
        if status == StatusCode::OK {
            self.granted(body)
        } else {
            Err(self.refusal(status, body, retry_after))
        }
    }

    fn request(&self, now: SystemTime) -> Result<Request<Full<Bytes>>, GrantError> {
        let proof =
            self.proof.as_ref().map_err(|reason| GrantError::SecretUnavailable(Arc::clone(reason)))?;
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if let Some(scopes) = &self.credential.scopes {
            let scopes: Vec<_> = scopes.iter().map(crate::domain::id::Scope::as_str).collect();
            form.append_pair("scope", &scopes.join(" "));
        }
        let mut authorization = None;
        match proof {
            Proof::Basic(secret, encoding) => {
                authorization = Some(basic(self.credential.client_id.as_str(), secret, *encoding)?);
            }
            Proof::Assertion(signer) => {
                let assertion = signer
                    .sign(now)
                    .map_err(|error| GrantError::SecretUnavailable(error.to_string().into()))?;
                form.append_pair(
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                );
                form.append_pair("client_assertion", &assertion);
            }
        }
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&*self.credential.token_url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, AGENT);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request
            .body(Full::new(form.finish().into()))
            .map_err(|error| GrantError::Unavailable(format!("the token URL is unusable: {error}")))
    }

    fn granted(&self, body: &[u8]) -> Result<Granted, GrantError> {
        let answer: TokenAnswer = serde_json::from_slice(body)
            .map_err(|_| GrantError::Malformed("its body is not the JSON of a token"))?;
        let token = answer.access_token.filter(|token| !token.is_empty());
        let token = token.ok_or(GrantError::Malformed("it has no access_token"))?;
        let token = Zeroizing::new(token);
        if answer.token_type.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            return Err(GrantError::Malformed("its token_type is not Bearer"));
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(GrantError::Malformed("its access_token has characters that no token has"));
        }
        let bearer = Zeroizing::new(format!("Bearer {}", *token));
        let mut authorization = HeaderValue::from_str(&bearer)
            .map_err(|_| GrantError::Malformed("its access_token has characters that no token has"))?;
        authorization.set_sensitive(true);
        let lifetime = match &answer.expires_in {
            None | Some(serde_json::Value::Null) => self.default_lifetime,
            Some(value) => {
                lifetime(value).ok_or(GrantError::Malformed("its expires_in is no time that lies ahead"))?
            }
        };
        // Scopes are only used to refuse requests early, so an unreadable `scope` must not invalidate the
        // token.
        let scopes = scopes(answer.scope.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default());
        Ok(Granted { authorization, lifetime, scopes })
    }

    fn refusal(&self, status: StatusCode, body: &[u8], retry_after: Option<Duration>) -> GrantError {
        if status == StatusCode::TOO_MANY_REQUESTS {
            return GrantError::Limited { retry_after };
        }
        if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
            return GrantError::Unavailable(format!("it answered {}", status.as_u16()));
        }
        let answer: Option<ErrorAnswer> = serde_json::from_slice(body).ok();
        let code = answer.as_ref().map_or("no error code", |answer| &answer.error);
        let description =
            answer.as_ref().and_then(|answer| answer.error_description.as_deref()).unwrap_or_default();
        let told = format!("{code} {description}");
        let told = if self.gives_away(&told) {
            "its reason repeats the client's secret, so it is not shown".to_owned()
        } else {
            printable(&told)
        };
        match code {
            "invalid_client" | "unauthorized_client" => GrantError::Rejected(told),
            "invalid_scope" => GrantError::ScopeNotEffective(told),
            _ if status == StatusCode::UNAUTHORIZED => {
                GrantError::Rejected(format!("it answered 401, {told}"))
            }
            _ => GrantError::Unavailable(format!("it answered {}, {told}", status.as_u16())),
        }
    }

    /// Whether a server's error text contains the secret, in any of the forms in which it was sent.
    fn gives_away(&self, words: &str) -> bool {
        let Ok(Proof::Basic(secret, encoding)) = &self.proof else { return false };
        let pair = pair(self.credential.client_id.as_str(), secret, *encoding);
        let sent = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
        words.contains(secret.expose())
            || words.contains(&*form_encoded(secret.expose()))
            || words.contains(&*sent)
    }
}

fn proof(configured: &ConfiguredCredential) -> Result<Proof, String> {
    let secret = configured.secret.as_ref().map_err(ToString::to_string)?;
    match &configured.authentication {
        Authentication::ClientSecretBasic { encoding } => Ok(Proof::Basic(secret.clone(), *encoding)),
        Authentication::PrivateKeyJwt { key_id, algorithm } => {
            let Credential { client_id, token_url, .. } = &*configured.credential;
            Signer::new(secret, *algorithm, key_id.as_deref(), client_id.as_str(), token_url)
                .map(|signer| Proof::Assertion(Box::new(signer)))
                .map_err(|error| error.to_string())
        }
    }
}

fn basic(client_id: &str, secret: &Secret, encoding: BasicEncoding) -> Result<HeaderValue, GrantError> {
    let pair = pair(client_id, secret, encoding);
    let field = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
    let mut field =
        HeaderValue::from_str(&field).map_err(|error| GrantError::Unavailable(error.to_string()))?;
    field.set_sensitive(true);
    Ok(field)
}

fn pair(client_id: &str, secret: &Secret, encoding: BasicEncoding) -> Zeroizing<String> {
    Zeroizing::new(match encoding {
        BasicEncoding::Plain => format!("{client_id}:{}", secret.expose()),
        BasicEncoding::Rfc6749 => format!("{}:{}", *form_encoded(client_id), *form_encoded(secret.expose())),
    })
}

fn form_encoded(text: &str) -> Zeroizing<String> {
    Zeroizing::new(form_urlencoded::byte_serialize(text.as_bytes()).collect())
}

/// A lifetime in seconds, as a number or as a string. Zero or less is invalid.
fn lifetime(value: &serde_json::Value) -> Option<Duration> {
    let seconds = match value {
        serde_json::Value::Number(number) => number.as_f64()?,
        serde_json::Value::String(text) => text.trim().parse().ok()?,
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Array(_)
        | serde_json::Value::Object(_) => return None,
    };
    (seconds > 0.0)
        .then(|| Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_LIFETIME).min(LONGEST_LIFETIME))
}

/// Splits a `scope` value at its spaces. Some servers percent-encode the value, including the spaces.
fn scopes(text: &str) -> BTreeSet<String> {
    let decoded = if text.contains('%') || (text.contains('+') && !text.contains(' ')) {
        percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
    } else {
        text.to_owned()
    };
    decoded.split_ascii_whitespace().map(str::to_owned).collect()
}

/// Makes a server's text safe for messages: printable ASCII, at most 200 characters.
#[must_use]
pub fn printable(text: &str) -> String {
    let clean = text.trim().chars().map(|character| match character {
        ' '..='~' => character,
        _ => '?',
    });
    clean.take(200).collect()
}

/// `Retry-After` as a duration: delay-seconds, or the time until an HTTP date (RFC 9110, section 10.2.3).
#[must_use]
pub fn retry_after(value: &HeaderValue, now: SystemTime) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
#[path = "grant_tests.rs"]
mod tests;
