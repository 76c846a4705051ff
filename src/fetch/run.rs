//! One fetch: sends the request, validates the response, and hands it to the cache.
//!
//! A response that is cut off, is not JSON, or holds another account's records is neither sent to a client nor stored.

use std::future::pending;
use std::sync::Arc;
use std::time::Instant;

use http::header::{ETAG, HeaderMap};
use http::{Response, StatusCode};
use hyper::body::Incoming;

use super::fetch_context::FetchContext;
use super::fetch_request::FetchRequest;
use super::fetch_result::{FetchInterest, FetchResult};
use super::forbidden;
use super::probe::{ProbeCheck, ScopeProof};
use super::response_body::ResponseBody;
use super::response_head::{ResponseHead, is_refusal, unexpected_status};
use super::store::EntryStore;
use super::validate::validate;
use crate::cache::Entry;
use crate::limit::gate::Waiter;
use crate::problem::Rejection;
use crate::rfc9111::validation::{confirmed, make_conditional};
use crate::upstream::origin::{UpstreamRequest, UpstreamResponse};

/// Fetches a response, conditionally if an entry is stored, and stores it if it may be stored.
///
/// `None` if nobody waited any more before anything was sent.
pub async fn fetch(
    context: &FetchContext,
    request: &FetchRequest,
    entry: Option<Arc<Entry>>,
    waiter: Waiter,
    interest: Option<FetchInterest>,
) -> Option<Result<FetchResult, Rejection>> {
    // It may have run before, in a fetch whose response another request took.
    request.timer.reset();
    let abandoned = async {
        match &interest {
            Some(interest) => interest.lost().await,
            None => pending().await,
        }
        if request.timer.has_started() {
            pending::<()>().await;
        }
    };
    let fetch = Fetch::new(context, request, waiter);
    let outcome = tokio::select! {
        outcome = fetch.run(entry) => outcome,
        () = abandoned => return None,
    };
    if let Err(rejection) = &outcome {
        fetch.count(rejection);
    }
    Some(outcome)
}

/// A running fetch.
struct Fetch<'a> {
    context: &'a FetchContext,
    request: &'a FetchRequest,
    waiter: Waiter,
    scope: ScopeProof<'a>,
    store: EntryStore<'a>,
}

/// A stored response that upstream is asked to validate, with the fields that the origin sent with it.
struct Offered {
    entry: Arc<Entry>,
    fields: HeaderMap,
}

impl Offered {
    fn new(entry: Arc<Entry>) -> Self {
        Self { fields: entry.fields.of_origin().clone(), entry }
    }
}

impl<'a> Fetch<'a> {
    fn new(context: &'a FetchContext, request: &'a FetchRequest, waiter: Waiter) -> Self {
        Self {
            context,
            request,
            scope: ScopeProof::new(context, request, waiter.clone()),
            store: EntryStore::new(context, request),
            waiter,
        }
    }

    async fn run(&self, entry: Option<Arc<Entry>>) -> Result<FetchResult, Rejection> {
        let started = self.context.clock.now();
        let deadline = started.after(self.request.snapshot.config.upstream.request_timeout);
        self.scope.prove_narrowing(deadline).await?;
        let offered = self.offered(entry);
        let mut fields = self.request.fields.clone();
        make_conditional(&mut fields, offered.iter().map(|offered| &offered.fields));
        let mut answer = self.send_proven(&fields, deadline).await?;
        if answer.response.status() == StatusCode::NOT_MODIFIED && !offered.is_empty() {
            let head = ResponseHead::new(&answer, self.context.clock.now());
            if let Some(offered) = confirmed(&head.fields, &offered, |offered| &offered.fields) {
                drop(answer);
                self.scope.complete(StatusCode::NOT_MODIFIED)?;
                return Ok(self.store.confirm(&offered.entry, &head));
            }
            // The 304 is about another response: request the complete one (RFC 9111, section 4.3.4). Release the slot of the
            // first request before: it may be the only one.
            drop(answer);
            answer = self.send_proven(&self.request.fields, deadline).await?;
        }
        let head = ResponseHead::new(&answer, self.context.clock.now());
        if let Some(reason) = unexpected_status(head.status) {
            return Err(Rejection::UpstreamProtocolError(reason.into()));
        }
        let UpstreamResponse { response, pass, sent_at, .. } = answer;
        let received = self.context.clock.timeout_at(deadline, self.receive(head, response)).await;
        drop(pass);
        received.unwrap_or_else(|_| {
            // A response that stops halfway delays everybody like one that never comes.
            let now = self.context.clock.now();
            if now.since(sent_at.monotonic) >= self.request.snapshot.config.upstream.request_timeout / 2 {
                self.request.origin.breaker.record_failure(&Rejection::UpstreamTimeout, now);
            }
            self.context.metrics.upstream_error("timeout");
            Err(Rejection::UpstreamTimeout)
        })
    }

