//! How credentials stand, as gauges: shown while they are configured, and gone with them.

use super::{CREDENTIAL_STATES, Metrics};

impl Metrics {
    /// Shows which state a credential is in.
    pub fn credential_is(&self, tenant: &str, state: &str) {
        for known in CREDENTIAL_STATES {
            let value = if known == state { 1.0 } else { 0.0 };
            self.credential_state.with_label_values(&[tenant, known]).set(value);
        }
    }

    /// Shows whether the secret of a credential can be used.
    pub fn secret_is_available(&self, tenant: &str, available: bool) {
        self.credential_secret_available.with_label_values(&[tenant]).set(if available { 1.0 } else { 0.0 });
    }

    /// Forgets which endpoints are not narrowed; those that still are not are shown again.
    pub fn forget_unproven(&self) {
        self.account_scope_unproven.reset();
    }

    /// Forgets how a credential stood that is not configured any more: nothing would bring it up to date again, and an
    /// alert about it would never end. What was counted stays counted.
    pub fn forget_credential(&self, tenant: &str) {
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
