//! A body that is read while it grows: whoever fetches it appends to it, and one reader follows from the beginning at a
//! pace of his own.
//!
//! A reader that is slow, or gone, holds nobody up: what he has not read yet is what is held to be kept anyway. Nor
//! does a body that comes in pieces of a byte cost him more than its length, since he takes what is there as one piece.
//! A body whose writer leaves before it has said how it ends is cut off, and never at its end.
//!
//! Deliberately absent: a second reader, and a bound (the writer stops at `cache.max_entry_bytes`).

use bytes::{Bytes, BytesMut};
use tokio::sync::{oneshot, watch};

use super::receive::Receiving;
use crate::body::CutOff;
use crate::limit::gate::Pass;

/// How much a reader takes at a time.
const AT_ONCE: usize = 64 * 1024;

/// The end that writes.
pub struct Growing {
    body: watch::Sender<SoFar>,
    beyond: oneshot::Sender<Beyond>,
}

/// The end that reads.
pub struct Reader {
    body: watch::Receiver<SoFar>,
    beyond: oneshot::Receiver<Beyond>,
    read: usize,
}

/// What follows what is held: the rest from upstream itself, with its place among the requests in flight.
pub type Beyond = (Receiving, Pass);

/// What a reader comes to.
pub enum Next {
    /// More of it.
    Piece(Bytes),
    /// Its end.
    End,
    /// The end of what is held.
    Beyond(Box<Beyond>),
}

enum SoFar {
    Growing(BytesMut),
    Whole(Bytes),
    /// It goes on where the reader has to read it for himself.
    HandedOver(BytesMut),
}

impl SoFar {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Growing(bytes) | Self::HandedOver(bytes) => bytes,
            Self::Whole(bytes) => bytes,
        }
    }

    fn is_ended(&self) -> bool {
        matches!(self, Self::Whole(_) | Self::HandedOver(_))
    }

    fn piece(&self, read: usize) -> Bytes {
        let end = self.bytes().len().min(read + AT_ONCE);
        match self {
            Self::Growing(bytes) | Self::HandedOver(bytes) => Bytes::copy_from_slice(&bytes[read..end]),
            Self::Whole(bytes) => bytes.slice(read..end),
        }
    }
}

impl Growing {
    /// A body of which this much is there.
    #[must_use]
    pub fn new(so_far: BytesMut) -> (Self, Reader) {
        let (body, reading) = watch::channel(SoFar::Growing(so_far));
        let (beyond, going_beyond) = oneshot::channel();
        (Self { body, beyond }, Reader { body: reading, beyond: going_beyond, read: 0 })
    }

    /// Appends to it.
    pub fn append(&self, piece: &[u8]) {
        self.body.send_modify(|so_far| {
            if let SoFar::Growing(bytes) = so_far {
                bytes.extend_from_slice(piece);
            }
        });
    }

    /// What is there and what follows it, in memory of its own that is as large as that. It is not shown to the reader.
    #[must_use]
    pub fn with(&self, rest: [&[u8]; 2]) -> Bytes {
        let so_far = self.body.borrow();
        [so_far.bytes(), rest[0], rest[1]].concat().into()
    }

    /// Ends it. From now on the reader shares the memory of `whole`, which has the same bytes.
    pub fn end(self, whole: Bytes) {
        self.body.send_replace(SoFar::Whole(whole));
    }

    /// Leaves the rest to the reader; back with it where he has gone.
    ///
    /// # Errors
    /// What is there of the body, and the rest.
    pub fn hand_over(self, beyond: Beyond) -> Result<(), (Bytes, Box<Beyond>)> {
        match self.beyond.send(beyond) {
            Ok(()) => {
                self.body.send_modify(|so_far| {
                    if let SoFar::Growing(bytes) = so_far {
                        *so_far = SoFar::HandedOver(std::mem::take(bytes));
                    }
                });
                Ok(())
            }
            Err(beyond) => Err((Bytes::copy_from_slice(self.body.borrow().bytes()), Box::new(beyond))),
        }
    }
}

impl Reader {
    /// Whether what is beyond was left to this reader, who has not come to it yet.
    #[must_use]
    pub fn has_the_rest(&self) -> bool {
        matches!(*self.body.borrow(), SoFar::HandedOver(_))
    }

    /// What comes next, once it is there. Nothing is lost where the wait for it is given up.
    ///
    /// # Errors
    /// [`CutOff`] where the writer left without ending it.
    pub async fn next(&mut self) -> Result<Next, CutOff> {
        let read = self.read;
        let left = |_| CutOff("its fetch failed".into());
        let is_there = |so_far: &SoFar| so_far.bytes().len() > read || so_far.is_ended();
        {
            let so_far = self.body.wait_for(is_there).await.map_err(left)?;
            let piece = so_far.piece(read);
            self.read += piece.len();
            if !piece.is_empty() {
                return Ok(Next::Piece(piece));
            }
            if matches!(*so_far, SoFar::Whole(_)) {
                return Ok(Next::End);
            }
        }
        // It was sent before the body was said to go on there.
        let beyond = self.beyond.try_recv().map_err(|_| CutOff("the rest of it is gone".into()))?;
        Ok(Next::Beyond(Box::new(beyond)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(next: Result<Next, CutOff>) -> Option<Bytes> {
        match next {
            Ok(Next::Piece(piece)) => Some(piece),
            Ok(Next::End | Next::Beyond(_)) | Err(_) => None,
        }
    }

    #[tokio::test]
    async fn what_was_there_before_and_what_comes_after_is_read_in_order_and_small_pieces_are_one() {
        let (growing, mut reader) = Growing::new(BytesMut::from("ab"));
        assert_eq!(piece(reader.next().await).as_deref(), Some(b"ab".as_slice()));
        for letter in ["c", "d", "e"] {
            growing.append(letter.as_bytes());
        }
        assert_eq!(piece(reader.next().await).as_deref(), Some(b"cde".as_slice()));
        growing.append(b"f");
        let whole = growing.with([b"g", b"h"]);
        assert_eq!(&*whole, b"abcdefgh");
        growing.end(whole.clone());
        let last = piece(reader.next().await).expect("the rest");
        assert_eq!(&*last, b"fgh");
        assert_eq!(last.as_ptr(), whole[5..].as_ptr(), "it is shared, not copied");
        assert!(matches!(reader.next().await, Ok(Next::End)));
    }

    #[tokio::test]
    async fn one_whose_writer_leaves_is_cut_off_after_what_came() {
        let (growing, mut reader) = Growing::new(BytesMut::from("ab"));
        drop(growing);
        assert_eq!(piece(reader.next().await).as_deref(), Some(b"ab".as_slice()));
        assert!(reader.next().await.is_err());
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_loses_nothing() {
        let (growing, mut reader) = Growing::new(BytesMut::new());
        tokio::select! {
            biased;
            _ = reader.next() => unreachable!("nothing is there"),
            () = std::future::ready(()) => {}
        }
        growing.append(b"a");
        assert_eq!(piece(reader.next().await).as_deref(), Some(b"a".as_slice()));
    }

    #[tokio::test]
    async fn a_large_body_is_read_in_pieces_and_a_reader_that_is_gone_is_no_hindrance() {
        let (growing, mut reader) = Growing::new(BytesMut::zeroed(2 * AT_ONCE + 1));
        for length in [AT_ONCE, AT_ONCE, 1] {
            assert_eq!(piece(reader.next().await).expect("a piece").len(), length);
        }
        drop(reader);
        growing.append(b"a");
        assert_eq!(growing.with([b"", b""]).len(), 2 * AT_ONCE + 2);
    }
}
