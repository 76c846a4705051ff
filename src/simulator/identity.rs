//! The token endpoint, `POST /{account}/oauth/token`: client credentials with the errors of RFC 6749, section 5.2.
//!
//! Other grants and refresh tokens are not implemented. A fault with status 401 shows what a scope just added does.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA};
use http::request::Parts;
use http::{Method, StatusCode};

use super::credentials::authenticate;
use super::faults::{self, FaultKind, Target};
use super::json::ObjectText;
use super::reply::{Answer, OauthError, Reply, TokenResult, json, set_field};
use super::state::State;
use super::tenants::{Client, Scope, Tenant};

/// The account of a token URL's path.
pub(super) fn account_of(path: &str) -> Option<&str> {
    let account = path.strip_prefix('/')?.strip_suffix("/oauth/token")?;
    (!account.is_empty() && !account.contains('/')).then_some(account)
}

/// Answers a token request; `body` is none where it was too large or incomplete.
pub(super) async fn answer(state: &State, mut request: Parts, account: &str, body: Option<Bytes>) -> Answer {
    let known = state.tenant(account);
    let label = known.map_or("unknown", |(_, tenant)| tenant.account.as_str());
    let in_flight = state.recorder.token_request(label, state.clock.now());
    let path = request.uri.path().to_owned();
    let kind = state.faults.take(Target::Token, Some(account), &path);
    faults::prepare(kind.as_ref(), &mut request.headers);
    let harmless = kind.as_ref().is_none_or(FaultKind::is_harmless);
    let regular = async { issue(state, &request, known, body).unwrap_or_else(|error| error.reply()) };
    let answer = faults::apply(&state.clock, Target::Token, kind, regular).await;
    let result =
        answer.reply().and_then(|reply| reply.extensions().get::<TokenResult>()).map(|result| result.0);
    in_flight.finish(result.filter(|_| harmless).unwrap_or("fault"));
    answer
}

fn issue(
    state: &State,
    request: &Parts,
    tenant: Option<(usize, &Tenant)>,
    body: Option<Bytes>,
) -> Result<Reply, OauthError> {
    if request.method != Method::POST {
        return Err(OauthError::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request", "only POST"));
    }
    let Some((position, tenant)) = tenant else {
        return Err(OauthError::new(StatusCode::NOT_FOUND, "invalid_request", "no such account"));
    };
    let form = read_form(request, body)?;
    match value(&form, "grant_type")? {
        Some("client_credentials") => {}
        Some(_) => return Err(OauthError::bad_request("unsupported_grant_type", "only client_credentials")),
        None => return Err(OauthError::invalid_request("grant_type is missing")),
    }
    for name in ["client_id", "client_assertion", "client_assertion_type"] {
        value(&form, name)?;
    }
    let (Some(credential), Some(client)) = (state.credentials.of(position), &tenant.client) else {
        return Err(OauthError::invalid_client("unknown client or wrong secret"));
    };
    let now = state.clock.now();
    let url = state.token_url(&tenant.account);
    authenticate(&request.headers, &form, &credential, &url, &state.assertions, now.wall)?;
    let scopes = grantable(value(&form, "scope")?, client)?;
    let lifetime = state.options.token_lifetime;
    let expires = now.after(lifetime);
    let token = state.tokens.issue(position, scopes.clone(), expires, state.quirks().long_tokens, now);
    Ok(token_reply(state, &token, &scopes))
}

fn token_reply(state: &State, token: &str, scopes: &[Scope]) -> Reply {
    let quirks = state.quirks();
    let object = ObjectText::new()
        .string("access_token", token)
        .string("token_type", "Bearer")
        .literal("expires_in", state.options.token_lifetime.as_secs());
    let names: Vec<&str> = scopes.iter().map(|scope| scope.name()).collect();
    let mut scope = names.join(" ");
    if quirks.encode_scope {
        scope = scope.replace(':', "%3A");
    }
    let object = if quirks.omit_scope { object } else { object.string("scope", &scope) };
    let mut reply = json(StatusCode::OK, object.finish());
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

/// The value of a parameter, which must not be repeated.
fn value<'a>(form: &'a [(String, String)], name: &str) -> Result<Option<&'a str>, OauthError> {
    let mut values = form.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(OauthError::invalid_request("a parameter is repeated")),
        (value, None) => Ok(value),
    }
}

/// The scopes asked for, or all that the client has.
fn grantable(asked: Option<&str>, client: &Client) -> Result<Vec<Scope>, OauthError> {
    let Some(asked) = asked.filter(|text| !text.trim().is_empty()) else { return Ok(client.scopes.clone()) };
    let scopes = asked
        .split_ascii_whitespace()
        .map(|name| Scope::named(name).filter(|scope| client.scopes.contains(scope)));
    let scopes: Option<Vec<Scope>> = scopes.collect();
    scopes.ok_or_else(|| {
        OauthError::bad_request("invalid_scope", "a scope is unknown or not granted to this client")
    })
}
