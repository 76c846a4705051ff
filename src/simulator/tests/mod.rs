//! Tests of the simulator over real sockets.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod api;
mod caller;
mod faults;
mod filter;
mod limits_and_counters;
mod paging;
mod quirks;
mod records;
mod token_endpoint;
mod transport;
