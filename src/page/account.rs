//! The account check: collects the violation that decides why a body is unfit.

use super::unfit::AccountViolation;
use crate::domain::entitlement::AccountScope;
use crate::domain::id::AccountId;

/// The account check of one body. Without a scope nothing violates it.
#[derive(Debug)]
pub(super) struct AccountCheck<'a> {
    scope: Option<&'a AccountScope>,
    violation: Option<AccountViolation>,
}

impl<'a> AccountCheck<'a> {
    pub(super) fn new(scope: Option<&'a AccountScope>) -> Self {
        Self { scope, violation: None }
    }

    /// The name of the member with the account's id.
    #[inline]
    pub(super) fn field(&self) -> Option<&'a [u8]> {
        self.scope.map(|scope| scope.field.as_bytes())
    }

    /// A record of another account, or without its account's id, is the more specific violation: it replaces
    /// data at an unexpected position. The first such record decides.
    pub(super) fn violates(&mut self, violation: AccountViolation) {
        if self.scope.is_some() && self.violation.is_none_or(|known| known == AccountViolation::Elsewhere) {
            self.violation = Some(violation);
        }
    }

    /// Checks the value of the account's member; none if it is not a string.
    pub(super) fn check_id(&mut self, text: Option<&[u8]>) {
        let Some(scope) = self.scope else { return };
        match text.and_then(AccountId::from_bytes) {
            Some(account) if account == scope.account => {}
            Some(_) => self.violates(AccountViolation::Foreign),
            None => self.violates(AccountViolation::Unmarked),
        }
    }

    pub(super) fn result(&self) -> Result<(), AccountViolation> {
        self.violation.map_or(Ok(()), Err)
    }
}
