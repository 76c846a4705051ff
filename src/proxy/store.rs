//! One fetch: sends the request, validates the response, and hands it to the cache.
//!
//! A response that is cut off, is not JSON, or holds another account's records is neither sent to a client nor stored.

use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HeaderMap, RANGE};
use http::{Method, StatusCode, Version};

use super::Proxy;
use super::early::{Outlet, is_early};
use super::fetch_request::FetchRequest;
use super::fetch_result::{FetchResult, Interest, Json, Rest, Streaming};
use super::head_of_answer::{add_date, in_seconds, says_json, unexpected_status};
use super::headers::{RateState, add_via, sanitised};
use super::origin::{UpstreamRequest, UpstreamResponse};
use super::probe::{ProbeCheck, Proof};
use super::receive::{Received, Receiving};
use super::refusal;
use super::rejection::Rejection;
use super::token_scanner::{TokenScanner, masked_whole};
use crate::cache::entry::{drop_digests, upstream_request_id};
use crate::cache::judge::{Bypass, Verdict, judge};
use crate::cache::{Entry, Moment};
use crate::clock::Now;
use crate::limit::gate::{Pass, Waiter};
use crate::oauth::token_use::TokenUse;
use crate::oauth::tokens::TokenError;
use crate::request_id::X_REQUEST_ID;
use crate::rfc9111::validation::{confirmed, make_conditional, weakened};

/// Fetches an answer, conditionally where an entry is there, and keeps what may be kept.
///
/// None where nobody waited any more before anything was sent.
pub async fn fetch(
    proxy: &Proxy,
    ask: &FetchRequest,
    entry: Option<Arc<Entry>>,
    waiter: Waiter,
    interest: Option<Interest>,
    outlet: Option<Outlet>,
) -> Option<Result<(FetchResult, Option<Streaming>), Rejection>> {
    // It may have been away before, in a fetch whose answer another one took.
    ask.timer.reset();
    let given_up = async {
        match &interest {
            Some(interest) => interest.lost().await,
            None => pending().await,
        }
        if ask.timer.has_started() {
            pending::<()>().await;
        }
    };
    let fetch = Fetch::new(proxy, ask, waiter);
    let outcome = tokio::select! {
        outcome = fetch.run(entry, outlet) => outcome,
        () = given_up => return None,
    };
    // A token that was rejected for this very request is another thing than one that was for another.
    let outcome = outcome.map_err(|rejection| {
        if let Rejection::NoToken(no_token) = &rejection
            && no_token.error == TokenError::TokenRejected
            && ask.timer.has_started()
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

/// A status that says that whoever asks is not to see what is there, or that nothing is there any more.
pub(super) fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE)
}

/// A fetch under way.
pub(super) struct Fetch<'a> {
    pub(super) proxy: &'a Proxy,
    pub(super) ask: &'a FetchRequest,
    pub(super) waiter: Waiter,
    /// What had happened when it began.
    pub(super) asked_at: Moment,
    proof: Mutex<Option<Proof>>,
}

/// An answer's head, and what is known about it.
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) fields: HeaderMap,
    pub(super) asked: Now,
    pub(super) received: Now,
    pub(super) rate: RateState,
    pub(super) waited: Duration,
    pub(super) token: TokenUse,
}

/// A stored answer that could be the right one yet, with the fields that the origin sent with it.
struct Offered {
    entry: Arc<Entry>,
    fields: HeaderMap,
}

impl Offered {
    fn new(entry: Arc<Entry>) -> Self {
        Self { fields: entry.fields.of_origin(), entry }
    }
}

impl<'a> Fetch<'a> {
    pub(super) fn new(proxy: &'a Proxy, ask: &'a FetchRequest, waiter: Waiter) -> Self {
        Self { proxy, ask, waiter, asked_at: proxy.shelf.moment(), proof: Mutex::default() }
    }

