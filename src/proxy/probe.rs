//! Asks Talkdesk for the records of an account that does not exist, before an Instance on its Organization's credential is
//! shown its own.
//!
//! A page without records is the proof that Talkdesk narrows. So is a 403, if the Instance's own request succeeds with the
//! same token: then it was the account that was refused. Records, counts of records, and any other answer mean that
//! Talkdesk does not narrow by this filter, and the Instance gets nothing. Where the same request fails for both (a path
//! that does not exist, a filter that Talkdesk refuses), the Instance is shown its own error: an error has no records.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use hyper::body::Incoming;
use serde_json::Value;

use super::Proxy;
use super::ask::{Ask, upstream_target};
use super::giveaway::Giveaway;
use super::narrowing::{PROVEN_FOR, Slot, State};
use super::origin::{Errand, Sent};
use super::receive::{Received, Receiving};
use super::rejection::Rejection;
use super::store::Fetch;
use crate::domain::endpoint::{Content, Narrowing};
use crate::domain::query;
use crate::inspect::{Count, Inspection, inspect};
use crate::limit::gate::Waiter;
use crate::links;

/// How long after an answer that disproves it Talkdesk is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// What the answer for an account that does not exist shows.
pub(super) enum ProbeResult {
    /// A page without records.
    Narrows,
    /// A 403, with the token of this number.
    Refused(u64),
    /// Another error that the Instance's own request may well have too.
    Failed(StatusCode),
    /// Anything else; the text says what.
    DoesNotNarrow(String),
}

/// What is proven for a request, and what its own answer has to show yet.
pub(super) struct Proof {
    slot: Arc<Slot>,
    pending: Option<Pending>,
}

#[derive(Clone, Copy)]
enum Pending {
    /// It must succeed with the token of this number.
    Refused(u64),
    /// It must fail too.
    Failed(StatusCode),
}

/// Whether a request that was answered with another token has to be asked once more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    Fits,
    AnotherToken,
}

/// Asks for the records of an account that does not exist, as whoever may make this request.
///
/// # Errors
/// A [`Rejection`] where Talkdesk could not be asked.
pub(super) async fn probe(
    proxy: &Proxy,
    ask: &Ask,
    narrowing: &Narrowing,
    deadline: Instant,
) -> Result<ProbeResult, Rejection> {
    Fetch::new(proxy, ask, Waiter::Background).probe(narrowing, deadline).await
}

