//! The circuit breaker for one credential's requests to the API.
//!
//! A request without a response opens it for one second, then for twice as long after each further failure, up to a minute.
//! While it is open, no request is sent: a stale entry is served at once; without one, the request fails at once. After
//! that time one request is sent as a probe, and the breaker stays open for the others until the probe succeeds.
//!
//! A 5xx response does not open it: a client gets that response if nothing is stored. If there is a stale entry, it is
//! served for the same length of time without another request to the server.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::backoff::OUTAGE;
use crate::clock::Now;
use crate::problem::Rejection;

/// The circuit breaker of one credential.
#[derive(Debug, Default)]
pub struct CircuitBreaker {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open: Option<Open>,
    /// Consecutive 5xx responses, and until when stale entries are served without a request to the server.
    errors: u32,
    stale_until: Option<Instant>,
}

#[derive(Debug)]
struct Open {
    until: Instant,
    why: Rejection,
    probing: bool,
}

/// Permission to send one request. If a probe is dropped without a result, the next request probes.
#[derive(Debug)]
pub struct BreakerPermit<'a> {
    breaker: &'a CircuitBreaker,
    probe: bool,
}

impl CircuitBreaker {
    /// Permits a request, unless the breaker is open.
    ///
    /// # Errors
    /// The failure that opened the breaker.
    pub fn permit(&self, now: Now) -> Result<BreakerPermit<'_>, Rejection> {
        let mut state = self.state();
        let Some(open) = &mut state.open else { return Ok(BreakerPermit { breaker: self, probe: false }) };
        if open.probing || now.monotonic < open.until {
            return Err(open.why.clone());
        }
        open.probing = true;
        Ok(BreakerPermit { breaker: self, probe: true })
    }

    /// Records that a request got no response, or no complete response in time.
    pub fn record_failure(&self, why: &Rejection, now: Now) {
        let mut state = self.state();
        // Concurrent requests fail together: count them as one failure.
        if state.open.as_ref().is_some_and(|open| !open.probing && now.monotonic < open.until) {
            return;
        }
        state.failures = state.failures.saturating_add(1);
        let until = now.after(OUTAGE.wait(state.failures, fastrand::f64()));
        state.open = Some(Open { until, why: why.clone(), probing: false });
    }

    /// Whether the breaker is open or probing.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state().open.is_some()
    }

    /// Whether a stale entry is served without a request to the server.
    #[must_use]
    pub fn prefers_stale(&self, now: Now) -> bool {
        self.state().stale_until.is_some_and(|until| now.monotonic < until)
    }

    /// Records a complete response, and resets the failure count.
    pub fn record_complete(&self) {
        self.state().failures = 0;
    }

    fn record_response(&self, well: bool, now: Now) {
        let mut state = self.state();
        state.open = None;
        if well {
            state.errors = 0;
            state.stale_until = None;
        } else if state.stale_until.is_none_or(|until| now.monotonic >= until) {
            state.errors = state.errors.saturating_add(1);
            state.stale_until = Some(now.after(OUTAGE.wait(state.errors, fastrand::f64())));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BreakerPermit<'_> {
    /// Records a response; `well` is false for a 5xx.
    pub fn record_response(self, well: bool, now: Now) {
        self.breaker.record_response(well, now);
    }
}

impl Drop for BreakerPermit<'_> {
    fn drop(&mut self) {
        if self.probe
            && let Some(open) = &mut self.breaker.state().open
        {
            open.probing = false;
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
        let (breaker, manual) = (CircuitBreaker::default(), ManualClock::new());
        let clock = Clock::Manual(manual.clone());
        assert!(breaker.permit(clock.now()).is_ok());
        breaker.record_failure(&Rejection::UpstreamTimeout, clock.now());
        assert_eq!(breaker.permit(clock.now()).err(), Some(Rejection::UpstreamTimeout));
        manual.advance(Duration::from_millis(1200));
        let probe = breaker.permit(clock.now()).expect("the time is over");
        assert!(breaker.permit(clock.now()).is_err(), "one at a time");
        drop(probe);
        breaker
            .permit(clock.now())
            .expect("the first probe left without an outcome")
            .record_response(true, clock.now());
        assert!(breaker.permit(clock.now()).is_ok() && !breaker.is_open());
    }

    #[test]
    fn an_answer_that_begins_and_never_ends_does_not_make_the_next_failure_the_first() {
        let (breaker, manual) = (CircuitBreaker::default(), ManualClock::new());
        let clock = Clock::Manual(manual.clone());
        for wait in [1200, 2400, 4800] {
            breaker.permit(clock.now()).expect("it is not down").record_response(true, clock.now());
            breaker.record_failure(&Rejection::UpstreamTimeout, clock.now());
            manual.advance(Duration::from_millis(wait / 2));
            assert!(breaker.permit(clock.now()).is_err(), "longer each time");
            manual.advance(Duration::from_millis(wait / 2));
        }
        breaker.permit(clock.now()).expect("it is not down").record_response(true, clock.now());
        breaker.record_complete();
        breaker.record_failure(&Rejection::UpstreamTimeout, clock.now());
        manual.advance(Duration::from_millis(1200));
        assert!(breaker.permit(clock.now()).is_ok());
    }

    #[test]
    fn a_server_that_answers_with_errors_is_left_alone_by_those_who_can() {
        let (breaker, manual) = (CircuitBreaker::default(), ManualClock::new());
        let clock = Clock::Manual(manual.clone());
        let answer =
            |well| breaker.permit(clock.now()).expect("it is not down").record_response(well, clock.now());
        answer(false);
        assert!(breaker.prefers_stale(clock.now()));
        manual.advance(Duration::from_millis(1200));
        assert!(!breaker.prefers_stale(clock.now()));
        answer(false);
        manual.advance(Duration::from_millis(1200));
        assert!(breaker.prefers_stale(clock.now()), "longer, the second time");
        answer(true);
        assert!(!breaker.prefers_stale(clock.now()));
    }

    #[test]
    fn failures_that_follow_each_other_keep_it_down_for_longer_and_those_at_once_do_not() {
        let (breaker, manual) = (CircuitBreaker::default(), ManualClock::new());
        let clock = Clock::Manual(manual.clone());
        for _ in 0..100 {
            breaker.record_failure(&Rejection::UpstreamTimeout, clock.now());
        }
        manual.advance(Duration::from_millis(1200));
        let probe = breaker.permit(clock.now()).expect("a hundred at once count once");
        breaker.record_failure(&Rejection::UpstreamTimeout, clock.now());
        drop(probe);
        manual.advance(Duration::from_millis(1200));
        assert!(breaker.permit(clock.now()).is_err());
        manual.advance(Duration::from_millis(1200));
        assert!(breaker.permit(clock.now()).is_ok());
    }
}
