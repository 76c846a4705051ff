//! What the simulator sends: a reply held whole, and the body type that can also break off.
//!
//! Deliberately absent: what a reply says. The `Date` field follows the injected clock, so that ages computed
//! from it agree with the time that a test set.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderName};
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

use crate::clock::Now;

/// A response whose body is in memory.
pub(super) type Reply = Response<Bytes>;

/// What becomes of a request.
pub(super) enum Outcome {
    /// The reply is sent as it is.
    Whole(Reply),
    /// The head promises the whole body, half of it is sent, and the connection breaks.
    CutOff(Reply),
    /// The connection breaks before a byte of an answer.
    Dropped,
}

/// Why a connection ended early.
#[derive(Debug, thiserror::Error)]
#[error("the connection is broken on purpose")]
pub(super) struct BrokenOnPurpose;

impl From<Infallible> for BrokenOnPurpose {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// A body that is sent to its end, or breaks off after what it has.
pub(super) struct AnswerBody {
    data: Option<Bytes>,
    breaking: Option<Breaking>,
}

#[derive(Clone, Copy)]
enum Breaking {
    /// The connection gets one more turn, in which it writes out what it has buffered.
    AfterFlush,
    Now,
}

/// A reply with a body and its type.
pub(super) fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// A reply of JSON text.
pub(super) fn json(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    reply(status, "application/json", body)
}

/// Sets a field; a text that can't stand in one is left out.
pub(super) fn set_field(reply: &mut Reply, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        reply.headers_mut().insert(name, value);
    }
}

impl Outcome {
    /// The reply, where there is one.
    pub(super) fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Whole(reply) | Self::CutOff(reply) => Some(reply),
            Self::Dropped => None,
        }
    }

    /// As hyper sends it; an error makes it drop the connection.
    pub(super) fn into_response(self, now: Now) -> Result<Response<AnswerBody>, BrokenOnPurpose> {
        let (mut reply, whole) = match self {
            Self::Whole(reply) => (reply, true),
            Self::CutOff(reply) => (reply, false),
            Self::Dropped => return Err(BrokenOnPurpose),
        };
        set_field(&mut reply, DATE, &httpdate::fmt_http_date(now.wall));
        if whole {
            return Ok(reply.map(|data| AnswerBody { data: Some(data), breaking: None }));
        }
        let promised = reply.body().len().max(2);
        set_field(&mut reply, CONTENT_LENGTH, &promised.to_string());
        Ok(reply.map(|data| {
            let half = data.slice(..data.len() / 2);
            AnswerBody { data: Some(half), breaking: Some(Breaking::AfterFlush) }
        }))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BrokenOnPurpose;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOnPurpose>>> {
        if let Some(data) = self.data.take().filter(|data| !data.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match self.breaking {
            None => Poll::Ready(None),
            Some(Breaking::Now) => Poll::Ready(Some(Err(BrokenOnPurpose))),
            Some(Breaking::AfterFlush) => {
                self.breaking = Some(Breaking::Now);
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.breaking.is_none() && self.data.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        match self.breaking {
            None => SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64)),
            Some(_) => SizeHint::default(),
        }
    }
}
