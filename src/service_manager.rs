//! Notifications to the service manager (systemd's `sd_notify(3)`): ready, reloading, stopping and watchdog.
//! Without `NOTIFY_SOCKET` in the environment nothing is sent.

use std::time::Duration;

use sd_notify::NotifyState;

/// Reports that the proxy is ready, with a status line.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

/// Reports that the configuration is being reloaded, until the next [`ready`].
pub fn reloading() {
    // systemd ignores `RELOADING=1` without `MONOTONIC_USEC`.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => {
            send(&[NotifyState::Reloading, now, NotifyState::Status("reading the configuration again")]);
        }
        Err(error) => tracing::warn!(%error, "the service manager can't be told of the reload"),
    }
}

/// Reports that the proxy is stopping, with a status line.
pub fn stopping(status: &str) {
    send(&[NotifyState::Stopping, NotifyState::Status(&one_line(status))]);
}

/// The watchdog timeout (`WatchdogSec=`), if the service manager uses one.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|timeout| !timeout.is_zero())
}

/// Sends watchdog notifications at half the timeout, while `is_alive` returns true. None is sent while `is_alive` waits,
/// for example for a blocked thread. Spawn it as a task, so that a blocked runtime stops the notifications too.
pub async fn notify_watchdog(timeout: Duration, is_alive: impl AsyncFn() -> bool) {
    notify_watchdog_by(timeout, is_alive, || send(&[NotifyState::Watchdog])).await;
}

async fn notify_watchdog_by(timeout: Duration, is_alive: impl AsyncFn() -> bool, notify: impl Fn()) {
    loop {
        tokio::time::sleep(timeout / 2).await;
        if is_alive().await {
            notify();
        }
    }
}

/// The protocol has one assignment per line.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager can't be told (NOTIFY_SOCKET)");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn no_notification_is_sent_while_the_runtime_is_blocked() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let shown = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&shown);
        let showing = notify_watchdog_by(
            Duration::from_millis(10),
            async || true,
            move || {
                count.fetch_add(1, Ordering::Relaxed);
            },
        );
        runtime.spawn(showing);
        let shown_within = |milliseconds| {
            let before = shown.load(Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(milliseconds));
            shown.load(Ordering::Relaxed) - before
        };
        assert!(shown_within(500) > 3, "it is alive");
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (begun, begins) = std::sync::mpsc::channel();
        runtime.spawn(async move {
            begun.send(()).expect("it is waited for");
            let _ = held.recv();
        });
        begins.recv().expect("it blocks");
        assert_eq!(shown_within(300), 0, "the only worker is blocked");
        release.send(()).expect("it is waiting");
        assert!(shown_within(500) > 3, "it is alive again");
    }

    #[tokio::test]
    async fn no_notification_is_sent_while_the_check_fails() {
        let (lives, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let shown = Arc::new(AtomicUsize::new(0));
        let (is_alive, times, count) = (Arc::clone(&lives), Arc::clone(&asked), Arc::clone(&shown));
        let alive = async move || {
            times.fetch_add(1, Ordering::Relaxed);
            is_alive.load(Ordering::Relaxed)
        };
        let showing = tokio::spawn(notify_watchdog_by(Duration::from_millis(2), alive, move || {
            count.fetch_add(1, Ordering::Relaxed);
        }));
        while asked.load(Ordering::Relaxed) < 5 {
            tokio::task::yield_now().await;
        }
        assert_eq!(shown.load(Ordering::Relaxed), 0);
        lives.store(true, Ordering::Relaxed);
        while shown.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        showing.abort();
    }

    #[test]
    fn a_status_is_one_line() {
        assert_eq!(one_line("serving\nREADY=0\r"), "serving READY=0 ");
    }
}
