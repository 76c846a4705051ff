//! Builds the tenants and credentials of the domain from the entries of the file.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::credential::{self, CredentialEntry};
use super::environment::Environment;
use super::reader::Ledger;
use super::seller::{self, ResolvedSeller};
use super::settings::ConfiguredCredential;
use super::tenant_entry::{InstanceEntry, OrganizationEntry};
use super::upstream::RegionUrls;
use super::{address, check};
use crate::domain::credential::{Credential, CredentialKey};
use crate::domain::entitlement::Policy;
use crate::domain::id::{AccountName, ClientId};
use crate::domain::region::Region;
use crate::domain::tenant::{Instance, Organization, Seller, Tenant, TenantKind, TenantName, Tenants};

/// The inputs for building tenants, besides the entries.
pub(super) struct Surroundings<'a> {
    pub(super) addresses: &'a RegionUrls,
    pub(super) policy: &'a Policy,
    pub(super) directory: &'a Path,
    pub(super) environment: &'a Environment,
    pub(super) ledger: &'a Ledger,
}

/// The tenants and their OAuth clients.
pub(super) struct Built {
    pub(super) tenants: Tenants,
    pub(super) credentials: Vec<ConfiguredCredential>,
}

/// Builds all tenants: the Organizations, their listed accounts, then the Instances.
pub(super) fn build(
    organizations: &[OrganizationEntry],
    instances: &[InstanceEntry],
    surroundings: &Surroundings<'_>,
) -> Built {
    let ledger = surroundings.ledger;
    check::organizations(organizations, ledger);
    check::accounts(organizations, instances, ledger);
    let sellers: Vec<Option<ResolvedSeller>> = instances
        .iter()
        .map(|entry| seller::resolve(entry.organization.as_ref()?, organizations, ledger))
        .collect();
    let mut clients = Clients { surroundings, credentials: Vec::new(), seen: HashMap::new() };
    let mut built: Vec<Arc<Organization>> = Vec::new();
    for (index, entry) in organizations.iter().enumerate() {
        let under = |seller: &Option<ResolvedSeller>| match seller {
            Some(ResolvedSeller::Configured(own)) => *own == index,
            Some(ResolvedSeller::Direct(_) | ResolvedSeller::Reseller(_)) | None => false,
        };
        let own =
            instances.iter().zip(&sellers).filter(|(_, seller)| under(seller)).map(|(instance, _)| instance);
        built.push(Arc::new(organization(entry, own, &mut clients)));
    }
    let mut tenants: Vec<Tenant> = built.iter().map(organization_tenant).collect();
    for (entry, organization) in organizations.iter().zip(&built) {
        for account in &entry.accounts {
            tenants.push(organization.instance(account.name.value.clone(), account.id.value));
        }
    }
    let mut places: HashMap<AccountName, usize> = HashMap::new();
    for (index, tenant) in tenants.iter().enumerate() {
        if let TenantName::Instance(name) = &tenant.name {
            places.entry(name.clone()).or_insert(index);
        }
    }
    for (entry, resolved) in instances.iter().zip(&sellers) {
        let Some(resolved) = resolved else { continue };
        let tenant = instance(entry, resolved, organizations, &built, &mut clients);
        // An entry for a listed account replaces it.
        match places.get(&entry.name.value) {
            Some(index) => tenants[*index] = tenant,
            None => tenants.push(tenant),
        }
    }
    Built { tenants: Tenants::new(tenants), credentials: clients.credentials }
}

fn organization<'a>(
    entry: &OrganizationEntry,
    instances: impl Iterator<Item = &'a InstanceEntry>,
    clients: &mut Clients<'_>,
) -> Organization {
    let owner = TenantName::Organization(entry.id.value.clone());
    let region = region_of(entry, clients.surroundings.addresses);
    let credential =
        entry.credential.as_ref().and_then(|credential| clients.add(credential, owner, region, None));
    let mut accounts: std::collections::HashSet<_> =
        entry.accounts.iter().map(|account| account.id.value).collect();
    // If the Organization lists its accounts, the list is closed. Instances with their own entry must be part of
    // it.
    if !accounts.is_empty() {
        accounts.extend(instances.filter_map(|instance| instance.account_id.as_ref()).map(|id| id.value));
    }
    Organization {
        id: entry.id.value.clone(),
        name: entry
            .name
            .as_ref()
            .map_or_else(|| entry.id.value.as_str().into(), |name| name.value.as_str().into()),
        enabled: entry.enabled,
        credential,
        accounts,
        discover_accounts: entry.discover_accounts,
    }
}

fn organization_tenant(organization: &Arc<Organization>) -> Tenant {
    let name = TenantName::Organization(organization.id.clone());
    Tenant::new(name, organization.enabled, TenantKind::Organization(Arc::clone(organization)))
}

