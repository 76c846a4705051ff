//! Probes whether Talkdesk narrows: asks for the records of an account that does not exist, before records are fetched for
//! an Instance on its Organization's credential.
//!
//! | answer to the probe | result |
//! |---|---|
//! | 200, a page without records, counts, or links to more pages | Talkdesk narrows |
//! | 403 | it narrows, if the Instance's request succeeds with the same token |
//! | 404, 410; with a filter of the client any 4xx but 403 and 429 | unknown: an error is passed on, a success is withheld |
//! | 429, 5xx, a body that is not JSON | unknown: the request fails |
//! | anything else | it does not narrow |

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::Value;

use super::fetch_context::FetchContext;
use super::fetch_request::{FetchRequest, upstream_target};
use super::response_body::ResponseBody;
use crate::domain::endpoint::{Content, Narrowing};
use crate::domain::query;
use crate::limit::gate::Waiter;
use crate::page::links;
use crate::page::{self, AccountViolation, Count, PageContent, Unfit};
use crate::problem::Rejection;
use crate::upstream::origin::{UpstreamRequest, UpstreamResponse};
use crate::upstream::proofs::{PROVEN_FOR, ProofSlot, ProofState};

/// How long after a disproof the next request probes again.
const ASK_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// The result of a probe.
pub(crate) enum ProbeResult {
    /// A page without records.
    Narrows,
    /// A 403, with the token of this number.
    Refused(u64),
    /// Another error, which the Instance's request may have as well.
    Failed(StatusCode),
    /// Anything else; the text says what.
    DoesNotNarrow(String),
}

/// The proof that a request relies on, and what its answer must still confirm.
struct Proof {
    slot: Arc<ProofSlot>,
    pending: Option<AwaitedConfirmation>,
}

#[derive(Clone, Copy)]
enum AwaitedConfirmation {
    /// The probe got 403: the request must succeed with the token of this number.
    Refused(u64),
    /// The probe got this error: a success is withheld.
    Failed(StatusCode),
}

/// How an answer compares with the probe's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ProbeCheck {
    Passed,
    /// Another token was used, so probe and request must be sent again.
    TokenChanged,
}

/// Probes an endpoint for whoever may make this request.
///
/// # Errors
/// A [`Rejection`] where Talkdesk could not be asked.
pub(crate) async fn probe(
    context: &FetchContext,
    request: &FetchRequest,
    narrowing: &Narrowing,
    deadline: Instant,
) -> Result<ProbeResult, Rejection> {
    ScopeProof::new(context, request, Waiter::Background).probe(narrowing, deadline).await
}

/// The proof that a fetch relies on.
pub(super) struct ScopeProof<'a> {
    context: &'a FetchContext,
    request: &'a FetchRequest,
    waiter: Waiter,
    proof: Mutex<Option<Proof>>,
}

impl<'a> ScopeProof<'a> {
    pub(super) fn new(context: &'a FetchContext, request: &'a FetchRequest, waiter: Waiter) -> Self {
        Self { context, request, waiter, proof: Mutex::default() }
    }

    fn proof(&self) -> MutexGuard<'_, Option<Proof>> {
        self.proof.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that Talkdesk narrows, where this request needs it.
    ///
    /// # Errors
    /// [`Rejection::AccountScopeUnproven`] where it does not; another [`Rejection`] where it could not be asked.
    pub(super) async fn prove_narrowing(&self, deadline: Instant) -> Result<(), Rejection> {
        let permit = &self.request.permit;
        let (Some(_), Content::Records(narrowing)) = (permit.account_scope(), &permit.endpoint().content)
        else {
            return Ok(());
        };
        let slot = self.request.origin.proofs.slot(permit, narrowing);
        let pending = self.ensure_proven(&slot, narrowing, deadline).await?;
        *self.proof() = Some(Proof { slot, pending });
        Ok(())
    }

