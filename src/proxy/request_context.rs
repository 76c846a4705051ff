//! The context of a request: where it came in, and when.

use super::listener::Listener;
use crate::clock::Now;
use crate::guard::Connection;

/// The context of a request.
pub struct RequestContext<'a> {
    /// The listener.
    pub listener: &'a Listener,
    /// The connection.
    pub connection: Connection,
    /// When its head arrived.
    pub at: Now,
}
