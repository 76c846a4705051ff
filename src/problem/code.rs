//! The codes of all ways to end a request without data: each with its status, its class, and its error type.

use http::StatusCode;

/// A way to end a request without data. Its name is the `code` of the problem and the label of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// `Host` is missing, repeated, or not one of the proxy's.
    HostNotAllowed,
    /// A browser page of another origin sent the request.
    OriginNotAllowed,
    /// The client's address is not in `server.allowed_peers`.
    PeerNotAllowed,
    /// The request target could be read in two ways.
    InvalidTarget,
    /// The request target is too long.
    UriTooLong,
    /// The request has a body.
    BodyNotAllowed,
    /// The path is not an endpoint.
    UnknownEndpoint,
    /// The endpoint does not have the method.
    MethodNotAllowed,
    /// The request names no tenant.
    TenantMissing,
    /// The request names two tenants.
    TenantConflict,
    /// There is no such tenant.
    UnknownTenant,
    /// The tenant is disabled.
    TenantDisabled,
    /// The Instance was sold by a reseller.
    ResellerSold,
    /// There is no OAuth client that the tenant may use.
    NoOauthClient,
    /// The Instance's plan does not include API access.
    PlanNotEligible,
    /// The credential lacks the endpoint's scope.
    ScopeMissing,
    /// An Instance on its Organization's credential may not use the endpoint.
    OrganizationOnly,
    /// An Instance on its Organization's credential may not use the parameter.
    ParameterNotAllowed,
    /// The `filter` of an Instance on its Organization's credential can't be parsed.
    FilterNotUnderstood,
    /// The `filter` names an account that the tenant may not access.
    AccountNotInOrganization,
    /// Talkdesk answered 403.
    DeniedByTalkdesk,
    /// A limit of the proxy is used up.
    RateLimited,
    /// Talkdesk asked for a pause.
    UpstreamRateLimited,
    /// The proxy is at its limit of requests or memory.
    Overloaded,
    /// `only-if-cached`, and nothing is stored.
    NotInCache,
    /// The credential's secret can't be read.
    SecretUnavailable,
    /// The token endpoint gives no token.
    TokenUnavailable,
    /// The token lacks a configured scope.
    ScopeNotEffective,
    /// The token endpoint rejects the OAuth client.
    CredentialRejected,
    /// The API rejects new tokens.
    TokenRejected,
    /// Talkdesk did not answer in time.
    UpstreamTimeout,
    /// There is no connection to Talkdesk.
    UpstreamUnreachable,
    /// Talkdesk's answer is not usable HTTP or JSON.
    UpstreamProtocolError,
    /// Talkdesk's answer is too large.
    UpstreamResponseTooLarge,
    /// Talkdesk's answer may hold another account's records.
    AccountMismatch,
    /// Talkdesk is not proven to narrow to the account.
    AccountScopeUnproven,
    /// Talkdesk's answer contains the access token.
    TokenInAnswer,
    /// Unexpected failure of the proxy.
    Internal,
}

/// Who ends the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeClass {
    /// The request itself is wrong.
    Client,
    /// The entitlement, or Talkdesk's 403.
    Denial,
    /// A limit of the proxy or of Talkdesk.
    Limit,
    /// The credential, the connection, or Talkdesk's answer.
    Upstream,
    /// The proxy.
    Proxy,
}

impl Code {
    /// All codes.
    pub const ALL: [Self; 38] = [
        Self::HostNotAllowed,
        Self::OriginNotAllowed,
        Self::PeerNotAllowed,
        Self::InvalidTarget,
        Self::UriTooLong,
        Self::BodyNotAllowed,
        Self::UnknownEndpoint,
        Self::MethodNotAllowed,
        Self::TenantMissing,
        Self::TenantConflict,
        Self::UnknownTenant,
        Self::TenantDisabled,
        Self::ResellerSold,
        Self::NoOauthClient,
        Self::PlanNotEligible,
        Self::ScopeMissing,
        Self::OrganizationOnly,
        Self::ParameterNotAllowed,
        Self::FilterNotUnderstood,
        Self::AccountNotInOrganization,
        Self::DeniedByTalkdesk,
        Self::RateLimited,
        Self::UpstreamRateLimited,
        Self::Overloaded,
        Self::NotInCache,
        Self::SecretUnavailable,
        Self::TokenUnavailable,
        Self::ScopeNotEffective,
        Self::CredentialRejected,
        Self::TokenRejected,
        Self::UpstreamTimeout,
        Self::UpstreamUnreachable,
        Self::UpstreamProtocolError,
        Self::UpstreamResponseTooLarge,
        Self::AccountMismatch,
        Self::AccountScopeUnproven,
        Self::TokenInAnswer,
        Self::Internal,
    ];

