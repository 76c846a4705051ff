//! The attempts to get a token: when the next one is allowed, and why the last one failed.

use std::time::{Duration, Instant};

use super::grant::GrantError;
use super::no_token::{NoToken, TokenError};
use crate::backoff::{Backoff, OUTAGE, REJECTED, REJECTED_AFTER_SUCCESS};
use crate::clock::Now;

/// The minimum time between two token requests that are caused by a 401 of the API.
const BETWEEN_REJECTIONS: Duration = Duration::from_secs(30);

/// How long after a success a refusal of the client may be caused by a change of its scopes.
const SCOPES_SETTLE: Duration = Duration::from_mins(10);

/// The attempts of one credential.
#[derive(Default)]
pub(super) struct Attempts {
    /// Whether a token request is running.
    pub(super) fetching: bool,
    /// The number of tokens fetched so far.
    pub(super) issued: u64,
    /// The last failure, and when the next attempt is allowed.
    pub(super) failure: Option<(TokenError, Instant)>,
    failures: u32,
    backoff: Option<Backoff>,
    last_success: Option<Instant>,
    /// How many tokens in a row the API answered with 401.
    pub(super) rejected_in_a_row: u32,
    last_fetch_for_rejection: Option<Instant>,
}

impl Attempts {
    /// Whether a token may be requested now.
    pub(super) fn may_attempt(&self, now: Now) -> Result<(), NoToken> {
        match &self.failure {
            Some((error, until)) if now.monotonic < *until => {
                Err(NoToken { error: error.clone(), retry_in: now.until(*until) })
            }
            _ => Ok(()),
        }
    }

    /// Records a 401 of the API. The first one may be followed by a new token at once; a second one in a row, or one soon
    /// after, has to wait.
    pub(super) fn record_rejection(&mut self, now: Now) -> Result<(), NoToken> {
        self.rejected_in_a_row += 1;
        let since_last = self.last_fetch_for_rejection.map(|last| now.since(last));
        let wait = if self.rejected_in_a_row >= 2 {
            Some(REJECTED.wait(self.rejected_in_a_row - 1, fastrand::f64()))
        } else {
            since_last.and_then(|since| BETWEEN_REJECTIONS.checked_sub(since)).filter(|wait| !wait.is_zero())
        };
        if let Some(wait) = wait {
            self.failure = Some((TokenError::TokenRejected, now.after(wait)));
            return Err(NoToken { error: TokenError::TokenRejected, retry_in: wait });
        }
        self.last_fetch_for_rejection = Some(now.monotonic);
        Ok(())
    }

    pub(super) fn record_success(&mut self, now: Now) {
        self.issued += 1;
        self.failures = 0;
        self.failure = None;
        self.last_success = Some(now.monotonic);
    }

    /// Records a failed token request, and says when the next one is allowed.
    pub(super) fn record_failure(&mut self, error: GrantError, now: Now) -> NoToken {
        let recently_good = self.last_success.is_some_and(|success| now.since(success) < SCOPES_SETTLE);
        let backoff = match &error {
            GrantError::Rejected(_) if recently_good => REJECTED_AFTER_SUCCESS,
            GrantError::Rejected(_) => REJECTED,
            GrantError::SecretUnavailable(_)
            | GrantError::Unavailable(_)
            | GrantError::Malformed(_)
            | GrantError::ScopeNotEffective(_)
            | GrantError::Limited { .. } => OUTAGE,
        };
        // A different kind of failure restarts the back-off.
        if self.backoff != Some(backoff) {
            self.failures = 0;
            self.backoff = Some(backoff);
        }
        self.failures = self.failures.saturating_add(1);
        let retry_after = if let GrantError::Limited { retry_after } = &error { *retry_after } else { None };
        let wait = retry_after.filter(|pause| !pause.is_zero()).map_or_else(
            || backoff.wait(self.failures, fastrand::f64()),
            |pause| pause.min(REJECTED.longest),
        );
        let error = TokenError::Grant(error);
        self.failure = Some((error.clone(), now.after(wait)));
        NoToken { error, retry_in: wait }
    }

    /// Forgets every failure.
    pub(super) fn reset_failures(&mut self) {
        self.failures = 0;
        self.backoff = None;
        self.failure = None;
        self.rejected_in_a_row = 0;
        self.last_fetch_for_rejection = None;
    }
}
