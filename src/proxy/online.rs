//! Does the configuration work against the real Talkdesk? Each credential is asked for a token, each endpoint for one
//! page of one record, and for each Organization that serves Instances it is proven that the account filter narrows.
//!
//! Everything goes the way that clients' requests go (entitlement, token, limit, checks, judge of the cache), so what
//! works here works there. It is bounded: of each credential one token and one request for each endpoint; for each whose
//! records have accounts one more, and up to three (`NARROWED_TO`), for each filter that is tried; a request that the
//! limit refuses waits, and all has to be over in [`LASTS_AT_MOST`].
//!
//! No record is told of, but for the names of its members.

mod report;
mod trial;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use http::header::{AGE, CACHE_CONTROL, ETAG, EXPIRES, HeaderName, LAST_MODIFIED, PRAGMA, VARY};
use serde_json::Value;

use super::Proxy;
use super::fetch::fetch;
use super::fetch_request::FetchRequest;
use super::fetch_result::FetchResult;
use super::probe::{ProbeResult, probe};
use super::rejection::Rejection;
use super::snapshot::Snapshot;
use crate::cache::Entry;
use crate::cache::policy::Bypass;
use crate::domain::credential::Credential;
use crate::domain::endpoint::{Content, DOCUMENTED, Endpoint, Narrowing, PathPattern};
use crate::domain::entitlement::{AccessRequest, AccountScope, Denial};
use crate::domain::id::AccountId;
use crate::domain::tenant::{Tenant, TenantKind};
use crate::page::{self, Unfit, links};

use crate::limit::gate::Waiter;
use crate::oauth::grant::printable;

pub use self::report::{Caching, Finding, Report, Verdict};
use self::trial::{Trial, alternatives};

/// How long all questions of one credential may take.
pub const LASTS_AT_MOST: Duration = Duration::from_mins(5);

/// How many accounts are asked for until one has records.
const NARROWED_TO: usize = 3;

/// What an origin says about caching by.
const CACHING_FIELDS: [HeaderName; 7] = [CACHE_CONTROL, EXPIRES, PRAGMA, AGE, ETAG, LAST_MODIFIED, VARY];

/// Asks everything of one credential. `progress` is told what is asked next.
pub async fn prove(proxy: &Proxy, credential: &Arc<Credential>, progress: &(dyn Fn(&str) + Sync)) -> Report {
    let mut report = Report {
        owner: credential.owner.clone(),
        client_id: printable(credential.client_id.as_str()),
        token_url: Arc::clone(&credential.token_url),
        findings: Vec::new(),
    };
    let snapshot = proxy.snapshot();
    let Some(tenant) = snapshot.tenant(&credential.owner, &proxy.learned) else { return report };
    let deadline = proxy.clock.now().after(LASTS_AT_MOST);
    let links = links::ApiOrigin::new(Arc::clone(&credential.api_origin));
    let prover = Prover { proxy, snapshot, tenant, links, deadline, progress };
    if let Some(denial) = prover.denied_altogether() {
        report.findings.push(prover.refused("token", &Rejection::Denied(denial)));
        return report;
    }
    let token = prover.token(credential).await;
    let works = token.verdict == Verdict::Works;
    report.findings.push(token);
    if works {
        prover.endpoints(&mut report.findings).await;
    }
    report
}

struct Prover<'a> {
    proxy: &'a Proxy,
    snapshot: Arc<Snapshot>,
    tenant: Arc<Tenant>,
    /// The API, to be recognised in links.
    links: links::ApiOrigin,
    deadline: Instant,
    progress: &'a (dyn Fn(&str) + Sync),
}

