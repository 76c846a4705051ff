//! Does the configuration work against the real Talkdesk? Each credential is asked for a token, each endpoint for one
//! page of one record, and for each Organization that serves Instances it is proven that the account filter narrows.
//!
//! Everything goes the way that clients' requests go (entitlement, token, limit, checks, judge of the cache), so what
//! works here works there. It is bounded: of each credential one token and one request for each endpoint; for each whose
//! records have accounts one more, and up to three (`NARROWED_TO`), for each filter that is tried; a request that the
//! limit refuses waits, and all has to be over in [`TIME_LIMIT`].
//!
//! No record is told of, but for the names of its members.

mod questions;
mod report;
mod trial;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::domain::credential::Credential;
use crate::domain::endpoint::{Content, DOCUMENTED, Endpoint, Narrowing, PathPattern};
use crate::domain::entitlement::Denial;
use crate::domain::id::AccountId;
use crate::domain::tenant::TenantKind;
use crate::page::links;
use crate::problem::Rejection;
use crate::proxy::Proxy;

use crate::oauth::grant::printable;

pub use self::questions::TIME_LIMIT;
use self::questions::{Questions, account, is_paged, records};
pub use self::report::{Caching, Finding, Report, Verdict};
use self::trial::{Trial, alternatives};

/// How many accounts are asked for until one has records.
const NARROWED_TO: usize = 3;

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
    let deadline = proxy.clock.now().after(TIME_LIMIT);
    let links = links::ApiOrigin::new(Arc::clone(&credential.api_origin));
    let checks = Checks { questions: Questions { proxy, snapshot, tenant, links, deadline, progress } };
    if let Some(denial) = checks.denied_altogether() {
        report.findings.push(checks.questions.refused("token", &Rejection::Denied(denial)));
        return report;
    }
    let token = checks.token(credential).await;
    let works = token.verdict == Verdict::Works;
    report.findings.push(token);
    if works {
        checks.endpoints(&mut report.findings).await;
    }
    report
}

/// The checks of one credential.
struct Checks<'a> {
    questions: Questions<'a>,
}

impl Checks<'_> {
    /// Why nothing can be asked for by this tenant, whatever it is.
    fn denied_altogether(&self) -> Option<Denial> {
        let refused = |endpoint: &Arc<Endpoint>| match self.questions.request(endpoint, "") {
            Err(Rejection::Denied(denial)) if !matches!(denial, Denial::ScopeMissing { .. }) => Some(denial),
            _ => None,
        };
        let denials: Option<Vec<_>> = self.questions.snapshot.endpoints.iter().map(refused).collect();
        denials?.pop()
    }

    async fn token(&self, credential: &Arc<Credential>) -> Finding {
        const WHAT: &str = "token";
        (self.questions.progress)(WHAT);
        let Some(origin) = self.questions.snapshot.origin(&credential.key) else {
            return Finding::failed(WHAT, "there is no way to the API", "report this");
        };
        let token = self.questions.proxy.clock.timeout_at(self.questions.deadline, origin.tokens.get()).await;
        match token {
            Ok(Ok(_)) => self.granted(credential),
            Ok(Err(no_token)) => self.questions.refused(WHAT, &Rejection::NoToken(no_token)),
            Err(_) => self.questions.out_of_time(WHAT),
        }
    }

    /// A token is there: what may be done with it?
    fn granted(&self, credential: &Credential) -> Finding {
        const WHAT: &str = "token";
        let learned =
            self.questions.proxy.learned.scopes(&credential.key, self.questions.proxy.clock.now().monotonic);
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

    async fn endpoints(&self, findings: &mut Vec<Finding>) {
        let mut accounts = self.configured_accounts();
        let mut narrowing = Vec::new();
        for endpoint in &self.questions.snapshot.endpoints {
            let name = &*endpoint.name;
            if matches!(endpoint.path, PathPattern::Prefix(_)) {
                let why = "no path to ask for: it has all below one; ask for one of yours by hand";
                findings.push(Finding::new(name, Verdict::NotAsked, why));
                continue;
            }
            // Two accounts make a proof, where the configuration does not name them.
            let many = if endpoint.content == Content::Accounts && accounts.len() < 2 { 2 } else { 1 };
            let query = if is_paged(endpoint) { format!("page=1&per_page={many}") } else { String::new() };
            (self.questions.progress)(name);
            let (finding, body) = match self.questions.fetch(endpoint, &query).await {
                Ok(landed) => self.questions.judged(endpoint, &landed),
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
        let TenantKind::Organization(organization) = &self.questions.tenant.kind else { return false };
        organization.discover_accounts
            || self.questions.snapshot.config.tenants.iter().any(|tenant| match &tenant.kind {
                TenantKind::Instance(_) => {
                    tenant.organization().is_some_and(|owner| owner.id == organization.id)
                }
                TenantKind::Organization(_) => false,
            })
    }

    /// Whether the tenant may name an account: not one beside a closed list.
    fn may_name(&self, account: AccountId) -> bool {
        match &self.questions.tenant.kind {
            TenantKind::Organization(organization) => {
                organization.discover_accounts
                    || organization.accounts.is_empty()
                    || organization.accounts.contains(&account)
            }
            TenantKind::Instance(_) => false,
        }
    }

    fn configured_accounts(&self) -> BTreeSet<AccountId> {
        match &self.questions.tenant.kind {
            TenantKind::Organization(organization) => organization.accounts.iter().copied().collect(),
            TenantKind::Instance(_) => BTreeSet::new(),
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
        (self.questions.progress)(&what);
        let trial =
            Trial { questions: &self.questions, endpoint, what: &what, known, has_records: !all.is_empty() };
        let configured = match trial.filter(narrowing).await {
            Ok(proven) => return proven,
            Err(reason) => reason,
        };
        for filter in alternatives(narrowing) {
            let shown = filter.as_str().to_owned();
            (self.questions.progress)(&format!("{what} by `{shown}`"));
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
}
