//! What the parts of a request cost: a hit over a connection in memory beside hyper alone, and the pure functions that
//! it, or a miss, is made of.
//!
//! ```sh
//! cargo bench --bench parts
//! ```
//!
//! Times on a shared machine wander; `benches/instructions` counts, and is what a change is held against.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use billing_insights_proxy::clock::Clock;
use billing_insights_proxy::config::{Environment, parse};
use billing_insights_proxy::domain::entitlement::{AccessRequest, Permit, authorize};
use billing_insights_proxy::domain::learned::Learned;
use billing_insights_proxy::page;
use billing_insights_proxy::page::links::{ApiOrigin, Base, spliced};
use billing_insights_proxy::rfc9111::directives::{RequestDirectives, ResponseDirectives};
use billing_insights_proxy::rfc9111::freshness::{RequestSaid, Response, freshness, satisfies};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, StatusCode};

mod in_memory;

const CONFIGURATION: &str = "
organizations:
  - id: acme
    credential: { account: acme, client_id: id, client_secret: { file: none } }
    accounts:
      - { id: 5ea75fe7aa224700012eae40, name: josephpinetrees }
    discover_accounts: false
";

criterion_group!(parts, hit, entitlement, key, judging, links, reading);
criterion_main!(parts);

fn hit(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (mut proxy, _alive) = runtime.block_on(in_memory::proxy());
    let mut bare = runtime.block_on(async { in_memory::bare() });
    let mut buffer = vec![0; 64 * 1024];
    let mut group = criterion.benchmark_group("over a connection in memory");
    for (name, connection) in [("a hit", &mut proxy), ("hyper alone", &mut bare)] {
        runtime.block_on(in_memory::ask(connection, &mut buffer));
        group.bench_function(name, |bencher| {
            bencher.iter(|| runtime.block_on(in_memory::ask(connection, &mut buffer)));
        });
    }
}

/// The decision about an Instance on its Organization's credential, which is the longest.
fn permit() -> impl Fn() -> Permit {
    let config = parse(CONFIGURATION, "example.yaml", Path::new("/nowhere"), &Environment::empty());
    let config = config.expect("a configuration");
    let (learned, now) = (Learned::default(), Clock::System.now().monotonic);
    let name = "instances/josephpinetrees".parse().expect("a name");
    let tenant = Arc::clone(config.tenants.find(&name).expect("a tenant"));
    let invoices = config.endpoints.iter().find(|one| &*one.endpoint.name == "invoices").expect("documented");
    let endpoint = Arc::clone(&invoices.endpoint);
    move || {
        let query = Some("page=2&per_page=50");
        let request = AccessRequest { endpoint: &endpoint, path: "/express/invoices", query };
        authorize(&tenant, &request, &config.policy, &learned, now).expect("permitted")
    }
}

fn entitlement(criterion: &mut Criterion) {
    let permit = permit();
    criterion.bench_function("the decision of the entitlement", |bencher| bencher.iter(&permit));
}

fn key(criterion: &mut Criterion) {
    let permit = permit()();
    criterion.bench_function("the key of a request", |bencher| {
        bencher.iter(|| billing_insights_proxy::cache::primary_key(black_box(&permit)));
    });
}

fn judging(criterion: &mut Criterion) {
    let mut fields = HeaderMap::new();
    for (name, value) in [
        ("cache-control", "private, max-age=60, stale-if-error=600"),
        ("date", "Tue, 24 Nov 2026 12:00:00 GMT"),
        ("etag", "\"a\""),
        ("vary", "accept-encoding"),
    ] {
        fields.insert(name, value.parse().expect("a value"));
    }
    let mut request = HeaderMap::new();
    request.insert("cache-control", "max-age=30".parse().expect("a value"));
    let judged = || {
        let directives = ResponseDirectives::read(black_box(&fields));
        freshness(&Response {
            status: StatusCode::OK,
            fields: &fields,
            directives: &directives,
            request: &RequestSaid::default(),
            received: SystemTime::UNIX_EPOCH + Duration::from_hours(498_756),
        })
    };
    criterion.bench_function("how long a response stays fresh", |bencher| bencher.iter(judged));
    let fresh = judged();
    criterion.bench_function("whether it satisfies a request", |bencher| {
        bencher.iter(|| {
            let wish = RequestDirectives::read(black_box(&request));
            satisfies(&wish, &fresh, Duration::from_secs(10))
        });
    });
}

/// A page as Talkdesk has it, with links, of about so many bytes.
fn page_of(size: usize) -> Vec<u8> {
    let mut records = Vec::new();
    let mut length = 0;
    while length < size {
        let record = format!(
            r#"{{"id":"inv-{:08}","account_id":"5ea75fe7aa224700012eae40","number":"2026-{length:06}","amount":100.10,"currency":"USD","paid":true,"description":"Voice minutes, United States","_links":{{"self":{{"href":"https://api.talkdeskapp.com/express/invoices/{length}"}}}}}}"#,
            records.len(),
        );
        length += record.len();
        records.push(record);
    }
    let records = records.join(",");
    format!(
        r#"{{"total":100,"page":1,"_embedded":{{"invoices":[{records}]}},"_links":{{"next":{{"href":"https://api.talkdeskapp.com/express/invoices?page=2"}}}}}}"#
    )
    .into_bytes()
}

fn links(criterion: &mut Criterion) {
    let (origin, base) = (
        ApiOrigin::new("https://api.talkdeskapp.com".into()),
        Base::here("127.0.0.1:8080", Some("organizations/acme")),
    );
    let body = Bytes::from(page_of(2 * 1024));
    let found = page::read(&body, &origin, None).expect("JSON").links;
    criterion.bench_function("links into a body of 2 KiB", |bencher| {
        bencher.iter(|| spliced(black_box(&body), &found, &base));
    });
}

fn reading(criterion: &mut Criterion) {
    let origin = ApiOrigin::new("https://api.talkdeskapp.com".into());
    let permit = permit()();
    let mut group = criterion.benchmark_group("reading a page");
    for size in [2 * 1024, 1024 * 1024] {
        let body = page_of(size);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("{size} bytes, accounts and links"), |bencher| {
            bencher.iter(|| page::read(black_box(&body), &origin, permit.account_scope()).expect("its own"));
        });
        group.bench_function(format!("{size} bytes, links"), |bencher| {
            bencher.iter(|| page::read(black_box(&body), &origin, None).expect("JSON"));
        });
    }
}
