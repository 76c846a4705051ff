//! How a request came by its token, for the access log.

/// How a request came by its token, the one that tells most last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenUse {
    /// It was there.
    Kept,
    /// It was there, and the request had it refreshed in the background.
    Refreshed,
    /// Another request was fetching it.
    Waited,
    /// The request had it fetched.
    Fetched,
}

impl TokenUse {
    /// As the access log has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Refreshed => "refreshed",
            Self::Waited => "waited",
            Self::Fetched => "fetched",
        }
    }
}
