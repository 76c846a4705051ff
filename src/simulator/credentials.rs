//! The secrets and keys of the clients: generated at start, and written to files in the form in which Talkdesk gives
//! them to a customer.
//!
//! The secrets are plain strings, because only this simulator accepts them.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use uuid::Uuid;

use super::tenants::{Algorithm, Authentication, Tenant};

/// A client with its secret or key.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The account in the token URL.
    pub account: String,
    /// The client id.
    pub client_id: String,
    pub(super) secret: Secret,
}

/// What a client authenticates with.
#[derive(Clone, Debug)]
pub(super) enum Secret {
    /// The secret for HTTP Basic.
    ClientSecret(String),
    /// The key for `private_key_jwt`.
    PrivateKey {
        /// PKCS#8 in base64, without the lines of PEM.
        pkcs8: String,
        public_pem: String,
        /// The `kid` that the assertion must name.
        key_id: String,
        algorithm: Algorithm,
    },
}

/// The current credentials, with one entry for each tenant.
pub(super) struct Credentials {
    current: Vec<Option<Credential>>,
    /// The folder that they were last written to.
    folder: Option<PathBuf>,
}

impl Credential {
    /// The name of its file, for example `acme-client-secret` or `globex-key`.
    #[must_use]
    pub fn file_name(&self) -> String {
        match self.secret {
            Secret::ClientSecret(_) => format!("{}-client-secret", self.account),
            Secret::PrivateKey { .. } => format!("{}-key", self.account),
        }
    }

    fn write_to(&self, folder: &Path) -> io::Result<PathBuf> {
        let (Secret::ClientSecret(text) | Secret::PrivateKey { pkcs8: text, .. }) = &self.secret;
        write_file(folder, &self.file_name(), text)
    }
}

impl Credentials {
    /// Generates a secret or a key for each tenant that has a client.
    pub(super) fn generate(tenants: &[Tenant]) -> Result<Self, rcgen::Error> {
        let current: Result<Vec<_>, _> = tenants.iter().map(generate).collect();
        Ok(Self { current: current?, folder: None })
    }

    pub(super) fn of(&self, tenant: usize) -> Option<&Credential> {
        self.current.get(tenant)?.as_ref()
    }

    pub(super) fn all(&self) -> Vec<Credential> {
        self.current.iter().flatten().cloned().collect()
    }

    /// Replaces the secret or key of a tenant, and with `write` also its file.
    pub(super) fn rotate(&mut self, position: usize, tenant: &Tenant, write: bool) -> io::Result<()> {
        let new = generate(tenant).map_err(io::Error::other)?;
        if let (true, Some(folder), Some(credential)) = (write, &self.folder, &new) {
            credential.write_to(folder)?;
        }
        if let Some(current) = self.current.get_mut(position) {
            *current = new;
        }
        Ok(())
    }

    /// Writes a file for each credential.
    pub(super) fn write_to(&mut self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        std::fs::create_dir_all(folder)?;
        self.folder = Some(folder.to_owned());
        self.current.iter().flatten().map(|credential| credential.write_to(folder)).collect()
    }
}

/// Replaces a file. The new file has mode 0600.
pub(super) fn write_file(folder: &Path, name: &str, text: &str) -> io::Result<PathBuf> {
    // A temporary file has this mode from the start, so other users can never read it.
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

/// A secret that ends with `=` and often contains `+` and `/`. Form encoding changes these characters, so a test sees
/// whether a client encodes its secret.
fn random_secret() -> String {
    let bytes = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
    STANDARD.encode(bytes)
}