    async fn ensure_proven(
        &self,
        slot: &ProofSlot,
        narrowing: &Narrowing,
        deadline: Instant,
    ) -> Result<Option<AwaitedConfirmation>, Rejection> {
        if let Some(known) = self.known(slot) {
            return known;
        }
        let waiting = self.context.clock.timeout_at(deadline, slot.probing.lock());
        let _probing = waiting.await.map_err(|_| Rejection::UpstreamTimeout)?;
        // Another request may have probed meanwhile.
        if let Some(known) = self.known(slot) {
            return known;
        }
        let result = self.probe(narrowing, deadline).await?;
        let now = self.context.clock.now();
        match result {
            ProbeResult::Narrows => {
                let _ = slot.set(ProofState::Proven { until: now.after(PROVEN_FOR) });
                self.update_unproven_metric();
                Ok(None)
            }
            ProbeResult::Refused(token) => {
                let until = now.after(self.request.snapshot.config.upstream.request_timeout);
                let _ = slot.set(ProofState::Refused { token, until });
                Ok(Some(AwaitedConfirmation::Refused(token)))
            }
            ProbeResult::Failed(status) => Ok(Some(AwaitedConfirmation::Failed(status))),
            ProbeResult::DoesNotNarrow(reason) => {
                self.record_disproof(slot, &reason);
                Err(self.unproven(slot, &reason, ASK_AGAIN_AFTER))
            }
        }
    }

    /// Compares the status of the Instance's answer with the probe's.
    ///
    /// # Errors
    /// [`Rejection::AccountScopeUnproven`] for an answer that must not be shown.
    pub(super) fn check_against_probe(&self, own: &UpstreamResponse) -> Result<ProbeCheck, Rejection> {
        let mut proof = self.proof();
        let Some(Proof { slot, pending: Some(pending) }) = proof.as_mut() else {
            return Ok(ProbeCheck::Passed);
        };
        let (slot, pending, status) = (Arc::clone(slot), *pending, own.response.status());
        let is_error = status.is_client_error() || status.is_server_error();
        match pending {
            AwaitedConfirmation::Refused(token) if is_error || own.token_number != token => {
                // Whether the 403 was about the account stays unknown; the next request probes again.
                slot.resolve_refusal(token, ProofState::Unknown);
                *proof = None;
                Ok(if is_error { ProbeCheck::Passed } else { ProbeCheck::TokenChanged })
            }
            AwaitedConfirmation::Refused(_) => Ok(ProbeCheck::Passed),
            AwaitedConfirmation::Failed(_) if is_error => {
                *proof = None;
                Ok(ProbeCheck::Passed)
            }
            AwaitedConfirmation::Failed(for_nobody) => {
                let reason = format!(
                    "it answered {} for an account that does not exist, but {} for the Instance's own",
                    for_nobody.as_u16(),
                    status.as_u16()
                );
                Err(self.unproven(&slot, &reason, Duration::ZERO))
            }
        }
    }

    /// Completes a pending proof: the Instance's answer has passed the account check.
    ///
    /// # Errors
    /// [`Rejection::AccountScopeUnproven`] where the narrowing was disproven meanwhile.
    pub(super) fn complete(&self, status: StatusCode) -> Result<(), Rejection> {
        let is_scoped = self.request.permit.account_scope().is_some();
        if !is_scoped || status.is_client_error() || status.is_server_error() {
            return Ok(());
        }
        let Some(Proof { slot, pending }) = self.proof().take() else { return Err(Rejection::Internal) };
        let now = self.context.clock.now();
        if let Some(AwaitedConfirmation::Refused(token)) = pending {
            slot.resolve_refusal(token, ProofState::Proven { until: now.after(PROVEN_FOR) });
            self.update_unproven_metric();
        }
        match slot.state() {
            ProofState::Proven { .. } => Ok(()),
            // The proof that this request relies on has ended meanwhile, and another request renews it.
            ProofState::Refused { .. } if pending.is_none() => Ok(()),
            ProofState::Unproven { reason, retry_at } => {
                Err(self.unproven(&slot, &reason, now.until(retry_at)))
            }
            ProofState::Unknown | ProofState::Refused { .. } => Err(self.unproven(
                &slot,
                "another answer contradicted the proof while this request was running",
                Duration::ZERO,
            )),
        }
    }

