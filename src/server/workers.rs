//! The threads that serve connections: one per processor, each with its own single-threaded runtime. An accepted
//! connection is assigned round-robin and stays on its thread.
//!
//! A multi-threaded runtime can move tasks between threads, which costs time per task and wake-up. A hit of 2
//! KiB took 30.2, 33.1, 36.1 and 36.7 µs of processor time with one, and 20.1, 20.2, 21.2 and 28.8 µs with a
//! runtime per thread (interleaved rounds; `wrk -t1 -c64 -d2s` on one processor, the proxy on the other, its time
//! from `/proc/PID/stat`). The disadvantage: an idle thread does not take over connections from a busy one.
//!
//! The allocator (`main.rs`) was chosen by the same method, as medians of ratios to glibc's allocator within a
//! round. A hit took 0.89 of the time with mimalloc (0.96 in another series) and 0.94 with jemalloc; a request
//! that is passed through took 0.86 (0.88) and 0.93. mimalloc asks the system for huge pages, and the buffers of a
//! connection occupy whole pages but fill only a part, so the program disables them: an idle connection takes 12.4
//! KiB without them and 20.9 KiB with them (8.7 KiB with jemalloc), an idle proxy 13 to 15 MiB and 20 MiB (12
//! MiB). The cost shows with 100,000 entries, where hits take a tenth longer; with few entries the difference is
//! within that between rounds.
//!
//! Accepting, the admin plane and background tasks stay on the thread that starts the program, so that listing a
//! large cache on the admin plane does not delay clients.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The worker threads. The default has none: connections are then served on the runtime that accepts them.
#[derive(Clone, Debug, Default)]
pub struct Workers {
    runtimes: Arc<[Handle]>,
    next: Arc<AtomicUsize>,
    /// Ends the threads when the last clone is dropped.
    _end: Option<Arc<DropGuard>>,
}

impl Workers {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// If the system can't create a thread or a runtime.
    pub fn start(count: NonZeroUsize) -> io::Result<Self> {
        let ended = CancellationToken::new();
        let mut runtimes = Vec::new();
        for number in 1..=count.get() {
            let (sender, receiver) = channel();
            let ended = ended.clone();
            std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || run(&sender, &ended))?;
            runtimes.push(receiver.recv().map_err(io::Error::other)??);
        }
        Ok(Self { runtimes: runtimes.into(), next: Arc::default(), _end: Some(Arc::new(ended.drop_guard())) })
    }

    /// Returns when every thread has run a task: never, while one of them is blocked. The result is whether all of
    /// the tasks ran.
    pub async fn all_respond(&self) -> bool {
        let tasks: Vec<_> = self.runtimes.iter().map(|runtime| runtime.spawn(async {})).collect();
        futures_util::future::join_all(tasks).await.iter().all(Result::is_ok)
    }

    /// The next runtime in round-robin order; `None` if there are no threads.
    pub(super) fn next(&self) -> Option<&Handle> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.runtimes.get(next.checked_rem(self.runtimes.len())?)
    }
}

/// A timer that is always due within this time. tokio wakes its own driver with a write to an event file when a
/// timer is set that is due earlier than all others. Without this one, the time limit of each request that waits
/// would be that timer.
const KEEP_TIMER_DUE: Duration = Duration::from_secs(1);

fn run(sender: &Sender<io::Result<Handle>>, ended: &CancellationToken) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = sender.send(Err(error));
            return;
        }
    };
    let _ = sender.send(Ok(runtime.handle().clone()));
    runtime.block_on(ended.run_until_cancelled(async {
        loop {
            tokio::time::sleep(KEEP_TIMER_DUE).await;
        }
    }));
    runtime.shutdown_background();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_are_assigned_round_robin_and_stay_on_their_thread() {
        let workers = Workers::start(NonZeroUsize::new(2).expect("two")).expect("threads");
        let mut names = Vec::new();
        for _ in 0..4 {
            let runtime = workers.next().expect("a thread");
            let name = runtime.spawn(async {
                tokio::task::yield_now().await;
                std::thread::current().name().map(str::to_owned)
            });
            names.push(name.await.expect("the task ends"));
        }
        assert_eq!(names, ["worker-1", "worker-2", "worker-1", "worker-2"].map(|name| Some(name.to_owned())));
        assert!(Workers::default().next().is_none());
    }

    #[tokio::test]
    async fn a_blocked_thread_does_not_respond_until_it_continues() {
        let workers = Workers::start(NonZeroUsize::new(2).expect("two")).expect("threads");
        assert!(workers.all_respond().await);
        let ((release, released), (sender, receiver)) = (channel::<()>(), tokio::sync::oneshot::channel());
        workers.next().expect("a thread").spawn(async move {
            let _ = sender.send(());
            let _ = released.recv();
        });
        receiver.await.expect("the thread is blocked");
        let cloned = workers.clone();
        let responding = tokio::spawn(async move { cloned.all_respond().await });
        // The other thread is not blocked.
        for _ in 0..100 {
            workers.runtimes[1].spawn(tokio::task::yield_now()).await.expect("the task runs");
        }
        assert!(!responding.is_finished());
        release.send(()).expect("the task waits");
        assert!(responding.await.expect("the task ends"));
    }

    #[tokio::test]
    async fn the_threads_end_when_the_last_clone_is_dropped() {
        let workers = Workers::start(NonZeroUsize::MIN).expect("a thread");
        let waiting = workers.next().expect("a thread").spawn(std::future::pending::<()>());
        drop(workers.clone());
        assert!(!waiting.is_finished());
        drop(workers);
        assert!(waiting.await.expect_err("the task was dropped").is_cancelled());
    }
}
