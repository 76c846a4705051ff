//! An OAuth client as the domain sees it: who owns it and what it can be told apart by. Its secret lives
//! elsewhere (`config::secret`), and no rule here needs it.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use super::id::{ClientId, Scope};
use super::tenant::TenantName;

/// One OAuth client with its token URL; owned by exactly one Organization or Instance.
#[derive(Debug, PartialEq, Eq)]
pub struct Credential {
    /// Whose it is.
    pub owner: TenantName,
    /// The client's identifier.
    pub client_id: ClientId,
    /// Where its tokens come from.
    pub token_url: Arc<str>,
    /// The origin of the API at which its tokens work: scheme, host and port, without a slash at the end.
    pub api_origin: Arc<str>,
    /// The scopes that are asked for. None: no `scope` is sent, and Talkdesk grants all that the client has.
    pub scopes: Option<BTreeSet<Scope>>,
    /// Everything that makes a token of this credential, in one value.
    pub key: CredentialKey,
}

/// Identifies a credential across a reload: two credentials with one key would fetch equal tokens and see
/// equal data, so they may share both; any other two never do.
///
/// It is a digest (SHA-256) of them, since every key of a cached answer begins with it. Every part is preceded by its
/// length, so no two different inputs run together into equal bytes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct CredentialKey(Arc<[u8]>);

impl CredentialKey {
    /// The key of these inputs.
    #[must_use]
    pub fn new(
        token_url: &str,
        api_origin: &str,
        client_id: &ClientId,
        scopes: Option<&BTreeSet<Scope>>,
        key_id: Option<&str>,
    ) -> Self {
        let mut bytes = Vec::new();
        let mut part = |text: &str| {
            bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        };
        part(token_url);
        part(api_origin);
        part(client_id.as_str());
        part(key_id.map_or("no key id", |_| "key id"));
        part(key_id.unwrap_or_default());
        part(scopes.map_or("no scopes", |_| "scopes"));
        for scope in scopes.into_iter().flatten() {
            part(scope.as_str());
        }
        Self(digest(&SHA256, &bytes).as_ref().into())
    }

    /// The bytes, for keys that begin with a credential.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(token_url: &str, client: &str, scopes: Option<&[&str]>, key_id: Option<&str>) -> CredentialKey {
        let scopes = scopes.map(|list| list.iter().map(|scope| scope.parse().expect("scope")).collect());
        CredentialKey::new(token_url, "https://api", &client.parse().expect("id"), scopes.as_ref(), key_id)
    }

    #[test]
    fn every_input_of_a_token_is_in_its_key() {
        let keys = [
            key("https://a/token", "bc", None, None),
            key("https://a/tokenb", "c", None, None),
            key("https://a/token", "bc", Some(&[]), None),
            key("https://a/token", "bc", Some(&["x"]), None),
            key("https://a/token", "bc", Some(&["x", "y"]), None),
            key("https://a/token", "bc", None, Some("")),
            key("https://a/token", "bc", None, Some("x")),
        ];
        for (index, one) in keys.iter().enumerate() {
            for other in &keys[index + 1..] {
                assert_ne!(one, other);
            }
        }
    }
}
