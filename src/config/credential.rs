//! The key `credential` of an Organization or Instance. Messages never repeat its content.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use super::key::Definition;
use super::key::{Key, Section, keys};
use super::kind::{Choice, List, Scalar};
use super::object::Object;
use super::reader::{Ledger, Located, Location, values};
use super::secret::SecretSource;
use super::settings::{Algorithm, Authentication, BasicEncoding};
use super::value;
use crate::domain::id::{AccountName, ClientId, Scope};

pub(super) static CREDENTIAL: Section = Section {
    discreet: true,
    definition: Some(Definition {
        name: "credential",
        title: "",
        description: "An OAuth client of Talkdesk's: `client_secret` or `private_key`, whichever it was made with.",
    }),
    constrain: |schema| {
        let of_key = json!({ "private_key": false, "key_id": false, "algorithm": false });
        let of_secret = json!({ "client_secret": false, "basic_encoding": false });
        schema["oneOf"] = json!([
            { "required": ["client_secret"], "properties": of_key },
            { "required": ["private_key"], "properties": of_secret }
        ]);
    },
    ..Section::new(KEYS)
};

keys! {
    KEYS;
    pub(super) ACCOUNT: Scalar<AccountName> = "account", value::ACCOUNT_NAME, Optional,
        "Fills `{account}` of the token URL. Of an Instance: its own name unless set; of an Organization: \
         needed, as long as the token URL has `{account}`.";
    CLIENT_ID: Scalar<ClientId> = "client_id",
        Scalar::new(
            || json!({ "type": ["string", "number", "boolean"], "pattern": "^[ -~]{1,256}$" }),
            value::domain,
        ), Required("write the OAuth client's id"),
        "The client's id.";
    CLIENT_SECRET: Section = "client_secret", SECRET, Optional,
        "Where the client's secret is; in the place of `private_key`.";
    BASIC_ENCODING: Choice<BasicEncoding> = "basic_encoding",
        Choice(&[("plain", BasicEncoding::Plain), ("rfc6749", BasicEncoding::Rfc6749)]), Default("plain"),
        "Whether id and secret are form-encoded before they become a Basic credential (`rfc6749`) or not \
         (`plain`, as Talkdesk documents it). With `client_secret` only.";
    PRIVATE_KEY: Section = "private_key", SECRET, Optional,
        "Where the client's private key is: PEM, or the bare base64 that Talkdesk hands out. In the place of \
         `client_secret`.";
    KEY_ID: Scalar<String> = "key_id", value::TEXT, Optional,
        "The `kid` of its assertions; unset: none is sent. With `private_key` only.";
    ALGORITHM: Choice<Algorithm> = "algorithm",
        Choice(&[("ES256", Algorithm::Es256), ("RS256", Algorithm::Rs256)]), Default("ES256"),
        "How its assertions are signed. With `private_key` only.";
    SCOPES: List<Scalar<Scope>> = "scopes",
        List { if_empty: Some(SCOPES_ADVICE), ..List::of(value::SCOPE) }, Optional,
        "The scopes to ask for; unset: all that the client was granted. One that it was not granted spoils \
         the whole token.";
}

keys! {
    SECRET_KEYS;
    FILE: Scalar<SecretSource> = "file",
        Scalar::new(
            || json!({ "type": ["string", "number", "boolean"], "minLength": 1, "pattern": "^[^\\n]+$" }),
            file,
        ), Optional,
        "A file. A relative name is looked up in `$CREDENTIALS_DIRECTORY` where that is set (systemd), else \
         beside the configuration.";
    ENVIRONMENT_VARIABLE: Scalar<SecretSource> = "env",
        Scalar::new(
            || json!({ "type": ["string", "integer", "boolean"], "minimum": 0, "pattern": "^[A-Za-z0-9_]+$" }),
            environment_variable,
        ), Optional,
        "An environment variable, which is read at the start only.";
}

