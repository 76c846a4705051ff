//! Learns the accounts under an Organization from `/express/accounts`.
//!
//! It asks through the path that everybody's requests take (entitlement, cache, limit, token), as the
//! Organization, page by page, last in every queue. A list counts only once it was read to its end: a half-read
//! one replaces nothing.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use serde::Deserialize;

use super::Proxy;
use super::ask::Ask;
use super::fetched::Content;
use super::snapshot::Snapshot;
use crate::domain::endpoint::{Content as EndpointContent, Endpoint, PathPattern};
use crate::domain::entitlement::{self, Ask as Asked};
use crate::domain::id::{AccountId, AccountName, OrganizationId};
use crate::domain::learned::AccountList;
use crate::domain::tenant::{Organization, TenantKind, TenantName};

/// The Organizations whose accounts are being read.
#[derive(Default)]
pub struct Discovery {
    attempted: Mutex<HashMap<OrganizationId, Instant>>,
    reading: Mutex<HashSet<OrganizationId>>,
    reloaded: tokio::sync::Notify,
}

/// Why a list was not read.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error("the Organization may not ask for its accounts ({0})")]
    Denied(String),
    #[error("page {0} could not be had ({1})")]
    Page(u64, String),
    #[error("pages of {PER_PAGE} accounts are refused")]
    PageSize,
    #[error("page {0} is not a list of accounts")]
    NotAList(u64),
    #[error("the list has more than {MOST_PAGES} pages")]
    Endless,
    #[error("the list changed while it was read")]
    Changed,
}

#[derive(Deserialize)]
struct Page {
    total_pages: u64,
    total: u64,
    #[serde(default, rename = "_embedded")]
    embedded: Embedded,
}

#[derive(Default, Deserialize)]
struct Embedded {
    #[serde(default)]
    accounts: Vec<Account>,
}

#[derive(Deserialize)]
struct Account {
    id: String,
    name: String,
}

/// More pages than any Organization has.
const MOST_PAGES: u64 = 1_000;

/// Requests that name unknown accounts start a reading at most this often.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(10);

/// Accounts asked for at once.
const PER_PAGE: u32 = 100;

/// How long after a list that could not be read another attempt is made.
const RETRY: Duration = Duration::from_mins(1);

impl Proxy {
    /// Reads the accounts of every Organization that wants it, and reads them again before they are too old to
    /// decide by. Returns only when it is dropped.
    pub async fn keep_discovering(self: Arc<Self>) {
        let mut due: HashMap<OrganizationId, Instant> = HashMap::new();
        loop {
            let (snapshot, now) = (self.snapshot(), self.clock.now());
            let interval = snapshot.config.policy.accounts_max_age.mul_f64(0.8).max(Duration::from_secs(1));
            let wanted = discovering(&snapshot);
            due.retain(|id, _| wanted.iter().any(|one| one.id == *id));
            let is_due = |one: &Arc<Organization>| due.get(&one.id).is_none_or(|due| now.monotonic >= *due);
            let organizations: Vec<_> = wanted.into_iter().filter(is_due).collect();
            let reads = organizations
                .iter()
                .map(|one| Arc::clone(&self).read(Arc::clone(&snapshot), Arc::clone(one)));
            let outcomes = futures_util::future::join_all(reads).await;
            for (organization, read) in organizations.iter().zip(outcomes) {
                let outdated = !Arc::ptr_eq(&snapshot, &self.snapshot());
                let next = if read { interval } else { interval.min(RETRY) };
                let next = if outdated { Duration::ZERO } else { next };
                due.insert(organization.id.clone(), self.clock.now().after(next));
            }
            let next = due.values().min().copied().unwrap_or_else(|| now.after(RETRY));
            tokio::select! {
                () = self.clock.sleep_until(next) => {}
                () = self.discovery.reloaded.notified() => {}
            }
        }
    }

    /// The configuration is another one: there may be Organizations whose accounts are not known yet.
    pub(super) fn discover_anew(&self) {
        self.discovery.reloaded.notify_one();
    }

    /// Reads the accounts of an Organization in the background, unless that is under way.
    pub fn discover(self: &Arc<Self>, snapshot: &Arc<Snapshot>, organization: &Arc<Organization>) {
        let now = self.clock.now();
        let mut attempted = self.discovery.attempted.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = attempted.get(&organization.id).is_some_and(|at| now.since(*at) < BETWEEN_ATTEMPTS);
        if lately {
            return;
        }
        attempted.insert(organization.id.clone(), now.monotonic);
        drop(attempted);
        tokio::spawn(Arc::clone(self).read(Arc::clone(snapshot), Arc::clone(organization)));
    }

    /// Whether the list was read, or is being read by somebody else.
    async fn read(self: Arc<Self>, snapshot: Arc<Snapshot>, organization: Arc<Organization>) -> bool {
        let reading = || self.discovery.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if !reading().insert(organization.id.clone()) {
            return true;
        }
        let outcome = self.read_list(&snapshot, &organization).await;
        reading().remove(&organization.id);
        match outcome {
            // The cache answers stale where Talkdesk can't: that is no news, and soon asked for again.
            Ok(list) if self.clock.now().since(list.read_at) >= RETRY => {
                tracing::warn!(organization = %organization.id, reason = "only the old list could be had", "accounts not read");
                false
            }
            Ok(list) => {
                let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
                if !Arc::ptr_eq(&self.snapshot(), &snapshot) {
                    // The Organization may be another one by now, or none.
                    return false;
                }
                tracing::info!(organization = %organization.id, accounts = list.accounts.len(), "accounts read");
                self.learned.learn_accounts(&organization, list);
                true
            }
            Err(unread) => {
                tracing::warn!(organization = %organization.id, reason = %unread, "accounts not read");
                false
            }
        }
    }

