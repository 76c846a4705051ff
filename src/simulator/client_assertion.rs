//! `private_key_jwt`: a client assertion is verified for real, its signature included.
//!
//! The times in it are judged by the injected clock, not by the JWT library, which asks the system.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Value;

use super::credentials::{Credential, Secret};
use super::lock::lock;
use super::tenants::Algorithm;

/// An assertion may be good for so long.
const LONGEST: Duration = Duration::from_mins(5);
/// Clocks may differ by so much.
const SKEW: Duration = Duration::from_secs(5);

/// The `jti` values seen, until the assertions that had them have expired.
#[derive(Default)]
pub(super) struct AssertionIds {
    seen: Mutex<HashMap<String, SystemTime>>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Value,
    jti: String,
    exp: u64,
    iat: Option<u64>,
}

/// Verifies an assertion; the error says what is wrong with it.
pub(super) fn verify(
    assertion: &str,
    credential: &Credential,
    token_url: &str,
    seen: &AssertionIds,
    now: SystemTime,
) -> Result<(), &'static str> {
    let Secret::PrivateKey { public_pem, key_id, algorithm, .. } = &credential.secret else {
        return Err("this client has no key");
    };
    let header = decode_header(assertion).map_err(|_| "the assertion is no JWT")?;
    if header.kid.as_deref() != Some(key_id) {
        return Err("the assertion names an unknown key");
    }
    let claims = signed_claims(assertion, public_pem, *algorithm)?;
    if claims.iss != credential.client_id || claims.sub != credential.client_id {
        return Err("iss and sub must be the client id");
    }
    if !names(&claims.aud, token_url) {
        return Err("aud must be the token URL");
    }
    check_times(&claims, now)?;
    seen.first_use(&claims, now)
}

fn signed_claims(assertion: &str, public_pem: &str, algorithm: Algorithm) -> Result<Claims, &'static str> {
    let (key, algorithm) = match algorithm {
        Algorithm::Es256 => (DecodingKey::from_ec_pem(public_pem.as_bytes()), jsonwebtoken::Algorithm::ES256),
        Algorithm::Rs256 => {
            (DecodingKey::from_rsa_pem(public_pem.as_bytes()), jsonwebtoken::Algorithm::RS256)
        }
    };
    let key = key.map_err(|_| "the key can't be used")?;
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims = HashSet::new();
    let token = decode::<Claims>(assertion, &key, &validation);
    Ok(token.map_err(|_| "the signature or the claims are invalid")?.claims)
}

/// `aud` is a string or a list of them.
fn names(audience: &Value, token_url: &str) -> bool {
    match audience {
        Value::String(text) => text == token_url,
        Value::Array(list) => list.iter().any(|entry| entry == token_url),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

fn check_times(claims: &Claims, now: SystemTime) -> Result<(), &'static str> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let expires = Duration::from_secs(claims.exp);
    if expires <= now {
        return Err("the assertion has expired");
    }
    if expires > now + LONGEST + SKEW {
        return Err("exp must be within 5 minutes");
    }
    match claims.iat.map(Duration::from_secs) {
        Some(issued) if issued > now + SKEW => Err("iat is in the future"),
        Some(_) | None => Ok(()),
    }
}

impl AssertionIds {
    fn first_use(&self, claims: &Claims, now: SystemTime) -> Result<(), &'static str> {
        if claims.jti.is_empty() {
            return Err("jti is empty");
        }
        let mut seen = lock(&self.seen);
        seen.retain(|_, expires| *expires > now);
        // The time was judged to lie within minutes, so that adding can't overflow.
        let expires = UNIX_EPOCH.checked_add(Duration::from_secs(claims.exp)).unwrap_or(now);
        match seen.insert(claims.jti.clone(), expires) {
            None => Ok(()),
            Some(_) => Err("jti was used before"),
        }
    }
}
