//! The token endpoint, `POST /{account}/oauth/token`: the client credentials grant, with the errors of RFC 6749,
//! section 5.2.
//!
//! A client authenticates by HTTP Basic, with its id and secret as they are or form-encoded (RFC 6749, section 2.3.1),
//! or by `private_key_jwt` (RFC 7523). A secret in the form is refused, because Talkdesk does not document it. The
//! times of an assertion are compared with the simulator's clock; the JWT library would use the system's clock.
//! Other grants and refresh tokens are not implemented.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, PRAGMA};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::credentials::{Credential, Secret};
use super::faults::{self, FaultKind, Target};
use super::reply::{Answer, JsonObject, OauthError, Reply, TokenResult, json, set_field};
use super::state::{Grant, SimulatorState, lock};
use super::tenants::{Algorithm, Client, Endpoint, Tenant};

/// The account in the path of a token URL.
pub(super) fn account_of(path: &str) -> Option<&str> {
    let account = path.strip_prefix('/')?.strip_suffix("/oauth/token")?;
    (!account.is_empty() && !account.contains('/')).then_some(account)
}

/// Answers a token request. `body` is `None` if it was too large or incomplete.
pub(super) async fn answer(
    state: &SimulatorState,
    mut request: Parts,
    account: &str,
    body: Option<Bytes>,
) -> Answer {
    let tenant = state.tenant(account);
    let label = tenant.map_or("unknown", |(_, tenant)| tenant.account.as_str());
    let in_progress = state.token_request(label);
    let path = request.uri.path().to_owned();
    let kind = faults::take(&mut lock(&state.faults), Target::Token, Some(account), &path);
    faults::prepare(kind.as_ref(), &mut request.headers);
    let is_harmless = kind.as_ref().is_none_or(FaultKind::is_harmless);
    let regular = async { issue(state, &request, tenant, body).unwrap_or_else(|error| error.reply()) };
    let answer = faults::apply(&state.clock, Target::Token, kind, regular).await;
    let result =
        answer.reply().and_then(|reply| reply.extensions().get::<TokenResult>()).map(|result| result.0);
    in_progress.finish(result.filter(|_| is_harmless).unwrap_or("fault"));
    answer
}

fn issue(
    state: &SimulatorState,
    request: &Parts,
    tenant: Option<(usize, &Tenant)>,
    body: Option<Bytes>,
) -> Result<Reply, OauthError> {
    if request.method != Method::POST {
        return Err(OauthError::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "invalid_request",
            "the method must be POST",
        ));
    }
    let Some((position, tenant)) = tenant else {
        return Err(OauthError::new(StatusCode::NOT_FOUND, "invalid_request", "the account does not exist"));
    };
    let form = read_form(request, body)?;
    match value(&form, "grant_type")? {
        Some("client_credentials") => {}
        Some(_) => {
            return Err(OauthError::new(
                StatusCode::BAD_REQUEST,
                "unsupported_grant_type",
                "grant_type must be client_credentials",
            ));
        }
        None => return Err(OauthError::invalid_request("grant_type is missing")),
    }
    let credential = lock(&state.credentials).of(position).cloned();
    let (Some(credential), Some(client)) = (credential, &tenant.client) else {
        return Err(OauthError::invalid_client("unknown client or wrong secret"));
    };
    let now = state.clock.now();
    let url = state.token_url(&tenant.account);
    authenticate(&request.headers, &form, &credential, &url, &state.used_assertion_ids, now.wall)?;
    let endpoints = granted_endpoints(value(&form, "scope")?, client)?;
    let expires = now.after(state.options.token_lifetime);
    let token = new_token(state.quirks().long_tokens);
    let grant = Grant { tenant: position, endpoints: endpoints.clone(), expires, revoked: false };
    lock(&state.tokens).insert(token.clone(), grant, now);
    Ok(token_reply(state, &token, &endpoints))
}

