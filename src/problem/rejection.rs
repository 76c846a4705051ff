//! Every way a request can end without data from the API. Each becomes a status, a code, a message and a metric label.
//!
//! The body is `application/problem+json` (RFC 9457), with members that also match Talkdesk's own error format, so that a tool
//! that reads Talkdesk's errors can read these. A message says what happened, to which tenant, and what to do. It never
//! contains a secret, a token or an upstream body; a server's error text is included only shortened and cleaned, and only
//! where the reason needs it.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::Serialize;

use super::code::{Code, CodeClass};
use crate::domain::entitlement::{Denial, FILTER};
use crate::domain::tenant::Unnamed;
use crate::io::client::{Failure, FailureKind};
use crate::log::request_id::RequestId;
use crate::oauth::grant::GrantError;
use crate::oauth::no_token::{NoToken, TokenError};

/// Why a request is not answered by the API's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// `Host` is missing, there twice, or not one of ours.
    HostNotAllowed(String),
    /// A browser page of another origin asks.
    OriginNotAllowed,
    /// The peer's address is not one that may connect.
    PeerNotAllowed,
    /// The request target can be read in two ways.
    InvalidTarget(&'static str),
    /// The request target has a slash too many.
    SlashTooMany {
        /// The path without it.
        meant: String,
    },
    /// The request target is too long.
    UriTooLong,
    /// A body where there must be none.
    BodyNotAllowed,
    /// The proxy is at a limit of its own.
    Overloaded(Overload),
    /// The limit of the credential, or of the client.
    RateLimited {
        /// Whose limit it is.
        limit: Limit,
        /// When it is worth trying again.
        retry_in: Duration,
    },
    /// The path leads nowhere.
    UnknownEndpoint {
        /// The path that was probably meant.
        meant: Option<String>,
    },
    /// The endpoint does not answer this method.
    MethodNotAllowed {
        /// Those that it does.
        allow: Arc<str>,
    },
    /// The tenant is not named, or not clearly.
    Unnamed(Unnamed),
    /// The entitlement refuses.
    Denied(Denial),
    /// Talkdesk answered 403 just now.
    ForbiddenUpstream {
        /// Talkdesk's reason, cleaned.
        reason: Arc<str>,
        /// Talkdesk's id of the request.
        upstream_request_id: Option<Arc<str>>,
    },
    /// The client accepts only what is stored, and nothing is.
    OnlyIfCached,
    /// There is no token.
    NoToken(NoToken),
    /// The API answered 401 to this request, with two tokens.
    TokenRejected(NoToken),
    /// There was no usable answer in the time.
    UpstreamTimeout,
    /// No connection, or no answer on it.
    UpstreamUnreachable(Failure),
    /// What came was no HTTP, was cut off, or was not JSON.
    UpstreamProtocolError(String),
    /// The answer is larger than may be.
    UpstreamResponseTooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The answer held, or might have held, another account's records.
    AccountMismatch(String),
    /// Talkdesk is not proven to narrow this request to the account, so an Instance gets no data.
    AccountScopeUnproven(Unproven),
    /// The answer repeats the token that the request carried.
    TokenInAnswer,
    /// Talkdesk asked for a pause.
    UpstreamRateLimited {
        /// The rest of it, where Talkdesk said.
        retry_in: Option<Duration>,
    },
    /// Something unforeseen.
    Internal,
}

/// What Talkdesk is not proven to narrow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unproven {
    /// The endpoint's name.
    pub endpoint: Arc<str>,
    /// The configured filter.
    pub filter: Arc<str>,
    /// Whether the client added a filter of its own.
    pub has_client_filter: bool,
    /// What Talkdesk answered.
    pub reason: Arc<str>,
    /// When Talkdesk is asked again; zero: with the next request.
    pub retry_in: Duration,
}

/// Which limit of the proxy is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overload {
    /// `server.max_requests_in_flight`.
    Requests,
    /// `upstream.max_buffered_bytes`.
    BufferedBytes,
}

/// Whose limit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// That of the credential towards the API.
    Upstream,
    /// That of the client.
    Client,
}

/// A rejection in the words and numbers of a problem.
pub struct ProblemText {
    /// The `code` member.
    pub code: Code,
    /// The status of the response.
    pub status: StatusCode,
    /// What happened.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// The error type of `Proxy-Status` (RFC 9209, section 2.3).
    pub proxy_error: &'static str,
    /// When a retry is worth it.
    pub retry_in: Option<Duration>,
}

/// The members of a problem (RFC 9457) and of Talkdesk's errors.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: String,
    code: &'a str,
    message: &'a str,
    description: &'a str,
    fields: Vec<Field<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_request_id: Option<&'a str>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct Field<'a> {
    name: &'a str,
    description: &'a str,
}

