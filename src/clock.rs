//! The current time, and waiting.
//!
//! This is the only file that reads the system clock. All other code takes a [`Now`] as an argument or holds
//! a [`Clock`], so a test can advance time without sleeping.
//!
//! [`Now`] has two readings. The monotonic one is used for every duration (token lifetime, freshness,
//! back-off), so a change of the system clock affects none of them. The wall clock is used for what is
//! written or sent (`Date`, JWT claims, log lines).
//!
//! Not implemented: time zones and calendars (`jiff` does those where they are needed), and intervals (use a
//! loop around [`Clock::sleep_until`]).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use pin_project_lite::pin_project;
use tokio::sync::watch;

/// The source of the time.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The operating system's clock.
    System,
    /// A test's clock: it stands still until it is advanced.
    Manual(ManualClock),
}

/// A monotonic and a wall clock reading, taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time, for durations. It never goes back.
    pub monotonic: Instant,
    /// Wall clock time, for dates.
    pub wall: SystemTime,
}

/// The work did not finish before its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the time allowed has passed")]
pub struct Elapsed;

/// A clock that a test advances. Clones share the time.
#[derive(Clone, Debug)]
pub struct ManualClock {
    start: Now,
    elapsed: watch::Sender<Duration>,
}

impl Clock {
    /// The time now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system for the time")]
    pub fn now(&self) -> Now {
        match self {
            Self::System => Now { monotonic: Instant::now(), wall: SystemTime::now() },
            Self::Manual(manual) => manual.now(),
        }
    }

    /// The time since `then`. Reads the monotonic clock only, which costs half of [`Clock::now`].
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system for the time")]
    pub fn since(&self, then: Now) -> Duration {
        match self {
            Self::System => Instant::now().saturating_duration_since(then.monotonic),
            Self::Manual(manual) => manual.now().since(then.monotonic),
        }
    }

    /// Waits until the monotonic time has reached `deadline`.
    pub async fn sleep_until(&self, deadline: Instant) {
        match self {
            Self::System => tokio::time::sleep_until(deadline.into()).await,
            Self::Manual(manual) => {
                let mut elapsed = manual.elapsed.subscribe();
                let due = |passed: &Duration| manual.start.monotonic + *passed >= deadline;
                // The sender lives in `manual`, so waiting can't fail.
                let _ = elapsed.wait_for(due).await;
            }
        }
    }

    /// Waits for `duration`.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now().after(duration)).await;
    }

    /// Runs `work` with a time limit.
    ///
    /// # Errors
    /// [`Elapsed`] if the time limit is reached first; `work` is dropped then.
    pub fn timeout<F: Future>(
        &self,
        duration: Duration,
        work: F,
    ) -> impl Future<Output = Result<F::Output, Elapsed>> + use<'_, F> {
        self.timeout_at(self.now().after(duration), work)
    }

    /// Runs `work` with a deadline.
    ///
    /// # Errors
    /// [`Elapsed`] if the deadline is reached first; `work` is dropped then.
    pub fn timeout_at<F: Future>(
        &self,
        deadline: Instant,
        work: F,
    ) -> impl Future<Output = Result<F::Output, Elapsed>> + use<'_, F> {
        Timeout { work, sleep: self.sleep_until(deadline) }
    }
}

pin_project! {
    /// A future with a deadline. It is written by hand because an `async fn` would store `work` twice, as
    /// argument and as awaited future. Such futures are nested, so the size would double at each level.
    struct Timeout<F, S> {
        #[pin]
        work: F,
        #[pin]
        sleep: S,
    }
}

impl<F: Future, S: Future> Future for Timeout<F, S> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.work.poll(context) {
            return Poll::Ready(Ok(output));
        }
        this.sleep.poll(context).map(|_| Err(Elapsed))
    }
}

impl Now {
    /// The monotonic time after `duration`. On overflow, a time 30 years ahead.
    #[must_use]
    pub fn after(&self, duration: Duration) -> Instant {
        const FAR: Duration = Duration::from_hours(24 * 365 * 30);
        self.monotonic.checked_add(duration).unwrap_or_else(|| self.monotonic + FAR)
    }

    /// The time until `instant`; zero if it has passed.
    #[must_use]
    pub fn until(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.monotonic)
    }

    /// The time since `instant`; zero if it is in the future.
    #[must_use]
    pub fn since(&self, instant: Instant) -> Duration {
        self.monotonic.saturating_duration_since(instant)
    }

    /// The wall clock time of a monotonic `instant`, calculated from this reading.
    #[must_use]
    pub fn wall_at(&self, instant: Instant) -> SystemTime {
        if instant >= self.monotonic {
            self.wall.checked_add(self.until(instant)).unwrap_or(self.wall)
        } else {
            self.wall.checked_sub(self.since(instant)).unwrap_or(self.wall)
        }
    }
}

impl ManualClock {
    /// A clock that stands at the current time.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Clock::System.now(), elapsed: watch::Sender::new(Duration::ZERO) }
    }

    /// Advances the time and wakes the waiters whose deadline is reached.
    pub fn advance(&self, by: Duration) {
        self.elapsed.send_modify(|elapsed| *elapsed += by);
    }

    fn now(&self) -> Now {
        let elapsed = *self.elapsed.borrow();
        Now { monotonic: self.start.monotonic + elapsed, wall: self.start.wall + elapsed }
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl governor::clock::Clock for Clock {
    type Instant = Instant;

    fn now(&self) -> Instant {
        Clock::now(self).monotonic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manual_sleep_ends_when_the_clock_is_moved_past_it() {
        let manual = ManualClock::new();
        let clock = Clock::Manual(manual.clone());
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep(Duration::from_mins(1)).await }
        });
        manual.advance(Duration::from_secs(59));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        manual.advance(Duration::from_secs(61));
        sleeper.await.expect("the sleeper ends");
    }

    #[tokio::test]
    async fn work_that_is_done_is_not_too_late_and_what_is_not_done_ends() {
        let manual = ManualClock::new();
        let clock = Clock::Manual(manual.clone());
        let deadline = clock.now().monotonic;
        assert_eq!(clock.timeout_at(deadline, async { 1 }).await, Ok(1));
        assert_eq!(clock.timeout_at(deadline, std::future::pending::<()>()).await, Err(Elapsed));
    }

    #[tokio::test]
    async fn a_time_limit_does_not_double_what_it_limits() {
        let work = async {
            let held = [0_u8; 4096];
            tokio::task::yield_now().await;
            held[0]
        };
        let limited = Clock::System.clone();
        let future = limited.timeout(Duration::from_secs(1), work);
        assert!(size_of_val(&future) < 5000, "{} bytes", size_of_val(&future));
        assert_eq!(future.await, Ok(0));
    }

    #[test]
    fn a_huge_duration_saturates_instead_of_overflowing() {
        let now = Clock::System.now();
        assert!(now.after(Duration::MAX) > now.monotonic);
    }
}
