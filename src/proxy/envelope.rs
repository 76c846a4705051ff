//! Wraps every request: request id, load shedding, metrics, access log and audit log. It is a tower service.
//!
//! It is one layer and not four, because separate layers would clone the request id and read the clock several times on the
//! path of a hit.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{CONNECTION, HeaderMap, HeaderValue, VARY, VIA};
use http::{Method, Request, Response};
use hyper::body::Incoming;
use tower::Service;

use super::answer::{Proxy, Reply};
use super::listener::Listener;
use super::request_context::RequestContext;
use super::request_log::RequestLog;
use crate::clock::Now;
use crate::guard::Connection;
use crate::headers::{CACHE_STATUS, OWN_VIA, SAME_FOR_ALL, X_REQUEST_ID, X_TENANT};
use crate::io::body::Body;
use crate::log::access_log::{AccessLog, Record};
use crate::log::audit::{AuditEvent, AuditSource};
use crate::metrics::{CacheResult, TenantMetrics, TenantOutcome};
use crate::oauth::grant::printable;
use crate::oauth::token_use::TokenUse;
use crate::problem::Rejection;
use crate::problem::response::problem_response;
use crate::snapshot::Snapshot;
use crate::version::NAME;

/// The service of one connection.
#[derive(Clone)]
pub struct Envelope(Arc<ConnectionContext>);

/// What the requests of a connection have in common. Reference-counted, because a service is cloned for each request.
struct ConnectionContext {
    proxy: Arc<Proxy>,
    connection: Connection,
    listener: Arc<Listener>,
    access_log: Option<AccessLog>,
}

/// What the log needs of a request head that was consumed.
struct RequestFacts {
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
        listener: Arc<Listener>,
        access_log: Option<AccessLog>,
    ) -> Self {
        Self(Arc::new(ConnectionContext { proxy, connection, listener, access_log }))
    }
}

impl ConnectionContext {
    fn handle(self: &Arc<Self>, request: Request<Incoming>) -> EnvelopeFuture {
        let snapshot = self.proxy.snapshot();
        let in_flight = InFlight::enter(&self.proxy);
        let facts = RequestFacts {
            at: self.proxy.clock.now(),
            method: request.method().clone(),
            path: self.access_log.as_ref().map(|_| request.uri().path().to_owned()).unwrap_or_default(),
            traceparent: self.access_log.as_ref().and_then(|_| text(request.headers().get("traceparent"))),
        };
        let mut log = RequestLog::new(request.headers());
        log.overloaded = in_flight.count > snapshot.config.server.max_requests_in_flight;
        let pending = match self.proxy.answer(&mut log, &snapshot, request, &self.context(&facts)) {
            Ok(Reply::Pending(pending)) => pending,
            Ok(Reply::Ready(response)) => {
                return EnvelopeFuture::Ready(Some(self.finish(Ok(response), &facts, log, &snapshot)));
            }
            Err(rejection) => {
                return EnvelopeFuture::Ready(Some(self.finish(Err(rejection), &facts, log, &snapshot)));
            }
        };
        let this = Arc::clone(self);
        EnvelopeFuture::Pending(Box::pin(async move {
            let context = this.context(&facts);
            let outcome = this.proxy.answer_later(&mut log, &snapshot, *pending, &context).await;
            let response = this.finish(outcome, &facts, log, &snapshot);
            drop(in_flight);
            response
        }))
    }

