//! Validates bodies: JSON where the endpoint answers JSON, and only the account's records where an account scope applies.

use http::StatusCode;

use super::head_of_answer::says_json;
use super::rejection::Rejection;
use super::store::{Fetch, Head};
use crate::domain::endpoint::Content;
use crate::page::{self, AccountViolation, PageContent, Unfit, may_have_links};
use crate::rfc9111::directives::ResponseDirectives;

impl Fetch<'_> {
    /// Validates the body. An invalid body is never sent to the client.
    pub(super) fn check(&self, head: &Head, body: &[u8]) -> Result<PageContent, Rejection> {
        let must_be_json = self.must_be_json(head.status);
        let account_scope = self.ask.permit.account_scope();
        let is_looked_at = must_be_json || says_json(&head.fields) || account_scope.is_some();
        // Under a plain rule nothing else is read in it than where its links are.
        let has_nothing_to_find =
            self.ask.is_plain() && !must_be_json && account_scope.is_none() && !may_have_links(body);
        if !is_looked_at || has_nothing_to_find {
            return Ok(PageContent::default());
        }
        match page::read(body, &self.ask.origin.links, account_scope) {
            Ok(page_content) if self.stays_as_it_is(head) => {
                Ok(PageContent { links: Vec::new(), ..page_content })
            }
            Ok(page_content) => Ok(page_content),
            Err(Unfit::NotJson(_)) if !must_be_json => Ok(PageContent::default()),
            Err(Unfit::NotJson(not_json)) => {
                Err(Rejection::UpstreamProtocolError(format!("its body is not JSON ({not_json})")))
            }
            // An error has members of its own; records of another account it must not have either.
            Err(Unfit::AccountViolation(AccountViolation::Elsewhere)) if !head.status.is_success() => {
                Ok(page::read(body, &self.ask.origin.links, None).unwrap_or_default())
            }
            Err(Unfit::AccountViolation(breach)) => Err(Rejection::AccountMismatch(breach.to_string())),
        }
    }

    /// Whether a success must be JSON: on the five documented endpoints, and on added ones whose records are checked.
    pub(super) fn must_be_json(&self, status: StatusCode) -> bool {
        status.is_success() && self.ask.permit.endpoint().content != Content::Opaque
    }

    /// A plain rule leaves content alone that is not to be changed (RFC 9111, section 5.2.2.6).
    pub(super) fn stays_as_it_is(&self, head: &Head) -> bool {
        self.ask.is_plain() && ResponseDirectives::read(&head.fields).no_transform
    }
}
