//! The section `entitlement`: the part of the entitlement rules that the operator configures.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::key::keys;
use super::kind::{List, Scalar};
use super::object::Object;
use super::reader::values;
use super::value;
use crate::domain::endpoint::Narrowing;
use crate::domain::entitlement::Policy;

keys! {
    pub(super) KEYS;
    ELIGIBLE_PLANS: List<Scalar<String>> = "eligible_plans", List::of(value::TEXT), Default("[]"),
        "The plans of Instances on a client of their own that come with API access; empty: any.";
    REMEMBER_DENIALS: Scalar<Duration> = "remember_denials", value::DURATION, Default("60s"),
        "How long Talkdesk's own 403 is given again without asking; `0`: not at all.";
    ACCOUNTS_MAX_AGE: Scalar<Duration> = "accounts_max_age", value::TIMEOUT, Default("15m"),
        "How long a list of accounts from Talkdesk may be the reason of a refusal.";
    REJECTED_GRACE: Scalar<Duration> = "rejected_grace", value::DURATION, Default("15m"),
        "How long a client that Talkdesk rejects is still served from the cache.";
}

/// Reads the section: the policy, and how long entries of a rejected credential may be served.
pub(super) fn read(
    section: &Object<'_>,
    narrowing: &Narrowing,
    instance_query_parameters: HashSet<Arc<str>>,
) -> Option<(Policy, Duration)> {
    let plans: Vec<String> = values(section.get(&ELIGIBLE_PLANS)?);
    let policy = Policy {
        eligible_plans: plans.into_iter().map(Arc::from).collect(),
        instance_query_parameters,
        narrowing: narrowing.clone(),
        accounts_max_age: section.get(&ACCOUNTS_MAX_AGE)?,
        remember_denials: section.get(&REMEMBER_DENIALS)?,
    };
    Some((policy, section.get(&REJECTED_GRACE)?))
}
