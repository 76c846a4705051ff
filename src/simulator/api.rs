//! The API: authenticates and authorises a request, and answers it with a page.
//!
//! The checks come in this order: path, method, token, rate limit, scope, access, query, accounts. HEAD is not
//! implemented, because Talkdesk does not document it.

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, ETAG, HeaderName, IF_NONE_MATCH, VARY};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use uuid::Uuid;

use super::endpoint::{Endpoint, Members};
use super::faults::{self, Target};
use super::filter::Filter;
use super::json::ObjectText;
use super::options::{BeyondEnd, Quirks};
use super::page::Page;
use super::query::Query;
use super::records::{self, Row};
use super::reply::{self, Answer, ApiError, Reply, Representation, json, set_field};
use super::state::{Grant, State, TokenState, bearer_token};
use super::tenants::Tenant;

/// Answers a request to the API, or to an unknown path.
pub(super) async fn answer(state: &State, mut request: Parts) -> Answer {
    let now = state.clock.now();
    let path = request.uri.path().to_owned();
    let presented = state.tokens.look_up(bearer_token(&request.headers), now);
    let tenant = presented.grant().and_then(|grant| state.options.tenants.get(grant.tenant));
    let account = tenant.map(|tenant| tenant.account.as_str());
    let label = Endpoint::at(&path).map_or("other", Endpoint::path);
    let in_flight =
        state.recorder.api_request(label, account.unwrap_or("unknown"), presented.is_expired(), now);
    let kind = state.faults.take(Target::Api, account, &path);
    faults::prepare(kind.as_ref(), &mut request.headers);
    let regular = async {
        match body(state, &request) {
            Ok((body, quirks)) => represent(body, &quirks, &request.headers).await,
            Err(error) => error.reply(),
        }
    };
    let mut answer = faults::apply(&state.clock, Target::Api, kind, regular).await;
    decorate(&mut answer, &state.quirks());
    let status = answer.reply().map(Reply::status);
    in_flight.finish(status.as_ref().map_or("closed", StatusCode::as_str));
    answer
}

/// The body of the answer, in the form that the quirks say.
fn body(state: &State, request: &Parts) -> Result<(String, Quirks), ApiError> {
    let endpoint = Endpoint::at(request.uri.path()).ok_or(ApiError::UnknownPath)?;
    if request.method != Method::GET {
        return Err(ApiError::MethodNotAllowed);
    }
    let grant = valid_grant(state, &request.headers)?;
    let tenant = state.options.tenants.get(grant.tenant).ok_or(ApiError::AccessDenied)?;
    if !grant.scopes.contains(&endpoint.scope()) {
        return Err(ApiError::ScopeMissing(endpoint.scope()));
    }
    if !tenant.api_access {
        return Err(ApiError::AccessDenied);
    }
    let quirks = state.quirks();
    let body = if quirks.error_in_200 {
        let error = ObjectText::new().string("code", "internal_error");
        error.string("message", "The request could not be processed").finish()
    } else {
        page(state, endpoint, (grant.tenant, tenant), request.uri.query().unwrap_or_default(), &quirks)?
    };
    Ok((if quirks.escape_slashes { body.replace('/', "\\/") } else { body }, quirks))
}

/// The body of a page.
fn page(
    state: &State,
    endpoint: Endpoint,
    (position, tenant): (usize, &Tenant),
    query: &str,
    quirks: &Quirks,
) -> Result<String, ApiError> {
    let query =
        Query::read(query, endpoint, quirks, state.options.max_per_page).map_err(ApiError::InvalidQuery)?;
    if !quirks.foreign_accounts_are_empty {
        check_accounts(&query, tenant, quirks)?;
    }
    let mut rows = records::rows(endpoint, tenant, quirks.nameless_accounts);
    if endpoint == Endpoint::Invoices {
        let before = state.invoice_pages.increment(position);
        if quirks.insert_after.is_some_and(|pages| before >= pages)
            && let Some(instance) = tenant.instances.first()
        {
            rows.insert(0, Row::Of(instance, records::added_invoice_line(instance)));
        }
    }
    let members = Members::new(endpoint, &quirks.account_field);
    let page = Page::select(endpoint, &members, rows, &query, &state.url);
    if page.is_beyond_end() && quirks.beyond_end == BeyondEnd::NotFound {
        return Err(ApiError::NoSuchPage);
    }
    Ok(page.body(&state.url, quirks))
}

/// Fails if the filter names an account that is not under the tenant.
fn check_accounts(query: &Query, tenant: &Tenant, quirks: &Quirks) -> Result<(), ApiError> {
    let named = query.filter.as_ref().map(Filter::accounts).unwrap_or_default();
    let nameless = records::nameless_ids(tenant);
    let is_own = |account: &str| {
        tenant.instances.iter().any(|instance| instance.id == account)
            || quirks.nameless_accounts && nameless.iter().any(|id| id == account)
    };
    match named.into_iter().find(|account| !is_own(account)) {
        None => Ok(()),
        Some(account) => Err(ApiError::ForeignAccount(account.to_owned())),
    }
}

/// The grant of a valid token, within the rate limit.
fn valid_grant(state: &State, fields: &HeaderMap) -> Result<Grant, ApiError> {
    let now = state.clock.now();
    let grant = match state.tokens.look_up(bearer_token(fields), now) {
        TokenState::Missing => return Err(ApiError::TokenMissing),
        TokenState::Unknown => return Err(ApiError::TokenInvalid("the token is unknown")),
        TokenState::Expired(_) => return Err(ApiError::TokenInvalid("the token has expired")),
        TokenState::Revoked(_) => return Err(ApiError::TokenInvalid("the token was revoked")),
        TokenState::Valid(grant) => grant,
    };
    if let Some(limit) = state.options.rate_limit {
        state.limits.admit(limit, grant.tenant, now).map_err(|wait| {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            ApiError::RateLimited(limit.retry_after.then_some(seconds))
        })?;
    }
    Ok(grant)
}

/// The reply with the body, or a 304 if the client has it already.
async fn represent(body: String, quirks: &Quirks, fields: &HeaderMap) -> Reply {
    let gzip = reply::accepts_gzip(&fields.get_all(ACCEPT_ENCODING));
    let Representation { bytes, etag, encoding } = reply::encode(body, gzip).await;
    let known = !quirks.no_etag && reply::etag_matches(&fields.get_all(IF_NONE_MATCH), &etag);
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

/// Adds the fields that every answer of the API has, errors and faults included.
fn decorate(answer: &mut Answer, quirks: &Quirks) {
    let (Answer::Whole(reply) | Answer::Truncated(reply)) = answer else { return };
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
