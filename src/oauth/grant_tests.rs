use std::sync::LazyLock;

use super::*;
use crate::config::Algorithm;
use crate::config::SecretPlace;
use crate::config::secret::SecretUnavailable;
use crate::domain::credential::CredentialKey;
use crate::domain::id::Scope;
use crate::domain::tenant::TenantName;
use crate::io::client::{Failure, FailureKind};
use jsonwebtoken::{DecodingKey, Validation};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tower::util::BoxCloneSyncService;

const TOKEN_URL: &str = "https://globex.talkdeskid.com/oauth/token";
const DEFAULT_LIFETIME: Duration = Duration::from_mins(10);
const A_DAY: Duration = Duration::from_hours(24);

fn secret(text: &str) -> Secret {
    Secret::new(text)
}

fn secret_unavailable() -> SecretUnavailable {
    SecretUnavailable {
        source_description: "file globex.secret".into(),
        reason: "there is no such file".into(),
    }
}

/// Sun, 06 Nov 1994 08:49:37 GMT.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)
}

fn credential(client_id: &str, scopes: Option<&[&str]>) -> Arc<Credential> {
    let client_id = client_id.parse().expect("a client id");
    let scopes: Option<BTreeSet<Scope>> =
        scopes.map(|scopes| scopes.iter().map(|scope| scope.parse().expect("a scope")).collect());
    let api_origin = "https://api.talkdeskapp.com";
    let key = CredentialKey::new(TOKEN_URL, api_origin, &client_id, scopes.as_ref(), None);
    let owner: TenantName = "instances/globex".parse().expect("a tenant's name");
    Arc::new(Credential {
        owner,
        client_id,
        token_url: TOKEN_URL.into(),
        api_origin: api_origin.into(),
        scopes,
        key,
    })
}

fn grant_of(credential: Arc<Credential>, authentication: Authentication, secret: Secret) -> Grant {
    Grant::new(
        &ConfiguredCredential {
            credential,
            authentication,
            secret: Ok(secret),
            place: SecretPlace::Environment,
        },
        DEFAULT_LIFETIME,
    )
}

fn with_secret(client_id: &str, text: &str, encoding: BasicEncoding) -> Grant {
    let authentication = Authentication::ClientSecretBasic { encoding };
    grant_of(credential(client_id, None), authentication, secret(text))
}

fn with_scopes(scopes: Option<&[&str]>) -> Grant {
    let authentication = Authentication::ClientSecretBasic { encoding: BasicEncoding::Plain };
    grant_of(credential("globex-client", scopes), authentication, secret("hunter2"))
}

fn grant() -> Grant {
    with_scopes(None)
}

fn with_key(key: &str, algorithm: Algorithm) -> Grant {
    let authentication = Authentication::PrivateKeyJwt { key_id: Some("key-7".into()), algorithm };
    grant_of(credential("globex-client", None), authentication, secret(key))
}

fn request_of(grant: &Grant) -> Request<Full<Bytes>> {
    grant.request(now()).expect("a request")
}

