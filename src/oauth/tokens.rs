//! The lifecycle of one credential's token: fetch, use, refresh and drop.
//!
//! The first request that needs a token fetches it; concurrent requests wait for that fetch. A token in use
//! is refreshed in the background at about 80 % of its lifetime, with jitter so that replicas do not refresh
//! simultaneously. An unused token is not refreshed. A token is used until its expiry less a margin; the
//! expiry is checked at every use. A failure is remembered for the length of a back-off, so a failing token
//! endpoint gets few requests regardless of the load.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::attempts::Attempts;
use super::grant::{Grant, GrantError, Granted};
use super::grant_settings::GrantSettings;
use super::no_token::{NoToken, TokenError};
use super::token::Token;
use super::token_search::TokenSearch;
use super::token_use::TokenUse;
use crate::clock::{Clock, Now};
use crate::config::Rate;
use crate::domain::credential::Credential;
use crate::domain::learned::Learned;
use crate::io::client::Outbound;
use crate::log::audit::{AuditEvent, AuditKind, AuditLog};
use crate::metrics::Metrics;
use crate::single_flight::{Joined, SingleFlight};

/// The state of a credential, for the admin API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialStatus {
    /// One of the states in `crate::metrics`.
    pub state: &'static str,
    /// The expiry of the current token.
    pub usable_until: Option<Instant>,
    /// The scopes of the current token.
    pub scopes: BTreeSet<String>,
    /// The last failure.
    pub error: Option<TokenError>,
    /// When the next attempt is allowed, if that is in the future.
    pub next_attempt: Option<Instant>,
    /// The number of tokens fetched so far.
    pub tokens: u64,
}

/// The token of one credential.
pub struct Tokens {
    credential: Arc<Credential>,
    owner: Arc<str>,
    settings: ArcSwap<GrantSettings>,
    services: Services,
    current: ArcSwapOption<Token>,
    /// Since when Talkdesk has refused the credential.
    refused_since: ArcSwapOption<Instant>,
    attempts: Mutex<Attempts>,
    flight: SingleFlight<(), Result<Arc<Token>, NoToken>>,
}

/// The services that fetching a token uses.
#[derive(Clone)]
pub struct Services {
    /// The HTTP client for token requests.
    pub outbound: Outbound,
    /// The clock.
    pub clock: Clock,
    /// Counts token requests.
    pub metrics: Arc<Metrics>,
    /// Remembers the scopes of a token.
    pub learned: Arc<Learned>,
    /// Records token requests.
    pub audit: AuditLog,
}

impl Tokens {
    /// The token of a credential; not fetched yet.
    #[must_use]
    pub fn new(
        credential: Arc<Credential>,
        grant: Grant,
        rate: Rate,
        request_timeout: Duration,
        services: Services,
    ) -> Self {
        let owner: Arc<str> = credential.owner.to_string().into();
        services.metrics.credential_is(&owner, "absent");
        for result in ["ok", "rejected", "unavailable", "malformed", "limited", "scope_not_effective"] {
            services.metrics.touch_token_request(&owner, result);
        }
        let settings = GrantSettings::new(grant, rate, request_timeout, &services.clock);
        Self {
            credential,
            owner,
            settings: ArcSwap::from_pointee(settings),
            services,
            current: ArcSwapOption::empty(),
            refused_since: ArcSwapOption::empty(),
            attempts: Mutex::default(),
            flight: SingleFlight::default(),
        }
    }

    /// The credential whose token this is.
    #[must_use]
    pub fn credential(&self) -> &Arc<Credential> {
        &self.credential
    }

    /// A valid token, and how it was obtained.
    ///
    /// # Errors
    /// [`NoToken`]
    pub async fn get(self: &Arc<Self>) -> Result<(Arc<Token>, TokenUse), NoToken> {
        loop {
            let now = self.services.clock.now();
            if let Some(token) = self.current(now) {
                let due = now.monotonic >= token.refresh_at && self.may_attempt(now).is_ok();
                let refreshed = due && self.refresh();
                return Ok((token, if refreshed { TokenUse::Refreshed } else { TokenUse::Kept }));
            }
            self.may_attempt(now)?;
            let (waiting, token_use) = match self.flight.join(&()) {
                Joined::Wait(waiting) => (waiting, TokenUse::Waited),
                Joined::Lead(lead) => {
                    // Another request may have completed between the check and taking the lead.
                    if let Some(token) = self.current(self.services.clock.now()) {
                        return Ok((token, TokenUse::Kept));
                    }
                    let this = Arc::clone(self);
                    (lead.start(|_| async move { Some(this.fetch().await) }), TokenUse::Fetched)
                }
            };
            if let Ok(outcome) = waiting.outcome().await {
                return outcome.map(|token| (token, token_use));
            }
        }
    }

