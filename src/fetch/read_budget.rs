//! Bounds the memory of response bodies that are being read, for the whole process (`upstream.max_buffered_bytes`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::problem::{Overload, Rejection};

/// The memory that response bodies may take together.
#[derive(Debug)]
pub struct ReadBudget {
    limit: AtomicU64,
    used: AtomicU64,
}

/// The memory of one body. It is released on drop.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<ReadBudget>,
    bytes: u64,
}

impl ReadBudget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit: AtomicU64::new(limit), used: AtomicU64::new(0) })
    }

    /// Changes the limit. What is reserved stays reserved.
    pub fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// The reserved bytes.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// A reservation of nothing yet.
    #[must_use]
    pub fn reservation(self: &Arc<Self>) -> Reservation {
        Reservation { budget: Arc::clone(self), bytes: 0 }
    }
}

impl Reservation {
    /// Extends the reservation to this many bytes.
    ///
    /// # Errors
    /// [`Rejection::Overloaded`] if that exceeds the budget.
    pub fn extend_to(&mut self, bytes: u64) -> Result<(), Rejection> {
        let more = bytes.saturating_sub(self.bytes);
        let limit = self.budget.limit.load(Ordering::Relaxed);
        let reserve = |used: u64| used.checked_add(more).filter(|used| *used <= limit);
        self.budget
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve)
            .map_err(|_| Rejection::Overloaded(Overload::BufferedBytes))?;
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_share_the_budget_and_return_it() {
        let budget = ReadBudget::new(100);
        let (mut one, mut other) = (budget.reservation(), budget.reservation());
        assert_eq!(one.extend_to(60), Ok(()));
        assert_eq!(one.extend_to(50), Ok(()), "it has more already");
        assert_eq!(other.extend_to(41), Err(Rejection::Overloaded(Overload::BufferedBytes)));
        assert_eq!(other.extend_to(40), Ok(()));
        assert_eq!(budget.used(), 100);
        drop(one);
        assert_eq!(budget.used(), 40);
        budget.set_limit(30);
        assert_eq!(other.extend_to(41), Err(Rejection::Overloaded(Overload::BufferedBytes)));
        drop(other);
        assert_eq!(budget.used(), 0);
    }
}
