//! Secrets and keys of the clients: random, made at start, and handed out the way Talkdesk does.
//!
//! Deliberately absent: keeping them from one run to the next. They open nothing but this simulator, so they are
//! plain strings.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use uuid::Uuid;

use super::lock::{lock, read, write};
use super::tenants::{Algorithm, Authentication, Tenant};

/// A client and what it proves itself with.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The account of the token URL.
    pub account: String,
    /// The client's id.
    pub client_id: String,
    /// What proves it.
    pub secret: Secret,
}

/// What a client proves itself with.
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

/// The credentials in force, one place for each tenant.
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

    /// The secret, or the private key in bare base64: what its file says.
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
        place: usize,
        tenant: &Tenant,
        written: bool,
    ) -> io::Result<Option<Credential>> {
        let new = generate(tenant).map_err(io::Error::other)?;
        if let Some(slot) = write(&self.current).get_mut(place) {
            slot.clone_from(&new);
        }
        let folder = lock(&self.folder).clone();
        if let (true, Some(folder), Some(credential)) = (written, folder, &new) {
            write_file(&folder, &credential.file_name(), credential.text())?;
        }
        Ok(new)
    }

    /// Writes a file for each credential, for its owner's eyes only.
    pub(super) fn write_to(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        std::fs::create_dir_all(folder)?;
        *lock(&self.folder) = Some(folder.to_owned());
        let file = |credential: Credential| write_file(folder, &credential.file_name(), credential.text());
        self.all().into_iter().map(file).collect()
    }
}

/// Replaces a file as a whole, with mode 0600.
pub(super) fn write_file(folder: &Path, name: &str, text: &str) -> io::Result<PathBuf> {
    // A temporary file has that mode from the start, so there is no moment in which others can read it.
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

/// It ends in `=` and often has `+` and `/`, which tells form-encoding clients from those that do not.
fn random_secret() -> String {
    let bytes = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
    STANDARD.encode(bytes)
}
