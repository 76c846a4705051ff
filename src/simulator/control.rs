//! A running simulator in the hands of a test: its counters, faults, quirks and credentials, without a socket.
//!
//! Deliberately absent: the same over HTTP (`control_paths.rs`).

use std::fmt;
use std::sync::Arc;

use super::counters::Counters;
use super::credentials::Credential;
use super::faults::{Fault, FaultError, FaultKind};
use super::options::Quirks;
use super::world::World;

/// A handle to a running simulator; clones share it.
#[derive(Clone)]
pub struct Control {
    world: Arc<World>,
}

impl Control {
    pub(super) fn new(world: Arc<World>) -> Self {
        Self { world }
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.world.tally.counters()
    }

    /// Starts counting anew.
    pub fn reset_counters(&self) {
        drop(self.take_counters());
    }

    /// What was counted so far, and starts counting anew: nothing is counted twice, and nothing is lost.
    #[must_use]
    pub fn take_counters(&self) -> Counters {
        self.world.tally.take()
    }

    /// Installs a fault; `revoke` and `rotate_secret` take effect here and now.
    pub fn inject(&self, fault: Fault) -> Result<(), FaultError> {
        fault.kind.check()?;
        match (fault.kind, fault.account) {
            (FaultKind::Revoke, account) => self.revoke_tokens(account.as_deref()),
            (FaultKind::RotateSecret { write }, Some(account)) => {
                self.rotate_secret(&account, write).map(drop)
            }
            (FaultKind::RotateSecret { .. }, None) => Err(FaultError::NoAccount),
            (kind, account) => {
                self.world.faults.add(Fault { account, kind, ..fault });
                Ok(())
            }
        }
    }

    /// The faults that still wait for a request.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.world.faults.waiting()
    }

    /// Forgets the faults that still wait.
    pub fn clear_faults(&self) {
        self.world.faults.clear();
    }

    /// Makes the tokens issued so far invalid: an account's, or all.
    pub fn revoke_tokens(&self, account: Option<&str>) -> Result<(), FaultError> {
        let place = match account {
            None => None,
            Some(account) => Some(self.place(account)?),
        };
        self.world.tokens.revoke(place);
        Ok(())
    }

    /// Gives an account's client a new secret or key; with `write`, also in the folder of the last
    /// `write_credentials`.
    pub fn rotate_secret(&self, account: &str, write: bool) -> Result<Credential, FaultError> {
        let unknown = || FaultError::Account(account.to_owned());
        let (place, tenant) = self.world.tenant(account).ok_or_else(unknown)?;
        self.world.credentials.rotate(place, tenant, write)?.ok_or_else(unknown)
    }

    /// The credentials in force.
    #[must_use]
    pub fn credentials(&self) -> Vec<Credential> {
        self.world.credentials.all()
    }

    /// How the simulator behaves where the documentation is silent.
    #[must_use]
    pub fn quirks(&self) -> Quirks {
        self.world.quirks()
    }

    /// Changes how it behaves, from the next request on.
    pub fn set_quirks(&self, quirks: Quirks) {
        self.world.set_quirks(quirks);
    }

    fn place(&self, account: &str) -> Result<usize, FaultError> {
        let known = self.world.tenant(account);
        known.map(|(place, _)| place).ok_or_else(|| FaultError::Account(account.to_owned()))
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Control").field("url", &self.world.url).finish_non_exhaustive()
    }
}
