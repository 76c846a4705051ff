//! The seller of an Instance, from its key `organization`.
//!
//! Any text is valid as the name of a reseller, so a typing error in the name of a configured Organization would
//! turn an Instance of a partner into one of a reseller. A text that is similar to a known name is therefore an
//! error.

use std::sync::Arc;

use super::reader::{Ledger, Located, quoted};
use super::spelling;
use super::tenant_entry::OrganizationEntry;
use crate::domain::tenant::DirectOrganization;

/// The seller of an Instance.
pub(super) enum ResolvedSeller {
    /// A configured Organization, by its index in the list.
    Configured(usize),
    /// Talkdesk itself.
    Direct(DirectOrganization),
    /// A reseller that is not configured.
    Reseller(Arc<str>),
}

/// Determines the seller; `None` if the text is only similar to a known name, which is recorded.
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
