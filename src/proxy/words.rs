//! The text of every rejection, with its status and code: what happened, to which tenant, and what to do.
//!
//! One exhaustive match: a new rejection does not compile without its text.

use std::time::Duration;

use http::StatusCode;

use super::denial_words::denial_told;
use super::rejection::{Limit, Overload, Rejection, Told, Unproven};
use crate::client::FailureKind;
use crate::domain::tenant::Unnamed;
use crate::oauth::grant::{GrantError, printable};
use crate::oauth::tokens::{NoToken, TokenError};

impl Rejection {
    /// Status, code and words. `tenant` is the name to speak of.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "one exhaustive match, better read as one")]
    pub fn told(&self, tenant: Option<&str>, denial_status: StatusCode) -> Told {
        let tenant = tenant.unwrap_or("the tenant");
        let told = |status, code, proxy_error, what: String, remedy: &str| Told {
            status,
            code,
            what,
            remedy: remedy.to_owned(),
            proxy_error,
            retry_in: None,
        };
        match self {
            Self::HostNotAllowed(host) if host.is_empty() => told(
                StatusCode::BAD_REQUEST,
                "host_not_allowed",
                "http_request_error",
                "The request has no Host field, or more than one.".into(),
                "Send exactly one Host field (RFC 9112, section 3.2).",
            ),
            Self::HostNotAllowed(host) => told(
                StatusCode::MISDIRECTED_REQUEST,
                "host_not_allowed",
                "http_request_denied",
                format!("This proxy does not answer for the host `{host}`."),
                "Use a name that server.allowed_hosts lists, or have the operator add this one.",
            ),
            Self::OriginNotAllowed => told(
                StatusCode::FORBIDDEN,
                "origin_not_allowed",
                "http_request_denied",
                "A browser page of another origin may not ask this proxy.".into(),
                "Ask from a program, or have the operator add the page's origin to server.allowed_origins.",
            ),
            Self::PeerNotAllowed => told(
                StatusCode::FORBIDDEN,
                "peer_not_allowed",
                "http_request_denied",
                "Your address may not ask this proxy.".into(),
                "Have the operator add it to server.allowed_peers.",
            ),
            Self::InvalidTarget(reason) => told(
                StatusCode::BAD_REQUEST,
                "invalid_target",
                "http_request_error",
                format!("The request target is refused because it can be read in two ways: {reason}."),
                "Send the path as this proxy lists it at `/`.",
            ),
            Self::SlashTooMany { meant } => told(
                StatusCode::BAD_REQUEST,
                "invalid_target",
                "http_request_error",
                "The request target is refused because it has a slash too many.".into(),
                &format!("Did you mean `{meant}`? GET / lists the endpoints."),
            ),
            Self::UriTooLong => told(
                StatusCode::URI_TOO_LONG,
                "uri_too_long",
                "http_request_error",
                format!("The request target is longer than {} bytes.", super::MAX_TARGET_BYTES),
                "Ask for less at once: a shorter filter, or a page at a time.",
            ),
            Self::BodyNotAllowed => told(
                StatusCode::BAD_REQUEST,
                "body_not_allowed",
                "http_request_error",
                "The request has a body, and this proxy takes none.".into(),
                "Send it without Content-Length and Transfer-Encoding. The connection is closed.",
            ),
            Self::Overloaded(Overload::BufferedBytes) => Told {
                retry_in: Some(Duration::from_secs(1)),
                ..told(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "overloaded",
                    "connection_limit_reached",
                    "The answers that this proxy is reading from Talkdesk take as much memory as it is configured to use.".into(),
                    "Try again after the time in Retry-After, or have the operator raise upstream.max_buffered_bytes.",
                )
            },
            Self::Overloaded(Overload::Requests) => Told {
                retry_in: Some(Duration::from_secs(1)),
                ..told(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "overloaded",
                    "connection_limit_reached",
                    "This proxy answers as many requests at once as it is configured to.".into(),
                    "Try again after the time in Retry-After, or have the operator raise server.max_requests_in_flight.",
                )
            },
            Self::RateLimited { limit, retry_in } => Told {
                retry_in: Some(*retry_in),
                ..told(
                    StatusCode::TOO_MANY_REQUESTS,
                    "rate_limited",
                    "http_request_denied",
                    match limit {
                        Limit::Upstream => {
                            format!(
                                "The limit of {tenant}'s credential towards Talkdesk is used up, and the wait for it was too long."
                            )
                        }
                        Limit::Client => "You have asked for more than limits.client lets one client.".into(),
                    },
                    "Try again after the time in Retry-After; answers that are in the cache do not count.",
                )
            },
            Self::UnknownEndpoint { meant } => told(
                StatusCode::NOT_FOUND,
                "unknown_endpoint",
                "http_request_denied",
                "The path is not one of this proxy's endpoints.".into(),
                &meant.as_ref().map_or_else(
                    || "GET / lists the endpoints and the ways to name a tenant.".to_owned(),
                    |meant| format!("Did you mean `{meant}`? GET / lists the endpoints."),
                ),
            ),
            Self::MethodNotAllowed { allow } => told(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "http_request_denied",
                "The endpoint does not answer this method.".into(),
                &format!("Use one of: {allow}."),
            ),
            Self::Unnamed(unnamed) => unnamed_told(unnamed),
            Self::Denied(denial) => denial_told(denial, tenant, denial_status),
            Self::ForbiddenUpstream { reason, .. } => told(
                denial_status,
                "denied_by_talkdesk",
                "http_request_denied",
                format!("Talkdesk refuses this request of {tenant}: {reason}"),
                "Check the accounts in the query, and what the OAuth client may do; a ticket with Talkdesk needs the upstream_request_id.",
            ),
            Self::OnlyIfCached => told(
                StatusCode::GATEWAY_TIMEOUT,
                "not_in_cache",
                "http_request_denied",
                "The request asks for a stored answer only (only-if-cached), and none is stored.".into(),
                "Ask without only-if-cached.",
            ),
            Self::NoToken(no_token) | Self::TokenRejected(no_token) => no_token_told(no_token, tenant),
            Self::UpstreamTimeout => told(
                StatusCode::GATEWAY_TIMEOUT,
                "upstream_timeout",
                "http_response_timeout",
                format!("Talkdesk's API did not answer the request of {tenant} in time."),
                "Try again later; upstream.request_timeout is the time it has.",
            ),
            Self::UpstreamUnreachable(failure) => told(
                StatusCode::BAD_GATEWAY,
                "upstream_unreachable",
                match failure.kind {
                    FailureKind::Connect => "destination_unavailable",
                    FailureKind::Tls => "tls_protocol_error",
                    FailureKind::Reset => "connection_terminated",
                    FailureKind::Protocol => "http_protocol_error",
                    FailureKind::Timeout => "connection_timeout",
                },
                format!("Talkdesk's API could not be reached for {tenant} ({}).", failure.kind),
                "Try again later. If it lasts: check the network, upstream.api_url, upstream.proxy and upstream.ca_file.",
            ),
            Self::UpstreamProtocolError(detail) => told(
                StatusCode::BAD_GATEWAY,
                "upstream_protocol_error",
                "http_response_incomplete",
                format!("The answer of Talkdesk's API for {tenant} can't be used: {detail}."),
                "Try again; nothing of it was stored. If it lasts, open a ticket with Talkdesk.",
            ),
            Self::UpstreamResponseTooLarge { limit } => told(
                StatusCode::BAD_GATEWAY,
                "upstream_response_too_large",
                "http_response_body_size",
                format!("The answer of Talkdesk's API for {tenant} is larger than {limit} bytes."),
                "Ask for a smaller page (per_page) or a shorter period.",
            ),
            Self::AccountMismatch(detail) => told(
                StatusCode::BAD_GATEWAY,
                "account_mismatch",
                "http_response_body_size",
                format!(
                    "The answer of Talkdesk's API may have records of others than {tenant}: {detail}. It was withheld and not stored."
                ),
                "Have the operator run `check --online`, which says whether upstream.account_filter narrows and upstream.account_field is the right member.",
            ),
            Self::AccountScopeUnproven(unproven) => unproven_told(unproven, tenant),
            Self::TokenInAnswer => told(
                StatusCode::BAD_GATEWAY,
                "token_in_answer",
                "http_protocol_error",
                format!(
                    "The answer of Talkdesk's API repeats the access token of {tenant}'s credential. It was withheld and not stored."
                ),
                "Have the operator check that upstream.api_url is Talkdesk's, and open a ticket with Talkdesk.",
            ),
            Self::UpstreamRateLimited { retry_in } => Told {
                retry_in: *retry_in,
                ..told(
                    StatusCode::TOO_MANY_REQUESTS,
                    "upstream_rate_limited",
                    "http_request_denied",
                    format!(
                        "Talkdesk asked {tenant}'s credential to pause, and nothing is stored for this request."
                    ),
                    "Try again later; where Talkdesk said how long the pause is, Retry-After has the rest of it.",
                )
            },
            Self::Internal => told(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "proxy_internal_error",
                "Something unforeseen happened in this proxy.".into(),
                "Report it with the request_id; the log has more.",
            ),
        }
    }
}

