//! Learns the accounts under an Organization from `/express/accounts`.
//!
//! It takes the same path as a client's request (entitlement, cache, limit, token), as the Organization, with the lowest
//! priority in the queue, and follows `next` from page to page. A list replaces the previous one only if it was read to its
//! end.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::Value;

use crate::domain::endpoint::{Content as EndpointContent, Endpoint, PathPattern};
use crate::domain::entitlement::AccessRequest;
use crate::domain::id::{AccountId, AccountName, OrganizationId};
use crate::domain::learned::AccountList;
use crate::domain::tenant::{Organization, TenantKind, TenantName};
use crate::fetch::fetch_request::FetchRequest;
use crate::fetch::fetcher::Fetcher;
use crate::page::{self, links};
use crate::snapshot::Snapshot;

/// Reads the accounts of Organizations, and keeps them up to date.
pub struct AccountDiscovery {
    fetches: Arc<Fetcher>,
    attempted: Mutex<HashMap<OrganizationId, Instant>>,
    reading: Mutex<HashSet<OrganizationId>>,
    reloaded: tokio::sync::Notify,
}

/// Why the accounts of an Organization could not be read.
#[derive(Debug, thiserror::Error)]
enum AccountsError {
    #[error("the Organization may not ask for its accounts ({0})")]
    Denied(String),
    #[error("page {0} could not be fetched ({1})")]
    Page(u64, String),
    #[error("Talkdesk refused per_page={PER_PAGE}")]
    PageSize,
    #[error("page {0} is not a list of accounts")]
    NotAList(u64),
    #[error("the list has more than {MOST_PAGES} pages")]
    Endless,
    #[error("the list changed while it was read")]
    Changed,
    #[error("page {0} was read before")]
    Loop(u64),
    #[error("the `next` link of page {0} leads to another endpoint")]
    LeadsElsewhere(u64),
}

/// One page of accounts, as far as it is read.
struct Page {
    accounts: Vec<Value>,
    total: Option<u64>,
    next: Option<String>,
    answered_at: Instant,
}

/// More pages than any Organization has.
const MOST_PAGES: u64 = 1_000;

/// Requests that name unknown accounts start a reading at most this often.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(10);

/// Accounts asked for at once.
const PER_PAGE: u32 = 100;

/// How long after a list that could not be read another attempt is made.
const RETRY: Duration = Duration::from_mins(1);

impl AccountDiscovery {
    /// Reads lists with these fetches.
    #[must_use]
    pub fn new(fetches: Arc<Fetcher>) -> Arc<Self> {
        Arc::new(Self {
            fetches,
            attempted: Mutex::default(),
            reading: Mutex::default(),
            reloaded: tokio::sync::Notify::new(),
        })
    }

