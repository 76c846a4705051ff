//! From the head of a request to a permit: the steps that depend only on its target, `Host` and `X-Tenant`. Their result is
//! remembered ([`super::routes`]), so most requests do not take them.

use std::sync::Arc;

use http::request::Parts;
use http::{Method, Response, StatusCode};

use super::entrance::Entrance;
use super::index;
use super::rejection::Rejection;
use super::request_log::RequestLog;
use super::routes::Route;
use super::snapshot::Snapshot;
use super::{LONGEST_TARGET, Proxy, RequestContext};
use crate::body::Body;
use crate::clock::Now;
use crate::config::Rule;
use crate::domain::endpoint::Endpoint;
use crate::domain::entitlement::{self, Ask as AccessRequest, Permit};
use crate::domain::target;
use crate::domain::tenant::{Naming, Tenant, Unnamed};
use crate::prepared_head::X_TENANT;

/// Where a request leads: to an answer without data, or to data.
pub(super) enum Led {
    Answered(Response<Body>),
    To(Arc<Route>),
}

impl Proxy {
    /// Where a request leads, where that is not known: the steps from its target to a permit.
    pub(super) fn lead(
        self: &Arc<Self>,
        log: &mut RequestLog,
        snapshot: &Arc<Snapshot>,
        head: &Parts,
        context: &RequestContext<'_>,
    ) -> Result<Led, Rejection> {
        let raw = path(head)?;
        let target = target::read(raw, &snapshot.endpoints).map_err(|reason| {
            let meant = target::probably_meant(raw, &snapshot.endpoints);
            meant.map_or(Rejection::InvalidTarget(reason.0), |meant| Rejection::SlashTooMany { meant })
        })?;
        log.bare = target.prefix.is_none();
        let tenant = self.tenant(head, target.prefix, snapshot, context.entrance);
        if let Ok(tenant) = &tenant {
            log.tenant = Some(Arc::clone(tenant));
        }
        let Some(endpoint) = target.endpoint else { return index::answer(head, snapshot).map(Led::Answered) };
        log.endpoint = Some(endpoint.position);
        if let Some(answer) = method_is_answered(&head.method, endpoint)? {
            return Ok(Led::Answered(answer));
        }
        let permit = self.authorize(&tenant?, endpoint, target.path, head, snapshot, context.at)?;
        let origin = snapshot.origin(&permit.credential().key).ok_or(Rejection::Internal)?;
        let base = links_base(head, snapshot, target.prefix);
        let counted = snapshot.counted(&permit.tenant().name);
        Ok(Led::To(Arc::new(Route::new(permit, Arc::clone(origin), base, log.bare, counted))))
    }

    /// Who the request is for.
    fn tenant(
        &self,
        head: &Parts,
        prefix: Option<&str>,
        snapshot: &Snapshot,
        entrance: &Entrance,
    ) -> Result<Arc<Tenant>, Rejection> {
        let mut fields = head.headers.get_all(X_TENANT).iter();
        let naming = Naming {
            prefix,
            field: fields.next().map(http::HeaderValue::as_bytes),
            field_repeated: fields.next().is_some(),
            default: entrance.default_tenant(&snapshot.config.server),
        };
        let name = naming.resolve().map_err(Rejection::Unnamed)?;
        snapshot
            .tenant(&name, &self.learned)
            .filter(|tenant| entrance.knows(&tenant.name))
            .ok_or_else(|| Rejection::Unnamed(Unnamed::Unknown(name.to_string())))
    }

    /// Whether the tenant may ask for this: the only way to a [`Permit`].
    fn authorize(
        self: &Arc<Self>,
        tenant: &Arc<Tenant>,
        endpoint: &Arc<Endpoint>,
        path: &str,
        head: &Parts,
        snapshot: &Arc<Snapshot>,
        now: Now,
    ) -> Result<Permit, Rejection> {
        let plain = *snapshot.rule(endpoint) == Rule::Plain;
        let asked = AccessRequest { endpoint, method: &head.method, path, query: head.uri.query(), plain };
        let policy = &snapshot.config.policy;
        let permit = entitlement::authorize(tenant, &asked, policy, &self.learned, now.monotonic)
            .map_err(Rejection::Denied)?;
        if let Some(organization) = permit.reread_accounts() {
            self.discover(snapshot, organization);
        }
        Ok(permit)
    }
}

fn path(head: &Parts) -> Result<&str, Rejection> {
    let target = &head.uri;
    if target.path().len() + target.query().map_or(0, str::len) > LONGEST_TARGET {
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

/// `OPTIONS` is answered here; another method that the endpoint does not know is refused.
fn method_is_answered(method: &Method, endpoint: &Endpoint) -> Result<Option<Response<Body>>, Rejection> {
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

/// What links begin with: the base that the client used, and the tenant's prefix where it used one.
fn links_base(head: &Parts, snapshot: &Snapshot, prefix: Option<&str>) -> crate::page::links::Base {
    if let Some(public_url) = &snapshot.config.server.public_url {
        return crate::page::links::Base::new(public_url, prefix);
    }
    // The guard has made sure that there is one Host, of harmless characters.
    let host = head.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    crate::page::links::Base::here(host.unwrap_or_default(), prefix)
}
