//! The admin plane: metrics, health, and the state of the proxy, for the operator.
//!
//! It has its own listener, so that clients of the data plane can't reach it. An optional third listener serves
//! only metrics and health, for networks that may scrape but not see the rest.
//!
//! Health covers only this process: an outage of Talkdesk must not cause a restart of a healthy proxy.

mod api;
mod audit;
mod entitlement;
mod entries;
mod failing;
mod history;
mod page;
mod parameters;
mod purge;
mod reload;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue,
};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tower::Service;

use crate::guard::{Blocked, Connection};
use crate::io::body::Body;
use crate::problem::Rejection;
use crate::proxy::Proxy;
use crate::reload::Reloader;

/// The service of one connection to the admin plane.
#[derive(Clone)]
pub(crate) struct Admin {
    proxy: Arc<Proxy>,
    reloader: Arc<Reloader>,
    stopping: Arc<AtomicBool>,
    connection: Connection,
    listener: Arc<str>,
    scope: Scope,
}

/// The paths that a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All paths.
    All,
    /// Metrics and health only.
    MetricsOnly,
}

/// A response before it is converted to HTTP.
struct Reply {
    status: StatusCode,
    kind: &'static str,
    policy: &'static str,
    body: Vec<u8>,
}

impl Admin {
    /// The service of a connection to the listener at address `listener`. `stopping` is set when shutdown begins.
    #[must_use]
    pub(crate) fn new(
        proxy: Arc<Proxy>,
        reloader: Arc<Reloader>,
        stopping: Arc<AtomicBool>,
        connection: Connection,
        listener: Arc<str>,
        scope: Scope,
    ) -> Self {
        Self { proxy, reloader, stopping, connection, listener, scope }
    }

    async fn handle(&self, head: &Parts) -> Response<Body> {
        let path = head.uri.path();
        // Orchestrators send health checks to an address, with any `Host`.
        let is_health = matches!(path, "/livez" | "/readyz");
        let snapshot = self.proxy.snapshot();
        let admitted = if is_health {
            snapshot.guard.peer(self.connection)
        } else {
            snapshot.guard.admit(head, self.connection, path == "/")
        };
        if let Err(blocked) = admitted {
            return self.blocked(blocked).into_response(&head.method);
        }
        let reply = match self.scope {
            Scope::MetricsOnly if !is_health && path != "/metrics" => Reply::not_found(),
            Scope::All if path == "/api/reload" => self.reload(&head.method).await,
            Scope::MetricsOnly | Scope::All => self.route(head, path),
        };
        match reply {
            Ok(reply) => reply.into_response(&head.method),
            Err(allow) => {
                let message = format!("this path supports {allow}");
                let mut response =
                    Reply::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &message)
                        .into_response(&head.method);
                response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
                response
            }
        }
    }

    async fn reload(&self, method: &Method) -> Result<Reply, &'static str> {
        if *method != Method::POST {
            return Err("POST");
        }
        let reply = reload::reload(&self.reloader).await;
        self.audit_reload(&reply);
        Ok(reply)
    }

    /// The reply; for a method that the path does not support, the value of `Allow`.
    fn route(&self, head: &Parts, path: &str) -> Result<Reply, &'static str> {
        let is_read = matches!(head.method, Method::GET | Method::HEAD);
        if path == "/api/cache" && head.method == Method::DELETE {
            let reply = purge::purge(&self.proxy, head.uri.query());
            self.audit_purge(head.uri.query(), &reply);
            return Ok(reply);
        }
        let reply = match path {
            "/" => Reply::page(),
            "/livez" => Reply::text(StatusCode::OK, "ok\n"),
            "/readyz" => self.ready(),
            "/metrics" => self.metrics(),
            "/api/tenants" => api::tenants(&self.proxy),
            "/api/status" => history::status(&self.proxy),
            "/api/history" => history::history(&self.proxy, head.uri.query()),
            "/api/credentials" => api::credentials(&self.proxy),
            "/api/cache" if is_read => api::cache(&self.proxy),
            "/api/cache" => return Err("GET, HEAD, DELETE"),
            "/api/cache/entries" => entries::entries(&self.proxy, head.uri.query()),
            _ => match entitlement::tenant_of(path) {
                Some(tenant) => entitlement::entitlement(&self.proxy, tenant, head.uri.query()),
                None => return Reply::not_found(),
            },
        };
        if is_read { Ok(reply) } else { Err("GET, HEAD") }
    }

    /// Ready until shutdown begins. Problems with Talkdesk are reported in the text and do not change the status.
    fn ready(&self) -> Reply {
        if self.stopping.load(Ordering::Relaxed) {
            return Reply::text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
        }
        let failing = api::failing_credentials(&self.proxy);
        if failing.is_empty() {
            Reply::text(StatusCode::OK, "ready\n")
        } else {
            Reply::text(StatusCode::OK, &format!("ready, degraded: no token for {}\n", failing.join(", ")))
        }
    }

    fn metrics(&self) -> Reply {
        self.proxy.cache.tidy();
        for origin in self.proxy.snapshot().origins() {
            origin.tokens.show_state();
        }
        Reply {
            status: StatusCode::OK,
            kind: "text/plain; version=0.0.4; charset=utf-8",
            policy: POLICY,
            body: self.proxy.metrics.text().into_bytes(),
        }
    }

    fn blocked(&self, blocked: Blocked) -> Reply {
        let problem = Rejection::from(blocked).problem(None, StatusCode::FORBIDDEN);
        self.proxy.metrics.denied(problem.code.as_str());
        self.audit_rejected(problem.code.as_str());
        Reply::error(
            problem.status,
            problem.code.as_str(),
            &format!("{} {}", problem.message, problem.remedy),
        )
    }
}

