//! Secrets and private keys: their sources, and a type that keeps them out of logs.
//!
//! A secret that is not available affects only its tenant and is not a fault of the file, so it is represented as
//! a value: [`SecretUnavailable`]. Not here: parsing private keys. Files and environment variables are the only
//! sources.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::environment::Environment;

/// The maximum size of a secret or key, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// The configured source of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file; a relative path is looked up in `$CREDENTIALS_DIRECTORY` first, then in the directory of the
    /// configuration.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
}

/// The place a secret was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretPlace {
    /// A file, which is read again on reload.
    File(PathBuf),
    /// A systemd credential, which does not change while the service runs.
    CredentialsDirectory(PathBuf),
    /// An environment variable, which does not change while the process runs.
    Environment,
}

/// A secret. `Debug` does not show it, and its memory is overwritten on drop.
#[derive(Clone)]
pub struct Secret(SecretString);

/// A secret is not available. Has the source and the reason, but nothing of the content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{source_description}: {reason}")]
pub struct SecretUnavailable {
    /// The source, such as `file /run/secrets/acme-client-secret`.
    pub source_description: Arc<str>,
    /// The reason, and what to do.
    pub reason: Arc<str>,
}

impl Secret {
    /// A secret with this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(SecretString::from(text))
    }

    /// The text of the secret, for the code that sends it or signs with it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(redacted)")
    }
}

impl SecretSource {
    /// Reads the current secret.
    ///
    /// # Errors
    /// [`SecretUnavailable`] if it is missing, empty, too large or not text.
    pub fn read(&self, directory: &Path, environment: &Environment) -> Result<Secret, SecretUnavailable> {
        let read = match self {
            Self::File(path) => read_file(&located(path, directory, environment)),
            Self::Environment(name) => {
                match environment.variable(name).map(std::ffi::OsString::into_string) {
                    Some(Ok(value)) => Ok(Zeroizing::new(value.into_bytes())),
                    Some(Err(_)) => Err("it is not UTF-8 text".to_owned()),
                    None => Err("the variable is not set; set it and restart".to_owned()),
                }
            }
        };
        read.and_then(|bytes| text_of(&bytes)).map_err(|reason| SecretUnavailable {
            source_description: self.description(directory, environment).into(),
            reason: reason.into(),
        })
    }

    /// The place the secret is read from.
    #[must_use]
    pub fn place(&self, directory: &Path, environment: &Environment) -> SecretPlace {
        match self.file(directory, environment) {
            None => SecretPlace::Environment,
            Some(file) => match environment.credentials_directory() {
                Some(credentials) if file.starts_with(&credentials) => {
                    SecretPlace::CredentialsDirectory(file)
                }
                _ => SecretPlace::File(file),
            },
        }
    }

    /// The path of the file, if the source is one.
    #[must_use]
    pub fn file(&self, directory: &Path, environment: &Environment) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(located(path, directory, environment)),
            Self::Environment(_) => None,
        }
    }

    fn description(&self, directory: &Path, environment: &Environment) -> String {
        match self {
            Self::File(path) => format!("file {}", located(path, directory, environment).display()),
            Self::Environment(name) => format!("environment variable {name}"),
        }
    }
}

fn located(path: &Path, directory: &Path, environment: &Environment) -> PathBuf {
    let of_systemd = environment.credentials_directory().map(|credentials| credentials.join(path));
    match of_systemd {
        Some(file) if path.is_relative() && file.is_file() => file,
        _ => directory.join(path),
    }
}

fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    // Check before opening: opening a pipe would block until it has a writer.
    let metadata = std::fs::metadata(path).map_err(|error| reason_of(&error))?;
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    // Allocate the full size: growing the buffer would leave copies of the secret in memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 2));
    let limit = u64::try_from(MAX_BYTES + 2).unwrap_or(u64::MAX);
    let file = File::open(path).map_err(|error| reason_of(&error))?;
    file.take(limit).read_to_end(&mut bytes).map_err(|error| reason_of(&error))?;
    Ok(bytes)
}

fn reason_of(error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::NotFound {
        "there is no such file".to_owned()
    } else if error.kind() == std::io::ErrorKind::PermissionDenied {
        "this process may not read it".to_owned()
    } else {
        format!("it can't be read ({error})")
    }
}

fn text_of(bytes: &[u8]) -> Result<Secret, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    match text.len() {
        0 => Err("it is empty".to_owned()),
        length if length > MAX_BYTES => Err("it is larger than 64 KiB, so it is no secret or key".to_owned()),
        _ => Ok(Secret::new(text)),
    }
}

#[cfg(test)]
#[path = "secret_tests.rs"]
mod tests;
