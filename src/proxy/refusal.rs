//! Talkdesk's 403: the reason it gives, and for how long it is remembered.
//!
//! Under a plain rule a 403 is a response like any other and does not come here.

use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderMap;
use hyper::body::Incoming;
use serde::Deserialize;

use super::receive::{Received, Receiving};
use super::rejection::Rejection;
use super::store::{Fetch, Head};
use super::token_scanner::TokenScanner;
use crate::domain::learned::LearnedDenial;
use crate::oauth::grant::printable;
use crate::request_id::X_REQUEST_ID;

/// Talkdesk's error shape, as far as it says why.
#[derive(Deserialize)]
struct TalkdeskError {
    code: serde_json::Value,
    message: String,
}

/// A body that says why something failed is small.
const LARGEST_ERROR: u64 = 64 * 1024;

/// A refusal is one, whether or not its reason comes in time.
const REASON_IN: Duration = Duration::from_secs(2);

/// Reads why, and remembers a refusal that has Talkdesk's own error shape.
pub(super) async fn read(
    fetch: &Fetch<'_>,
    head: &Head,
    fields: &HeaderMap,
    body: Incoming,
    scanner: Option<TokenScanner>,
) -> Rejection {
    let Fetch { proxy, ask, asked_at, .. } = *fetch;
    let told_twice = scanner.clone();
    let upstream_request_id = head.fields.get(X_REQUEST_ID).and_then(|id| id.to_str().ok()).map(printable);
    let body = match Receiving::new(fields, body, LARGEST_ERROR, false, scanner, false) {
        Ok(mut receiving) => {
            let read = proxy.clock.timeout(REASON_IN, receiving.read(LARGEST_ERROR)).await;
            read.ok().and_then(Result::ok)
        }
        Err(_) => None,
    };
    let error: Option<TalkdeskError> = match body {
        Some(Received::Whole(body)) => serde_json::from_slice(&body).ok(),
        Some(Received::Part(_)) | None => None,
    };
    let reason = error.map(|TalkdeskError { code, message }| {
        let code = code.as_str().map_or_else(|| code.to_string(), str::to_owned);
        printable(&format!("{message} ({code})"))
    });
    // Searched once more as clients would read it: it may have been escaped in the body.
    let harmless =
        |reason: &String| told_twice.is_none_or(|mut scanner| scanner.look(reason.as_bytes()).is_ok());
    let Some(reason) = reason.filter(harmless) else {
        let upstream_request_id = upstream_request_id.map(Into::into);
        return Rejection::ForbiddenUpstream { reason: "it does not say why.".into(), upstream_request_id };
    };
    let policy = &ask.snapshot.config.policy;
    // A purge or a reload since then has ended every denial that was, this one too.
    let ended = proxy.shelf.purges() != asked_at.purges || !Arc::ptr_eq(&proxy.snapshot(), &ask.snapshot);
    if !policy.remember_denials.is_zero() && !ended {
        let denial = LearnedDenial {
            reason: reason.as_str().into(),
            upstream_request_id: upstream_request_id.as_deref().map(Into::into),
            until: head.received.after(policy.remember_denials),
        };
        proxy.learned.learn_denial(&ask.permit.as_denied_request(), denial, head.received.monotonic);
    }
    Rejection::ForbiddenUpstream {
        reason: reason.into(),
        upstream_request_id: upstream_request_id.map(Into::into),
    }
}
