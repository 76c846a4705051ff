//! Measures the time a request spent waiting for upstream, also where no response came.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Now;

/// Whether a request is on its way upstream, and for how long it is or was.
#[derive(Debug, Default)]
pub struct Away(Mutex<State>);

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// It has not left yet.
    #[default]
    Here,
    /// It is upstream.
    Since(Now),
    /// It was upstream.
    For(Duration),
}

impl Away {
    /// It is to be sent, and has not left.
    pub fn stays(&self) {
        *self.state() = State::Here;
    }

    /// It is sent now, for the first time or once more.
    pub fn leaves(&self, now: Now) {
        *self.state() = State::Since(now);
    }

    /// Upstream is not waited for any more: it is a limit, or a token, before it is sent once more.
    pub fn returns(&self, now: Now) {
        let mut state = self.state();
        if let State::Since(left) = *state {
            *state = State::For(now.since(left.monotonic));
        }
    }

    /// It was sent by somebody else, who waited for so long.
    pub fn was(&self, duration: Duration) {
        *self.state() = State::For(duration);
    }

    /// Whether it was sent: from then on it is finished, whoever waits.
    #[must_use]
    pub fn has_left(&self) -> bool {
        !matches!(*self.state(), State::Here)
    }

    /// For how long, the last time that it was sent.
    #[must_use]
    pub fn lasted(&self, now: Now) -> Duration {
        match *self.state() {
            State::Here => Duration::ZERO,
            State::Since(left) => now.since(left.monotonic),
            State::For(duration) => duration,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};

    #[test]
    fn what_comes_after_the_return_is_no_time_of_upstreams() {
        let manual = ManualClock::new();
        let clock = Clock::Manual(manual.clone());
        let away = Away::default();
        manual.advance(Duration::from_secs(1));
        away.returns(clock.now());
        assert!(!away.has_left() && away.lasted(clock.now()).is_zero(), "it has not left yet");
        away.leaves(clock.now());
        manual.advance(Duration::from_secs(2));
        assert_eq!(away.lasted(clock.now()), Duration::from_secs(2));
        away.returns(clock.now());
        manual.advance(Duration::from_secs(4));
        assert!(away.has_left());
        assert_eq!(away.lasted(clock.now()), Duration::from_secs(2));
        away.leaves(clock.now());
        manual.advance(Duration::from_secs(3));
        assert_eq!(away.lasted(clock.now()), Duration::from_secs(3));
        away.stays();
        assert!(!away.has_left() && away.lasted(clock.now()).is_zero(), "another fetch begins");
    }
}
