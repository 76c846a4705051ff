//! Fits an answer to the one who asked: links, conditions, `HEAD`, age.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use tokio::sync::mpsc;

use super::fetch_result::{Content, Json, Rest, Streaming};
use super::mentions::Mentions;
use super::rejection::Rejection;
use crate::body::{Body, CutOff};
use crate::cache::Entry;
use crate::cache::entry::LINK_FIELDS;
use crate::clock::{Clock, Now};
use crate::page::links::{self, ApiOrigin, Base, Splice, rewritten_field, spliced_length};
use crate::rewrite::Rewriter;
use crate::rfc9111::range::{self, Asked};
use crate::rfc9111::validation::client_has_it;

/// The one who asked, as far as the answer depends on it.
pub struct Recipient<'a> {
    /// The method.
    pub method: &'a Method,
    /// The fields of the request.
    pub fields: &'a HeaderMap,
    /// Which of them there are.
    pub mentions: Mentions,
    /// What links begin with.
    pub base: &'a Base,
    /// The time.
    pub now: Now,
    /// The same, for the rest of a stream.
    pub clock: &'a Clock,
}

/// Pieces of a stream that may wait for a slow client.
const PIECES_IN_WAIT: usize = 4;

impl Recipient<'_> {
    /// The answer to send. `from_cache` is true where it was neither fetched nor validated for this very
    /// request (RFC 9111, section 5.1).
    ///
    /// # Errors
    /// [`Rejection::RangeNotSatisfiable`]
    pub fn answer(
        &self,
        content: Content,
        origin: &ApiOrigin,
        from_cache: bool,
    ) -> Result<Response<Body>, Rejection> {
        let (mut response, has_links) = match content {
            Content::Entry(entry) => (self.entry(&entry, from_cache)?, entry.has_links_in_fields),
            Content::Stream(stream) => (self.stream(*stream, origin), true),
        };
        if has_links {
            self.rewrite_fields(response.headers_mut(), origin);
        }
        Ok(response)
    }

    fn entry(&self, entry: &Entry, from_cache: bool) -> Result<Response<Body>, Rejection> {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = entry.status;
        *response.headers_mut() = entry.fields.for_clients(entry.age(self.now).as_secs().into());
        // What was in a cache before it came here is that old at the first answer already.
        if !from_cache && entry.fields.origin(&AGE).is_none() {
            response.headers_mut().remove(AGE);
        }
        if entry.status.is_success()
            && entry.status != StatusCode::PARTIAL_CONTENT
            && self.reads()
            && self.mentions.conditions
            && client_has_it(self.fields, || entry.etag(), || entry.modified())
        {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response.headers_mut().remove(CONTENT_TYPE);
            return Ok(response);
        }
        if *self.method == Method::GET
            && entry.status == StatusCode::OK
            && let Some(part) = self.part(entry)?
        {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let range = format!("bytes {}-{}/{}", part.start, part.end - 1, entry.body.len());
            if let Ok(range) = HeaderValue::try_from(range) {
                response.headers_mut().insert(CONTENT_RANGE, range);
            }
            *response.body_mut() = entry.body.slice(part).into();
            return Ok(response);
        }
        if entry.is_head {
            return Ok(response);
        }
        if *self.method == Method::HEAD {
            let length = spliced_length(&entry.body, &entry.links, self.base);
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
        } else {
            *response.body_mut() = if entry.links.is_empty() {
                entry.body.clone().into()
            } else {
                spliced(&entry.body, &entry.links, self.base)
            };
        }
        Ok(response)
    }

    /// Whether it is a request that conditions of the cache apply to.
    fn reads(&self) -> bool {
        matches!(*self.method, Method::GET | Method::HEAD)
    }

    /// The part that is asked for. A body with links in it has other bytes for every client, so it comes as a whole.
    fn part(&self, entry: &Entry) -> Result<Option<Range<usize>>, Rejection> {
        if !entry.links.is_empty() || !self.mentions.range {
            return Ok(None);
        }
        let (length, fields) = (entry.body.len() as u64, entry.fields.of_origin());
        let modified = range::strong_date(&fields);
        match range::asked(self.fields, length, entry.etag(), modified) {
            Asked::Whole => Ok(None),
            Asked::Unsatisfiable => Err(Rejection::RangeNotSatisfiable { length }),
            Asked::Part(part) => {
                // Both lie within the body, whose length is a usize.
                let ends = usize::try_from(part.start).ok().zip(usize::try_from(part.end).ok());
                Ok(ends.map(|(start, end)| start..end))
            }
        }
    }

    fn stream(&self, stream: Streaming, origin: &ApiOrigin) -> Response<Body> {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = stream.status;
        response.headers_mut().clone_from(&stream.fields);
        if *self.method != Method::HEAD {
            let (pieces, receiver) = mpsc::channel(PIECES_IN_WAIT);
            let is_json = stream.json != Json::No;
            let rewriter = is_json.then(|| Rewriter::new(origin.clone(), self.base.clone()));
            tokio::spawn(pump(stream, rewriter, pieces, self.clock.clone()));
            *response.body_mut() = Body::Stream(receiver);
        }
        response
    }

    fn rewrite_fields(&self, fields: &mut HeaderMap, origin: &ApiOrigin) {
        for name in &LINK_FIELDS {
            rewrite_field(fields, name, origin, self.base);
        }
    }
}

