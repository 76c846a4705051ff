//! Stores validated responses: as a new entry, or as an update of the entry that a 304 confirmed.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};

use super::fetch_context::FetchContext;
use super::fetch_request::FetchRequest;
use super::fetch_result::FetchResult;
use super::response_body::ResponseBody;
use super::response_head::{ResponseHead, drop_from_vary, is_refusal};
use crate::cache::closed_period::with_closed_period;
use crate::cache::entry::{EntryParts, drop_digests};
use crate::cache::policy::{Bypass, StoreDecision};
use crate::cache::{Entry, Generation, label};
use crate::clock::Now;
use crate::page::PageContent;
use crate::rfc9111::freshness::NotStored;
use crate::rfc9111::key::Variant;
use crate::rfc9111::validation::merged;
use crate::upstream::exchange::Exchange;

/// Stores the response of one fetch.
pub(super) struct EntryStore<'a> {
    context: &'a FetchContext,
    request: &'a FetchRequest,
    /// The purges and refusals before the fetch.
    generation: Generation,
}

impl<'a> EntryStore<'a> {
    pub(super) fn new(context: &'a FetchContext, request: &'a FetchRequest) -> Self {
        Self { context, request, generation: context.cache.generation() }
    }

    pub(super) fn generation(&self) -> Generation {
        self.generation
    }

    /// Makes an entry of a response, and stores it if it may be stored.
    pub(super) fn store(
        &self,
        mut head: ResponseHead,
        body: ResponseBody,
        page_content: PageContent,
        decision: Result<StoreDecision, Bypass>,
    ) -> FetchResult {
        let request = self.request;
        let not_a_page = request.permit.endpoint().is_documented()
            && head.status.is_success()
            && !page_content.page.is_page;
        let too_large = body.bytes().len() as u64 > request.snapshot.config.cache.max_entry_bytes;
        let decision = match decision {
            Ok(_) if too_large => Err(Bypass::TooLarge),
            Ok(_) if not_a_page => Err(Bypass::NotAPage),
            Ok(decision) => Ok(with_closed_period(
                decision,
                request.policy(),
                request.permit.path_and_query(),
                page_content.page.records,
                head.received,
            )),
            Err(bypass) => Err(bypass),
        };
        // Before `Content-Encoding` is removed: the response varies by what the origin saw.
        let variant = Variant::of(&head.fields, &request.fields);
        if body.is_decoded {
            drop_digests(&mut head.fields);
        }
        head.fields = without_coding(head.fields);
        let body = if decision.is_ok() { body.into_stored() } else { body.into_unstored() };
        self.store_entry(head, variant, body, page_content, decision, None)
    }

    fn store_entry(
        &self,
        head: ResponseHead,
        variant: Variant,
        body: Bytes,
        page_content: PageContent,
        decision: Result<StoreDecision, Bypass>,
        confirmed: Option<&Arc<Entry>>,
    ) -> FetchResult {
        let ResponseHead { status, fields, sent_at, received, exchange } = head;
        let withheld =
            if decision.is_ok() { self.request.policy().withheld_fields(&fields) } else { Vec::new() };
        let parts = EntryParts {
            status,
            fields,
            body,
            page_content,
            decision: decision.unwrap_or(StoreDecision::NOT_STORED),
            stored: decision.is_ok(),
            variant,
            received,
            delay: received.since(sent_at.monotonic),
        };
        let for_leader = (!withheld.is_empty()).then(|| Arc::new(Entry::new(parts.clone())));
        let mut shared = parts;
        for name in &withheld {
            shared.fields.remove(name);
        }
        let mut shared = Entry::new(shared);
        if let Some(confirmed) = confirmed {
            shared.continue_hits_of(confirmed);
        }
        let (shared, stored) = match decision {
            Ok(_) => self.put(shared),
            Err(bypass) => (Arc::new(shared), Err(bypass)),
        };
        if let Err(bypass) = stored {
            self.record_bypass(bypass);
            if is_refusal(status) {
                self.refuse();
            }
        }
        let (entry, for_others) = match for_leader {
            Some(for_leader) => (for_leader, Some(shared)),
            None => (shared, None),
        };
        let exchange = self.complete(exchange, status, sent_at);
        FetchResult { entry, for_others, stored, revalidated: confirmed.is_some(), exchange }
    }

