//! OAuth clients in the domain: owner and identity. The secret is kept in `config::secret`; no rule needs it.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use super::id::{ClientId, Scope};
use super::tenant_name::TenantName;

/// One OAuth client with its token URL; owned by exactly one Organization or Instance.
#[derive(Debug, PartialEq, Eq)]
pub struct Credential {
    /// The owner.
    pub owner: TenantName,
    /// The client's identifier.
    pub client_id: ClientId,
    /// The token endpoint.
    pub token_url: Arc<str>,
    /// The origin of the API that accepts its tokens: scheme, host and port, without a trailing slash.
    pub api_origin: Arc<str>,
    /// The scopes to request. None: no `scope` is sent, and Talkdesk grants all scopes of the client.
    pub scopes: Option<BTreeSet<Scope>>,
    /// Identifies the credential by all that its tokens depend on.
    pub key: CredentialKey,
}

/// Identifies a credential across reloads. Credentials with equal keys would get equal tokens and see equal
/// data, so they may share both. Credentials with different keys never do.
///
/// The key is a SHA-256 digest, to be short: it is the start of every cache key. Each input is preceded by
/// its length, so different inputs never produce equal bytes.
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

    /// The bytes, as the start of cache keys.
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
