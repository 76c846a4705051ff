//! Faults: the requests that they apply to, and how they change an answer.
//!
//! `revoke` and `rotate_secret` do not wait for a request: `control.rs` carries them out when they are installed.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, IF_NONE_MATCH, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::reply::{Answer, Reply, api_error, json, json_text, oauth_error, reply, set_field};
use crate::clock::Clock;

/// A fault, in the form that `POST /_simulator/faults` takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// The part of Talkdesk that fails.
    pub target: Target,
    /// Limits the fault to requests of this account, which is that of the token or of the token URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Limits the fault to paths with this prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The number of requests that the fault applies to.
    #[serde(default = "once")]
    pub count: u64,
    /// What happens.
    #[serde(flatten)]
    pub kind: FaultKind,
}

/// The part of Talkdesk that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// `/express/...`
    Api,
    /// `/{account}/oauth/token`
    Token,
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// The answer has this status.
    Status {
        /// 200 to 599.
        status: u16,
        /// The `Retry-After` field: seconds or a date.
        #[serde(default, deserialize_with = "text_or_number", skip_serializing_if = "Option::is_none")]
        retry_after: Option<String>,
        /// The body. A string is sent as text, and any other value as JSON. The default is an error in the usual form.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<Value>,
    },
    /// The answer comes later.
    Slow {
        /// The delay on the simulator's clock.
        milliseconds: u64,
    },
    /// The connection ends without an answer.
    Close,
    /// The connection ends in the middle of the body.
    Truncate,
    /// The message is complete, but its JSON ends in the middle.
    MalformedJson,
    /// The answer has status 200 and an HTML page as its body.
    GarbageToken,
    /// The answer has status 200 and no body.
    Empty,
    /// The tokens issued so far become invalid. This happens when the fault is installed.
    Revoke,
    /// The account's client gets a new secret or key. This happens when the fault is installed.
    RotateSecret {
        /// Whether the new secret is also written to the folder of the last `write_credentials`.
        #[serde(default)]
        write: bool,
    },
}

/// The reason why a fault cannot be installed.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// An answer cannot have this status.
    #[error("{0} is not a valid status: use 200 to 599")]
    Status(u16),
    /// The account does not exist, or it has no client.
    #[error("no account named {0:?} has a client")]
    Account(String),
    /// The fault does not say which account gets a new secret.
    #[error("rotate_secret needs an account")]
    NoAccount,
    /// The new secret could not be generated or written.
    #[error("the new secret could not be written: {0}")]
    Secret(#[from] std::io::Error),
}

impl Fault {
    /// A fault for one request to `target`.
    #[must_use]
    pub fn once(target: Target, kind: FaultKind) -> Self {
        Self { target, account: None, path: None, count: 1, kind }
    }

    fn applies_to(&self, target: Target, account: Option<&str>, path: &str) -> bool {
        let same_account = self.account.as_deref().is_none_or(|wanted| Some(wanted) == account);
        let same_path = self.path.as_deref().is_none_or(|prefix| path.starts_with(prefix));
        self.target == target && same_account && same_path
    }
}

impl FaultKind {
    /// Whether it damages the body. Then the answer must have a body that is not compressed.
    pub(super) fn damages_body(&self) -> bool {
        matches!(self, Self::Truncate | Self::MalformedJson)
    }

    /// Whether the answer is still the regular one, apart from the time that it takes.
    pub(super) fn is_harmless(&self) -> bool {
        matches!(self, Self::Slow { .. })
    }

    pub(super) fn check(&self) -> Result<(), FaultError> {
        if let Self::Status { status, .. } = self
            && !(200..600).contains(status)
        {
            return Err(FaultError::Status(*status));
        }
        Ok(())
    }
}

/// Takes the oldest fault that applies to a request. At most one fault applies to a request.
pub(super) fn take(
    pending: &mut Vec<Fault>,
    target: Target,
    account: Option<&str>,
    path: &str,
) -> Option<FaultKind> {
    let applies = |fault: &&mut Fault| fault.count > 0 && fault.applies_to(target, account, path);
    let fault = pending.iter_mut().find(applies)?;
    fault.count -= 1;
    let kind = fault.kind.clone();
    pending.retain(|fault| fault.count > 0);
    Some(kind)
}

const fn once() -> u64 {
    1
}

fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Number(number) => Ok(Some(number.to_string())),
        other @ (Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
            Err(serde::de::Error::custom(format!("retry_after must be seconds or a date, not {other}")))
        }
    }
}

/// Removes the request fields that could result in an answer without a body, or with a compressed one, if the fault
/// damages the body.
pub(super) fn prepare(kind: Option<&FaultKind>, fields: &mut HeaderMap) {
    if kind.is_some_and(FaultKind::damages_body) {
        fields.remove(IF_NONE_MATCH);
        fields.remove(ACCEPT_ENCODING);
    }
}

/// Makes the answer to a request with this fault. `regular` makes the regular reply.
pub(super) async fn apply(
    clock: &Clock,
    target: Target,
    kind: Option<FaultKind>,
    regular: impl Future<Output = Reply>,
) -> Answer {
    match kind {
        None | Some(FaultKind::Revoke | FaultKind::RotateSecret { .. }) => Answer::Whole(regular.await),
        Some(FaultKind::Slow { milliseconds }) => {
            clock.sleep(Duration::from_millis(milliseconds)).await;
            Answer::Whole(regular.await)
        }
        Some(FaultKind::Status { status, retry_after, body }) => {
            // The status was checked when the fault was installed.
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut reply = status_reply(target, status, body);
            if let Some(text) = retry_after {
                set_field(&mut reply, RETRY_AFTER, &text);
            }
            Answer::Whole(reply)
        }
        Some(FaultKind::Close) => Answer::Closed,
        Some(FaultKind::Truncate) => Answer::Truncated(regular.await),
        Some(FaultKind::MalformedJson) => {
            Answer::Whole(regular.await.map(|body| body.slice(..body.len() / 2)))
        }
        Some(FaultKind::GarbageToken) => Answer::Whole(reply(
            StatusCode::OK,
            "text/html",
            "<html><body>Scheduled maintenance</body></html>",
        )),
        Some(FaultKind::Empty) => Answer::Whole(json_text(StatusCode::OK, Bytes::new())),
    }
}

fn status_reply(target: Target, status: StatusCode, body: Option<Value>) -> Reply {
    let reason = status.canonical_reason().unwrap_or("a fault of the simulator");
    match (body, target) {
        (Some(Value::String(text)), _) => reply(status, "text/plain; charset=utf-8", text),
        (Some(value), _) => json(status, &value),
        (None, Target::Api) => api_error(status, "simulated_fault", reason, None, &[]),
        (None, Target::Token) => {
            let code = match status {
                StatusCode::UNAUTHORIZED => "invalid_client",
                StatusCode::BAD_REQUEST => "invalid_request",
                _ => "temporarily_unavailable",
            };
            oauth_error(status, code, reason)
        }
    }
}
