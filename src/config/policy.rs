//! The section `entitlement`: the part of the entitlement rules that the operator configures.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::reader::Object;
use super::value;
use crate::domain::endpoint::Narrowing;
use crate::domain::entitlement::Policy;

const QUARTER_HOUR: Duration = Duration::from_mins(15);

/// Reads the section: the policy, and how long entries of a rejected credential may be served.
pub(super) fn read(
    mut section: Object<'_>,
    narrowing: &Narrowing,
    instance_query_parameters: HashSet<Arc<str>>,
) -> (Policy, Duration) {
    let plans = section.list("eligible_plans", value::text).unwrap_or_default();
    let policy = Policy {
        eligible_plans: plans.into_iter().map(|plan| plan.value.into()).collect(),
        instance_query_parameters,
        narrowing: narrowing.clone(),
        accounts_max_age: section.parsed("accounts_max_age", value::timeout).unwrap_or(QUARTER_HOUR),
        remember_denials: section
            .parsed("remember_denials", value::duration)
            .unwrap_or(Duration::from_mins(1)),
    };
    let rejected_grace = section.parsed("rejected_grace", value::duration).unwrap_or(QUARTER_HOUR);
    section.finish();
    (policy, rejected_grace)
}
