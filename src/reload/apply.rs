//! Replaces the configuration without a restart: completely or not at all, and without losing requests in flight, tokens, or
//! entries that are still valid.
//!
//! Requests in flight finish with the configuration they started with. What did not change is carried over: tokens, states of
//! credentials, use of limits. What the new configuration no longer has is removed at once: the entries of its credentials and
//! the accounts that its Organizations listed.
//!
//! Not here: reading the file (`crate::reload`). Settings that need a restart are reported, not applied.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use crate::cache::purges::Selection;
use crate::config::{self, Config, ConfiguredCredential, SecretPlace};
use crate::domain::credential::CredentialKey;
use crate::domain::tenant::{Organization, TenantKind, TenantName};
use crate::oauth::grant::Grant;
use crate::oauth::no_token::NoToken;
use crate::proxy::Proxy;
use crate::snapshot::Snapshot;

/// What a new configuration changed.
#[derive(Debug, Default)]
pub struct ConfigChanges {
    /// In words, one thing each.
    pub changed: Vec<String>,
    /// Keys whose new value needs a restart.
    pub needs_restart: Vec<String>,
    /// What came of each secret that changed.
    pub secrets: Vec<ChangedSecret>,
    /// Whose secrets stay what they were when the process was started, whatever was put in their place.
    pub fixed_secrets: Vec<String>,
    /// What is no fault but should be known.
    pub warnings: Vec<String>,
}

/// A secret that is not the one that it was.
#[derive(Debug)]
pub struct ChangedSecret {
    /// Whose.
    pub owner: TenantName,
    /// How that went.
    pub outcome: SecretOutcome,
}

/// How a new secret did.
#[derive(Debug)]
pub enum SecretOutcome {
    /// It brought a token.
    Proven,
    /// It brought none; the old token serves until it ends.
    NotProven(NoToken),
    /// It can't be read or used, so the last one is kept; says why.
    Kept(String),
}

/// Goes by another configuration from now on. Secrets that changed are proven with a token each before this returns,
/// while the old tokens serve.
pub async fn apply(proxy: &Proxy, config: Config) -> ConfigChanges {
    let (mut changes, to_prove) = change(proxy, config);
    let proofs = to_prove.into_iter().map(|(owner, origin, grant)| async move {
        let outcome = match origin.tokens.renew(grant).await {
            Ok(()) => SecretOutcome::Proven,
            Err(no_token) => SecretOutcome::NotProven(no_token),
        };
        ChangedSecret { owner, outcome }
    });
    changes.secrets.extend(futures_util::future::join_all(proofs).await);
    // What has just changed does change while the process runs: a folder of secrets need not be systemd's.
    let renewed: HashSet<_> = changes.secrets.iter().map(|secret| secret.owner.to_string()).collect();
    changes.fixed_secrets.retain(|owner| !renewed.contains(owner));
    changes
}

fn change(proxy: &Proxy, config: Config) -> (ConfigChanges, Vec<ToProve>) {
    let _changing = proxy.fetch_context().changing.lock().unwrap_or_else(PoisonError::into_inner);
    let before = proxy.snapshot();
    let mut changes = differences(&before.config, &config);
    changes.fixed_secrets = fixed_secrets(&config);
    let rules_changed = changed_rules(&before.config, &config);
    let after = Arc::new(Snapshot::new(config, proxy.shared(), Some(&before)));
    let to_prove = changed_secrets(&before, &after, &mut changes);
    proxy.fetch_context().snapshot.store(Arc::clone(&after));
    proxy.learned.keep_accounts_of(&organizations_that_stay(&before, &after));
    proxy.learned.forget_denials(|_| true);
    for gone in keys(&before.config).difference(&keys(&after.config)) {
        proxy.cache.forget_credential(gone);
    }
    for gone in owners(&before.config).difference(&owners(&after.config)) {
        proxy.metrics.forget_credential(&gone.to_string());
    }
    for (_, origin, _) in &to_prove {
        origin.proofs.forget();
    }
    proxy.metrics.forget_unproven();
    for origin in after.origins() {
        origin.proofs.retain(|endpoint| after.narrowing(endpoint));
        let owner = origin.tokens.credential().owner.to_string();
        for unproven in origin.proofs.unproven() {
            proxy.metrics.account_scope_unproven(&owner, &unproven.endpoint, true);
        }
    }
    for endpoint in rules_changed {
        // Whoever is under way goes by the old rule, and does not store by it.
        let selection = Selection { endpoint: Some(endpoint.into()), ..Selection::default() };
        proxy.cache.purge_softly(&selection, proxy.clock.now());
    }
    proxy.fetch_context().read_budget.set_limit(after.config.upstream.max_buffered_bytes);
    proxy.accounts.discover_anew();
    (changes, to_prove)
}

