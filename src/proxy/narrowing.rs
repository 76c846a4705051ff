//! Proof that Talkdesk narrows to an account by `filter`, before an Instance on its Organization's credential is shown
//! anything.
//!
//! Were the filter ignored, an answer would tell an Instance about others even where it has none of their records: its
//! counts and links would be those of the whole Organization. So each credential and endpoint is asked, once and then
//! daily, for the records of an account that does not exist. A page without records is the proof. So is a 403, if the
//! Instance's own request is answered with the same token: then it was the account that was refused. Records, and any
//! other answer, mean that Talkdesk does not narrow by this filter.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use hyper::body::Incoming;

use super::Proxy;
use super::ask::{Ask, upstream_target};
use super::giveaway::Giveaway;
use super::origin::{Errand, Sent};
use super::receive::{Received, Receiving};
use super::rejection::{Rejection, Unproven};
use super::store::Fetch;
use crate::domain::endpoint::{Content, Narrowing};
use crate::domain::query;
use crate::inspect::{Count, Inspection, Unfit, inspect};
use crate::limit::gate::Waiter;
use crate::links;

/// How long a proof holds.
const PROVEN_FOR: Duration = Duration::from_hours(24);

/// How long after an answer that disproves it Talkdesk is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// What is known of one credential, by the name of the endpoint.
#[derive(Default)]
pub struct Narrowings(Mutex<HashMap<Arc<str>, Arc<Slot>>>);

struct Slot {
    narrowing: Narrowing,
    state: Mutex<State>,
    /// Held while Talkdesk is asked, so that it is asked once.
    probing: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug, Default)]
enum State {
    #[default]
    Unknown,
    /// The account that does not exist was refused with 403, with the token of this number.
    Refused {
        token: u64,
    },
    Proven {
        until: Instant,
    },
    Unproven {
        reason: Arc<str>,
        retry_at: Instant,
    },
}

/// What the answer for an account that does not exist shows.
pub(super) enum ProbeResult {
    /// A page without records.
    Narrows,
    /// A 403, with the token of this number.
    Refused { token: u64 },
    /// Anything else; the text says what.
    DoesNotNarrow(String),
}

impl Narrowings {
    /// The endpoints that are known not to be narrowed, by their names.
    #[must_use]
    pub fn unproven(&self) -> Vec<Unproven> {
        let slots = self.slots();
        let unproven = slots.iter().filter_map(|(endpoint, slot)| match &*slot.state() {
            State::Unproven { reason, .. } => Some(slot.not_proven(endpoint, reason, Duration::ZERO)),
            State::Unknown | State::Refused { .. } | State::Proven { .. } => None,
        });
        let mut unproven: Vec<_> = unproven.collect();
        unproven.sort_by_key(|one| Arc::clone(&one.endpoint));
        unproven
    }

    /// Forgets what is known of an endpoint: an answer contradicts it.
    pub fn doubt(&self, endpoint: &str) {
        if let Some(slot) = self.slots().get(endpoint) {
            *slot.state() = State::Unknown;
        }
    }

