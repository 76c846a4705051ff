//! Collects what is found in a body while it is walked: links, counts, records, and account violations.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::account::AccountCheck;
use super::content::{PageContent, PageSummary};
use super::links::{ApiOrigin, Splice};
use super::string::RawString;
use super::structure::{Container, ContainerKind, Member, Place};
use super::unfit::AccountViolation;
use crate::domain::entitlement::AccountScope;

/// What has been found so far.
#[derive(Debug)]
pub(super) struct Findings<'a> {
    origin: &'a ApiOrigin,
    account: AccountCheck<'a>,
    has_embedded: bool,
    content: PageContent,
}

impl<'a> Findings<'a> {
    pub(super) fn new(origin: &'a ApiOrigin, account_scope: Option<&'a AccountScope>) -> Self {
        let account = AccountCheck::new(account_scope);
        Self { origin, account, has_embedded: false, content: PageContent::default() }
    }

    /// The content of a body that was walked to its end.
    pub(super) fn into_content(self) -> Result<PageContent, AccountViolation> {
        self.account.result()?;
        let ids = &self.content.record_ids;
        let edges = ids.first().copied().zip(ids.last().copied());
        Ok(PageContent { page: PageSummary { edges, ..self.content.page }, ..self.content })
    }

    /// The name of the next member.
    #[inline]
    pub(super) fn name(&mut self, container: &mut Container, name: RawString<'_>) -> serde_json::Result<()> {
        let name = name.decoded()?;
        container.member = Member::named(&name, container.place, self.account.field());
        if container.member == Member::Embedded && std::mem::replace(&mut self.has_embedded, true) {
            self.account.violates(AccountViolation::Elsewhere);
        }
        Ok(())
    }

    /// An object or array is the current value of `outer`.
    pub(super) fn opens(&mut self, outer: &Container, kind: ContainerKind) -> Container {
        self.count(outer.member, None);
        if outer.place == Place::Records {
            self.content.page.records += 1;
        }
        let place = outer.place_of(kind).unwrap_or_else(|| {
            self.account.violates(AccountViolation::Elsewhere);
            Place::Nested
        });
        if matches!(outer.place, Place::Record | Place::Nested) && outer.member == Member::Account {
            self.account.violates(AccountViolation::Unmarked);
        }
        self.content.page.is_page |=
            matches!((outer.place, place), (Place::Root, Place::Embedded | Place::Links));
        Container::new(place)
    }

    pub(super) fn closes(&mut self, container: &Container) {
        if container.place == Place::Record && container.account_ids != 1 {
            self.account.violates(AccountViolation::Unmarked);
        }
    }

    /// A scalar at this position of the body is the current value.
    #[inline]
    pub(super) fn scalar(
        &mut self,
        container: &mut Container,
        raw: &str,
        position: usize,
    ) -> serde_json::Result<()> {
        if !container.scalar_matters() {
            return Ok(());
        }
        match raw.as_bytes() {
            [b'"', ..] => {
                let text = RawString(raw).decoded()?;
                if container.member == Member::Href
                    && let Some(length) = self.origin.length_in(&text)
                {
                    let length = RawString(raw).raw_length(length) as u64;
                    // The text begins after the quote.
                    self.content.links.push(Splice { start: position as u64 + 1, length });
                }
                self.value(container, Some(&text), None);
            }
            [b'-' | b'0'..=b'9', ..] => self.value(container, None, raw.parse().ok()),
            // `null`, `true` or `false` as a count or in place of a list of records carries no data.
            _ if matches!(container.member, Member::Total | Member::TotalPages)
                || container.place == Place::Embedded => {}
            _ => self.value(container, None, None),
        }
        Ok(())
    }

    /// Takes a scalar that matters: a string, a non-negative integer that fits, or neither.
    fn value(&mut self, container: &mut Container, text: Option<&[u8]>, number: Option<u64>) {
        self.count(container.member, number);
        match (container.place, container.member) {
            (Place::Record, Member::RecordId) => self.record_id(text, number),
            (Place::Record | Place::Nested, Member::Account) => {
                self.account.check_id(text);
                container.account_ids += 1;
            }
            // Outside of the records, an id of another account is not permitted: the data may belong to that
            // account.
            (Place::Root | Place::Links, Member::Account) => self.account.check_id(text),
            // A scalar in place of the body, of a list or of a record can't be checked.
            (Place::Outside | Place::Embedded, _) => self.account.violates(AccountViolation::Elsewhere),
            (Place::Records, _) => {
                self.content.page.records += 1;
                self.account.violates(AccountViolation::Unmarked);
            }
            (Place::Root | Place::Record | Place::Nested | Place::Links, _) => {}
        }
    }

    /// Takes a value that may be a count; no number makes the count unreadable.
    #[inline]
    fn count(&mut self, member: Member, number: Option<u64>) {
        let count = match member {
            Member::Total => &mut self.content.counts.total,
            Member::TotalPages => &mut self.content.counts.total_pages,
            Member::Href
            | Member::Account
            | Member::RecordId
            | Member::Embedded
            | Member::LinkObject
            | Member::Other => return,
        };
        *count = count.with(number);
    }

    fn record_id(&mut self, text: Option<&[u8]>, number: Option<u64>) {
        if text.is_none() && number.is_none() {
            return;
        }
        let mut hasher = DefaultHasher::new();
        (text, number).hash(&mut hasher);
        self.content.record_ids.push(hasher.finish());
    }
}
