//! Credentials of the clients: made at start, written into files the way Talkdesk hands them out, and verified at
//! the token endpoint.
//!
//! A client authenticates by HTTP Basic, with id and secret as they are or form-encoded (RFC 6749, section 2.3.1),
//! or by `private_key_jwt` (RFC 7523). A secret in the form is not accepted, because Talkdesk does not document it.
//! The times of an assertion are compared with the injected clock, not by the JWT library, which asks the system.
//! The secrets open nothing but this simulator, so they are plain strings.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::lock::{lock, read, write};
use super::reply::OauthError;
use super::tenants::{Algorithm, Authentication, Tenant};

/// A client and what it authenticates with.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The account of the token URL.
    pub account: String,
    /// The client's id.
    pub client_id: String,
    /// Its secret or key.
    pub secret: Secret,
}

/// What a client authenticates with.
#[derive(Clone, Debug)]
pub enum Secret {
    /// For HTTP Basic.
    ClientSecret(String),
    /// For `private_key_jwt`.
    PrivateKey {
        /// PKCS#8 in bare base64, without PEM lines.
        pkcs8: String,
        /// The public half, as PEM.
        public_pem: String,
        /// The `kid`.
        key_id: String,
        /// What it signs with.
        algorithm: Algorithm,
    },
}

/// The current credentials, one entry for each tenant.
pub(super) struct Credentials {
    current: RwLock<Vec<Option<Credential>>>,
    folder: Mutex<Option<PathBuf>>,
}

impl Credential {
    /// The name of its file: `acme-client-secret`, `globex-key`.
    #[must_use]
    pub fn file_name(&self) -> String {
        match self.secret {
            Secret::ClientSecret(_) => format!("{}-client-secret", self.account),
            Secret::PrivateKey { .. } => format!("{}-key", self.account),
        }
    }

    /// The secret, or the private key in bare base64: what its file contains.
    #[must_use]
    pub fn text(&self) -> &str {
        match &self.secret {
            Secret::ClientSecret(text) | Secret::PrivateKey { pkcs8: text, .. } => text,
        }
    }
}

impl Credentials {
    /// Makes a secret or key for each tenant that has a client.
    pub(super) fn generate(tenants: &[Tenant]) -> Result<Self, rcgen::Error> {
        let current: Result<Vec<_>, _> = tenants.iter().map(generate).collect();
        Ok(Self { current: RwLock::new(current?), folder: Mutex::default() })
    }

    /// The credential of a tenant.
    pub(super) fn of(&self, tenant: usize) -> Option<Credential> {
        read(&self.current).get(tenant).cloned().flatten()
    }

    pub(super) fn all(&self) -> Vec<Credential> {
        read(&self.current).iter().flatten().cloned().collect()
    }

    /// Replaces a tenant's secret or key; with `written`, in its file too.
    pub(super) fn rotate(
        &self,
        position: usize,
        tenant: &Tenant,
        written: bool,
    ) -> io::Result<Option<Credential>> {
        let new = generate(tenant).map_err(io::Error::other)?;
        if let Some(slot) = write(&self.current).get_mut(position) {
            slot.clone_from(&new);
        }
        let folder = lock(&self.folder).clone();
        if let (true, Some(folder), Some(credential)) = (written, folder, &new) {
            write_file(&folder, &credential.file_name(), credential.text())?;
        }
        Ok(new)
    }

    /// Writes a file for each credential.
    pub(super) fn write_to(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        std::fs::create_dir_all(folder)?;
        *lock(&self.folder) = Some(folder.to_owned());
        let file = |credential: Credential| write_file(folder, &credential.file_name(), credential.text());
        self.all().into_iter().map(file).collect()
    }
}

/// Replaces a file, with mode 0600.
pub(super) fn write_file(folder: &Path, name: &str, text: &str) -> io::Result<PathBuf> {
    // A temporary file has that mode from the start, so others can never read it.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    let path = folder.join(name);
    file.persist(&path)?;
    Ok(path)
}