    /// Reads the accounts of every Organization that wants it, and reads them again before they are too old to
    /// decide by. Returns only when it is dropped.
    pub async fn keep_current(self: Arc<Self>) {
        let mut due: HashMap<OrganizationId, Instant> = HashMap::new();
        loop {
            let (snapshot, now) = (self.fetches.context.snapshot(), self.fetches.context.clock.now());
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
                let outdated = !Arc::ptr_eq(&snapshot, &self.fetches.context.snapshot());
                let next = if read { interval } else { interval.min(RETRY) };
                let next = if outdated { Duration::ZERO } else { next };
                due.insert(organization.id.clone(), self.fetches.context.clock.now().after(next));
            }
            let next = due.values().min().copied().unwrap_or_else(|| now.after(RETRY));
            tokio::select! {
                () = self.fetches.context.clock.sleep_until(next) => {}
                () = self.reloaded.notified() => {}
            }
        }
    }

    /// Checks for Organizations whose accounts are not known yet: the configuration has changed.
    pub fn discover_anew(&self) {
        self.reloaded.notify_one();
    }

    /// Reads the accounts of an Organization in the background, unless that is under way.
    pub fn discover(self: &Arc<Self>, snapshot: &Arc<Snapshot>, organization: &Arc<Organization>) {
        let now = self.fetches.context.clock.now();
        let mut attempted = self.attempted.lock().unwrap_or_else(PoisonError::into_inner);
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
        let reading = || self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if !reading().insert(organization.id.clone()) {
            return true;
        }
        let outcome = self.read_list(&snapshot, &organization).await;
        reading().remove(&organization.id);
        match outcome {
            // The cache answers stale where Talkdesk can't: that is no news, and soon asked for again.
            Ok(list) if self.fetches.context.clock.now().since(list.read_at) >= RETRY => {
                tracing::warn!(organization = %organization.id, reason = "only the old list could be had", "accounts not read");
                false
            }
            Ok(list) => {
                let _changing = self.fetches.context.changing.lock().unwrap_or_else(PoisonError::into_inner);
                if !Arc::ptr_eq(&self.fetches.context.snapshot(), &snapshot) {
                    // The Organization may be another one by now, or none.
                    return false;
                }
                tracing::info!(organization = %organization.id, accounts = list.accounts.len(), "accounts read");
                self.note_skipped(&organization, &list);
                self.fetches.context.learned.learn_accounts(&organization, list);
                true
            }
            Err(page_error) => {
                tracing::warn!(organization = %organization.id, reason = %page_error, "accounts not read");
                false
            }
        }
    }

    /// The largest page is not documented: where ours is refused, Talkdesk's default size is used.
    async fn read_list(
        self: &Arc<Self>,
        snapshot: &Arc<Snapshot>,
        organization: &Arc<Organization>,
    ) -> Result<AccountList, AccountsError> {
        let first = format!("per_page={PER_PAGE}");
        match self.read_pages(snapshot, organization, &first).await {
            Err(AccountsError::PageSize) => self.read_pages(snapshot, organization, "").await,
            outcome => outcome,
        }
    }

    /// Follows `next` until it is missing; Talkdesk does not always send counts.
    async fn read_pages(
        self: &Arc<Self>,
        snapshot: &Arc<Snapshot>,
        organization: &Arc<Organization>,
        first: &str,
    ) -> Result<AccountList, AccountsError> {
        let read_at = self.fetches.context.clock.now().monotonic;
        let mut list = AccountList { accounts: HashMap::new(), without_id: 0, without_name: 0, read_at };
        let (mut listed, mut total) = (0, None);
        let (mut query, mut asked) = (first.to_owned(), HashSet::new());
        for number in 1..=MOST_PAGES {
            if !asked.insert(query.clone()) {
                return Err(AccountsError::Loop(number));
            }
            let page = self.read_page(snapshot, organization, number, &query).await?;
            list.read_at = list.read_at.min(page.answered_at);
            if total.zip(page.total).is_some_and(|(before, now)| before != now) {
                return Err(AccountsError::Changed);
            }
            total = total.or(page.total);
            listed += page.accounts.len() as u64;
            for account in &page.accounts {
                add_account(&mut list, account)?;
            }
            let Some(next) = page.next else {
                // The count differs from `total`: records moved between pages, or are missing.
                return if total.is_none_or(|total| total == listed) {
                    Ok(list)
                } else {
                    Err(AccountsError::Changed)
                };
            };
            query = next;
        }
        Err(AccountsError::Endless)
    }

    async fn read_page(
        self: &Arc<Self>,
        snapshot: &Arc<Snapshot>,
        organization: &Arc<Organization>,
        number: u64,
        query: &str,
    ) -> Result<Page, AccountsError> {
        let page_error = |reason: String| AccountsError::Page(number, reason);
        let request = self.accounts_request(snapshot, organization, query).map_err(AccountsError::Denied)?;
        let origin = Arc::clone(&request.origin);
        let endpoint = Arc::clone(request.permit.endpoint());
        let now = self.fetches.context.clock.now();
        let found = self.fetches.lookup_own(&request, now);
        let answer = self.fetches.obtain(found, Arc::new(request), now).await.map_err(|rejection| {
            let problem =
                rejection.problem(Some(&format!("organizations/{}", organization.id)), StatusCode::FORBIDDEN);
            page_error(problem.message)
        })?;
        let entry = answer.entry;
        match entry.status {
            StatusCode::OK if entry.page.is_page => {
                let body: Value = serde_json::from_slice(page::without_byte_order_mark(&entry.body))
                    .map_err(|_| AccountsError::NotAList(number))?;
                let accounts = match &body["_embedded"]["accounts"] {
                    Value::Array(accounts) => accounts.clone(),
                    Value::Null => Vec::new(),
                    Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                        return Err(AccountsError::NotAList(number));
                    }
                };
                let href = [&body["_links"]["next"]["href"], &body["next"]["href"]];
                let next = href.into_iter().find_map(Value::as_str);
                let next = next.map(|href| query_of_link(href, &origin.links, &endpoint.path));
                let next =
                    next.map(|query| query.ok_or(AccountsError::LeadsElsewhere(number))).transpose()?;
                Ok(Page { accounts, total: body["total"].as_u64(), next, answered_at: entry.received })
            }
            StatusCode::OK => Err(AccountsError::NotAList(number)),
            StatusCode::BAD_REQUEST if number == 1 && !query.is_empty() => Err(AccountsError::PageSize),
            status => Err(page_error(format!("Talkdesk answered {}", status.as_u16()))),
        }
    }

    fn accounts_request(
        &self,
        snapshot: &Arc<Snapshot>,
        organization: &Arc<Organization>,
        query: &str,
    ) -> Result<FetchRequest, String> {
        let name = TenantName::Organization(organization.id.clone());
        let tenant =
            snapshot.tenant(&name, &self.fetches.context.learned).ok_or("it is not configured any more")?;
        let endpoint = accounts_endpoint(snapshot).ok_or("there is no such endpoint")?;
        let PathPattern::Exact(path) = &endpoint.path else { return Err("there is no such endpoint".into()) };
        let access = AccessRequest { endpoint, path, query: Some(query) };
        let permit = snapshot
            .authorize(&tenant, &access, &self.fetches.context.learned, self.fetches.context.clock.now())
            .map_err(|denial| crate::problem::denial_code(&denial).as_str())?;
        let origin = snapshot.origin(&permit.credential().key).ok_or("it has no credential")?;
        // What is stored may be as old as the list that is to be replaced.
        Ok(FetchRequest::own(permit, origin, snapshot))
    }

    /// Sets the metric of skipped accounts, and logs when their number changes.
    fn note_skipped(&self, organization: &Organization, list: &AccountList) {
        let skipped = list.without_id + list.without_name;
        let owner = format!("organizations/{}", organization.id);
        #[expect(clippy::cast_precision_loss, reason = "an Organization has fewer accounts than 2^52")]
        self.fetches
            .context
            .metrics
            .accounts_skipped
            .with_label_values(&[owner.as_str()])
            .set(skipped as f64);
        let before = self.fetches.context.learned.accounts(&organization.id);
        if skipped > 0 && before.is_none_or(|before| before.without_id + before.without_name != skipped) {
            tracing::warn!(
                organization = %organization.id,
                without_id = list.without_id,
                without_name = list.without_name,
                "accounts skipped: Talkdesk lists them without an id or a name that can be used"
            );
        }
    }
}

/// Every member of an account is optional. One without a name can be named by its id; one without an id can't be
/// identified.
fn add_account(list: &mut AccountList, account: &Value) -> Result<(), AccountsError> {
    let Some(id) = account["id"].as_str().and_then(|id| id.parse::<AccountId>().ok()) else {
        list.without_id += 1;
        return Ok(());
    };
    let name = account["name"].as_str().and_then(|name| name.parse::<AccountName>().ok());
    list.without_name += usize::from(name.is_none());
    // A duplicate means that the list changed between pages.
    if list.accounts.insert(id, name).is_some() { Err(AccountsError::Changed) } else { Ok(()) }
}

/// The query of a link that leads to the same endpoint.
fn query_of_link(href: &str, api: &links::ApiOrigin, path: &PathPattern) -> Option<String> {
    let target = &href[api.length_in(href.as_bytes()).unwrap_or_default()..];
    let (link_path, query) = target.split_once('?').unwrap_or((target, ""));
    path.matches(link_path).then(|| query.split('#').next().unwrap_or_default().to_owned())
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
