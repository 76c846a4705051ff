//! Validates bodies: JSON where the endpoint answers JSON, and only the account's records where an account scope applies.

use super::fetch::Fetch;
use super::rejection::Rejection;
use super::response_head::{ResponseHead, says_json};
use crate::domain::endpoint::Content;
use crate::inspect::{AccountViolation, Inspection, Unfit, inspect};

impl Fetch<'_> {
    /// Validates the body. An invalid body is never sent to the client.
    pub(super) fn check(&self, head: &ResponseHead, body: &[u8]) -> Result<Inspection, Rejection> {
        // A success must be JSON on the five documented endpoints, and on added ones whose records are checked.
        let must_be_json =
            head.status.is_success() && self.request.permit.endpoint().content != Content::Opaque;
        let account_scope = self.request.permit.account_scope();
        if !must_be_json && !says_json(&head.fields) && account_scope.is_none() {
            return Ok(Inspection::default());
        }
        let links = &self.request.origin.links;
        match inspect(body, links, account_scope) {
            Ok(inspection) if self.request.policy().forbids_rewriting(&head.fields) => {
                Ok(Inspection { links: Vec::new(), ..inspection })
            }
            Ok(inspection) => Ok(inspection),
            Err(Unfit::NotJson(_)) if !must_be_json => Ok(Inspection::default()),
            Err(Unfit::NotJson(not_json)) => {
                Err(Rejection::UpstreamProtocolError(format!("its body is not JSON ({not_json})")))
            }
            // An error has members of its own; it must not have records of another account either.
            Err(Unfit::AccountViolation(AccountViolation::Elsewhere)) if !head.status.is_success() => {
                Ok(inspect(body, links, None).unwrap_or_default())
            }
            Err(Unfit::AccountViolation(violation)) => Err(Rejection::AccountMismatch(violation.to_string())),
        }
    }
}
