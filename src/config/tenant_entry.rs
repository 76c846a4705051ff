//! The entries of the lists `organizations` and `instances`, each read on its own.
//!
//! Not here: checks that need several entries (`check`, `tenants`).

use super::credential::{self, CredentialEntry};
use super::reader::{Ledger, Located, Object, Place, Value};
use super::value;
use crate::domain::id::{AccountId, AccountName, OrganizationId};
use crate::domain::region::Region;

/// An entry of `organizations`.
pub(super) struct OrganizationEntry {
    pub(super) place: Place,
    pub(super) id: Located<OrganizationId>,
    pub(super) name: Option<Located<String>>,
    pub(super) talkdesk_id: Option<Located<String>>,
    pub(super) enabled: bool,
    pub(super) region: Option<Located<Region>>,
    /// Whether the key `credential` exists, even if its value is invalid.
    pub(super) brings_credential: bool,
    pub(super) credential: Option<CredentialEntry>,
    pub(super) accounts: Vec<AccountEntry>,
    pub(super) discover_accounts: bool,
}

/// An account listed by an Organization.
pub(super) struct AccountEntry {
    pub(super) id: Located<AccountId>,
    pub(super) name: Located<AccountName>,
}

/// An entry of `instances`.
pub(super) struct InstanceEntry {
    pub(super) name: Located<AccountName>,
    pub(super) plan: Option<String>,
    pub(super) account_id: Option<Located<AccountId>>,
    pub(super) organization: Option<Located<String>>,
    pub(super) enabled: bool,
    pub(super) region: Option<Located<Region>>,
    /// The place of the key `credential`, even if its value is invalid.
    pub(super) credential_place: Option<Place>,
    pub(super) credential: Option<CredentialEntry>,
}

/// Reads the list `organizations`.
pub(super) fn organizations(value: Option<&Value<'_>>, ledger: &Ledger) -> Vec<OrganizationEntry> {
    objects(value).into_iter().filter_map(|entry| organization(entry, ledger)).collect()
}

/// Reads the list `instances`.
pub(super) fn instances(value: Option<&Value<'_>>, ledger: &Ledger) -> Vec<InstanceEntry> {
    objects(value).into_iter().filter_map(|entry| instance(entry, ledger)).collect()
}

/// The mappings in a list; a key without a value is an empty list.
fn objects<'a>(value: Option<&Value<'a>>) -> Vec<Object<'a>> {
    let items = value.filter(|value| !value.is_null()).and_then(Value::items).unwrap_or_default();
    items.iter().filter_map(Value::object).collect()
}

fn organization(mut entry: Object<'_>, ledger: &Ledger) -> Option<OrganizationEntry> {
    let place = entry.place.clone();
    let id = entry.required("id", "write the name that clients use, as `id: acme`", value::domain);
    let name = entry.located("name", value::text);
    let talkdesk_id = entry.located("talkdesk_id", value::text);
    let enabled = entry.boolean("enabled").unwrap_or(true);
    let region = entry.located("region", value::domain);
    let credential = entry.value("credential");
    let brings_credential = credential.is_some();
    let credential = credential.and_then(|value| credential::read(value, ledger));
    let accounts = objects(entry.value("accounts").as_ref()).into_iter().filter_map(account).collect();
    let discover_accounts = entry.boolean("discover_accounts").unwrap_or(true);
    entry.finish();
    Some(OrganizationEntry {
        place,
        id: id?,
        name,
        talkdesk_id,
        enabled,
        region,
        brings_credential,
        credential,
        accounts,
        discover_accounts,
    })
}

fn account(mut entry: Object<'_>) -> Option<AccountEntry> {
    let id = entry.required("id", "write Talkdesk's id of the account, 24 hexadecimal digits", value::domain);
    let name = entry.required("name", "write the account's name, as in {name}.mytalkdesk.com", value::domain);
    entry.finish();
    Some(AccountEntry { id: id?, name: name? })
}

fn instance(mut entry: Object<'_>, ledger: &Ledger) -> Option<InstanceEntry> {
    let name = entry.required("name", "write the account's name, as in {name}.mytalkdesk.com", value::domain);
    let plan = entry.parsed("plan", value::text);
    let account_id = entry.located("account_id", value::domain);
    let organization = entry.required(
        "organization",
        "write who sold it: `Talkdesk`, `Talkdesk Internal`, an organization's `id`, or a reseller's name",
        value::text,
    );
    let enabled = entry.boolean("enabled").unwrap_or(true);
    let region = entry.located("region", value::domain);
    let credential = entry.value("credential");
    let credential_place = credential.as_ref().map(|value| value.place.clone());
    let credential = credential.and_then(|value| credential::read(value, ledger));
    entry.finish();
    Some(InstanceEntry {
        name: name?,
        plan,
        account_id,
        organization,
        enabled,
        region,
        credential_place,
        credential,
    })
}
