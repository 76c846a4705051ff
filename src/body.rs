//! The body of a response, as one type without boxing.
//!
//! A body from memory is one shared buffer, or pieces of it with rewritten links between them. A body too large
//! for memory is streamed through a channel by the task that reads it. An error in the channel ends the connection
//! before the message is complete, so that no client takes a partial body for a complete one.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;

/// The body of a response.
#[derive(Debug)]
pub enum Body {
    /// No content.
    Empty,
    /// One buffer.
    Full(Bytes),
    /// Pieces of known total length.
    Pieces(std::vec::IntoIter<Bytes>, u64),
    /// A stream of unknown length. An empty piece ends it; if the channel closes without one, the body was cut
    /// off.
    Stream(mpsc::Receiver<Result<Bytes, CutOff>>),
}

/// The rest of a streamed body is not available.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer was cut off: {0}")]
pub struct CutOff(pub String);

impl Body {
    /// A body of several pieces.
    #[must_use]
    pub fn pieces(pieces: Vec<Bytes>) -> Self {
        let length = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self::Pieces(pieces.into_iter(), length)
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Full(bytes) }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let this = self.get_mut();
        match this {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *this = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Pieces(pieces, left) => {
                let piece = pieces.next();
                *left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
                Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
            }
            Self::Stream(receiver) => match receiver.poll_recv(context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Some(Ok(piece))) if piece.is_empty() => {
                    *this = Self::Empty;
                    Poll::Ready(None)
                }
                Poll::Ready(Some(piece)) => Poll::Ready(Some(piece.map(Frame::data))),
                Poll::Ready(None) => Poll::Ready(Some(Err(CutOff("its writer has gone".into())))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Pieces(_, left) => *left == 0,
            Self::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Pieces(_, left) => SizeHint::with_exact(*left),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn pieces_come_in_order_and_their_length_is_known() {
        let body = Body::pieces(vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c")]);
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(3));
        assert_eq!(body.collect().await.expect("whole").to_bytes(), "abc");
    }

    #[tokio::test]
    async fn a_stream_ends_with_an_empty_piece_and_not_with_its_writer() {
        let (sender, receiver) = mpsc::channel(2);
        sender.send(Ok(Bytes::from_static(b"ab"))).await.expect("there is room");
        sender.send(Ok(Bytes::new())).await.expect("there is room");
        assert_eq!(Body::Stream(receiver).collect().await.expect("whole").to_bytes(), "ab");
        let (sender, receiver) = mpsc::channel(2);
        sender.send(Ok(Bytes::from_static(b"ab"))).await.expect("there is room");
        drop(sender);
        assert!(Body::Stream(receiver).collect().await.is_err());
    }

    #[tokio::test]
    async fn a_cut_stream_is_an_error_and_not_an_end() {
        let (sender, receiver) = mpsc::channel(2);
        sender.send(Ok(Bytes::from_static(b"ab"))).await.expect("there is room");
        sender.send(Err(CutOff("reset".into()))).await.expect("there is room");
        assert!(Body::Stream(receiver).collect().await.is_err());
    }
}
