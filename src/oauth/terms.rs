//! The settings of a credential that can change while its token stays valid: secret, rate limit and timeout
//! of token requests.

use std::sync::Arc;
use std::time::Duration;

use governor::RateLimiter;
use governor::state::{InMemoryState, NotKeyed};

use super::grant::Grant;
use super::tokens::{NoToken, Tokens};
use crate::clock::Clock;
use crate::config::Rate;
use crate::limit::quota;
use crate::single_flight::Joined;

/// The secret, rate limit and timeout of token requests.
pub(super) struct Terms {
    pub(super) grant: Arc<Grant>,
    pub(super) limiter: Arc<Limiter>,
    pub(super) request_timeout: Duration,
    rate: Rate,
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, Clock>;

impl Terms {
    pub(super) fn new(grant: Grant, rate: Rate, request_timeout: Duration, clock: &Clock) -> Self {
        let limiter = Arc::new(RateLimiter::direct_with_clock(quota(rate), clock.clone()));
        Self { grant: Arc::new(grant), limiter, request_timeout, rate }
    }
}

impl Tokens {
    /// Applies a new rate limit and timeout. If the rate is unchanged, its count continues.
    pub fn go_by(&self, rate: Rate, request_timeout: Duration) {
        let known = self.terms.load();
        let limiter = if known.rate == rate {
            Arc::clone(&known.limiter)
        } else {
            Arc::new(RateLimiter::direct_with_clock(quota(rate), self.clock().clone()))
        };
        self.terms.store(Arc::new(Terms { grant: Arc::clone(&known.grant), limiter, request_timeout, rate }));
    }

    /// Applies a new secret and requests a token with it at once. Remembered failures concern the old secret
    /// and are forgotten. The current token stays in use until the new one arrives or the current one
    /// expires.
    ///
    /// # Errors
    /// [`NoToken`] if the new secret did not give a token.
    pub async fn renew(self: &Arc<Self>, grant: Grant) -> Result<(), NoToken> {
        let known = self.terms.load_full();
        self.terms.store(Arc::new(Terms {
            grant: Arc::new(grant),
            limiter: Arc::clone(&known.limiter),
            request_timeout: known.request_timeout,
            rate: known.rate,
        }));
        loop {
            let lead = match self.flight.join(&()) {
                // A request that started earlier says nothing about the new secret.
                Joined::Wait(waiting) => {
                    let _ = waiting.outcome().await;
                    continue;
                }
                Joined::Lead(lead) => lead,
            };
            self.forgive();
            let this = Arc::clone(self);
            let proving = lead.start(|_| async move { Some(this.fetch().await) });
            if let Ok(outcome) = proving.outcome().await {
                return outcome.map(drop);
            }
        }
    }
}