/// The secrets that have to be proven. One that can't be used leaves the last one in its place.
fn changed_secrets(before: &Snapshot, after: &Snapshot, changes: &mut ConfigChanges) -> Vec<ToProve> {
    let mut to_prove = Vec::new();
    for configured in &after.config.credentials {
        let same = |other: &&ConfiguredCredential| {
            other.credential.key == configured.credential.key
                && other.credential.owner == configured.credential.owner
        };
        let Some(old) = before.config.credentials.iter().find(same) else { continue };
        if configured.proves_itself_as(old) {
            continue;
        }
        let owner = configured.credential.owner.clone();
        let grant = Grant::new(configured, after.config.upstream.default_token_lifetime);
        if let Err(reason) = grant.usable() {
            let outcome = SecretOutcome::Kept(reason.to_string());
            changes.secrets.push(ChangedSecret { owner, outcome });
        } else if let Some(origin) = after.origin(&configured.credential.key) {
            to_prove.push((owner, Arc::clone(origin), grant));
        }
    }
    to_prove
}

type ToProve = (TenantName, Arc<crate::upstream::origin::Origin>, Grant);

fn fixed_secrets(config: &Config) -> Vec<String> {
    let fixed =
        config.credentials.iter().filter(|configured| !matches!(configured.place, SecretPlace::File(_)));
    fixed.map(|configured| configured.credential.owner.to_string()).collect()
}

fn owners(config: &Config) -> HashSet<&TenantName> {
    config.credentials.iter().map(|configured| &configured.credential.owner).collect()
}

fn keys(config: &Config) -> HashSet<CredentialKey> {
    config.credentials.iter().map(|configured| configured.credential.key.clone()).collect()
}

/// The Organizations, as they are now, whose learned lists are still theirs: read with the same credential.
fn organizations_that_stay(before: &Snapshot, after: &Snapshot) -> Vec<Arc<Organization>> {
    let organization =
        |snapshot: &Snapshot, name: &TenantName| match &snapshot.config.tenants.find(name)?.kind {
            TenantKind::Organization(organization) => Some(Arc::clone(organization)),
            TenantKind::Instance(_) => None,
        };
    let stays = |name: &TenantName| {
        let (old, new) = (organization(before, name)?, organization(after, name)?);
        let key = |one: &Organization| one.credential.as_ref().map(|credential| credential.key.clone());
        (new.discover_accounts && new.enabled && key(&old) == key(&new)).then_some(new)
    };
    after.config.tenants.iter().filter_map(|tenant| stays(&tenant.name)).collect()
}

fn changed_rules(before: &Config, after: &Config) -> Vec<String> {
    let rule = |config: &Config, name: &str| {
        config.endpoints.iter().find(|one| &*one.endpoint.name == name).map(|one| one.rule.clone())
    };
    let names = after.endpoints.iter().map(|one| one.endpoint.name.to_string());
    names.filter(|name| rule(before, name) != rule(after, name)).collect()
}

/// What is different, for people.
fn differences(before: &Config, after: &Config) -> ConfigChanges {
    let mut changes = ConfigChanges::default();
    let mut note = |what: String| changes.changed.push(what);
    let names = |config: &Config| -> HashSet<String> {
        config.tenants.iter().map(|tenant| tenant.name.to_string()).collect()
    };
    let (old, new) = (names(before), names(after));
    let sorted = |names: std::collections::hash_set::Difference<'_, String, _>| {
        let mut names: Vec<_> = names.cloned().collect();
        names.sort_unstable();
        names
    };
    for added in sorted(new.difference(&old)) {
        note(format!("{added} is new"));
    }
    for removed in sorted(old.difference(&new)) {
        note(format!("{removed} is gone"));
    }
    for tenant in after.tenants.iter() {
        if let Some(known) = before.tenants.find(&tenant.name)
            && known != tenant
        {
            note(format!("{} is another", tenant.name));
        }
    }
    for name in changed_rules(before, after) {
        note(format!("cache.endpoints.{name} is another; its entries are stale from now on"));
    }
    let sections = [
        ("server", before.server != after.server),
        ("upstream", before.upstream != after.upstream),
        ("entitlement", before.policy != after.policy || before.rejected_grace != after.rejected_grace),
        ("limits", before.limits != after.limits),
        ("cache", before.cache != after.cache),
        ("log", before.log != after.log),
        ("metrics", before.metrics != after.metrics),
    ];
    for (section, _) in sections.into_iter().filter(|(_, differs)| *differs) {
        note(format!("{section} is another"));
    }
    changes.needs_restart = config::changes_that_need_restart(before, after);
    changes
}
