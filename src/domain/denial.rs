//! The reasons to refuse a request before anything is sent. `entitlement` decides, `proxy` makes the error
//! message.

use std::sync::Arc;

use super::id::OrganizationId;
use super::learned::LearnedDenial;

/// Why a request is refused, in the order in which the rules are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The configuration disables the tenant or its Organization.
    TenantDisabled {
        /// The disabled Organization, if it is not the tenant itself.
        organization: Option<OrganizationId>,
    },
    /// The Instance was sold by a reseller that is not configured here.
    ResellerSold {
        /// The reseller's Organization.
        organization: Arc<str>,
    },
    /// No OAuth client is configured for the request.
    NoOauthClient {
        /// The Organization without a client, if it is not the tenant itself.
        organization: Option<OrganizationId>,
    },
    /// The plan does not include API access.
    PlanNotEligible {
        /// The plan, if it is configured.
        plan: Option<Arc<str>>,
    },
    /// The credential lacks the endpoint's scope.
    ScopeMissing {
        /// The scope.
        scope: Arc<str>,
        /// Whether Talkdesk said so (with the token); otherwise the configuration.
        learned: bool,
    },
    /// An Instance on its Organization's credential may not make this request.
    OrganizationOnly,
    /// An Instance on its Organization's credential used a parameter that could widen its access.
    ParameterNotAllowed {
        /// The parameter's decoded name.
        parameter: String,
    },
    /// An Instance on its Organization's credential sent a `filter` that can't be parsed.
    FilterNotUnderstood {
        /// The parse error.
        reason: String,
    },
    /// The filter compares with an account that the tenant must not access.
    AccountNotInOrganization {
        /// The account, as written in the filter.
        account: String,
    },
    /// Talkdesk answered 403 to an identical request recently.
    DeniedByTalkdesk(Arc<LearnedDenial>),
}
