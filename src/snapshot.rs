//! The configuration as one request sees it. A request takes the snapshot once, when it starts; a reload replaces the whole
//! snapshot. So no request sees a mixture of two configurations.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use foldhash::fast::RandomState;

use crate::cache::policy::CachePolicy;
use crate::clock::Clock;
use crate::clock::Now;
use crate::config::Config;
use crate::domain::credential::CredentialKey;
use crate::domain::endpoint::{Content, Endpoint, Narrowing};
use crate::domain::entitlement::{self, AccessRequest, Denial, Permit};
use crate::domain::id::AccountId;
use crate::domain::learned::Learned;
use crate::domain::tenant::{Tenant, TenantKind, TenantName};
use crate::guard::Guard;
use crate::io::client::Outbound;
use crate::limit::client::ClientLimiter;
use crate::limit::gate::Gate;
use crate::log::audit::AuditLog;
use crate::metrics::{EndpointMetrics, Metrics, TenantMetrics};
use crate::oauth::grant::Grant;
use crate::oauth::tokens::{Services, Tokens};
use crate::page::links;
use crate::upstream::circuit_breaker::CircuitBreaker;
use crate::upstream::origin::{Origin, host_in_plain};
use crate::upstream::proofs::NarrowingProofs;
use crate::upstream::retry_budget::RetryBudget;

/// The configuration, with what was made of it.
pub struct Snapshot {
    /// The configuration.
    pub config: Config,
    /// The closed list of endpoints.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Who may speak to the listeners.
    pub guard: Guard,
    /// The limit of each client, where configured.
    pub client_limiter: Option<Arc<ClientLimiter>>,
    // What every request looks up. The keys are the configuration's, so none of them is chosen by a client.
    origins: HashMap<CredentialKey, Arc<Origin>, RandomState>,
    policies: Vec<CachePolicy>,
    endpoint_metrics: Vec<EndpointMetrics>,
    nowhere_metrics: EndpointMetrics,
    configured_accounts: HashSet<AccountId>,
    tenant_metrics: HashMap<TenantName, Arc<TenantMetrics>, RandomState>,
    other_tenants: Arc<TenantMetrics>,
    /// Of learned tenants: the same series for all, and the last request of each.
    learned_tenants: Mutex<HashMap<TenantName, Arc<TenantMetrics>>>,
}

/// What is shared by all snapshots of a proxy.
#[derive(Clone)]
pub struct Shared {
    /// The way out.
    pub outbound: Outbound,
    /// The time.
    pub clock: Clock,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What was learned.
    pub learned: Arc<Learned>,
    /// What an auditor wants to know.
    pub audit: AuditLog,
}

impl Snapshot {
    /// Makes of a configuration what requests need. Of the one before, what did not change is gone on with: the ways to the
    /// API with their tokens, limits and states, and the limits of clients.
    #[must_use]
    pub fn new(config: Config, shared: &Shared, before: Option<&Self>) -> Self {
        let Shared { outbound, clock, metrics, learned, audit } = shared;
        let origins = config.credentials.iter().map(|configured| {
            let grant = Grant::new(configured, config.upstream.default_token_lifetime);
            metrics.secret_is_available(&configured.credential.owner.to_string(), grant.usable().is_ok());
            let known = before.and_then(|before| before.origin(&configured.credential.key));
            let known = known.filter(|known| known.tokens.credential().owner == configured.credential.owner);
            if let Some(known) = known {
                known.gate.go_by(&config.limits.upstream);
                known.tokens.set_limits(config.limits.token, config.upstream.request_timeout);
                return (configured.credential.key.clone(), Arc::clone(known));
            }
            let services = Services {
                outbound: outbound.clone(),
                clock: clock.clone(),
                metrics: Arc::clone(metrics),
                learned: Arc::clone(learned),
                audit: audit.clone(),
            };
            let credential = Arc::clone(&configured.credential);
            let timeout = config.upstream.request_timeout;
            let tokens = Tokens::new(Arc::clone(&credential), grant, config.limits.token, timeout, services);
            let owner = credential.owner.to_string();
            metrics.upstream_paused_until_timestamp.with_label_values(&[owner.as_str()]).set(0.0);
            let origin = Origin {
                tokens: Arc::new(tokens),
                gate: Gate::new(config.limits.upstream.clone(), clock.clone()),
                outbound: outbound.clone(),
                clock: clock.clone(),
                metrics: Arc::clone(metrics),
                learned: Arc::clone(learned),
                breaker: CircuitBreaker::default(),
                budget: RetryBudget::default(),
                proofs: NarrowingProofs::default(),
                entries_removed_for: ArcSwapOption::empty(),
                links: links::ApiOrigin::new(Arc::clone(&credential.api_origin)),
                host: host_in_plain(&credential.api_origin),
            };
            (credential.key.clone(), Arc::new(origin))
        });
        let counted = if config.metrics.tenants { config.metrics.max_tenants } else { 0 };
        let other = Arc::new(metrics.tenant("other"));
        let tenants = config.tenants.iter().enumerate().map(|(place, one)| {
            let series =
                if place < counted { metrics.tenant(&one.label) } else { other.with_own_last_request() };
            let known = before.and_then(|before| before.known_tenant_metrics(&one.name));
            (
                one.name.clone(),
                Arc::new(match known {
                    Some(known) => series.with_last_request_of(&known),
                    None => series,
                }),
            )
        });
        Self {
            origins: origins.collect(),
            endpoints: config.endpoints.iter().map(|configured| Arc::clone(&configured.endpoint)).collect(),
            policies: config.endpoints.iter().map(|one| CachePolicy::new(one.rule.clone())).collect(),
            endpoint_metrics: config
                .endpoints
                .iter()
                .map(|one| metrics.endpoint(&one.endpoint.name))
                .collect(),
            configured_accounts: config.tenants.iter().filter_map(|tenant| account_id(tenant)).collect(),
            nowhere_metrics: metrics.endpoint("other"),
            tenant_metrics: tenants.collect(),
            learned_tenants: Mutex::new(
                before.map(|before| before.learned_still(learned)).unwrap_or_default(),
            ),
            other_tenants: other,
            guard: Guard::new(&config.server),
            client_limiter: config.limits.client.as_ref().map(|limit| {
                let known = before.filter(|before| before.config.limits.client.as_ref() == Some(limit));
                let known = known.and_then(|before| before.client_limiter.clone());
                known.unwrap_or_else(|| Arc::new(ClientLimiter::new(limit, clock.clone())))
            }),
            config,
        }
    }