    /// What is known of an endpoint. A narrowing that is configured differently is another one.
    fn slot(&self, endpoint: &Arc<str>, narrowing: &Narrowing) -> Arc<Slot> {
        let mut slots = self.slots();
        let slot = slots.entry(Arc::clone(endpoint)).or_insert_with(|| Arc::new(Slot::new(narrowing)));
        if slot.narrowing != *narrowing {
            *slot = Arc::new(Slot::new(narrowing));
        }
        Arc::clone(slot)
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Slot>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn new(narrowing: &Narrowing) -> Self {
        Self { narrowing: narrowing.clone(), state: Mutex::default(), probing: tokio::sync::Mutex::default() }
    }

    fn not_proven(&self, endpoint: &Arc<str>, reason: &str, retry_in: Duration) -> Unproven {
        Unproven {
            endpoint: Arc::clone(endpoint),
            filter: self.narrowing.filter.as_str().into(),
            reason: reason.into(),
            retry_in,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An account that does not exist was refused; the Instance's own answer decides what that means.
pub(super) struct PendingProof {
    slot: Arc<Slot>,
    token: u64,
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
    pub(super) async fn prove_narrowing(&self, deadline: Instant) -> Result<Option<PendingProof>, Rejection> {
        let permit = &self.ask.permit;
        let (Some(_), Content::Records(narrowing)) = (permit.account_scope(), &permit.endpoint().content)
        else {
            return Ok(None);
        };
        let slot = self.ask.origin.narrowings.slot(&permit.endpoint().name, narrowing);
        if let Some(known) = self.known(&slot) {
            return known;
        }
        let waiting = self.proxy.clock.timeout_at(deadline, slot.probing.lock());
        let _probing = waiting.await.map_err(|_| Rejection::UpstreamTimeout)?;
        // Another request may have asked meanwhile.
        if let Some(known) = self.known(&slot) {
            return known;
        }
        match self.probe(narrowing, deadline).await? {
            ProbeResult::Narrows => self.proven(&slot),
            ProbeResult::Refused { token } => *slot.state() = State::Refused { token },
            ProbeResult::DoesNotNarrow(reason) => self.unproven(&slot, &reason),
        }
        self.known(&slot).unwrap_or(Ok(None))
    }

    /// Holds the Instance's own answer against a refusal of the account that does not exist.
    ///
    /// # Errors
    /// [`Rejection::AccountScopeUnproven`] for an answer that proves nothing; it must not be shown.
    pub(super) async fn settle_proof(
        &self,
        pending: Option<PendingProof>,
        own: &Sent,
        deadline: Instant,
    ) -> Result<(), Rejection> {
        let Some(PendingProof { slot, token }) = pending else { return Ok(()) };
        match own.response.status() {
            StatusCode::OK | StatusCode::NOT_MODIFIED if own.token_number == token => self.proven(&slot),
            // The refusal may have been the other token's.
            StatusCode::OK | StatusCode::NOT_MODIFIED => match self.probe(&slot.narrowing, deadline).await? {
                ProbeResult::Narrows => self.proven(&slot),
                ProbeResult::Refused { token } if token == own.token_number => self.proven(&slot),
                ProbeResult::Refused { .. } => {
                    *slot.state() = State::Unknown;
                    return Err(self.rejection(
                        &slot,
                        "the token changed while it was asked",
                        Duration::ZERO,
                    ));
                }
                ProbeResult::DoesNotNarrow(reason) => {
                    self.unproven(&slot, &reason);
                    return Err(self.rejection(&slot, &reason, ASK_AGAIN_AFTER));
                }
            },
            StatusCode::FORBIDDEN => {}
            status => {
                let reason =
                    format!("the account was refused, and then the request answered {}", status.as_u16());
                return Err(self.rejection(&slot, &reason, Duration::ZERO));
            }
        }
        Ok(())
    }

    /// What is known now; none where Talkdesk has to be asked.
    fn known(&self, slot: &Arc<Slot>) -> Option<Result<Option<PendingProof>, Rejection>> {
        let now = self.proxy.clock.now();
        match slot.state().clone() {
            State::Proven { until } if now.monotonic < until => Some(Ok(None)),
            State::Unproven { reason, retry_at } if now.monotonic < retry_at => {
                Some(Err(self.rejection(slot, &reason, now.until(retry_at))))
            }
            State::Refused { token } => Some(Ok(Some(PendingProof { slot: Arc::clone(slot), token }))),
            State::Unknown | State::Proven { .. } | State::Unproven { .. } => None,
        }
    }

    fn proven(&self, slot: &Slot) {
        *slot.state() = State::Proven { until: self.proxy.clock.now().after(PROVEN_FOR) };
        self.count_unproven(false);
    }

    fn unproven(&self, slot: &Slot, reason: &str) {
        let retry_at = self.proxy.clock.now().after(ASK_AGAIN_AFTER);
        *slot.state() = State::Unproven { reason: reason.into(), retry_at };
        self.count_unproven(true);
        let permit = &self.ask.permit;
        // What was stored for Instances while it narrowed, or seemed to.
        self.proxy.shelf.forget_instances(&permit.credential().key, &permit.endpoint().name);
        tracing::error!(
            organization = %permit.credential().owner,
            endpoint = %permit.endpoint().name,
            filter = slot.narrowing.filter.as_str(),
            reason,
            "Talkdesk does not narrow to an account by this filter: Instances of the Organization get no data"
        );
    }

    fn count_unproven(&self, unproven: bool) {
        let permit = &self.ask.permit;
        let owner = permit.credential().owner.to_string();
        self.proxy.metrics.account_scope_unproven(&owner, &permit.endpoint().name, unproven);
    }

    fn rejection(&self, slot: &Slot, reason: &str, retry_in: Duration) -> Rejection {
        Rejection::AccountScopeUnproven(slot.not_proven(&self.ask.permit.endpoint().name, reason, retry_in))
    }

    /// Asks for the records of an account that does not exist.
    async fn probe(&self, narrowing: &Narrowing, deadline: Instant) -> Result<ProbeResult, Rejection> {
        let Ask { permit, snapshot, origin, away, .. } = self.ask;
        let permit = permit.for_nobody(&narrowing.filter, &narrowing.field);
        let sent = origin
            .send(&Errand {
                permit: &permit,
                target: upstream_target(&permit).as_ref(),
                method: &Method::GET,
                body: &Bytes::new(),
                fields: &HeaderMap::new(),
                waiter: self.waiter.clone(),
                deadline,
                patience: snapshot.config.upstream.request_timeout / 2,
                plain: self.ask.is_plain(),
                away,
                endpoint_metrics: snapshot.endpoint_metrics(Some(permit.endpoint().position)),
                tenant_metrics: snapshot.tenant_metrics(&permit.tenant().name),
            })
            .await?;
        match sent.response.status() {
            StatusCode::OK => {
                let reading = self.read_probe(sent.response);
                let body = self.proxy.clock.timeout_at(deadline, reading).await;
                let body = body.unwrap_or(Err(Rejection::UpstreamTimeout))?;
                match inspect(&body, &origin.links, permit.account_scope()) {
                    Ok(inspection) => Ok(shown_by(&inspection)),
                    Err(Unfit::AccountViolation(_)) => Ok(ProbeResult::DoesNotNarrow(
                        "asked for an account that does not exist, it answered with records".into(),
                    )),
                    Err(Unfit::NotJson(not_json)) => {
                        Err(Rejection::UpstreamProtocolError(format!("its body is not JSON ({not_json})")))
                    }
                }
            }
            StatusCode::FORBIDDEN => Ok(ProbeResult::Refused { token: sent.token_number }),
            status if status.is_server_error() => Err(Rejection::UpstreamProtocolError(format!(
                "asked whether it narrows to an account, it answered {}",
                status.as_u16()
            ))),
            status => Ok(ProbeResult::DoesNotNarrow(format!(
                "asked for an account that does not exist, it answered {}",
                status.as_u16()
            ))),
        }
    }

    /// An Instance may follow the links of its own answers, whatever parameters Talkdesk puts into them.
    pub(super) fn learn_link_parameters(&self, inspection: &Inspection, body: &[u8]) {
        let permit = &self.ask.permit;
        let Some(scope) = permit.account_scope() else { return };
        let known = &self.ask.snapshot.config.policy.instance_query_parameters;
        for url in links::urls(body, &inspection.links) {
            let query = url.split_once('?').map_or("", |(_, query)| query);
            let query = query.split('#').next().unwrap_or_default();
            for parameter in query::parameters(query).filter(|one| !known.contains(&*one.name())) {
                let (credential, endpoint) = (&permit.credential().key, &permit.endpoint().name);
                self.proxy.learned.learn_link_parameter(credential, scope.account, endpoint, &parameter);
            }
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
}

/// What a page shows that has no record of another account.
fn shown_by(inspection: &Inspection) -> ProbeResult {
    let is_none = |count: Count, most: u64| match count {
        Count::Absent => true,
        Count::Number(number) => number <= most,
        Count::Unreadable => false,
    };
    let page = &inspection.page;
    if !page.is_page {
        return ProbeResult::DoesNotNarrow(
            "asked for an account that does not exist, it did not answer with a page".into(),
        );
    }
    let counts = &inspection.counts;
    if page.records == 0 && is_none(counts.total, 0) && is_none(counts.total_pages, 1) {
        return ProbeResult::Narrows;
    }
    ProbeResult::DoesNotNarrow("asked for an account that does not exist, it counted records".into())
}