    fn context(&self, facts: &RequestFacts) -> RequestContext<'_> {
        RequestContext { listener: &self.listener, connection: self.connection, at: facts.at }
    }

    /// Completes the response, and records it in the metrics and the logs.
    fn finish(
        &self,
        outcome: Result<Response<Body>, Rejection>,
        facts: &RequestFacts,
        mut log: RequestLog,
        snapshot: &Snapshot,
    ) -> Response<Body> {
        let mut response = match outcome {
            Ok(response) => response,
            Err(rejection) => self.refuse(&rejection, &mut log, &facts.method, snapshot),
        };
        add_own_fields(response.headers_mut(), &log);
        if log.unread_body {
            // What follows on the connection could be the body, taken for a request (CVE-2025-4366).
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.observe(facts, &log, &response, snapshot);
        response
    }

    fn refuse(
        &self,
        rejection: &Rejection,
        log: &mut RequestLog,
        method: &Method,
        snapshot: &Snapshot,
    ) -> Response<Body> {
        if *rejection == Rejection::Internal {
            tracing::error!(request_id = %log.request_id, "an unforeseen failure");
        }
        log.upstream_request_id = rejection.upstream_request_id().map(Into::into);
        let tenant = log.tenant.as_ref().map(|tenant| &*tenant.label);
        let problem = rejection.problem(tenant, snapshot.config.server.denial_status);
        log.reason = Some(problem.code.as_str());
        log.outcome = if rejection.is_denial() { TenantOutcome::Denied } else { TenantOutcome::Error };
        if rejection.is_denial() {
            self.proxy.metrics.denied(problem.code.as_str());
        }
        problem_response(rejection, &problem, tenant, method, &log.request_id)
    }

    fn observe(
        &self,
        facts: &RequestFacts,
        log: &RequestLog,
        response: &Response<Body>,
        snapshot: &Snapshot,
    ) {
        let duration = self.proxy.clock.since(facts.at);
        let status = response.status();
        let endpoint_metrics = snapshot.endpoint_metrics(log.endpoint);
        endpoint_metrics.answered(status, log.result, duration.as_secs_f64());
        let ended =
            |tenant: &TenantMetrics| tenant.ended(log.outcome, facts.at.wall, endpoint_metrics, status);
        match (&log.tenant_metrics, &log.tenant) {
            (Some(tenant), _) => ended(tenant),
            (None, Some(tenant)) => ended(&snapshot.own_tenant_metrics(&tenant.name)),
            (None, None) => {}
        }
        let endpoint = log.endpoint.map(|position| Arc::clone(&snapshot.endpoints[position].name));
        if self.proxy.audit.is_on()
            && let Some(kind) = log.audited(endpoint.clone(), status)
        {
            let source = AuditSource {
                listener: Arc::clone(&self.listener.address),
                connection: self.connection,
                request_id: Some(log.request_id.clone()),
            };
            self.proxy.audit.write(AuditEvent { time: facts.at.wall, kind, source: Some(source) });
        }
        if let Some(access_log) = &self.access_log {
            access_log.write(Record {
                time: facts.at.wall,
                request_id: log.request_id.clone(),
                listener: Arc::clone(&self.listener.address),
                connection: self.connection,
                method: facts.method.clone(),
                path: facts.path.clone(),
                tenant: log.tenant.as_ref().map(|tenant| Arc::clone(&tenant.label)),
                endpoint,
                status,
                cache: log.result.as_str(),
                reason: log.reason,
                duration,
                // Another's fetch may have begun before this request came.
                upstream: log.exchange.upstream.min(duration),
                waited: log.exchange.waited,
                token: log.exchange.token.map(TokenUse::as_str),
                traceparent: facts.traceparent.clone(),
                upstream_request_id: log.upstream_request_id.clone(),
            });
        }
    }
}

impl Service<Request<Incoming>> for Envelope {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = EnvelopeFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        self.0.handle(request)
    }
}

/// A response that is complete, or that has to be waited for. A hit is complete and allocates no future.
pub enum EnvelopeFuture {
    /// `None` once it was taken.
    Ready(Option<Response<Body>>),
    /// Not complete.
    Pending(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

impl Future for EnvelopeFuture {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Ready(response) => {
                response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
            }
            Self::Pending(future) => future.as_mut().poll(context).map(Ok),
        }
    }
}

/// The fields that every response carries.
fn add_own_fields(fields: &mut HeaderMap, log: &RequestLog) {
    let cache_status =
        log.cache_status.map_or_else(|| HeaderValue::from_static(NAME), |status| status.value());
    fields.insert(X_REQUEST_ID, log.request_id.value().clone());
    fields.insert(CACHE_STATUS, cache_status);
    match &log.tenant {
        Some(tenant) => drop(fields.insert(X_TENANT, tenant.field.clone())),
        None => drop(fields.remove(X_TENANT)),
    }
    for (name, value) in SAME_FOR_ALL {
        fields.insert(name, value);
    }
    if !fields.contains_key(VIA) {
        fields.insert(VIA, HeaderValue::from_static(OWN_VIA));
    }
    if !log.tenant_in_path {
        fields.append(VARY, HeaderValue::from_static("X-Tenant"));
    }
    if let Some(rate) = log.exchange.rate.filter(|_| log.result != CacheResult::Collapsed) {
        rate.add_to(fields);
    }
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
