//! One fetch, from asking to what is kept of the answer.
//!
//! This is where an answer is judged: whole or cut off, JSON or not, the account's own or not, to be kept or
//! not. What fails a check is never given out and never kept.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HeaderMap};
use serde::Deserialize;

use super::Proxy;
use super::ask::Ask;
use super::fetched::{Interest, Landed, Streaming};
use super::giveaway::Giveaway;
use super::head_of_answer::{drop_from_vary, in_seconds, says_json, unasked_for};
use super::headers::{RateState, X_REQUEST_ID, add_via, sanitised};
use super::origin::{Errand, Sent};
use super::receive::{Received, Receiving};
use super::rejection::Rejection;
use crate::cache::entry::Ingredients;
use crate::cache::judge::{Bypass, Verdict, judge};
use crate::cache::{Entry, label};
use crate::clock::Now;
use crate::config::Rule;
use crate::domain::endpoint::Content;
use crate::domain::learned::LearnedDenial;
use crate::inspect::{Breach, Inspection, Unfit, inspect};
use crate::limit::gate::{Pass, Waiter};
use crate::oauth::grant::printable;
use crate::oauth::tokens::TokenError;
use crate::rfc9111::freshness::Freshness;
use crate::rfc9111::key::Variant;
use crate::rfc9111::validation::{can_be_validated, is_about, make_conditional, merged, weakened};

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

/// Fetches an answer, conditionally where an entry is there, and keeps what may be kept.
///
/// None where nobody waited any more before anything was sent.
pub async fn fetch(
    proxy: &Proxy,
    ask: &Ask,
    entry: Option<Arc<Entry>>,
    waiter: Waiter,
    interest: Option<Interest>,
) -> Option<Result<(Landed, Option<Streaming>), Rejection>> {
    let sent = AtomicBool::new(false);
    let given_up = async {
        match &interest {
            Some(interest) => interest.lost().await,
            None => pending().await,
        }
        if sent.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
    };
    let fetch = Fetch { proxy, ask, waiter, sent: &sent };
    let outcome = tokio::select! {
        outcome = fetch.run(entry) => outcome,
        () = given_up => return None,
    };
    // A token that was rejected for this very request is another thing than one that was for another.
    let outcome = outcome.map_err(|rejection| {
        if let Rejection::NoToken(no_token) = &rejection
            && no_token.error == TokenError::TokenRejected
            && sent.load(Ordering::Relaxed)
        {
            return Rejection::TokenRejected(no_token.clone());
        }
        rejection
    });
    if let Err(rejection) = &outcome {
        fetch.count(rejection);
    }
    Some(outcome)
}

struct Fetch<'a> {
    proxy: &'a Proxy,
    ask: &'a Ask,
    waiter: Waiter,
    sent: &'a AtomicBool,
}

/// An answer's head, and what is known about it.
struct Head {
    status: StatusCode,
    fields: HeaderMap,
    asked: Now,
    received: Now,
    rate: RateState,
    waited: Duration,
}

