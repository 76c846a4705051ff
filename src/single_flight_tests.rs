use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::oneshot;

type Flight = SingleFlight<&'static str, usize>;

fn lead(flight: &Flight) -> Lead<&'static str, usize> {
    match flight.join(&"key") {
        Joined::Lead(lead) => lead,
        Joined::Wait(_) => panic!("somebody leads already"),
    }
}

fn wait(flight: &Flight) -> Waiting<usize> {
    match flight.join(&"key") {
        Joined::Wait(waiting) => waiting,
        Joined::Lead(_) => panic!("nobody leads"),
    }
}

#[tokio::test]
async fn a_thousand_share_one_outcome() {
    let (flight, calls) = (Arc::new(Flight::default()), Arc::new(AtomicUsize::new(0)));
    let (go, gate) = oneshot::channel::<()>();
    let leader = lead(&flight).start(|_| {
        let calls = Arc::clone(&calls);
        async move {
            gate.await.ok()?;
            Some(calls.fetch_add(1, Ordering::SeqCst) + 1)
        }
    });
    let waiters: Vec<_> = (0..999).map(|_| tokio::spawn(wait(&flight).outcome())).collect();
    go.send(()).expect("the work waits");
    assert_eq!(leader.outcome().await, Ok(1));
    for waiter in waiters {
        assert_eq!(waiter.await.expect("no panic"), Ok(1));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    drop(lead(&flight));
}

#[tokio::test]
async fn a_cancelled_leader_does_not_fail_the_waiters() {
    let flight = Flight::default();
    let leader = lead(&flight);
    let waiter = wait(&flight);
    drop(leader);
    assert_eq!(waiter.outcome().await, Err(Abandoned));
    let replacement = lead(&flight).start(|_| async { Some(7) });
    assert_eq!(replacement.outcome().await, Ok(7));
}

#[tokio::test]
async fn a_panicking_leader_does_not_fail_the_waiters() {
    let flight = Flight::default();
    let leader = lead(&flight).start(|_| async { panic!("on purpose") });
    let waiter = wait(&flight);
    assert_eq!(leader.outcome().await, Err(Abandoned));
    assert_eq!(waiter.outcome().await, Err(Abandoned));
    drop(lead(&flight));
}

#[tokio::test]
async fn work_goes_on_though_every_client_left() {
    let flight = Flight::default();
    let (done, finished) = oneshot::channel();
    let (go, gate) = oneshot::channel::<()>();
    drop(lead(&flight).start(|_| async move {
        gate.await.ok()?;
        done.send(()).ok()?;
        Some(1)
    }));
    go.send(()).expect("the work waits");
    finished.await.expect("the work finished");
}

#[tokio::test]
async fn work_learns_that_nobody_waits_any_more_and_may_give_up() {
    let flight = Flight::default();
    let (told, heard) = oneshot::channel();
    let leader = lead(&flight).start(|interest| async move {
        interest.lost().await;
        told.send(()).ok()?;
        None
    });
    let waiter = wait(&flight);
    drop(leader);
    drop(waiter);
    heard.await.expect("the work was told");
}
