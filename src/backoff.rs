//! How long to leave a failing endpoint alone.

use std::time::Duration;

/// The shape of a back-off: doubling from `first` to `longest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
}

/// For an endpoint that is down, slow, or does not make sense.
pub const OUTAGE: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_mins(1) };

/// For a credential that is refused.
pub const REJECTED: Backoff = Backoff { first: Duration::from_secs(30), longest: Duration::from_mins(15) };

/// For a credential that is refused although it worked a moment ago: a scope that was just added answers so for
/// some minutes.
pub const REJECTED_AFTER_SUCCESS: Backoff =
    Backoff { first: Duration::from_secs(30), longest: Duration::from_mins(1) };

impl Backoff {
    /// The wait after so many failures in a row, `jitter` being a number from 0 to 1 that spreads it by
    /// 20 % to either side.
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
    fn it_doubles_to_its_longest_within_a_fifth_to_either_side() {
        let seconds: Vec<_> = (1..9).map(|failures| OUTAGE.wait(failures, 0.5).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(REJECTED.wait(1, 0.0), Duration::from_secs(24));
        assert_eq!(REJECTED.wait(u32::MAX, 1.0), Duration::from_mins(18));
    }
}
