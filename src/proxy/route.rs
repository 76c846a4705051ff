//! The route of a request: its tenant and its endpoint, or an answer that needs neither.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

use super::index;
use super::listener::Listener;
use super::request_context::RequestContext;
use super::request_log::RequestLog;
use crate::domain::endpoint::Endpoint;
use crate::domain::learned::Learned;
use crate::domain::target;
use crate::domain::tenant::{Naming, Tenant, Unnamed};
use crate::headers::X_TENANT;
use crate::io::body::Body;
use crate::problem::Rejection;
use crate::snapshot::Snapshot;

/// Where a request leads.
pub(super) enum Routed<'a> {
    /// To an answer without data.
    Answered(Response<Body>),
    /// To data, if the tenant is entitled.
    To(Route<'a>),
}

/// What a request asks for, and for whom.
pub(super) struct Route<'a> {
    pub(super) tenant: Arc<Tenant>,
    pub(super) endpoint: &'a Arc<Endpoint>,
    /// The path upstream.
    pub(super) path: &'a str,
}

/// Finds the tenant and the endpoint of a request.
pub(super) fn route<'a>(
    log: &mut RequestLog,
    snapshot: &'a Snapshot,
    learned: &Learned,
    head: &'a Parts,
    context: &RequestContext<'_>,
) -> Result<Routed<'a>, Rejection> {
    let raw = path(head)?;
    let target = target::read(raw, &snapshot.endpoints).map_err(|reason| {
        let meant = target::probably_meant(raw, &snapshot.endpoints);
        meant.map_or(Rejection::InvalidTarget(reason.0), |meant| Rejection::SlashTooMany { meant })
    })?;
    log.tenant_in_path = target.prefix.is_some();
    let tenant = tenant_of(head, target.prefix, snapshot, learned, context.listener);
    if let Ok(tenant) = &tenant {
        log.tenant = Some(Arc::clone(tenant));
    }
    let Some(endpoint) = target.endpoint else {
        return index::answer(head, snapshot).map(Routed::Answered);
    };
    log.endpoint = Some(endpoint.position);
    if let Some(answer) = answer_by_method(&head.method, endpoint)? {
        return Ok(Routed::Answered(answer));
    }
    Ok(Routed::To(Route { tenant: tenant?, endpoint, path: target.path }))
}

/// The tenant that the request names.
fn tenant_of(
    head: &Parts,
    prefix: Option<&str>,
    snapshot: &Snapshot,
    learned: &Learned,
    listener: &Listener,
) -> Result<Arc<Tenant>, Rejection> {
    let mut fields = head.headers.get_all(X_TENANT).iter();
    let naming = Naming {
        prefix,
        field: fields.next().map(HeaderValue::as_bytes),
        field_repeated: fields.next().is_some(),
        default: listener.default_tenant(&snapshot.config.server),
    };
    let name = naming.resolve().map_err(Rejection::Unnamed)?;
    snapshot
        .tenant(&name, learned)
        .filter(|tenant| listener.serves(&tenant.name))
        .ok_or_else(|| Rejection::Unnamed(Unnamed::Unknown(name.to_string())))
}

fn path(head: &Parts) -> Result<&str, Rejection> {
    let target = &head.uri;
    if target.path().len() + target.query().map_or(0, str::len) > target::MAX_BYTES {
        return Err(Rejection::UriTooLong);
    }
    if head.method == Method::CONNECT {
        return Err(Rejection::InvalidTarget("CONNECT asks for a tunnel, and this proxy opens none"));
    }
    if head.method == Method::OPTIONS && target.path() == "*" {
        return Ok("/");
    }
    Ok(target.path())
}

/// `OPTIONS` is answered here; a method that the endpoint does not have is refused.
fn answer_by_method(method: &Method, endpoint: &Endpoint) -> Result<Option<Response<Body>>, Rejection> {
    if endpoint.methods.contains(method) {
        return Ok(None);
    }
    let allow = allow(endpoint);
    if *method != Method::OPTIONS {
        return Err(Rejection::MethodNotAllowed { allow: allow.into() });
    }
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    if let Ok(allow) = allow.parse() {
        response.headers_mut().insert(http::header::ALLOW, allow);
    }
    Ok(Some(response))
}

fn allow(endpoint: &Endpoint) -> String {
    let methods: Vec<_> = endpoint.methods.iter().map(Method::as_str).chain(["OPTIONS"]).collect();
    methods.join(", ")
}