impl Fetch<'_> {
    /// Makes sure that Talkdesk narrows, where this request needs it.
    ///
    /// # Errors
    /// [`Rejection::AccountScopeUnproven`] where it does not; another [`Rejection`] where it could not be asked.
    pub(super) async fn prove_narrowing(&self, deadline: Instant) -> Result<(), Rejection> {
        let permit = &self.ask.permit;
        let (Some(_), Content::Records(narrowing)) = (permit.account_scope(), &permit.endpoint().content)
        else {
            return Ok(());
        };
        let slot = self.ask.origin.narrowings.slot(permit, narrowing);
        let pending = self.pending(&slot, narrowing, deadline).await?;
        *self.proof() = Some(Proof { slot, pending });
        Ok(())
    }

    async fn pending(
        &self,
        slot: &Slot,
        narrowing: &Narrowing,
        deadline: Instant,
    ) -> Result<Option<Pending>, Rejection> {
        if let Some(known) = self.known(slot) {
            return known;
        }
        let waiting = self.proxy.clock.timeout_at(deadline, slot.probing.lock());
        let _probing = waiting.await.map_err(|_| Rejection::UpstreamTimeout)?;
        // Another request may have asked meanwhile.
        if let Some(known) = self.known(slot) {
            return known;
        }
        let result = self.probe(narrowing, deadline).await?;
        let now = self.proxy.clock.now();
        match result {
            ProbeResult::Narrows => {
                slot.set(State::Proven { until: now.after(PROVEN_FOR) });
                self.show_unproven();
                Ok(None)
            }
            ProbeResult::Refused(token) => {
                let until = now.after(self.ask.snapshot.config.upstream.request_timeout);
                slot.set(State::Refused { token, until });
                Ok(Some(Pending::Refused(token)))
            }
            ProbeResult::Failed(status) => Ok(Some(Pending::Failed(status))),
            ProbeResult::DoesNotNarrow(reason) => {
                self.disproven(slot, &reason);
                Err(self.unproven(slot, &reason, ASK_AGAIN_AFTER))
            }
        }
    }

    /// Holds the head of the Instance's own answer against what was answered for nobody.
    ///
    /// # Errors
    /// [`Rejection::AccountScopeUnproven`] for an answer that must not be shown.
    pub(super) fn hold_against_proof(&self, own: &Sent) -> Result<Held, Rejection> {
        let mut proof = self.proof();
        let Some(Proof { slot, pending: Some(pending) }) = proof.as_mut() else { return Ok(Held::Fits) };
        let (slot, pending, status) = (Arc::clone(slot), *pending, own.response.status());
        let is_error = status.is_client_error() || status.is_server_error();
        match pending {
            Pending::Refused(token) if is_error || own.token_number != token => {
                // What the refusal meant is not known, and is not taken for known later.
                slot.settle_refusal(token, State::Unknown);
                *proof = None;
                Ok(if is_error { Held::Fits } else { Held::AnotherToken })
            }
            Pending::Refused(_) => Ok(Held::Fits),
            Pending::Failed(_) if is_error => {
                *proof = None;
                Ok(Held::Fits)
            }
            Pending::Failed(for_nobody) => {
                let reason = format!(
                    "asked for an account that does not exist, it answered {}, and to the same request for an account \
                     that does {}",
                    for_nobody.as_u16(),
                    status.as_u16()
                );
                Err(self.unproven(&slot, &reason, Duration::ZERO))
            }
        }
    }

    /// Takes the Instance's own answer, which has passed the account check, for the rest of the proof.
    ///
    /// # Errors
    /// [`Rejection::AccountScopeUnproven`] where Talkdesk was shown meanwhile not to narrow.
    pub(super) fn complete_proof(&self) -> Result<(), Rejection> {
        let proof = self.proof().take();
        let Some(Proof { slot, pending }) = proof else { return Ok(()) };
        let now = self.proxy.clock.now();
        if let Some(Pending::Refused(token)) = pending {
            slot.settle_refusal(token, State::Proven { until: now.after(PROVEN_FOR) });
            self.show_unproven();
        }
        match (slot.state(), pending) {
            (State::Unproven { reason, retry_at }, _) => {
                Err(self.unproven(&slot, &reason, now.until(retry_at)))
            }
            (State::Unknown, Some(_)) => {
                Err(self.unproven(&slot, "what it answered meanwhile is in doubt", Duration::ZERO))
            }
            (State::Unknown, None) | (State::Refused { .. } | State::Proven { .. }, _) => Ok(()),
        }
    }

    /// What is known now; none where Talkdesk has to be asked.
    fn known(&self, slot: &Slot) -> Option<Result<Option<Pending>, Rejection>> {
        let now = self.proxy.clock.now();
        match slot.state() {
            State::Proven { until } if now.monotonic < until => Some(Ok(None)),
            State::Refused { token, until } if now.monotonic < until => {
                Some(Ok(Some(Pending::Refused(token))))
            }
            State::Unproven { reason, retry_at } if now.monotonic < retry_at => {
                Some(Err(self.unproven(slot, &reason, now.until(retry_at))))
            }
            State::Unknown | State::Refused { .. } | State::Proven { .. } | State::Unproven { .. } => None,
        }
    }

    fn disproven(&self, slot: &Slot, reason: &str) {
        let retry_at = self.proxy.clock.now().after(ASK_AGAIN_AFTER);
        slot.set(State::Unproven { reason: reason.into(), retry_at });
        let permit = &self.ask.permit;
        // What was stored for Instances while it narrowed, or seemed to.
        self.proxy.shelf.forget_instances(&permit.credential().key, &permit.endpoint().name);
        self.show_unproven();
        tracing::error!(
            organization = %permit.credential().owner,
            endpoint = %permit.endpoint().name,
            filter = slot.narrowing.filter.as_str(),
            with_own_filter = slot.has_own_filter,
            reason,
            "Talkdesk does not narrow to an account by this filter: Instances of the Organization get no data"
        );
    }

    fn show_unproven(&self) {
        let endpoint = &self.ask.permit.endpoint().name;
        let unproven = self.ask.origin.narrowings.unproven().iter().any(|one| one.endpoint == *endpoint);
        let owner = self.ask.permit.credential().owner.to_string();
        self.proxy.metrics.account_scope_unproven(&owner, endpoint, unproven);
    }

    fn unproven(&self, slot: &Slot, reason: &str, retry_in: Duration) -> Rejection {
        let endpoint = &self.ask.permit.endpoint().name;
        Rejection::AccountScopeUnproven(slot.unproven(endpoint, reason, retry_in))
    }

    /// Asks for the records of an account that does not exist.
    async fn probe(&self, narrowing: &Narrowing, deadline: Instant) -> Result<ProbeResult, Rejection> {
        let Ask { permit, snapshot, origin, away, .. } = self.ask;
        let has_own_filter = permit.own_filter().is_some();
        let permit = permit.for_nobody(narrowing);
        let mut fields = HeaderMap::new();
        fields.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let sent = origin
            .send(&Errand {
                permit: &permit,
                target: upstream_target(&permit).as_ref(),
                method: &Method::GET,
                body: &Bytes::new(),
                fields: &fields,
                waiter: self.waiter.clone(),
                deadline,
                patience: snapshot.config.upstream.request_timeout / 2,
                // A pause that Talkdesk asks for is none of the answers that are looked at below.
                plain: false,
                away,
                endpoint_metrics: snapshot.endpoint_metrics(Some(permit.endpoint().position)),
                tenant_metrics: snapshot.tenant_metrics(&permit.tenant().name),
            })
            .await?;
        let status = sent.response.status();
        match status {
            StatusCode::OK => {
                let reading = self.read_probe(sent.response);
                let body = self.proxy.clock.timeout_at(deadline, reading).await;
                let body = body.unwrap_or(Err(Rejection::UpstreamTimeout))?;
                let page: Value = serde_json::from_slice(&body).map_err(|error| {
                    Rejection::UpstreamProtocolError(format!("its body is not JSON ({error})"))
                })?;
                Ok(match inspect(&body, &origin.links, permit.account_scope()) {
                    Ok(inspection) => shown_by(&inspection, &page),
                    Err(unfit) => does_not_narrow(&unfit.to_string()),
                })
            }
            StatusCode::FORBIDDEN => Ok(ProbeResult::Refused(sent.token_number)),
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(ProbeResult::Failed(status)),
            _ if status.is_client_error() && has_own_filter => Ok(ProbeResult::Failed(status)),
            _ if status.is_server_error() => Err(Rejection::UpstreamProtocolError(format!(
                "asked whether it narrows to an account, it answered {}",
                status.as_u16()
            ))),
            _ => Ok(does_not_narrow(&format!("it answered {}", status.as_u16()))),
        }
    }

    async fn read_probe(&self, response: http::Response<Incoming>) -> Result<Bytes, Rejection> {
        let limit = self.ask.snapshot.config.cache.max_entry_bytes;
        let giveaway = Giveaway::of(&response);
        let (head, body) = response.into_parts();
        let ends_openly = head.version == http::Version::HTTP_2;
        match Receiving::new(&head.headers, body, limit, false, giveaway, ends_openly)?.read(limit).await? {
            Received::Whole(body) => Ok(body),
            Received::Part(_) => Err(Rejection::UpstreamResponseTooLarge { limit }),
        }
    }

    /// An Instance may follow the links of its own pages, whatever parameters Talkdesk puts into them. What could be an
    /// echo of the request is not Talkdesk's.
    pub(super) fn learn_link_parameters(&self, inspection: &Inspection, body: &[u8]) {
        let permit = &self.ask.permit;
        let Some(scope) = permit.account_scope().filter(|_| inspection.page.is_page) else { return };
        let (_, own_query) = permit.path_and_query().split_once('?').unwrap_or_default();
        let own_values: Vec<_> = query::parameters(own_query).map(|one| one.value().into_owned()).collect();
        let allowed = &self.ask.snapshot.config.policy.instance_query_parameters;
        for url in links::urls(body, &inspection.links) {
            let target = &url[self.ask.origin.links.length_in(url.as_bytes()).unwrap_or_default()..];
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            if path != permit.path() {
                continue;
            }
            let query = query.split('#').next().unwrap_or_default();
            for parameter in query::parameters(query).filter(|one| !allowed.contains(&*one.name())) {
                let name = parameter.name();
                if own_values.iter().all(|value| !value.contains(&*name)) {
                    let (credential, endpoint) = (&permit.credential().key, &permit.endpoint().name);
                    self.proxy.learned.learn_link_parameter(credential, scope.account, endpoint, &parameter);
                }
            }
        }
    }
}

