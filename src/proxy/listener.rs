//! A data listener, which may serve only some of the tenants.
//!
//! A listener of `server.listeners` is for a tool that needs those tenants and no others: on it, any other tenant is unknown.
//! The list is fixed when the listener is bound, so a change of the configuration cannot add to it.

use std::collections::HashSet;
use std::sync::Arc;

use crate::config::{DataListener, Server};
use crate::domain::tenant::TenantName;

/// A data listener.
#[derive(Debug)]
pub struct Listener {
    /// Its address, for logs.
    pub address: Arc<str>,
    restriction: Option<Restriction>,
}

#[derive(Debug)]
struct Restriction {
    tenants: HashSet<TenantName>,
    default_tenant: Option<TenantName>,
}

impl Listener {
    /// `server.listen`, which serves every tenant.
    #[must_use]
    pub fn for_all_tenants(address: &str) -> Self {
        Self { address: address.into(), restriction: None }
    }

    /// A listener of `server.listeners`.
    #[must_use]
    pub fn restricted(address: &str, listener: &DataListener) -> Self {
        let restriction = Restriction {
            tenants: listener.tenants.clone(),
            default_tenant: listener.default_tenant.clone(),
        };
        Self { address: address.into(), restriction: Some(restriction) }
    }

    /// Whether it serves a tenant.
    #[must_use]
    pub fn serves(&self, name: &TenantName) -> bool {
        self.restriction.as_ref().is_none_or(|restriction| restriction.tenants.contains(name))
    }

    /// The tenant of requests that name none.
    #[must_use]
    pub fn default_tenant<'a>(&'a self, server: &'a Server) -> Option<&'a TenantName> {
        match &self.restriction {
            Some(restriction) => restriction.default_tenant.as_ref(),
            None => server.default_tenant.as_ref(),
        }
    }
}
