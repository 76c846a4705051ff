//! Keeps links on the proxy.
//!
//! Talkdesk's bodies carry absolute URLs of its own host, so a client that follows `next` would leave the
//! proxy. Where such a URL stands is found once, when an answer arrives ([`inspect`](crate::inspect)); the
//! proxy's own base is put in its place each time the answer is given out, because it depends on the client.
//! Nothing else in a body changes by a byte.
//!
//! Deliberately absent: URLs in other members (an invoice's description may name the API and stays as it is),
//! and URLs of other hosts.

use std::sync::Arc;

use bytes::Bytes;

/// Where the API's origin stands in a body: this many bytes from `start` give way to the proxy's base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Splice {
    /// The first byte of the origin.
    pub start: u64,
    /// How many bytes it takes, escapes included.
    pub length: u64,
}

/// The API's origin, ready to be recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    origin: Arc<str>,
    default_port: &'static str,
}

/// What stands in the place of the API's origin: `http://127.0.0.1:8080/organizations/acme`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base(Bytes);

impl Origin {
    /// An origin as `https://api.talkdeskapp.com`: lower-case, without a default port or a slash at the end.
    #[must_use]
    pub fn new(origin: Arc<str>) -> Self {
        let default_port = if origin.starts_with("https:") { ":443" } else { ":80" };
        Self { origin, default_port }
    }

    /// How many bytes of `url` are this origin; none where it is another's. Scheme and host have no case
    /// (RFC 3986, section 6.2.2.1), and the default port may be written out.
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
    /// The base for a client that used `root` (scheme and authority), and the tenant's prefix where it used one.
    #[must_use]
    pub fn new(root: &str, prefix: Option<&str>) -> Self {
        Self::joined("", root, prefix)
    }

    /// The base for a client that speaks to this proxy itself, and called it `authority`.
    #[must_use]
    pub fn here(authority: &str, prefix: Option<&str>) -> Self {
        Self::joined("http://", authority, prefix)
    }

    /// Without formatting: every answer has one.
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

    /// The base as bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}

/// The URLs that begin at the splices of a JSON body, decoded.
pub fn urls(body: &[u8], splices: &[Splice]) -> impl Iterator<Item = String> {
    splices.iter().filter_map(|splice| {
        let quote = usize::try_from(splice.start).ok()?.checked_sub(1)?;
        serde_json::Deserializer::from_slice(body.get(quote..)?).into_iter().next()?.ok()
    })
}

/// The length of a body once `base` stands at each splice.
#[must_use]
pub fn spliced_length(body: &Bytes, splices: &[Splice], base: &Base) -> u64 {
    let removed: u64 = splices.iter().map(|splice| splice.length).sum();
    body.len() as u64 - removed + splices.len() as u64 * base.0.len() as u64
}

/// The pieces of a body with `base` at each splice. They share the body's memory.
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

/// A field value (`Link`, `Location`, `Content-Location`) with the base in the place of the API's origin; none
/// where there is nothing to replace.
#[must_use]
pub fn rewritten_field(value: &[u8], origin: &Origin, base: &Base) -> Option<Vec<u8>> {
    let mut rewritten = Vec::with_capacity(value.len());
    let mut position = 0;
    let mut found = false;
    while position < value.len() {
        // A URL begins the value, or follows the `<` of a link (RFC 8288, section 3).
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