    /// The state as it is known; `None` if a probe is needed.
    fn known(&self, slot: &ProofSlot) -> Option<Result<Option<AwaitedConfirmation>, Rejection>> {
        let now = self.context.clock.now();
        match slot.state() {
            ProofState::Proven { until } if now.monotonic < until => Some(Ok(None)),
            ProofState::Refused { token, until } if now.monotonic < until => {
                Some(Ok(Some(AwaitedConfirmation::Refused(token))))
            }
            ProofState::Unproven { reason, retry_at } if now.monotonic < retry_at => {
                Some(Err(self.unproven(slot, &reason, now.until(retry_at))))
            }
            ProofState::Unknown
            | ProofState::Refused { .. }
            | ProofState::Proven { .. }
            | ProofState::Unproven { .. } => None,
        }
    }

    fn record_disproof(&self, slot: &ProofSlot, reason: &str) {
        let retry_at = self.context.clock.now().after(ASK_AGAIN_AFTER);
        let before = slot.set(ProofState::Unproven { reason: reason.into(), retry_at });
        let permit = &self.request.permit;
        // Entries stored for Instances may describe other accounts. A client's filter that was
        // never proven has none; forgetting would let a client empty the cache with a filter of its choice.
        if !slot.has_client_filter || matches!(before, ProofState::Proven { .. }) {
            self.context.cache.forget_instances(&permit.credential().key, &permit.endpoint().name);
        }
        self.update_unproven_metric();
        let (owner, endpoint) = (&permit.credential().owner, &permit.endpoint().name);
        let filter = slot.narrowing.filter.as_str();
        if slot.has_client_filter {
            tracing::warn!(organization = %owner, %endpoint, filter, reason, "Talkdesk does not narrow this endpoint when a client's filter is added: requests with such a filter are refused");
        } else {
            tracing::error!(organization = %owner, %endpoint, filter, reason, "Talkdesk does not narrow this endpoint by upstream.account_filter: Instances of the Organization get no data from it");
        }
    }

    fn update_unproven_metric(&self) {
        let endpoint = &self.request.permit.endpoint().name;
        let unproven = self.request.origin.proofs.unproven().iter().any(|one| one.endpoint == *endpoint);
        let owner = self.request.permit.credential().owner.to_string();
        self.context.metrics.account_scope_unproven(&owner, endpoint, unproven);
    }

    fn unproven(&self, slot: &ProofSlot, reason: &str, retry_in: Duration) -> Rejection {
        let endpoint = &self.request.permit.endpoint().name;
        Rejection::AccountScopeUnproven(slot.unproven(endpoint, reason, retry_in))
    }

    /// Sends the probe.
    async fn probe(&self, narrowing: &Narrowing, deadline: Instant) -> Result<ProbeResult, Rejection> {
        let FetchRequest { permit, snapshot, origin, timer, .. } = self.request;
        let has_client_filter = permit.client_filter().is_some();
        let permit = permit.probe(narrowing);
        let mut fields = HeaderMap::new();
        fields.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let sent = origin
            .send(&UpstreamRequest {
                permit: &permit,
                target: upstream_target(&permit).as_ref(),
                fields: &fields,
                waiter: self.waiter.clone(),
                deadline,
                min_timeout: snapshot.config.upstream.request_timeout / 2,
                timer,
                endpoint_metrics: snapshot.endpoint_metrics(Some(permit.endpoint().position)),
                tenant_metrics: snapshot.tenant_metrics(&permit.tenant().name),
            })
            .await?;
        let status = sent.response.status();
        match status {
            StatusCode::OK => {
                let limit = snapshot.config.cache.max_entry_bytes;
                let reading = ResponseBody::read(sent.response, limit, &self.context.read_budget);
                let body = self.context.clock.timeout_at(deadline, reading).await;
                let body = body.unwrap_or(Err(Rejection::UpstreamTimeout))?;
                let body = body.bytes();
                let json = page::without_byte_order_mark(body);
                let page: Value = serde_json::from_slice(json).map_err(|error| {
                    Rejection::UpstreamProtocolError(format!("its body is not JSON ({error})"))
                })?;
                Ok(match page::read(body, &origin.links, permit.account_scope()) {
                    Ok(page_content) => probe_result_of(&page_content, &page),
                    Err(Unfit::AccountViolation(AccountViolation::Elsewhere)) => {
                        does_not_narrow("it answered with data outside of its records")
                    }
                    Err(_) => does_not_narrow("it answered with records"),
                })
            }
            StatusCode::FORBIDDEN => Ok(ProbeResult::Refused(sent.token_number)),
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(ProbeResult::Failed(status)),
            _ if status.is_client_error() && has_client_filter => Ok(ProbeResult::Failed(status)),
            _ if status.is_server_error() => Err(Rejection::UpstreamProtocolError(format!(
                "asked whether it narrows to an account, it answered {}",
                status.as_u16()
            ))),
            _ => Ok(does_not_narrow(&format!("it answered {}", status.as_u16()))),
        }
    }

