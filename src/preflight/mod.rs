//! `check --online`: does the configuration work with the real Talkdesk? For each credential it gets a token and requests
//! one record from each endpoint. For each Organization that serves Instances it proves that the account filter narrows.
//!
//! The requests take the path of clients' requests (entitlement, token, rate limit, validation, cache policy), so what works
//! here works there. Their number is bounded: for each credential one token and one request for each endpoint, and for each
//! endpoint whose records have accounts one more and up to `MAX_ACCOUNTS` for each filter that is tried. A request that the
//! rate limit refuses is repeated. Everything ends within [`TIME_LIMIT`].
//!
//! The report contains no record, only the names of a record's members.

mod filter_trial;
mod preflight_client;
mod report;

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

use self::filter_trial::{FilterTrial, alternatives};
pub use self::preflight_client::TIME_LIMIT;
use self::preflight_client::{PreflightClient, account, is_paged, records};
pub use self::report::{Caching, Finding, Report, Verdict};

/// The number of accounts whose records are requested until one has some.
const MAX_ACCOUNTS: usize = 3;

/// Checks one credential. `progress` is called with the name of each check before it runs.
pub async fn check_credential(
    proxy: &Proxy,
    credential: &Arc<Credential>,
    progress: &(dyn Fn(&str) + Sync),
) -> Report {
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
    let checks = Checks { client: PreflightClient { proxy, snapshot, tenant, links, deadline, progress } };
    if let Some(denial) = checks.denied_everywhere() {
        report.findings.push(checks.client.rejected("token", &Rejection::Denied(denial)));
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
    client: PreflightClient<'a>,
}

impl Checks<'_> {
    /// The denial, if every endpoint is denied.
    fn denied_everywhere(&self) -> Option<Denial> {
        let refused = |endpoint: &Arc<Endpoint>| match self.client.request(endpoint, "") {
            Err(Rejection::Denied(denial)) if !matches!(denial, Denial::ScopeMissing { .. }) => Some(denial),
            _ => None,
        };
        let denials: Option<Vec<_>> = self.client.snapshot.endpoints.iter().map(refused).collect();
        denials?.pop()
    }

    async fn token(&self, credential: &Arc<Credential>) -> Finding {
        const CHECK: &str = "token";
        (self.client.progress)(CHECK);
        let Some(origin) = self.client.snapshot.origin(&credential.key) else {
            return Finding::failed(
                CHECK,
                "the snapshot has no origin for this credential",
                "report this as a bug of the proxy",
            );
        };
        let token = self.client.proxy.clock.timeout_at(self.client.deadline, origin.tokens.get()).await;
        match token {
            Ok(Ok(_)) => self.token_finding(credential),
            Ok(Err(no_token)) => self.client.rejected(CHECK, &Rejection::NoToken(no_token)),
            Err(_) => self.client.out_of_time(CHECK),
        }
    }

    /// The finding for a token, with its scopes.
    fn token_finding(&self, credential: &Credential) -> Finding {
        const CHECK: &str = "token";
        let learned =
            self.client.proxy.learned.scopes(&credential.key, self.client.proxy.clock.now().monotonic);
        let Some(learned) = learned else {
            return Finding::new(CHECK, Verdict::Works, "granted; it does not say with which scopes");
        };
        let missing: Vec<_> =
            DOCUMENTED.iter().map(|one| one.scope).filter(|scope| !learned.scopes.contains(*scope)).collect();
        let has = DOCUMENTED.len() - missing.len();
        let outcome = format!("granted, with {has} of the {} scopes of the API", DOCUMENTED.len());
        if missing.is_empty() {
            return Finding::new(CHECK, Verdict::Works, outcome);
        }
        // A missing scope is reported as a failure of its endpoint.
        Finding::new(CHECK, Verdict::Works, format!("{outcome}; without {}", missing.join(", ")))
    }

    async fn endpoints(&self, findings: &mut Vec<Finding>) {
        let mut accounts = self.configured_accounts();
        let mut narrowing = Vec::new();
        for endpoint in &self.client.snapshot.endpoints {
            let name = &*endpoint.name;
            if matches!(endpoint.path, PathPattern::Prefix(_)) {
                let why =
                    "its path ends in `/*`, so there is no path to request; request one of yours by hand";
                findings.push(Finding::new(name, Verdict::Skipped, why));
                continue;
            }
            // The proof needs two accounts, if the configuration does not name them.
            let many = if endpoint.content == Content::Accounts && accounts.len() < 2 { 2 } else { 1 };
            let query = if is_paged(endpoint) { format!("page=1&per_page={many}") } else { String::new() };
            (self.client.progress)(name);
            let (finding, body) = match self.client.fetch(endpoint, &query).await {
                Ok(result) => self.client.finding_of(endpoint, &result),
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
                findings.push(self.check_narrowing(endpoint, &records, &accounts).await);
            }
        }
    }

    /// Whether an Instance uses this credential.
    fn serves_instances(&self) -> bool {
        let TenantKind::Organization(organization) = &self.client.tenant.kind else { return false };
        organization.discover_accounts
            || self.client.snapshot.config.tenants.iter().any(|tenant| match &tenant.kind {
                TenantKind::Instance(_) => {
                    tenant.organization().is_some_and(|owner| owner.id == organization.id)
                }
                TenantKind::Organization(_) => false,
            })
    }

    /// Whether the tenant may filter by the account: not if the list of accounts is complete and does not have it.
    fn may_name(&self, account: AccountId) -> bool {
        match &self.client.tenant.kind {
            TenantKind::Organization(organization) => {
                organization.discover_accounts
                    || organization.accounts.is_empty()
                    || organization.accounts.contains(&account)
            }
            TenantKind::Instance(_) => false,
        }
    }

    fn configured_accounts(&self) -> BTreeSet<AccountId> {
        match &self.client.tenant.kind {
            TenantKind::Organization(organization) => organization.accounts.iter().copied().collect(),
            TenantKind::Instance(_) => BTreeSet::new(),
        }
    }

    /// Checks that the account filter narrows, and that the records have the account field. If the filter does not narrow,
    /// others are tried.
    async fn check_narrowing(
        &self,
        endpoint: &Arc<Endpoint>,
        all: &[Value],
        accounts: &BTreeSet<AccountId>,
    ) -> Finding {
        let Content::Records(narrowing) = &endpoint.content else {
            return Finding::new(&endpoint.name, Verdict::Skipped, "its records have no accounts");
        };
        let check = format!("accounts of {}", endpoint.name);
        let seen = all.first().map(|first| account(first, &narrowing.field));
        if let (Some(None), Some(first)) = (seen, all.first()) {
            let members = first.as_object().into_iter().flat_map(|members| members.keys());
            let members: Vec<_> = members.map(|name| printable(name)).collect();
            return Finding::failed(
                &check,
                format!(
                    "a record has no account's id in `{}`; its members are {}",
                    narrowing.field,
                    members.join(", ")
                ),
                "set upstream.account_field to the member that has the account's id (of an added endpoint: its own \
                 account_field)",
            );
        }
        // The account that was just seen comes last: if Talkdesk ignores the filter, the page of another one shows its records.
        let all_known = accounts.iter().copied().chain(seen.flatten());
        let mut known: Vec<AccountId> = all_known.filter(|account| self.may_name(*account)).collect();
        known.sort_by_key(|account| (Some(*account) == seen.flatten(), *account));
        known.dedup();
        known.truncate(MAX_ACCOUNTS);
        (self.client.progress)(&check);
        let trial = FilterTrial {
            client: &self.client,
            endpoint,
            check: &check,
            known,
            has_records: !all.is_empty(),
        };
        let configured = match trial.filter(narrowing).await {
            Ok(proven) => return proven,
            Err(reason) => reason,
        };
        for filter in alternatives(narrowing) {
            let shown = filter.as_str().to_owned();
            (self.client.progress)(&format!("{check} by `{shown}`"));
            let trial = trial.filter(&Narrowing { filter, field: Arc::clone(&narrowing.field) }).await;
            if trial.is_ok_and(|finding| finding.verdict == Verdict::Works) {
                return Finding::failed(
                    &check,
                    format!("{configured}; `{shown}` narrows"),
                    format!(
                        "write `account_filter: \"{shown}\"` under `upstream` (of an added endpoint: under itself)"
                    ),
                );
            }
        }
        Finding::failed(
            &check,
            format!(
                "{configured}: no Instance on this Organization's client can be served (account_scope_unproven)"
            ),
            "no other filter that was tried narrows either; ask Talkdesk how `filter` names an account, and write that \
             as upstream.account_filter",
        )
    }
}
