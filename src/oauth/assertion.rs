//! Client assertions for `private_key_jwt` (RFC 7523, section 3).
//!
//! Talkdesk issues the private key as bare base64 of PKCS#8, without the PEM lines. Both formats are
//! accepted.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;

use crate::config::Algorithm;
use crate::config::secret::Secret;

/// The lifetime of an assertion, as Talkdesk documents it.
const LIFETIME: Duration = Duration::from_mins(5);

/// A key that signs assertions.
pub struct Signer {
    key: EncodingKey,
    header: Header,
    client_id: Arc<str>,
    audience: Arc<str>,
}

/// The key can't be used. The text says why and contains nothing of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the private key is not a usable PKCS#8 {0} key, neither as PEM nor as bare base64")]
pub struct UnusableKey(&'static str);

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: String,
    iat: u64,
    exp: u64,
}

impl Signer {
    /// Reads the key and signs once to check that the key works.
    ///
    /// # Errors
    /// [`UnusableKey`]
    pub fn new(
        key: &Secret,
        algorithm: Algorithm,
        key_id: Option<&str>,
        client_id: &str,
        audience: &str,
    ) -> Result<Self, UnusableKey> {
        // An error means that a provider is already installed by an earlier call in this process.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let pem = zeroize::Zeroizing::new(as_pem(key.expose()));
        let (key, algorithm, name) = match algorithm {
            Algorithm::Es256 => {
                (EncodingKey::from_ec_pem(pem.as_bytes()), jsonwebtoken::Algorithm::ES256, "EC P-256")
            }
            Algorithm::Rs256 => {
                (EncodingKey::from_rsa_pem(pem.as_bytes()), jsonwebtoken::Algorithm::RS256, "RSA")
            }
        };
        let mut header = Header::new(algorithm);
        header.kid = key_id.map(str::to_owned);
        let key = key.map_err(|_| UnusableKey(name))?;
        let signer = Self { key, header, client_id: client_id.into(), audience: audience.into() };
        signer.sign(SystemTime::UNIX_EPOCH).map_err(|_| UnusableKey(name))?;
        Ok(signer)
    }

    /// Signs a new assertion. Each has a unique `jti`, because a server may accept one only once.
    ///
    /// # Errors
    /// [`UnusableKey`]. Not expected: the key signed once already.
    pub fn sign(&self, now: SystemTime) -> Result<String, UnusableKey> {
        let issued = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let claims = Claims {
            iss: &self.client_id,
            sub: &self.client_id,
            aud: &self.audience,
            jti: uuid::Uuid::new_v4().to_string(),
            iat: issued.as_secs(),
            exp: (issued + LIFETIME).as_secs(),
        };
        jsonwebtoken::encode(&self.header, &claims, &self.key).map_err(|_| UnusableKey("private"))
    }
}

fn as_pem(text: &str) -> String {
    if text.contains("-----BEGIN") {
        return text.to_owned();
    }
    let mut pem = String::with_capacity(text.len() + 128);
    pem.push_str("-----BEGIN PRIVATE KEY-----\n");
    let base64: Vec<char> = text.chars().filter(|character| !character.is_whitespace()).collect();
    for line in base64.chunks(64) {
        pem.extend(line);
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    pem
}
