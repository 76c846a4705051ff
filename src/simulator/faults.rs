//! Faults: which requests they apply to, and what they make of an answer.
//!
//! `revoke` and `rotate_secret` take effect at once and are carried out by `control.rs`.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, IF_NONE_MATCH, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::json::ObjectText;
use super::lock::lock;
use super::reply::{Answer, Reply, json, reply, set_field};
use crate::clock::Clock;

/// A fault, as `POST /_simulator/faults` takes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Which part of Talkdesk fails.
    pub target: Target,
    /// Only for this account: that of the token, or of the token URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Only for paths that begin so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How many requests it applies to.
    #[serde(default = "once")]
    pub count: u64,
    /// What happens.
    #[serde(flatten)]
    pub kind: FaultKind,
}

/// Which part of Talkdesk fails.
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
    /// It is answered with this status.
    Status {
        /// 200 to 599.
        status: u16,
        /// The `Retry-After` field: seconds or a date.
        #[serde(default, deserialize_with = "text_or_number", skip_serializing_if = "Option::is_none")]
        retry_after: Option<String>,
        /// The body: a string as it is, anything else as JSON. Without one, an error in the usual shape.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<Value>,
    },
    /// It is answered later.
    Slow {
        /// How much later, by the simulator's clock.
        milliseconds: u64,
    },
    /// The connection ends without an answer.
    Close,
    /// The connection ends in the middle of the body.
    Truncate,
    /// The JSON of the answer ends in its middle, though the message is complete.
    MalformedJson,
    /// 200 with a page of HTML.
    GarbageToken,
    /// 200 with nothing.
    Empty,
    /// At once: the tokens issued so far become invalid.
    Revoke,
    /// At once: the account's client has a new secret or key.
    RotateSecret {
        /// Whether the file of the last `write_credentials` is written anew.
        #[serde(default)]
        write: bool,
    },
}

/// Why a fault can't be installed.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// A status that an answer can't have.
    #[error("{0} is no status of an answer: use 200 to 599")]
    Status(u16),
    /// There is no such account, or it has no client.
    #[error("no account named {0:?} has a client")]
    Account(String),
    /// A new secret is for one account.
    #[error("rotate_secret needs an account")]
    NoAccount,
    /// The new secret could not be made or written.
    #[error("the new secret could not be written: {0}")]
    Secret(#[from] std::io::Error),
}

/// The faults to come, oldest first.
#[derive(Default)]
pub(super) struct Faults {
    pending: Mutex<Vec<Fault>>,
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
    /// Whether it damages the body, so that there must be one, and not compressed.
    pub(super) fn damages_body(&self) -> bool {
        matches!(self, Self::Truncate | Self::MalformedJson)
    }

    /// Whether the answer is still the regular one.
    pub(super) fn is_harmless(&self) -> bool {
        matches!(self, Self::Slow { .. })
    }

    pub(super) fn check(&self) -> Result<(), FaultError> {
        match self {
            Self::Status { status, .. } if !(200..600).contains(status) => Err(FaultError::Status(*status)),
            Self::Status { .. }
            | Self::Slow { .. }
            | Self::Close
            | Self::Truncate
            | Self::MalformedJson
            | Self::GarbageToken
            | Self::Empty
            | Self::Revoke
            | Self::RotateSecret { .. } => Ok(()),
        }
    }
}

impl Faults {
    pub(super) fn add(&self, fault: Fault) {
        lock(&self.pending).push(fault);
    }

    /// The faults to come.
    pub(super) fn pending(&self) -> Vec<Fault> {
        lock(&self.pending).clone()
    }

    pub(super) fn clear(&self) {
        lock(&self.pending).clear();
    }

    /// The fault of a request: the oldest that applies to it. At most one applies to a request.
    pub(super) fn take(&self, target: Target, account: Option<&str>, path: &str) -> Option<FaultKind> {
        let mut pending = lock(&self.pending);
        let applies = |fault: &Fault| fault.count > 0 && fault.applies_to(target, account, path);
        let position = pending.iter().position(applies)?;
        pending[position].count -= 1;
        let kind = pending[position].kind.clone();
        pending.retain(|fault| fault.count > 0);
        Some(kind)
    }
}

/// The status of a fault that was checked.
fn status_code(number: u16) -> StatusCode {
    StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
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
            Err(serde::de::Error::custom(format!("retry_after is {other}, not seconds or a date")))
        }
    }
}

/// Removes the request fields that would leave a fault without a body to damage.
pub(super) fn prepare(kind: Option<&FaultKind>, fields: &mut HeaderMap) {
    if kind.is_some_and(FaultKind::damages_body) {
        fields.remove(IF_NONE_MATCH);
        fields.remove(ACCEPT_ENCODING);
    }
}

/// The answer under a fault; `regular` makes the regular one, where it is needed.
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
            let mut reply = status_reply(target, status_code(status), body);
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
        Some(FaultKind::Empty) => Answer::Whole(json(StatusCode::OK, Bytes::new())),
    }
}

fn status_reply(target: Target, status: StatusCode, body: Option<Value>) -> Reply {
    let reason = status.canonical_reason().unwrap_or("a fault of the simulator");
    match (body, target) {
        (Some(Value::String(text)), _) => reply(status, "text/plain; charset=utf-8", text),
        (Some(value), _) => json(status, value.to_string()),
        (None, Target::Api) => {
            let object = ObjectText::new().string("code", "simulated_fault").string("message", reason);
            json(status, object.literal("fields", "[]").finish())
        }
        (None, Target::Token) => {
            let code = match status {
                StatusCode::UNAUTHORIZED => "invalid_client",
                StatusCode::BAD_REQUEST => "invalid_request",
                _ => "temporarily_unavailable",
            };
            json(status, ObjectText::new().string("error", code).string("error_description", reason).finish())
        }
    }
}
