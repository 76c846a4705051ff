//! How a request obtained its token, for the access log.

/// How a request obtained its token. Ordered by significance: where several apply, the greatest is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenUse {
    /// A valid token was in memory.
    Kept,
    /// A valid token was in memory, and this request started its background refresh.
    Refreshed,
    /// The request waited for another request's token request.
    Waited,
    /// The request started the token request.
    Fetched,
}

impl TokenUse {
    /// The name in the access log.
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