fn unproven_told(unproven: &Unproven, tenant: &str) -> Told {
    let Unproven { endpoint, filter, has_client_filter, reason, retry_in } = unproven;
    let (what, remedy) = if *has_client_filter {
        (
            format!(
                "Talkdesk does not narrow {endpoint} to the account of {tenant} when the `filter` of this request is added: {reason}. The answer is withheld."
            ),
            "Use other attributes or operators in `filter`, or leave it out. If it is refused without one too, have the operator run `check --online`.",
        )
    } else {
        (
            format!(
                "Talkdesk's API is not proven to narrow {endpoint} to the account of {tenant} by the filter `{filter}`: {reason}. Instances get no data from it until it is."
            ),
            "Have the operator run `check --online`, which tries other filters and prints the line for the configuration, as `account_filter: \"account_id in ('{account_id}')\"` under `upstream`.",
        )
    };
    Told {
        status: StatusCode::BAD_GATEWAY,
        code: "account_scope_unproven",
        what,
        remedy: remedy.into(),
        proxy_error: "proxy_configuration_error",
        retry_in: Some(*retry_in).filter(|retry_in| !retry_in.is_zero()),
    }
}

fn unnamed_told(unnamed: &Unnamed) -> Told {
    let (status, code, what, remedy) = match unnamed {
        Unnamed::Missing => (
            StatusCode::BAD_REQUEST,
            "tenant_missing",
            "The request does not say which tenant it is for.".to_owned(),
            "Put the tenant before the path, as `/organizations/acme/express/invoices`, or send `X-Tenant: organizations/acme`.",
        ),
        Unnamed::Conflict(reason) => (
            StatusCode::BAD_REQUEST,
            "tenant_conflict",
            format!("The request does not say clearly which tenant it is for: {reason}."),
            "Name the tenant once: in the path, or in X-Tenant.",
        ),
        Unnamed::Unknown(name) => (
            StatusCode::NOT_FOUND,
            "unknown_tenant",
            format!("There is no tenant `{}` here.", printable(name)),
            "Use the name of the configuration, as `organizations/acme` or `instances/globex`, exactly as it is written there.",
        ),
    };
    Told { status, code, what, remedy: remedy.into(), proxy_error: "http_request_denied", retry_in: None }
}