    /// The tenant of that name: of the configuration, or learned.
    #[must_use]
    pub fn tenant(&self, name: &TenantName, learned: &Learned) -> Option<Arc<Tenant>> {
        let configured = self.config.tenants.find(name).cloned();
        configured.or_else(|| match name {
            // An account that the configuration names is known by that name alone, and served as it says there.
            TenantName::Instance(account) => {
                learned.instance(account).filter(|tenant| !self.is_configured_otherwise(tenant))
            }
            TenantName::Organization(_) => None,
        })
    }

    fn is_configured_otherwise(&self, learned: &Tenant) -> bool {
        account_id(learned).is_some_and(|id| self.configured_accounts.contains(&id))
    }

    /// The caching policy of an endpoint.
    ///
    /// # Panics
    /// Never for an endpoint of this snapshot.
    #[must_use]
    pub fn policy(&self, endpoint: &Endpoint) -> &CachePolicy {
        &self.policies[endpoint.position]
    }

    /// Decides whether a tenant may make a request.
    ///
    /// # Errors
    /// The [`Denial`].
    pub fn authorize(
        &self,
        tenant: &Arc<Tenant>,
        request: &AccessRequest<'_>,
        learned: &Learned,
        now: Now,
    ) -> Result<Permit, Denial> {
        entitlement::authorize(tenant, request, &self.config.policy, learned, now.monotonic)
    }

    /// How the records of an endpoint are narrowed, where they are.
    #[must_use]
    pub fn narrowing(&self, endpoint: &str) -> Option<Narrowing> {
        let endpoint = self.endpoints.iter().find(|one| *one.name == *endpoint)?;
        match &endpoint.content {
            Content::Records(narrowing) => Some(narrowing.clone()),
            Content::Accounts | Content::Catalogue | Content::Opaque => None,
        }
    }

    /// Whether a request that started with another snapshot would still use the same credential and caching policy.
    #[must_use]
    pub fn is_current_for(&self, started_with: &Self, permit: &Permit) -> bool {
        if std::ptr::eq(self, started_with) {
            return true;
        }
        let endpoint = permit.endpoint();
        let known = self.endpoints.iter().find(|known| known.name == endpoint.name);
        self.origin(&permit.credential().key).is_some()
            && known.is_some_and(|known| self.policy(known) == started_with.policy(endpoint))
    }

    /// The origin to use with a credential.
    #[must_use]
    pub fn origin(&self, credential: &CredentialKey) -> Option<&Arc<Origin>> {
        self.origins.get(credential)
    }

    /// The origins of all credentials.
    pub fn origins(&self) -> impl Iterator<Item = &Arc<Origin>> {
        self.config.credentials.iter().filter_map(|configured| self.origins.get(&configured.credential.key))
    }

    /// The series of an endpoint; of `other` for a request that leads to none.
    #[must_use]
    pub fn endpoint_metrics(&self, position: Option<usize>) -> &EndpointMetrics {
        position.and_then(|position| self.endpoint_metrics.get(position)).unwrap_or(&self.nowhere_metrics)
    }

    /// The series of a tenant; of `other` for one without series of its own.
    #[must_use]
    pub fn tenant_metrics(&self, name: &TenantName) -> &Arc<TenantMetrics> {
        self.tenant_metrics.get(name).unwrap_or(&self.other_tenants)
    }

    /// The series of a tenant that exists, with its last request. For a learned tenant this takes a lock.
    #[must_use]
    pub fn own_tenant_metrics(&self, name: &TenantName) -> Arc<TenantMetrics> {
        if let Some(configured) = self.tenant_metrics.get(name) {
            return Arc::clone(configured);
        }
        let mut learned = self.learned();
        let own = learned
            .entry(name.clone())
            .or_insert_with(|| Arc::new(self.other_tenants.with_own_last_request()));
        Arc::clone(own)
    }

    /// The series of a tenant that is configured, or that was learned and has sent a request.
    #[must_use]
    pub fn known_tenant_metrics(&self, name: &TenantName) -> Option<Arc<TenantMetrics>> {
        self.tenant_metrics.get(name).cloned().or_else(|| self.learned().get(name).cloned())
    }

    fn learned(&self) -> MutexGuard<'_, HashMap<TenantName, Arc<TenantMetrics>>> {
        self.learned_tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learned_still(&self, learned: &Learned) -> HashMap<TenantName, Arc<TenantMetrics>> {
        let mut tenants = self.learned().clone();
        tenants.retain(|name, _| match name {
            TenantName::Instance(account) => learned.instance(account).is_some(),
            TenantName::Organization(_) => false,
        });
        tenants
    }
}

fn account_id(tenant: &Tenant) -> Option<AccountId> {
    match &tenant.kind {
        TenantKind::Instance(instance) => instance.account_id,
        TenantKind::Organization(_) => None,
    }
}
