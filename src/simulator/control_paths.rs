//! `/_simulator/counters`, `/_simulator/faults` and `/_simulator/quirks`: the simulator in the hands of a person with curl.
//!
//! Deliberately absent: any protection. It is a toy on one's own machine.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL};
use http::request::Parts;
use http::{Method, StatusCode};
use serde::Serialize;
use serde_json::Value;

use super::answer::{Reply, json, set_field};
use super::control::Control;
use super::faults::Fault;
use super::json_text::ObjectText;

/// Answers; `body` is none where it was too large.
pub(super) fn answer(control: &Control, request: &Parts, body: Option<Bytes>) -> Reply {
    let method = &request.method;
    let mut reply = match request.uri.path() {
        "/_simulator/counters" if method == Method::GET => shown(&control.counters()),
        "/_simulator/counters" if method == Method::DELETE => {
            control.reset_counters();
            nothing()
        }
        "/_simulator/counters" => wrong_method("GET, DELETE"),
        "/_simulator/faults" if method == Method::GET => shown(&control.faults()),
        "/_simulator/faults" if method == Method::POST => {
            install(control, body).unwrap_or_else(|(status, reason)| failure(status, &reason))
        }
        "/_simulator/faults" if method == Method::DELETE => {
            control.clear_faults();
            nothing()
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

/// Plays what is unknown of Talkdesk the other way from now on. What is left out is as it is by default.
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

fn nothing() -> Reply {
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
