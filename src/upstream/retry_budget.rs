//! Limits retries to a fifth of the requests sent, so that they cannot double the load on a failing server. Three retries
//! in ten seconds are always allowed, so that a tenant with few requests can retry too.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::Now;

/// The budget of one credential.
#[derive(Debug, Default)]
pub struct RetryBudget {
    seconds: Mutex<VecDeque<Second>>,
}

#[derive(Debug)]
struct Second {
    began: Instant,
    sent: u32,
    retried: u32,
}

const WINDOW: Duration = Duration::from_secs(10);
const MIN_RETRIES: u32 = 3;
const REQUESTS_PER_RETRY: u32 = 5;

impl RetryBudget {
    /// Counts a request that is sent for the first time.
    pub fn sent(&self, now: Now) {
        self.with_present_second(now, |second| second.sent += 1);
    }

    /// Returns whether a retry is allowed, and counts it if so.
    pub fn take(&self, now: Now) -> bool {
        self.with_present_second(now, |_| ());
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let (sent, retried) = seconds
            .iter()
            .fold((0, 0), |(sent, retried), second| (sent + second.sent, retried + second.retried));
        let allowed = retried < MIN_RETRIES.max(sent / REQUESTS_PER_RETRY);
        if allowed && let Some(present) = seconds.back_mut() {
            present.retried += 1;
        }
        allowed
    }

    fn with_present_second(&self, now: Now, count: impl FnOnce(&mut Second)) {
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        while seconds.front().is_some_and(|second| now.since(second.began) >= WINDOW) {
            seconds.pop_front();
        }
        let is_over = |second: &Second| now.since(second.began) >= Duration::from_secs(1);
        if seconds.back().is_none_or(is_over) {
            seconds.push_back(Second { began: now.monotonic, sent: 0, retried: 0 });
        }
        if let Some(second) = seconds.back_mut() {
            count(second);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};

    #[test]
    fn three_in_ten_seconds_in_any_case_and_a_fifth_of_what_is_sent() {
        let (budget, manual) = (RetryBudget::default(), ManualClock::new());
        let clock = Clock::Manual(manual.clone());
        let taken = |most: usize| (0..most).filter(|_| budget.take(clock.now())).count();
        budget.sent(clock.now());
        assert_eq!(taken(10), 3);
        manual.advance(Duration::from_secs(5));
        for _ in 0..99 {
            budget.sent(clock.now());
        }
        assert_eq!(taken(100), 20 - 3);
        manual.advance(Duration::from_secs(10));
        assert_eq!(taken(10), 3);
    }
}
