//! The control of a running simulator: its counters, faults, quirks and credentials. A test uses [`Control`]. Other
//! programs use `/_simulator/counters`, `/_simulator/faults` and `/_simulator/quirks`, which need no authentication.

use std::fmt::{self, Display};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL};
use http::request::Parts;
use http::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::counters::Counters;
use super::faults::{Fault, FaultError, FaultKind};
use super::options::Quirks;
use super::reply::{self, Reply, json_text, set_field};
use super::state::{SimulatorState, lock};
use super::tenants::Tenant;

/// A handle to a running simulator; clones share it.
#[derive(Clone)]
pub struct Control {
    state: Arc<SimulatorState>,
}

impl Control {
    pub(super) fn new(state: Arc<SimulatorState>) -> Self {
        Self { state }
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> Counters {
        lock(&self.state.recorder).counters()
    }

    /// Sets the counters to zero.
    pub fn reset_counters(&self) {
        drop(self.take_counters());
    }

    /// Returns the counters and sets them to zero in one step, so that every request is counted exactly once.
    #[must_use]
    pub fn take_counters(&self) -> Counters {
        lock(&self.state.recorder).take()
    }

    /// Installs a fault. `revoke` and `rotate_secret` take effect at once.
    pub fn inject(&self, fault: Fault) -> Result<(), FaultError> {
        fault.kind.check()?;
        match (fault.kind, fault.account) {
            (FaultKind::Revoke, account) => self.revoke_tokens(account.as_deref()),
            (FaultKind::RotateSecret { write }, Some(account)) => self.rotate_secret(&account, write),
            (FaultKind::RotateSecret { .. }, None) => Err(FaultError::NoAccount),
            (kind, account) => {
                lock(&self.state.faults).push(Fault { account, kind, ..fault });
                Ok(())
            }
        }
    }

    /// The faults that have not happened yet.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        lock(&self.state.faults).clone()
    }

    /// Removes the faults that have not happened yet.
    pub fn clear_faults(&self) {
        lock(&self.state.faults).clear();
    }

    /// Revokes the tokens issued so far: those of an account, or all.
    pub fn revoke_tokens(&self, account: Option<&str>) -> Result<(), FaultError> {
        let position = account.map(|account| self.tenant(account)).transpose()?.map(|(position, _)| position);
        lock(&self.state.tokens).revoke(position);
        Ok(())
    }

    /// Gives an account's client a new secret or key. With `write`, writes it to the folder of the last
    /// `write_credentials`.
    pub fn rotate_secret(&self, account: &str, write: bool) -> Result<(), FaultError> {
        let (position, tenant) = self.tenant(account)?;
        if tenant.client.is_none() {
            return Err(FaultError::Account(account.to_owned()));
        }
        Ok(lock(&self.state.credentials).rotate(position, tenant, write)?)
    }

    /// Replaces the quirks. The change applies from the next request.
    pub fn set_quirks(&self, quirks: Quirks) {
        self.state.set_quirks(quirks);
    }

    fn tenant(&self, account: &str) -> Result<(usize, &Tenant), FaultError> {
        self.state.tenant(account).ok_or_else(|| FaultError::Account(account.to_owned()))
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Control").field("url", &self.state.url).finish_non_exhaustive()
    }
}

/// Answers a request to `/_simulator/...`. `body` is `None` if it was too large or incomplete.
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
        "/_simulator/faults" if method == Method::POST => or_failure(install(control, body)),
        "/_simulator/faults" if method == Method::DELETE => {
            control.clear_faults();
            no_content()
        }
        "/_simulator/faults" => wrong_method("GET, POST, DELETE"),
        "/_simulator/quirks" if method == Method::GET => shown(&control.state.quirks()),
        "/_simulator/quirks" if method == Method::PUT => or_failure(replace_quirks(control, body)),
        "/_simulator/quirks" => wrong_method("GET, PUT"),
        _ => failure(
            StatusCode::NOT_FOUND,
            "the paths are /_simulator/counters, /_simulator/faults and /_simulator/quirks",
        ),
    };
    set_field(&mut reply, CACHE_CONTROL, "no-store");
    reply
}

/// The status and the text of an error.
type Failure = (StatusCode, String);

/// Installs a fault or a list of faults.
fn install(control: &Control, body: Option<Bytes>) -> Result<Reply, Failure> {
    let value: Value = parse(body)?;
    let list = if value.is_array() { value } else { Value::Array(vec![value]) };
    let faults: Vec<Fault> = serde_json::from_value(list).map_err(bad_request)?;
    let installed = faults.len();
    for fault in faults {
        control.inject(fault).map_err(bad_request)?;
    }
    Ok(reply::json(StatusCode::CREATED, &json!({ "installed": installed })))
}

/// Replaces all quirks. A quirk that is not in the body gets its default.
fn replace_quirks(control: &Control, body: Option<Bytes>) -> Result<Reply, Failure> {
    control.set_quirks(parse(body)?);
    Ok(shown(&control.state.quirks()))
}

fn parse<T: DeserializeOwned>(body: Option<Bytes>) -> Result<T, Failure> {
    let body = body.ok_or_else(|| (StatusCode::PAYLOAD_TOO_LARGE, "the body is too large".to_owned()))?;
    serde_json::from_slice(&body).map_err(bad_request)
}

fn bad_request(error: impl Display) -> Failure {
    (StatusCode::BAD_REQUEST, error.to_string())
}

fn or_failure(result: Result<Reply, Failure>) -> Reply {
    result.unwrap_or_else(|(status, reason)| failure(status, &reason))
}

fn shown(value: &impl Serialize) -> Reply {
    match serde_json::to_vec_pretty(value) {
        Ok(text) => json_text(StatusCode::OK, text),
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
    reply::json(status, &json!({ "error": reason }))
}
