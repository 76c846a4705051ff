//! An entry weighs what it really takes: the bytes that are allocated for it, counted by the allocator.

use std::alloc::System;
use std::sync::Arc;
use std::time::Duration;

use billing_insights_proxy::cache::entry::EntryParts;
use billing_insights_proxy::cache::policy::StoreDecision;
use billing_insights_proxy::cache::{Entry, Generation, ResponseCache, SlotLabel};
use billing_insights_proxy::clock::Clock;
use billing_insights_proxy::config;
use billing_insights_proxy::domain::credential::CredentialKey;
use billing_insights_proxy::metrics::Metrics;
use billing_insights_proxy::page::links::Splice;
use billing_insights_proxy::page::{Count, PageContent, TotalCounts};
use billing_insights_proxy::rfc9111::freshness::Freshness;
use billing_insights_proxy::rfc9111::key::{PrimaryKey, Variant};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What the system's allocator takes per allocation beside what was asked for: a length, and rounding up to 16.
const PER_ALLOCATION: usize = 16;

/// One shape of entries.
struct Shape {
    name: &'static str,
    entries: usize,
    body: usize,
    links: usize,
    fields: usize,
    pages: usize,
    language: bool,
}

const SHAPES: [Shape; 5] = [
    Shape { name: "tiny", entries: 20_000, body: 2, links: 0, fields: 3, pages: 1, language: false },
    Shape { name: "usual", entries: 5000, body: 20_000, links: 6, fields: 12, pages: 5, language: false },
    Shape {
        name: "long walks",
        entries: 20_000,
        body: 500,
        links: 6,
        fields: 12,
        pages: 500,
        language: false,
    },
    Shape { name: "many fields", entries: 5000, body: 100, links: 0, fields: 60, pages: 3, language: false },
    Shape { name: "varied", entries: 5000, body: 1000, links: 6, fields: 12, pages: 1, language: true },
];

#[test]
fn the_weight_of_an_entry_is_what_the_allocator_gives_out_for_it() {
    let mut percents = Vec::new();
    for shape in &SHAPES {
        let cache = config::Cache { max_bytes: 4 << 30, max_entry_bytes: 8 << 20, collapse: true };
        let cache = ResponseCache::new(&cache, Arc::new(Metrics::new()));
        fill(&cache, shape, 0..1);
        let (_, before) = cache.fill();
        let region = Region::new(ALLOCATOR);
        fill(&cache, shape, 1..shape.entries);
        let stats = region.change();
        let (_, after) = cache.fill();
        let allocations = stats.allocations.saturating_sub(stats.deallocations);
        let bytes = stats.bytes_allocated.saturating_sub(stats.bytes_deallocated);
        let taken = bytes + allocations * PER_ALLOCATION;
        let weight = usize::try_from(after - before).expect("it fits");
        let percent = weight * 100 / taken;
        println!(
            "{}: {} bytes in {} allocations each, weight {}: {percent} %",
            shape.name,
            taken / shape.entries,
            allocations / shape.entries,
            weight / shape.entries,
        );
        percents.push(percent);
    }
    assert!(percents.iter().all(|percent| (90..=125).contains(percent)), "{percents:?}");
}

fn fill(cache: &ResponseCache, shape: &Shape, numbers: std::ops::Range<usize>) {
    let now = Clock::System.now();
    let client = "2f1c9a0e5b7d4c31".parse().expect("an id");
    let credential =
        CredentialKey::new("https://id.example.com", "https://api.example.com", &client, None, None);
    for number in numbers {
        let (set, page) = (number / shape.pages, number % shape.pages);
        let key =
            |query: &str| PrimaryKey::new(credential.as_bytes(), "https://api.example.com", query, None);
        let page = if shape.pages == 1 { String::new() } else { format!("page={page}&") };
        let path = format!("/express/invoices?from=2024-01&{page}per_page=100&to=2024-12&set={set}");
        let key_of_this = key(&path);
        // A set of one is asked for without `page`, and then has its page's key.
        let of_all = format!("/express/invoices?from=2024-01&per_page=100&to=2024-12&set={set}");
        let pages = if shape.pages == 1 { key_of_this.clone() } else { key(&of_all) };
        let label = SlotLabel {
            credential: credential.clone(),
            account: None,
            endpoint: Arc::from("invoices"),
            at: key_of_this.clone(),
            pages,
        };
        let mut fields = HeaderMap::new();
        for field in 0..shape.fields {
            let name = HeaderName::from_bytes(format!("x-some-field-{field}").as_bytes()).expect("a name");
            fields.insert(
                name,
                HeaderValue::try_from(format!("a value of usual length {number}")).expect("a value"),
            );
        }
        let mut request = HeaderMap::new();
        if shape.language {
            fields.insert("vary", HeaderValue::from_static("accept-language, accept"));
            request.insert("accept-language", HeaderValue::from_static("de, en;q=0.5"));
        }
        let entry = Entry::new(EntryParts {
            stored: true,
            status: StatusCode::OK,
            variant: Variant::of(&fields, &request),
            fields,
            body: Bytes::from(vec![b'x'; shape.body]),
            page_content: PageContent {
                links: (0..shape.links).map(|start| Splice { start: start as u64, length: 1 }).collect(),
                counts: TotalCounts {
                    total: Count::Number(100),
                    total_pages: Count::Number(shape.pages as u64),
                },
                ..PageContent::default()
            },
            decision: StoreDecision {
                freshness: Freshness {
                    lifetime: Duration::from_hours(1),
                    stale_while_revalidate: Duration::ZERO,
                    stale_if_error: Duration::from_hours(1),
                    always_validate: false,
                    never_stale: false,
                },
                overrides_origin: true,
                by_ttl: true,
            },
            received: now,
            delay: Duration::ZERO,
        });
        let (_, stored) = cache.store(&key_of_this, &label, entry, Generation::default());
        stored.expect("it is stored");
    }
    cache.tidy();
}