impl Rejection {
    /// The rejection for a client. `tenant` is the name to use.
    #[must_use]
    pub fn problem(&self, tenant: Option<&str>, denial_status: StatusCode) -> ProblemText {
        let code = self.code();
        let (message, remedy) = self.message_and_remedy(tenant.unwrap_or("the tenant"));
        let mut status = code.status();
        let mut proxy_error = code.proxy_error();
        if code.class() == CodeClass::Denial && status == StatusCode::FORBIDDEN {
            status = denial_status;
        }
        if let Self::HostNotAllowed(host) = self
            && host.is_empty()
        {
            // Without a `Host` field the request itself is wrong (RFC 9112, section 3.2).
            (status, proxy_error) = (StatusCode::BAD_REQUEST, "http_request_error");
        }
        if let Self::UpstreamUnreachable(failure) = self {
            proxy_error = match failure.kind {
                FailureKind::Connect => "destination_unavailable",
                FailureKind::Tls => "tls_protocol_error",
                FailureKind::Reset => "connection_terminated",
                FailureKind::Protocol => "http_protocol_error",
                FailureKind::Timeout => "connection_timeout",
            };
        }
        ProblemText { code, status, message, remedy, proxy_error, retry_in: self.retry_in() }
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::HostNotAllowed(_) => Code::HostNotAllowed,
            Self::OriginNotAllowed => Code::OriginNotAllowed,
            Self::PeerNotAllowed => Code::PeerNotAllowed,
            Self::InvalidTarget(_) | Self::SlashTooMany { .. } => Code::InvalidTarget,
            Self::UriTooLong => Code::UriTooLong,
            Self::BodyNotAllowed => Code::BodyNotAllowed,
            Self::UnknownEndpoint { .. } => Code::UnknownEndpoint,
            Self::MethodNotAllowed { .. } => Code::MethodNotAllowed,
            Self::Unnamed(Unnamed::Missing) => Code::TenantMissing,
            Self::Unnamed(Unnamed::Conflict(_)) => Code::TenantConflict,
            Self::Unnamed(Unnamed::Unknown(_)) => Code::UnknownTenant,
            Self::Denied(denial) => denial_code(denial),
            Self::ForbiddenUpstream { .. } => Code::DeniedByTalkdesk,
            Self::RateLimited { .. } => Code::RateLimited,
            Self::UpstreamRateLimited { .. } => Code::UpstreamRateLimited,
            Self::Overloaded(_) => Code::Overloaded,
            Self::OnlyIfCached => Code::NotInCache,
            Self::NoToken(no_token) | Self::TokenRejected(no_token) => match &no_token.error {
                TokenError::Grant(GrantError::SecretUnavailable(_)) => Code::SecretUnavailable,
                TokenError::Grant(GrantError::Rejected(_)) => Code::CredentialRejected,
                TokenError::Grant(GrantError::ScopeNotEffective(_)) => Code::ScopeNotEffective,
                TokenError::Grant(
                    GrantError::Unavailable(_) | GrantError::Malformed(_) | GrantError::Limited { .. },
                ) => Code::TokenUnavailable,
                TokenError::TokenRejected => Code::TokenRejected,
            },
            Self::UpstreamTimeout => Code::UpstreamTimeout,
            Self::UpstreamUnreachable(_) => Code::UpstreamUnreachable,
            Self::UpstreamProtocolError(_) => Code::UpstreamProtocolError,
            Self::UpstreamResponseTooLarge { .. } => Code::UpstreamResponseTooLarge,
            Self::AccountMismatch(_) => Code::AccountMismatch,
            Self::AccountScopeUnproven(_) => Code::AccountScopeUnproven,
            Self::TokenInAnswer => Code::TokenInAnswer,
            Self::Internal => Code::Internal,
        }
    }

    /// When a retry is worth it.
    fn retry_in(&self) -> Option<Duration> {
        if let Self::RateLimited { retry_in, .. } = self {
            return Some(*retry_in);
        }
        if let Self::UpstreamRateLimited { retry_in } = self {
            return *retry_in;
        }
        if let Self::AccountScopeUnproven(unproven) = self {
            return Some(unproven.retry_in).filter(|retry_in| !retry_in.is_zero());
        }
        if let Self::NoToken(no_token) | Self::TokenRejected(no_token) = self {
            return (self.code() != Code::SecretUnavailable).then_some(no_token.retry_in);
        }
        matches!(self, Self::Overloaded(_)).then_some(Duration::from_secs(1))
    }

    /// The body: a problem, in Talkdesk's format too.
    #[must_use]
    pub fn body(&self, text: &ProblemText, request_id: &RequestId, tenant: Option<&str>) -> Vec<u8> {
        let denial = if let Self::Denied(denial) = self { Some(denial) } else { None };
        let fields = match denial {
            Some(Denial::ParameterNotAllowed { parameter }) => {
                vec![Field {
                    name: parameter,
                    description: "not allowed for an Instance on its Organization's credential",
                }]
            }
            Some(Denial::FilterNotUnderstood { reason }) => {
                vec![Field { name: FILTER, description: reason }]
            }
            Some(Denial::AccountNotInOrganization { .. }) => {
                vec![Field { name: FILTER, description: "names an account that this tenant may not ask for" }]
            }
            _ => Vec::new(),
        };
        let problem = Problem {
            r#type: format!("urn:billing-insights-proxy:problem:{}", text.code.as_str()),
            title: text.status.canonical_reason().unwrap_or("Refused"),
            status: text.status.as_u16(),
            detail: format!("{} {}", text.message, text.remedy),
            code: text.code.as_str(),
            message: &text.message,
            description: &text.remedy,
            fields,
            tenant,
            upstream_request_id: self.upstream_request_id(),
            request_id: request_id.as_str(),
        };
        serde_json::to_vec(&problem).unwrap_or_default()
    }

    /// Talkdesk's name for the request that it refused.
    #[must_use]
    pub fn upstream_request_id(&self) -> Option<&str> {
        if let Self::ForbiddenUpstream { upstream_request_id, .. } = self {
            return upstream_request_id.as_deref();
        }
        let Self::Denied(Denial::DeniedByTalkdesk(denial)) = self else { return None };
        denial.upstream_request_id.as_deref()
    }

    /// Whether a stale entry may answer in its place, and the reason's label.
    #[must_use]
    pub fn excuses_stale(&self) -> Option<&'static str> {
        match self {
            Self::RateLimited { limit: Limit::Upstream | Limit::Client, .. } | Self::Overloaded(_) => {
                Some("limited")
            }
            Self::UpstreamRateLimited { .. } => Some("paused"),
            Self::NoToken(NoToken {
                error: TokenError::Grant(GrantError::Rejected(_)) | TokenError::TokenRejected,
                ..
            }) => Some("rejected"),
            Self::NoToken(NoToken { error: TokenError::Grant(_), .. })
            | Self::UpstreamTimeout
            | Self::UpstreamUnreachable(_)
            | Self::UpstreamProtocolError(_)
            | Self::UpstreamResponseTooLarge { .. } => Some("error"),
            Self::HostNotAllowed(_)
            | Self::OriginNotAllowed
            | Self::PeerNotAllowed
            | Self::InvalidTarget(_)
            | Self::SlashTooMany { .. }
            | Self::UriTooLong
            | Self::BodyNotAllowed
            | Self::UnknownEndpoint { .. }
            | Self::MethodNotAllowed { .. }
            | Self::Unnamed(_)
            | Self::Denied(_)
            | Self::ForbiddenUpstream { .. }
            | Self::OnlyIfCached
            | Self::AccountMismatch(_)
            | Self::AccountScopeUnproven(_)
            | Self::TokenInAnswer
            // A second 401 says that the tenant may not see this any more.
            | Self::TokenRejected(_)
            | Self::Internal => None,
        }
    }

    /// Whether the credential may not send any more for now.
    #[must_use]
    pub fn is_of_credentials_limit(&self) -> bool {
        matches!(self, Self::RateLimited { limit: Limit::Upstream, .. } | Self::UpstreamRateLimited { .. })
    }

    /// Whether the request itself, or the entitlement, is the reason.
    #[must_use]
    pub fn is_denial(&self) -> bool {
        matches!(self.code().class(), CodeClass::Client | CodeClass::Denial)
    }
}

/// The code of a denial.
#[must_use]
pub fn denial_code(denial: &Denial) -> Code {
    match denial {
        Denial::TenantDisabled { .. } => Code::TenantDisabled,
        Denial::ResellerSold { .. } => Code::ResellerSold,
        Denial::NoOauthClient { .. } => Code::NoOauthClient,
        Denial::PlanNotEligible { .. } => Code::PlanNotEligible,
        Denial::ScopeMissing { .. } => Code::ScopeMissing,
        Denial::OrganizationOnly => Code::OrganizationOnly,
        Denial::ParameterNotAllowed { .. } => Code::ParameterNotAllowed,
        Denial::FilterNotUnderstood { .. } => Code::FilterNotUnderstood,
        Denial::AccountNotInOrganization { .. } => Code::AccountNotInOrganization,
        Denial::DeniedByTalkdesk(_) => Code::DeniedByTalkdesk,
    }
}
