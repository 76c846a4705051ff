//! The threads that serve connections: one for each processor, each with a runtime of its own. A connection is handed to
//! the next in turn when it is accepted, and stays there.
//!
//! One runtime over all threads moves tasks between them, so each task, and each wake, is made for that. A hit of 2 KiB
//! (`wrk -t1 -c64 -d2s` on one processor, the proxy on the other, its time from `/proc/PID/stat`) took 30.2, 33.1, 36.1 and 36.7 µs of processor time with it, and 20.1, 20.2, 21.2
//! and 28.8 µs with a runtime of the thread's own (interleaved rounds). What is given up: a connection whose neighbours
//! are busy is not taken over by a thread that is not.
//!
//! The allocator (`main.rs`) was chosen in the same way, by medians of ratios to glibc's within a round: a hit took 0.89
//! of the time with mimalloc (0.96 in another series) and 0.94 with jemalloc, a request that is passed through 0.86
//! (0.88) and 0.93. mimalloc asks the system for huge pages, of which the buffers of a connection take the whole and fill
//! a part, so the program does without: an idle connection takes 12.4 KiB then, and 20.9 with them (8.7 with jemalloc), an
//! idle proxy 13 to 15 MiB, and 20 (12). What that costs is told by hits among 100,000 entries, which take a tenth longer;
//! those of a few entries take the same within what rounds differ by.
//!
//! What accepts, the admin plane and what runs in the background stay on the thread that starts all this, so whoever
//! lists a large cache there holds no client up.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The threads; none by default, and then connections are served where they are accepted.
#[derive(Clone, Debug, Default)]
pub struct Workers {
    runtimes: Arc<[Handle]>,
    turn: Arc<AtomicUsize>,
    /// Ends them, once nobody has connections for them any more.
    _end: Option<Arc<DropGuard>>,
}

impl Workers {
    /// Starts so many threads.
    ///
    /// # Errors
    /// Where the system gives no thread, or no runtime.
    pub fn start(count: NonZeroUsize) -> io::Result<Self> {
        let ended = CancellationToken::new();
        let mut runtimes = Vec::new();
        for number in 1..=count.get() {
            let (tell, told) = channel();
            let ended = ended.clone();
            std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || run(&tell, &ended))?;
            runtimes.push(told.recv().map_err(io::Error::other)??);
        }
        Ok(Self { runtimes: runtimes.into(), turn: Arc::default(), _end: Some(Arc::new(ended.drop_guard())) })
    }

    /// Returns once each thread has had a turn for this: never where one of them hangs. Whether all could have one.
    pub async fn have_turns(&self) -> bool {
        let turns: Vec<_> = self.runtimes.iter().map(|runtime| runtime.spawn(async {})).collect();
        futures_util::future::join_all(turns).await.iter().all(Result::is_ok)
    }

    /// Whose turn it is; none where there are no threads.
    pub(super) fn next(&self) -> Option<&Handle> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.runtimes.get(turn.checked_rem(self.runtimes.len())?)
    }
}

/// Something is always due this soon. Of a time limit that is nearer than any other tokio tells its own driver by a write
/// to an event file; and without this, the limit of each request that waits for something would be the nearest.
const NEAR: Duration = Duration::from_secs(1);

fn run(tell: &Sender<io::Result<Handle>>, ended: &CancellationToken) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = tell.send(Err(error));
            return;
        }
    };
    let _ = tell.send(Ok(runtime.handle().clone()));
    runtime.block_on(ended.run_until_cancelled(async {
        loop {
            tokio::time::sleep(NEAR).await;
        }
    }));
    runtime.shutdown_background();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_are_dealt_out_in_turn_and_each_stays_on_its_thread() {
        let workers = Workers::start(NonZeroUsize::new(2).expect("two")).expect("threads");
        let mut names = Vec::new();
        for _ in 0..4 {
            let runtime = workers.next().expect("a thread");
            let name = runtime.spawn(async {
                tokio::task::yield_now().await;
                std::thread::current().name().map(str::to_owned)
            });
            names.push(name.await.expect("it ends"));
        }
        assert_eq!(names, ["worker-1", "worker-2", "worker-1", "worker-2"].map(|name| Some(name.to_owned())));
        assert!(Workers::default().next().is_none());
    }

    #[tokio::test]
    async fn a_thread_that_hangs_has_no_turn_until_it_goes_on() {
        let workers = Workers::start(NonZeroUsize::new(2).expect("two")).expect("threads");
        assert!(workers.have_turns().await);
        let ((release, released), (tell, told)) = (channel::<()>(), tokio::sync::oneshot::channel());
        workers.next().expect("a thread").spawn(async move {
            let _ = tell.send(());
            let _ = released.recv();
        });
        told.await.expect("it hangs now");
        let asked = workers.clone();
        let asking = tokio::spawn(async move { asked.have_turns().await });
        // The other thread goes on meanwhile.
        for _ in 0..100 {
            workers.runtimes[1].spawn(tokio::task::yield_now()).await.expect("it is served");
        }
        assert!(!asking.is_finished());
        release.send(()).expect("it waits");
        assert!(asking.await.expect("it ends"));
    }

    #[tokio::test]
    async fn the_threads_end_with_the_last_who_has_connections_for_them() {
        let workers = Workers::start(NonZeroUsize::MIN).expect("a thread");
        let waiting = workers.next().expect("a thread").spawn(std::future::pending::<()>());
        drop(workers.clone());
        assert!(!waiting.is_finished());
        drop(workers);
        assert!(waiting.await.expect_err("it was dropped").is_cancelled());
    }
}