fn generate(tenant: &Tenant) -> Result<Option<Credential>, rcgen::Error> {
    let Some(client) = &tenant.client else { return Ok(None) };
    let secret = match &client.authentication {
        Authentication::Secret => Secret::ClientSecret(random_secret()),
        Authentication::PrivateKey { key_id, algorithm } => {
            let pair = KeyPair::generate_for(match algorithm {
                Algorithm::Es256 => &PKCS_ECDSA_P256_SHA256,
                Algorithm::Rs256 => &PKCS_RSA_SHA256,
            })?;
            Secret::PrivateKey {
                pkcs8: STANDARD.encode(pair.serialized_der()),
                public_pem: pair.public_key_pem(),
                key_id: key_id.clone(),
                algorithm: *algorithm,
            }
        }
    };
    Ok(Some(Credential { account: tenant.account.clone(), client_id: client.id.clone(), secret }))
}

/// A secret that ends in `=` and often has `+` and `/`, which a client that form-encodes it would change.
fn random_secret() -> String {
    let bytes = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
    STANDARD.encode(bytes)
}

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Authenticates the client of `credential`.
pub(super) fn authenticate(
    fields: &HeaderMap,
    form: &[(String, String)],
    credential: &Credential,
    token_url: &str,
    seen: &AssertionIds,
    now: SystemTime,
) -> Result<(), OauthError> {
    let of_form = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let assertion = of_form("client_assertion");
    let kind = of_form("client_assertion_type");
    match (fields.get(AUTHORIZATION), assertion, kind) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            Err(OauthError::invalid_request("the client authenticates in more than one way"))
        }
        (Some(value), None, None) => basic(value.to_str().unwrap_or_default(), credential),
        (None, Some(assertion), Some(ASSERTION_TYPE)) => {
            if of_form("client_id").is_some_and(|id| id != credential.client_id) {
                return Err(OauthError::invalid_client("client_id is not the subject of the assertion"));
            }
            verify_assertion(assertion, credential, token_url, seen, now).map_err(OauthError::invalid_client)
        }
        (None, Some(_), Some(_)) => Err(OauthError::invalid_client("unknown client_assertion_type")),
        (None, Some(_), None) | (None, None, Some(_)) => {
            Err(OauthError::invalid_request("client_assertion and client_assertion_type go together"))
        }
        (None, None, None) => Err(OauthError::invalid_client("the client does not authenticate")),
    }
}

fn basic(value: &str, credential: &Credential) -> Result<(), OauthError> {
    let unknown = || OauthError::invalid_client("unknown client or wrong secret");
    let Secret::ClientSecret(secret) = &credential.secret else {
        return Err(OauthError::invalid_client("this client authenticates with private_key_jwt"));
    };
    let (scheme, encoded) = value.split_once(' ').ok_or_else(unknown)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(OauthError::invalid_client("the scheme must be Basic"));
    }
    let decoded = STANDARD.decode(encoded.trim()).map_err(|_| unknown())?;
    let pair = String::from_utf8(decoded).map_err(|_| unknown())?;
    let (id, given) = pair.split_once(':').ok_or_else(unknown)?;
    let plain = id == credential.client_id && given == secret;
    let encoded = form_decoded(id) == credential.client_id && form_decoded(given) == *secret;
    if plain || encoded { Ok(()) } else { Err(unknown()) }
}

fn form_decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

/// The longest lifetime of an assertion.
const LONGEST: Duration = Duration::from_mins(5);
/// The clock difference that is accepted.
const SKEW: Duration = Duration::from_secs(5);

/// The `jti` values seen, until their assertions expire.
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

/// Verifies an assertion, its signature included.
fn verify_assertion(
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

/// Whether `aud`, a string or a list of strings, has this URL.
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
        // `exp` was checked to be within minutes, so adding cannot overflow.
        let expires = UNIX_EPOCH.checked_add(Duration::from_secs(claims.exp)).unwrap_or(now);
        match seen.insert(claims.jti.clone(), expires) {
            None => Ok(()),
            Some(_) => Err("jti was used before"),
        }
    }
}
