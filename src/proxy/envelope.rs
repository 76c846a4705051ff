//! Wraps every request: request id, load shedding, metrics, access log and audit log. It is a tower service and knows
//! nothing of what is inside.
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
use crate::log::audit;
use crate::metrics::{CacheResult, TenantMetrics, TenantOutcome};
use crate::oauth::grant::printable;
use crate::oauth::token_use::TokenUse;
use crate::problem::Rejection;
use crate::problem::response::problem_response;
use crate::snapshot::Snapshot;
use crate::version::NAME;

/// The service of one connection.
#[derive(Clone)]
pub struct Envelope(Arc<Wrapping>);

/// What the requests of a connection have in common. It is counted as one, because a service is cloned for each of
/// them.
struct Wrapping {
    proxy: Arc<Proxy>,
    connection: Connection,
    listener: Arc<Listener>,
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
        listener: Arc<Listener>,
        access_log: Option<AccessLog>,
    ) -> Self {
        Self(Arc::new(Wrapping { proxy, connection, listener, access_log }))
    }
}

impl Wrapping {
    fn handle(self: &Arc<Self>, request: Request<Incoming>) -> Answering {
        let snapshot = self.proxy.snapshot();
        let in_flight = InFlight::enter(&self.proxy);
        let asked = Asked {
            at: self.proxy.clock.now(),
            method: request.method().clone(),
            path: self.access_log.as_ref().map(|_| request.uri().path().to_owned()).unwrap_or_default(),
            traceparent: self.access_log.as_ref().and_then(|_| text(request.headers().get("traceparent"))),
        };
        let mut log = RequestLog::new(request.headers());
        log.overloaded = in_flight.count > snapshot.config.server.max_requests_in_flight;
        let pending = match self.proxy.answer(&mut log, &snapshot, request, &self.context(&asked)) {
            Ok(Reply::Pending(pending)) => pending,
            Ok(Reply::Ready(response)) => {
                return Answering::AtOnce(Some(self.finish(Ok(response), &asked, log, &snapshot)));
            }
            Err(rejection) => {
                return Answering::AtOnce(Some(self.finish(Err(rejection), &asked, log, &snapshot)));
            }
        };
        let this = Arc::clone(self);
        Answering::Later(Box::pin(async move {
            let context = this.context(&asked);
            let outcome = this.proxy.answer_later(&mut log, &snapshot, *pending, &context).await;
            let response = this.finish(outcome, &asked, log, &snapshot);
            drop(in_flight);
            response
        }))
    }

    fn context(&self, asked: &Asked) -> RequestContext<'_> {
        RequestContext { listener: &self.listener, connection: self.connection, at: asked.at }
    }

    /// The answer, with what every answer carries, counted and written down.
    fn finish(
        &self,
        outcome: Result<Response<Body>, Rejection>,
        asked: &Asked,
        mut log: RequestLog,
        snapshot: &Snapshot,
    ) -> Response<Body> {
        let mut response = match outcome {
            Ok(response) => response,
            Err(rejection) => self.refuse(&rejection, &mut log, &asked.method, snapshot),
        };
        add_own_fields(response.headers_mut(), &log);
        if log.unread_body {
            // What follows on the connection could be the body, taken for a request (CVE-2025-4366).
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.observe(asked, &log, &response, snapshot);
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

    fn observe(&self, asked: &Asked, log: &RequestLog, response: &Response<Body>, snapshot: &Snapshot) {
        let duration = self.proxy.clock.since(asked.at);
        let status = response.status();
        let counted = snapshot.endpoint_metrics(log.endpoint);
        counted.answered(status, log.result, duration.as_secs_f64());
        let ended = |tenant: &TenantMetrics| tenant.ended(log.outcome, asked.at.wall, counted, status);
        match (&log.tenant_metrics, &log.tenant) {
            (Some(tenant), _) => ended(tenant),
            (None, Some(tenant)) => ended(&snapshot.counted(&tenant.name)),
            (None, None) => {}
        }
        let endpoint = log.endpoint.map(|position| Arc::clone(&snapshot.endpoints[position].name));
        if self.proxy.audit.is_on()
            && let Some(what) = log.audited(endpoint.clone(), status)
        {
            let asked_by = audit::Asked {
                listener: Arc::clone(&self.listener.address),
                connection: self.connection,
                request_id: Some(log.request_id.clone()),
            };
            self.proxy.audit.write(audit::AuditEvent { time: asked.at.wall, what, asked: Some(asked_by) });
        }
        if let Some(access_log) = &self.access_log {
            access_log.write(Record {
                time: asked.at.wall,
                request_id: log.request_id.clone(),
                listener: Arc::clone(&self.listener.address),
                connection: self.connection,
                method: asked.method.clone(),
                path: asked.path.clone(),
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
                traceparent: asked.traceparent.clone(),
                upstream_request_id: log.upstream_request_id.clone(),
            });
        }
    }
}

impl Service<Request<Incoming>> for Envelope {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        self.0.handle(request)
    }
}

/// An answer, at once or later: what memory answers need not be kept anywhere until it is waited for.
pub enum Answering {
    /// It is there; none once it was taken.
    AtOnce(Option<Response<Body>>),
    /// It has to be waited for.
    Later(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

impl Future for Answering {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::AtOnce(response) => {
                response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
            }
            Self::Later(answering) => answering.as_mut().poll(context).map(Ok),
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
