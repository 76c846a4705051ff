//! The service of one connection.

use std::convert::Infallible;

use http::{Request, Response};
use hyper::body::Incoming;

use crate::io::body::Body;

/// The service for the requests of one connection.
///
/// `poll_ready` must always be ready, and is not called: a service without capacity reports this in its response.
pub trait ConnectionService:
    tower::Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> ConnectionService for S where
    S: tower::Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}
