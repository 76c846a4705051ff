//! The circuit breaker of one credential's way to the API.
//!
//! A request that gets no response opens it: for one second, then twice as long after each further failure, up to a minute.
//! While it is open nothing is sent: a stale entry is served at once, and without one the request fails at once. When the
//! time is over one request goes through as a probe, and the breaker stays open for the others until the probe succeeds.
//!
//! A server that responds, even with a 5xx, is not down: a client gets that response if there is nothing stored. If there is
//! a stale entry, it is served for the same length of time without asking the server again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::rejection::Rejection;
use crate::backoff::OUTAGE;
use crate::clock::Now;

/// The state of one way.
#[derive(Debug, Default)]
pub struct Health {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    down: Option<Down>,
    /// Errors of the server in a row, and until when it is left alone by those who can.
    errors: u32,
    ailing_until: Option<Instant>,
}

#[derive(Debug)]
struct Down {
    until: Instant,
    why: Rejection,
    probing: bool,
}

/// The right to go through. A probe that is dropped without an outcome lets the next one probe.
#[derive(Debug)]
pub struct Way<'a> {
    health: &'a Health,
    probe: bool,
}

impl Health {
    /// Whether a request may go through.
    ///
    /// # Errors
    /// The failure that made the way count as down.
    pub fn enter(&self, now: Now) -> Result<Way<'_>, Rejection> {
        let mut state = self.state();
        let Some(down) = &mut state.down else { return Ok(Way { health: self, probe: false }) };
        if down.probing || now.monotonic < down.until {
            return Err(down.why.clone());
        }
        down.probing = true;
        Ok(Way { health: self, probe: true })
    }

    /// Notes that a request got no answer, or not all of one in time.
    pub fn failed(&self, why: &Rejection, now: Now) {
        let mut state = self.state();
        // Those that were under way together fail together: that is one failure.
        if state.down.as_ref().is_some_and(|down| !down.probing && now.monotonic < down.until) {
            return;
        }
        state.failures = state.failures.saturating_add(1);
        let until = now.after(OUTAGE.wait(state.failures, fastrand::f64()));
        state.down = Some(Down { until, why: why.clone(), probing: false });
    }

    /// Whether the way counts as down.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.state().down.is_some()
    }

    /// Whether whoever has a stale entry had better use that.
    #[must_use]
    pub fn is_ailing(&self, now: Now) -> bool {
        self.state().ailing_until.is_some_and(|until| now.monotonic < until)
    }

    /// Notes that an answer came to its end: the next failure is the first again.
    pub fn whole(&self) {
        self.state().failures = 0;
    }

    fn answered(&self, well: bool, now: Now) {
        let mut state = self.state();
        state.down = None;
        if well {
            state.errors = 0;
            state.ailing_until = None;
        } else if state.ailing_until.is_none_or(|until| now.monotonic >= until) {
            state.errors = state.errors.saturating_add(1);
            state.ailing_until = Some(now.after(OUTAGE.wait(state.errors, fastrand::f64())));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Way<'_> {
    /// Notes that there was an answer: a good one, or an error of the server.
    pub fn answered(self, well: bool, now: Now) {
        self.health.answered(well, now);
    }
}

impl Drop for Way<'_> {
    fn drop(&mut self) {
        if self.probe
            && let Some(down) = &mut self.health.state().down
        {
            down.probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};
    use std::time::Duration;

    #[test]
    fn one_probe_goes_through_when_the_time_is_over() {
        let (health, manual) = (Health::default(), ManualClock::new());
        let clock = Clock::Manual(manual.clone());
        assert!(health.enter(clock.now()).is_ok());
        health.failed(&Rejection::UpstreamTimeout, clock.now());
        assert_eq!(health.enter(clock.now()).err(), Some(Rejection::UpstreamTimeout));
        manual.advance(Duration::from_millis(1200));
        let probe = health.enter(clock.now()).expect("the time is over");
        assert!(health.enter(clock.now()).is_err(), "one at a time");
        drop(probe);
        health
            .enter(clock.now())
            .expect("the first probe left without an outcome")
            .answered(true, clock.now());
        assert!(health.enter(clock.now()).is_ok() && !health.is_down());
    }

    #[test]
    fn an_answer_that_begins_and_never_ends_does_not_make_the_next_failure_the_first() {
        let (health, manual) = (Health::default(), ManualClock::new());
        let clock = Clock::Manual(manual.clone());
        for wait in [1200, 2400, 4800] {
            health.enter(clock.now()).expect("it is not down").answered(true, clock.now());
            health.failed(&Rejection::UpstreamTimeout, clock.now());
            manual.advance(Duration::from_millis(wait / 2));
            assert!(health.enter(clock.now()).is_err(), "longer each time");
            manual.advance(Duration::from_millis(wait / 2));
        }
        health.enter(clock.now()).expect("it is not down").answered(true, clock.now());
        health.whole();
        health.failed(&Rejection::UpstreamTimeout, clock.now());
        manual.advance(Duration::from_millis(1200));
        assert!(health.enter(clock.now()).is_ok());
    }

    #[test]
    fn a_server_that_answers_with_errors_is_left_alone_by_those_who_can() {
        let (health, manual) = (Health::default(), ManualClock::new());
        let clock = Clock::Manual(manual.clone());
        let answer = |well| health.enter(clock.now()).expect("it is not down").answered(well, clock.now());
        answer(false);
        assert!(health.is_ailing(clock.now()));
        manual.advance(Duration::from_millis(1200));
        assert!(!health.is_ailing(clock.now()));
        answer(false);
        manual.advance(Duration::from_millis(1200));
        assert!(health.is_ailing(clock.now()), "longer, the second time");
        answer(true);
        assert!(!health.is_ailing(clock.now()));
    }

    #[test]
    fn failures_that_follow_each_other_keep_it_down_for_longer_and_those_at_once_do_not() {
        let (health, manual) = (Health::default(), ManualClock::new());
        let clock = Clock::Manual(manual.clone());
        for _ in 0..100 {
            health.failed(&Rejection::UpstreamTimeout, clock.now());
        }
        manual.advance(Duration::from_millis(1200));
        let probe = health.enter(clock.now()).expect("a hundred at once count once");
        health.failed(&Rejection::UpstreamTimeout, clock.now());
        drop(probe);
        manual.advance(Duration::from_millis(1200));
        assert!(health.enter(clock.now()).is_err());
        manual.advance(Duration::from_millis(1200));
        assert!(health.enter(clock.now()).is_ok());
    }
}
