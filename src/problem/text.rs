//! The text of every rejection: what happened, to which tenant, and what to do.
//!
//! One exhaustive match: a new rejection does not compile without its text.

use super::denial_text::denial_text;
use super::rejection::{Limit, Overload, Rejection, Unproven};
use crate::domain::tenant::Unnamed;
use crate::oauth::grant::{GrantError, printable};
use crate::oauth::no_token::{NoToken, TokenError};

impl Rejection {
    /// What happened, and what to do. `tenant` is the name to use.
    pub(super) fn message_and_remedy(&self, tenant: &str) -> (String, String) {
        let text = |message: String, remedy: &str| (message, remedy.to_owned());
        match self {
            Self::HostNotAllowed(host) if host.is_empty() => text("The request has no Host field, or more than one.".into(),
                "Send exactly one Host field (RFC 9112, section 3.2).",
            ),
            Self::HostNotAllowed(host) => text(format!("This proxy does not answer for the host `{host}`."),
                "Use a name that server.allowed_hosts lists, or have the operator add this one.",
            ),
            Self::OriginNotAllowed => text("A browser page of another origin may not ask this proxy.".into(),
                "Ask from a program, or have the operator add the page's origin to server.allowed_origins.",
            ),
            Self::PeerNotAllowed => text("Your address may not ask this proxy.".into(),
                "Have the operator add it to server.allowed_peers.",
            ),
            Self::InvalidTarget(reason) => text(format!("The request target is refused because it can be read in two ways: {reason}."),
                "Send the path as this proxy lists it at `/`.",
            ),
            Self::SlashTooMany { meant } => text("The request target is refused because it has a slash too many.".into(),
                &format!("Did you mean `{meant}`? GET / lists the endpoints."),
            ),
            Self::UriTooLong => text(format!("The request target is longer than {} bytes.", crate::domain::target::MAX_BYTES),
                "Ask for less at once: a shorter filter, or a page at a time.",
            ),
            Self::BodyNotAllowed => text("The request has a body, and this proxy takes none.".into(),
                "Send it without Content-Length and Transfer-Encoding. The connection is closed.",
            ),
            Self::Overloaded(Overload::BufferedBytes) => text("The answers that this proxy is reading from Talkdesk take as much memory as it is configured to use.".into(),
                    "Try again after the time in Retry-After, or have the operator raise upstream.max_buffered_bytes.",
                ),
            Self::Overloaded(Overload::Requests) => text("This proxy answers as many requests at once as it is configured to.".into(),
                    "Try again after the time in Retry-After, or have the operator raise server.max_requests_in_flight.",
                ),
            Self::RateLimited { limit, .. } => text(match limit {
                        Limit::Upstream => {
                            format!(
                                "The limit of {tenant}'s credential towards Talkdesk is used up, and the wait for it was too long."
                            )
                        }
                        Limit::Client => "You have asked for more than limits.client lets one client.".into(),
                    },
                    "Try again after the time in Retry-After; answers that are in the cache do not count.",
                ),
            Self::UnknownEndpoint { meant } => text("The path is not one of this proxy's endpoints.".into(),
                &meant.as_ref().map_or_else(
                    || "GET / lists the endpoints and the ways to name a tenant.".to_owned(),
                    |meant| format!("Did you mean `{meant}`? GET / lists the endpoints."),
                ),
            ),
            Self::MethodNotAllowed { allow } => text("The endpoint does not answer this method.".into(),
                &format!("Use one of: {allow}."),
            ),
            Self::Unnamed(unnamed) => unnamed_text(unnamed),
            Self::Denied(denial) => denial_text(denial, tenant),
            Self::ForbiddenUpstream { reason, .. } => text(format!("Talkdesk refuses this request of {tenant}: {reason}"),
                "Check the accounts in the query, and what the OAuth client may do; a ticket with Talkdesk needs the upstream_request_id.",
            ),
            Self::OnlyIfCached => text("The request asks for a stored answer only (only-if-cached), and none is stored.".into(),
                "Ask without only-if-cached.",
            ),
            Self::NoToken(no_token) | Self::TokenRejected(no_token) => no_token_text(no_token, tenant),
            Self::UpstreamTimeout => text(format!("Talkdesk's API did not answer the request of {tenant} in time."),
                "Try again later; upstream.request_timeout is the time it has.",
            ),
            Self::UpstreamUnreachable(failure) => text(format!("Talkdesk's API could not be reached for {tenant} ({}).", failure.kind),
                "Try again later. If it lasts: check the network, upstream.api_url, upstream.proxy and upstream.ca_file.",
            ),
            Self::UpstreamProtocolError(detail) => text(format!("The answer of Talkdesk's API for {tenant} can't be used: {detail}."),
                "Try again; nothing of it was stored. If it lasts, open a ticket with Talkdesk.",
            ),
            Self::UpstreamResponseTooLarge { limit } => text(format!("The answer of Talkdesk's API for {tenant} is larger than {limit} bytes."),
                "Ask for a smaller page (per_page) or a shorter period.",
            ),
            Self::AccountMismatch(detail) => text(format!(
                    "The answer of Talkdesk's API may have records of others than {tenant}: {detail}. It was withheld and not stored."
                ),
                "Have the operator run `check --online`, which says whether upstream.account_filter narrows and upstream.account_field is the right member.",
            ),
            Self::AccountScopeUnproven(unproven) => unproven_text(unproven, tenant),
            Self::TokenInAnswer => text(format!(
                    "The answer of Talkdesk's API repeats the access token of {tenant}'s credential. It was withheld and not stored."
                ),
                "Have the operator check that upstream.api_url is Talkdesk's, and open a ticket with Talkdesk.",
            ),
            Self::UpstreamRateLimited { .. } => text(format!(
                        "Talkdesk asked {tenant}'s credential to pause, and nothing is stored for this request."
                    ),
                    "Try again later; where Talkdesk said how long the pause is, Retry-After has the rest of it.",
                ),
            Self::Internal => text("Something unforeseen happened in this proxy.".into(),
                "Report it with the request_id; the log has more.",
            ),
        }
    }
}