    pub(super) fn proof(&self) -> MutexGuard<'_, Option<Proof>> {
        self.proof.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fetch<'_> {
    async fn run(
        &self,
        entry: Option<Arc<Entry>>,
        outlet: Option<Outlet>,
    ) -> Result<(FetchResult, Option<Streaming>), Rejection> {
        let started = self.proxy.clock.now();
        let deadline = started.after(self.ask.snapshot.config.upstream.request_timeout);
        self.prove_narrowing(deadline).await?;
        let offered = self.offered(entry);
        let mut fields = self.ask.fields.clone();
        make_conditional(&mut fields, offered.iter().map(|offered| &offered.fields));
        if let Some(range) = self.ask.range.as_ref().filter(|_| offered.is_empty()) {
            fields.insert(RANGE, range.clone());
        }
        let mut answer = self.send_proven(&fields, deadline).await?;
        if answer.response.status() == StatusCode::NOT_MODIFIED && !offered.is_empty() {
            let head = self.head(&answer);
            if let Some(offered) = confirmed(&head.fields, &offered, |offered| &offered.fields) {
                drop(answer);
                self.complete_proof(StatusCode::NOT_MODIFIED)?;
                return Ok((self.confirm(&offered.entry, &head), None));
            }
            // It speaks of something else than what is here: the whole is needed (RFC 9111, section 4.3.4).
            // The place that the first one takes is given back first: it may be the only one.
            drop(answer);
            answer = self.send_proven(&self.ask.fields, deadline).await?;
        }
        if answer.response.status() == StatusCode::PARTIAL_CONTENT
            && fields.contains_key(RANGE)
            && says_json(answer.response.headers())
        {
            // Links in a part can't be found, and would not be where they are in the whole once they are replaced. So
            // the whole is asked for, and the part, where it has no links, is cut from that.
            drop(answer);
            answer = self.send_proven(&self.ask.fields, deadline).await?;
        }
        let head = self.head(&answer);
        if let Some(reason) = unexpected_status(head.status, self.ask.is_plain(), self.ask.wish.for_origin) {
            return Err(Rejection::UpstreamProtocolError(reason.into()));
        }
        let UpstreamResponse { response, pass, asked, .. } = answer;
        let receive = self.receive(head, response, pass, outlet);
        let landed = self.proxy.clock.timeout_at(deadline, receive).await;
        landed.unwrap_or_else(|_| {
            // An answer that stops half way holds everybody up as one that never comes does.
            let now = self.proxy.clock.now();
            let long = self.ask.snapshot.config.upstream.request_timeout / 2;
            if !self.ask.is_plain() && now.since(asked.monotonic) >= long {
                self.ask.origin.breaker.record_failure(&Rejection::UpstreamTimeout, now);
            }
            self.proxy.metrics.upstream_error("timeout");
            Err(Rejection::UpstreamTimeout)
        })
    }

    /// Sends a request whose answer fits the probe. Where the token was renewed between the two, both are sent again.
    async fn send_proven(
        &self,
        fields: &HeaderMap,
        deadline: Instant,
    ) -> Result<UpstreamResponse, Rejection> {
        let answer = self.send(fields, deadline).await?;
        if self.check_against_probe(&answer)? == ProbeCheck::Passed {
            return Ok(answer);
        }
        // The place that it takes is given back first: it may be the only one.
        drop(answer);
        self.prove_narrowing(deadline).await?;
        let answer = self.send(fields, deadline).await?;
        match self.check_against_probe(&answer)? {
            ProbeCheck::Passed => Ok(answer),
            ProbeCheck::TokenChanged => {
                Err(Rejection::UpstreamProtocolError("its tokens change faster than it answers".into()))
            }
        }
    }

    async fn send(&self, fields: &HeaderMap, deadline: Instant) -> Result<UpstreamResponse, Rejection> {
        let FetchRequest { permit, snapshot, origin, .. } = self.ask;
        let request = UpstreamRequest {
            permit,
            target: self.ask.target.as_ref(),
            method: self.ask.upstream_method(),
            body: &self.ask.body,
            fields,
            waiter: self.waiter.clone(),
            deadline,
            patience: snapshot.config.upstream.request_timeout / 2,
            plain: self.ask.is_plain(),
            timer: &self.ask.timer,
            endpoint_metrics: snapshot.endpoint_metrics(Some(permit.endpoint().position)),
            tenant_metrics: snapshot.tenant_metrics(&permit.tenant().name),
        };
        origin.send(&request).await
    }