const SCOPES_ADVICE: &str =
    "write at least one scope, or take the key out: none is sent then, and all are granted";

static SECRET: Section = Section {
    takes_null: false,
    definition: Some(Definition {
        name: "secret",
        title: "where a secret is",
        description: "Where a secret is: `{ file: NAME }` or `{ env: NAME }`. The secret itself never stands in the \
                      configuration.",
    }),
    constrain: |schema| {
        schema["minProperties"] = 1.into();
        schema["maxProperties"] = 1.into();
    },
    ..Section::new(SECRET_KEYS)
};

/// A credential as written in the file.
pub(super) struct CredentialEntry {
    pub(super) place: Location,
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
pub(super) fn read(section: &Object<'_>, ledger: &Ledger) -> Option<CredentialEntry> {
    let client_id = section.required(&CLIENT_ID);
    let account = section.optional(&ACCOUNT);
    let scopes = section.optional(&SCOPES).map(values);
    let (authentication, source) = proof(section, ledger)?;
    let place = section.place.clone();
    Some(CredentialEntry { place, account, client_id: client_id?, scopes, authentication, source })
}

/// The client authentication: exactly one of a client secret and a private key.
fn proof(section: &Object<'_>, ledger: &Ledger) -> Option<(Authentication, Located<SecretSource>)> {
    let encoding = section.get(&BASIC_ENCODING)?;
    let key_id = section.optional(&KEY_ID);
    let algorithm = section.get(&ALGORITHM)?;
    let misplaced = |place: Option<Location>, belongs_to: &Key<Section>| {
        if let Some(place) = place {
            let key = belongs_to.name;
            ledger.error(&place, format!("found a key that belongs to `{key}`; take it out"));
        }
    };
    match (section.value(&CLIENT_SECRET), section.value(&PRIVATE_KEY)) {
        (Some(_), None) => {
            misplaced(section.place_of(&KEY_ID), &PRIVATE_KEY);
            misplaced(section.place_of(&ALGORITHM), &PRIVATE_KEY);
            let source = source(section, &CLIENT_SECRET, "acme-client-secret")?;
            Some((Authentication::ClientSecretBasic { encoding }, source))
        }
        (None, Some(_)) => {
            misplaced(section.place_of(&BASIC_ENCODING), &CLIENT_SECRET);
            let source = source(section, &PRIVATE_KEY, "globex-key")?;
            Some((Authentication::PrivateKeyJwt { key_id: key_id.map(Arc::from), algorithm }, source))
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
                &CLIENT_SECRET,
                "write `client_secret: { file: acme-client-secret }`, or a `private_key` likewise",
            );
            None
        }
    }
}

fn source(section: &Object<'_>, key: &Key<Section>, example: &str) -> Option<Located<SecretSource>> {
    let value = section.value(key)?;
    if !value.is_mapping() {
        value.wrong(&format!(
            "write `{{ file: {example} }}` or `{{ env: NAME }}`: the secret itself must not stand here"
        ));
        return None;
    }
    let source = section.optional(key)?;
    let (file, variable) = (source.optional(&FILE), source.optional(&ENVIRONMENT_VARIABLE));
    let both = source.value(&FILE).is_some() && source.value(&ENVIRONMENT_VARIABLE).is_some();
    if both || value.is_empty() {
        value.wrong(&format!("write one of `file` and `env`, such as `{{ file: {example} }}`"));
    }
    let found = file.or(variable).filter(|_| !both)?;
    Some(Located { value: found, place: source.place })
}

fn file(text: &str) -> Result<SecretSource, String> {
    if text.is_empty() || text.contains(['\0', '\n']) {
        return Err("write the name of a file, such as `acme-client-secret`".to_owned());
    }
    Ok(SecretSource::File(text.into()))
}

fn environment_variable(text: &str) -> Result<SecretSource, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err("write the name of a variable, such as `ACME_CLIENT_SECRET`".to_owned());
    }
    Ok(SecretSource::Environment(text.to_owned()))
}
