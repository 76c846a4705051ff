//! The bound on how long a head may take, for next to nothing. hyper has one too: with it, hyper looks for the next request
//! once more after each answer, and sets a timer anew, which was a twentieth of the instructions of a hit. Here it is only
//! noted when a connection began to wait for a head ([`Waits`]), and each connection has one timer ([`Watched`]), which is
//! set anew only when it has rung: it looks at the note then, and rings again when the time could be up.
//!
//! A connection waits from when it is made, and again from when an answer is written to its last byte, until the head of a
//! request is whole: a client that begins a head and one that never does are the same. While a request is answered, and
//! while its client reads, no head is waited for. What is no head has the same time, in which hyper's answer to it must be
//! taken too.
//!
//! That an answer is over before its last byte is written, and not after it, rests on this: a socket does not become
//! writable while its connection is looked at, since the runtime of a thread asks the system between two tasks only.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use crate::clock::{Clock, Now};

/// Whether a connection has heard anything yet, and since when it has been waiting for a head. One task alone tells it what
/// has happened, so the order of two notes is never in doubt.
#[derive(Debug)]
pub(super) struct Waits {
    /// When it was made.
    begun: Now,
    /// In nanoseconds from there; [`ANSWERS`] while no head is waited for.
    since: AtomicU64,
    /// Whether the last answer is over, but for what has yet to be written.
    is_answered: AtomicBool,
    /// Whether anything has come from the client.
    heard: AtomicBool,
}

const ANSWERS: u64 = u64::MAX;

/// tokio's timers ring by the system's time, whatever the rest goes by.
const CLOCK: Clock = Clock::System;

/// A head took too long.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no whole head came in time")]
pub(super) struct TooLong;

impl Waits {
    /// For a connection that is made now.
    pub(super) fn new() -> Self {
        Self {
            begun: CLOCK.now(),
            since: AtomicU64::new(0),
            is_answered: AtomicBool::new(false),
            heard: AtomicBool::new(false),
        }
    }

    /// Something has come.
    pub(super) fn something_came(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    /// Whether anything has.
    pub(super) fn has_heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }

    /// The head of a request is whole.
    pub(super) fn head_came(&self) {
        self.is_answered.store(false, Ordering::Relaxed);
        self.since.store(ANSWERS, Ordering::Relaxed);
    }

    /// Its answer is over: hyper has all of it.
    pub(super) fn answer_ended(&self) {
        self.is_answered.store(true, Ordering::Relaxed);
    }

    /// What hyper had is written.
    pub(super) fn all_is_written(&self) {
        if self.is_answered.load(Ordering::Relaxed) {
            self.waits_from(CLOCK.since(self.begun));
        }
    }

    /// From so long after it was made.
    fn waits_from(&self, after: Duration) {
        self.is_answered.store(false, Ordering::Relaxed);
        self.since.store(u64::try_from(after.as_nanos()).unwrap_or(ANSWERS), Ordering::Relaxed);
    }

    /// Looks, when the timer rings so long after the connection was made, whether the time is up, and says when else it has
    /// to ring again: as soon as the time could be up for what is waited for now, or from now on.
    fn rings(&self, after: Duration, limit: Duration) -> Result<Duration, TooLong> {
        match self.since.load(Ordering::Relaxed) {
            ANSWERS => Ok(after.saturating_add(limit)),
            nanoseconds => {
                let deadline = Duration::from_nanos(nanoseconds).saturating_add(limit);
                if deadline > after { Ok(deadline) } else { Err(TooLong) }
            }
        }
    }
}

pin_project! {
    /// A connection, with the one timer that it has. It ends early where a head takes too long.
    pub(super) struct Watched<C> {
        #[pin]
        connection: C,
        #[pin]
        timer: Sleep,
        waits: Arc<Waits>,
        limit: Duration,
    }
}

impl<C> Watched<C> {
    /// Keeps the time of a connection whose heads may take so long.
    pub(super) fn new(connection: C, waits: Arc<Waits>, limit: Duration) -> Self {
        Self { connection, timer: sleep(limit), waits, limit }
    }

    /// The connection.
    pub(super) fn connection(self: Pin<&mut Self>) -> Pin<&mut C> {
        self.project().connection
    }
}