async fn form_of(grant: &Grant) -> Vec<(String, String)> {
    let body = request_of(grant).into_body().collect().await.expect("a body").to_bytes();
    form_urlencoded::parse(&body).into_owned().collect()
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// The text inside a Basic field.
fn basic_text(grant: &Grant) -> String {
    let request = request_of(grant);
    let field = request.headers().get(AUTHORIZATION).expect("an Authorization field");
    let encoded = field.to_str().expect("ASCII").strip_prefix("Basic ").expect("Basic");
    String::from_utf8(STANDARD.decode(encoded).expect("base64")).expect("UTF-8")
}

fn granted(body: &str) -> Granted {
    grant().granted(body.as_bytes()).expect("a token")
}

#[track_caller]
fn error_of<T>(outcome: Result<T, GrantError>) -> GrantError {
    match outcome {
        Ok(_) => panic!("an error was expected"),
        Err(error) => error,
    }
}

fn is_malformed(body: &[u8]) -> bool {
    matches!(grant().granted(body), Err(GrantError::Malformed(_)))
}

// What is asked.

#[test]
fn a_token_is_asked_for_at_the_token_url_with_a_form() {
    let request = request_of(&grant());
    assert_eq!(request.method(), Method::POST);
    assert_eq!(request.uri(), TOKEN_URL);
    assert_eq!(request.headers()[CONTENT_TYPE], "application/x-www-form-urlencoded");
    assert_eq!(request.headers()[ACCEPT], "application/json");
    assert_eq!(request.headers()[USER_AGENT], AGENT);
}

#[tokio::test]
async fn no_scope_and_no_secret_is_in_the_form_of_a_client_with_a_secret() {
    assert_eq!(form_of(&grant()).await, [pair("grant_type", "client_credentials")]);
}

#[tokio::test]
async fn configured_scopes_are_sent_in_one_field() {
    let form = form_of(&with_scopes(Some(&["express-products:read", "express-accounts:read"]))).await;
    let expected = [
        pair("grant_type", "client_credentials"),
        pair("scope", "express-accounts:read express-products:read"),
    ];
    assert_eq!(form, expected);
}

#[rstest]
#[case::simple("globex-client", "hunter2", "globex-client:hunter2")]
#[case::a_colon("globex-client", "a:b", "globex-client:a:b")]
#[case::a_percent_sign("globex-client", "50%41", "globex-client:50%41")]
#[case::a_space_and_a_plus("globex-client", "a b+c", "globex-client:a b+c")]
#[case::base64("globex-client", "aGk/bG8+Zm9v==", "globex-client:aGk/bG8+Zm9v==")]
#[case::beyond_ascii("globex-client", "clé", "globex-client:clé")]
fn plain_basic_sends_id_and_secret_as_they_are(#[case] id: &str, #[case] text: &str, #[case] expected: &str) {
    assert_eq!(basic_text(&with_secret(id, text, BasicEncoding::Plain)), expected);
}

#[rstest]
#[case::simple("globex-client", "hunter2", "globex-client:hunter2")]
#[case::a_colon("globex-client", "a:b", "globex-client:a%3Ab")]
#[case::a_colon_in_the_id("globex:client", "b", "globex%3Aclient:b")]
#[case::a_percent_sign("globex-client", "50%41", "globex-client:50%2541")]
#[case::a_space_and_a_plus("globex client", "a b+c", "globex+client:a+b%2Bc")]
#[case::base64("globex-client", "aGk/bG8+Zm9v==", "globex-client:aGk%2FbG8%2BZm9v%3D%3D")]
#[case::beyond_ascii("globex-client", "clé", "globex-client:cl%C3%A9")]
fn basic_as_rfc_6749_has_it_form_encodes_both_first(
    #[case] id: &str,
    #[case] text: &str,
    #[case] expected: &str,
) {
    assert_eq!(basic_text(&with_secret(id, text, BasicEncoding::Rfc6749)), expected);
}

#[test]
fn the_basic_field_is_marked_as_sensitive() {
    assert!(request_of(&grant()).headers()[AUTHORIZATION].is_sensitive());
}

#[tokio::test]
async fn a_client_whose_secret_cannot_be_read_asks_for_nothing() {
    let configured = ConfiguredCredential {
        credential: credential("globex-client", None),
        authentication: Authentication::ClientSecretBasic { encoding: BasicEncoding::Plain },
        secret: Err(secret_unavailable()),
        place: SecretPlace::Environment,
    };
    let grant = Grant::new(&configured, DEFAULT_LIFETIME);
    let untouched: Outbound = BoxCloneSyncService::new(tower::service_fn(|_| async {
        panic!("a request was sent");
    }));
    let expected = GrantError::SecretUnavailable(secret_unavailable().to_string().into());
    assert_eq!(grant.usable(), Err(expected.clone()));
    assert_eq!(error_of(grant.exchange(untouched, now()).await), expected);
}

// Assertions.

static EC_KEY: LazyLock<KeyPair> =
    LazyLock::new(|| KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key"));
static RSA_KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key"));

fn key_of(algorithm: Algorithm) -> &'static KeyPair {
    match algorithm {
        Algorithm::Es256 => &EC_KEY,
        Algorithm::Rs256 => &RSA_KEY,
    }
}

fn pem(key: &KeyPair) -> String {
    key.serialize_pem()
}

fn bare_base64(key: &KeyPair) -> String {
    STANDARD.encode(key.serialized_der())
}

fn bare_base64_in_lines(key: &KeyPair) -> String {
    let text = bare_base64(key);
    let (first, second) = text.split_at(50);
    format!("  {first}\r\n{second}\n")
}

async fn assertion_of(grant: &Grant) -> String {
    let form = form_of(grant).await;
    let assertion = form.into_iter().find(|(name, _)| name == "client_assertion");
    assertion.expect("an assertion").1
}

/// The claims of an assertion whose signature is good.
fn verified(assertion: &str, algorithm: Algorithm) -> jsonwebtoken::errors::Result<Value> {
    let public = key_of(algorithm).public_key_pem();
    let (key, algorithm) = match algorithm {
        Algorithm::Es256 => (DecodingKey::from_ec_pem(public.as_bytes())?, jsonwebtoken::Algorithm::ES256),
        Algorithm::Rs256 => (DecodingKey::from_rsa_pem(public.as_bytes())?, jsonwebtoken::Algorithm::RS256),
    };
    let mut validation = Validation::new(algorithm);
    // The times are those of these tests, long ago.
    validation.validate_exp = false;
    validation.set_audience(&[TOKEN_URL]);
    Ok(jsonwebtoken::decode(assertion, &key, &validation)?.claims)
}

#[rstest]
#[tokio::test]
async fn an_assertion_says_who_asks_whom_and_until_when_and_is_signed(
    #[values(Algorithm::Es256, Algorithm::Rs256)] algorithm: Algorithm,
    #[values(pem, bare_base64, bare_base64_in_lines)] written: fn(&KeyPair) -> String,
) {
    let grant = with_key(&written(key_of(algorithm)), algorithm);
    let claims = verified(&assertion_of(&grant).await, algorithm).expect("a good signature");
    assert_eq!(claims["iss"], "globex-client");
    assert_eq!(claims["sub"], "globex-client");
    assert_eq!(claims["aud"], TOKEN_URL);
    assert_eq!(claims["iat"], 784_111_777);
    assert_eq!(claims["exp"], 784_111_777 + 5 * 60);
}

#[rstest]
#[tokio::test]
async fn another_key_does_not_verify_an_assertion(
    #[values(Algorithm::Es256, Algorithm::Rs256)] algorithm: Algorithm,
) {
    let other = match algorithm {
        Algorithm::Es256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        Algorithm::Rs256 => KeyPair::generate_for(&PKCS_RSA_SHA256),
    };
    let grant = with_key(&pem(&other.expect("a key")), algorithm);
    assert!(verified(&assertion_of(&grant).await, algorithm).is_err());
}

#[rstest]
#[case::es256(Algorithm::Es256, jsonwebtoken::Algorithm::ES256)]
#[case::rs256(Algorithm::Rs256, jsonwebtoken::Algorithm::RS256)]
#[tokio::test]
async fn the_head_of_an_assertion_names_key_and_algorithm(
    #[case] algorithm: Algorithm,
    #[case] expected: jsonwebtoken::Algorithm,
) {
    let assertion = assertion_of(&with_key(&pem(key_of(algorithm)), algorithm)).await;
    let head = jsonwebtoken::decode_header(&assertion).expect("a head");
    assert_eq!(head.kid.as_deref(), Some("key-7"));
    assert_eq!(head.alg, expected);
}

#[tokio::test]
async fn without_a_key_id_the_head_names_no_key() {
    let authentication = Authentication::PrivateKeyJwt { key_id: None, algorithm: Algorithm::Es256 };
    let grant = grant_of(credential("globex-client", None), authentication, secret(&pem(&EC_KEY)));
    let head = jsonwebtoken::decode_header(assertion_of(&grant).await).expect("a head");
    assert_eq!(head.kid, None);
}

#[tokio::test]
async fn every_attempt_has_an_assertion_id_of_its_own() {
    let grant = with_key(&pem(&EC_KEY), Algorithm::Es256);
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        let claims = verified(&assertion_of(&grant).await, Algorithm::Es256).expect("a good signature");
        let id = claims["jti"].as_str().expect("a text").to_owned();
        assert!(!id.is_empty() && seen.insert(id));
    }
}

