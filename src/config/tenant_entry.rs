//! The entries of the lists `organizations` and `instances`, each read on its own.
//!
//! Not here: checks that need several entries (`check`, `tenants`).

use super::credential::{self, CREDENTIAL, CredentialEntry};
use super::key::{Section, keys};
use super::kind::{Boolean, List, Scalar};
use super::object::Object;
use super::reader::{Ledger, Located, Location, values};
use super::value;
use crate::domain::id::{AccountId, AccountName, OrganizationId};
use crate::domain::region::Region;

pub(super) static ORGANIZATION: Section =
    Section { description: "An Organization.", ..Section::new(ORGANIZATION_KEYS) };
pub(super) static INSTANCE: Section = Section { description: "An Instance.", ..Section::new(INSTANCE_KEYS) };
static LISTED_ACCOUNT: Section = Section { description: "An account.", ..Section::new(LISTED_ACCOUNT_KEYS) };

keys! {
    ORGANIZATION_KEYS;
    ID: Scalar<OrganizationId> = "id", value::ORGANIZATION_ID,
        Required("write the name that clients use, such as `id: acme`"),
        "Our name for it: clients ask for `organizations/{id}`.";
    NAME: Scalar<String> = "name", value::TEXT, Optional, "Talkdesk's name of it; unset: the id.";
    TALKDESK_ID: Scalar<String> = "talkdesk_id", value::TEXT, Optional, "Talkdesk's id of it, for people.";
    ENABLED: Boolean = "enabled", Boolean, Default("true"),
        "`false`: it is refused, and every Instance under it.";
    REGION: Scalar<Region> = "region", value::REGION, Optional, "Its region; unset: `upstream.region`.";
    ORGANIZATION_CREDENTIAL: Section = "credential", CREDENTIAL, Optional,
        "Its OAuth client; without one it is refused.";
    ACCOUNTS: List<Section> = "accounts",
        List { takes_null: true, ..List::of(LISTED_ACCOUNT) }, Default("[]"),
        "Instances under it; each is a tenant, `instances/{name}`.";
    DISCOVER_ACCOUNTS: Boolean = "discover_accounts", Boolean, Default("true"),
        "Whether the rest of its Instances is learned from Talkdesk.";
}

keys! {
    LISTED_ACCOUNT_KEYS;
    LISTED_ID: Scalar<AccountId> = "id", value::ACCOUNT_ID,
        Required("write Talkdesk's id of the account, 24 hexadecimal digits"),
        "Talkdesk's id of the account.";
    LISTED_NAME: Scalar<AccountName> = "name", value::ACCOUNT_NAME,
        Required("write the account's name, as in {name}.mytalkdesk.com"),
        "The account's name, as in `{name}.mytalkdesk.com`.";
}

keys! {
    INSTANCE_KEYS;
    INSTANCE_NAME: Scalar<AccountName> = "name", value::ACCOUNT_NAME,
        Required("write the account's name, as in {name}.mytalkdesk.com"),
        "The account's name, as in `{name}.mytalkdesk.com`: clients ask for `instances/{name}`.";
    SELLER: Scalar<String> = "organization", value::TEXT,
        Required("write who sold it: `Talkdesk`, `Talkdesk Internal`, an organization's `id`, or a \
         reseller's name"),
        "Who sold it: `Talkdesk`, `Talkdesk Internal`, the id of an Organization above, or a reseller.";
    pub(super) ACCOUNT_ID: Scalar<AccountId> = "account_id", value::ACCOUNT_ID, Optional,
        "Talkdesk's id of the account.";
    PLAN: Scalar<String> = "plan", value::TEXT, Optional,
        "Its plan, compared with `entitlement.eligible_plans`.";
    INSTANCE_ENABLED: Boolean = "enabled", Boolean, Default("true"), "`false`: it is refused.";
    INSTANCE_REGION: Scalar<Region> = "region", value::REGION, Optional,
        "Its region; unset: `upstream.region`.";
    INSTANCE_CREDENTIAL: Section = "credential", CREDENTIAL, Optional, "Its own OAuth client.";
}

/// An entry of `organizations`.
pub(super) struct OrganizationEntry {
    pub(super) place: Location,
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
    pub(super) credential_place: Option<Location>,
    pub(super) credential: Option<CredentialEntry>,
}

/// Reads the list `organizations`.
pub(super) fn organizations(entries: &[Object<'_>], ledger: &Ledger) -> Vec<OrganizationEntry> {
    entries.iter().filter_map(|entry| organization(entry, ledger)).collect()
}

/// Reads the list `instances`.
pub(super) fn instances(entries: &[Object<'_>], ledger: &Ledger) -> Vec<InstanceEntry> {
    entries.iter().filter_map(|entry| instance(entry, ledger)).collect()
}

fn organization(entry: &Object<'_>, ledger: &Ledger) -> Option<OrganizationEntry> {
    let credential = entry.optional(&ORGANIZATION_CREDENTIAL);
    let accounts: Vec<Object<'_>> = values(entry.get(&ACCOUNTS)?);
    Some(OrganizationEntry {
        place: entry.place.clone(),
        name: entry.located(&NAME),
        talkdesk_id: entry.located(&TALKDESK_ID),
        enabled: entry.get(&ENABLED)?,
        region: entry.located(&REGION),
        brings_credential: entry.value(&ORGANIZATION_CREDENTIAL).is_some(),
        credential: credential.and_then(|section| credential::read(&section, ledger)),
        accounts: accounts.iter().filter_map(account).collect(),
        discover_accounts: entry.get(&DISCOVER_ACCOUNTS)?,
        // Read last: without it there is no entry, but the faults of its other keys are recorded.
        id: entry.required(&ID)?,
    })
}

fn account(entry: &Object<'_>) -> Option<AccountEntry> {
    let (id, name) = (entry.required(&LISTED_ID), entry.required(&LISTED_NAME));
    Some(AccountEntry { id: id?, name: name? })
}

fn instance(entry: &Object<'_>, ledger: &Ledger) -> Option<InstanceEntry> {
    let credential = entry.optional(&INSTANCE_CREDENTIAL);
    Some(InstanceEntry {
        plan: entry.optional(&PLAN),
        account_id: entry.located(&ACCOUNT_ID),
        organization: entry.required(&SELLER),
        enabled: entry.get(&INSTANCE_ENABLED)?,
        region: entry.located(&INSTANCE_REGION),
        credential_place: entry.place_of(&INSTANCE_CREDENTIAL),
        credential: credential.and_then(|section| credential::read(&section, ledger)),
        // Read last: without it there is no entry, but the faults of its other keys are recorded.
        name: entry.required(&INSTANCE_NAME)?,
    })
}
