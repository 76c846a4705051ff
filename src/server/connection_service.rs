//! What serves the requests of one connection.

use std::convert::Infallible;

use http::{Request, Response};
use hyper::body::Incoming;

use crate::io::body::Body;

/// The service that answers the requests of one connection.
///
/// `poll_ready` must always be ready, and is not called: a service without capacity says so in its response.
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
