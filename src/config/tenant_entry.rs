//! The entries of the lists `organizations` and `instances`, each read on its own.
//!
//! Not here: checks that need several entries (`check`, `tenants`).

use super::credential::{self, CREDENTIAL, CredentialEntry};
use super::key::{Key, Section};
use super::kind::{Boolean, List, Scalar};
use super::reader::{Ledger, Located, Object, Place, values};
use super::value;
use crate::domain::id::{AccountId, AccountName, OrganizationId};
use crate::domain::region::Region;

pub(super) static ORGANIZATIONS: Key<List<Section>> = Key::with_default(
    "organizations",
    List::of(ORGANIZATION).or_null(),
    "[]",
    "Organizations: a partner's, each with one OAuth client for all Instances under it.",
);

static ORGANIZATION: Section = Section::new(&[
    &ID,
    &NAME,
    &TALKDESK_ID,
    &ENABLED,
    &REGION,
    &ORGANIZATION_CREDENTIAL,
    &ACCOUNTS,
    &DISCOVER_ACCOUNTS,
])
.described("An Organization.");

static ID: Key<Scalar<OrganizationId>> = Key::required(
    "id",
    value::ORGANIZATION_ID,
    "write the name that clients use, such as `id: acme`",
    "Our name for it: clients ask for `organizations/{id}`.",
);

static NAME: Key<Scalar<String>> =
    Key::optional("name", value::TEXT, "Talkdesk's name of it; unset: the id.");

static TALKDESK_ID: Key<Scalar<String>> =
    Key::optional("talkdesk_id", value::TEXT, "Talkdesk's id of it, for people.");

static ENABLED: Key<Boolean> =
    Key::with_default("enabled", Boolean, "true", "`false`: it is refused, and every Instance under it.");

static REGION: Key<Scalar<Region>> =
    Key::optional("region", value::REGION, "Its region; unset: `upstream.region`.");

static ORGANIZATION_CREDENTIAL: Key<Section> =
    Key::optional("credential", CREDENTIAL, "Its OAuth client; without one it is refused.");

static ACCOUNTS: Key<List<Section>> = Key::with_default(
    "accounts",
    List::of(Section::new(&[&LISTED_ID, &LISTED_NAME]).described("An account.")).or_null(),
    "[]",
    "Instances under it; each is a tenant, `instances/{name}`.",
);

static LISTED_ID: Key<Scalar<AccountId>> = Key::required(
    "id",
    value::ACCOUNT_ID,
    "write Talkdesk's id of the account, 24 hexadecimal digits",
    "Talkdesk's id of the account.",
);

static LISTED_NAME: Key<Scalar<AccountName>> = Key::required(
    "name",
    value::ACCOUNT_NAME,
    "write the account's name, as in {name}.mytalkdesk.com",
    "The account's name, as in `{name}.mytalkdesk.com`.",
);

static DISCOVER_ACCOUNTS: Key<Boolean> = Key::with_default(
    "discover_accounts",
    Boolean,
    "true",
    "Whether the rest of its Instances is learned from Talkdesk.",
);

pub(super) static INSTANCES: Key<List<Section>> = Key::with_default(
    "instances",
    List::of(INSTANCE).or_null(),
    "[]",
    "Instances with a client of their own. Those under an Organization above need no entry, but may have one without \
     a credential, for `plan` or `enabled`.",
);

static INSTANCE: Section = Section::new(&[
    &INSTANCE_NAME,
    &SELLER,
    &ACCOUNT_ID,
    &PLAN,
    &INSTANCE_ENABLED,
    &REGION,
    &INSTANCE_CREDENTIAL,
])
.described("An Instance.");

static INSTANCE_NAME: Key<Scalar<AccountName>> = Key::required(
    "name",
    value::ACCOUNT_NAME,
    "write the account's name, as in {name}.mytalkdesk.com",
    "The account's name, as in `{name}.mytalkdesk.com`: clients ask for `instances/{name}`.",
);

static SELLER: Key<Scalar<String>> = Key::required(
    "organization",
    value::TEXT,
    "write who sold it: `Talkdesk`, `Talkdesk Internal`, an organization's `id`, or a reseller's name",
    "Who sold it: `Talkdesk`, `Talkdesk Internal`, the id of an Organization above, or a reseller.",
);

pub(super) static ACCOUNT_ID: Key<Scalar<AccountId>> =
    Key::optional("account_id", value::ACCOUNT_ID, "Talkdesk's id of the account.");

static PLAN: Key<Scalar<String>> =
    Key::optional("plan", value::TEXT, "Its plan, compared with `entitlement.eligible_plans`.");

static INSTANCE_ENABLED: Key<Boolean> =
    Key::with_default("enabled", Boolean, "true", "`false`: it is refused.");

static INSTANCE_CREDENTIAL: Key<Section> = Key::optional("credential", CREDENTIAL, "Its own OAuth client.");

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
pub(super) fn organizations(top: &Object<'_>, ledger: &Ledger) -> Option<Vec<OrganizationEntry>> {
    let entries: Vec<Object<'_>> = values(top.get(&ORGANIZATIONS)?);
    Some(entries.iter().filter_map(|entry| organization(entry, ledger)).collect())
}

/// Reads the list `instances`.
pub(super) fn instances(top: &Object<'_>, ledger: &Ledger) -> Option<Vec<InstanceEntry>> {
    let entries: Vec<Object<'_>> = values(top.get(&INSTANCES)?);
    Some(entries.iter().filter_map(|entry| instance(entry, ledger)).collect())
}

fn organization(entry: &Object<'_>, ledger: &Ledger) -> Option<OrganizationEntry> {
    let id = entry.required(&ID);
    let name = entry.located(&NAME);
    let talkdesk_id = entry.located(&TALKDESK_ID);
    let enabled = entry.get(&ENABLED)?;
    let region = entry.located(&REGION);
    let credential = entry.optional(&ORGANIZATION_CREDENTIAL);
    let credential = credential.and_then(|section| credential::read(&section, ledger));
    let accounts: Vec<Object<'_>> = values(entry.get(&ACCOUNTS)?);
    let accounts = accounts.iter().filter_map(account).collect();
    let discover_accounts = entry.get(&DISCOVER_ACCOUNTS)?;
    Some(OrganizationEntry {
        place: entry.place.clone(),
        id: id?,
        name,
        talkdesk_id,
        enabled,
        region,
        brings_credential: entry.value(&ORGANIZATION_CREDENTIAL).is_some(),
        credential,
        accounts,
        discover_accounts,
    })
}

fn account(entry: &Object<'_>) -> Option<AccountEntry> {
    let (id, name) = (entry.required(&LISTED_ID), entry.required(&LISTED_NAME));
    Some(AccountEntry { id: id?, name: name? })
}

fn instance(entry: &Object<'_>, ledger: &Ledger) -> Option<InstanceEntry> {
    let name = entry.required(&INSTANCE_NAME);
    let plan = entry.optional(&PLAN);
    let account_id = entry.located(&ACCOUNT_ID);
    let organization = entry.required(&SELLER);
    let enabled = entry.get(&INSTANCE_ENABLED)?;
    let region = entry.located(&REGION);
    let credential = entry.optional(&INSTANCE_CREDENTIAL);
    let credential = credential.and_then(|section| credential::read(&section, ledger));
    let credential_place = entry.place_of(&INSTANCE_CREDENTIAL);
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