    /// Stores an entry, unless a purge or refusal covers it. Under a replaced configuration nothing is stored: checked before
    /// and after, so that the entry can't be missed by the reload that removes entries.
    fn put(&self, entry: Entry) -> (Arc<Entry>, Result<(), Bypass>) {
        let FetchRequest { key, permit, .. } = self.request;
        if !self.context.snapshot().is_current_for(&self.request.snapshot, &self.request.permit) {
            return (Arc::new(entry), Err(Bypass::Purged));
        }
        let (entry, stored) = self.context.cache.store(key, &label(permit, key), entry, self.generation);
        if stored.is_ok()
            && !self.context.snapshot().is_current_for(&self.request.snapshot, &self.request.permit)
        {
            self.context.cache.remove_entry(key, &entry);
            return (entry, Err(Bypass::Purged));
        }
        (entry, stored)
    }

    /// Talkdesk denies access to what is stored: removes it, and what earlier fetches may still bring.
    pub(super) fn refuse(&self) {
        let permit = &self.request.permit;
        self.context.cache.refuse(&self.request.key, &permit.credential().key, permit.path_and_query());
    }

    /// Updates an entry that upstream confirmed with the fields of the 304 (RFC 9111, section 4.3.4).
    pub(super) fn confirm(&self, entry: &Arc<Entry>, head: &ResponseHead) -> FetchResult {
        let fields = merged(entry.fields.of_origin(), &head.fields);
        let policy = self.request.policy();
        let decision = policy.decide(self.request.said, entry.status, &fields, head.received);
        // The origin does not permit storing any more: that applies to the stored response as well.
        if let Err(Bypass::Rfc(NotStored::NoStore | NotStored::Private | NotStored::VaryAny)) = decision {
            self.context.cache.remove_entry(&self.request.key, entry);
        }
        let decision = decision.map(|decision| {
            let path_and_query = self.request.permit.path_and_query();
            with_closed_period(decision, policy, path_and_query, entry.page.records, head.received)
        });
        let page_content = PageContent {
            links: entry.links.clone(),
            counts: entry.counts,
            page: entry.page,
            record_ids: Vec::new(),
        };
        let variant = Variant::of(&fields, &self.request.fields);
        let head = ResponseHead { status: entry.status, fields: without_coding(fields), ..*head };
        let result = self.store_entry(head, variant, entry.body.clone(), page_content, decision, Some(entry));
        let exchange = Exchange { status: Some(StatusCode::NOT_MODIFIED), ..result.exchange };
        FetchResult { exchange, ..result }
    }

    fn record_bypass(&self, bypass: Bypass) {
        let FetchRequest { key, permit, .. } = self.request;
        self.context.cache.record_bypass(key, || label(permit, key), bypass, self.context.clock.now().wall);
    }

    fn complete(&self, exchange: Exchange, status: StatusCode, sent_at: Now) -> Exchange {
        let FetchRequest { origin, snapshot, permit, .. } = self.request;
        origin.breaker.record_complete();
        let upstream = self.context.clock.now().since(sent_at.monotonic);
        let metrics = snapshot.endpoint_metrics(Some(permit.endpoint().position));
        metrics.upstream_duration.observe(upstream.as_secs_f64());
        Exchange { upstream, status: Some(status), ..exchange }
    }
}

/// The fields of a body whose content coding was removed.
fn without_coding(mut fields: HeaderMap) -> HeaderMap {
    for name in [CONTENT_LENGTH, CONTENT_ENCODING] {
        fields.remove(name);
    }
    drop_from_vary(&mut fields);
    fields
}
