//! The settings of a credential that can change while its token stays valid: secret, rate limit and timeout
//! of token requests.

use std::sync::Arc;
use std::time::Duration;

use governor::RateLimiter;
use governor::state::{InMemoryState, NotKeyed};

use super::grant::Grant;
use crate::clock::Clock;
use crate::config::Rate;
use crate::limit::quota;

/// The secret, rate limit and timeout of token requests.
pub(super) struct GrantSettings {
    pub(super) grant: Arc<Grant>,
    pub(super) limiter: Arc<Limiter>,
    pub(super) request_timeout: Duration,
    rate: Rate,
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, Clock>;

impl GrantSettings {
    pub(super) fn new(grant: Grant, rate: Rate, request_timeout: Duration, clock: &Clock) -> Self {
        let limiter = Arc::new(RateLimiter::direct_with_clock(quota(rate), clock.clone()));
        Self { grant: Arc::new(grant), limiter, request_timeout, rate }
    }

    /// The same with another rate limit and timeout. If the rate is unchanged, its count continues.
    pub(super) fn with_limits(&self, rate: Rate, request_timeout: Duration, clock: &Clock) -> Self {
        let limiter = if self.rate == rate {
            Arc::clone(&self.limiter)
        } else {
            Arc::new(RateLimiter::direct_with_clock(quota(rate), clock.clone()))
        };
        Self { grant: Arc::clone(&self.grant), limiter, request_timeout, rate }
    }

    /// The same with another secret.
    pub(super) fn with_grant(&self, grant: Grant) -> Self {
        Self {
            grant: Arc::new(grant),
            limiter: Arc::clone(&self.limiter),
            request_timeout: self.request_timeout,
            rate: self.rate,
        }
    }
}
