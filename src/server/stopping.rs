//! Telling connections to stop, in two steps, so that it costs them next to nothing to be ready for it.
//!
//! A connection waits for the next request and for the word to stop, and is woken far more often for the first. A future of
//! tokio's that waits to be notified takes a lock each time that it is looked at; here it is looked at once, which leaves
//! the task's waker with it, and again only when a flag says that the word was given.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

/// When to stop, in two steps.
#[derive(Clone, Debug, Default)]
pub struct Stopping {
    /// No more connections are taken, and those that are open end after the request they are at.
    pub accepting: Word,
    /// Whatever is still open is dropped.
    pub serving: Word,
}

/// A word that is given once, to all who wait for it. Each connection has a clone, so that is a count and no lock, which
/// a clone of the token would take.
#[derive(Clone, Debug, Default)]
pub struct Word(Arc<Spoken>);

#[derive(Debug, Default)]
struct Spoken {
    token: CancellationToken,
    given: AtomicBool,
}

impl Word {
    /// Gives it.
    pub fn give(&self) {
        // First the flag: who is woken looks at it.
        self.0.given.store(true, Ordering::Release);
        self.0.token.cancel();
    }

    /// Whether it was given, for those who ask at every request.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.0.given.load(Ordering::Relaxed)
    }

    /// Waits for it. What this returns is waited for by one task alone: it keeps the waker that it was first looked at
    /// with.
    pub fn wait(&self) -> Waiting<'_> {
        Waiting { cancelled: self.0.token.cancelled(), given: &self.0.given, is_known: false }
    }
}

pin_project! {
    /// Waits for a word.
    #[must_use = "futures do nothing unless polled"]
    pub struct Waiting<'a> {
        #[pin]
        cancelled: WaitForCancellationFuture<'a>,
        given: &'a AtomicBool,
        // Whether the token knows whom to wake.
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

    /// Long enough to be told from for ever.
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
