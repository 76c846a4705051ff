//! Sends the requests of the checks of one credential, on the path of clients' requests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use http::header::{AGE, CACHE_CONTROL, ETAG, EXPIRES, HeaderName, LAST_MODIFIED, PRAGMA, VARY};
use serde_json::Value;

use super::report::{Caching, Finding, Verdict};
use crate::cache::Entry;
use crate::cache::policy::Bypass;
use crate::domain::endpoint::{Content, Endpoint, Narrowing, PathPattern};
use crate::domain::entitlement::{AccessRequest, AccountScope, Denial};
use crate::domain::id::AccountId;
use crate::domain::tenant::Tenant;
use crate::fetch::fetch_request::FetchRequest;
use crate::fetch::fetch_result::FetchResult;
use crate::fetch::probe::{ProbeResult, probe};
use crate::fetch::run::fetch;
use crate::limit::gate::Waiter;
use crate::oauth::grant::printable;
use crate::page::{self, Unfit, links};
use crate::problem::Rejection;
use crate::proxy::Proxy;
use crate::snapshot::Snapshot;

/// The time limit for all checks of one credential.
pub const TIME_LIMIT: Duration = Duration::from_mins(5);

/// The response fields that are about caching.
const CACHING_FIELDS: [HeaderName; 7] = [CACHE_CONTROL, EXPIRES, PRAGMA, AGE, ETAG, LAST_MODIFIED, VARY];

/// The client of one credential's checks.
pub(super) struct PreflightClient<'a> {
    pub(super) proxy: &'a Proxy,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) tenant: Arc<Tenant>,
    /// The origin of the API in links.
    pub(super) links: links::ApiOrigin,
    pub(super) deadline: Instant,
    pub(super) progress: &'a (dyn Fn(&str) + Sync),
}

impl PreflightClient<'_> {
    /// The finding for a rejection.
    pub(super) fn rejected(&self, check: &str, rejection: &Rejection) -> Finding {
        let problem = rejection.problem(Some(&self.tenant.label), StatusCode::FORBIDDEN);
        let said = format!("{}: {}", problem.code.as_str(), problem.message);
        // A denial by the configuration is no failure.
        if let Rejection::Denied(denial) = rejection
            && !matches!(denial, Denial::ScopeMissing { .. })
        {
            return Finding { remedy: Some(problem.remedy), ..Finding::new(check, Verdict::Skipped, said) };
        }
        Finding::failed(check, said, problem.remedy)
    }

    pub(super) fn out_of_time(&self, check: &str) -> Finding {
        let minutes = TIME_LIMIT.as_secs() / 60;
        let label = &self.tenant.label;
        Finding::failed(
            check,
            format!("out of time: all checks of {label} have {minutes} minutes"),
            "raise limits.upstream, or try again when Talkdesk is faster",
        )
    }

    /// Fetches a page.
    pub(super) async fn fetch(&self, endpoint: &Arc<Endpoint>, query: &str) -> Result<FetchResult, Finding> {
        let outcome = self.retry_when_limited(&endpoint.name, async || {
            // Authorised for each attempt: something may have been learned meanwhile.
            let request = self.request(endpoint, query)?;
            match fetch(self.proxy.fetch_context(), &request, None, Waiter::Background, None).await {
                Some(outcome) => outcome,
                None => Err(Rejection::Internal),
            }
        });
        outcome.await
    }

    /// Requests the records of an account that does not exist.
    pub(super) async fn probe(
        &self,
        endpoint: &Arc<Endpoint>,
        narrowing: &Narrowing,
    ) -> Result<ProbeResult, Finding> {
        let outcome = self.retry_when_limited(&endpoint.name, async || {
            let request = self.request(endpoint, "")?;
            probe(self.proxy.fetch_context(), &request, narrowing, self.deadline).await
        });
        outcome.await
    }

    /// Repeats an attempt that the rate limit refuses, until the deadline.
    async fn retry_when_limited<T>(
        &self,
        check: &str,
        attempt: impl AsyncFn() -> Result<T, Rejection>,
    ) -> Result<T, Finding> {
        let clock = &self.proxy.clock;
        loop {
            let Ok(outcome) = clock.timeout_at(self.deadline, attempt()).await else {
                return Err(self.out_of_time(check));
            };
            match outcome {
                Ok(value) => return Ok(value),
                Err(Rejection::RateLimited { retry_in, .. }) => {
                    let at = clock.now().after(retry_in.max(Duration::from_millis(100)));
                    if at >= self.deadline {
                        return Err(self.out_of_time(check));
                    }
                    clock.sleep_until(at).await;
                }
                Err(rejection) => return Err(self.rejected(check, &rejection)),
            }
        }
    }

    /// The number of records of a page on which all are of one account.
    pub(super) fn count_records_of(&self, body: &[u8], scope: &AccountScope) -> Result<usize, Unfit> {
        page::read(body, &self.links, Some(scope)).map(|_| records(body).len())
    }

    /// The finding for a response, and its body.
    pub(super) fn finding_of(&self, endpoint: &Endpoint, result: &FetchResult) -> (Finding, Bytes) {
        let name = &*endpoint.name;
        let entry = &result.entry;
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
        let caching = Some(self.caching(entry, result));
        (Finding { caching, ..Finding::new(name, Verdict::Works, said) }, entry.body.clone())
    }

    fn caching(&self, entry: &Entry, result: &FetchResult) -> Caching {
        let origin_fields = entry.fields.of_origin();
        let fields = CACHING_FIELDS.iter().flat_map(|name| {
            let values = origin_fields.get_all(name).iter();
            values.map(|value| (name.to_string(), printable(&String::from_utf8_lossy(value.as_bytes()))))
        });
        let fresh = u64::try_from(entry.remaining(self.proxy.clock.now())).unwrap_or(0);
        Caching {
            fields: fields.collect(),
            stored_for: result.stored.map(|()| fresh).map_err(Bypass::as_str),
            by_rule: match result.stored {
                Ok(()) => entry.decision.overrides_origin,
                Err(Bypass::Rfc(_)) => false,
                Err(_) => true,
            },
        }
    }

    pub(super) fn request(&self, endpoint: &Arc<Endpoint>, query: &str) -> Result<FetchRequest, Rejection> {
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

/// Whether the endpoint is known to have pages.
pub(super) fn is_paged(endpoint: &Endpoint) -> bool {
    endpoint.content != Content::Opaque
}

/// The records of a page.
pub(super) fn records(body: &[u8]) -> Vec<Value> {
    let page: Value = serde_json::from_slice(page::without_byte_order_mark(body)).unwrap_or_default();
    let lists = page["_embedded"].as_object().into_iter().flat_map(|lists| lists.values());
    lists.filter_map(Value::as_array).flatten().cloned().collect()
}

pub(super) fn account(record: &Value, field: &str) -> Option<AccountId> {
    record[field].as_str()?.parse().ok()
}
