//! Counters, faults, quirks and credentials of a running simulator: for a test through [`Control`], and over HTTP at
//! `/_simulator/counters`, `/_simulator/faults` and `/_simulator/quirks`, without authentication.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL};
use http::request::Parts;
use http::{Method, StatusCode};
use serde::Serialize;
use serde_json::Value;

use super::counters::Counters;
use super::credentials::Credential;
use super::faults::{Fault, FaultError, FaultKind};
use super::json::ObjectText;
use super::options::Quirks;
use super::reply::{Reply, json, set_field};
use super::state::State;

/// A handle to a running simulator; clones share it.
#[derive(Clone)]
pub struct Control {
    state: Arc<State>,
}

impl Control {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state }
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.state.recorder.counters()
    }

    /// Sets the counters to zero.
    pub fn reset_counters(&self) {
        drop(self.take_counters());
    }

    /// Returns the counters and sets them to zero, so that nothing is counted twice and nothing is lost.
    #[must_use]
    pub fn take_counters(&self) -> Counters {
        self.state.recorder.take()
    }

    /// Installs a fault; `revoke` and `rotate_secret` take effect at once.
    pub fn inject(&self, fault: Fault) -> Result<(), FaultError> {
        fault.kind.check()?;
        match (fault.kind, fault.account) {
            (FaultKind::Revoke, account) => self.revoke_tokens(account.as_deref()),
            (FaultKind::RotateSecret { write }, Some(account)) => {
                self.rotate_secret(&account, write).map(drop)
            }
            (FaultKind::RotateSecret { .. }, None) => Err(FaultError::NoAccount),
            (kind, account) => {
                self.state.faults.add(Fault { account, kind, ..fault });
                Ok(())
            }
        }
    }

    /// The faults that are still to come.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.state.faults.pending()
    }

    /// Removes the faults that are still to come.
    pub fn clear_faults(&self) {
        self.state.faults.clear();
    }

    /// Revokes the tokens issued so far: an account's, or all.
    pub fn revoke_tokens(&self, account: Option<&str>) -> Result<(), FaultError> {
        let position = match account {
            None => None,
            Some(account) => Some(self.position(account)?),
        };
        self.state.tokens.revoke(position);
        Ok(())
    }

    /// Gives an account's client a new secret or key; with `write`, also in the folder of the last
    /// `write_credentials`.
    pub fn rotate_secret(&self, account: &str, write: bool) -> Result<Credential, FaultError> {
        let unknown = || FaultError::Account(account.to_owned());
        let (position, tenant) = self.state.tenant(account).ok_or_else(unknown)?;
        self.state.credentials.rotate(position, tenant, write)?.ok_or_else(unknown)
    }

    /// The current credentials.
    #[must_use]
    pub fn credentials(&self) -> Vec<Credential> {
        self.state.credentials.all()
    }

    /// How the simulator behaves where the documentation is silent.
    #[must_use]
    pub fn quirks(&self) -> Quirks {
        self.state.quirks()
    }

    /// Changes the behaviour from the next request on.
    pub fn set_quirks(&self, quirks: Quirks) {
        self.state.set_quirks(quirks);
    }

    fn position(&self, account: &str) -> Result<usize, FaultError> {
        let known = self.state.tenant(account);
        known.map(|(position, _)| position).ok_or_else(|| FaultError::Account(account.to_owned()))
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Control").field("url", &self.state.url).finish_non_exhaustive()
    }
}

/// Answers a request to `/_simulator/...`; `body` is none where it was too large or incomplete.
pub(super) fn answer(control: &Control, request: &Parts, body: Option<Bytes>) -> Reply {
    let method = &request.method;
    let mut reply = match request.uri.path() {
        "/_simulator/counters" if method == Method::GET => shown(&control.counters()),
        "/_simulator/counters" if method == Method::DELETE => {
            control.reset_counters();
            no_content()
        }
        "/_simulator/counters" => wrong_method("GET, DELETE"),
        "/_simulator/faults" if method == Method::GET => shown(&control.faults()),
        "/_simulator/faults" if method == Method::POST => {
            install(control, body).unwrap_or_else(|(status, reason)| failure(status, &reason))
        }
        "/_simulator/faults" if method == Method::DELETE => {
            control.clear_faults();
            no_content()
        }
        "/_simulator/faults" => wrong_method("GET, POST, DELETE"),
        "/_simulator/quirks" if method == Method::GET => shown(&control.quirks()),
        "/_simulator/quirks" if method == Method::PUT => {
            change_quirks(control, body).unwrap_or_else(|(status, reason)| failure(status, &reason))
        }
        "/_simulator/quirks" => wrong_method("GET, PUT"),
        _ => failure(
            StatusCode::NOT_FOUND,
            "there are /_simulator/counters, /_simulator/faults and /_simulator/quirks",
        ),
    };
    set_field(&mut reply, CACHE_CONTROL, "no-store");
    reply
}

fn install(control: &Control, body: Option<Bytes>) -> Result<Reply, (StatusCode, String)> {
    let too_large = || (StatusCode::PAYLOAD_TOO_LARGE, "the body is too large".to_owned());
    let body = body.ok_or_else(too_large)?;
    let bad = |error: &dyn std::fmt::Display| (StatusCode::BAD_REQUEST, error.to_string());
    let value: Value = serde_json::from_slice(&body).map_err(|error| bad(&error))?;
    let list = if value.is_array() { value } else { Value::Array(vec![value]) };
    let faults: Vec<Fault> = serde_json::from_value(list).map_err(|error| bad(&error))?;
    let installed = faults.len();
    for fault in faults {
        control.inject(fault).map_err(|error| bad(&error))?;
    }
    Ok(json(StatusCode::CREATED, ObjectText::new().literal("installed", installed).finish()))
}

/// Replaces all quirks. Those that the body leaves out get their defaults.
fn change_quirks(control: &Control, body: Option<Bytes>) -> Result<Reply, (StatusCode, String)> {
    let body = body.ok_or_else(|| (StatusCode::PAYLOAD_TOO_LARGE, "the body is too large".to_owned()))?;
    let quirks =
        serde_json::from_slice(&body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    control.set_quirks(quirks);
    Ok(shown(&control.quirks()))
}

fn shown(value: &impl Serialize) -> Reply {
    match serde_json::to_vec_pretty(value) {
        Ok(text) => json(StatusCode::OK, text),
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn no_content() -> Reply {
    let mut reply = Reply::new(Bytes::new());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply
}

fn wrong_method(allowed: &str) -> Reply {
    let mut reply = failure(StatusCode::METHOD_NOT_ALLOWED, "use one of the methods in Allow");
    set_field(&mut reply, ALLOW, allowed);
    reply
}

fn failure(status: StatusCode, reason: &str) -> Reply {
    json(status, ObjectText::new().string("error", reason).finish())
}
