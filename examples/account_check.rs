//! What does it cost to tell a foreign account?
//!
//! ```sh
//! cargo run --release --example account_check
//! ```
//!
//! Two checks are timed: whether an account that a query names is under an Organization of 5,000 (the learned list),
//! as what the whole entitlement takes beyond a query that names none; and whether a record of an answer is its
//! Instance's own, as what looking a body through takes for each record beyond not checking it. Each is a median of
//! rounds. The exit code is 1 where a check takes a microsecond or more.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use billing_insights_proxy::clock::Clock;
use billing_insights_proxy::config::{Config, Environment, parse};
use billing_insights_proxy::domain::entitlement::{AccessRequest, AccountScope, authorize};
use billing_insights_proxy::domain::learned::{AccountList, Learned};
use billing_insights_proxy::domain::tenant::TenantKind;
use billing_insights_proxy::page::{self, links};

const CONFIGURATION: &str = "
organizations:
  - id: acme
    credential: { account: acme, client_id: id, client_secret: { file: none } }
";

const ACCOUNTS: usize = 5_000;
const RECORDS: usize = 1_000;
const ROUNDS: usize = 31;
const MOST: Duration = Duration::from_micros(1);

fn id(number: usize) -> String {
    format!("5ea75fe7{number:016x}")
}

fn main() -> ExitCode {
    let config = parse(CONFIGURATION, "example.yaml", Path::new("/nowhere"), &Environment::empty());
    let Ok(config) = config else { return ExitCode::FAILURE };
    let named = account_in_query(&config);
    let record = account_of_record();
    println!("an account in a query, of {ACCOUNTS}: {} ns", named.as_nanos());
    println!("the account of a record: {} ns", record.as_nanos());
    if named < MOST && record < MOST { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The median time of one of so many calls.
fn timed(calls: u32, mut call: impl FnMut()) -> Duration {
    let clock = Clock::System;
    let round = |_| {
        let before = clock.now();
        for _ in 0..calls {
            call();
        }
        clock.now().since(before.monotonic) / calls
    };
    let mut rounds: Vec<_> = (0..ROUNDS).map(round).collect();
    rounds.sort_unstable();
    rounds[ROUNDS / 2]
}

fn account_in_query(config: &Config) -> Duration {
    let now = Clock::System.now().monotonic;
    let learned = Learned::default();
    let Some(tenant) = config.tenants.iter().next() else { return Duration::MAX };
    let TenantKind::Organization(organization) = &tenant.kind else { return Duration::MAX };
    let accounts: HashMap<_, _> =
        (0..ACCOUNTS).filter_map(|number| Some((id(number).parse().ok()?, None))).collect();
    learned
        .learn_accounts(organization, AccountList { accounts, without_id: 0, without_name: 0, read_at: now });
    let endpoint = &config.endpoints[3].endpoint;
    let decide = |query: &str| {
        let request = AccessRequest { endpoint, path: "/express/invoices", query: Some(query) };
        black_box(authorize(black_box(tenant), &request, &config.policy, &learned, now)).is_ok()
    };
    // The same length, but for the name of the attribute.
    let filter = |attribute: &str, number| format!("filter={attribute}%20eq%20%27{}%27", id(number));
    let (inside, outside) = (filter("account_id", ACCOUNTS / 2), filter("account_id", ACCOUNTS));
    let none = filter("account_xx", ACCOUNTS / 2);
    assert!(decide(&inside) && decide(&none) && !decide(&outside), "the list decides");
    let with = timed(20_000, || {
        decide(&inside);
    });
    let without = timed(20_000, || {
        decide(&none);
    });
    println!(
        "    the whole entitlement: {} ns, without an account {} ns",
        with.as_nanos(),
        without.as_nanos()
    );
    with.saturating_sub(without)
}

fn account_of_record() -> Duration {
    let Ok(account) = id(1).parse() else { return Duration::MAX };
    let mut body = String::from(r#"{"_embedded":{"invoices":["#);
    for number in 0..RECORDS {
        let comma = if number > 0 { "," } else { "" };
        let _ = write!(body, r#"{comma}{{"id":"{number}","account_id":"{}","amount":1.10}}"#, id(1));
    }
    body.push_str("]}}");
    let origin = links::ApiOrigin::new("https://api.talkdeskapp.com".into());
    let account_scope = AccountScope { field: Arc::from("account_id"), account };
    let looked_through = |account_scope: Option<&AccountScope>| {
        let fit = page::read(black_box(body.as_bytes()), &origin, account_scope).is_ok();
        assert!(fit, "the records are its own");
    };
    let with = timed(20, || looked_through(Some(&account_scope)));
    let without = timed(20, || looked_through(None));
    let records = u32::try_from(RECORDS).unwrap_or(1);
    println!(
        "    looking a record through: {} ns, without the check {} ns",
        (with / records).as_nanos(),
        (without / records).as_nanos()
    );
    with.saturating_sub(without) / records
}