fn no_token_told(no_token: &NoToken, tenant: &str) -> Told {
    let detail = &no_token.error;
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    let (status, code, what, remedy, retry_in) = match &no_token.error {
        TokenError::Grant(GrantError::SecretUnavailable(_)) => (
            unavailable,
            "secret_unavailable",
            format!("The secret of {tenant}'s credential can't be used: {detail}."),
            "Have the operator put it in place; `check` says where it is looked for.",
            None,
        ),
        TokenError::Grant(GrantError::Rejected(_)) => (
            StatusCode::BAD_GATEWAY,
            "credential_rejected",
            format!("Talkdesk refuses the OAuth client of {tenant}: {detail}."),
            "Have the operator check the client's id, secret and scopes. A scope just added takes some minutes.",
            Some(no_token.retry_in),
        ),
        TokenError::TokenRejected => (
            StatusCode::BAD_GATEWAY,
            "token_rejected",
            format!("For {tenant}: {detail}."),
            "Check that the client's region is that of the API; if so, open a ticket with Talkdesk.",
            Some(no_token.retry_in),
        ),
        TokenError::Grant(GrantError::ScopeNotEffective(_)) => (
            unavailable,
            "scope_not_effective",
            format!("No token for {tenant}: {detail}."),
            "A scope just added takes some minutes; else remove it from the credential's `scopes`.",
            Some(no_token.retry_in),
        ),
        TokenError::Grant(
            GrantError::Unavailable(_) | GrantError::Malformed(_) | GrantError::Limited { .. },
        ) => (
            unavailable,
            "token_unavailable",
            format!("No token for {tenant}: {detail}."),
            "Try again after the time in Retry-After. If it lasts: check the credential's account and region, and the network.",
            Some(no_token.retry_in),
        ),
    };
    Told { status, code, what, remedy: remedy.into(), proxy_error: "destination_unavailable", retry_in }
}
