//! Reads a request's body, up to a bound.
//!
//! Deliberately absent: a time limit; whoever sends slowly only keeps itself waiting.

use bytes::Bytes;
use http_body::Body;
use http_body_util::{BodyExt as _, Limited};

/// The largest body that is read.
pub(super) const LARGEST: usize = 64 * 1024;

/// The whole body; none where it is too large or breaks off.
pub(super) async fn read<B>(body: B) -> Option<Bytes>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let limited = Limited::new(body, LARGEST);
    Some(limited.collect().await.ok()?.to_bytes())
}
