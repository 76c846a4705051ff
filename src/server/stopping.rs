//! The signals for graceful shutdown, in two steps, cheap to wait for.
//!
//! A connection waits for the next request and for the signal to stop, and is almost always woken by the first. A
//! notification future of tokio takes a lock each time it is polled. [`Waiting`] polls it once, which registers
//! the waker of the task, and again only when an atomic flag says that the signal was given.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

/// The two steps of a graceful shutdown.
#[derive(Clone, Debug, Default)]
pub struct Stopping {
    /// First step: accept no more connections; open ones end after their current request.
    pub accepting: Word,
    /// Second step: drop the connections that are still open.
    pub serving: Word,
}

/// A signal that is given once and reaches everyone who waits for it. Each connection has a clone; cloning the
/// `Arc` only increments a counter, while cloning the token would take a lock.
#[derive(Clone, Debug, Default)]
pub struct Word(Arc<Spoken>);

#[derive(Debug, Default)]
struct Spoken {
    token: CancellationToken,
    given: AtomicBool,
}

impl Word {
    /// Gives the signal.
    pub fn give(&self) {
        // Set the flag first: the tasks that are woken check it.
        self.0.given.store(true, Ordering::Release);
        self.0.token.cancel();
    }

    /// Whether the signal was given. Cheap enough to call for every request.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.0.given.load(Ordering::Relaxed)
    }

    /// Waits for the signal. Only one task may poll the returned future, because it keeps the waker of its first
    /// poll.
    pub fn wait(&self) -> Waiting<'_> {
        Waiting { cancelled: self.0.token.cancelled(), given: &self.0.given, is_known: false }
    }
}

pin_project! {
    /// The future of [`Word::wait`].
    #[must_use = "futures do nothing unless polled"]
    pub struct Waiting<'a> {
        #[pin]
        cancelled: WaitForCancellationFuture<'a>,
        given: &'a AtomicBool,
        // Whether the waker is registered with the token.
        is_known: bool,
    }
}

impl Future for Waiting<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if std::mem::replace(this.is_known, true) && !this.given.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        this.cancelled.poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long enough to tell a missed wake-up from a slow one.
    const SOON: std::time::Duration = std::time::Duration::from_secs(10);

    #[tokio::test]
    async fn who_waits_among_other_things_is_woken_by_the_word() {
        let word = Word::default();
        let (waits, other) = (word.clone(), Arc::new(tokio::sync::Notify::new()));
        let looks = Arc::clone(&other);
        let task = tokio::spawn(async move {
            let mut waiting = std::pin::pin!(waits.wait());
            let mut looked = 0;
            loop {
                tokio::select! {
                    () = waiting.as_mut() => return looked,
                    () = looks.notified() => looked += 1,
                }
            }
        });
        for _ in 0..3 {
            other.notify_one();
            tokio::task::yield_now().await;
        }
        assert!(!task.is_finished() && !word.is_given());
        word.give();
        let ended = tokio::time::timeout(SOON, task).await.expect("it is woken");
        assert_eq!(ended.expect("it ends"), 3);
        assert!(word.is_given());
    }

    #[tokio::test]
    async fn a_word_that_was_given_before_is_not_waited_for() {
        let word = Word::default();
        word.give();
        tokio::time::timeout(SOON, word.wait()).await.expect("it was given");
    }
}
