//! `GET /api/tenants/{organizations|instances}/{name}/entitlement?path=…`: explains an entitlement decision.

use http::StatusCode;

use super::reply::AdminResponse;
use crate::domain::tenant::TenantName;
use crate::explain::{explain, not_explained};
use crate::proxy::Proxy;

/// The tenant's name in the path of this endpoint.
pub(super) fn tenant_of(path: &str) -> Option<&str> {
    path.strip_prefix("/api/tenants/")?.strip_suffix("/entitlement")
}

pub(super) fn entitlement(proxy: &Proxy, tenant: &str, query: Option<&str>) -> AdminResponse {
    let snapshot = proxy.snapshot();
    let found = tenant.parse::<TenantName>().ok().and_then(|name| snapshot.tenant(&name, &proxy.learned));
    let Some(tenant) = found else {
        let message = "there is no such tenant; /api/tenants lists them";
        return AdminResponse::error(StatusCode::NOT_FOUND, "unknown_tenant", message);
    };
    let mut parameters = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let (Some((name, path)), None) = (parameters.next(), parameters.next()) else {
        let message = "write ?path= with a path of the data plane, as ?path=/express/invoices";
        return AdminResponse::error(StatusCode::BAD_REQUEST, "parameter_not_allowed", message);
    };
    if name != "path" {
        let message = format!("found the parameter {name:?}; write path");
        return AdminResponse::error(StatusCode::BAD_REQUEST, "parameter_not_allowed", &message);
    }
    let now = proxy.clock.now().monotonic;
    match explain(&snapshot.config, &proxy.learned, &tenant, &path, now) {
        Ok(explanation) => AdminResponse::json(StatusCode::OK, &explanation.json()),
        Err(rejection) => {
            let (status, code, message) = not_explained(&rejection);
            AdminResponse::error(status, code, &message)
        }
    }
}