fn token_reply(state: &SimulatorState, token: &str, endpoints: &[Endpoint]) -> Reply {
    let quirks = state.quirks();
    let object = JsonObject::default()
        .with("access_token", &token)
        .with("token_type", &"Bearer")
        .with("expires_in", &state.options.token_lifetime.as_secs());
    let scopes: Vec<&str> = endpoints.iter().map(|endpoint| endpoint.scope()).collect();
    let mut scope = scopes.join(" ");
    if quirks.encode_scope {
        scope = scope.replace(':', "%3A");
    }
    let object = if quirks.omit_scope { object } else { object.with("scope", &scope) };
    let mut reply = json(StatusCode::OK, &object);
    set_field(&mut reply, CACHE_CONTROL, "no-store");
    set_field(&mut reply, PRAGMA, "no-cache");
    reply.extensions_mut().insert(TokenResult("issued"));
    reply
}

fn read_form(request: &Parts, body: Option<Bytes>) -> Result<Vec<(String, String)>, OauthError> {
    let Some(body) = body else {
        return Err(OauthError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "invalid_request",
            "the body is too large",
        ));
    };
    let media_type =
        request.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(OauthError::invalid_request("the body must be application/x-www-form-urlencoded"));
    }
    Ok(form_urlencoded::parse(&body).into_owned().collect())
}

/// The value of a parameter. Fails if the parameter is repeated.
fn value<'a>(form: &'a [(String, String)], name: &str) -> Result<Option<&'a str>, OauthError> {
    let mut values = form.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(OauthError::invalid_request("a parameter is repeated")),
        (value, None) => Ok(value),
    }
}

/// The endpoints whose scopes the request names, or all that the client has.
fn granted_endpoints(scope: Option<&str>, client: &Client) -> Result<Vec<Endpoint>, OauthError> {
    let Some(scope) = scope.filter(|text| !text.trim().is_empty()) else {
        return Ok(client.endpoints.clone());
    };
    let endpoint = |name: &str| client.endpoints.iter().copied().find(|endpoint| endpoint.scope() == name);
    let endpoints: Option<Vec<Endpoint>> = scope.split_ascii_whitespace().map(endpoint).collect();
    endpoints.ok_or(OauthError::new(
        StatusCode::BAD_REQUEST,
        "invalid_scope",
        "a scope is unknown or not granted to this client",
    ))
}

/// A random token: 64 hexadecimal digits, or a text like a JWT of about 3 KiB.
fn new_token(long: bool) -> String {
    let random = |count: usize| (0..count).flat_map(|_| Uuid::new_v4().into_bytes()).collect::<Vec<u8>>();
    if long {
        return [5, 123, 16].map(|count| URL_SAFE_NO_PAD.encode(random(count))).join(".");
    }
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Authenticates a client as the owner of `credential`.
fn authenticate(
    fields: &HeaderMap,
    form: &[(String, String)],
    credential: &Credential,
    token_url: &str,
    used_ids: &Mutex<HashMap<String, SystemTime>>,
    now: SystemTime,
) -> Result<(), OauthError> {
    let assertion = value(form, "client_assertion")?;
    let kind = value(form, "client_assertion_type")?;
    let client_id = value(form, "client_id")?;
    match (fields.get(AUTHORIZATION), assertion, kind) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            Err(OauthError::invalid_request("the client uses more than one authentication method"))
        }
        (Some(value), None, None) => basic(value.to_str().unwrap_or_default(), credential),
        (None, Some(assertion), Some(ASSERTION_TYPE)) => {
            if client_id.is_some_and(|id| id != credential.client_id) {
                return Err(OauthError::invalid_client("client_id is not the subject of the assertion"));
            }
            verify_assertion(assertion, credential, token_url, used_ids, now)
                .map_err(OauthError::invalid_client)
        }
        (None, Some(_), Some(_)) => Err(OauthError::invalid_client("unknown client_assertion_type")),
        (None, Some(_), None) | (None, None, Some(_)) => {
            Err(OauthError::invalid_request("client_assertion needs client_assertion_type, and the reverse"))
        }
        (None, None, None) => Err(OauthError::invalid_client("the request has no client authentication")),
    }
}

