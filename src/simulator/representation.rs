//! A body as it is sent: its encoding, and the strong `ETag` of exactly these bytes.
//!
//! Deliberately absent: weak tags, and codings other than gzip.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use async_compression::tokio::write::GzipEncoder;
use bytes::Bytes;
use http::HeaderValue;
use http::header::GetAll;
use tokio::io::AsyncWriteExt as _;

/// A body, encoded.
pub(super) struct Representation {
    pub(super) bytes: Bytes,
    /// With its quotes.
    pub(super) etag: String,
    /// The content coding, if any.
    pub(super) encoding: Option<&'static str>,
}

/// Encodes a body. Each encoding has a tag of its own, since its bytes differ.
pub(super) async fn encode(body: String, gzip: bool) -> Representation {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let hash = hasher.finish();
    if gzip && let Ok(bytes) = compress(body.as_bytes()).await {
        return Representation { bytes, etag: format!("\"{hash:016x}-gzip\""), encoding: Some("gzip") };
    }
    Representation { bytes: Bytes::from(body), etag: format!("\"{hash:016x}\""), encoding: None }
}

async fn compress(body: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(body).await?;
    encoder.shutdown().await?;
    Ok(Bytes::from(encoder.into_inner()))
}

/// Whether `Accept-Encoding` admits gzip.
pub(super) fn accepts_gzip(fields: &GetAll<'_, HeaderValue>) -> bool {
    let texts = fields.iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).any(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let refused = parts
            .filter_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
            .any(|weight| weight.parse::<f32>().is_ok_and(|weight| weight <= 0.0));
        (coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip")) && !refused
    })
}

/// Whether `If-None-Match` names this tag, in either form, or any.
pub(super) fn matches(fields: &GetAll<'_, HeaderValue>, etag: &str) -> bool {
    let texts = fields.iter().filter_map(|value| value.to_str().ok());
    texts
        .flat_map(|text| text.split(','))
        .map(str::trim)
        .any(|entry| entry == "*" || entry.strip_prefix("W/").unwrap_or(entry) == etag)
}