    /// Handles a 401 of the API for this token: drops it if it is still the current one.
    ///
    /// # Errors
    /// [`NoToken`] if another token may not be fetched yet.
    pub fn rejected(&self, token: &Token) -> Result<(), NoToken> {
        let now = self.services.clock.now();
        let mut attempts = self.attempts();
        let still_current =
            self.current.load().as_ref().is_some_and(|current| current.number == token.number);
        if !still_current {
            return attempts.may_attempt(now);
        }
        self.current.store(None);
        let outcome = attempts.record_rejection(now);
        if outcome.is_err() {
            self.note_refusal(now);
        }
        drop(attempts);
        self.show_state();
        outcome
    }

    /// Notes that the API accepted the token.
    pub fn accepted(&self) {
        self.refused_since.store(None);
        self.attempts().rejected_in_a_row = 0;
    }

    /// Since when Talkdesk has refused the credential, at its token endpoint or its API; none if it does not.
    #[must_use]
    pub fn refused_since(&self) -> Option<Instant> {
        self.refused_since.load().as_ref().map(|since| **since)
    }

    /// The state of the credential.
    #[must_use]
    pub fn status(&self) -> CredentialStatus {
        let now = self.services.clock.now();
        let token = self.current(now);
        let attempts = self.attempts();
        let failure = attempts.failure.as_ref();
        let state = match (&token, failure) {
            (Some(_), _) if attempts.fetching => "refreshing",
            (Some(_), _) => "valid",
            (None, _) if attempts.fetching => "fetching",
            (None, Some((error, _))) if error.is_rejection() => "rejected",
            (None, Some(_)) => "backing_off",
            (None, None) => "absent",
        };
        CredentialStatus {
            state,
            usable_until: token.as_ref().map(|token| token.usable_until),
            scopes: token.as_ref().map(|token| token.scopes.clone()).unwrap_or_default(),
            error: failure
                .map(|(error, _)| error.clone())
                .or_else(|| self.settings.load().grant.usable().err().map(Into::into)),
            next_attempt: failure.map(|(_, until)| *until).filter(|until| *until > now.monotonic),
            tokens: attempts.issued,
        }
    }

    fn current(&self, now: Now) -> Option<Arc<Token>> {
        self.current.load_full().filter(|token| now.monotonic < token.usable_until)
    }

