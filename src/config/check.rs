//! Checks that need several entries of the file.
//!
//! Checks within one section are made where the section is read; the seller of an Instance is checked in `seller`.

use std::collections::HashMap;
use std::hash::Hash;

use super::reader::{Ledger, Located, quoted};
use super::spelling;
use super::tenant_entry::{ACCOUNT_ID, InstanceEntry, OrganizationEntry};
use crate::domain::entitlement::Policy;
use crate::domain::id::AccountId;
use crate::domain::tenant::{DirectOrganization, Instance, Seller, TenantKind, TenantName, Tenants};

/// Checks the Organizations against each other.
pub(super) fn organizations(entries: &[OrganizationEntry], ledger: &Ledger) {
    for entry in entries {
        let names = [(entry.id.value.as_str(), &entry.id.place)];
        let names = names.into_iter().chain(entry.name.iter().map(|name| (name.value.as_str(), &name.place)));
        for (text, place) in names {
            if DirectOrganization::ALL.iter().any(|direct| spelling::same_letters(direct.as_str(), text)) {
                ledger.error(
                    place,
                    format!(
                        "found {}, whose customers have a client each; write them under `instances`, each \
                         with its credential and `organization: Talkdesk`",
                        quoted(text)
                    ),
                );
            }
        }
        if !entry.brings_credential {
            ledger.warning(
                &entry.place,
                format!(
                    "organizations/{} has no `credential`; it and every Instance under it will be refused \
                     (no_oauth_client) until Talkdesk has given its client",
                    entry.id.value
                ),
            );
        }
    }
    unique(entries.iter().map(|entry| &entry.id), "id", ledger);
    unique(entries.iter().filter_map(|entry| entry.name.as_ref()), "name", ledger);
    unique(entries.iter().filter_map(|entry| entry.talkdesk_id.as_ref()), "talkdesk_id", ledger);
}

/// Checks accounts and Instances: names and account ids must be unique, except that an Instance may extend a
/// listed account.
pub(super) fn accounts(organizations: &[OrganizationEntry], instances: &[InstanceEntry], ledger: &Ledger) {
    let listed = || organizations.iter().flat_map(|entry| &entry.accounts);
    unique(listed().map(|account| &account.name), "account name", ledger);
    unique(listed().map(|account| &account.id), "account id", ledger);
    unique(instances.iter().map(|entry| &entry.name), "instance name", ledger);
    unique(instances.iter().filter_map(|entry| entry.account_id.as_ref()), "account id", ledger);
    for entry in instances {
        let Some(account_id) = &entry.account_id else { continue };
        let same_id = listed().find(|account| account.id.value == account_id.value);
        if let Some(account) = same_id.filter(|account| account.name.value != entry.name.value) {
            ledger.error(
                &account_id.place,
                format!(
                    "found `{}`, the id of the account `{}` in line {}; write that name, or another id",
                    account_id.value, account.name.value, account.id.place.line
                ),
            );
        }
        let same_name = listed().find(|account| account.name.value == entry.name.value);
        if let Some(account) = same_name.filter(|account| account.id.value != account_id.value) {
            ledger.error(
                &account_id.place,
                format!(
                    "found `{}`, but the account `{}` has another id in line {}; write `{}`",
                    account_id.value, entry.name.value, account.id.place.line, account.id.value
                ),
            );
        }
    }
}

/// Checks an Instance of a configured Organization, and returns its account id.
pub(super) fn under_organization(
    entry: &InstanceEntry,
    organization: &OrganizationEntry,
    organization_region: crate::domain::region::Region,
    ledger: &Ledger,
) -> Option<AccountId> {
    let id = &organization.id.value;
    if let Some(place) = &entry.credential_place {
        ledger.error(
            place,
            format!(
                "found a credential, but organizations/{id} asks for this instance with its own; take it out"
            ),
        );
    }
    if let Some(region) = entry.region.as_ref().filter(|region| region.value != organization_region) {
        ledger.error(
            &region.place,
            format!(
                "found `{}`, but organizations/{id}, whose client asks for it, is in \
                 `{organization_region}`; write that",
                region.value
            ),
        );
    }
    let listed = organization.accounts.iter().find(|account| account.name.value == entry.name.value);
    let account_id =
        entry.account_id.as_ref().map(|id| id.value).or_else(|| listed.map(|account| account.id.value));
    if account_id.is_none() {
        ledger.error(
            &entry.name.place.missing_beside(ACCOUNT_ID.name),
            format!(
                "found no `account_id`; write Talkdesk's id of the account, by which its records are told \
                 from those of others under organizations/{id}"
            ),
        );
    }
    account_id
}