#[tokio::test]
async fn the_form_of_a_client_with_a_key_carries_the_assertion_in_place_of_the_basic_field() {
    let grant = with_key(&pem(&EC_KEY), Algorithm::Es256);
    assert!(!request_of(&grant).headers().contains_key(AUTHORIZATION));
    let form = form_of(&grant).await;
    let names: Vec<_> = form.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["grant_type", "client_assertion_type", "client_assertion"]);
    assert_eq!(form[1].1, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
}

#[rstest]
#[case::a_secret("hunter2".to_owned(), Algorithm::Es256)]
#[case::nothing(String::new(), Algorithm::Es256)]
#[case::an_rsa_key_for_es256(pem(&RSA_KEY), Algorithm::Es256)]
#[case::an_ec_key_for_rs256(pem(&EC_KEY), Algorithm::Rs256)]
#[case::a_bare_ec_key_for_rs256(bare_base64(&EC_KEY), Algorithm::Rs256)]
#[case::another_curve(pem(&KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key")), Algorithm::Es256)]
#[case::half_a_key(bare_base64(&EC_KEY).split_at(60).0.to_owned(), Algorithm::Es256)]
#[case::half_an_rsa_key(bare_base64(&RSA_KEY).split_at(600).0.to_owned(), Algorithm::Rs256)]
#[case::a_public_key(EC_KEY.public_key_pem(), Algorithm::Es256)]
fn an_unusable_key_is_refused_at_once_and_not_shown(#[case] key: String, #[case] algorithm: Algorithm) {
    let grant = with_key(&key, algorithm);
    let error = grant.usable().expect_err("a refusal");
    assert!(matches!(error, GrantError::SecretUnavailable(_)), "{error:?}");
    for line in key.lines().filter(|line| !line.is_empty()) {
        assert!(!error.to_string().contains(line) && !format!("{error:?}").contains(line), "{error}");
    }
    assert_eq!(error_of(grant.request(now())), error);
}