impl Service<Request<Incoming>> for Admin {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let this = self.clone();
        let (head, _) = request.into_parts();
        Box::pin(async move { Ok(this.handle(&head).await) })
    }
}

impl Reply {
    fn json(status: StatusCode, value: &serde_json::Value) -> Self {
        let mut body = serde_json::to_vec_pretty(value).unwrap_or_default();
        body.push(b'\n');
        Self { status, kind: "application/json", policy: POLICY, body }
    }

    /// JSON without whitespace, for long responses.
    fn compact(value: &serde_json::Value) -> Self {
        let body = value.to_string().into_bytes();
        Self { status: StatusCode::OK, kind: "application/json", policy: POLICY, body }
    }

    fn error(status: StatusCode, code: &str, message: &str) -> Self {
        let problem = serde_json::json!({
            "type": format!("urn:billing-insights-proxy:problem:{code}"),
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "code": code,
            "detail": message,
        });
        Self { kind: "application/problem+json", ..Self::json(status, &problem) }
    }

    #[expect(clippy::unnecessary_wraps, reason = "one arm of a match whose others can fail")]
    fn not_found() -> Result<Self, &'static str> {
        Ok(Self::error(
            StatusCode::NOT_FOUND,
            "not_found",
            "this path does not exist; see /, /metrics, /livez, /readyz, /api/status, /api/history, /api/tenants, /api/credentials, /api/cache, /api/cache/entries and /api/reload",
        ))
    }

    fn text(status: StatusCode, text: &str) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", policy: POLICY, body: text.as_bytes().to_vec() }
    }

    fn page() -> Self {
        Self {
            status: StatusCode::OK,
            kind: "text/html; charset=utf-8",
            policy: &page::POLICY,
            body: page::PAGE.as_bytes().to_vec(),
        }
    }

    fn into_response(self, method: &Method) -> Response<Body> {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = self.status;
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        fields.insert(CONTENT_LENGTH, self.body.len().into());
        for (name, value) in OWN_FIELDS {
            fields.insert(name, HeaderValue::from_static(value));
        }
        fields.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(self.policy));
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if *method != Method::HEAD {
            *response.body_mut() = Body::Full(self.body.into());
        }
        response
    }
}

/// Fields that prevent browsers from reinterpreting or embedding a response.
const OWN_FIELDS: [(&str, &str); 3] = [
    ("x-content-type-options", "nosniff"),
    ("cross-origin-resource-policy", "same-origin"),
    ("x-frame-options", "DENY"),
];

/// The Content-Security-Policy of responses that are not a page: nothing is allowed.
const POLICY: &str = "default-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";
