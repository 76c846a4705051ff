//! Who sold an Instance, from the text of its `organization`.
//!
//! Any text is a reseller's name, so a slip in the name of a configured Organization would quietly turn a
//! partner's Instance into a reseller's. Whatever nearly is a known name is therefore a fault.

use std::sync::Arc;

use super::reader::{Ledger, Located, quoted};
use super::spelling;
use super::tenant_entry::OrganizationEntry;
use crate::domain::tenant::DirectOrganization;

/// Who sold an Instance.
pub(super) enum ResolvedSeller {
    /// The configured Organization at this place in the list.
    Configured(usize),
    /// Talkdesk itself.
    Direct(DirectOrganization),
    /// Somebody who is not configured here.
    Reseller(Arc<str>),
}

/// The seller that a text names; none where it only nearly names one, which is noted.
pub(super) fn resolve(
    organization: &Located<String>,
    organizations: &[OrganizationEntry],
    ledger: &Ledger,
) -> Option<ResolvedSeller> {
    let text = organization.value.as_str();
    if let Some(direct) = DirectOrganization::ALL.into_iter().find(|direct| direct.as_str() == text) {
        return Some(ResolvedSeller::Direct(direct));
    }
    if let Some(index) = organizations.iter().position(|entry| entry.id.value.as_str() == text) {
        return Some(ResolvedSeller::Configured(index));
    }
    let named = organizations.iter().find_map(|entry| {
        let by = |other: &Option<Located<String>>| {
            other.as_ref().is_some_and(|other| spelling::same_letters(&other.value, text))
        };
        let kind = if by(&entry.name) { "name" } else { by(&entry.talkdesk_id).then_some("talkdesk_id")? };
        Some((entry, kind))
    });
    if let Some((entry, kind)) = named {
        ledger.error(
            &organization.place,
            format!(
                "found {}, the `{kind}` of an organization; write its id, `{}`",
                quoted(text),
                entry.id.value
            ),
        );
        return None;
    }
    let direct = DirectOrganization::ALL.iter().map(|direct| direct.as_str());
    let known: Vec<&str> = direct.chain(organizations.iter().map(|entry| entry.id.value.as_str())).collect();
    if let Some(near) = spelling::nearest(text, known) {
        ledger.error(&organization.place, format!("found {}; write `{near}`", quoted(text)));
        return None;
    }
    Some(ResolvedSeller::Reseller(text.into()))
}
