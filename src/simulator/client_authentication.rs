//! Who asks for a token: HTTP Basic or a client assertion, one of them and only one.
//!
//! Basic is accepted with id and secret as they are, and form-encoded as RFC 6749 section 2.3.1 has it. Deliberately
//! absent: a secret in the form, which Talkdesk does not document.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use std::time::SystemTime;

use super::client_assertion::{self, AssertionIds};
use super::credentials::{Credential, Secret};
use super::identity::OauthError;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Fails unless the request proves to come from the client of `credential`.
pub(super) fn authenticate(
    fields: &HeaderMap,
    form: &[(String, String)],
    credential: &Credential,
    token_url: &str,
    seen: &AssertionIds,
    now: SystemTime,
) -> Result<(), OauthError> {
    let of_form = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let assertion = of_form("client_assertion");
    let kind = of_form("client_assertion_type");
    match (fields.get(AUTHORIZATION), assertion, kind) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            Err(OauthError::invalid_request("the client authenticates in more than one way"))
        }
        (Some(value), None, None) => basic(value.to_str().unwrap_or_default(), credential),
        (None, Some(assertion), Some(ASSERTION_TYPE)) => {
            if of_form("client_id").is_some_and(|id| id != credential.client_id) {
                return Err(OauthError::invalid_client("client_id is not the subject of the assertion"));
            }
            client_assertion::verify(assertion, credential, token_url, seen, now)
                .map_err(OauthError::invalid_client)
        }
        (None, Some(_), Some(_)) => Err(OauthError::invalid_client("unknown client_assertion_type")),
        (None, Some(_), None) | (None, None, Some(_)) => {
            Err(OauthError::invalid_request("client_assertion and client_assertion_type go together"))
        }
        (None, None, None) => Err(OauthError::invalid_client("the client does not authenticate")),
    }
}

fn basic(value: &str, credential: &Credential) -> Result<(), OauthError> {
    let unknown = || OauthError::invalid_client("unknown client or wrong secret");
    let Secret::ClientSecret(secret) = &credential.secret else {
        return Err(OauthError::invalid_client("this client authenticates with private_key_jwt"));
    };
    let (scheme, encoded) = value.split_once(' ').ok_or_else(unknown)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(OauthError::invalid_client("the scheme must be Basic"));
    }
    let decoded = STANDARD.decode(encoded.trim()).map_err(|_| unknown())?;
    let pair = String::from_utf8(decoded).map_err(|_| unknown())?;
    let (id, given) = pair.split_once(':').ok_or_else(unknown)?;
    let plain = id == credential.client_id && given == secret;
    let encoded = form_decoded(id) == credential.client_id && form_decoded(given) == *secret;
    if plain || encoded { Ok(()) } else { Err(unknown()) }
}

fn form_decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}
