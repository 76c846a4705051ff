use super::*;
use crate::clock::ManualClock;
use crate::config::Rate;

fn gate(per_second: u64, burst: u32, concurrency: usize) -> (Arc<Gate>, ManualClock) {
    let manual = ManualClock::new();
    let rate = Rate {
        interval: Duration::from_millis(1000 / per_second),
        burst: NonZeroU32::new(burst).expect("not zero"),
    };
    let limit = UpstreamLimit {
        rate,
        concurrency,
        max_wait: Duration::from_secs(10),
        max_pause: Duration::from_mins(5),
    };
    (Gate::new(limit, Clock::Manual(manual.clone())), manual)
}

fn client(number: u32) -> Waiter {
    Waiter::Client(ClientKey::User(number))
}

/// Lets every task that can run do so, on this single-threaded runtime.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_burst_passes_at_once_and_the_rest_at_the_rate() {
    let (gate, manual) = gate(10, 2, 100);
    let first = gate.pass(client(1)).await.expect("within the burst");
    assert_eq!(first.remaining, 1);
    let _second = gate.pass(client(1)).await.expect("within the burst");
    let third = tokio::spawn({
        let gate = Arc::clone(&gate);
        async move { gate.pass(client(1)).await.map(|pass| pass.waited) }
    });
    settle().await;
    assert_eq!(gate.waiting(), 1);
    manual.advance(Duration::from_millis(100));
    assert_eq!(third.await.expect("no panic").expect("in time"), Duration::from_millis(100));
}

#[tokio::test]
async fn waiting_is_round_robin_over_clients_and_background_goes_last() {
    let (gate, manual) = gate(10, 1, 100);
    let _used = gate.pass(client(0)).await.expect("within the burst");
    let (order, mut passed) = tokio::sync::mpsc::unbounded_channel();
    for (name, waiter) in [
        ("background", Waiter::Background),
        ("one-1", client(1)),
        ("one-2", client(1)),
        ("one-3", client(1)),
        ("two-1", client(2)),
    ] {
        let (gate, order) = (Arc::clone(&gate), order.clone());
        tokio::spawn(async move {
            let pass = gate.pass(waiter).await;
            order.send((name, pass.is_ok())).expect("the test listens");
        });
        settle().await;
    }
    for expected in ["one-1", "two-1", "one-2", "one-3", "background"] {
        manual.advance(Duration::from_millis(100));
        settle().await;
        assert_eq!(passed.try_recv().ok(), Some((expected, true)));
    }
}

#[tokio::test]
async fn a_wait_ends_with_max_wait_and_with_its_client() {
    let (gate, manual) = gate(1, 1, 1);
    let held = gate.pass(client(1)).await.expect("within the burst");
    let leaving = tokio::spawn({
        let gate = Arc::clone(&gate);
        async move { gate.pass(client(2)).await.map(drop) }
    });
    let patient = tokio::spawn({
        let gate = Arc::clone(&gate);
        async move { gate.pass(client(3)).await.map(drop) }
    });
    settle().await;
    leaving.abort();
    settle().await;
    manual.advance(Duration::from_secs(10));
    assert!(matches!(patient.await.expect("no panic"), Err(Refused::Limited { .. })));
    drop(held);
    settle().await;
    assert_eq!(gate.waiting(), 0);
    assert!(gate.pass(client(4)).await.is_ok(), "nothing leaked");
}

#[tokio::test]
async fn no_more_than_so_many_are_in_flight() {
    let (gate, _manual) = gate(1000, 100, 2);
    let one = gate.pass(client(1)).await.expect("a place");
    let _two = gate.pass(client(1)).await.expect("a place");
    let third = tokio::spawn({
        let gate = Arc::clone(&gate);
        async move { gate.pass(client(1)).await.map(drop) }
    });
    settle().await;
    assert!(!third.is_finished());
    drop(one);
    assert!(third.await.expect("no panic").is_ok());
}

#[tokio::test]
async fn a_pause_is_everybodys_and_is_clamped() {
    let (gate, manual) = gate(1, 1, 10);
    let _used = gate.pass(client(1)).await.expect("within the burst");
    let waiting = tokio::spawn({
        let gate = Arc::clone(&gate);
        async move { gate.pass(client(2)).await.map(drop) }
    });
    settle().await;
    gate.pause(Some(Duration::from_hours(5)));
    assert_eq!(
        waiting.await.expect("no panic"),
        Err(Refused::Paused { rest: Duration::from_mins(5), told: true })
    );
    assert!(gate.pass(client(3)).await.is_err());
    manual.advance(Duration::from_mins(5));
    assert!(gate.pass(client(3)).await.is_ok());
}

#[tokio::test]
async fn without_a_time_the_gate_backs_off_by_itself_and_says_so() {
    let (gate, manual) = gate(1, 5, 10);
    gate.pause(None);
    let Err(Refused::Paused { rest, told: false }) = gate.pass(client(1)).await.map(drop) else {
        panic!("paused, without a time that was told");
    };
    assert!(rest <= Duration::from_millis(1200));
    manual.advance(Duration::from_millis(1200));
    assert!(gate.pass(client(1)).await.is_ok());
}

#[tokio::test]
async fn refusals_that_come_together_are_one_and_those_with_a_time_make_none_longer() {
    let (gate, manual) = gate(1000, 100, 10);
    for _ in 0..8 {
        gate.pause(None);
    }
    manual.advance(Duration::from_millis(1200));
    assert!(gate.pass(client(1)).await.is_ok(), "eight at once are a second's back-off");
    for _ in 0..6 {
        gate.pause(Some(Duration::from_secs(1)));
        manual.advance(Duration::from_secs(1));
    }
    gate.pause(None);
    manual.advance(Duration::from_millis(2400));
    assert!(gate.pass(client(1)).await.is_ok(), "the second without a time, and not the eighth");
}
