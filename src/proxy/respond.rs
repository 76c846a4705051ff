//! Adapts a stored response to the client: `HEAD`, preconditions, age, and links that lead back to the proxy.

use bytes::Bytes;
use http::header::{AGE, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};

use crate::cache::Entry;
use crate::cache::entry::LINK_FIELDS;
use crate::clock::Now;
use crate::io::body::Body;
use crate::page::links::{self, ApiOrigin, Base, Splice, rewritten_field, spliced_length};
use crate::rfc9111::validation::client_has_it;

/// The client's request, as far as the response depends on it.
pub struct Recipient<'a> {
    /// The head of the request.
    pub head: &'a Parts,
    /// The base URL of `server.public_url`.
    pub public_url: Option<&'a str>,
    /// The tenant's path prefix, if the client used it.
    pub prefix: Option<&'a str>,
    /// The time.
    pub now: Now,
}

impl Recipient<'_> {
    /// The response to send. `from_cache`: it was neither fetched nor validated for this request, so it has an `Age` (RFC 9111,
    /// section 5.1).
    #[must_use]
    pub fn response(&self, entry: &Entry, origin: &ApiOrigin, from_cache: bool) -> Response<Body> {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = entry.status;
        let fields = response.headers_mut();
        *fields = entry.fields.for_clients(entry.age(self.now).as_secs().into());
        // A response that comes from a cache before this one has an age at once.
        if !from_cache && entry.fields.origin(&AGE).is_none() {
            fields.remove(AGE);
        }
        if entry.has_links_in_fields {
            let base = self.base();
            for name in &LINK_FIELDS {
                rewrite_field(fields, name, origin, &base);
            }
        }
        if entry.status.is_success()
            && client_has_it(&self.head.headers, || entry.etag(), || entry.modified())
        {
            fields.remove(CONTENT_TYPE);
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        if self.head.method == Method::HEAD {
            let length = if entry.links.is_empty() {
                entry.body.len() as u64
            } else {
                spliced_length(&entry.body, &entry.links, &self.base())
            };
            fields.insert(CONTENT_LENGTH, length.into());
        } else if entry.links.is_empty() {
            *response.body_mut() = entry.body.clone().into();
        } else {
            *response.body_mut() = spliced(&entry.body, &entry.links, &self.base());
        }
        response
    }

    /// The base URL that the client used.
    fn base(&self) -> Base {
        if let Some(public_url) = self.public_url {
            return Base::new(public_url, self.prefix);
        }
        // The guard has checked that there is one `Host`, of safe characters.
        let host = self.head.headers.get(HOST).and_then(|host| host.to_str().ok());
        Base::here(host.unwrap_or_default(), self.prefix)
    }
}

/// A body with the proxy's links. A small one is copied: a dozen pieces cost more than a few kilobytes.
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