    /// Allows the Instance the parameters of links in its own answers. A parameter whose name occurs in a value of the
    /// request is skipped: a client could have put it there.
    pub(super) fn learn_link_parameters(&self, page_content: &PageContent, body: &[u8]) {
        let permit = &self.request.permit;
        let Some(scope) = permit.account_scope().filter(|_| page_content.page.is_page) else { return };
        let (_, own_query) = permit.path_and_query().split_once('?').unwrap_or_default();
        let own_values: Vec<_> = query::parameters(own_query).map(|one| one.value().into_owned()).collect();
        let allowed = &self.request.snapshot.config.policy.instance_query_parameters;
        for url in links::urls(body, &page_content.links) {
            let target = &url[self.request.origin.links.length_in(url.as_bytes()).unwrap_or_default()..];
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            if path != permit.path() {
                continue;
            }
            let query = query.split('#').next().unwrap_or_default();
            for parameter in query::parameters(query).filter(|one| !allowed.contains(&*one.name())) {
                let name = parameter.name();
                if own_values.iter().all(|value| !value.contains(&*name)) {
                    let (credential, endpoint) = (&permit.credential().key, &permit.endpoint().name);
                    self.context.learned.learn_link_parameter(
                        credential,
                        scope.account,
                        endpoint,
                        &parameter,
                    );
                }
            }
        }
    }
}

fn does_not_narrow(how: &str) -> ProbeResult {
    ProbeResult::DoesNotNarrow(format!("for an account that does not exist, {how}"))
}

/// A page without records must not reveal their number either: its counts are 0, and it links to no other page.
fn probe_result_of(page_content: &PageContent, page: &Value) -> ProbeResult {
    let counts = &page_content.counts;
    let is_none = |count: Count, most: u64| match count {
        Count::Absent => true,
        Count::Number(number) => number <= most,
        Count::Unreadable => false,
    };
    if !page_content.page.is_page {
        return does_not_narrow("it did not answer with a page");
    }
    if page_content.page.records > 0 {
        return does_not_narrow("it answered with records");
    }
    let counts_none = page.as_object().into_iter().flatten().all(|(name, value)| {
        let is_count = name == "count" || (name.contains("total") && name != "total_pages");
        !is_count || value.as_f64().is_none_or(|number| number == 0.0)
    });
    if !counts_none || !is_none(counts.total, 0) || !is_none(counts.total_pages, 1) {
        return does_not_narrow("it counted records");
    }
    let link = |name: &str| {
        let links = [&page["_links"][name]["href"], &page[name]["href"]];
        links.into_iter().find_map(Value::as_str).map(str::to_owned)
    };
    let last_page = link("last").and_then(|last| {
        let (_, query) = last.split_once('?')?;
        query::parameters(query).find(|one| one.is("page"))?.text()?.parse::<u64>().ok()
    });
    if link("next").is_some() || last_page.is_some_and(|page| page > 1) {
        return does_not_narrow("it linked to more pages");
    }
    ProbeResult::Narrows
}
