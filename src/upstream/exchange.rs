//! Data about an exchange with upstream.

use std::time::Duration;

use http::StatusCode;

use crate::headers::RateState;
use crate::oauth::token_use::TokenUse;

/// Data about an exchange with upstream, for logs, metrics and response fields.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exchange {
    /// The state of the credential's rate limit.
    pub rate: Option<RateState>,
    /// The time spent waiting for upstream.
    pub upstream: Duration,
    /// The time spent waiting for the rate limit.
    pub waited: Duration,
    /// The source of its token.
    pub token: Option<TokenUse>,
    /// The status of upstream's response.
    pub status: Option<StatusCode>,
}
