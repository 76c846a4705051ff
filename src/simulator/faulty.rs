//! Plays a fault on the answer that a request would have had.
//!
//! Deliberately absent: which request meets which fault (`faults.rs`).

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, IF_NONE_MATCH, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::answer::{Outcome, Reply, json, reply, set_field};
use super::api_errors;
use super::faults::{self, FaultKind, Target};
use super::json_text::ObjectText;
use crate::clock::Clock;

/// Takes from a request what would leave a spoiling fault nothing to spoil.
pub(super) fn prepare(kind: Option<&FaultKind>, fields: &mut HeaderMap) {
    if kind.is_some_and(FaultKind::spoils_body) {
        fields.remove(IF_NONE_MATCH);
        fields.remove(ACCEPT_ENCODING);
    }
}

/// What becomes of the request; `ordinary` makes the right answer, where one is needed.
pub(super) async fn play(
    clock: &Clock,
    target: Target,
    kind: Option<FaultKind>,
    ordinary: impl Future<Output = Reply>,
) -> Outcome {
    match kind {
        None | Some(FaultKind::Revoke | FaultKind::RotateSecret { .. }) => Outcome::Whole(ordinary.await),
        Some(FaultKind::Slow { milliseconds }) => {
            clock.sleep(Duration::from_millis(milliseconds)).await;
            Outcome::Whole(ordinary.await)
        }
        Some(FaultKind::Status { status, retry_after, body }) => {
            let mut reply = status_reply(target, faults::status(status), body);
            if let Some(text) = retry_after {
                set_field(&mut reply, RETRY_AFTER, &text);
            }
            Outcome::Whole(reply)
        }
        Some(FaultKind::Close) => Outcome::Dropped,
        Some(FaultKind::Truncate) => Outcome::CutOff(ordinary.await),
        Some(FaultKind::MalformedJson) => {
            Outcome::Whole(ordinary.await.map(|body| body.slice(..body.len() / 2)))
        }
        Some(FaultKind::GarbageToken) => Outcome::Whole(reply(
            StatusCode::OK,
            "text/html",
            "<html><body>Scheduled maintenance</body></html>",
        )),
        Some(FaultKind::Empty) => Outcome::Whole(json(StatusCode::OK, Bytes::new())),
    }
}

fn status_reply(target: Target, status: StatusCode, body: Option<Value>) -> Reply {
    let reason = status.canonical_reason().unwrap_or("a fault of the simulator");
    match (body, target) {
        (Some(Value::String(text)), _) => reply(status, "text/plain; charset=utf-8", text),
        (Some(value), _) => json(status, value.to_string()),
        (None, Target::Api) => api_errors::error(status, "simulated_fault", reason, None, &[]),
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
