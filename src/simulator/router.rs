//! Sends each request to its part of the simulator: control, identity or API.
//!
//! Paths are compared as they came. Deliberately absent: decoding and normalising them, so that a caller who
//! sends another spelling finds nothing.

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;

use super::answer::{AnswerBody, BrokenOnPurpose, Outcome};
use super::control::Control;
use super::world::World;
use super::{api, control_paths, identity, request_body};

/// Answers one request; the error makes hyper break the connection.
pub(super) async fn answer(
    world: Arc<World>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, BrokenOnPurpose> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let outcome = if path.starts_with("/_simulator/") {
        let body = request_body::read(body).await;
        Outcome::Whole(control_paths::answer(&Control::new(Arc::clone(&world)), &parts, body))
    } else if let Some(account) = identity::account_of(path).map(str::to_owned) {
        let body = request_body::read(body).await;
        identity::answer(&world, parts, &account, body).await
    } else {
        api::answer(&world, parts).await
    };
    outcome.into_response(world.clock.now())
}