fn basic(value: &str, credential: &Credential) -> Result<(), OauthError> {
    let unknown = || OauthError::invalid_client("unknown client or wrong secret");
    let Secret::ClientSecret(secret) = &credential.secret else {
        return Err(OauthError::invalid_client("this client authenticates with private_key_jwt"));
    };
    let (scheme, encoded) = value.split_once(' ').ok_or_else(unknown)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(OauthError::invalid_client("the scheme must be Basic"));
    }
    let decoded = STANDARD.decode(encoded.trim()).map_err(|_| unknown())?;
    let pair = String::from_utf8(decoded).map_err(|_| unknown())?;
    let (id, given) = pair.split_once(':').ok_or_else(unknown)?;
    let plain = id == credential.client_id && given == secret;
    let encoded = form_decoded(id) == credential.client_id && form_decoded(given) == *secret;
    if plain || encoded { Ok(()) } else { Err(unknown()) }
}

fn form_decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

/// The maximum lifetime of an assertion.
const MAX_LIFETIME: Duration = Duration::from_mins(5);
/// The accepted difference between the clocks.
const CLOCK_SKEW: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Value,
    jti: String,
    exp: u64,
    iat: Option<u64>,
}

/// Verifies an assertion, its signature included.
fn verify_assertion(
    assertion: &str,
    credential: &Credential,
    token_url: &str,
    used_ids: &Mutex<HashMap<String, SystemTime>>,
    now: SystemTime,
) -> Result<(), &'static str> {
    let Secret::PrivateKey { public_pem, key_id, algorithm, .. } = &credential.secret else {
        return Err("this client has no key");
    };
    let header = decode_header(assertion).map_err(|_| "the assertion is not a JWT")?;
    if header.kid.as_deref() != Some(key_id) {
        return Err("the assertion names an unknown key");
    }
    let claims = signed_claims(assertion, public_pem, *algorithm)?;
    if claims.iss != credential.client_id || claims.sub != credential.client_id {
        return Err("iss and sub must be the client id");
    }
    if !is_audience(&claims.aud, token_url) {
        return Err("aud must be the token URL");
    }
    check_times(&claims, now)?;
    check_first_use(&claims, used_ids, now)
}

fn signed_claims(assertion: &str, public_pem: &str, algorithm: Algorithm) -> Result<Claims, &'static str> {
    let (key, algorithm) = match algorithm {
        Algorithm::Es256 => (DecodingKey::from_ec_pem(public_pem.as_bytes()), jsonwebtoken::Algorithm::ES256),
        Algorithm::Rs256 => {
            (DecodingKey::from_rsa_pem(public_pem.as_bytes()), jsonwebtoken::Algorithm::RS256)
        }
    };
    let key = key.map_err(|_| "the key cannot be used")?;
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims = HashSet::new();
    let token = decode::<Claims>(assertion, &key, &validation);
    Ok(token.map_err(|_| "the signature or the claims are invalid")?.claims)
}

/// Whether `aud` is this URL, or a list that contains it.
fn is_audience(audience: &Value, token_url: &str) -> bool {
    match audience {
        Value::String(text) => text == token_url,
        Value::Array(list) => list.iter().any(|entry| entry == token_url),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

fn check_times(claims: &Claims, now: SystemTime) -> Result<(), &'static str> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let expires = Duration::from_secs(claims.exp);
    if expires <= now {
        return Err("the assertion has expired");
    }
    if expires > now + MAX_LIFETIME + CLOCK_SKEW {
        return Err("exp must be within 5 minutes");
    }
    match claims.iat.map(Duration::from_secs) {
        Some(issued) if issued > now + CLOCK_SKEW => Err("iat is in the future"),
        Some(_) | None => Ok(()),
    }
}

/// Fails if an assertion with the same `jti` was used before and has not expired.
fn check_first_use(
    claims: &Claims,
    used_ids: &Mutex<HashMap<String, SystemTime>>,
    now: SystemTime,
) -> Result<(), &'static str> {
    if claims.jti.is_empty() {
        return Err("jti is empty");
    }
    let mut used_ids = lock(used_ids);
    used_ids.retain(|_, expires| *expires > now);
    // `check_times` has limited `exp`, so the addition cannot overflow.
    let expires = UNIX_EPOCH.checked_add(Duration::from_secs(claims.exp)).unwrap_or(now);
    match used_ids.insert(claims.jti.clone(), expires) {
        None => Ok(()),
        Some(_) => Err("jti was used before"),
    }
}
