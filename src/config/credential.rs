//! The key `credential` of an Organization or Instance. Messages never repeat its content.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::reader::{Ledger, Located, Object, Place, Value};
use super::secret::SecretSource;
use super::{Algorithm, Authentication, BasicEncoding, value};
use crate::domain::id::{AccountName, ClientId, Scope};

/// A credential as written in the file.
pub(super) struct CredentialEntry {
    pub(super) place: Place,
    pub(super) account: Option<AccountName>,
    pub(super) client_id: Located<ClientId>,
    pub(super) scopes: Option<BTreeSet<Scope>>,
    pub(super) authentication: Authentication,
    pub(super) source: Located<SecretSource>,
}

impl CredentialEntry {
    /// The `kid` of the client's assertions.
    pub(super) fn key_id(&self) -> Option<&str> {
        match &self.authentication {
            Authentication::PrivateKeyJwt { key_id, .. } => key_id.as_deref(),
            Authentication::ClientSecretBasic { .. } => None,
        }
    }
}

/// Reads the credential; `None` if a required part is missing or wrong, which is recorded.
pub(super) fn read(value: Value<'_>, ledger: &Ledger) -> Option<CredentialEntry> {
    let mut section = value.discreet().object()?;
    let place = section.place.clone();
    let account = section.parsed("account", value::domain);
    let client_id = section.required("client_id", "write the OAuth client's id", value::domain);
    let scopes = scopes(&mut section);
    let proof = proof(&mut section, ledger);
    section.finish();
    let (authentication, source) = proof?;
    Some(CredentialEntry { place, account, client_id: client_id?, scopes, authentication, source })
}

fn scopes(section: &mut Object<'_>) -> Option<BTreeSet<Scope>> {
    let scopes = section.list("scopes", value::domain)?;
    if scopes.is_empty()
        && let Some(value) =
            section.value("scopes").filter(|value| value.items().is_some_and(|items| items.is_empty()))
    {
        value.wrong("write at least one scope, or take the key out: none is sent then, and all are granted");
    }
    Some(scopes.into_iter().map(|scope| scope.value).collect())
}

/// The client authentication: exactly one of a client secret and a private key.
fn proof(section: &mut Object<'_>, ledger: &Ledger) -> Option<(Authentication, Located<SecretSource>)> {
    let encoding = section.located("basic_encoding", encoding);
    let key_id = section.located("key_id", value::text);
    let algorithm = section.located("algorithm", algorithm);
    let secret = section.value("client_secret");
    let key = section.value("private_key");
    let misplaced = |place: &Place, belongs_to: &str| {
        ledger.error(place, format!("found a key that belongs to `{belongs_to}`; take it out"));
    };
    match (secret, key) {
        (Some(secret), None) => {
            for place in [key_id.map(|one| one.place), algorithm.map(|one| one.place)].into_iter().flatten() {
                misplaced(&place, "private_key");
            }
            let encoding = encoding.map(|encoding| encoding.value).unwrap_or_default();
            Some((Authentication::ClientSecretBasic { encoding }, source(&secret, "acme-client-secret")?))
        }
        (None, Some(key)) => {
            if let Some(encoding) = encoding {
                misplaced(&encoding.place, "client_secret");
            }
            let authentication = Authentication::PrivateKeyJwt {
                key_id: key_id.map(|key_id| Arc::from(key_id.value)),
                algorithm: algorithm.map_or(Algorithm::Es256, |algorithm| algorithm.value),
            };
            Some((authentication, source(&key, "globex-key")?))
        }
        (Some(_), Some(key)) => {
            ledger.error(
                &key.place,
                "found both `client_secret` and `private_key`; write the one that the client was made with",
            );
            None
        }
        (None, None) => {
            section.missing(
                "client_secret",
                "write `client_secret: { file: acme-client-secret }`, or a `private_key` likewise",
            );
            None
        }
    }
}

fn source(value: &Value<'_>, example: &str) -> Option<Located<SecretSource>> {
    if !value.is_mapping() {
        value.wrong(&format!(
            "write `{{ file: {example} }}` or `{{ env: NAME }}`: the secret itself must not stand here"
        ));
        return None;
    }
    let mut section = value.object()?;
    let place = section.place.clone();
    let file = section.located("file", |text| match text {
        "" => Err(format!("write the name of a file, as `{example}`")),
        _ if text.contains('\0') || text.contains('\n') => Err("write the name of a file".to_owned()),
        _ => Ok(SecretSource::File(text.into())),
    });
    let variable = section.located("env", |text| {
        let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if fits {
            Ok(SecretSource::Environment(text.to_owned()))
        } else {
            Err("write the name of a variable".into())
        }
    });
    let both = section.place_of("file").is_some() && section.place_of("env").is_some();
    let neither = section.entries().next().is_none();
    if both || neither {
        value.wrong(&format!("write one of `file` and `env`, as `{{ file: {example} }}`"));
    }
    section.finish();
    let found = file.or(variable).filter(|_| !both)?;
    Some(Located { value: found.value, place })
}

fn encoding(text: &str) -> Result<BasicEncoding, String> {
    match text {
        "plain" => Ok(BasicEncoding::Plain),
        "rfc6749" => Ok(BasicEncoding::Rfc6749),
        _ => Err("write `plain` or `rfc6749`".to_owned()),
    }
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    match text {
        "ES256" => Ok(Algorithm::Es256),
        "RS256" => Ok(Algorithm::Rs256),
        _ => Err("write `ES256` or `RS256`".to_owned()),
    }
}