fn region_of(entry: &OrganizationEntry, addresses: &RegionUrls) -> Region {
    entry.region.as_ref().map_or(addresses.region, |region| region.value)
}

fn instance(
    entry: &InstanceEntry,
    resolved: &ResolvedSeller,
    organizations: &[OrganizationEntry],
    built: &[Arc<Organization>],
    clients: &mut Clients<'_>,
) -> Tenant {
    let surroundings = clients.surroundings;
    let name = TenantName::Instance(entry.name.value.clone());
    let mut account_id = entry.account_id.as_ref().map(|id| id.value);
    let mut own = None;
    let seller = match resolved {
        ResolvedSeller::Configured(index) => {
            own = Some(*index);
            let organization = &organizations[*index];
            let region = region_of(organization, surroundings.addresses);
            account_id = check::under_organization(entry, organization, region, surroundings.ledger);
            Seller::Configured(Arc::clone(&built[*index]))
        }
        ResolvedSeller::Direct(direct) => Seller::Talkdesk(*direct),
        ResolvedSeller::Reseller(reseller) => Seller::Reseller(Arc::clone(reseller)),
    };
    check::listed_elsewhere(entry, own, organizations, surroundings.ledger);
    let region = entry.region.as_ref().map_or(surroundings.addresses.region, |region| region.value);
    let credential = match (&entry.credential, own) {
        (Some(credential), None) => clients.add(credential, name.clone(), region, Some(&entry.name.value)),
        _ => None,
    };
    let plan = entry.plan.as_deref().map(Arc::from);
    let instance = Instance { account_id, plan, seller, credential };
    check::refused(&instance, entry, surroundings.policy, surroundings.ledger);
    Tenant::new(name, entry.enabled, TenantKind::Instance(instance))
}

/// The clients built so far, each with the line of its entry for messages about duplicates.
struct Clients<'a> {
    surroundings: &'a Surroundings<'a>,
    credentials: Vec<ConfiguredCredential>,
    seen: HashMap<(ClientId, Arc<str>), (TenantName, u64)>,
}

impl Clients<'_> {
    /// Adds a credential of the owner. `default_account` is the account in the token URL if the entry names none.
    fn add(
        &mut self,
        entry: &CredentialEntry,
        owner: TenantName,
        region: Region,
        default_account: Option<&AccountName>,
    ) -> Option<Arc<Credential>> {
        let Surroundings { addresses, directory, environment, ledger, .. } = *self.surroundings;
        let template = addresses.token_url(region);
        let token_url: Arc<str> = match entry.account.as_ref().or(default_account) {
            Some(account) => template.replace(address::ACCOUNT, account.as_str()).into(),
            None if template.contains(address::ACCOUNT) => {
                let advice = "found no `account`; write the account that owns the client, for the token URL";
                ledger.error(&entry.place.missing(credential::ACCOUNT.name), advice);
                return None;
            }
            None => template,
        };
        let client_id = &entry.client_id.value;
        let identity = (client_id.clone(), Arc::clone(&token_url));
        if let Some((other, line)) = self.seen.get(&identity) {
            ledger.error(
                &entry.client_id.place,
                format!(
                    "found the client that {other} has in line {line}, with the same token URL; write the \
                     client of {owner}: a client belongs to one organization or instance"
                ),
            );
        }
        self.seen.entry(identity).or_insert_with(|| (owner.clone(), entry.client_id.place.line));
        let api_origin = addresses.api_origin(region);
        let key =
            CredentialKey::new(&token_url, &api_origin, client_id, entry.scopes.as_ref(), entry.key_id());
        let credential = Arc::new(Credential {
            owner,
            client_id: client_id.clone(),
            token_url,
            api_origin,
            scopes: entry.scopes.clone(),
            key,
        });
        warn_of_readable_file(entry, self.surroundings);
        self.credentials.push(ConfiguredCredential {
            credential: Arc::clone(&credential),
            authentication: entry.authentication.clone(),
            secret: entry.source.value.read(directory, environment),
            place: entry.source.value.place(directory, environment),
        });
        Some(credential)
    }
}

/// Warns if other users of this machine can read the secret.
#[cfg(unix)]
fn warn_of_readable_file(entry: &CredentialEntry, surroundings: &Surroundings<'_>) {
    use std::os::unix::fs::PermissionsExt;

    let Some(file) = entry.source.value.file(surroundings.directory, surroundings.environment) else {
        return;
    };
    // systemd protects the directory of credentials.
    if surroundings.environment.credentials_directory().is_some_and(|directory| file.starts_with(directory)) {
        return;
    }
    let Ok(metadata) = std::fs::metadata(&file) else { return };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        surroundings.ledger.warning(
            &entry.source.place,
            format!("{} can be read by others (mode {mode:03o}); set it to 600", file.display()),
        );
    }
}

#[cfg(not(unix))]
fn warn_of_readable_file(_entry: &CredentialEntry, _surroundings: &Surroundings<'_>) {}