    fn may_attempt(&self, now: Now) -> Result<(), NoToken> {
        self.attempts().may_attempt(now)
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a background refresh. Returns false if a fetch is already running.
    fn refresh(self: &Arc<Self>) -> bool {
        let Joined::Lead(lead) = self.flight.join(&()) else { return false };
        let this = Arc::clone(self);
        drop(lead.start(|_| async move { Some(this.fetch().await) }));
        true
    }

    /// Requests a token and records the outcome.
    pub(super) async fn fetch(&self) -> Result<Arc<Token>, NoToken> {
        self.attempts().fetching = true;
        self.show_state();
        let started = self.services.clock.now();
        let outcome = self.request(started).await;
        let outcome = match outcome {
            Ok(granted) => Ok(self.store(granted, started)),
            Err(error) => Err(self.note_failure(error)),
        };
        self.attempts().fetching = false;
        self.show_state();
        outcome
    }

    async fn request(&self, now: Now) -> Result<Granted, GrantError> {
        let Services { outbound, clock, metrics, audit, .. } = &self.services;
        let settings = self.settings.load_full();
        settings.grant.usable()?;
        self.limited(&settings, now)?;
        let exchange = settings.grant.exchange(outbound.clone(), now.wall);
        let outcome = clock.timeout(settings.request_timeout, exchange).await;
        metrics.token_request_duration.observe(clock.now().since(now.monotonic).as_secs_f64());
        let outcome =
            outcome.unwrap_or_else(|_| Err(GrantError::Unavailable("it did not answer in time".into())));
        metrics.token_request(&self.owner, result_label(&outcome));
        let kind = AuditKind::Token { credential: Arc::clone(&self.owner), result: result_label(&outcome) };
        audit.write(AuditEvent { time: now.wall, kind, source: None });
        outcome
    }

    fn limited(&self, settings: &GrantSettings, now: Now) -> Result<(), GrantError> {
        let decision = settings.limiter.check().map_err(|not_until| GrantError::Limited {
            retry_after: Some(not_until.wait_time_from(now.monotonic)),
        });
        self.services.metrics.limit("token", if decision.is_ok() { "allowed" } else { "refused" });
        decision
    }

    fn store(&self, granted: Granted, requested: Now) -> Arc<Token> {
        let Services { clock, metrics, learned, .. } = &self.services;
        let margin = Duration::from_secs(1).max(granted.lifetime / 50);
        let usable = granted.lifetime.saturating_sub(margin);
        let usable_until = requested.after(usable);
        // 75 % to 85 % of the usable lifetime: 80 % with jitter.
        let refresh_at = requested.after(usable.mul_f64(0.75 + 0.1 * fastrand::f64()));
        let mut attempts = self.attempts();
        // A new token that the API has not accepted yet does not end a refusal by the API.
        if attempts.rejected_in_a_row == 0 {
            self.refused_since.store(None);
        }
        attempts.record_success(clock.now());
        let token = Arc::new(Token {
            search: TokenSearch::new(granted.authorization.as_bytes()),
            authorization: granted.authorization,
            number: attempts.issued,
            usable_until,
            refresh_at,
            scopes: granted.scopes.clone(),
        });
        self.current.store(Some(Arc::clone(&token)));
        drop(attempts);
        learned.learn_scopes(&self.credential.key, &granted.scopes, usable_until);
        learned.forget_denials(|denied| denied.credential == self.credential.key);
        let expiry = requested
            .wall_at(usable_until)
            .duration_since(std::time::SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        metrics.token_expiry_timestamp.with_label_values(&[&*self.owner]).set(expiry.as_secs_f64());
        tracing::debug!(tenant = %self.owner, number = token.number, "token fetched");
        token
    }

    fn note_failure(&self, error: GrantError) -> NoToken {
        let now = self.services.clock.now();
        let mut attempts = self.attempts();
        let no_token = attempts.record_failure(error, now);
        if no_token.error.is_rejection() {
            self.note_refusal(now);
        }
        drop(attempts);
        let retry_in = no_token.retry_in.as_secs_f64();
        tracing::warn!(tenant = %self.owner, error = %no_token.error, retry_in_seconds = retry_in, "no token");
        no_token
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.services.clock
    }

    fn note_refusal(&self, now: Now) {
        if self.refused_since.load().is_none() {
            self.refused_since.store(Some(Arc::new(now.monotonic)));
        }
    }

    /// Updates the metric. A token expires without an event, so this is also called whenever metrics are
    /// read.
    pub fn show_state(&self) {
        self.services.metrics.credential_is(&self.owner, self.status().state);
    }

    /// Applies a new rate limit and timeout.
    pub fn set_limits(&self, rate: Rate, request_timeout: Duration) {
        let settings = self.settings.load().with_limits(rate, request_timeout, self.clock());
        self.settings.store(Arc::new(settings));
    }

    /// Applies a new secret and requests a token with it at once. Remembered failures concern the old secret
    /// and are forgotten. The current token stays in use until the new one arrives or the current one
    /// expires.
    ///
    /// # Errors
    /// [`NoToken`] if the new secret did not give a token.
    pub async fn renew(self: &Arc<Self>, grant: Grant) -> Result<(), NoToken> {
        self.settings.store(Arc::new(self.settings.load().with_grant(grant)));
        loop {
            let lead = match self.flight.join(&()) {
                // A request that started earlier says nothing about the new secret.
                Joined::Wait(waiting) => {
                    let _ = waiting.outcome().await;
                    continue;
                }
                Joined::Lead(lead) => lead,
            };
            self.attempts().reset_failures();
            self.refused_since.store(None);
            let this = Arc::clone(self);
            let proving = lead.start(|_| async move { Some(this.fetch().await) });
            if let Ok(outcome) = proving.outcome().await {
                return outcome.map(drop);
            }
        }
    }
}

fn result_label(outcome: &Result<Granted, GrantError>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(GrantError::Rejected(_)) => "rejected",
        Err(GrantError::Malformed(_)) => "malformed",
        Err(GrantError::Limited { .. }) => "limited",
        Err(GrantError::ScopeNotEffective(_)) => "scope_not_effective",
        Err(GrantError::Unavailable(_) | GrantError::SecretUnavailable(_)) => "unavailable",
    }
}
