//! The environment variables of a configuration, including the credentials directory of systemd. The lookup is a
//! function, so that tests need not change the environment of the process.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

type Lookup = dyn Fn(&str) -> Option<OsString> + Send + Sync;

/// The environment variables that a configuration can refer to.
pub struct Environment {
    lookup: Box<Lookup>,
}

impl Environment {
    /// The variables of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self::new(|name| std::env::var_os(name))
    }

    /// No variables.
    #[must_use]
    pub fn empty() -> Self {
        Self::new(|_| None)
    }

    /// Variables from a lookup function.
    #[must_use]
    pub fn new(lookup: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static) -> Self {
        Self { lookup: Box::new(lookup) }
    }

    /// The value of a variable.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<OsString> {
        (self.lookup)(name)
    }

    /// The directory of systemd credentials (`systemd.exec(5)`, `LoadCredential=`).
    #[must_use]
    pub fn credentials_directory(&self) -> Option<PathBuf> {
        self.variable("CREDENTIALS_DIRECTORY").filter(|path| !path.is_empty()).map(PathBuf::from)
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Environment").finish_non_exhaustive()
    }
}