impl<C: Future> Future for Watched<C> {
    type Output = Result<C::Output, TooLong>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        // The connection first: a head that is there when the time is up has come in time.
        if let Poll::Ready(ended) = this.connection.poll(context) {
            return Poll::Ready(Ok(ended));
        }
        while this.timer.as_mut().poll(context).is_ready() {
            match this.waits.rings(CLOCK.since(this.waits.begun), *this.limit) {
                Ok(next) => this.timer.as_mut().reset(this.waits.begun.after(next).into()),
                Err(too_long) => return Poll::Ready(Err(too_long)),
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    const LIMIT: Duration = Duration::from_secs(10);
    /// Long enough to be told from for ever.
    const SOON: Duration = Duration::from_secs(10);

    /// When the time is up if nothing more happens, and the timer rings first after so long.
    fn is_up(waits: &Waits, mut rings: Duration) -> Duration {
        while let Ok(next) = waits.rings(rings, LIMIT) {
            assert!(next > rings && next <= rings + LIMIT, "it rings for ever, or too late");
            rings = next;
        }
        rings
    }

    #[test]
    fn the_first_head_may_take_so_long_and_no_longer() {
        assert_eq!(is_up(&Waits::new(), LIMIT), LIMIT);
    }

    #[test]
    fn the_next_head_may_take_as_long_from_when_the_answer_was_written() {
        for answered_after in [0, 3, 9, 10].map(Duration::from_secs) {
            let waits = Waits::new();
            waits.head_came();
            waits.answer_ended();
            waits.waits_from(answered_after);
            // It rings when it was set to as the connection was made.
            assert_eq!(is_up(&waits, LIMIT), answered_after + LIMIT);
        }
    }

    #[test]
    fn an_answer_and_its_client_may_take_as_long_as_they_like() {
        let waits = Waits::new();
        waits.head_came();
        assert_eq!(waits.rings(LIMIT, LIMIT), Ok(2 * LIMIT));
        // A piece of a stream that is written is not its end.
        waits.all_is_written();
        assert_eq!(waits.rings(2 * LIMIT, LIMIT), Ok(3 * LIMIT));
        // Nor is the end of the answer, while its client has not taken it all.
        waits.answer_ended();
        assert_eq!(waits.rings(3 * LIMIT, LIMIT), Ok(4 * LIMIT));
        let before = CLOCK.since(waits.begun);
        waits.all_is_written();
        let up = is_up(&waits, LIMIT);
        assert!(before + LIMIT <= up && up <= CLOCK.since(waits.begun) + LIMIT);
    }

    #[test]
    fn a_request_that_came_with_the_one_before_ends_the_waiting() {
        let waits = Waits::new();
        waits.head_came();
        waits.answer_ended();
        waits.all_is_written();
        waits.head_came();
        assert_eq!(waits.rings(9 * LIMIT, LIMIT), Ok(10 * LIMIT));
        // And what is written then is not taken for the end of its own answer.
        waits.all_is_written();
        assert_eq!(waits.rings(10 * LIMIT, LIMIT), Ok(11 * LIMIT));
    }

    #[test]
    fn no_limit_is_too_long_to_be_reckoned_with() {
        let waits = Waits::new();
        waits.waits_from(LIMIT);
        assert_eq!(waits.rings(2 * LIMIT, Duration::MAX), Ok(Duration::MAX));
        waits.head_came();
        assert_eq!(waits.rings(2 * LIMIT, Duration::MAX), Ok(Duration::MAX));
    }

    #[tokio::test]
    async fn a_connection_on_which_nothing_happens_is_woken_when_the_time_is_up() {
        let limit = Duration::from_millis(20);
        let began = CLOCK.now();
        let watched = Watched::new(std::future::pending::<()>(), Arc::new(Waits::new()), limit);
        assert_eq!(tokio::time::timeout(SOON, watched).await, Ok(Err(TooLong)));
        assert!(CLOCK.since(began) >= limit);
    }

    #[tokio::test]
    async fn a_head_that_is_there_when_the_time_is_up_has_come_in_time() {
        let limit = Duration::from_millis(20);
        let waits = Arc::new(Waits::new());
        let reads = std::future::poll_fn(|_| {
            waits.head_came();
            Poll::<()>::Pending
        });
        let mut watched = Box::pin(Watched::new(reads, Arc::clone(&waits), limit));
        // A timer of tokio's rings within a millisecond or two of its time.
        while CLOCK.since(waits.begun) < limit + Duration::from_millis(10) {
            tokio::task::yield_now().await;
        }
        assert_eq!(watched.as_mut().now_or_never(), None);
    }

    #[tokio::test]
    async fn a_limit_of_next_to_nothing_is_looked_at_once_and_not_for_all_that_has_passed() {
        let waits = Arc::new(Waits::new());
        waits.head_came();
        let limit = Duration::from_nanos(1);
        let mut watched = Box::pin(Watched::new(std::future::pending::<()>(), Arc::clone(&waits), limit));
        while CLOCK.since(waits.begun) < Duration::from_millis(10) {
            tokio::task::yield_now().await;
        }
        assert_eq!(watched.as_mut().now_or_never(), None);
        let next = watched.timer.deadline().into_std();
        assert!(next >= waits.begun.after(Duration::from_millis(10)), "it goes on from now");
    }

    #[tokio::test]
    async fn a_connection_that_ends_by_itself_says_how() {
        let watched = Watched::new(std::future::ready("ended"), Arc::new(Waits::new()), LIMIT);
        assert_eq!(watched.await, Ok("ended"));
    }
}