fn does_not_narrow(how: &str) -> ProbeResult {
    ProbeResult::DoesNotNarrow(format!("asked for an account that does not exist: {how}"))
}

/// What a page shows that has no record of another account: it must not count any either.
fn shown_by(inspection: &Inspection, page: &Value) -> ProbeResult {
    let counts = &inspection.counts;
    let is_none = |count: Count, most: u64| match count {
        Count::Absent => true,
        Count::Number(number) => number <= most,
        Count::Unreadable => false,
    };
    if !inspection.page.is_page {
        return does_not_narrow("the answer is no page");
    }
    if inspection.page.records > 0 {
        return does_not_narrow("the answer has records");
    }
    let counts_none = page.as_object().into_iter().flatten().all(|(name, value)| {
        let is_count = name == "count" || (name.contains("total") && name != "total_pages");
        !is_count || value.as_f64().is_none_or(|number| number == 0.0)
    });
    if !counts_none || !is_none(counts.total, 0) || !is_none(counts.total_pages, 1) {
        return does_not_narrow("the answer counts records");
    }
    let leads_to = |name: &str| {
        let links = [&page["_links"][name]["href"], &page[name]["href"]];
        links.into_iter().find_map(Value::as_str).map(str::to_owned)
    };
    let last_page = leads_to("last").and_then(|last| {
        let (_, query) = last.split_once('?')?;
        query::parameters(query).find(|one| one.is("page"))?.text()?.parse::<u64>().ok()
    });
    if leads_to("next").is_some() || last_page.is_some_and(|page| page > 1) {
        return does_not_narrow("the answer links to more pages");
    }
    ProbeResult::Narrows
}