    /// What is stored and may still be right: the entry that answers the request, and with it (or without one) the
    /// others of its URL, which it could turn out to be as well (RFC 9111, section 4.3.1).
    fn offered(&self, entry: Option<Arc<Entry>>) -> Vec<Offered> {
        if !self.ask.asks_the_cache() {
            return Vec::new();
        }
        let has_tag = |entry: &Arc<Entry>| entry.fields.origin(&ETAG).is_some();
        let entry = entry.filter(|entry| entry.can_be_validated());
        if let Some(entry) = entry.as_ref().filter(|entry| !has_tag(entry)) {
            return vec![Offered::new(Arc::clone(entry))];
        }
        let others = self.proxy.shelf.variants(&self.ask.key).into_iter().filter(has_tag);
        let mut offered: Vec<Offered> = entry.into_iter().map(Offered::new).collect();
        for other in others {
            if !offered.iter().any(|known| Arc::ptr_eq(&known.entry, &other)) {
                offered.push(Offered::new(other));
            }
        }
        offered
    }

    fn head(&self, answer: &UpstreamResponse) -> Head {
        let (status, received) = (answer.response.status(), self.proxy.clock.now());
        let mut fields = sanitised(answer.response.headers());
        add_via(&mut fields, answer.response.version());
        add_date(&mut fields, received);
        if !self.ask.is_plain() {
            in_seconds(&mut fields, status, received);
        }
        Head {
            status,
            fields,
            asked: answer.asked,
            received,
            rate: answer.rate,
            waited: answer.waited,
            token: answer.token,
        }
    }

    async fn receive(
        &self,
        head: Head,
        response: http::Response<hyper::body::Incoming>,
        pass: Pass,
        outlet: Option<Outlet>,
    ) -> Result<(FetchResult, Option<Streaming>), Rejection> {
        let config = &self.ask.snapshot.config;
        let plain = self.ask.is_plain();
        let scanner = TokenScanner::of(&response);
        let (http::response::Parts { headers: fields, version, .. }, body) = response.into_parts();
        self.invalidate(&head);
        if head.status == StatusCode::FORBIDDEN && !plain {
            self.refuse();
            return Err(refusal::read(self, &head, &fields, body, scanner).await);
        }
        let refused = is_refusal(head.status) && self.ask.asks_the_cache();
        if refused {
            self.proxy.shelf.remove(&self.ask.key);
        }
        if *self.ask.upstream_method() == Method::HEAD {
            if refused {
                self.refuse();
            }
            return Ok((self.refresh(head, &fields), None));
        }
        let most = config.upstream.max_response_bytes;
        // What passes as it is passes with the token masked.
        let (scanner, mask) = if plain && self.ask.permit.account_scope().is_none() {
            (None, scanner)
        } else {
            (scanner, None)
        };
        let ends_openly = version == Version::HTTP_2 && self.ask.body.is_empty();
        let receiving = Receiving::new(&fields, body, most, plain, scanner, ends_openly);
        if let Some(outlet) = outlet.filter(|_| is_early(head.status)) {
            return self.pass_on(head, receiving?, mask, pass, outlet).await;
        }
        let read = match receiving {
            Ok(mut receiving) => {
                receiving.read(config.cache.max_entry_bytes).await.map(|read| (read, receiving))
            }
            Err(rejection) => Err(rejection),
        };
        let (body, decoded) = match read {
            Ok((Received::Whole(body), receiving)) => {
                let decoded = receiving.is_decoded();
                (masked_whole(mask, body), decoded)
            }
            Ok((Received::Part(first), mut receiving)) => {
                if let Some(mask) = mask {
                    receiving.search(mask, &first)?;
                }
                return self.stream(&head, first, receiving, pass);
            }
            // What is refused is refused, though the words for it are cut off.
            Err(rejection) if refused && !plain && rejection != Rejection::TokenInAnswer => {
                (Bytes::new(), true)
            }
            Err(rejection) => return Err(rejection),
        };
        self.whole(head, body, decoded, pass)
    }

