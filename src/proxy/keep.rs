//! What is stored of a validated response: a new entry, an entry that a 304 or a HEAD updated, or nothing. A successful
//! unsafe request invalidates entries here (RFC 9111, section 4.4).

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};
use http::{Method, StatusCode};

use super::fetch_request::FetchRequest;
use super::fetch_result::FetchResult;
use super::head_of_answer::drop_from_vary;
use super::receive::is_gzip;
use super::store::{Fetch, Head, is_refusal};
use crate::cache::closed_period::applied;
use crate::cache::entry::{Ingredients, drop_digests};
use crate::cache::judge::{Bypass, Question, Verdict, judge, withheld};
use crate::cache::{Entry, Shelved, label};
use crate::domain::query;
use crate::page::PageContent;
use crate::rfc9111::freshness::NotStored;
use crate::rfc9111::invalidation::{invalidated, invalidates};
use crate::rfc9111::key::Variant;
use crate::rfc9111::validation::{describes, merged};

impl Fetch<'_> {
    /// Makes an entry, and puts it on the shelf if it may be kept.
    pub(super) fn keep(
        &self,
        mut head: Head,
        body: Bytes,
        decoded: bool,
        page_content: PageContent,
        verdict: Result<Verdict, Bypass>,
        confirmed: Option<&Arc<Entry>>,
    ) -> FetchResult {
        let ask = self.ask;
        let query = ask.permit.path_and_query();
        let not_a_page =
            ask.permit.endpoint().is_documented() && head.status.is_success() && !page_content.page.is_page;
        let verdict =
            verdict.and_then(|verdict| if not_a_page { Err(Bypass::NotAPage) } else { Ok(verdict) });
        let records = page_content.page.records;
        let verdict = verdict.map(|verdict| applied(verdict, ask.rule(), query, records, head.received));
        // Before the coding is settled, which selects nothing any more once it is undone.
        let variant = Variant::of(&head.fields, &ask.fields);
        head.fields.remove(CONTENT_LENGTH);
        self.settle_coding(&mut head.fields, decoded);
        let refused = is_refusal(head.status) && ask.asks_the_cache();
        let withheld = if verdict.is_ok() { withheld(ask.rule(), &head.fields) } else { Vec::new() };
        let ingredients = Ingredients {
            plain: ask.is_plain(),
            is_head: false,
            status: head.status,
            fields: std::mem::take(&mut head.fields),
            body,
            page_content,
            verdict: verdict.unwrap_or(Verdict::NOT_KEPT),
            kept: verdict.is_ok(),
            variant,
            received: head.received,
            delay: head.received.since(head.asked.monotonic),
        };
        let whole = (!withheld.is_empty()).then(|| Arc::new(Entry::new(ingredients.clone())));
        let mut kept = ingredients;
        for name in &withheld {
            kept.fields.remove(name);
        }
        let mut kept = Entry::new(kept);
        if let Some(confirmed) = confirmed {
            kept.carry_on(confirmed);
        }
        let (kept, stored) = match verdict {
            Ok(_) => self.shelve(kept),
            Err(bypass) => (Arc::new(kept), Err(bypass)),
        };
        if let Err(bypass) = stored {
            self.note_not_kept(bypass);
            if refused {
                self.refuse();
            }
        }
        let (entry, for_others) = match whole {
            Some(whole) => (whole, Some(kept)),
            None => (kept, None),
        };
        FetchResult { for_others, ..self.landed(&head, Some(entry), stored, false) }
    }

    /// Puts an entry on the shelf, unless something has happened since it was asked for. By a configuration that is not
    /// the one any more nothing is stored: looked at before and after, it can't slip past the reload that sweeps.
    fn shelve(&self, entry: Entry) -> (Arc<Entry>, Result<(), Bypass>) {
        let FetchRequest { key, permit, .. } = self.ask;
        if !self.proxy.snapshot().is_current_for(self.ask) {
            return (Arc::new(entry), Err(Bypass::Purged));
        }
        let (entry, stored) = self.proxy.shelf.keep(key, &label(permit, key), entry, self.asked_at);
        if stored.is_ok() && !self.proxy.snapshot().is_current_for(self.ask) {
            self.proxy.shelf.remove_entry(key, &entry);
            return (entry, Err(Bypass::Purged));
        }
        (entry, stored)
    }

    /// Whoever asks is not to see any more what is there: neither from memory, nor by what was asked for before.
    pub(super) fn refuse(&self) {
        let permit = &self.ask.permit;
        self.proxy.shelf.refuse(&self.ask.key, &permit.credential().key, permit.path_and_query());
    }

    /// An entry that upstream confirmed, with the new fields of the 304 (RFC 9111, section 4.3.4).
    pub(super) fn confirm(&self, entry: &Arc<Entry>, head: &Head) -> FetchResult {
        let fields = merged(&entry.fields.of_origin(), &head.fields);
        let question = Question { method: &Method::GET, ..self.ask.question() };
        let verdict = judge(self.ask.rule(), &question, entry.status, &fields, head.received);
        let head = Head { status: entry.status, fields, ..*head };
        let page_content = PageContent {
            links: entry.links.clone(),
            counts: entry.counts,
            page: entry.page,
            record_ids: Vec::new(),
        };
        // The origin takes back that it may be kept: the stored answer has these fields from now on as well.
        if let Err(Bypass::Rfc(NotStored::NoStore | NotStored::Private | NotStored::VaryAny)) = verdict {
            self.proxy.shelf.remove_entry(&self.ask.key, entry);
        }
        let mut landed = self.keep(head, entry.body.clone(), false, page_content, verdict, Some(entry));
        landed.revalidated = true;
        landed.status = StatusCode::NOT_MODIFIED.as_u16();
        landed
    }

    /// The answer to a `HEAD`. It has nothing to be stored, but what it says of the stored answer to a `GET` is as good
    /// as if a 304 had said it; and where it speaks of another answer, that one is not right any more (RFC 9111,
    /// section 4.3.5).
    pub(super) fn refresh(&self, head: Head, received: &HeaderMap) -> FetchResult {
        let Shelved::Entry(entry) =
            self.proxy.shelf.find(&self.ask.key, |variant| variant.matches(&self.ask.fields))
        else {
            return self.head_alone(head, received);
        };
        if head.status != entry.status {
            return self.head_alone(head, received);
        }
        if !describes(&head.fields, &entry.fields.of_origin(), entry.body.len() as u64) {
            self.proxy.shelf.remove_entry(&self.ask.key, &entry);
            return self.head_alone(head, received);
        }
        let status = head.status.as_u16();
        FetchResult { revalidated: false, status, ..self.confirm(&entry, &head) }
    }

    fn head_alone(&self, mut head: Head, received: &HeaderMap) -> FetchResult {
        // The length is that of the compressed body, and no client is given that.
        if received.contains_key(CONTENT_ENCODING) {
            head.fields.remove(CONTENT_LENGTH);
        }
        // A `GET` would be told of the body as it is once it is decoded.
        self.settle_coding(&mut head.fields, is_gzip(received));
        let ingredients = Ingredients {
            plain: true,
            is_head: true,
            status: head.status,
            fields: std::mem::take(&mut head.fields),
            body: Bytes::new(),
            page_content: PageContent::default(),
            verdict: Verdict::NOT_KEPT,
            kept: false,
            variant: Variant::default(),
            received: head.received,
            delay: head.received.since(head.asked.monotonic),
        };
        let bypass = Bypass::Rfc(NotStored::Method);
        self.note_not_kept(bypass);
        self.landed(&head, Some(Arc::new(Entry::new(ingredients))), Err(bypass), false)
    }

    /// Takes away what a successful change makes invalid: what is stored for its URL, and for those that its answer
    /// names (RFC 9111, section 4.4).
    pub(super) fn invalidate(&self, head: &Head) {
        let permit = &self.ask.permit;
        if !invalidates(permit.method(), head.status) {
            return;
        }
        let credential = permit.credential();
        let mut paths = invalidated(&credential.api_origin, permit.path_and_query(), &head.fields);
        // Queries are stored in their canonical form.
        let canonical = |path: &String| {
            path.split_once('?').map(|(path, query)| format!("{path}?{}", query::canonical(query)))
        };
        paths.extend(paths.iter().filter_map(canonical).collect::<Vec<_>>());
        self.proxy.shelf.change(&credential.key, &paths);
    }

    pub(super) fn note_not_kept(&self, bypass: Bypass) {
        let now = self.proxy.clock.now().wall;
        self.proxy.shelf.note_not_kept(&self.ask.key, || label(&self.ask.permit, &self.ask.key), bypass, now);
    }

    /// Leaves in the fields only what is true of the body as it is given out.
    pub(super) fn settle_coding(&self, fields: &mut HeaderMap, decoded: bool) {
        if decoded {
            drop_digests(fields);
        }
        if decoded || !self.ask.is_plain() {
            fields.remove(CONTENT_ENCODING);
            drop_from_vary(fields);
        }
    }

    pub(super) fn landed(
        &self,
        head: &Head,
        entry: Option<Arc<Entry>>,
        stored: Result<(), Bypass>,
        revalidated: bool,
    ) -> FetchResult {
        if !self.ask.is_plain() {
            self.ask.origin.breaker.record_complete();
        }
        let landed = self.landing(head, entry, stored, revalidated);
        let position = Some(self.ask.permit.endpoint().position);
        self.ask.snapshot.endpoint_metrics(position).upstream_duration.observe(landed.upstream.as_secs_f64());
        landed
    }

    /// What is known of it so far.
    pub(super) fn landing(
        &self,
        head: &Head,
        entry: Option<Arc<Entry>>,
        stored: Result<(), Bypass>,
        revalidated: bool,
    ) -> FetchResult {
        FetchResult {
            entry,
            for_others: None,
            stored,
            revalidated,
            rate: Some(head.rate),
            upstream: self.proxy.clock.now().since(head.asked.monotonic),
            waited: head.waited,
            token: head.token,
            status: head.status.as_u16(),
        }
    }
}
