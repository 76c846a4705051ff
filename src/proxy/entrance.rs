//! The data listener that a request came in on, which may serve only some of the tenants.
//!
//! A listener of `server.listeners` is for a tool that needs those tenants and no others: on it, any other tenant is unknown.
//! The list is fixed when the listener is bound, so a change of the configuration cannot add to it.

use std::collections::HashSet;
use std::sync::Arc;

use crate::config::{DataListener, Server};
use crate::domain::tenant::TenantName;

/// A data listener, as its requests meet it.
#[derive(Debug)]
pub struct Entrance {
    /// Its address, for logs.
    pub address: Arc<str>,
    narrow: Option<Narrow>,
}

#[derive(Debug)]
struct Narrow {
    tenants: HashSet<TenantName>,
    default_tenant: Option<TenantName>,
}

impl Entrance {
    /// `server.listen`, at which every tenant can be named.
    #[must_use]
    pub fn wide(address: &str) -> Self {
        Self { address: address.into(), narrow: None }
    }

    /// A listener of `server.listeners`.
    #[must_use]
    pub fn narrow(address: &str, listener: &DataListener) -> Self {
        let narrow =
            Narrow { tenants: listener.tenants.clone(), default_tenant: listener.default_tenant.clone() };
        Self { address: address.into(), narrow: Some(narrow) }
    }

    /// Whether a tenant exists here.
    #[must_use]
    pub fn knows(&self, name: &TenantName) -> bool {
        self.narrow.as_ref().is_none_or(|narrow| narrow.tenants.contains(name))
    }

    /// Whom a request is for that names nobody.
    #[must_use]
    pub fn default_tenant<'a>(&'a self, server: &'a Server) -> Option<&'a TenantName> {
        match &self.narrow {
            Some(narrow) => narrow.default_tenant.as_ref(),
            None => server.default_tenant.as_ref(),
        }
    }
}
