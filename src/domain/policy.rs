//! The operator's part in the entitlement.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::endpoint::Narrowing;

/// The operator's part in the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Plans of Instances on their own credential that may use the API; empty: any.
    pub eligible_plans: HashSet<Arc<str>>,
    /// The query parameters that an Instance on its Organization's credential may use; [`INSTANCE_QUERY_PARAMETERS`]
    /// are among them.
    pub instance_query_parameters: HashSet<Arc<str>>,
    /// The default narrowing; added endpoints have their own.
    pub narrowing: Narrowing,
    /// How long a learned list of accounts may deny.
    pub accounts_max_age: Duration,
    /// How long Talkdesk's own denial of a request is taken for the present one; zero: not at all.
    pub remember_denials: Duration,
}

/// The query parameter that narrows a list.
pub const FILTER: &str = "filter";

/// What an Instance on its Organization's credential may always ask with.
pub const INSTANCE_QUERY_PARAMETERS: [&str; 5] = [FILTER, "order_by", "page", "per_page", "cursor"];