    /// Sends a request whose response fits the probe. If the token was renewed between the two, both are sent again.
    async fn send_proven(
        &self,
        fields: &HeaderMap,
        deadline: Instant,
    ) -> Result<UpstreamResponse, Rejection> {
        let answer = self.send(fields, deadline).await?;
        if self.scope.check_against_probe(&answer)? == ProbeCheck::Passed {
            return Ok(answer);
        }
        // Release its slot before: it may be the only one.
        drop(answer);
        self.scope.prove_narrowing(deadline).await?;
        let answer = self.send(fields, deadline).await?;
        match self.scope.check_against_probe(&answer)? {
            ProbeCheck::Passed => Ok(answer),
            ProbeCheck::TokenChanged => {
                Err(Rejection::UpstreamProtocolError("its tokens change faster than it answers".into()))
            }
        }
    }

    async fn send(&self, fields: &HeaderMap, deadline: Instant) -> Result<UpstreamResponse, Rejection> {
        let FetchRequest { permit, snapshot, origin, .. } = self.request;
        let request = UpstreamRequest {
            permit,
            target: self.request.target.as_ref(),
            fields,
            waiter: self.waiter.clone(),
            deadline,
            min_timeout: snapshot.config.upstream.request_timeout / 2,
            timer: &self.request.timer,
            endpoint_metrics: snapshot.endpoint_metrics(Some(permit.endpoint().position)),
            tenant_metrics: snapshot.tenant_metrics(&permit.tenant().name),
        };
        origin.send(&request).await
    }

    /// The stored responses that may still be valid: the entry that matches the request, and with it (or without one) the
    /// other variants of the URL (RFC 9111, section 4.3.1).
    fn offered(&self, entry: Option<Arc<Entry>>) -> Vec<Offered> {
        let has_tag = |entry: &Arc<Entry>| entry.fields.origin(&ETAG).is_some();
        let entry = entry.filter(|entry| entry.can_be_validated());
        if let Some(entry) = entry.as_ref().filter(|entry| !has_tag(entry)) {
            return vec![Offered::new(Arc::clone(entry))];
        }
        let others = self.context.cache.variants(&self.request.key).into_iter().filter(has_tag);
        let mut offered: Vec<Offered> = entry.into_iter().map(Offered::new).collect();
        for other in others {
            if !offered.iter().any(|known| Arc::ptr_eq(&known.entry, &other)) {
                offered.push(Offered::new(other));
            }
        }
        offered
    }

    async fn receive(
        &self,
        head: ResponseHead,
        response: Response<Incoming>,
    ) -> Result<FetchResult, Rejection> {
        if head.status == StatusCode::FORBIDDEN {
            self.store.refuse();
            return Err(forbidden::read(
                self.context,
                self.request,
                self.store.generation(),
                &head,
                response,
            )
            .await);
        }
        let refused = is_refusal(head.status);
        if refused {
            self.context.cache.remove(&self.request.key);
        }
        let limit = self.request.snapshot.config.upstream.max_response_bytes;
        let body = match ResponseBody::read(response, limit, &self.context.read_budget).await {
            Ok(body) => body,
            // A refusal counts although its body is cut off.
            Err(rejection) if refused && rejection != Rejection::TokenInAnswer => {
                ResponseBody::empty(&self.context.read_budget)
            }
            Err(rejection) => return Err(rejection),
        };
        let page_content = validate(self.request, &head, body.bytes())?;
        self.scope.complete(head.status)?;
        if head.status == StatusCode::OK {
            self.scope.learn_link_parameters(&page_content, body.bytes());
        }
        let decision =
            self.request.policy().decide(self.request.said, head.status, &head.fields, head.received);
        Ok(self.store.store(head, body, page_content, decision))
    }

    fn count(&self, rejection: &Rejection) {
        let metrics = &self.context.metrics;
        if let Rejection::UpstreamProtocolError(_) = rejection {
            metrics.upstream_error("protocol");
        } else if let Rejection::UpstreamResponseTooLarge { .. } = rejection {
            metrics.upstream_error("too_large");
        } else if let Rejection::AccountMismatch(detail) = rejection {
            metrics.upstream_error("account_mismatch");
            metrics.account_mismatch.inc();
            let (credential, endpoint) =
                (self.request.permit.credential(), &self.request.permit.endpoint().name);
            if self.request.origin.proofs.invalidate(endpoint, self.context.clock.now().monotonic) {
                self.context.cache.forget_instances(&credential.key, endpoint);
            }
            let tenant = &self.request.permit.tenant().label;
            tracing::error!(%tenant, detail, "an answer was withheld: it can't be shown to be the tenant's alone");
        } else if let Rejection::AccountScopeUnproven(_) = rejection {
            metrics.upstream_error("account_scope_unproven");
        } else if let Rejection::TokenRejected(_) = rejection {
            // Whoever may not see it any more is not shown it from memory either.
            self.store.refuse();
        }
    }
}