/// An Instance with the name of a listed account must belong to the Organization that lists it.
pub(super) fn listed_elsewhere(
    entry: &InstanceEntry,
    own: Option<usize>,
    organizations: &[OrganizationEntry],
    ledger: &Ledger,
) {
    for (index, organization) in organizations.iter().enumerate() {
        let listed = organization.accounts.iter().find(|account| account.name.value == entry.name.value);
        if let Some(account) = listed.filter(|_| own != Some(index)) {
            ledger.error(
                &entry.name.place,
                format!(
                    "found `{}`, which organizations/{} lists in line {}; write `organization: {}`, or \
                     take one out",
                    entry.name.value, organization.id.value, account.name.place.line, organization.id.value
                ),
            );
        }
    }
}

/// A tenant that `server` names must be configured, or be one that discovery may find.
pub(super) fn named_tenant(
    name: &Located<TenantName>,
    tenants: &Tenants,
    instances: &[InstanceEntry],
    ledger: &Ledger,
) {
    // An Instance whose seller is invalid is not among the tenants, but it is in the file.
    let is_entry = |entry: &InstanceEntry| match &name.value {
        TenantName::Instance(name) => entry.name.value == *name,
        TenantName::Organization(_) => false,
    };
    if tenants.find(&name.value).is_some() || instances.iter().any(is_entry) {
        return;
    }
    let discovers = tenants.iter().any(|tenant| {
        matches!(&tenant.kind, TenantKind::Organization(organization) if organization.discover_accounts)
    });
    if discovers && matches!(name.value, TenantName::Instance(_)) {
        let message = format!(
            "{} is not in this file; requests are refused until an organization lists it",
            name.value
        );
        ledger.warning(&name.place, message);
        return;
    }
    let labels: Vec<_> = tenants.iter().map(|tenant| &*tenant.label).collect();
    let advice = spelling::nearest(&name.value.to_string(), labels.iter().copied()).map_or_else(
        || "write the name of one that is, or take it out".to_owned(),
        |near| format!("write `{near}`"),
    );
    ledger.error(&name.place, format!("found `{}`, which is not configured; {advice}", name.value));
}

/// Warns of tenants that will be refused although the file is valid.
pub(super) fn refused(instance: &Instance, entry: &InstanceEntry, policy: &Policy, ledger: &Ledger) {
    let name = &entry.name.value;
    let place = entry.organization.as_ref().map_or(&entry.name.place, |organization| &organization.place);
    match &instance.seller {
        Seller::Configured(_) => {}
        Seller::Reseller(reseller) => ledger.warning(
            place,
            format!(
                "instances/{name} will be refused (reseller_sold): {} is neither `Talkdesk` nor `Talkdesk \
                 Internal` nor the id of an organization in this file",
                quoted(reseller)
            ),
        ),
        Seller::Talkdesk(_) if entry.credential_place.is_none() => ledger.warning(
            &entry.name.place,
            format!("instances/{name} has no `credential` and will be refused (no_oauth_client)"),
        ),
        Seller::Talkdesk(_) => {
            let eligible = instance.plan.as_ref().is_some_and(|plan| policy.eligible_plans.contains(plan));
            if !policy.eligible_plans.is_empty() && !eligible {
                let plan = match &instance.plan {
                    Some(plan) => format!("the plan {}", quoted(plan)),
                    None => "no `plan`".to_owned(),
                };
                ledger.warning(
                    &entry.name.place,
                    format!(
                        "instances/{name} has {plan} and will be refused (plan_not_eligible): \
                         `entitlement.eligible_plans` is set"
                    ),
                );
            }
        }
    }
}

fn unique<'a, T: Eq + Hash + std::fmt::Display + 'a>(
    values: impl Iterator<Item = &'a Located<T>>,
    what: &str,
    ledger: &Ledger,
) {
    let mut seen: HashMap<&T, u64> = HashMap::new();
    for located in values {
        if let Some(line) = seen.get(&located.value) {
            let shown = quoted(&located.value.to_string());
            ledger.error(
                &located.place,
                format!(
                    "found {shown} a second time, the first is in line {line}; write another {what}, or take \
                     one out"
                ),
            );
        } else {
            seen.insert(&located.value, located.place.line);
        }
    }
}
