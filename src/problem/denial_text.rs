//! The text of every denial by the entitlement: the rule, the tenant, and what to do.

use crate::domain::entitlement::Denial;
use crate::oauth::grant::printable;

pub(super) fn denial_text(denial: &Denial, tenant: &str) -> (String, String) {
    match denial {
        Denial::TenantDisabled { organization } => {
            let which = organization.as_ref().map_or_else(|| tenant.to_owned(), |id| format!("organizations/{id}"));
            (
                format!("{which} is switched off in this proxy's configuration."),
                "Have the operator set `enabled: true`, if it should be served.".to_owned(),
            )
        }
        Denial::ResellerSold { organization } => (
            format!("{tenant} was sold by a reseller (Organization `{organization}`), so Talkdesk does not let it call this API with a client of its own."),
            "Ask its partner, or configure that partner's Organization with a credential.".into(),
        ),
        Denial::NoOauthClient { organization: None } => (
            format!("{tenant} has no OAuth client in this proxy's configuration."),
            "Request one from Talkdesk for it, and add it as `credential`.".into(),
        ),
        Denial::NoOauthClient { organization: Some(id) } => (
            format!("{tenant} belongs to organizations/{id}, which has no OAuth client in this proxy's configuration."),
            "Request the Organization's client from Talkdesk, and add it as its `credential`.".into(),
        ),
        Denial::PlanNotEligible { plan } => (
            match plan {
                Some(plan) => format!("{tenant} is on the plan `{plan}`, which does not come with API access."),
                None => format!("The plan of {tenant} is not configured, so it can't be shown to come with API access."),
            },
            "Ask Talkdesk for an eligible plan; the operator lists them in entitlement.eligible_plans.".into(),
        ),
        Denial::ScopeMissing { scope, learned } => (
            if *learned {
                format!("The token that Talkdesk gave {tenant} does not carry the scope `{scope}`.")
            } else {
                format!("The credential of {tenant} is configured without the scope `{scope}`.")
            },
            if *learned {
                "Have Talkdesk add the scope to the OAuth client; it takes effect with the next token.".to_owned()
            } else {
                "Add it to the credential's `scopes`, or remove `scopes` to ask for all that the client has.".to_owned()
            },
        ),
        Denial::OrganizationOnly => (
            format!("{tenant} is served with its Organization's client, which would show it other accounts here, or let it change them."),
            "Ask as the Organization.".into(),
        ),
        Denial::ParameterNotAllowed { parameter } => (
            format!(
                "The query parameter `{}` is not one that {tenant} may use, because it is served with its Organization's client.",
                printable(parameter)
            ),
            "Leave it out, or have the operator add it to upstream.instance_query_parameters.".into(),
        ),
        Denial::FilterNotUnderstood { reason } => (
            format!("The `filter` of {tenant} can't be parsed, so the condition for its account can't be added: {reason}."),
            "Write it as `month eq '2024-08'`, with `and`, `or`, `not` and parentheses, values in single quotes, and a quote inside a value doubled.".into(),
        ),
        Denial::AccountNotInOrganization { account } => (
            format!("The account `{}` is not one that {tenant} may ask for.", printable(account)),
            "Check the id; an Organization's accounts are those that the configuration or /express/accounts lists.".into(),
        ),
        Denial::DeniedByTalkdesk(denial) => (
            format!("Talkdesk refused this very request of {tenant} a moment ago: {}", denial.reason),
            "Check the accounts in the query, and what the OAuth client may do. Talkdesk is asked again soon.".into(),
        ),
    }
}
