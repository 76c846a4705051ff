//! Exponential backoff with jitter.

use std::time::Duration;

/// A backoff that doubles from `first` to `longest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The delay after the first failure.
    pub first: Duration,
    /// The maximum delay.
    pub longest: Duration,
}

/// For an endpoint that is unreachable, slow, or sends invalid responses.
pub const OUTAGE: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_mins(1) };

/// For a rejected credential.
pub const REJECTED: Backoff = Backoff { first: Duration::from_secs(30), longest: Duration::from_mins(15) };

/// For a credential that is rejected shortly after it worked: Talkdesk rejects a scope that was just added for
/// some minutes.
pub const REJECTED_AFTER_SUCCESS: Backoff =
    Backoff { first: Duration::from_secs(30), longest: Duration::from_mins(1) };

impl Backoff {
    /// The delay after this number of consecutive failures. `jitter`, from 0 to 1, shifts it by up to 20 % in
    /// either direction.
    #[must_use]
    pub fn wait(self, failures: u32, jitter: f64) -> Duration {
        let doubled = self.first.saturating_mul(1 << failures.saturating_sub(1).min(20));
        doubled.min(self.longest).mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_the_maximum_with_jitter() {
        let seconds: Vec<_> = (1..9).map(|failures| OUTAGE.wait(failures, 0.5).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(REJECTED.wait(1, 0.0), Duration::from_secs(24));
        assert_eq!(REJECTED.wait(u32::MAX, 1.0), Duration::from_mins(18));
    }
}
