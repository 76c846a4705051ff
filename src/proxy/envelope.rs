//! What wraps every request, whoever asks and whatever for: its name, the number of requests at once, and what
//! is counted and written about it. A tower service, because none of this needs to know what is inside.
//!
//! It is one layer and not four: between them they would clone the request's name and read the clock several
//! times, on the path that a hit takes.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue,
    RETRY_AFTER, VARY,
};
use http::{Method, Request, Response};
use hyper::body::Incoming;
use tower::Service;

use super::Proxy;
use super::entrance::Entrance;
use super::headers::{
    CACHE_STATUS, CROSS_ORIGIN_RESOURCE_POLICY, NAME, OWN_VIA, PROXY_STATUS, X_TENANT, proxy_status,
    retry_after,
};
use super::rejection::Rejection;
use super::snapshot::Snapshot;
use super::visit::Visit;
use crate::access_log::{AccessLog, Record};
use crate::audit;
use crate::body::Body;
use crate::clock::Now;
use crate::guard::Connection;
use crate::metrics::{CacheResult, TenantOutcome};
use crate::oauth::grant::printable;
use crate::oauth::token_use::TokenUse;
use crate::request_id::{RequestId, X_REQUEST_ID};

/// The service of one connection.
#[derive(Clone)]
pub struct Envelope(Arc<Wrapping>);

/// What the requests of a connection have in common. It is counted as one, because a service is cloned for each of
/// them.
struct Wrapping {
    proxy: Arc<Proxy>,
    connection: Connection,
    entrance: Arc<Entrance>,
    access_log: Option<AccessLog>,
}

/// What is kept of a request's head to be written down.
struct Asked {
    at: Now,
    method: Method,
    path: String,
    traceparent: Option<String>,
}

impl Envelope {
    /// The service of a connection.
    #[must_use]
    pub fn new(
        proxy: Arc<Proxy>,
        connection: Connection,
        entrance: Arc<Entrance>,
        access_log: Option<AccessLog>,
    ) -> Self {
        Self(Arc::new(Wrapping { proxy, connection, entrance, access_log }))
    }
}

impl Wrapping {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let snapshot = self.proxy.snapshot();
        let in_flight = InFlight::enter(&self.proxy);
        let asked = Asked {
            at: self.proxy.clock.now(),
            method: request.method().clone(),
            path: self.access_log.as_ref().map(|_| request.uri().path().to_owned()).unwrap_or_default(),
            traceparent: self.access_log.as_ref().and_then(|_| text(request.headers().get("traceparent"))),
        };
        let mut visit = Visit::new(RequestId::of(request.headers()));
        visit.overloaded = in_flight.count > snapshot.config.server.max_requests_in_flight;
        let outcome =
            self.proxy.answer(&mut visit, &snapshot, request, self.connection, &self.entrance).await;
        let mut response = match outcome {
            Ok(response) => response,
            Err(rejection) => self.refuse(&rejection, &mut visit, &asked.method, &snapshot),
        };
        add_own_fields(response.headers_mut(), &visit);
        if visit.unread_body {
            // What follows on the connection could be the body, taken for a request (CVE-2025-4366).
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.observe(&asked, &visit, &response, &snapshot);
        response
    }

    fn refuse(
        &self,
        rejection: &Rejection,
        visit: &mut Visit,
        method: &Method,
        snapshot: &Snapshot,
    ) -> Response<Body> {
        let tenant = visit.tenant.as_ref().map(|tenant| &*tenant.label);
        let told = rejection.told(tenant, snapshot.config.server.denial_status);
        let body = rejection.body(&told, &visit.request_id, tenant);
        visit.reason = Some(told.code);
        visit.upstream_request_id = rejection.upstream_request_id().map(Into::into);
        visit.outcome = if rejection.is_denial() { TenantOutcome::Denied } else { TenantOutcome::Error };
        if rejection.is_denial() {
            self.proxy.metrics.denied(told.code);
        }
        if *rejection == Rejection::Internal {
            tracing::error!(request_id = %visit.request_id, "an unforeseen failure");
        }
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = told.status;
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        fields.insert(CONTENT_LENGTH, body.len().into());
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        fields.insert(PROXY_STATUS, proxy_status(told.proxy_error, told.code));
        if let Some(wait) = told.retry_in {
            fields.insert(RETRY_AFTER, retry_after(wait));
        }
        if let Rejection::MethodNotAllowed { allow } = rejection
            && let Ok(allow) = HeaderValue::from_str(allow)
        {
            fields.insert(ALLOW, allow);
        }
        if let Rejection::RangeNotSatisfiable { length } = rejection
            && let Ok(range) = HeaderValue::try_from(format!("bytes */{length}"))
        {
            fields.insert(CONTENT_RANGE, range);
        }
        if *method != Method::HEAD {
            *response.body_mut() = Body::Full(body.into());
        }
        response
    }

