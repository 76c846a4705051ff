//! Access tokens: issued, remembered with what they allow, and forgotten some time after they ended.
//!
//! Deliberately absent: who gets one (`identity.rs`).

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::lock::lock;
use super::scope::Scope;
use crate::clock::Now;

/// Above so many tokens, those that ended long ago are forgotten.
const MANY: usize = 10_000;
/// How long an ended token is still known as one that was good.
const MEMORY: Duration = Duration::from_hours(1);

/// All tokens issued.
#[derive(Default)]
pub(super) struct Tokens {
    issued: Mutex<HashMap<String, Grant>>,
}

/// What a token stands for.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    /// The place of the tenant in the options.
    pub(super) tenant: usize,
    pub(super) scopes: Vec<Scope>,
    expires: Instant,
    revoked: bool,
}

/// What a request brought as its token.
#[derive(Clone, Debug)]
pub(super) enum Presented {
    Nothing,
    Unknown,
    Expired(Grant),
    Revoked(Grant),
    Good(Grant),
}

impl Tokens {
    /// Issues a token.
    pub(super) fn issue(&self, tenant: usize, scopes: Vec<Scope>, lifetime: Duration, now: Now) -> String {
        let token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let grant = Grant { tenant, scopes, expires: now.after(lifetime), revoked: false };
        let mut issued = lock(&self.issued);
        if issued.len() >= MANY {
            issued.retain(|_, grant| now.since(grant.expires) < MEMORY);
        }
        issued.insert(token.clone(), grant);
        token
    }

    /// What is known of the token in a request.
    pub(super) fn look_up(&self, token: Option<&str>, now: Now) -> Presented {
        let Some(token) = token else { return Presented::Nothing };
        match lock(&self.issued).get(token).cloned() {
            None => Presented::Unknown,
            Some(grant) if grant.revoked => Presented::Revoked(grant),
            Some(grant) if grant.expires <= now.monotonic => Presented::Expired(grant),
            Some(grant) => Presented::Good(grant),
        }
    }

    /// Makes the tokens issued so far invalid: a tenant's, or all.
    pub(super) fn revoke(&self, tenant: Option<usize>) {
        let mut issued = lock(&self.issued);
        let mine = issued.values_mut().filter(|grant| tenant.is_none_or(|tenant| tenant == grant.tenant));
        mine.for_each(|grant| grant.revoked = true);
    }
}

impl Presented {
    /// Whose token it is or was.
    pub(super) fn grant(&self) -> Option<&Grant> {
        match self {
            Self::Nothing | Self::Unknown => None,
            Self::Expired(grant) | Self::Revoked(grant) | Self::Good(grant) => Some(grant),
        }
    }

    pub(super) fn is_expired(&self) -> bool {
        matches!(self, Self::Expired(_))
    }
}
