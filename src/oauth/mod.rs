//! Tokens: one per credential, shared by everybody who asks with it (RFC 6749, section 4.4).
//!
//! [`tokens`] decides when a token is fetched, used and given up; [`grant`] makes one exchange with the token
//! endpoint; [`assertion`] signs what a client with a private key proves itself by (RFC 7523); [`crate::backoff`] says
//! how long to leave a failing endpoint alone.
//!
//! Deliberately absent: refresh tokens (the grant has none), and storing tokens anywhere but in memory.

pub mod assertion;
pub mod grant;
mod terms;
pub mod token;
pub mod token_search;
pub mod token_use;
pub mod tokens;
