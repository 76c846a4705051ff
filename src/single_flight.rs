//! One does the work, the rest wait for it.
//!
//! The first to [`join`](SingleFlight::join) a key leads: it may still decide against it, or start the work,
//! which then runs in a task of its own and goes on though every client leaves. The others wait and share its
//! outcome, errors included. A leader that panics, is cancelled or decides against it fails nobody: each
//! waiter joins again, and one of them leads.
//!
//! Deliberately absent: time limits (a waiter puts its own around [`Waiting::outcome`]) and remembering
//! outcomes (a flight that has landed is forgotten).

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use foldhash::quality::RandomState;
use tokio::sync::watch;

/// The flights under way, by key.
pub struct SingleFlight<K, V> {
    flights: Arc<Flights<K, V>>,
}

type Flights<K, V> = Mutex<HashMap<K, Weak<watch::Sender<Option<V>>>, RandomState>>;

/// Who one is after joining.
pub enum Joined<K: Hash + Eq, V> {
    /// The first: the work is yours.
    Lead(Lead<K, V>),
    /// Another one is on it.
    Wait(Waiting<V>),
}

/// The right, and until it is dropped the duty, to do the work.
pub struct Lead<K: Hash + Eq, V> {
    /// Where others find it; none where nobody else may.
    joinable: Option<(Arc<Flights<K, V>>, K)>,
    landing: Arc<watch::Sender<Option<V>>>,
}

/// Somebody's flight, to wait for.
pub struct Waiting<V>(watch::Receiver<Option<V>>);

/// The leader left without an outcome: join again.
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
    /// Joins the flight for `key`, or begins one.
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
    /// How many wait for a flight that can be joined, those that began one included.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.values().filter_map(Weak::upgrade).map(|landing| landing.receiver_count()).sum()
    }

    /// A flight that nobody else can join.
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
    /// Starts the work in a task of its own, to be waited for like anybody's. Work that ends in none was
    /// given up, which is fair where its [`Interest`] is lost.
    pub fn start<F>(self, work: impl FnOnce(Interest<V>) -> F) -> Waiting<V>
    where
        F: Future<Output = Option<V>> + Send + 'static,
    {
        let waiting = Waiting(self.landing.subscribe());
        // In a box, since a task is moved a few times before it stands.
        let work = Box::pin(work(Interest(Arc::clone(&self.landing))));
        tokio::spawn(async move {
            let outcome = work.await;
            // Forgotten first: whoever joins from now on begins anew, whoever has joined is told.
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
    /// The outcome, once it is there.
    ///
    /// # Errors
    /// [`Abandoned`] where the leader left without one.
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
