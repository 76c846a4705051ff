//! The token endpoint, `POST /{account}/oauth/token`: client credentials, with the errors of RFC 6749 section 5.2.
//!
//! Deliberately absent: other grants, refresh tokens, and the delay of a scope just added, which a fault with
//! status 401 plays.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, PRAGMA, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{Method, StatusCode};

use super::answer::{Outcome, Reply, json, set_field};
use super::client_authentication::authenticate;
use super::faults::{FaultKind, Target};
use super::faulty;
use super::json_text::ObjectText;
use super::scope::Scope;
use super::tenants::{Client, Tenant};
use super::world::World;

/// Why there is no token.
#[derive(Debug)]
pub(super) struct OauthError {
    status: StatusCode,
    code: &'static str,
    description: &'static str,
}

/// How the request ended, for the counters; it rides on the reply.
#[derive(Clone)]
struct Verdict(&'static str);

/// The account of a token URL's path.
pub(super) fn account_of(path: &str) -> Option<&str> {
    let account = path.strip_prefix('/')?.strip_suffix("/oauth/token")?;
    (!account.is_empty() && !account.contains('/')).then_some(account)
}

/// Answers a token request; `body` is none where it was too large.
pub(super) async fn answer(world: &World, mut request: Parts, account: &str, body: Option<Bytes>) -> Outcome {
    let known = world.tenant(account);
    let label = known.map_or("unknown", |(_, tenant)| tenant.account.as_str());
    let flight = world.tally.token_request(label, world.clock.now());
    let path = request.uri.path().to_owned();
    let kind = world.faults.take(Target::Token, Some(account), &path);
    faulty::prepare(kind.as_ref(), &mut request.headers);
    let harmless = kind.as_ref().is_none_or(FaultKind::is_harmless);
    let ordinary = async { issue(world, &request, known, body).unwrap_or_else(|error| error.reply()) };
    let outcome = faulty::play(&world.clock, Target::Token, kind, ordinary).await;
    let verdict =
        outcome.reply().and_then(|reply| reply.extensions().get::<Verdict>()).map(|verdict| verdict.0);
    flight.finish(verdict.filter(|_| harmless).unwrap_or("fault"));
    outcome
}

fn issue(
    world: &World,
    request: &Parts,
    tenant: Option<(usize, &Tenant)>,
    body: Option<Bytes>,
) -> Result<Reply, OauthError> {
    if request.method != Method::POST {
        return Err(OauthError::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request", "only POST"));
    }
    let Some((place, tenant)) = tenant else {
        return Err(OauthError::new(StatusCode::NOT_FOUND, "invalid_request", "no such account"));
    };
    let form = read_form(request, body)?;
    match value(&form, "grant_type")? {
        Some("client_credentials") => {}
        Some(_) => return Err(OauthError::bad("unsupported_grant_type", "only client_credentials")),
        None => return Err(OauthError::invalid_request("grant_type is missing")),
    }
    for name in ["client_id", "client_assertion", "client_assertion_type"] {
        value(&form, name)?;
    }
    let (Some(credential), Some(client)) = (world.credentials.of(place), &tenant.client) else {
        return Err(OauthError::invalid_client("unknown client or wrong secret"));
    };
    let now = world.clock.now();
    let url = world.token_url(&tenant.account);
    authenticate(&request.headers, &form, &credential, &url, &world.assertions, now.wall)?;
    let scopes = grantable(value(&form, "scope")?, client)?;
    let lifetime = world.options.token_lifetime;
    let token = world.tokens.issue(place, scopes.clone(), lifetime, now);
    Ok(token_reply(world, &token, &scopes))
}

fn token_reply(world: &World, token: &str, scopes: &[Scope]) -> Reply {
    let quirks = world.quirks();
    let object = ObjectText::new()
        .string("access_token", token)
        .string("token_type", "Bearer")
        .literal("expires_in", world.options.token_lifetime.as_secs());
    let names: Vec<&str> = scopes.iter().map(|scope| scope.name()).collect();
    let mut scope = names.join(" ");
    if quirks.encode_scope {
        scope = scope.replace(':', "%3A");
    }
    let object = if quirks.omit_scope { object } else { object.string("scope", &scope) };
    let mut reply = json(StatusCode::OK, object.finish());
    set_field(&mut reply, CACHE_CONTROL, "no-store");
    set_field(&mut reply, PRAGMA, "no-cache");
    reply.extensions_mut().insert(Verdict("issued"));
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
    scopes.ok_or_else(|| OauthError::bad("invalid_scope", "a scope is unknown or not granted to this client"))
}

impl OauthError {
    fn new(status: StatusCode, code: &'static str, description: &'static str) -> Self {
        Self { status, code, description }
    }

    fn bad(code: &'static str, description: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, description)
    }

    pub(super) fn invalid_request(description: &'static str) -> Self {
        Self::bad("invalid_request", description)
    }

    pub(super) fn invalid_client(description: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_client", description)
    }

    fn reply(&self) -> Reply {
        let object = ObjectText::new().string("error", self.code);
        let mut reply = json(self.status, object.string("error_description", self.description).finish());
        set_field(&mut reply, CACHE_CONTROL, "no-store");
        if self.status == StatusCode::UNAUTHORIZED {
            set_field(&mut reply, WWW_AUTHENTICATE, "Basic realm=\"talkdesk\"");
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            set_field(&mut reply, ALLOW, "POST");
        }
        reply.extensions_mut().insert(Verdict(self.code));
        reply
    }
}
