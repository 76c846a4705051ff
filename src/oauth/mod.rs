//! OAuth access tokens by client credentials (RFC 6749, section 4.4): one per credential, shared by all
//! requests that use it.
//!
//! [`tokens`] decides when a token is fetched, used, refreshed and dropped. [`grant`] makes one request to
//! the token endpoint. [`assertion`] signs client assertions (RFC 7523). [`crate::backoff`] defines the waits
//! after failures.
//!
//! Not implemented: refresh tokens (this grant has none), and storing tokens anywhere but in memory.

pub mod assertion;
mod attempts;
pub mod grant;
mod grant_settings;
pub mod no_token;
pub mod token;
pub mod token_search;
pub mod token_use;
pub mod tokens;
