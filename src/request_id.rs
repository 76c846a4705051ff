//! A request's own name: in its answer, in the logs, and in a refusal that somebody reports.
//!
//! It names, and is no secret: that it can't be guessed is promised nowhere, so it comes from the process's own
//! generator and not from the system, which would be a call into the kernel for each request.

use std::fmt;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Serialize, Serializer};
use uuid::fmt::Hyphenated;

/// The client's name for its request, if it sent a sane one, else one of ours: a UUID of version 4 (RFC 9562).
///
/// It is kept as the field's value, because every answer carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

/// The field that carries it.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest name that a client may give.
const LONGEST: usize = 128;

impl RequestId {
    /// The name of the request that has these fields.
    #[must_use]
    pub fn of(fields: &HeaderMap) -> Self {
        let sent = fields.get(X_REQUEST_ID).filter(|sent| is_sane(sent.as_bytes()));
        // A copy: as hyper has it, it would hold on to the whole head for as long as a log line waits.
        sent.and_then(|sent| HeaderValue::from_bytes(sent.as_bytes()).ok()).map_or_else(Self::random, Self)
    }

    /// One of ours.
    #[must_use]
    pub fn random() -> Self {
        let mut text = [0; Hyphenated::LENGTH];
        let id = uuid::Builder::from_random_bytes(fastrand::u128(..).to_ne_bytes()).into_uuid();
        id.hyphenated().encode_lower(&mut text);
        // With its count from the beginning: it is shared by the answer and what is written down.
        let value = HeaderValue::from_maybe_shared(Bytes::from_owner(text));
        Self(value.unwrap_or_else(|_| HeaderValue::from_static("-")))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The name as the value of a field.
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
