//! The section `entitlement`: the part of the entitlement rules that the operator configures.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::key::{Key, Section};
use super::kind::{List, Scalar};
use super::reader::{Object, values};
use super::value;
use crate::domain::endpoint::Narrowing;
use crate::domain::entitlement::Policy;

pub(super) static ENTITLEMENT: Key<Section> = Key::optional(
    "entitlement",
    Section::new(&[&ELIGIBLE_PLANS, &REMEMBER_DENIALS, &ACCOUNTS_MAX_AGE, &REJECTED_GRACE]),
    "The operator's part in who may ask for what.",
);

static ELIGIBLE_PLANS: Key<List<Scalar<String>>> = Key::with_default(
    "eligible_plans",
    List::of(value::TEXT),
    "[]",
    "The plans of Instances on a client of their own that come with API access; empty: any.",
);

static REMEMBER_DENIALS: Key<Scalar<Duration>> = Key::with_default(
    "remember_denials",
    value::DURATION,
    "60s",
    "How long Talkdesk's own 403 is given again without asking; `0`: not at all.",
);

static ACCOUNTS_MAX_AGE: Key<Scalar<Duration>> = Key::with_default(
    "accounts_max_age",
    value::TIMEOUT,
    "15m",
    "How long a list of accounts from Talkdesk may be the reason of a refusal.",
);

static REJECTED_GRACE: Key<Scalar<Duration>> = Key::with_default(
    "rejected_grace",
    value::DURATION,
    "15m",
    "How long a client that Talkdesk rejects is still served from the cache.",
);

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
