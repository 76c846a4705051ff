//! What was changed lately by requests that went through here (RFC 9111, section 4.4), so that an answer that was
//! asked for before the change does not come back after it.
//!
//! A number decides and not the time: two events can have one time, but not one number.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::domain::credential::CredentialKey;
use crate::rfc9111::key::PrimaryKey;

/// The latest change of each URL.
pub(super) struct Changes {
    count: AtomicU64,
    latest: moka::sync::Cache<PrimaryKey, u64>,
}

/// Longer than any answer takes that was asked for before.
const REMEMBERED: Duration = Duration::from_mins(15);

/// Of more URLs than this the changes are not remembered: an answer under way at such a moment may come back.
const MOST: u64 = 10_000;

impl Default for Changes {
    fn default() -> Self {
        let latest = moka::sync::Cache::builder().max_capacity(MOST).time_to_live(REMEMBERED).build();
        Self { count: AtomicU64::new(0), latest }
    }
}

impl Changes {
    /// Notes that what a credential sees at a URL has changed.
    pub(super) fn note(&self, credential: &CredentialKey, origin: &str, path_and_query: &str) {
        let number = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        self.latest.insert(key(credential, origin, path_and_query), number);
    }

    /// The number of the latest change; zero where there was none lately.
    pub(super) fn latest(&self, credential: &CredentialKey, origin: &str, path_and_query: &str) -> u64 {
        self.latest.get(&key(credential, origin, path_and_query)).unwrap_or_default()
    }
}

fn key(credential: &CredentialKey, origin: &str, path_and_query: &str) -> PrimaryKey {
    PrimaryKey::new(credential.as_bytes(), origin, path_and_query, None)
}
