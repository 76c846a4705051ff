//! Why there is no token.

use std::time::Duration;

use super::grant::GrantError;

/// Why there is no token, and when the next attempt is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct NoToken {
    /// The cause.
    pub error: TokenError,
    /// The time until the next attempt.
    pub retry_in: Duration,
}

/// The cause of a missing token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The token endpoint did not give a token.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// The API answers 401 to new tokens.
    #[error("Talkdesk's API rejects tokens that its token endpoint has just issued")]
    TokenRejected,
}

impl TokenError {
    /// Whether Talkdesk refuses the credential, as opposed to being unavailable.
    #[must_use]
    pub fn is_rejection(&self) -> bool {
        matches!(self, Self::TokenRejected | Self::Grant(GrantError::Rejected(_)))
    }
}
