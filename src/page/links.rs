//! Rewrites links so that clients stay on the proxy.
//!
//! Talkdesk's bodies contain absolute URLs of its own host; a client that follows `next` would bypass the
//! proxy. The positions of these URLs are found once, when a response arrives ([`page`](super)).
//! The proxy's base URL is inserted each time the response is sent, because it depends on the client. All
//! other bytes of the body are unchanged.
//!
//! Not implemented: URLs in other members (for example in an invoice's description), and URLs of other hosts.

use std::sync::Arc;

use bytes::Bytes;

/// The position of the API's origin in a body, where the proxy's base is inserted instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Splice {
    /// The offset of the origin's first byte.
    pub start: u64,
    /// The length of the origin in bytes, including escapes.
    pub length: u64,
}

/// The API's origin, prepared for matching.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiOrigin {
    origin: Arc<str>,
    default_port: &'static str,
}

/// The replacement of the API's origin, for example `http://127.0.0.1:8080/organizations/acme`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base(Bytes);

impl ApiOrigin {
    /// An origin like `https://api.talkdeskapp.com`: lower case, without a default port or a trailing slash.
    #[must_use]
    pub fn new(origin: Arc<str>) -> Self {
        let default_port = if origin.starts_with("https:") { ":443" } else { ":80" };
        Self { origin, default_port }
    }

    /// The length of this origin at the start of `url`; none if `url` has another origin. Scheme and host are
    /// compared without case (RFC 3986, section 6.2.2.1), and the default port may be present.
    #[must_use]
    pub fn length_in(&self, url: &[u8]) -> Option<usize> {
        let head = url.get(..self.origin.len())?;
        if !head.eq_ignore_ascii_case(self.origin.as_bytes()) {
            return None;
        }
        let rest = &url[head.len()..];
        let port = if rest.starts_with(self.default_port.as_bytes()) { self.default_port.len() } else { 0 };
        // `https://api.example.com.evil.com` and `https://api.example.com@evil.com` are other hosts.
        match rest.get(port) {
            None | Some(b'/' | b'?' | b'#') => Some(head.len() + port),
            Some(_) => None,
        }
    }
}

impl Base {
    /// The base for a client that used `root` (scheme and authority), with the tenant prefix if the client
    /// used one.
    #[must_use]
    pub fn new(root: &str, prefix: Option<&str>) -> Self {
        Self::joined("", root, prefix)
    }

    /// The base for a client that connects to this proxy directly, and used `authority`.
    #[must_use]
    pub fn here(authority: &str, prefix: Option<&str>) -> Self {
        Self::joined("http://", authority, prefix)
    }

    /// Does not use `format!`, which is slower: every response needs a base.
    fn joined(scheme: &str, rest: &str, prefix: Option<&str>) -> Self {
        let mut base =
            String::with_capacity(scheme.len() + rest.len() + prefix.map_or(0, |prefix| 1 + prefix.len()));
        base.push_str(scheme);
        base.push_str(rest);
        if let Some(prefix) = prefix {
            base.push('/');
            base.push_str(prefix);
        }
        Self(base.into())
    }
}

/// The decoded URLs that start at the splices of a JSON body.
pub(crate) fn urls(body: &[u8], splices: &[Splice]) -> impl Iterator<Item = String> {
    splices.iter().filter_map(|splice| {
        let quote = usize::try_from(splice.start).ok()?.checked_sub(1)?;
        serde_json::Deserializer::from_slice(body.get(quote..)?).into_iter().next()?.ok()
    })
}

/// The length of a body with `base` at each splice.
#[must_use]
pub fn spliced_length(body: &Bytes, splices: &[Splice], base: &Base) -> u64 {
    let removed: u64 = splices.iter().map(|splice| splice.length).sum();
    body.len() as u64 - removed + splices.len() as u64 * base.0.len() as u64
}

/// The parts of a body with `base` at each splice. They share the body's memory.
pub fn spliced(body: &Bytes, splices: &[Splice], base: &Base) -> Vec<Bytes> {
    let mut pieces = Vec::with_capacity(splices.len() * 2 + 1);
    let mut position = 0;
    for splice in splices {
        let start = usize::try_from(splice.start).unwrap_or(body.len()).clamp(position, body.len());
        if start > position {
            pieces.push(body.slice(position..start));
        }
        pieces.push(base.0.clone());
        position = start.saturating_add(usize::try_from(splice.length).unwrap_or(usize::MAX)).min(body.len());
    }
    if position < body.len() {
        pieces.push(body.slice(position..));
    }
    pieces
}

/// A field value (`Link`, `Location`, `Content-Location`) with the base instead of the API's origin; none if
/// nothing is replaced.
#[must_use]
pub fn rewritten_field(value: &[u8], origin: &ApiOrigin, base: &Base) -> Option<Vec<u8>> {
    let mut rewritten = Vec::with_capacity(value.len());
    let mut position = 0;
    let mut found = false;
    while position < value.len() {
        // A URL starts the value, or follows the `<` of a link (RFC 8288, section 3).
        let at_url = position == 0 || value[position - 1] == b'<';
        let end = value[position..]
            .iter()
            .position(|byte| matches!(byte, b'>' | b',' | b' '))
            .unwrap_or(value.len() - position);
        if at_url && let Some(length) = origin.length_in(&value[position..position + end]) {
            rewritten.extend_from_slice(&base.0);
            position += length;
            found = true;
        } else {
            rewritten.push(value[position]);
            position += 1;
        }
    }
    found.then_some(rewritten)
}

#[cfg(test)]
#[path = "links_tests.rs"]
mod tests;