impl Prover<'_> {
    /// Why nothing can be asked for by this tenant, whatever it is.
    fn denied_altogether(&self) -> Option<Denial> {
        let refused = |endpoint: &Arc<Endpoint>| match self.ask(endpoint, "") {
            Err(Rejection::Denied(denial)) if !matches!(denial, Denial::ScopeMissing { .. }) => Some(denial),
            _ => None,
        };
        let denials: Option<Vec<_>> = self.snapshot.endpoints.iter().map(refused).collect();
        denials?.pop()
    }

    /// A rejection, in its own words.
    fn refused(&self, what: &str, rejection: &Rejection) -> Finding {
        let told = rejection.told(Some(&self.tenant.label), StatusCode::FORBIDDEN);
        let said = format!("{}: {}", told.code, told.what);
        // What the configuration itself does not let through is no failure of Talkdesk's.
        if let Rejection::Denied(denial) = rejection
            && !matches!(denial, Denial::ScopeMissing { .. })
        {
            return Finding { remedy: Some(told.remedy), ..Finding::new(what, Verdict::NotAsked, said) };
        }
        Finding::failed(what, said, told.remedy)
    }

    async fn token(&self, credential: &Arc<Credential>) -> Finding {
        const WHAT: &str = "token";
        (self.progress)(WHAT);
        let Some(origin) = self.snapshot.origin(&credential.key) else {
            return Finding::failed(WHAT, "there is no way to the API", "report this");
        };
        let token = self.proxy.clock.timeout_at(self.deadline, origin.tokens.get()).await;
        match token {
            Ok(Ok(_)) => self.granted(credential),
            Ok(Err(no_token)) => self.refused(WHAT, &Rejection::NoToken(no_token)),
            Err(_) => self.out_of_time(WHAT),
        }
    }

    /// A token is there: what may be done with it?
    fn granted(&self, credential: &Credential) -> Finding {
        const WHAT: &str = "token";
        let learned = self.proxy.learned.scopes(&credential.key, self.proxy.clock.now().monotonic);
        let Some(learned) = learned else {
            return Finding::new(WHAT, Verdict::Works, "granted; it does not say with which scopes");
        };
        let missing: Vec<_> =
            DOCUMENTED.iter().map(|one| one.scope).filter(|scope| !learned.scopes.contains(*scope)).collect();
        let has = DOCUMENTED.len() - missing.len();
        let said = format!("granted, with {has} of the {} scopes of the API", DOCUMENTED.len());
        if missing.is_empty() {
            return Finding::new(WHAT, Verdict::Works, said);
        }
        // That an endpoint can't be asked for is that endpoint's failure.
        Finding::new(WHAT, Verdict::Works, format!("{said}; without {}", missing.join(", ")))
    }

    fn out_of_time(&self, what: &str) -> Finding {
        let minutes = LASTS_AT_MOST.as_secs() / 60;
        let label = &self.tenant.label;
        Finding::failed(
            what,
            format!("there was no time left: the questions of {label} have {minutes} minutes"),
            "raise limits.upstream, or try again when Talkdesk is faster",
        )
    }

    async fn endpoints(&self, findings: &mut Vec<Finding>) {
        let mut accounts = self.configured_accounts();
        let mut narrowing = Vec::new();
        for endpoint in &self.snapshot.endpoints {
            let name = &*endpoint.name;
            if matches!(endpoint.path, PathPattern::Prefix(_)) {
                let why = "no path to ask for: it has all below one; ask for one of yours by hand";
                findings.push(Finding::new(name, Verdict::NotAsked, why));
                continue;
            }
            // Two accounts make a proof, where the configuration does not name them.
            let many = if endpoint.content == Content::Accounts && accounts.len() < 2 { 2 } else { 1 };
            let query = if is_paged(endpoint) { format!("page=1&per_page={many}") } else { String::new() };
            (self.progress)(name);
            let (finding, body) = match self.fetch(endpoint, &query).await {
                Ok(landed) => self.judged(endpoint, &landed),
                Err(finding) => (finding, Bytes::new()),
            };
            let works = finding.verdict == Verdict::Works;
            findings.push(finding);
            if !works {
                continue;
            }
            let records = records(&body);
            match &endpoint.content {
                Content::Accounts => {
                    accounts.extend(records.iter().filter_map(|one| account(one, "id")));
                }
                Content::Records(_) => narrowing.push((endpoint, records)),
                Content::Catalogue | Content::Opaque => {}
            }
        }
        if !narrowing.is_empty() && self.serves_instances() {
            for (endpoint, records) in narrowing {
                findings.push(self.narrows(endpoint, &records, &accounts).await);
            }
        }
    }

    /// Whether any Instance is asked for with this credential beside the tenant itself.
    fn serves_instances(&self) -> bool {
        let TenantKind::Organization(organization) = &self.tenant.kind else { return false };
        organization.discover_accounts
            || self.snapshot.config.tenants.iter().any(|tenant| match &tenant.kind {
                TenantKind::Instance(_) => {
                    tenant.organization().is_some_and(|owner| owner.id == organization.id)
                }
                TenantKind::Organization(_) => false,
            })
    }

    /// Whether the tenant may name an account: not one beside a closed list.
    fn may_name(&self, account: AccountId) -> bool {
        match &self.tenant.kind {
            TenantKind::Organization(organization) => {
                organization.discover_accounts
                    || organization.accounts.is_empty()
                    || organization.accounts.contains(&account)
            }
            TenantKind::Instance(_) => false,
        }
    }

    fn configured_accounts(&self) -> BTreeSet<AccountId> {
        match &self.tenant.kind {
            TenantKind::Organization(organization) => organization.accounts.iter().copied().collect(),
            TenantKind::Instance(_) => BTreeSet::new(),
        }
    }

    /// What an answer says, and its body.
    fn judged(&self, endpoint: &Endpoint, landed: &FetchResult) -> (Finding, Bytes) {
        let name = &*endpoint.name;
        let entry = &landed.entry;
        let status = entry.status.as_u16();
        if entry.status != StatusCode::OK {
            let request = entry.upstream_request_id().map(|id| format!(" (its request id is {id})"));
            let said = format!("Talkdesk answered {status}{}", request.unwrap_or_default());
            let remedy = match status {
                404 => "check upstream.region and upstream.api_url: the path is not there",
                400 => "check the names of the parameters against Talkdesk's reference",
                500..=599 => "try again later; if it stays, ask Talkdesk with the request id",
                _ => "ask Talkdesk with the request id",
            };
            return (Finding::failed(name, said, remedy), Bytes::new());
        }
        let many = records(&entry.body).len();
        let said = if endpoint.content == Content::Opaque {
            format!("{status}, {} bytes", entry.body.len())
        } else {
            format!("{status}, {many} record{}", if many == 1 { "" } else { "s" })
        };
        let caching = Some(self.caching(entry, landed));
        (Finding { caching, ..Finding::new(name, Verdict::Works, said) }, entry.body.clone())
    }

    fn caching(&self, entry: &Entry, landed: &FetchResult) -> Caching {
        let origin_fields = entry.fields.of_origin();
        let fields = CACHING_FIELDS.iter().flat_map(|name| {
            let values = origin_fields.get_all(name).iter();
            values.map(|value| (name.to_string(), printable(&String::from_utf8_lossy(value.as_bytes()))))
        });
        let fresh = u64::try_from(entry.remaining(self.proxy.clock.now())).unwrap_or(0);
        Caching {
            fields: fields.collect(),
            kept: landed.stored.map(|()| fresh).map_err(Bypass::as_str),
            ours: match landed.stored {
                Ok(()) => entry.decision.overrides_origin,
                Err(Bypass::Rfc(_)) => false,
                Err(_) => true,
            },
        }
    }

    /// Whether the account filter narrows to an account, and the records say whose they are. Where it does not, the other
    /// filters that could are tried.
    async fn narrows(
        &self,
        endpoint: &Arc<Endpoint>,
        all: &[Value],
        accounts: &BTreeSet<AccountId>,
    ) -> Finding {
        let Content::Records(narrowing) = &endpoint.content else {
            return Finding::new(&endpoint.name, Verdict::NotAsked, "its records have no accounts");
        };
        let what = format!("accounts of {}", endpoint.name);
        let seen = all.first().map(|first| account(first, &narrowing.field));
        if let (Some(None), Some(first)) = (seen, all.first()) {
            let members = first.as_object().into_iter().flat_map(|members| members.keys());
            let members: Vec<_> = members.map(|name| printable(name)).collect();
            return Finding::failed(
                &what,
                format!(
                    "a record has no account's id in `{}`; its members are {}",
                    narrowing.field,
                    members.join(", ")
                ),
                "set upstream.account_field to the member that has the account's id (of an added endpoint: its own \
                 account_field)",
            );
        }
        // If the filter meant nothing, another account's page would show what was just seen.
        let all_known = accounts.iter().copied().chain(seen.flatten());
        let mut known: Vec<AccountId> = all_known.filter(|account| self.may_name(*account)).collect();
        known.sort_by_key(|account| (Some(*account) == seen.flatten(), *account));
        known.dedup();
        known.truncate(NARROWED_TO);
        (self.progress)(&what);
        let trial = Trial { prover: self, endpoint, what: &what, known, has_records: !all.is_empty() };
        let configured = match trial.filter(narrowing).await {
            Ok(proven) => return proven,
            Err(reason) => reason,
        };
        for filter in alternatives(narrowing) {
            let shown = filter.as_str().to_owned();
            (self.progress)(&format!("{what} by `{shown}`"));
            let trial = trial.filter(&Narrowing { filter, field: Arc::clone(&narrowing.field) }).await;
            if trial.is_ok_and(|finding| finding.verdict == Verdict::Works) {
                return Finding::failed(
                    &what,
                    format!("{configured}; `{shown}` narrows"),
                    format!(
                        "write `account_filter: \"{shown}\"` under `upstream` (of an added endpoint: under itself)"
                    ),
                );
            }
        }
        Finding::failed(
            &what,
            format!(
                "{configured}: no Instance on this Organization's client can be served (account_scope_unproven)"
            ),
            "no other filter that was tried narrows either; ask Talkdesk how `filter` names an account, and write that \
             as upstream.account_filter",
        )
    }

    /// Fetches, and waits where the limit says so.
    async fn fetch(&self, endpoint: &Arc<Endpoint>, query: &str) -> Result<FetchResult, Finding> {
        let outcome = self.patiently(&endpoint.name, async || {
            // Anew each time: what was learned meanwhile counts.
            let ask = self.ask(endpoint, query)?;
            match fetch(&self.proxy.fetcher, &ask, None, Waiter::Background, None).await {
                Some(outcome) => outcome,
                None => Err(Rejection::Internal),
            }
        });
        outcome.await
    }

    /// Asks for the records of an account that does not exist.
    async fn probe(&self, endpoint: &Arc<Endpoint>, narrowing: &Narrowing) -> Result<ProbeResult, Finding> {
        let outcome = self.patiently(&endpoint.name, async || {
            let ask = self.ask(endpoint, "")?;
            probe(&self.proxy.fetcher, &ask, narrowing, self.deadline).await
        });
        outcome.await
    }

    async fn patiently<T>(
        &self,
        what: &str,
        attempt: impl AsyncFn() -> Result<T, Rejection>,
    ) -> Result<T, Finding> {
        let clock = &self.proxy.clock;
        loop {
            let Ok(outcome) = clock.timeout_at(self.deadline, attempt()).await else {
                return Err(self.out_of_time(what));
            };
            match outcome {
                Ok(value) => return Ok(value),
                Err(Rejection::RateLimited { retry_in, .. }) => {
                    let at = clock.now().after(retry_in.max(Duration::from_millis(100)));
                    if at >= self.deadline {
                        return Err(self.out_of_time(what));
                    }
                    clock.sleep_until(at).await;
                }
                Err(rejection) => return Err(self.refused(what, &rejection)),
            }
        }
    }

    /// How many records a page has that are all of one account.
    fn count_records_of(&self, body: &[u8], scope: &AccountScope) -> Result<usize, Unfit> {
        page::read(body, &self.links, Some(scope)).map(|_| records(body).len())
    }

    fn ask(&self, endpoint: &Arc<Endpoint>, query: &str) -> Result<FetchRequest, Rejection> {
        let path = match &endpoint.path {
            PathPattern::Exact(path) | PathPattern::Prefix(path) => path,
        };
        let query = Some(query).filter(|query| !query.is_empty());
        let access = AccessRequest { endpoint, path, query };
        let now = self.proxy.clock.now();
        let permit = self.snapshot.authorize(&self.tenant, &access, &self.proxy.learned, now)?;
        let origin = self.snapshot.origin(&permit.credential().key).ok_or(Rejection::Internal)?;
        Ok(FetchRequest::own(permit, origin, &self.snapshot))
    }
}

/// Whether it is known to be asked page by page.
fn is_paged(endpoint: &Endpoint) -> bool {
    endpoint.content != Content::Opaque
}

/// The records of a page.
fn records(body: &[u8]) -> Vec<Value> {
    let page: Value = serde_json::from_slice(page::without_byte_order_mark(body)).unwrap_or_default();
    let lists = page["_embedded"].as_object().into_iter().flat_map(|lists| lists.values());
    lists.filter_map(Value::as_array).flatten().cloned().collect()
}

fn account(record: &Value, field: &str) -> Option<AccountId> {
    record[field].as_str()?.parse().ok()
}
