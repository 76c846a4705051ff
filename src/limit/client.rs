//! Rate limit per client, for requests that go upstream. Cache hits, and waiting for another client's
//! request, are not counted.
//!
//! The state is bounded: clients whose quota is fully replenished are dropped, and while there are
//! `MOST_CLIENTS` or more clients with state, all clients share one quota ([`ClientKey::Unknown`]).

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::RateLimiter;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;

use super::quota::quota;
use crate::clock::Clock;
use crate::config::ClientLimit;

/// The identity of a client for rate limiting.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClientKey {
    /// The value of the configured field, truncated to 128 bytes.
    Field(Box<[u8]>),
    /// The user id of the peer process on a Unix socket.
    User(u32),
    /// The client's address. For IPv6 only the first 64 bits, because one host has all addresses of that prefix.
    Address(IpAddr),
    /// A client that can't be identified. Also the shared key once there are too many clients.
    Unknown,
}

/// The rate limits of all clients.
pub struct ClientLimiter {
    limiter:
        RateLimiter<ClientKey, DefaultKeyedStateStore<ClientKey>, Clock, NoOpMiddleware<std::time::Instant>>,
    clock: Clock,
    checks: AtomicU64,
}

/// The maximum number of clients with their own quota.
const MOST_CLIENTS: usize = 10_000;

/// The number of checks between two removals of clients with a full quota.
const CHECKS_BETWEEN_SWEEPS: u64 = 1_024;

impl ClientKey {
    /// The key of an address; a mapped IPv4 address counts as IPv4.
    #[must_use]
    pub fn of_address(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let prefix = u128::from(address) & !u128::from(u64::MAX);
                IpAddr::V6(prefix.into())
            }
        })
    }

    /// The key of a field's value.
    #[must_use]
    pub fn of_field(value: &[u8]) -> Self {
        Self::Field(value[..value.len().min(128)].into())
    }
}

impl ClientLimiter {
    /// The limiter for this configuration.
    #[must_use]
    pub fn new(limit: &ClientLimit, clock: Clock) -> Self {
        let limiter = RateLimiter::new(quota(limit.rate), DefaultKeyedStateStore::default(), clock.clone());
        Self { limiter, clock, checks: AtomicU64::new(0) }
    }

    /// Takes one request from the client's quota.
    ///
    /// # Errors
    /// How long until the client may send the next request.
    pub fn check(&self, client: &ClientKey) -> Result<(), Duration> {
        if self.checks.fetch_add(1, Ordering::Relaxed) % CHECKS_BETWEEN_SWEEPS == CHECKS_BETWEEN_SWEEPS - 1 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        let client = if self.limiter.len() < MOST_CLIENTS { client } else { &ClientKey::Unknown };
        let now = self.clock.now().monotonic;
        self.limiter.check_key(client).map_err(|not_until| not_until.wait_time_from(now))
    }

    /// The number of clients with state.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.limiter.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::config::Rate;
    use std::num::NonZeroU32;

    fn limiter(manual: &ManualClock) -> ClientLimiter {
        let rate = Rate { interval: Duration::from_secs(1), burst: NonZeroU32::new(2).expect("not zero") };
        ClientLimiter::new(&ClientLimit { rate, key_field: None }, Clock::Manual(manual.clone()))
    }

    #[test]
    fn one_client_over_its_limit_does_not_touch_another() {
        let manual = ManualClock::new();
        let limiter = limiter(&manual);
        let (one, other) = (ClientKey::User(1), ClientKey::User(2));
        assert!(limiter.check(&one).is_ok() && limiter.check(&one).is_ok());
        let wait = limiter.check(&one).expect_err("over the limit");
        assert!(wait <= Duration::from_secs(1) && wait > Duration::ZERO);
        assert!(limiter.check(&other).is_ok());
        manual.advance(wait);
        assert!(limiter.check(&one).is_ok());
    }

    #[test]
    fn state_does_not_grow_without_end() {
        let manual = ManualClock::new();
        let limiter = limiter(&manual);
        for number in 0..30_000 {
            let _ = limiter.check(&ClientKey::User(number));
        }
        assert!(limiter.clients() <= MOST_CLIENTS + 1);
        manual.advance(Duration::from_mins(1));
        for number in 0..2_048 {
            let _ = limiter.check(&ClientKey::User(number));
        }
        assert!(limiter.clients() <= 2_048 + 1);
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_client() {
        let key = |text: &str| ClientKey::of_address(text.parse().expect("an address"));
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
    }
}
