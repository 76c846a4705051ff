//! The answer at `/`: the endpoints, and the ways to name a tenant. Also the answer for a path that names no endpoint.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, Response};
use serde::Serialize;

use crate::domain::target::probably_meant;
use crate::io::body::Body;
use crate::problem::Rejection;
use crate::snapshot::Snapshot;

#[derive(Serialize)]
struct Index {
    name: &'static str,
    version: &'static str,
    endpoints: Vec<Listed>,
    tenant: [&'static str; 3],
    documentation: &'static str,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    path: String,
    methods: Vec<String>,
    example: String,
}

/// The listing for `/`, or a refusal that names the path that was probably meant.
///
/// # Errors
/// [`Rejection::UnknownEndpoint`], [`Rejection::MethodNotAllowed`]
pub fn answer(head: &Parts, snapshot: &Snapshot) -> Result<Response<Body>, Rejection> {
    let path = head.uri.path();
    if head.method == Method::OPTIONS && matches!(path, "*" | "/") {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = http::StatusCode::NO_CONTENT;
        response.headers_mut().insert(http::header::ALLOW, HeaderValue::from_static(ALLOW));
        return Ok(response);
    }
    if path != "/" {
        return Err(Rejection::UnknownEndpoint { meant: probably_meant(path, &snapshot.endpoints) });
    }
    if head.method != Method::GET && head.method != Method::HEAD {
        return Err(Rejection::MethodNotAllowed { allow: ALLOW.into() });
    }
    let listing = serde_json::to_vec_pretty(&listing(snapshot)).map_err(|_| Rejection::Internal)?;
    let mut response = Response::new(Body::Empty);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CONTENT_LENGTH, listing.len().into());
    if head.method == Method::GET {
        *response.body_mut() = Body::Full(listing.into());
    }
    Ok(response)
}

const ALLOW: &str = "GET, HEAD, OPTIONS";

fn listing(snapshot: &Snapshot) -> Index {
    let endpoints = snapshot.endpoints.iter().map(|endpoint| {
        let path = endpoint.path.display();
        Listed {
            name: endpoint.name.to_string(),
            methods: endpoint.methods.iter().map(ToString::to_string).collect(),
            example: format!("/organizations/{{id}}{path}"),
            path,
        }
    });
    Index {
        name: crate::version::NAME,
        version: env!("CARGO_PKG_VERSION"),
        endpoints: endpoints.collect(),
        tenant: [
            "path prefix: /organizations/{id}/express/... or /instances/{account name}/express/...",
            "field: X-Tenant: organizations/{id} or X-Tenant: instances/{account name}",
            "server.default_tenant of the configuration",
        ],
        documentation: "README.md of billing-insights-proxy",
    }
}
