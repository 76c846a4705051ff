//! The API's errors, in Talkdesk's shape: `code`, `message`, `description`, `fields`.
//!
//! Deliberately absent: the token endpoint's errors, whose shape is OAuth's (`identity.rs`).

use http::StatusCode;
use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};

use super::answer::{Reply, json, set_field};
use super::json_text::ObjectText;
use super::scope::Scope;

/// What is wrong with one parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldError {
    name: String,
    description: String,
}

/// Why the API does not answer with data.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    NoToken,
    BadToken(&'static str),
    MissingScope(Scope),
    NoAccess,
    ForeignAccount(String),
    BadQuery(Vec<FieldError>),
    UnknownPath,
    WrongMethod,
    /// With the seconds to wait, where the API tells them.
    TooMany(Option<u64>),
}

impl FieldError {
    pub(super) fn new(name: &str, description: &str) -> Self {
        Self { name: name.to_owned(), description: description.to_owned() }
    }
}

impl Refusal {
    /// The response.
    pub(super) fn reply(&self) -> Reply {
        let (status, code, message, description) = self.words();
        let mut reply = error(status, code, message, description.as_deref(), self.fields());
        match self {
            Self::NoToken => set_field(&mut reply, WWW_AUTHENTICATE, "Bearer"),
            Self::BadToken(why) => {
                let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{why}\"");
                set_field(&mut reply, WWW_AUTHENTICATE, &challenge);
            }
            Self::MissingScope(scope) => {
                let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", scope.name());
                set_field(&mut reply, WWW_AUTHENTICATE, &challenge);
            }
            Self::WrongMethod => set_field(&mut reply, ALLOW, "GET"),
            Self::TooMany(Some(seconds)) => set_field(&mut reply, RETRY_AFTER, &seconds.to_string()),
            Self::NoAccess
            | Self::ForeignAccount(_)
            | Self::BadQuery(_)
            | Self::UnknownPath
            | Self::TooMany(None) => {}
        }
        reply
    }

    fn words(&self) -> (StatusCode, &'static str, &'static str, Option<String>) {
        match self {
            Self::NoToken => (StatusCode::UNAUTHORIZED, "unauthorized", "An access token is required", None),
            Self::BadToken(why) => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "The access token is invalid",
                Some((*why).to_owned()),
            ),
            Self::MissingScope(scope) => {
                let description = format!("The token lacks the scope {}", scope.name());
                (StatusCode::FORBIDDEN, "insufficient_scope", "Insufficient scope", Some(description))
            }
            Self::NoAccess => {
                let description = "This account may not use the Billing Insights API".to_owned();
                (StatusCode::FORBIDDEN, "forbidden", "Access denied", Some(description))
            }
            Self::ForeignAccount(account) => {
                let description = format!("Account {account} is not under the calling Organization");
                (StatusCode::FORBIDDEN, "forbidden", "Access denied", Some(description))
            }
            Self::BadQuery(_) => (StatusCode::BAD_REQUEST, "bad_request", "The request is invalid", None),
            Self::UnknownPath => (StatusCode::NOT_FOUND, "not_found", "No such resource", None),
            Self::WrongMethod => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed", None)
            }
            Self::TooMany(_) => {
                (StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "Too many requests", None)
            }
        }
    }

    fn fields(&self) -> &[FieldError] {
        match self {
            Self::BadQuery(fields) => fields,
            Self::NoToken
            | Self::BadToken(_)
            | Self::MissingScope(_)
            | Self::NoAccess
            | Self::ForeignAccount(_)
            | Self::UnknownPath
            | Self::WrongMethod
            | Self::TooMany(_) => &[],
        }
    }
}

/// An error in Talkdesk's shape.
pub(super) fn error(
    status: StatusCode,
    code: &str,
    message: &str,
    description: Option<&str>,
    fields: &[FieldError],
) -> Reply {
    let object = ObjectText::new().string("code", code).string("message", message);
    let object = match description {
        Some(description) => object.string("description", description),
        None => object,
    };
    let fields: Vec<String> = fields
        .iter()
        .map(|field| {
            let object = ObjectText::new().string("name", &field.name);
            object.string("description", &field.description).finish()
        })
        .collect();
    json(status, object.literal("fields", format!("[{}]", fields.join(","))).finish())
}
