//! Measures the time that a request waits for upstream, even if no response arrives.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Now;

/// Measures how long a request waits for upstream.
#[derive(Debug, Default)]
pub struct UpstreamTimer(Mutex<State>);

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    NotStarted,
    Running(Now),
    Stopped(Duration),
}

impl UpstreamTimer {
    /// Resets the timer for a new attempt; nothing is sent yet.
    pub fn reset(&self) {
        *self.state() = State::NotStarted;
    }

    /// Starts the timer: the request is sent, for the first time or as a retry.
    pub fn start(&self, now: Now) {
        *self.state() = State::Running(now);
    }

    /// Stops the timer: before a retry, the request waits for the limit or a token and not for upstream.
    pub fn stop(&self, now: Now) {
        let mut state = self.state();
        if let State::Running(started) = *state {
            *state = State::Stopped(now.since(started.monotonic));
        }
    }

    /// Sets the time that another request waited, which did the fetch.
    pub fn set(&self, duration: Duration) {
        *self.state() = State::Stopped(duration);
    }

    /// Whether the request was sent. From then on the fetch is finished even if no client waits for it.
    #[must_use]
    pub fn has_started(&self) -> bool {
        !matches!(*self.state(), State::NotStarted)
    }

    /// How long the last attempt waited.
    #[must_use]
    pub fn elapsed(&self, now: Now) -> Duration {
        match *self.state() {
            State::NotStarted => Duration::ZERO,
            State::Running(started) => now.since(started.monotonic),
            State::Stopped(duration) => duration,
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
    fn a_stopped_timer_does_not_count_on() {
        let manual = ManualClock::new();
        let clock = Clock::Manual(manual.clone());
        let timer = UpstreamTimer::default();
        manual.advance(Duration::from_secs(1));
        timer.stop(clock.now());
        assert!(!timer.has_started() && timer.elapsed(clock.now()).is_zero(), "it has not left yet");
        timer.start(clock.now());
        manual.advance(Duration::from_secs(2));
        assert_eq!(timer.elapsed(clock.now()), Duration::from_secs(2));
        timer.stop(clock.now());
        manual.advance(Duration::from_secs(4));
        assert!(timer.has_started());
        assert_eq!(timer.elapsed(clock.now()), Duration::from_secs(2));
        timer.start(clock.now());
        manual.advance(Duration::from_secs(3));
        assert_eq!(timer.elapsed(clock.now()), Duration::from_secs(3));
        timer.reset();
        assert!(!timer.has_started() && timer.elapsed(clock.now()).is_zero(), "another fetch begins");
    }
}