// Answers that are a token.

#[test]
fn a_token_becomes_a_sensitive_bearer_field() {
    let token = granted(r#"{"access_token":"abc.def-1","token_type":"Bearer","expires_in":600}"#);
    assert_eq!(token.authorization, "Bearer abc.def-1");
    assert!(token.authorization.is_sensitive());
}

#[rstest]
#[case::missing(r#"{"token_type":"Bearer","expires_in":600}"#)]
#[case::null(r#"{"access_token":null,"token_type":"Bearer"}"#)]
#[case::empty(r#"{"access_token":"","token_type":"Bearer"}"#)]
#[case::a_number(r#"{"access_token":5}"#)]
#[case::a_line_break(r#"{"access_token":"a\r\nHost: evil"}"#)]
#[case::beyond_ascii(r#"{"access_token":"clé"}"#)]
#[case::there_twice(r#"{"access_token":"a","access_token":"b"}"#)]
fn an_answer_without_a_usable_access_token_is_malformed(#[case] body: &str) {
    assert!(is_malformed(body.as_bytes()));
}

#[rstest]
#[case::nothing(b"")]
#[case::a_page(b"<html>Sign in</html>")]
#[case::a_list(b"[]")]
#[case::null(b"null")]
#[case::a_text(b"\"token\"")]
#[case::an_empty_object(b"{}")]
#[case::an_error(br#"{"error":"invalid_client"}"#)]
#[case::cut_off(br#"{"access_token":"abc","token_ty"#)]
#[case::more_than_one(br#"{"access_token":"a"}{"access_token":"b"}"#)]
#[case::not_utf_8(b"{\"access_token\":\"\xff\"}")]
fn a_body_that_is_no_token_is_malformed(#[case] body: &[u8]) {
    assert!(is_malformed(body));
}

#[rstest]
#[case::as_documented(r#","token_type":"Bearer""#)]
#[case::in_small_letters(r#","token_type":"bearer""#)]
#[case::in_capitals(r#","token_type":"BEARER""#)]
#[case::null(r#","token_type":null"#)]
#[case::missing("")]
fn a_bearer_token_is_taken_and_so_is_one_that_does_not_say(#[case] member: &str) {
    assert!(grant().granted(format!(r#"{{"access_token":"abc"{member}}}"#).as_bytes()).is_ok());
}

#[rstest]
#[case::mac(r#""mac""#)]
#[case::dpop(r#""DPoP""#)]
#[case::empty(r#""""#)]
#[case::a_number("5")]
fn a_token_of_another_type_is_malformed(#[case] kind: &str) {
    assert!(is_malformed(format!(r#"{{"access_token":"abc","token_type":{kind}}}"#).as_bytes()));
}

#[test]
fn a_token_that_does_not_say_how_long_it_lives_lives_as_configured() {
    assert_eq!(granted(r#"{"access_token":"abc"}"#).lifetime, DEFAULT_LIFETIME);
}

#[rstest]
#[case::null("null", DEFAULT_LIFETIME)]
#[case::seconds("3600", Duration::from_hours(1))]
#[case::a_fraction("1.5", Duration::from_millis(1_500))]
#[case::digits_in_a_string(r#""3600""#, Duration::from_hours(1))]
#[case::a_string_with_spaces(r#"" 3600 ""#, Duration::from_hours(1))]
#[case::a_day("86400", A_DAY)]
#[case::more_than_a_day("86401", A_DAY)]
#[case::the_largest_integer("18446744073709551615", A_DAY)]
#[case::larger_than_any_integer("99999999999999999999999999", A_DAY)]
#[case::larger_than_any_duration("1e300", A_DAY)]
fn a_token_lives_as_long_as_it_says_but_a_day_at_most(#[case] value: &str, #[case] expected: Duration) {
    assert_eq!(granted(&format!(r#"{{"access_token":"abc","expires_in":{value}}}"#)).lifetime, expected);
}

#[rstest]
#[case::zero("0")]
#[case::zero_as_a_fraction("0.0")]
#[case::negative("-1")]
#[case::very_negative("-1e300")]
#[case::zero_in_a_string(r#""0""#)]
#[case::negative_in_a_string(r#""-5""#)]
#[case::an_empty_string(r#""""#)]
#[case::words(r#""soon""#)]
#[case::not_a_number(r#""NaN""#)]
#[case::a_yes("true")]
#[case::a_no("false")]
#[case::a_list("[600]")]
#[case::an_object("{}")]
fn a_life_that_is_no_time_ahead_is_malformed(#[case] value: &str) {
    assert!(is_malformed(format!(r#"{{"access_token":"abc","expires_in":{value}}}"#).as_bytes()));
}

#[rstest]
#[case::null("null", &[])]
#[case::empty(r#""""#, &[])]
#[case::a_space(r#"" ""#, &[])]
#[case::one(r#""express-accounts:read""#, &["express-accounts:read"])]
#[case::two(r#""b:read a:read""#, &["a:read", "b:read"])]
#[case::two_spaces(r#"" a:read  b:read ""#, &["a:read", "b:read"])]
#[case::there_twice(r#""a:read a:read""#, &["a:read"])]
#[case::percent_encoded(r#""a%3Aread%20b%3Aread""#, &["a:read", "b:read"])]
#[case::percent_encoded_with_spaces(r#""a%3Aread b%3Aread""#, &["a:read", "b:read"])]
#[case::form_encoded(r#""a%3Aread+b%3Aread""#, &["a:read", "b:read"])]
#[case::pluses_for_spaces(r#""a:read+b:read""#, &["a:read", "b:read"])]
#[case::a_plus_beside_spaces(r#""a+b:read c:read""#, &["a+b:read", "c:read"])]
#[case::an_ampersand(r#""a&b:read c:read""#, &["a&b:read", "c:read"])]
#[case::an_ampersand_beside_encoded_ones(r#""a&b%3Aread%20c%3Aread""#, &["a&b:read", "c:read"])]
#[case::a_list(r#"["a:read"]"#, &[])]
#[case::a_number("5", &[])]
fn scopes_are_read_in_every_encoding_and_teach_nothing_where_they_cannot_be(
    #[case] value: &str,
    #[case] expected: &[&str],
) {
    let scopes = granted(&format!(r#"{{"access_token":"abc","scope":{value}}}"#)).scopes;
    assert_eq!(scopes.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn an_absent_scope_teaches_nothing() {
    assert!(granted(r#"{"access_token":"abc"}"#).scopes.is_empty());
}

// Answers that are none.

fn refusal_of(status: u16, body: &str) -> GrantError {
    grant().refusal(StatusCode::from_u16(status).expect("a status"), body.as_bytes(), None)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Rejected,
    ScopeNotEffective,
    Unavailable,
    Limited,
}

fn sort_of(error: &GrantError) -> Option<Sort> {
    match error {
        GrantError::Rejected(_) => Some(Sort::Rejected),
        GrantError::ScopeNotEffective(_) => Some(Sort::ScopeNotEffective),
        GrantError::Unavailable(_) => Some(Sort::Unavailable),
        GrantError::Limited { .. } => Some(Sort::Limited),
        GrantError::SecretUnavailable(_) | GrantError::Malformed(_) => None,
    }
}

#[rstest]
#[case::invalid_client(401, r#"{"error":"invalid_client"}"#, Sort::Rejected)]
#[case::invalid_client_as_400(400, r#"{"error":"invalid_client"}"#, Sort::Rejected)]
#[case::unauthorized_client(400, r#"{"error":"unauthorized_client"}"#, Sort::Rejected)]
#[case::unauthorized_client_as_403(403, r#"{"error":"unauthorized_client"}"#, Sort::Rejected)]
#[case::a_401_without_a_body(401, "", Sort::Rejected)]
#[case::a_401_with_a_page(401, "<html>", Sort::Rejected)]
#[case::a_401_with_another_code(401, r#"{"error":"invalid_request"}"#, Sort::Rejected)]
#[case::invalid_scope(400, r#"{"error":"invalid_scope"}"#, Sort::ScopeNotEffective)]
#[case::invalid_scope_as_401(401, r#"{"error":"invalid_scope"}"#, Sort::ScopeNotEffective)]
#[case::another_400(400, r#"{"error":"invalid_request"}"#, Sort::Unavailable)]
#[case::a_400_without_a_body(400, "", Sort::Unavailable)]
#[case::not_found(404, "<html>", Sort::Unavailable)]
#[case::request_timeout(408, r#"{"error":"invalid_client"}"#, Sort::Unavailable)]
#[case::a_redirect(302, "", Sort::Unavailable)]
#[case::no_content(204, "", Sort::Unavailable)]
#[case::internal_error(500, r#"{"error":"invalid_client"}"#, Sort::Unavailable)]
#[case::unavailable(503, "", Sort::Unavailable)]
#[case::too_many_requests(429, r#"{"error":"invalid_client"}"#, Sort::Limited)]
fn refusals_are_told_apart(#[case] status: u16, #[case] body: &str, #[case] expected: Sort) {
    assert_eq!(sort_of(&refusal_of(status, body)), Some(expected));
}

#[test]
fn a_refusal_tells_the_servers_reason() {
    let error = refusal_of(401, r#"{"error":"invalid_client","error_description":"No such client."}"#);
    assert_eq!(error, GrantError::Rejected("invalid_client No such client.".to_owned()));
}

#[test]
fn a_servers_words_are_made_short_and_printable() {
    let long = format!("line\n\u{1b}[31m\u{e9}{}", "x".repeat(1_000));
    let body = json!({ "error": "invalid_client", "error_description": long }).to_string();
    let GrantError::Rejected(told) = refusal_of(401, &body) else { panic!("rejected") };
    assert!(told.starts_with("invalid_client line??[31m?xxx"), "{told}");
    assert_eq!(told.len(), 200);
}

#[rstest]
#[case::seconds("120", Some(120))]
#[case::zero("0", Some(0))]
#[case::with_spaces(" 7 ", Some(7))]
#[case::more_than_can_be_counted("99999999999999999999", Some(u64::from(u32::MAX)))]
#[case::a_date("Sun, 06 Nov 1994 08:50:37 GMT", Some(60))]
#[case::a_date_in_the_past("Sun, 06 Nov 1994 08:48:37 GMT", Some(0))]
#[case::negative("-1", None)]
#[case::a_fraction("1.5", None)]
#[case::words("soon", None)]
#[case::nothing("", None)]
fn retry_after_is_read_as_seconds_and_as_a_date(#[case] value: &'static str, #[case] expected: Option<u64>) {
    let expected = expected.map(Duration::from_secs);
    assert_eq!(retry_after(&HeaderValue::from_static(value), now()), expected);
}

// Whole exchanges.

/// A server that gives this answer, byte for byte, and then closes the connection.
fn answering(answer: impl Into<Vec<u8>>) -> Outbound {
    let answer: Arc<[u8]> = answer.into().into();
    BoxCloneSyncService::new(tower::service_fn(move |request| {
        let answer = Arc::clone(&answer);
        async move {
            let (near, mut far) = tokio::io::duplex(256 * 1024);
            tokio::spawn(async move {
                let mut asked = vec![0; 4 * 1024];
                let _ = far.read(&mut asked).await;
                far.write_all(&answer).await.expect("the client listens");
                far.shutdown().await.expect("the client listens");
                while far.read(&mut asked).await.is_ok_and(|count| count > 0) {}
            });
            let io = hyper_util::rt::TokioIo::new(near);
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(io).await.expect("a connection");
            tokio::spawn(connection);
            Ok(sender.send_request(request).await.expect("an answer"))
        }
    }))
}

fn answer(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

async fn error_after(answer: String) -> GrantError {
    error_of(grant().exchange(answering(answer), now()).await)
}

const A_TOKEN: &str = r#"{"access_token":"abc","token_type":"Bearer","expires_in":600,"scope":"a:read"}"#;

fn padded_to(length: usize) -> String {
    A_TOKEN.to_owned() + &" ".repeat(length - A_TOKEN.len())
}

#[tokio::test]
async fn an_exchange_gives_a_token() {
    let token = grant().exchange(answering(answer("200 OK", A_TOKEN)), now()).await.expect("a token");
    assert_eq!(token.authorization, "Bearer abc");
    assert_eq!(token.lifetime, Duration::from_mins(10));
    assert_eq!(token.scopes, ["a:read".to_owned()].into());
}

#[tokio::test]
async fn no_answer_at_all_is_an_outage() {
    let dead: Outbound = BoxCloneSyncService::new(tower::service_fn(|_| async {
        Err(Failure { kind: FailureKind::Connect, detail: "connection refused".to_owned() })
    }));
    let error = error_of(grant().exchange(dead, now()).await);
    assert_eq!(error, GrantError::Unavailable("connect: connection refused".to_owned()));
}

#[rstest]
#[case::seconds("429 Too Many Requests\r\nRetry-After: 120", Some(120))]
#[case::a_date("429 Too Many Requests\r\nRetry-After: Sun, 06 Nov 1994 08:50:37 GMT", Some(60))]
#[case::none("429 Too Many Requests", None)]
#[tokio::test]
async fn a_429_asks_for_the_pause_that_it_names(#[case] head: &str, #[case] expected: Option<u64>) {
    let retry_after = expected.map(Duration::from_secs);
    assert_eq!(error_after(answer(head, "")).await, GrantError::Limited { retry_after });
}

#[tokio::test]
async fn a_body_as_large_as_is_read_is_read() {
    let padded = padded_to(LARGEST_ANSWER);
    assert!(grant().exchange(answering(answer("200 OK", &padded)), now()).await.is_ok());
}

#[tokio::test]
async fn a_token_in_an_oversized_body_is_malformed() {
    let padded = padded_to(LARGEST_ANSWER + 1);
    assert!(matches!(error_after(answer("200 OK", &padded)).await, GrantError::Malformed(_)));
}

#[tokio::test]
async fn a_token_in_a_body_that_is_cut_off_is_malformed() {
    let cut_off = format!("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{A_TOKEN}");
    assert!(matches!(error_after(cut_off).await, GrantError::Malformed(_)));
}

#[rstest]
#[case::too_many_requests("429 Too Many Requests\r\nRetry-After: 9", Sort::Limited)]
#[case::unauthorized("401 Unauthorized", Sort::Rejected)]
#[case::unavailable("503 Service Unavailable", Sort::Unavailable)]
#[tokio::test]
async fn a_refusal_is_told_by_its_status_where_its_body_cannot_be_read(
    #[case] head: &str,
    #[case] expected: Sort,
    #[values(true, false)] oversized: bool,
) {
    let answer = if oversized {
        answer(head, &"x".repeat(LARGEST_ANSWER + 1))
    } else {
        format!("HTTP/1.1 {head}\r\nContent-Length: 1000\r\n\r\ncut")
    };
    assert_eq!(sort_of(&error_after(answer).await), Some(expected));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let redirect = answer("307 Temporary Redirect\r\nLocation: https://evil.example/oauth/token", "");
    assert_eq!(sort_of(&error_after(redirect).await), Some(Sort::Unavailable));
}

// The secret stays inside.

const SECRET: &str = "hunter2 %:+/é\"=";

#[rstest]
fn a_server_that_repeats_the_secret_does_not_get_it_into_an_error(
    #[values(BasicEncoding::Plain, BasicEncoding::Rfc6749)] encoding: BasicEncoding,
    #[values(400, 401, 429, 500)] status: u16,
    #[values("invalid_client", "invalid_scope", "invalid_request")] code: &str,
    #[values(0, 100, 175)] padding: usize,
) {
    let grant = with_secret("globex-client", SECRET, encoding);
    let request = request_of(&grant);
    let field = request.headers()[AUTHORIZATION].to_str().expect("ASCII");
    let sent = field.strip_prefix("Basic ").expect("Basic");
    let encoded = form_urlencoded::byte_serialize(SECRET.as_bytes()).collect::<String>();
    let in_a_list = format!("globex-client:{SECRET}");
    let padding = "x".repeat(padding);
    for repeated in [SECRET, &encoded, sent, field, &in_a_list] {
        for body in [
            json!({ "error": code, "error_description": format!("{padding}{repeated} is wrong") }),
            json!({ "error": format!("{padding}{repeated}") }),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let error = grant.refusal(status, body.to_string().as_bytes(), None);
            let shown = format!("{error} {error:?}");
            for part in ["hunter2", &sent[..12], &sent[20..32]] {
                assert!(!shown.contains(part), "{shown}");
            }
        }
    }
}

#[test]
fn a_reason_in_which_the_secret_is_not_repeated_is_told_in_full() {
    let grant = with_secret("globex-client", SECRET, BasicEncoding::Plain);
    let body = br#"{"error":"invalid_scope","error_description":"globex-client lacks it"}"#;
    let error = grant.refusal(StatusCode::BAD_REQUEST, body, None);
    assert_eq!(error, GrantError::ScopeNotEffective("invalid_scope globex-client lacks it".to_owned()));
}

#[tokio::test]
async fn no_answer_brings_secret_or_token_into_an_error() {
    let grant = with_secret("globex-client", SECRET, BasicEncoding::Plain);
    for body in [
        r#"{"access_token":"t0ken","expires_in":0}"#,
        r#"{"access_token":"t0ken","token_type":"t0ken"}"#,
        r#"{"access_token":"t0ken\n"}"#,
        r#"{"access_token":["t0ken"]}"#,
        "hunter2 t0ken",
    ] {
        let error = error_of(grant.exchange(answering(answer("200 OK", body)), now()).await);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("t0ken"), "{shown}");
    }
}

#[test]
fn a_request_does_not_show_the_secret_when_it_is_printed() {
    let grant = with_secret("globex-client", SECRET, BasicEncoding::Plain);
    let shown = format!("{:?}", request_of(&grant));
    assert!(
        !shown.contains("hunter2") && !shown.contains(&STANDARD.encode("globex-client:")[..12]),
        "{shown}"
    );
}
