//! The service of the admin plane: routing and access control.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use http::header::{ALLOW, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tower::Service;

use super::reply::{AdminResponse, POLICY};
use super::{api, entitlement, entries, history, purge, reload};
use crate::guard::{Blocked, Connection};
use crate::io::body::Body;
use crate::problem::Rejection;
use crate::proxy::Proxy;
use crate::reload::Reloader;

/// The service of one connection to the admin plane.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(super) proxy: Arc<Proxy>,
    pub(super) reloader: Arc<Reloader>,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) connection: Connection,
    pub(super) listener: Arc<str>,
    pub(super) scope: Scope,
}

/// The paths that a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All paths.
    All,
    /// Metrics and health only.
    MetricsOnly,
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
            Scope::MetricsOnly if !is_health && path != "/metrics" => AdminResponse::not_found(),
            Scope::All if path == "/api/reload" => self.reload(&head.method).await,
            Scope::MetricsOnly | Scope::All => self.route(head, path),
        };
        match reply {
            Ok(reply) => reply.into_response(&head.method),
            Err(allow) => {
                let message = format!("this path supports {allow}");
                let mut response =
                    AdminResponse::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &message)
                        .into_response(&head.method);
                response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
                response
            }
        }
    }

    async fn reload(&self, method: &Method) -> Result<AdminResponse, &'static str> {
        if *method != Method::POST {
            return Err("POST");
        }
        let reply = reload::reload(&self.reloader).await;
        self.audit_reload(&reply);
        Ok(reply)
    }

    /// The reply; for a method that the path does not support, the value of `Allow`.
    fn route(&self, head: &Parts, path: &str) -> Result<AdminResponse, &'static str> {
        let is_read = matches!(head.method, Method::GET | Method::HEAD);
        if path == "/api/cache" && head.method == Method::DELETE {
            let reply = purge::purge(&self.proxy, head.uri.query());
            self.audit_purge(head.uri.query(), &reply);
            return Ok(reply);
        }
        let reply = match path {
            "/" => AdminResponse::page(),
            "/livez" => AdminResponse::text(StatusCode::OK, "ok\n"),
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
                None => return AdminResponse::not_found(),
            },
        };
        if is_read { Ok(reply) } else { Err("GET, HEAD") }
    }

    /// Ready until shutdown begins. Problems with Talkdesk are reported in the text and do not change the status.
    fn ready(&self) -> AdminResponse {
        if self.stopping.load(Ordering::Relaxed) {
            return AdminResponse::text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
        }
        let failing = api::failing_credentials(&self.proxy);
        if failing.is_empty() {
            AdminResponse::text(StatusCode::OK, "ready\n")
        } else {
            AdminResponse::text(
                StatusCode::OK,
                &format!("ready, degraded: no token for {}\n", failing.join(", ")),
            )
        }
    }

    fn metrics(&self) -> AdminResponse {
        self.proxy.cache.tidy();
        for origin in self.proxy.snapshot().origins() {
            origin.tokens.show_state();
        }
        AdminResponse {
            status: StatusCode::OK,
            kind: "text/plain; version=0.0.4; charset=utf-8",
            policy: POLICY,
            body: self.proxy.metrics.text().into_bytes(),
        }
    }

    fn blocked(&self, blocked: Blocked) -> AdminResponse {
        let problem = Rejection::from(blocked).problem(None, StatusCode::FORBIDDEN);
        self.proxy.metrics.denied(problem.code.as_str());
        self.audit_rejected(problem.code.as_str());
        AdminResponse::error(
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
