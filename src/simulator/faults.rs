//! Faults that wait for a request to befall.
//!
//! Each request meets one fault at most: the oldest that fits it. Deliberately absent: how a fault is played
//! (`faulty.rs`), and those that take effect at once, which `control.rs` carries out.

use std::sync::Mutex;

use http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::lock::lock;

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
    /// How many requests it befalls.
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
    /// It is answered, but later.
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

/// The faults that wait, oldest first.
#[derive(Default)]
pub(super) struct Faults {
    waiting: Mutex<Vec<Fault>>,
}

impl Fault {
    /// One request to `target` meets this.
    #[must_use]
    pub fn once(target: Target, kind: FaultKind) -> Self {
        Self { target, account: None, path: None, count: 1, kind }
    }

    fn fits(&self, target: Target, account: Option<&str>, path: &str) -> bool {
        let same_account = self.account.as_deref().is_none_or(|wanted| Some(wanted) == account);
        let same_path = self.path.as_deref().is_none_or(|prefix| path.starts_with(prefix));
        self.target == target && same_account && same_path
    }
}

impl FaultKind {
    /// Whether it spoils the answer's body, so that there must be one, and readable.
    pub(super) fn spoils_body(&self) -> bool {
        matches!(self, Self::Truncate | Self::MalformedJson)
    }

    /// Whether the answer is still the right one.
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
        lock(&self.waiting).push(fault);
    }

    /// Those that still wait.
    pub(super) fn waiting(&self) -> Vec<Fault> {
        lock(&self.waiting).clone()
    }

    pub(super) fn clear(&self) {
        lock(&self.waiting).clear();
    }

    /// The fault that a request meets.
    pub(super) fn take(&self, target: Target, account: Option<&str>, path: &str) -> Option<FaultKind> {
        let mut waiting = lock(&self.waiting);
        let fits = |fault: &Fault| fault.count > 0 && fault.fits(target, account, path);
        let position = waiting.iter().position(fits)?;
        waiting[position].count -= 1;
        let kind = waiting[position].kind.clone();
        waiting.retain(|fault| fault.count > 0);
        Some(kind)
    }
}

/// The status of a checked fault.
pub(super) fn status(number: u16) -> StatusCode {
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