impl Fetch<'_> {
    async fn run(&self, entry: Option<Arc<Entry>>) -> Result<(Landed, Option<Streaming>), Rejection> {
        let started = self.proxy.clock.now();
        let deadline = started.after(self.ask.snapshot.config.upstream.request_timeout);
        let mut fields = self.ask.fields.clone();
        if let Some(entry) = &entry {
            make_conditional(&mut fields, &entry.origin_fields);
        }
        let mut answer = self.send(&fields, deadline).await?;
        if answer.response.status() == StatusCode::NOT_MODIFIED
            && let Some(entry) = entry
        {
            if can_be_validated(&entry.origin_fields)
                && is_about(answer.response.headers(), &entry.origin_fields)
            {
                let head = self.head(&answer);
                return Ok((self.confirm(&entry, &head), None));
            }
            // It speaks of something else than what is here: the whole is needed (RFC 9111, section 4.3.4).
            // The place that the first one takes is given back first: it may be the only one.
            drop(answer);
            answer = self.send(&self.ask.fields, deadline).await?;
        }
        let head = self.head(&answer);
        if let Some(reason) = unasked_for(head.status) {
            return Err(Rejection::UpstreamProtocolError(reason.into()));
        }
        let Sent { response, pass, asked, .. } = answer;
        let receive = self.receive(head, response, pass);
        let landed = self.proxy.clock.timeout_at(deadline, receive).await;
        landed.unwrap_or_else(|_| {
            // An answer that stops half way holds everybody up as one that never comes does.
            let now = self.proxy.clock.now();
            if now.since(asked.monotonic) >= self.ask.snapshot.config.upstream.request_timeout / 2 {
                self.ask.origin.health.failed(&Rejection::UpstreamTimeout, now);
            }
            self.proxy.metrics.upstream_error("timeout");
            Err(Rejection::UpstreamTimeout)
        })
    }

    async fn send(&self, fields: &HeaderMap, deadline: std::time::Instant) -> Result<Sent, Rejection> {
        let Ask { permit, snapshot, origin, .. } = self.ask;
        let errand = Errand {
            permit,
            fields,
            waiter: self.waiter.clone(),
            deadline,
            patience: snapshot.config.upstream.request_timeout / 2,
            may_retry: permit.method().is_safe() && *self.ask.rule() != Rule::Plain,
            sent: self.sent,
            endpoint_metrics: snapshot.endpoint_metrics(Some(permit.endpoint().position)),
            tenant_metrics: snapshot.tenant_metrics(&permit.tenant().name),
        };
        origin.send(&errand).await
    }

    fn head(&self, answer: &Sent) -> Head {
        let mut fields = sanitised(answer.response.headers());
        add_via(&mut fields, answer.response.version());
        in_seconds(&mut fields, answer.response.status(), self.proxy.clock.now());
        Head {
            status: answer.response.status(),
            fields,
            asked: answer.asked,
            received: self.proxy.clock.now(),
            rate: answer.rate,
            waited: answer.waited,
        }
    }

    async fn receive(
        &self,
        head: Head,
        response: http::Response<hyper::body::Incoming>,
        pass: Pass,
    ) -> Result<(Landed, Option<Streaming>), Rejection> {
        let config = &self.ask.snapshot.config;
        let (fields, giveaway) = (response.headers().clone(), Giveaway::of(&response));
        if head.status == StatusCode::FORBIDDEN && *self.ask.rule() != Rule::Plain {
            return Err(self.forbidden(&head, &fields, response.into_body(), giveaway).await);
        }
        let refused = matches!(head.status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE);
        if refused {
            self.proxy.shelf.remove(&self.ask.key);
        }
        let most = config.upstream.max_response_bytes;
        let receiving = Receiving::new(&fields, response.into_body(), most, giveaway);
        let read = match receiving {
            Ok(mut receiving) => {
                receiving.read(config.cache.max_entry_bytes).await.map(|read| (read, receiving))
            }
            Err(rejection) => Err(rejection),
        };
        let body = match read {
            Ok((Received::Whole(body), _)) => body,
            Ok((Received::Part(first), receiving)) => return self.stream(head, first, receiving, pass),
            // What is refused is refused, though the words for it are cut off.
            Err(rejection) if refused && rejection != Rejection::TokenInAnswer => Bytes::new(),
            Err(rejection) => return Err(rejection),
        };
        drop(pass);
        let links = self.check(&head, &body)?.links;
        let verdict = judge(self.ask.rule(), head.status, &head.fields, head.received);
        Ok((self.keep(head, body, links, verdict), None))
    }

    /// Looks the body through. What is not fit is not given out.
    fn check(&self, head: &Head, body: &[u8]) -> Result<Inspection, Rejection> {
        let must_be_json = self.must_be_json(head.status);
        let wall = self.ask.permit.wall();
        let is_looked_at = must_be_json || says_json(&head.fields) || wall.is_some();
        if !is_looked_at {
            return Ok(Inspection::default());
        }
        match inspect(body, &self.ask.origin.links, wall) {
            Ok(inspection) => Ok(inspection),
            Err(Unfit::NotJson(_)) if !must_be_json => Ok(Inspection::default()),
            Err(Unfit::NotJson(not_json)) => {
                Err(Rejection::UpstreamProtocolError(format!("its body is not JSON ({not_json})")))
            }
            // An error has members of its own; records of another account it must not have either.
            Err(Unfit::Breach(Breach::Elsewhere)) if !head.status.is_success() => {
                Ok(inspect(body, &self.ask.origin.links, None).unwrap_or_default())
            }
            Err(Unfit::Breach(breach)) => Err(Rejection::AccountMismatch(breach.to_string())),
        }
    }

    /// The five endpoints answer a success with JSON, or not at all.
    fn must_be_json(&self, status: StatusCode) -> bool {
        status.is_success() && self.ask.permit.endpoint().content != Content::Opaque
    }

    fn stream(
        &self,
        head: Head,
        first: Bytes,
        rest: Receiving,
        pass: Pass,
    ) -> Result<(Landed, Option<Streaming>), Rejection> {
        if self.ask.permit.wall().is_some() {
            let limit = self.ask.snapshot.config.cache.max_entry_bytes;
            return Err(Rejection::UpstreamResponseTooLarge { limit });
        }
        self.proxy.metrics.not_stored(Bypass::TooLarge.as_str());
        let json = self.must_be_json(head.status);
        let patience = self.ask.snapshot.config.upstream.request_timeout;
        let landed = self.landed(&head, None, Err(Bypass::TooLarge), false);
        let mut fields = head.fields;
        for name in [CONTENT_LENGTH, CONTENT_ENCODING, X_REQUEST_ID] {
            fields.remove(name);
        }
        if json && let Some(etag) = fields.get(ETAG).map(weakened) {
            fields.insert(ETAG, etag);
        }
        drop_from_vary(&mut fields);
        Ok((landed, Some(Streaming { status: head.status, fields, first, rest, json, patience, pass })))
    }

    /// An entry that upstream confirmed, with the new fields of the 304 (RFC 9111, section 4.3.4).
    fn confirm(&self, entry: &Arc<Entry>, head: &Head) -> Landed {
        let fields = merged(&entry.origin_fields, &head.fields);
        let verdict = judge(self.ask.rule(), entry.status, &fields, head.received);
        let head = Head { status: entry.status, fields, ..*head };
        let mut landed = self.keep(head, entry.body.clone(), entry.links.clone(), verdict);
        landed.revalidated = true;
        landed.status = StatusCode::NOT_MODIFIED.as_u16();
        landed
    }

    /// Makes an entry, and puts it on the shelf if it may be kept.
    fn keep(
        &self,
        mut head: Head,
        body: Bytes,
        links: Vec<crate::links::Splice>,
        verdict: Result<Verdict, Bypass>,
    ) -> Landed {
        let Ask { permit, key, fields: request, .. } = self.ask;
        for name in [CONTENT_LENGTH, CONTENT_ENCODING] {
            head.fields.remove(name);
        }
        // The encoding is undone, so it selects nothing any more.
        let variant = Variant::of(&head.fields, request);
        drop_from_vary(&mut head.fields);
        let ingredients = Ingredients {
            status: head.status,
            fields: std::mem::take(&mut head.fields),
            body,
            links,
            verdict: verdict.unwrap_or(NOT_KEPT),
            variant,
            received: head.received,
            delay: head.received.since(head.asked.monotonic),
        };
        let entry = Arc::new(Entry::new(ingredients));
        let stored = verdict.map(|_| self.proxy.shelf.put(key, label(permit), &entry));
        if let Err(bypass) = stored {
            self.proxy.metrics.not_stored(bypass.as_str());
        }
        if matches!(entry.status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE)
            && stored.is_err()
        {
            self.proxy.shelf.remove(key);
        }
        self.landed(&head, Some(entry), stored, false)
    }

    fn landed(
        &self,
        head: &Head,
        entry: Option<Arc<Entry>>,
        stored: Result<(), Bypass>,
        revalidated: bool,
    ) -> Landed {
        self.ask.origin.health.whole();
        let upstream = self.proxy.clock.now().since(head.asked.monotonic);
        let position = Some(self.ask.permit.endpoint().position);
        self.ask.snapshot.endpoint_metrics(position).upstream_duration.observe(upstream.as_secs_f64());
        let status = head.status.as_u16();
        Landed { entry, stored, revalidated, rate: Some(head.rate), upstream, waited: head.waited, status }
    }

    /// Talkdesk refuses: nothing that is stored for the request is served any more, and in its own error shape
    /// the refusal is remembered.
    async fn forbidden(
        &self,
        head: &Head,
        fields: &HeaderMap,
        body: hyper::body::Incoming,
        giveaway: Option<Giveaway>,
    ) -> Rejection {
        self.proxy.shelf.remove(&self.ask.key);
        let upstream_request_id =
            head.fields.get(X_REQUEST_ID).and_then(|id| id.to_str().ok()).map(printable);
        let body = match Receiving::new(fields, body, LARGEST_ERROR, giveaway) {
            Ok(mut receiving) => {
                let read = self.proxy.clock.timeout(REASON_IN, receiving.read(LARGEST_ERROR)).await;
                read.ok().and_then(Result::ok)
            }
            Err(_) => None,
        };
        let error: Option<TalkdeskError> = match body {
            Some(Received::Whole(body)) => serde_json::from_slice(&body).ok(),
            Some(Received::Part(_)) | None => None,
        };
        let Some(error) = error else {
            let upstream_request_id = upstream_request_id.map(Into::into);
            return Rejection::ForbiddenUpstream {
                reason: "it does not say why.".into(),
                upstream_request_id,
            };
        };
        let code = error.code.as_str().map_or_else(|| error.code.to_string(), str::to_owned);
        let reason = printable(&format!("{} ({code})", error.message));
        let policy = &self.ask.snapshot.config.policy;
        if !policy.remember_denials.is_zero() {
            let denial = LearnedDenial {
                reason: reason.as_str().into(),
                upstream_request_id: upstream_request_id.as_deref().map(Into::into),
                until: head.received.after(policy.remember_denials),
            };
            let request = self.ask.permit.as_denied_request();
            self.proxy.learned.learn_denial(&request, denial, head.received.monotonic);
        }
        Rejection::ForbiddenUpstream {
            reason: reason.into(),
            upstream_request_id: upstream_request_id.map(Into::into),
        }
    }

    fn count(&self, rejection: &Rejection) {
        let metrics = &self.proxy.metrics;
        if let Rejection::UpstreamProtocolError(_) = rejection {
            metrics.upstream_error("protocol");
        } else if let Rejection::UpstreamResponseTooLarge { .. } = rejection {
            metrics.upstream_error("too_large");
        } else if let Rejection::AccountMismatch(detail) = rejection {
            metrics.upstream_error("account_mismatch");
            metrics.account_mismatch.inc();
            let tenant = &self.ask.permit.tenant().label;
            tracing::error!(%tenant, detail, "an answer was withheld: it can't be shown to be the tenant's alone");
        } else if let Rejection::TokenRejected(_) = rejection {
            // Whoever may not see it any more is not shown it from memory either.
            self.proxy.shelf.remove(&self.ask.key);
        }
    }
}

/// The verdict of an answer that is not kept: it is of use to nobody but those who wait for it.
const NOT_KEPT: Verdict = Verdict {
    freshness: Freshness {
        lifetime: Duration::ZERO,
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
        always_validate: true,
        never_stale: true,
    },
    ours: false,
    from_arrival: false,
};
