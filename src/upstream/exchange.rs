//! What is known of an exchange with upstream.

use std::time::Duration;

use http::StatusCode;

use crate::headers::RateState;
use crate::oauth::token_use::TokenUse;

/// What is known of an exchange with upstream, for logs, metrics and response fields.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exchange {
    /// The state of the credential's rate limit.
    pub rate: Option<RateState>,
    /// How long upstream took.
    pub upstream: Duration,
    /// How long it waited for the rate limit.
    pub waited: Duration,
    /// Where its token came from.
    pub token: Option<TokenUse>,
    /// The status of upstream's response.
    pub status: Option<StatusCode>,
}
