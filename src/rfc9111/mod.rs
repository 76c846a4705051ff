//! HTTP caching (RFC 9111) and the two stale extensions of RFC 5861, as pure functions.
//!
//! Every function takes its input and the time as arguments; none has state. `crate::cache` holds the stored
//! responses and applies the operator's rules.
//!
//! `docs/rfc9111.md` lists each requirement of RFC 9111 with the test that covers it, or the reason why it
//! does not apply.
//!
//! Not implemented: methods other than `GET` and `HEAD`, which this proxy refuses, so nothing is invalidated (section
//! 4.4); partial responses and ranges; `Warning` (obsoleted by RFC 9111); and extension directives (ignored, as section
//! 5.2.3 requires).

pub mod cache_status;
pub mod directives;
pub mod freshness;
pub mod key;
mod list;
pub mod validation;
