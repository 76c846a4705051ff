//! What asking Talkdesk found out: one finding after the other, each with a remedy where something does not work.

use std::sync::Arc;

use crate::domain::tenant::TenantName;

/// What was found out with one credential.
#[derive(Debug)]
pub struct Report {
    /// Whose it is.
    pub owner: TenantName,
    /// The client.
    pub client_id: String,
    /// Where its tokens come from.
    pub token_url: Arc<str>,
    /// One after the other, as it was asked.
    pub findings: Vec<Finding>,
}

/// One thing that works or does not.
#[derive(Debug)]
pub struct Finding {
    /// `token`, an endpoint's name, or `accounts of` one.
    pub what: String,
    /// Whether it works.
    pub verdict: Verdict,
    /// What happened.
    pub said: String,
    /// What to do where it does not work.
    pub remedy: Option<String>,
    /// What the origin says about caching, and what comes of it.
    pub caching: Option<Caching>,
}

/// Whether something works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Works,
    /// It does not.
    Fails,
    /// Nothing was there to tell by.
    Unproven,
    /// It is not for this tenant, or can't be asked for as it is.
    NotAsked,
}

/// What an answer says about caching, and what the endpoint's rule makes of it.
#[derive(Debug)]
pub struct Caching {
    /// The origin's fields.
    pub fields: Vec<(String, String)>,
    /// How many seconds it stays fresh where it is kept; else why it is not.
    pub kept: Result<u64, &'static str>,
    /// Whether our rule had a part in that.
    pub ours: bool,
}

impl Finding {
    pub(super) fn new(what: &str, verdict: Verdict, said: impl Into<String>) -> Self {
        Self { what: what.to_owned(), verdict, said: said.into(), remedy: None, caching: None }
    }

    pub(super) fn failed(what: &str, said: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..Self::new(what, Verdict::Fails, said) }
    }
}