fn unproven_text(unproven: &Unproven, tenant: &str) -> (String, String) {
    let Unproven { endpoint, filter, has_client_filter, reason, .. } = unproven;
    let (message, remedy) = if *has_client_filter {
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
    (message, remedy.into())
}

fn unnamed_text(unnamed: &Unnamed) -> (String, String) {
    let (message, remedy) = match unnamed {
        Unnamed::Missing => (
            "The request does not say which tenant it is for.".to_owned(),
            "Put the tenant before the path, as `/organizations/acme/express/invoices`, or send `X-Tenant: organizations/acme`.",
        ),
        Unnamed::Conflict(reason) => (
            format!("The request does not say clearly which tenant it is for: {reason}."),
            "Name the tenant once: in the path, or in X-Tenant.",
        ),
        Unnamed::Unknown(name) => (
            format!("There is no tenant `{}` here.", printable(name)),
            "Use the name of the configuration, as `organizations/acme` or `instances/globex`, exactly as it is written there.",
        ),
    };
    (message, remedy.into())
}

fn no_token_text(no_token: &NoToken, tenant: &str) -> (String, String) {
    let detail = &no_token.error;
    let (message, remedy) = match &no_token.error {
        TokenError::Grant(GrantError::SecretUnavailable(_)) => (
            format!("The secret of {tenant}'s credential can't be used: {detail}."),
            "Have the operator put it in place; `check` says where it is looked for.",
        ),
        TokenError::Grant(GrantError::Rejected(_)) => (
            format!("Talkdesk refuses the OAuth client of {tenant}: {detail}."),
            "Have the operator check the client's id, secret and scopes. A scope just added takes some minutes.",
        ),
        TokenError::TokenRejected => (
            format!("For {tenant}: {detail}."),
            "Check that the client's region is that of the API; if so, open a ticket with Talkdesk.",
        ),
        TokenError::Grant(GrantError::ScopeNotEffective(_)) => (
            format!("No token for {tenant}: {detail}."),
            "A scope just added takes some minutes; else remove it from the credential's `scopes`.",
        ),
        TokenError::Grant(
            GrantError::Unavailable(_) | GrantError::Malformed(_) | GrantError::Limited { .. },
        ) => (
            format!("No token for {tenant}: {detail}."),
            "Try again after the time in Retry-After. If it lasts: check the credential's account and region, and the network.",
        ),
    };
    (message, remedy.into())
}
