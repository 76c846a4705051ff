//! The body of a response, as one type without boxing: one shared buffer, or pieces of it with rewritten links between them.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// The body of a response.
#[derive(Debug)]
pub enum Body {
    /// No content.
    Empty,
    /// One buffer.
    Full(Bytes),
    /// Pieces of known total length.
    Pieces(std::vec::IntoIter<Bytes>, u64),
}

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
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let piece = match this {
            Self::Empty => None,
            Self::Full(bytes) => Some(std::mem::take(bytes)),
            Self::Pieces(pieces, left) => {
                let piece = pieces.next();
                *left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
                piece
            }
        };
        if let Self::Full(_) = this {
            *this = Self::Empty;
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Pieces(_, left) => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Empty => 0,
            Self::Full(bytes) => bytes.len() as u64,
            Self::Pieces(_, left) => *left,
        })
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn pieces_come_in_order_and_their_length_is_known() {
        let body = Body::pieces(vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c")]);
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(3));
        assert_eq!(body.collect().await.expect("whole").to_bytes(), "abc");
    }
}