    /// Judges an answer whose body is known.
    pub(super) fn whole(
        &self,
        head: Head,
        body: Bytes,
        decoded: bool,
        pass: Pass,
    ) -> Result<(FetchResult, Option<Streaming>), Rejection> {
        drop(pass);
        let page_content = self.check(&head, &body)?;
        self.complete_proof(head.status)?;
        if head.status == StatusCode::OK {
            self.learn_link_parameters(&page_content, &body);
        }
        let verdict = self.verdict(&head);
        Ok((self.keep(head, body, decoded, page_content, verdict, None), None))
    }

    /// Whether it may be kept, as far as its head says.
    pub(super) fn verdict(&self, head: &Head) -> Result<Verdict, Bypass> {
        judge(self.ask.rule(), &self.ask.question(), head.status, &head.fields, head.received)
    }

    /// Leaves an answer that is too large to be kept to one of those who wait for it.
    pub(super) fn stream(
        &self,
        head: &Head,
        first: Bytes,
        rest: Receiving,
        pass: Pass,
    ) -> Result<(FetchResult, Option<Streaming>), Rejection> {
        if self.ask.permit.account_scope().is_some() {
            let limit = self.ask.snapshot.config.cache.max_entry_bytes;
            return Err(Rejection::UpstreamResponseTooLarge { limit });
        }
        self.note_not_kept(Bypass::TooLarge);
        let landed = self.landed(head, None, Err(Bypass::TooLarge), false);
        let decoded = rest.is_decoded();
        let streaming = self.streaming(head, first, Rest::Upstream(Box::new((rest, pass))), decoded);
        Ok((landed, Some(streaming)))
    }

    /// An answer that is passed on as it comes.
    pub(super) fn streaming(&self, head: &Head, first: Bytes, rest: Rest, decoded: bool) -> Streaming {
        let json = self.json(head, decoded);
        let mut fields = head.fields.clone();
        for name in [CONTENT_LENGTH, X_REQUEST_ID] {
            fields.remove(name);
        }
        self.settle_coding(&mut fields, decoded);
        if json != Json::No {
            drop_digests(&mut fields);
            if let Some(etag) = fields.get(ETAG).map(weakened) {
                fields.insert(ETAG, etag);
            }
        }
        Streaming {
            status: head.status,
            first,
            rest,
            json,
            patience: self.ask.snapshot.config.upstream.request_timeout,
            upstream_request_id: upstream_request_id(&head.fields),
            fields,
        }
    }

    /// Whether the links of a body that passes are looked for.
    fn json(&self, head: &Head, decoded: bool) -> Json {
        let is_coded = head.fields.contains_key(CONTENT_ENCODING) && !decoded;
        if self.must_be_json(head.status) {
            Json::Must
        } else if says_json(&head.fields) && !is_coded && !self.stays_as_it_is(head) {
            Json::Said
        } else {
            Json::No
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
            let (credential, endpoint) = (self.ask.permit.credential(), &self.ask.permit.endpoint().name);
            if self.ask.origin.proofs.invalidate(endpoint, self.proxy.clock.now().monotonic) {
                self.proxy.shelf.forget_instances(&credential.key, endpoint);
            }
            let tenant = &self.ask.permit.tenant().label;
            tracing::error!(%tenant, detail, "an answer was withheld: it can't be shown to be the tenant's alone");
        } else if let Rejection::AccountScopeUnproven(_) = rejection {
            metrics.upstream_error("account_scope_unproven");
        } else if let Rejection::TokenRejected(_) = rejection {
            // Whoever may not see it any more is not shown it from memory either.
            self.refuse();
        }
    }
}
