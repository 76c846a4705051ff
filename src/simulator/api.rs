//! The API: who asks, whether they may, and the page they get.
//!
//! The checks come in this order: path, method, token, rate limit, scope, access, query, accounts. Deliberately
//! absent: HEAD, which Talkdesk does not document.

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, ETAG, HeaderName, IF_NONE_MATCH, VARY};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use uuid::Uuid;

use super::answer::{Outcome, Reply, json, set_field};
use super::api_errors::Refusal;
use super::endpoint::Endpoint;
use super::faults::Target;
use super::options::Quirks;
use super::query::Query;
use super::records::Setting;
use super::representation::{self, Representation};
use super::selection::select;
use super::tenants::{Instance, Tenant};
use super::tokens::{Grant, Presented};
use super::world::World;
use super::{bearer, faulty, page};

/// Answers a request to the API, or to a path that is nothing.
pub(super) async fn answer(world: &World, mut request: Parts) -> Outcome {
    let now = world.clock.now();
    let path = request.uri.path().to_owned();
    let presented = world.tokens.look_up(bearer::token(&request.headers), now);
    let tenant = presented.grant().and_then(|grant| world.options.tenants.get(grant.tenant));
    let account = tenant.map(|tenant| tenant.account.as_str());
    let label = Endpoint::at(&path).map_or("other", Endpoint::path);
    let flight = world.tally.api_request(label, account.unwrap_or("unknown"), presented.is_expired(), now);
    let kind = world.faults.take(Target::Api, account, &path);
    faulty::prepare(kind.as_ref(), &mut request.headers);
    let ordinary = async {
        match data(world, &request) {
            Ok((body, quirks)) => represent(body, &quirks, &request.headers).await,
            Err(refusal) => refusal.reply(),
        }
    };
    let mut outcome = faulty::play(&world.clock, Target::Api, kind, ordinary).await;
    decorate(&mut outcome, &world.quirks());
    let status = outcome.reply().map(Reply::status);
    flight.finish(status.as_ref().map_or("closed", StatusCode::as_str));
    outcome
}

/// The body of the page that is asked for.
fn data(world: &World, request: &Parts) -> Result<(String, Quirks), Refusal> {
    let endpoint = Endpoint::at(request.uri.path()).ok_or(Refusal::UnknownPath)?;
    if request.method != Method::GET {
        return Err(Refusal::WrongMethod);
    }
    let grant = good_grant(world, &request.headers)?;
    let tenant = world.options.tenants.get(grant.tenant).ok_or(Refusal::NoAccess)?;
    if !grant.scopes.contains(&endpoint.scope()) {
        return Err(Refusal::MissingScope(endpoint.scope()));
    }
    if !tenant.api_access {
        return Err(Refusal::NoAccess);
    }
    let quirks = world.quirks();
    let query = Query::read(request.uri.query().unwrap_or_default(), &quirks, world.options.max_per_page)
        .map_err(Refusal::BadQuery)?;
    let instances = instances(tenant, endpoint, &query, &quirks)?;
    let late = late(world, &grant, endpoint, &instances, &quirks);
    let setting = Setting { origin: &world.url, account_field: &quirks.account_field };
    let selection = select(setting, endpoint, &instances, late, &query);
    let body = page::body(&world.url, endpoint, &query, &selection);
    Ok((if quirks.escape_slashes { body.replace('/', "\\/") } else { body }, quirks))
}

/// The grant of a token that is good, within the rate limit.
fn good_grant(world: &World, fields: &HeaderMap) -> Result<Grant, Refusal> {
    let now = world.clock.now();
    let grant = match world.tokens.look_up(bearer::token(fields), now) {
        Presented::Nothing => return Err(Refusal::NoToken),
        Presented::Unknown => return Err(Refusal::BadToken("the token is unknown")),
        Presented::Expired(_) => return Err(Refusal::BadToken("the token has expired")),
        Presented::Revoked(_) => return Err(Refusal::BadToken("the token was revoked")),
        Presented::Good(grant) => grant,
    };
    if let Some(limit) = world.options.rate_limit {
        world.limits.admit(limit, grant.tenant, now).map_err(|wait| {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            Refusal::TooMany(limit.retry_after.then_some(seconds))
        })?;
    }
    Ok(grant)
}

/// The Instances that the query selects of those under the caller.
fn instances<'a>(
    tenant: &'a Tenant,
    endpoint: Endpoint,
    query: &Query,
    quirks: &Quirks,
) -> Result<Vec<&'a Instance>, Refusal> {
    let all = tenant.instances.iter();
    if query.accounts.is_empty() || quirks.ignore_account_parameter || !endpoint.narrows() {
        return Ok(all.collect());
    }
    let foreign = |account: &&String| !tenant.instances.iter().any(|instance| instance.id == **account);
    if let Some(account) = query.accounts.iter().find(foreign) {
        return Err(Refusal::ForeignAccount(account.clone()));
    }
    Ok(all.filter(|instance| query.accounts.contains(&instance.id)).collect())
}

/// The Instance that has got a record more by now, where the quirk says so and it is selected.
fn late<'a>(
    world: &'a World,
    grant: &Grant,
    endpoint: Endpoint,
    instances: &[&'a Instance],
    quirks: &Quirks,
) -> Option<&'a Instance> {
    if endpoint != Endpoint::Invoices {
        return None;
    }
    let before = world.walks.step(grant.tenant);
    let first = world.options.tenants.get(grant.tenant)?.instances.first()?;
    let selected = instances.iter().any(|instance| instance.id == first.id);
    (selected && before >= quirks.insert_after?).then_some(first)
}

/// The reply with the body, or a 304 where the client has it already.
async fn represent(body: String, quirks: &Quirks, fields: &HeaderMap) -> Reply {
    let gzip = representation::accepts_gzip(&fields.get_all(ACCEPT_ENCODING));
    let Representation { bytes, etag, encoding } = representation::encode(body, gzip).await;
    let known = !quirks.no_etag && representation::matches(&fields.get_all(IF_NONE_MATCH), &etag);
    let mut reply = if known { Reply::new(Bytes::new()) } else { json(StatusCode::OK, bytes) };
    if known {
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
    } else if let Some(encoding) = encoding {
        set_field(&mut reply, CONTENT_ENCODING, encoding);
    }
    if !quirks.no_etag {
        set_field(&mut reply, ETAG, &etag);
    }
    set_field(&mut reply, VARY, "Accept-Encoding");
    reply
}

/// Adds what every answer of the API carries, errors and faults included.
fn decorate(outcome: &mut Outcome, quirks: &Quirks) {
    let (Outcome::Whole(reply) | Outcome::CutOff(reply)) = outcome else { return };
    set_field(reply, HeaderName::from_static("x-request-id"), &Uuid::new_v4().to_string());
    if quirks.no_store {
        set_field(reply, CACHE_CONTROL, "no-store");
    } else if let Some(text) = &quirks.cache_control {
        set_field(reply, CACHE_CONTROL, text);
    }
    if quirks.vary_authorization {
        let vary = match reply.headers().get(VARY) {
            Some(_) => "Accept-Encoding, Authorization",
            None => "Authorization",
        };
        set_field(reply, VARY, vary);
    }
}
