//! The API's own rate limit, for each tenant's client on its own.
//!
//! Deliberately absent: a limit on the token endpoint, which a fault can play.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::lock::lock;
use super::options::RateLimit;
use crate::clock::Now;

/// Where each client stands.
#[derive(Default)]
pub(super) struct RateLimits {
    /// When a client's requests so far are paid for at the steady rate.
    paid: Mutex<HashMap<usize, Instant>>,
}

impl RateLimits {
    /// Admits a request, or says how long to wait.
    pub(super) fn admit(&self, limit: RateLimit, client: usize, now: Now) -> Result<(), Duration> {
        let interval = Duration::from_secs(1) / limit.per_second.max(1);
        let allowance = interval * limit.burst.saturating_sub(1);
        let mut paid = lock(&self.paid);
        let due = paid.entry(client).or_insert(now.monotonic);
        let debt = now.until(*due);
        if debt > allowance {
            return Err(debt.saturating_sub(allowance));
        }
        *due = now.after(debt + interval);
        Ok(())
    }
}
