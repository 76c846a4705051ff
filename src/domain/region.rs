//! Talkdesk's regions, with the API origin and token endpoint of each.
//!
//! A region's tokens are valid only for that region's API (Talkdesk's documentation, "How to guarantee your
//! app works in all regions").

use std::fmt;
use std::str::FromStr;

/// The region of a Talkdesk account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Region {
    /// United States.
    #[default]
    Us,
    /// Europe.
    Eu,
    /// Canada.
    Ca,
    /// Australia.
    Au,
}

impl Region {
    /// All regions, in the order in which messages list them.
    pub const ALL: [Self; 4] = [Self::Us, Self::Eu, Self::Ca, Self::Au];

    /// The origin of the region's API.
    #[must_use]
    pub const fn api_url(self) -> &'static str {
        match self {
            Self::Us => "https://api.talkdeskapp.com",
            Self::Eu => "https://api.talkdeskapp.eu",
            Self::Ca => "https://api.talkdeskappca.com",
            Self::Au => "https://api.talkdeskapp.au",
        }
    }

    /// The token endpoint. `{account}` is replaced by the name of the account that owns the client.
    #[must_use]
    pub const fn token_url(self) -> &'static str {
        match self {
            Self::Us => "https://{account}.talkdeskid.com/oauth/token",
            Self::Eu => "https://{account}.talkdeskid.eu/oauth/token",
            Self::Ca => "https://{account}.talkdeskidca.com/oauth/token",
            Self::Au => "https://{account}.talkdeskid.au/oauth/token",
        }
    }

    /// The region's name in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Us => "us",
            Self::Eu => "eu",
            Self::Ca => "ca",
            Self::Au => "au",
        }
    }
}

impl FromStr for Region {
    type Err = super::id::InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|region| region.as_str() == text)
            .ok_or(super::id::InvalidId("must be one of us, eu, ca, au"))
    }
}

impl fmt::Display for Region {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
