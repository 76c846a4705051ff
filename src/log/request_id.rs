//! The request id: sent in the response, logged, and quoted in problem reports.
//!
//! It is an identifier and not a secret. It need not be unpredictable, so it comes from the generator of the
//! process; the system's generator would cost a system call per request.

use std::fmt;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Serialize, Serializer};
use uuid::fmt::Hyphenated;

/// The client's id of its request, if it is valid; otherwise a random UUID of version 4 (RFC 9562).
///
/// It is stored as a field value, because every response carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

/// The field that carries the id.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is accepted from a client, in bytes.
const LONGEST: usize = 128;

impl RequestId {
    /// The id of the request with these fields.
    #[must_use]
    pub fn of(fields: &HeaderMap) -> Self {
        let sent = fields.get(X_REQUEST_ID).filter(|sent| is_sane(sent.as_bytes()));
        // Copy the value: hyper's value is a slice of the whole request head and would keep it in memory until the
        // log line is written.
        sent.and_then(|sent| HeaderValue::from_bytes(sent.as_bytes()).ok()).map_or_else(Self::random, Self)
    }

    /// A random UUID of version 4.
    #[must_use]
    pub fn random() -> Self {
        let mut text = [0; Hyphenated::LENGTH];
        let id = uuid::Builder::from_random_bytes(fastrand::u128(..).to_ne_bytes()).into_uuid();
        id.hyphenated().encode_lower(&mut text);
        // Reference-counted from the start: the response and the log record share it.
        let value = HeaderValue::from_maybe_shared(Bytes::from_owner(text));
        Self(value.unwrap_or_else(|_| HeaderValue::from_static("-")))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The id as a field value.
    #[must_use]
    pub fn value(&self) -> &HeaderValue {
        &self.0
    }
}

fn is_sane(id: &[u8]) -> bool {
    let harmless =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/');
    (1..=LONGEST).contains(&id.len()) && id.iter().all(harmless)
}

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sent: &str) -> RequestId {
        let mut fields = HeaderMap::new();
        fields.insert(X_REQUEST_ID, HeaderValue::from_bytes(sent.as_bytes()).expect("a value"));
        RequestId::of(&fields)
    }

    #[test]
    fn a_sane_name_of_the_client_is_kept_and_any_other_gives_way_to_ours() {
        assert_eq!(of("a-1_2.3:4/5").as_str(), "a-1_2.3:4/5");
        for strange in ["", "a b", "a\"b", "é", &"a".repeat(LONGEST + 1)] {
            let ours = of(strange);
            assert!(uuid::Uuid::parse_str(ours.as_str()).is_ok(), "{strange}: {ours}");
        }
    }

    #[test]
    fn ours_are_uuids_of_version_4_and_differ() {
        let ids: std::collections::HashSet<String> =
            (0..1_000).map(|_| RequestId::random().to_string()).collect();
        assert_eq!(ids.len(), 1_000);
        for id in ids {
            assert_eq!(uuid::Uuid::parse_str(&id).expect("a UUID").get_version_num(), 4);
        }
    }
}
