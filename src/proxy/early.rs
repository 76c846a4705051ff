//! An answer that is given to the one who asked for it while it still comes, and kept once it is whole.
//!
//! Under a plain rule nothing of ours stands between a client and what upstream does, and that upstream takes its time
//! is something it does. So the client that leads a fetch has the head as soon as it is there and the body piece by
//! piece; the same bytes are held, and become an entry at their end. Whoever else asked meanwhile gets that, as
//! always. What is there without a wait is read whole first: it comes no later for that, and costs less.
//!
//! Once the head is out there is no other answer any more. What goes wrong after it cuts the message off before it is
//! complete (RFC 9112, section 8), so that no part is taken for the whole (RFC 9111, section 3.3), and nothing is kept.
//! That it will be kept is not said in `Cache-Status`, since it is not known yet (RFC 9211, section 2.5).
//!
//! A token in the body is masked as it is in a whole one. What turns out to be too large to be kept is left to the
//! client's own stream, and passes at his pace from there on.
//!
//! Deliberately absent: the five endpoints, and tenants whose records are checked, because a 502 has to stay possible
//! there; requests whose condition or range the cache answers, and a stale entry that may stand in (RFC 5861), for
//! the same reason; errors and redirects, which are short; HTTP/1.0, to which a cut off message looks like a whole one.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE};
use http::request::Parts;
use http::{Method, StatusCode, Version};
use tokio::sync::oneshot;

use super::fetch_result::{FetchResult, Fetched, Json, Outcome, Rest, Streaming};
use super::growing::Growing;
use super::receive::{Received, Receiving};
use super::rejection::Rejection;
use super::store::{Fetch, Head};
use super::token_scanner::{Masking, TokenScanner, masked_whole};
use crate::cache::judge::Bypass;
use crate::domain::endpoint::Content;
use crate::domain::entitlement::Permit;
use crate::limit::gate::Pass;
use crate::single_flight::{Abandoned, Waiting};

/// Where the one who leads a fetch takes an answer that still comes.
pub type Outlet = oneshot::Sender<Fetched>;

/// Somebody's fetch, to wait for: to its end, or to where the one who leads it is given its answer.
pub struct Ahead {
    /// Its end.
    pub waiting: Waiting<Outcome>,
    /// The answer while it comes.
    pub early: Option<oneshot::Receiver<Fetched>>,
}

impl From<Waiting<Outcome>> for Ahead {
    fn from(waiting: Waiting<Outcome>) -> Self {
        Self { waiting, early: None }
    }
}

impl Ahead {
    /// What there is to be given, once it is there.
    ///
    /// # Errors
    /// [`Abandoned`] where the leader left without an outcome.
    pub async fn outcome(self) -> Result<Outcome, Abandoned> {
        let Some(early) = self.early else { return self.waiting.outcome().await };
        tokio::select! {
            // What is passed on is nowhere else, where it is too large to be kept.
            biased;
            Ok(early) = early => Ok(Ok(Arc::new(early))),
            outcome = self.waiting.outcome() => outcome,
        }
    }
}

/// How much is read before it is passed on, where nothing has to be waited for.
const ENOUGH: usize = 64 * 1024;

/// Whether a request under a plain rule may be given an answer that could still fail.
#[must_use]
pub fn may_be_early(head: &Parts, permit: &Permit) -> bool {
    head.method == Method::GET
        && head.version >= Version::HTTP_11
        && permit.account_scope().is_none()
        && permit.endpoint().content == Content::Opaque
        && ![RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE].iter().any(|name| head.headers.contains_key(name))
}

/// Whether an answer of this status is passed on while it comes.
pub(super) fn is_early(status: StatusCode) -> bool {
    status.is_success() && status != StatusCode::PARTIAL_CONTENT
}

impl Fetch<'_> {
    /// Takes an answer in, and gives it to the one who asked for it meanwhile where it has to be waited for.
    pub(super) async fn pass_on(
        &self,
        head: Head,
        mut receiving: Receiving,
        mask: Option<TokenScanner>,
        pass: Pass,
        outlet: Outlet,
    ) -> Result<(FetchResult, Option<Streaming>), Rejection> {
        let most = self.ask.snapshot.config.cache.max_entry_bytes;
        let enough = ENOUGH.min(usize::try_from(most).unwrap_or(ENOUGH));
        let first = match receiving.read_at_once(enough).await? {
            Received::Whole(body) => {
                let body = masked_whole(mask, body);
                return self.whole(head, body, receiving.is_decoded(), pass);
            }
            Received::Part(first) => first,
        };
        let mut received = first.len() as u64;
        let mut masking = mask.map(Masking::new);
        // What ends it is shown once it is kept: before, the client could know that it is over, and ask again.
        let ends =
            |receiving: &Receiving, received| receiving.is_at_end() || receiving.length() == Some(received);
        let mut last = masked(&mut masking, first);
        let shown =
            if ends(&receiving, received) { BytesMut::new() } else { std::mem::take(&mut last).into() };
        let (growing, reader) = Growing::new(shown);
        // Whoever asked may have left: it is kept all the same.
        let _ = outlet.send(self.early(&head, &receiving, Rest::Held(reader)));
        while received <= most {
            let Some(piece) = receiving.next().await? else {
                let body = growing.with([&last, &masking.map(Masking::end).unwrap_or_default()]);
                let landed = self.whole(head, body.clone(), receiving.is_decoded(), pass)?;
                growing.end(body);
                return Ok(landed);
            };
            // Over HTTP/2 the end can be a piece of its own, without a byte.
            if piece.is_empty() {
                continue;
            }
            received += piece.len() as u64;
            last = masked(&mut masking, piece);
            if !ends(&receiving, received) {
                growing.append(&std::mem::take(&mut last));
            }
        }
        growing.append(&last);
        if let Some(masking) = masking {
            let (scanner, begun) = masking.so_far();
            growing.append(&begun);
            receiving.search(scanner, &begun)?;
        }
        match growing.hand_over((receiving, pass)) {
            Ok(()) => {
                self.note_not_kept(Bypass::TooLarge);
                Ok((self.landed(&head, None, Err(Bypass::TooLarge), false), None))
            }
            Err((first, beyond)) => self.stream(&head, first, beyond.0, beyond.1),
        }
    }

    /// The answer as far as it is known by its head.
    fn early(&self, head: &Head, receiving: &Receiving, rest: Rest) -> Fetched {
        let stored = self.verdict(head).map(|_| ());
        let mut streaming = self.streaming(head, Bytes::new(), rest, receiving.is_decoded());
        if let Some(length) = receiving.length().filter(|_| streaming.json == Json::No) {
            streaming.fields.insert(CONTENT_LENGTH, length.into());
        }
        Fetched::new(self.landing(head, None, stored, false), Some(streaming))
    }
}

fn masked(masking: &mut Option<Masking>, piece: Bytes) -> Bytes {
    match masking {
        Some(masking) => masking.feed(piece),
        None => piece,
    }
}
