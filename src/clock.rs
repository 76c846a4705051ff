//! The time, and waiting for it.
//!
//! This is the only file that asks the system what time it is. Everything else takes a [`Now`] as an
//! argument or holds a [`Clock`], so a test can move time instead of sleeping through it.
//!
//! Two readings travel together. The monotonic one decides everything that has a length (token life,
//! freshness, back-off): a system clock that is set back or forward changes none of it. The wall
//! reading is for what is written down or sent (`Date`, JWT claims, log lines).
//!
//! Deliberately absent: time zones and calendars (`jiff` does those where they are needed), and
//! intervals, which are a loop around [`Clock::sleep_until`].

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use pin_project_lite::pin_project;
use tokio::sync::watch;

/// Where the time comes from.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The operating system's.
    System,
    /// A test's: it stands still until it is moved.
    Manual(ManualClock),
}

/// One reading of the time, monotonic and wall together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For durations: never goes back.
    pub monotonic: Instant,
    /// For dates: what a person's watch says.
    pub wall: SystemTime,
}

/// The work did not finish in the time it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the time allowed has passed")]
pub struct Elapsed;

/// A clock that a test moves. Clones share the time.
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

    /// How long ago that was. It asks for the monotonic time alone, which is half of what [`Clock::now`] costs.
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

    /// Gives `work` until `duration` from now.
    ///
    /// # Errors
    /// [`Elapsed`] when the time came first; `work` is dropped then.
    pub fn timeout<F: Future>(
        &self,
        duration: Duration,
        work: F,
    ) -> impl Future<Output = Result<F::Output, Elapsed>> + use<'_, F> {
        self.timeout_at(self.now().after(duration), work)
    }

    /// Gives `work` until `deadline`.
    ///
    /// # Errors
    /// [`Elapsed`] when the deadline came first; `work` is dropped then.
    pub fn timeout_at<F: Future>(
        &self,
        deadline: Instant,
        work: F,
    ) -> impl Future<Output = Result<F::Output, Elapsed>> + use<'_, F> {
        Timeout { work, sleep: self.sleep_until(deadline) }
    }
}

pin_project! {
    /// Work with an end. An `async` function in its place would hold the work twice, as what it was given and as what
    /// it waits for, and such futures stand in one another: each level would double what is moved about.
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
    /// The monotonic time `duration` from now; a far future one instead of an overflow.
    #[must_use]
    pub fn after(&self, duration: Duration) -> Instant {
        const FAR: Duration = Duration::from_hours(24 * 365 * 30);
        self.monotonic.checked_add(duration).unwrap_or_else(|| self.monotonic + FAR)
    }

    /// How long until `instant`; zero once it has passed.
    #[must_use]
    pub fn until(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.monotonic)
    }

    /// How long since `instant`; zero where it lies ahead.
    #[must_use]
    pub fn since(&self, instant: Instant) -> Duration {
        self.monotonic.saturating_duration_since(instant)
    }

    /// The wall time that belongs to a monotonic `instant`, as far as the two agree now.
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
    /// A clock that stands at the present moment.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Clock::System.now(), elapsed: watch::Sender::new(Duration::ZERO) }
    }

    /// Moves the time forward and wakes whoever waited for it.
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
