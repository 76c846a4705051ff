//! How many invoice pages each tenant has had, to let a record turn up in the middle of a walk.
//!
//! Deliberately absent: telling one walk from another; all callers of a tenant count together.

use std::collections::HashMap;
use std::sync::Mutex;

use super::lock::lock;

/// Invoice pages answered so far.
#[derive(Default)]
pub(super) struct Walks {
    pages: Mutex<HashMap<usize, u64>>,
}

impl Walks {
    /// Counts a page, and gives the number of those before it.
    pub(super) fn step(&self, tenant: usize) -> u64 {
        let mut pages = lock(&self.pages);
        let count = pages.entry(tenant).or_default();
        *count += 1;
        *count - 1
    }
}
