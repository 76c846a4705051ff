//! The operator's settings for the entitlement rules.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::endpoint::Narrowing;

/// The operator's settings for the entitlement rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The plans whose Instances may use the API with their own credential; empty: any.
    pub eligible_plans: HashSet<Arc<str>>,
    /// The query parameters that an Instance on its Organization's credential may use, including
    /// [`INSTANCE_QUERY_PARAMETERS`].
    pub instance_query_parameters: HashSet<Arc<str>>,
    /// The default narrowing. Added endpoints have their own.
    pub narrowing: Narrowing,
    /// How long a learned list of accounts may be used to deny requests.
    pub accounts_max_age: Duration,
    /// How long a 403 of Talkdesk is remembered for identical requests; zero: not at all.
    pub remember_denials: Duration,
}

/// The query parameter that filters a list.
pub const FILTER: &str = "filter";

/// The query parameters that an Instance on its Organization's credential may always use.
pub const INSTANCE_QUERY_PARAMETERS: [&str; 5] = [FILTER, "order_by", "page", "per_page", "cursor"];
