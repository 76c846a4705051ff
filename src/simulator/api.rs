//! The Billing Insights API: authenticates and authorizes a request, and answers it with a page of records.
//!
//! The checks have this order: path, method, token, rate limit, scope, access, query, accounts. HEAD is not
//! implemented, because Talkdesk does not document it.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, ETAG, HeaderName, VARY};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use serde_json::json;
use uuid::Uuid;

use super::faults::{self, Target};
use super::options::{BeyondEnd, Quirks};
use super::paging::{Page, Query};
use super::records::{self, Row};
use super::reply::{self, Answer, ApiError, Reply, Representation, json_text, set_field};
use super::state::{Grant, SimulatorState, bearer_token, lock};
use super::tenants::{Endpoint, Tenant};

/// Answers a request to the API, or to an unknown path.
pub(super) async fn answer(state: &SimulatorState, mut request: Parts) -> Answer {
    let path = request.uri.path().to_owned();
    let grant = presented_grant(state, &request.headers);
    let tenant = grant.as_ref().and_then(|grant| state.options.tenants.get(grant.tenant));
    let account = tenant.map(|tenant| tenant.account.as_str());
    let label = Endpoint::at(&path).map_or("other", Endpoint::path);
    let is_expired = grant.as_ref().is_some_and(|grant| grant.is_expired(state.clock.now()));
    let in_progress = state.api_request(label, account.unwrap_or("unknown"), is_expired);
    let kind = faults::take(&mut lock(&state.faults), Target::Api, account, &path);
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
    in_progress.finish(status.as_ref().map_or("closed", StatusCode::as_str));
    answer
}

/// The body of the answer, with the quirks that apply to it.
fn body(state: &SimulatorState, request: &Parts) -> Result<(String, Quirks), ApiError> {
    let endpoint = Endpoint::at(request.uri.path()).ok_or(ApiError::UnknownPath)?;
    if request.method != Method::GET {
        return Err(ApiError::MethodNotAllowed);
    }
    let grant = valid_grant(state, &request.headers)?;
    let tenant = state.options.tenants.get(grant.tenant).ok_or(ApiError::AccessDenied)?;
    if !grant.endpoints.contains(&endpoint) {
        return Err(ApiError::ScopeMissing(endpoint));
    }
    if !tenant.api_access {
        return Err(ApiError::AccessDenied);
    }
    let quirks = state.quirks();
    let body = if quirks.error_in_200 {
        json!({ "code": "internal_error", "message": "The request could not be processed" }).to_string()
    } else {
        page(state, endpoint, (grant.tenant, tenant), request.uri.query().unwrap_or_default(), &quirks)?
    };
    Ok((if quirks.escape_slashes { body.replace('/', "\\/") } else { body }, quirks))
}

/// The body of a page.
fn page(
    state: &SimulatorState,
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
        let before = state.count_invoice_page(position);
        if quirks.insert_after.is_some_and(|pages| before >= pages)
            && let Some(instance) = tenant.instances.first()
        {
            rows.insert(0, Row::Of(instance, records::added_invoice_line(instance)));
        }
    }
    let record = |row: Row<'_>| records::record(endpoint, row, &quirks.account_field, &state.url);
    let page = Page::select(endpoint, &query, rows, record);
    if page.is_beyond_end() && quirks.beyond_end == BeyondEnd::NotFound {
        return Err(ApiError::NoSuchPage);
    }
    Ok(page.body(&state.url, quirks))
}

/// Fails if the filter names an account that is not under the tenant.
fn check_accounts(query: &Query, tenant: &Tenant, quirks: &Quirks) -> Result<(), ApiError> {
    let Some(filter) = &query.filter else { return Ok(()) };
    let nameless = records::nameless_ids(tenant);
    let is_own = |account: &str| {
        tenant.instances.iter().any(|instance| instance.id == account)
            || quirks.nameless_accounts && nameless.iter().any(|id| id == account)
    };
    match filter.compared_with(&quirks.account_field).into_iter().find(|account| !is_own(account)) {
        None => Ok(()),
        Some(account) => Err(ApiError::ForeignAccount(account.to_owned())),
    }
}

/// The grant of the request's token, even if the token is no longer valid.
fn presented_grant(state: &SimulatorState, fields: &HeaderMap) -> Option<Grant> {
    bearer_token(fields).and_then(|token| lock(&state.tokens).grant(token))
}

/// The grant of the request's token. Fails if the token is not valid, or if the client is over its rate limit.
fn valid_grant(state: &SimulatorState, fields: &HeaderMap) -> Result<Grant, ApiError> {
    let now = state.clock.now();
    if bearer_token(fields).is_none() {
        return Err(ApiError::TokenMissing);
    }
    let grant = presented_grant(state, fields).ok_or(ApiError::TokenInvalid("the token is unknown"))?;
    if grant.revoked {
        return Err(ApiError::TokenInvalid("the token was revoked"));
    }
    if grant.is_expired(now) {
        return Err(ApiError::TokenInvalid("the token has expired"));
    }
    if let Some(limit) = state.options.rate_limit {
        lock(&state.rate_limits).admit(limit, grant.tenant, now).map_err(|wait| {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            ApiError::RateLimited(limit.retry_after.then_some(seconds))
        })?;
    }
    Ok(grant)
}

/// A reply with this body, or a 304 if the client already has it.
async fn represent(body: String, quirks: &Quirks, fields: &HeaderMap) -> Reply {
    let gzip = reply::accepts_gzip(fields);
    let Representation { bytes, etag, is_gzip } = reply::encode(body, gzip).await;
    let is_known = !quirks.no_etag && reply::etag_matches(fields, &etag);
    let mut reply = if is_known { Reply::new(Bytes::new()) } else { json_text(StatusCode::OK, bytes) };
    if is_known {
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
    } else if is_gzip {
        set_field(&mut reply, CONTENT_ENCODING, "gzip");
    }
    if !quirks.no_etag {
        set_field(&mut reply, ETAG, &etag);
    }
    set_field(&mut reply, VARY, "Accept-Encoding");
    reply
}

/// Adds the header fields that every answer of the API has, including errors and faults.
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
