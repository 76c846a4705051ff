//! The findings of the checks, each with a remedy if something does not work.

use std::sync::Arc;

use crate::domain::tenant::TenantName;

/// The findings for one credential.
#[derive(Debug)]
pub struct Report {
    /// The tenant that owns the credential.
    pub owner: TenantName,
    /// The OAuth client id.
    pub client_id: String,
    /// The token endpoint.
    pub token_url: Arc<str>,
    /// The findings, in the order of the checks.
    pub findings: Vec<Finding>,
}

/// The result of one check.
#[derive(Debug)]
pub struct Finding {
    /// `token`, an endpoint's name, or `accounts of` one.
    pub check: String,
    /// Whether it works.
    pub verdict: Verdict,
    /// What happened.
    pub outcome: String,
    /// What to do if it does not work.
    pub remedy: Option<String>,
    /// How the response is cached.
    pub caching: Option<Caching>,
}

/// Whether something works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It works.
    Works,
    /// It does not work.
    Fails,
    /// There was nothing to check it with.
    Unproven,
    /// It does not apply to this tenant, or can't be checked.
    Skipped,
}

/// How the origin and the endpoint's rule determine caching.
#[derive(Debug)]
pub struct Caching {
    /// The origin's fields about caching.
    pub fields: Vec<(String, String)>,
    /// For how many seconds the stored response is fresh, or why it is not stored.
    pub stored_for: Result<u64, &'static str>,
    /// Whether the endpoint's rule decided, and not the origin.
    pub by_rule: bool,
}

impl Finding {
    pub(super) fn new(check: &str, verdict: Verdict, outcome: impl Into<String>) -> Self {
        Self { check: check.to_owned(), verdict, outcome: outcome.into(), remedy: None, caching: None }
    }

    pub(super) fn failed(check: &str, outcome: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..Self::new(check, Verdict::Fails, outcome) }
    }
}