    /// The code as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HostNotAllowed => "host_not_allowed",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::PeerNotAllowed => "peer_not_allowed",
            Self::InvalidTarget => "invalid_target",
            Self::UriTooLong => "uri_too_long",
            Self::BodyNotAllowed => "body_not_allowed",
            Self::UnknownEndpoint => "unknown_endpoint",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::TenantMissing => "tenant_missing",
            Self::TenantConflict => "tenant_conflict",
            Self::UnknownTenant => "unknown_tenant",
            Self::TenantDisabled => "tenant_disabled",
            Self::ResellerSold => "reseller_sold",
            Self::NoOauthClient => "no_oauth_client",
            Self::PlanNotEligible => "plan_not_eligible",
            Self::ScopeMissing => "scope_missing",
            Self::OrganizationOnly => "organization_only",
            Self::ParameterNotAllowed => "parameter_not_allowed",
            Self::FilterNotUnderstood => "filter_not_understood",
            Self::AccountNotInOrganization => "account_not_in_organization",
            Self::DeniedByTalkdesk => "denied_by_talkdesk",
            Self::RateLimited => "rate_limited",
            Self::UpstreamRateLimited => "upstream_rate_limited",
            Self::Overloaded => "overloaded",
            Self::NotInCache => "not_in_cache",
            Self::SecretUnavailable => "secret_unavailable",
            Self::TokenUnavailable => "token_unavailable",
            Self::ScopeNotEffective => "scope_not_effective",
            Self::CredentialRejected => "credential_rejected",
            Self::TokenRejected => "token_rejected",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamProtocolError => "upstream_protocol_error",
            Self::UpstreamResponseTooLarge => "upstream_response_too_large",
            Self::AccountMismatch => "account_mismatch",
            Self::AccountScopeUnproven => "account_scope_unproven",
            Self::TokenInAnswer => "token_in_answer",
            Self::Internal => "internal",
        }
    }

    /// The status. `server.denial_status` replaces a 403 of [`CodeClass::Denial`].
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::HostNotAllowed => StatusCode::MISDIRECTED_REQUEST,
            Self::OriginNotAllowed
            | Self::PeerNotAllowed
            | Self::TenantDisabled
            | Self::ResellerSold
            | Self::NoOauthClient
            | Self::PlanNotEligible
            | Self::ScopeMissing
            | Self::OrganizationOnly
            | Self::AccountNotInOrganization
            | Self::DeniedByTalkdesk => StatusCode::FORBIDDEN,
            Self::InvalidTarget
            | Self::BodyNotAllowed
            | Self::TenantMissing
            | Self::TenantConflict
            | Self::ParameterNotAllowed
            | Self::FilterNotUnderstood => StatusCode::BAD_REQUEST,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::UnknownEndpoint | Self::UnknownTenant => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RateLimited | Self::UpstreamRateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::Overloaded | Self::SecretUnavailable | Self::TokenUnavailable | Self::ScopeNotEffective => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::NotInCache | Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::CredentialRejected
            | Self::TokenRejected
            | Self::UpstreamUnreachable
            | Self::UpstreamProtocolError
            | Self::UpstreamResponseTooLarge
            | Self::AccountMismatch
            | Self::AccountScopeUnproven
            | Self::TokenInAnswer => StatusCode::BAD_GATEWAY,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The class.
    #[must_use]
    pub const fn class(self) -> CodeClass {
        match self {
            Self::HostNotAllowed
            | Self::OriginNotAllowed
            | Self::PeerNotAllowed
            | Self::InvalidTarget
            | Self::UriTooLong
            | Self::BodyNotAllowed
            | Self::UnknownEndpoint
            | Self::MethodNotAllowed
            | Self::TenantMissing
            | Self::TenantConflict
            | Self::UnknownTenant => CodeClass::Client,
            Self::TenantDisabled
            | Self::ResellerSold
            | Self::NoOauthClient
            | Self::PlanNotEligible
            | Self::ScopeMissing
            | Self::OrganizationOnly
            | Self::ParameterNotAllowed
            | Self::FilterNotUnderstood
            | Self::AccountNotInOrganization
            | Self::DeniedByTalkdesk => CodeClass::Denial,
            Self::RateLimited | Self::UpstreamRateLimited | Self::Overloaded => CodeClass::Limit,
            Self::NotInCache | Self::Internal => CodeClass::Proxy,
            Self::SecretUnavailable
            | Self::TokenUnavailable
            | Self::ScopeNotEffective
            | Self::CredentialRejected
            | Self::TokenRejected
            | Self::UpstreamTimeout
            | Self::UpstreamUnreachable
            | Self::UpstreamProtocolError
            | Self::UpstreamResponseTooLarge
            | Self::AccountMismatch
            | Self::AccountScopeUnproven
            | Self::TokenInAnswer => CodeClass::Upstream,
        }
    }

    /// The error type of `Proxy-Status` (RFC 9209, section 2.3).
    #[must_use]
    pub const fn proxy_error(self) -> &'static str {
        match self {
            Self::HostNotAllowed
            | Self::OriginNotAllowed
            | Self::PeerNotAllowed
            | Self::UnknownEndpoint
            | Self::MethodNotAllowed
            | Self::TenantMissing
            | Self::TenantConflict
            | Self::UnknownTenant
            | Self::TenantDisabled
            | Self::ResellerSold
            | Self::NoOauthClient
            | Self::PlanNotEligible
            | Self::ScopeMissing
            | Self::OrganizationOnly
            | Self::ParameterNotAllowed
            | Self::FilterNotUnderstood
            | Self::AccountNotInOrganization
            | Self::DeniedByTalkdesk
            | Self::RateLimited
            | Self::UpstreamRateLimited
            | Self::NotInCache => "http_request_denied",
            Self::InvalidTarget | Self::UriTooLong | Self::BodyNotAllowed => "http_request_error",
            Self::Overloaded => "connection_limit_reached",
            Self::SecretUnavailable
            | Self::TokenUnavailable
            | Self::ScopeNotEffective
            | Self::CredentialRejected
            | Self::TokenRejected
            | Self::UpstreamUnreachable => "destination_unavailable",
            Self::UpstreamTimeout => "http_response_timeout",
            Self::UpstreamProtocolError => "http_response_incomplete",
            Self::UpstreamResponseTooLarge | Self::AccountMismatch => "http_response_body_size",
            Self::AccountScopeUnproven => "proxy_configuration_error",
            Self::TokenInAnswer => "http_protocol_error",
            Self::Internal => "proxy_internal_error",
        }
    }
}
