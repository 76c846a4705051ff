//! Query parameters that select cache entries: tenant, endpoint, path prefix. Unknown or invalid parameters are
//! errors, so that a typing error does not select everything.

use std::sync::Arc;

use crate::cache::purges::Selection;
use crate::domain::tenant::{Tenant, TenantKind};
use crate::proxy::Proxy;

/// Reads a query; `read` gets each parameter. Unknown and repeated parameters are errors.
pub(super) fn each(
    query: &str,
    known: &[&str],
    mut read: impl FnMut(&str, &str) -> Result<(), String>,
) -> Result<(), String> {
    let mut seen = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let Some(name) = known.iter().find(|known| **known == name) else {
            return Err(format!("`{name}` is not a parameter of this path: use {}", known.join(", ")));
        };
        if seen.contains(name) {
            return Err(format!("`{name}` is given twice: write it once"));
        }
        seen.push(name);
        read(name, &value)?;
    }
    Ok(())
}

/// Selects the entries of a tenant.
pub(super) fn of_tenant(selection: &mut Selection, proxy: &Proxy, value: &str) -> Result<(), String> {
    let name = value.parse().map_err(|_| {
        format!("`{value}` is not a tenant name: write organizations/{{id}} or instances/{{name}}")
    })?;
    let tenant = proxy
        .snapshot()
        .tenant(&name, &proxy.learned)
        .ok_or_else(|| format!("there is no tenant `{name}`"))?;
    let own = match &tenant.kind {
        TenantKind::Organization(_) => None,
        TenantKind::Instance(instance) => instance.credential.as_ref(),
    };
    let credential = tenant.organization().map_or(own, |organization| organization.credential.as_ref());
    let nothing = || format!("{} has no credential, so it has no stored responses", tenant.label);
    selection.credential = Some(credential.ok_or_else(nothing)?.key.clone());
    selection.account = served_for_itself(&tenant)?;
    Ok(())
}

/// The account id of an Instance that uses its Organization's credential.
fn served_for_itself(tenant: &Tenant) -> Result<Option<crate::domain::id::AccountId>, String> {
    match (&tenant.kind, tenant.organization()) {
        (TenantKind::Instance(instance), Some(_)) => {
            let unknown = || {
                format!(
                    "the account id of {} is not known, so it has no stored responses of its own",
                    tenant.label
                )
            };
            instance.account_id.map(Some).ok_or_else(unknown)
        }
        _ => Ok(None),
    }
}

/// Selects the entries of an endpoint.
pub(super) fn of_endpoint(selection: &mut Selection, proxy: &Proxy, value: &str) -> Result<(), String> {
    let snapshot = proxy.snapshot();
    let endpoint = snapshot.endpoints.iter().find(|endpoint| *endpoint.name == *value);
    let endpoint = endpoint.ok_or_else(|| {
        let names: Vec<_> = snapshot.endpoints.iter().map(|endpoint| &*endpoint.name).collect();
        format!("there is no endpoint `{value}`: use {}", names.join(", "))
    })?;
    selection.endpoint = Some(Arc::clone(&endpoint.name));
    Ok(())
}

/// Selects the entries whose path and query begin with `value`.
pub(super) fn below(selection: &mut Selection, value: &str) -> Result<(), String> {
    if !value.starts_with('/') {
        return Err(format!("`{value}` does not begin with `/`: write a path such as `/express/invoices`"));
    }
    value.clone_into(&mut selection.path_prefix);
    Ok(())
}
