//! The response cache: `moka` stores the responses, `rfc9111` decides about them.
//!
//! A [`Slot`] is identified by a primary key, which starts with the credential. It holds the variants that
//! `Vary` distinguishes. The [`ResponseCache`] is bounded by bytes; an entry is weighed by its real memory use: key,
//! fields, body and bookkeeping. An entry is removed when it can't be used any more, when the capacity is
//! exceeded, or by a purge.
//!
//! Entries that differ only in `page` or `cursor` form a set ([`page_set`]): they expire and are purged
//! together.
//!
//! Not implemented: storage on disk, and sharing between processes.

mod refusals;
pub mod closed_period;
pub mod entry;
pub mod fields;
mod label;
pub mod lookup;
pub mod bypasses;
pub mod page_set;
pub mod policy;
mod purge;
pub mod purges;
mod response_cache;

pub use entry::Entry;
pub use label::{SlotLabel, label, primary_key};
pub use lookup::Lookup;
pub use response_cache::{Generation, ResponseCache, Slot};

// The fuzz target uses the same model (`tests/fuzz`).
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, expect(dead_code, reason = "what only the tests use"))]
#[path = "model_tests.rs"]
mod tests;
/// Runs a fuzzer's input on the store and on a simple model of it, and panics if they differ.
#[cfg(fuzzing)]
pub fn play_against_the_model(choices: &[u8]) {
    tests::play(choices);
}
