//! Talkdesk's 403: the reason it gives, and for how long it is remembered.

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use hyper::body::Incoming;
use serde::Deserialize;

use super::fetch_context::FetchContext;
use super::fetch_request::FetchRequest;
use super::response_body::ResponseBody;
use super::response_head::ResponseHead;
use crate::cache::Generation;
use crate::domain::learned::LearnedDenial;
use crate::headers::X_REQUEST_ID;
use crate::oauth::grant::printable;
use crate::problem::Rejection;
use crate::upstream::token_scanner::TokenScanner;

/// Talkdesk's error format, as far as it gives a reason.
#[derive(Deserialize)]
struct TalkdeskError {
    code: serde_json::Value,
    message: String,
}

/// The largest error body that is read, in bytes.
const MAX_ERROR_BYTES: u64 = 64 * 1024;

/// How long to wait for the reason. A refusal is one without it.
const REASON_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads the reason, and remembers a refusal that has Talkdesk's error format.
pub(super) async fn read(
    context: &FetchContext,
    request: &FetchRequest,
    generation: Generation,
    head: &ResponseHead,
    response: Response<Incoming>,
) -> Rejection {
    let scanner = TokenScanner::of(&response);
    let upstream_request_id = head.fields.get(X_REQUEST_ID).and_then(|id| id.to_str().ok()).map(printable);
    let reading = ResponseBody::read(response, MAX_ERROR_BYTES, &context.read_budget);
    let body = context.clock.timeout(REASON_TIMEOUT, reading).await.ok().and_then(Result::ok);
    let error: Option<TalkdeskError> = body.and_then(|body| serde_json::from_slice(body.bytes()).ok());
    let reason = error.map(|TalkdeskError { code, message }| {
        let code = code.as_str().map_or_else(|| code.to_string(), str::to_owned);
        printable(&format!("{message} ({code})"))
    });
    // Search the decoded text again: the token may have been escaped in the body.
    let has_no_token =
        |reason: &String| scanner.is_none_or(|scanner| scanner.check(reason.as_bytes()).is_ok());
    let Some(reason) = reason.filter(has_no_token) else {
        let upstream_request_id = upstream_request_id.map(Into::into);
        return Rejection::ForbiddenUpstream { reason: "it does not say why.".into(), upstream_request_id };
    };
    let policy = &request.snapshot.config.policy;
    // A purge or reload since the request ends all denials, this one too.
    let ended =
        context.cache.purges() != generation.purges || !Arc::ptr_eq(&context.snapshot(), &request.snapshot);
    if !policy.remember_denials.is_zero() && !ended {
        let denial = LearnedDenial {
            reason: reason.as_str().into(),
            upstream_request_id: upstream_request_id.as_deref().map(Into::into),
            until: head.received.after(policy.remember_denials),
        };
        context.learned.learn_denial(&request.permit.as_denied_request(), denial, head.received.monotonic);
    }
    Rejection::ForbiddenUpstream {
        reason: reason.into(),
        upstream_request_id: upstream_request_id.map(Into::into),
    }
}