/// A body with the proxy's links in it. A small one is copied whole: a dozen pieces cost more, here, in hyper and in the
/// system, than a few kilobytes do.
fn spliced(body: &Bytes, splices: &[Splice], base: &Base) -> Body {
    const SMALL: usize = 16 * 1024;
    let pieces = links::spliced(body, splices, base);
    if body.len() > SMALL {
        return Body::pieces(pieces);
    }
    let mut whole = Vec::with_capacity(pieces.iter().map(Bytes::len).sum());
    for piece in &pieces {
        whole.extend_from_slice(piece);
    }
    Body::from(Bytes::from(whole))
}

fn rewrite_field(fields: &mut HeaderMap, name: &HeaderName, origin: &ApiOrigin, base: &Base) {
    if !fields.contains_key(name) {
        return;
    }
    let values: Vec<HeaderValue> = fields
        .get_all(name)
        .iter()
        .map(|value| {
            let rewritten = rewritten_field(value.as_bytes(), origin, base);
            rewritten.and_then(|value| HeaderValue::from_bytes(&value).ok()).unwrap_or_else(|| value.clone())
        })
        .collect();
    fields.remove(name);
    for value in values {
        fields.append(name, value);
    }
}

/// Passes a body on, piece by piece, at the client's pace. It ends when the client leaves, or, where that pace is upstream's
/// too, when it reads nothing for as long as upstream may take: a client must not keep its credential's place for ever.
async fn pump(
    stream: Streaming,
    mut rewriter: Option<Rewriter>,
    pieces: mpsc::Sender<Result<Bytes, CutOff>>,
    clock: Clock,
) {
    let Streaming { first, mut rest, json, patience, .. } = stream;
    let mut read = (!first.is_empty()).then_some(first);
    loop {
        let next = if let Some(first) = read.take() {
            Ok(Some(first))
        } else {
            tokio::select! {
                biased;
                piece = next_piece(&mut rest, &clock, patience) => piece,
                () = pieces.closed() => return,
            }
        };
        let out = match next {
            Ok(Some(piece)) => rewritten(&mut rewriter, json, piece),
            Ok(None) => match rewriter.take().map(Rewriter::finish) {
                Some(Err((error, _))) if json == Json::Must => Err(CutOff(error.to_string())),
                // An empty piece is the end.
                Some(Err((_, held))) => Ok(held.into_iter().chain([Bytes::new()]).collect()),
                Some(Ok(())) | None => Ok(vec![Bytes::new()]),
            },
            Err(cut_off) => Err(cut_off),
        };
        let (out, ended) = match out {
            Ok(out) => {
                let ended = out.iter().any(Bytes::is_empty);
                (out.into_iter().map(Ok).collect(), ended)
            }
            Err(cut_off) => (vec![Err(cut_off)], true),
        };
        for piece in out {
            if !sent(&pieces, piece, &rest, &clock, patience).await {
                return;
            }
        }
        if ended {
            break;
        }
    }
}

/// Gives a piece to the client, and says whether it took it: within its time, where it keeps its credential's place.
async fn sent(
    pieces: &mpsc::Sender<Result<Bytes, CutOff>>,
    piece: Result<Bytes, CutOff>,
    rest: &Rest,
    clock: &Clock,
    patience: Duration,
) -> bool {
    loop {
        match clock.timeout(patience, pieces.reserve()).await {
            Ok(Ok(place)) => {
                place.send(piece);
                return true;
            }
            Err(_) if !rest.keeps_a_place() => {}
            Ok(Err(_)) | Err(_) => return false,
        }
    }
}

/// A piece with its links rewritten. What turns out to be no JSON although it said so goes on as it is.
fn rewritten(rewriter: &mut Option<Rewriter>, json: Json, piece: Bytes) -> Result<Vec<Bytes>, CutOff> {
    let Some(rewriting) = rewriter else { return Ok(vec![piece]) };
    match rewriting.feed(&piece) {
        Ok(pieces) => Ok(pieces),
        Err(error) if json == Json::Must => Err(CutOff(error.to_string())),
        Err(_) => Ok(rewriter.take().and_then(Rewriter::held).into_iter().chain([piece]).collect()),
    }
}

/// The next piece that is one: an empty one would be taken for the end.
async fn next_piece(rest: &mut Rest, clock: &Clock, patience: Duration) -> Result<Option<Bytes>, CutOff> {
    loop {
        let late = || CutOff("upstream took too long".into());
        match clock.timeout(patience, rest.next()).await.unwrap_or_else(|_| Err(late()))? {
            Some(piece) if piece.is_empty() => {}
            piece => return Ok(piece),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn a_small_body_and_a_large_one_get_the_same_links_and_the_large_one_is_not_copied() {
        let base = Base::here("localhost", None);
        for (size, is_copied) in [(100, true), (100_000, false)] {
            let text = format!("{{\"a\":\"{}\",\"href\":\"https://api/x\"}}", "b".repeat(size));
            let start = text.find("https://api").expect("a link") as u64;
            let splices = [Splice { start, length: "https://api".len() as u64 }];
            let body = spliced(&Bytes::from(text.clone()), &splices, &base);
            assert_eq!(matches!(body, Body::Full(_)), is_copied);
            let whole = body.collect().await.expect("whole").to_bytes();
            assert_eq!(whole, text.replace("https://api", "http://localhost"));
        }
    }
}
