//! Gauges about credentials. They exist only while the credential is configured.

use super::registry::{CREDENTIAL_STATES, Metrics};

impl Metrics {
    /// Sets the state of a credential.
    pub(crate) fn credential_is(&self, tenant: &str, state: &str) {
        for known in CREDENTIAL_STATES {
            let value = if known == state { 1.0 } else { 0.0 };
            self.credential_state.with_label_values(&[tenant, known]).set(value);
        }
    }

    /// Sets whether the secret of a credential can be used.
    pub(crate) fn secret_is_available(&self, tenant: &str, available: bool) {
        self.credential_secret_available.with_label_values(&[tenant]).set(if available { 1.0 } else { 0.0 });
    }

    /// Removes all series of `account_scope_unproven`; the caller sets those that still apply.
    pub(crate) fn forget_unproven(&self) {
        self.account_scope_unproven.reset();
    }

    /// Removes the gauges of a credential that is no longer configured: they would never be updated again, and an
    /// alert on them would never end. Counters stay.
    pub(crate) fn forget_credential(&self, tenant: &str) {
        for state in CREDENTIAL_STATES {
            let _ = self.credential_state.remove_label_values(&[tenant, state]);
        }
        for gauges in [
            &self.credential_secret_available,
            &self.token_expiry_timestamp,
            &self.upstream_paused_until_timestamp,
            &self.accounts_skipped,
        ] {
            let _ = gauges.remove_label_values(&[tenant]);
        }
    }
}
