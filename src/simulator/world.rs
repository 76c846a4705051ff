//! Everything that the parts of a running simulator share.
//!
//! Deliberately absent: what is done with it.

use std::collections::HashMap;
use std::sync::RwLock;

use super::client_assertion::AssertionIds;
use super::counters::Tally;
use super::credentials::Credentials;
use super::faults::Faults;
use super::lock::{read, write};
use super::options::{Options, Quirks};
use super::rate_limit::RateLimits;
use super::tenants::Tenant;
use super::tokens::Tokens;
use super::walks::Walks;
use crate::clock::Clock;

/// A running simulator's state.
pub(super) struct World {
    pub(super) options: Options,
    /// The base of every URL that is told.
    pub(super) url: String,
    pub(super) clock: Clock,
    pub(super) credentials: Credentials,
    pub(super) tokens: Tokens,
    pub(super) assertions: AssertionIds,
    pub(super) tally: Tally,
    pub(super) faults: Faults,
    pub(super) limits: RateLimits,
    pub(super) walks: Walks,
    quirks: RwLock<Quirks>,
    places: HashMap<String, usize>,
}

impl World {
    /// A fresh world.
    pub(super) fn new(options: Options, url: String, clock: Clock) -> Result<Self, rcgen::Error> {
        let names = options.tenants.iter().enumerate();
        Ok(Self {
            credentials: Credentials::generate(&options.tenants)?,
            tokens: Tokens::default(),
            assertions: AssertionIds::default(),
            tally: Tally::new(clock.now()),
            faults: Faults::default(),
            limits: RateLimits::default(),
            walks: Walks::default(),
            quirks: RwLock::new(options.quirks.clone()),
            places: names.map(|(place, tenant)| (tenant.account.clone(), place)).collect(),
            options,
            url,
            clock,
        })
    }

    /// The tenant whose account has this name, and its place.
    pub(super) fn tenant(&self, account: &str) -> Option<(usize, &Tenant)> {
        let place = *self.places.get(account)?;
        Some((place, self.options.tenants.get(place)?))
    }

    pub(super) fn token_url(&self, account: &str) -> String {
        format!("{}/{account}/oauth/token", self.url)
    }

    pub(super) fn quirks(&self) -> Quirks {
        read(&self.quirks).clone()
    }

    pub(super) fn set_quirks(&self, quirks: Quirks) {
        *write(&self.quirks) = quirks;
    }
}