    fn observe(&self, asked: &Asked, visit: &Visit, response: &Response<Body>, snapshot: &Snapshot) {
        let duration = self.proxy.clock.since(asked.at);
        let status = response.status();
        let counted = snapshot.endpoint_metrics(visit.endpoint);
        counted.answered(status, visit.result, duration.as_secs_f64());
        if let Some(tenant) = &visit.tenant {
            snapshot.tenant_metrics(&tenant.name).ended(visit.outcome);
        }
        let endpoint = visit.endpoint.map(|position| Arc::clone(&snapshot.endpoints[position].name));
        if self.proxy.audit.is_on()
            && let Some(what) = visit.audited(endpoint.clone(), status)
        {
            let asked_by = audit::Asked {
                listener: Arc::clone(&self.entrance.address),
                connection: self.connection,
                request_id: Some(visit.request_id.clone()),
            };
            self.proxy.audit.write(audit::Event { time: asked.at.wall, what, asked: Some(asked_by) });
        }
        if let Some(access_log) = &self.access_log {
            access_log.write(Record {
                time: asked.at.wall,
                request_id: visit.request_id.clone(),
                listener: Arc::clone(&self.entrance.address),
                connection: self.connection,
                method: asked.method.clone(),
                path: asked.path.clone(),
                tenant: visit.tenant.as_ref().map(|tenant| Arc::clone(&tenant.label)),
                endpoint,
                status,
                cache: visit.result.as_str(),
                reason: visit.reason,
                duration,
                upstream: visit.upstream,
                waited: visit.waited,
                token: visit.token.map(TokenUse::as_str),
                traceparent: asked.traceparent.clone(),
                upstream_request_id: visit.upstream_request_id.clone(),
            });
        }
    }
}

impl Service<Request<Incoming>> for Envelope {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let Self(this) = self.clone();
        Box::pin(async move { Ok(this.handle(request).await) })
    }
}

/// The fields that every answer carries.
fn add_own_fields(fields: &mut HeaderMap, visit: &Visit) {
    fields.insert(X_REQUEST_ID, visit.request_id.value().clone());
    if let Some(tenant) = &visit.tenant
        && let Ok(label) = HeaderValue::from_str(&tenant.label)
    {
        fields.insert(X_TENANT, label);
    }
    if visit.bare {
        fields.append(VARY, HeaderValue::from_static("X-Tenant"));
    }
    let status = visit.status.map_or_else(|| HeaderValue::from_static(NAME), |status| status.value());
    fields.insert(CACHE_STATUS, status);
    if let Some(rate) = visit.rate.filter(|_| visit.result != CacheResult::Collapsed) {
        rate.add_to(fields);
    }
    if !fields.contains_key(http::header::VIA) {
        fields.insert(http::header::VIA, HeaderValue::from_static(OWN_VIA));
    }
    fields.insert(http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    fields.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
}

/// Counts a request for as long as it is being answered.
struct InFlight {
    proxy: Arc<Proxy>,
    count: usize,
}

impl InFlight {
    fn enter(proxy: &Arc<Proxy>) -> Self {
        let count = proxy.enter();
        Self { proxy: Arc::clone(proxy), count }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.proxy.leave();
    }
}

/// The value of a field, for a log line.
fn text(value: Option<&HeaderValue>) -> Option<String> {
    value.and_then(|value| value.to_str().ok()).map(printable)
}
