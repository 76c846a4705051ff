//! HTTP caching as pure functions (RFC 9111, with RFC 5861's two stale extensions).
//!
//! Every function takes what it looks at, and the time; none has state. The shelf that holds entries, and the
//! rules that an operator adds, are `crate::cache`'s.
//!
//! What the standard requires, and which test holds it or why it does not apply, is in `docs/rfc9111.md`.
//!
//! Deliberately absent: partial responses (a range is answered from a whole entry, and none is stored),
//! `Warning` (obsolete since RFC 9111), and extension directives that nobody here understands (ignored, as
//! section 5.2.3 has it).

pub mod directives;
pub mod freshness;
pub mod invalidation;
pub mod key;
mod list;
pub mod range;
pub mod validation;