    /// The largest page is not documented: where ours is refused, pages come as large as Talkdesk likes.
    async fn read_list(
        self: &Arc<Self>,
        snapshot: &Arc<Snapshot>,
        organization: &Arc<Organization>,
    ) -> Result<AccountList, Unread> {
        match self.read_pages(snapshot, organization, Some(PER_PAGE)).await {
            Err(Unread::PageSize) => self.read_pages(snapshot, organization, None).await,
            outcome => outcome,
        }
    }

    async fn read_pages(
        self: &Arc<Self>,
        snapshot: &Arc<Snapshot>,
        organization: &Arc<Organization>,
        per_page: Option<u32>,
    ) -> Result<AccountList, Unread> {
        let mut read_at = self.clock.now().monotonic;
        let mut accounts = HashMap::new();
        let mut total = None;
        for number in 1..=MOST_PAGES {
            let (page, answered_at) = self.read_page(snapshot, organization, number, per_page).await?;
            read_at = read_at.min(answered_at);
            if total.is_some_and(|total| total != page.total) {
                return Err(Unread::Changed);
            }
            total = Some(page.total);
            for account in page.embedded.accounts {
                let id: AccountId = account.id.parse().map_err(|_| Unread::NotAList(number))?;
                // An account whose name can't be an Instance's can still be named by its id.
                accounts.insert(id, account.name.parse::<AccountName>().ok());
            }
            if number >= page.total_pages {
                // Fewer than it says there are: something moved between the pages, or is missing.
                if accounts.len() as u64 != page.total {
                    return Err(Unread::Changed);
                }
                return Ok(AccountList { accounts, read_at });
            }
        }
        Err(Unread::Endless)
    }

    async fn read_page(
        self: &Arc<Self>,
        snapshot: &Arc<Snapshot>,
        organization: &Arc<Organization>,
        number: u64,
        per_page: Option<u32>,
    ) -> Result<(Page, Instant), Unread> {
        let unread = |reason: String| Unread::Page(number, reason);
        let ask = self.accounts_ask(snapshot, organization, number, per_page).map_err(Unread::Denied)?;
        let now = self.clock.now();
        let found = self.lookup_own(&ask, now);
        let answer = self.obtain(found, Arc::new(ask), now).await.map_err(|rejection| {
            let told =
                rejection.told(Some(&format!("organizations/{}", organization.id)), StatusCode::FORBIDDEN);
            unread(told.what)
        })?;
        match answer.content {
            Content::Entry(entry) if entry.status == StatusCode::OK => {
                let page = serde_json::from_slice(&entry.body).map_err(|_| Unread::NotAList(number))?;
                Ok((page, entry.received))
            }
            Content::Entry(entry) if entry.status == StatusCode::BAD_REQUEST && per_page.is_some() => {
                Err(Unread::PageSize)
            }
            Content::Entry(entry) => Err(unread(format!("Talkdesk answered {}", entry.status.as_u16()))),
            Content::Stream(_) => Err(unread("it is too large".into())),
        }
    }

    fn accounts_ask(
        &self,
        snapshot: &Arc<Snapshot>,
        organization: &Arc<Organization>,
        number: u64,
        per_page: Option<u32>,
    ) -> Result<Ask, String> {
        let name = TenantName::Organization(organization.id.clone());
        let tenant = snapshot.tenant(&name, &self.learned).ok_or("it is not configured any more")?;
        let endpoint = accounts_endpoint(snapshot).ok_or("there is no such endpoint")?;
        let PathPattern::Exact(path) = &endpoint.path else { return Err("there is no such endpoint".into()) };
        let size = per_page.map(|size| format!("&per_page={size}")).unwrap_or_default();
        let query = format!("page={number}{size}");
        let asked = Asked { endpoint, method: &Method::GET, path, query: Some(&query), plain: false };
        let now = self.clock.now().monotonic;
        let permit = entitlement::authorize(&tenant, &asked, &snapshot.config.policy, &self.learned, now)
            .map_err(|denial| {
                super::rejection::Rejection::Denied(denial).told(None, StatusCode::FORBIDDEN).code
            })?;
        let origin = snapshot.origin(&permit.credential().key).ok_or("it has no credential")?;
        // What is stored may be as old as the list that is to be replaced.
        Ok(Ask::own(permit, origin, snapshot))
    }
}

fn accounts_endpoint(snapshot: &Snapshot) -> Option<&Arc<Endpoint>> {
    snapshot.endpoints.iter().find(|endpoint| endpoint.content == EndpointContent::Accounts)
}

/// The Organizations whose accounts are to be learned.
fn discovering(snapshot: &Snapshot) -> Vec<Arc<Organization>> {
    let organizations = snapshot.config.tenants.iter().filter_map(|tenant| match &tenant.kind {
        TenantKind::Organization(organization) => Some(organization),
        TenantKind::Instance(_) => None,
    });
    let wanted = organizations.filter(|one| one.discover_accounts && one.enabled && one.credential.is_some());
    wanted.cloned().collect()
}
