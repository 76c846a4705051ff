//! Why a request is refused before anything is sent. `entitlement` decides it, `proxy` says it in words.

use std::sync::Arc;

use super::id::OrganizationId;
use super::learned::LearnedDenial;

/// Why a request is refused. In the order in which the rules are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The configuration has switched the tenant, or its Organization, off.
    TenantDisabled {
        /// The Organization that is switched off, where it is not the tenant itself.
        organization: Option<OrganizationId>,
    },
    /// The Instance was sold by a reseller that is not configured here.
    ResellerSold {
        /// The reseller's Organization.
        organization: Arc<str>,
    },
    /// There is no OAuth client for it.
    NoOauthClient {
        /// The Organization whose client is missing, where it is not the tenant's own.
        organization: Option<OrganizationId>,
    },
    /// The plan does not come with API access.
    PlanNotEligible {
        /// The plan, where the configuration says.
        plan: Option<Arc<str>>,
    },
    /// The credential lacks the endpoint's scope.
    ScopeMissing {
        /// The scope.
        scope: Arc<str>,
        /// Whether Talkdesk said so (with the token), or the configuration.
        learned: bool,
    },
    /// Only an Organization may ask for this.
    OrganizationOnly,
    /// An Instance on its Organization's credential used a parameter that could widen its view.
    ParameterNotAllowed {
        /// The parameter's decoded name.
        parameter: String,
    },
    /// An Instance on its Organization's credential sent a `filter` that can't be parsed.
    FilterNotUnderstood {
        /// What is wrong with it.
        reason: String,
    },
    /// The filter compares with an account that the tenant may not name.
    AccountNotInOrganization {
        /// The account as the filter names it.
        account: String,
    },
    /// Talkdesk answered 403 to this very request a moment ago.
    DeniedByTalkdesk(Arc<LearnedDenial>),
}

impl Denial {
    /// Whether it rests on the configuration alone, so that it stands for as long as that does.
    #[must_use]
    pub const fn lasts(&self) -> bool {
        match self {
            Self::TenantDisabled { .. }
            | Self::ResellerSold { .. }
            | Self::NoOauthClient { .. }
            | Self::PlanNotEligible { .. }
            | Self::OrganizationOnly
            | Self::FilterNotUnderstood { .. } => true,
            Self::ScopeMissing { learned, .. } => !*learned,
            // A link may come to carry the parameter; the list of accounts may have grown too old, or be read again.
            Self::ParameterNotAllowed { .. }
            | Self::AccountNotInOrganization { .. }
            | Self::DeniedByTalkdesk(_) => false,
        }
    }
}
