//! The bound on how long a head may take, for next to nothing. hyper makes a timer for each head, which most requests
//! never need: it is put among all timers of the thread, and taken out again as soon as the head is there. Here hyper gets
//! a timer that only notes when the time would be up ([`HeadTimer`]), and each connection has one of tokio's, which is set
//! anew only when it has rung ([`Watched`]): it looks at the note, and rings again then.
//!
//! The time is up when hyper says so, to the same instant; what is not made, and not taken out, is a timer per request.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;
use pin_project_lite::pin_project;

/// The timer of a connection, for hyper.
#[derive(Clone)]
pub(super) struct HeadTimer(Arc<Note>);

/// When the time for a head is up.
struct Note {
    /// What the deadline counts from.
    begun: Instant,
    /// In nanoseconds from there; [`NONE`] while no head is waited for.
    deadline: AtomicU64,
    is_up: AtomicBool,
}

const NONE: u64 = u64::MAX;

impl HeadTimer {
    /// A timer for one connection.
    pub(super) fn new() -> Self {
        let begun = TokioTimer::new().now();
        Self(Arc::new(Note { begun, deadline: AtomicU64::new(NONE), is_up: AtomicBool::new(false) }))
    }

    /// Keeps the time of a connection whose heads may take so long.
    pub(super) fn watch<C>(self, connection: C, limit: Duration) -> Watched<C> {
        let ringing = tokio::time::sleep(limit);
        Watched { connection, ringing, note: self.0, limit }
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.0.set(deadline);
        Box::pin(UntilUp(Arc::clone(&self.0)))
    }

    fn reset(&self, _: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        self.0.set(deadline);
    }

    fn now(&self) -> Instant {
        TokioTimer::new().now()
    }
}

impl Note {
    fn set(&self, deadline: Instant) {
        let nanoseconds = deadline.saturating_duration_since(self.begun).as_nanos();
        self.deadline.store(u64::try_from(nanoseconds).unwrap_or(NONE), Ordering::Relaxed);
        // It may have rung for a head that came at that very moment.
        self.is_up.store(false, Ordering::Relaxed);
    }

    fn deadline(&self) -> Option<Instant> {
        let noted = self.deadline.load(Ordering::Relaxed);
        (noted != NONE).then(|| self.begun + Duration::from_nanos(noted))
    }

    /// Looks, when the timer rings, whether the time is up, and says when it has to ring again: as soon as the time that is
    /// noted could be up, or one that is noted from now on.
    fn rings(&self, now: Instant, limit: Duration) -> Instant {
        match self.deadline() {
            Some(deadline) if deadline > now => deadline,
            Some(_) => {
                self.is_up.store(true, Ordering::Relaxed);
                now + limit
            }
            None => now + limit,
        }
    }
}

/// Waits until the time is up. It leaves no waker: it is looked at together with the connection, by [`Watched`].
struct UntilUp(Arc<Note>);

impl Future for UntilUp {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.0.is_up.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Sleep for UntilUp {}

impl Drop for UntilUp {
    fn drop(&mut self) {
        self.0.deadline.store(NONE, Ordering::Relaxed);
    }
}

pin_project! {
    /// A connection, with the one timer that it has.
    pub(super) struct Watched<C> {
        #[pin]
        connection: C,
        #[pin]
        ringing: tokio::time::Sleep,
        note: Arc<Note>,
        limit: Duration,
    }
}

impl<C> Watched<C> {
    /// The connection.
    pub(super) fn connection(self: Pin<&mut Self>) -> Pin<&mut C> {
        self.project().connection
    }
}

impl<C: Future> Future for Watched<C> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<C::Output> {
        let mut this = self.project();
        while this.ringing.as_mut().poll(context).is_ready() {
            let rung = this.ringing.deadline().into_std();
            let next = tokio::time::Instant::from_std(this.note.rings(rung, *this.limit));
            this.ringing.as_mut().reset(next);
        }
        this.connection.poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);
    const SECOND: Duration = Duration::from_secs(1);

    fn is_up(sleep: &mut Pin<Box<dyn Sleep>>) -> bool {
        let mut context = Context::from_waker(std::task::Waker::noop());
        sleep.as_mut().poll(&mut context).is_ready()
    }

    #[test]
    fn the_time_is_up_when_it_was_noted_to_be_whenever_the_waiting_began() {
        let timer = HeadTimer::new();
        let begun = timer.0.begun;
        for waits_from in [0, 3, 9] {
            let from = begun + SECOND * waits_from;
            let mut sleep = timer.sleep_until(from + LIMIT);
            // Set when the connection was made, or when it last rang.
            let mut rings = begun + LIMIT;
            while rings < from + LIMIT {
                rings = timer.0.rings(rings, LIMIT);
                assert!(!is_up(&mut sleep), "{waits_from}");
            }
            assert_eq!(rings, from + LIMIT);
            timer.0.rings(rings, LIMIT);
            assert!(is_up(&mut sleep), "{waits_from}");
        }
    }

    #[test]
    fn a_head_that_came_in_time_ends_nothing() {
        let timer = HeadTimer::new();
        let rings = timer.0.begun + LIMIT;
        drop(timer.sleep_until(timer.0.begun + 9 * SECOND));
        assert_eq!(timer.0.rings(rings, LIMIT), rings + LIMIT, "an answer takes as long as it takes");
        let mut sleep = timer.sleep_until(rings + 2 * SECOND);
        assert!(!is_up(&mut sleep));
        assert_eq!(timer.0.rings(rings + SECOND, LIMIT), rings + 2 * SECOND);
        assert!(!is_up(&mut sleep));
    }

    #[test]
    fn a_head_that_came_as_the_time_was_up_is_not_held_against_the_next() {
        let timer = HeadTimer::new();
        let deadline = timer.0.begun + LIMIT;
        let mut sleep = timer.sleep_until(deadline);
        timer.0.rings(deadline, LIMIT);
        assert!(is_up(&mut sleep));
        timer.reset(&mut sleep, deadline + LIMIT);
        assert!(!is_up(&mut sleep));
    }
}
