//! Validates bodies: JSON where the endpoint answers JSON, and only the account's records where an account scope applies.

use super::fetch_request::FetchRequest;
use super::response_head::{ResponseHead, says_json};
use crate::domain::endpoint::Content;
use crate::page::{self, AccountViolation, PageContent, Unfit};
use crate::problem::Rejection;

/// Validates the body. An invalid body is never sent to the client.
pub(super) fn validate(
    request: &FetchRequest,
    head: &ResponseHead,
    body: &[u8],
) -> Result<PageContent, Rejection> {
    // A success must be JSON on the five documented endpoints, and on added ones whose records are checked.
    let must_be_json = head.status.is_success() && request.permit.endpoint().content != Content::Opaque;
    let account_scope = request.permit.account_scope();
    if !must_be_json && !says_json(&head.fields) && account_scope.is_none() {
        return Ok(PageContent::default());
    }
    let links = &request.origin.links;
    match page::read(body, links, account_scope) {
        Ok(page_content) if request.policy().forbids_rewriting(&head.fields) => {
            Ok(PageContent { links: Vec::new(), ..page_content })
        }
        Ok(page_content) => Ok(page_content),
        Err(Unfit::NotJson(_)) if !must_be_json => Ok(PageContent::default()),
        Err(Unfit::NotJson(not_json)) => {
            Err(Rejection::UpstreamProtocolError(format!("its body is not JSON ({not_json})")))
        }
        // The body of an error may have members outside of records, but no records of another account.
        Err(Unfit::AccountViolation(AccountViolation::Elsewhere)) if !head.status.is_success() => {
            Ok(page::read(body, links, None).unwrap_or_default())
        }
        Err(Unfit::AccountViolation(violation)) => Err(Rejection::AccountMismatch(violation.to_string())),
    }
}
