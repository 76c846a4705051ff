//! Request coalescing: concurrent callers with one key share one execution.
//!
//! The first caller that [`join`](SingleFlight::join)s a key leads. It may decline, or start the work, which
//! runs in its own task and continues if all clients disconnect. The other callers wait and get the same
//! outcome, including errors. If the leader panics, is cancelled or declines, the waiters do not fail: each
//! joins again, and one of them leads.
//!
//! Not implemented: timeouts (a waiter applies its own to [`Waiting::outcome`]), and caching of outcomes (a
//! finished flight is forgotten).

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use foldhash::quality::RandomState;
use tokio::sync::watch;

/// The executions in progress, by key.
pub struct SingleFlight<K, V> {
    flights: Arc<Flights<K, V>>,
}

type Flights<K, V> = Mutex<HashMap<K, Weak<watch::Sender<Option<V>>>, RandomState>>;

/// The role of a caller after joining.
pub enum Joined<K: Hash + Eq, V> {
    /// The first caller: must do the work or decline.
    Lead(Lead<K, V>),
    /// Another caller does the work.
    Wait(Waiting<V>),
}

/// The role of the leader. Dropping it without starting the work declines it.
pub struct Lead<K: Hash + Eq, V> {
    /// The table in which others find the flight; none if others can't join.
    joinable: Option<(Arc<Flights<K, V>>, K)>,
    landing: Arc<watch::Sender<Option<V>>>,
}

/// A flight to wait for.
pub struct Waiting<V>(watch::Receiver<Option<V>>);

/// The leader ended without an outcome: join again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the work was abandoned")]
pub struct Abandoned;

/// Tells the work whether anybody still waits for it.
pub struct Interest<V>(Arc<watch::Sender<Option<V>>>);

impl<K, V> Default for SingleFlight<K, V> {
    fn default() -> Self {
        Self { flights: Arc::default() }
    }
}

impl<K, V> SingleFlight<K, V>
where
    K: Hash + Eq + Clone + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Joins the flight of `key`, or starts a new one as its leader.
    #[must_use]
    pub fn join(&self, key: &K) -> Joined<K, V> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(landing) = flights.get(key).and_then(Weak::upgrade) {
            return Joined::Wait(Waiting(landing.subscribe()));
        }
        let landing = Arc::new(watch::Sender::new(None));
        flights.insert(key.clone(), Arc::downgrade(&landing));
        drop(flights);
        Joined::Lead(Lead { joinable: Some((Arc::clone(&self.flights), key.clone())), landing })
    }
}

impl<K, V> SingleFlight<K, V>
where
    K: Hash + Eq + Clone,
{
    /// The number of waiters of flights that can be joined, including their leaders.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.values().filter_map(Weak::upgrade).map(|landing| landing.receiver_count()).sum()
    }

    /// A flight that others can't join.
    #[must_use]
    pub fn alone() -> Lead<K, V> {
        Lead { joinable: None, landing: Arc::new(watch::Sender::new(None)) }
    }
}

impl<K, V> Lead<K, V>
where
    K: Hash + Eq + Clone + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Starts the work in its own task. The caller waits for it like the others. `None` means that the work
    /// was given up, which is correct only after its [`Interest`] is lost.
    pub fn start<F>(self, work: impl FnOnce(Interest<V>) -> F) -> Waiting<V>
    where
        F: Future<Output = Option<V>> + Send + 'static,
    {
        let waiting = Waiting(self.landing.subscribe());
        // Boxed, because the future is moved several times before the task runs.
        let work = Box::pin(work(Interest(Arc::clone(&self.landing))));
        tokio::spawn(async move {
            let outcome = work.await;
            // Remove the flight first: later callers start a new one, and all who joined get the outcome.
            self.forget();
            self.landing.send_replace(outcome);
        });
        waiting
    }
}

impl<K: Hash + Eq, V> Lead<K, V> {
    fn forget(&self) {
        let Some((flights, key)) = &self.joinable else { return };
        let mut flights = flights.lock().unwrap_or_else(PoisonError::into_inner);
        let own = flights.get(key).is_some_and(|landing| landing.as_ptr() == Arc::as_ptr(&self.landing));
        if own {
            flights.remove(key);
        }
    }
}

impl<K: Hash + Eq, V> Drop for Lead<K, V> {
    fn drop(&mut self) {
        self.forget();
    }
}

impl<V: Clone> Waiting<V> {
    /// Waits for the outcome.
    ///
    /// # Errors
    /// [`Abandoned`] if the leader ended without an outcome.
    pub async fn outcome(mut self) -> Result<V, Abandoned> {
        let landed = self.0.wait_for(Option::is_some).await.map_err(|_| Abandoned)?;
        landed.clone().ok_or(Abandoned)
    }
}

impl<V> Interest<V> {
    /// Returns once nobody waits any more.
    pub async fn lost(&self) {
        self.0.closed().await;
    }
}

#[cfg(test)]
#[path = "single_flight_tests.rs"]
mod tests;
