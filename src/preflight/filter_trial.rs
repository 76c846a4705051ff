//! Tests whether a filter narrows an endpoint to one account. For an account that does not exist the response must have no
//! records; for one that exists, only its own.

use std::sync::Arc;

use super::preflight_client::{PreflightClient, is_paged};
use super::report::{Finding, Verdict};
use crate::domain::endpoint::{Endpoint, Narrowing};
use crate::domain::entitlement::{AccountScope, FILTER};
use crate::domain::filter::AccountFilter;
use crate::domain::id::AccountId;
use crate::domain::query::{self, Parameter};
use crate::fetch::probe::ProbeResult;
use crate::page::{AccountViolation, Unfit};

/// Tries filters on one endpoint.
pub(super) struct FilterTrial<'a> {
    pub(super) client: &'a PreflightClient<'a>,
    pub(super) endpoint: &'a Arc<Endpoint>,
    pub(super) check: &'a str,
    /// Accounts that exist.
    pub(super) known: Vec<AccountId>,
    /// Whether the endpoint has records without a filter.
    pub(super) has_records: bool,
}

impl FilterTrial<'_> {
    /// Whether a filter narrows. The error says why it does not; the finding may be a failure that has nothing to do with the
    /// filter.
    pub(super) async fn filter(&self, narrowing: &Narrowing) -> Result<Finding, String> {
        let Self { client, endpoint, check, .. } = self;
        let filter = narrowing.filter.as_str();
        let refused = match client.probe(endpoint, narrowing).await {
            Ok(ProbeResult::Narrows) => false,
            Ok(ProbeResult::Refused(_)) => true,
            Ok(ProbeResult::Failed(status)) => {
                return Err(format!("`{filter}` does not narrow: Talkdesk responded {}", status.as_u16()));
            }
            Ok(ProbeResult::DoesNotNarrow(reason)) => {
                return Err(format!("`{filter}` does not narrow: {reason}"));
            }
            Err(finding) => return Ok(Finding { check: (*check).to_owned(), ..finding }),
        };
        let mut own = 0;
        for account in &self.known {
            match self.of_account(narrowing, *account).await? {
                Ok(records) => own += records,
                Err(finding) => return Ok(finding),
            }
            if own > 0 {
                break;
            }
        }
        let proven = |outcome| Ok(Finding::new(check, Verdict::Works, outcome));
        let unproven = |outcome| Ok(Finding::new(check, Verdict::Unproven, outcome));
        if !self.has_records {
            unproven(format!(
                "`{filter}` has no records for an account that does not exist, but the endpoint has none at all"
            ))
        } else if own > 0 {
            let records = if own == 1 { "1 record".to_owned() } else { format!("{own} records") };
            proven(format!(
                "`{filter}` narrows: no records for an account that does not exist, {records} for one that does, none of others"
            ))
        } else if refused && self.known.is_empty() {
            unproven(format!(
                "`{filter}`: an account that does not exist is refused, but no other is known to compare"
            ))
        } else {
            proven(format!("`{filter}` narrows: no records for an account that does not exist"))
        }
    }

    /// How many records an account has, none of them another's. The inner error is a fault that has nothing to do with
    /// the filter.
    async fn of_account(
        &self,
        narrowing: &Narrowing,
        account: AccountId,
    ) -> Result<Result<usize, Finding>, String> {
        let Self { client, endpoint, check, .. } = self;
        let renamed = |finding| Finding { check: (*check).to_owned(), ..finding };
        let filter = narrowing.filter.for_account(account).to_string();
        let size = if is_paged(endpoint) && endpoint.is_documented() { Some("10") } else { None };
        let parameters =
            [Some(Parameter::new(FILTER, filter)), size.map(|size| Parameter::new("per_page", size))];
        let query = query::written(parameters.into_iter().flatten().collect());
        let result = match client.fetch(endpoint, &query).await {
            Ok(result) => result,
            Err(finding) => return Ok(Err(renamed(finding))),
        };
        let (finding, body) = client.finding_of(endpoint, &result);
        if finding.verdict != Verdict::Works {
            return Ok(Err(renamed(finding)));
        }
        // The account check for Instances on their Organization's client.
        let scope = AccountScope { field: Arc::clone(&narrowing.field), account };
        let shown = narrowing.filter.as_str();
        match client.count_records_of(&body, &scope) {
            Ok(records) => Ok(Ok(records)),
            Err(Unfit::AccountViolation(AccountViolation::Foreign)) => Err(format!(
                "`{shown}` does not narrow: the response for one account has a record of another"
            )),
            Err(Unfit::AccountViolation(AccountViolation::Unmarked)) => Ok(Err(Finding::failed(
                check,
                format!("`{shown}`: not every record has `{}`", narrowing.field),
                "compare upstream.account_field with Talkdesk's reference",
            ))),
            Err(unfit) => Ok(Err(Finding::failed(
                check,
                format!("{unfit}: no Instance on this Organization's client can be served"),
                "compare the response with Talkdesk's reference, and report the difference to the authors of this proxy",
            ))),
        }
    }
}

/// Filters that may narrow where the configured one does not.
pub(super) fn alternatives(narrowing: &Narrowing) -> Vec<AccountFilter> {
    let field = &narrowing.field;
    let filters = [
        format!("{field} eq '{{account_id}}'"),
        format!("{field} in ('{{account_id}}')"),
        format!("{field} = '{{account_id}}'"),
        format!("contains({field}, '{{account_id}}')"),
        "account eq '{account_id}'".to_owned(),
    ];
    let filters = filters.iter().filter_map(|filter| filter.parse::<AccountFilter>().ok());
    filters.filter(|filter| *filter != narrowing.filter).collect()
}
