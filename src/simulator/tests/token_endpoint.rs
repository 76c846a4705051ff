//! The token endpoint: successful requests, and the errors of the others.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use jsonwebtoken::{EncodingKey, Header, encode};
use rstest::rstest;
use serde_json::{Value, json};

use super::caller::{Answer, Caller};
use crate::clock::Clock;
use crate::simulator::credentials::Secret;
use crate::simulator::{Algorithm, Authentication, Client, Instance, Options, Tenant, samples};

const FORM: &str = "grant_type=client_credentials";

#[tokio::test]
async fn a_client_with_a_secret_gets_a_token_with_all_scopes_and_no_store() {
    let caller = Caller::new().await;
    let answer = caller.ask_token("acme", &caller.basic("acme"), FORM).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    let body = answer.json();
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["expires_in"], 600);
    assert_eq!(body["scope"].as_str().unwrap().split(' ').count(), 5);
    let other = caller.token("acme").await;
    assert_ne!(body["access_token"], other);
}

#[tokio::test]
async fn a_form_encoded_basic_secret_is_accepted() {
    let caller = Caller::new().await;
    let (id, Secret::ClientSecret(secret)) = caller.secret("acme") else { panic!("acme has a secret") };
    let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    assert_ne!(encoded, secret);
    let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{encoded}")));
    assert_eq!(caller.ask_token("acme", &basic, FORM).await.status, StatusCode::OK);
}

#[rstest]
#[case("grant_type=client_credentials&scope=express-accounts%3Aread", StatusCode::OK, "")]
#[case("", StatusCode::BAD_REQUEST, "invalid_request")]
#[case("grant_type=password", StatusCode::BAD_REQUEST, "unsupported_grant_type")]
#[case("grant_type=client_credentials&grant_type=password", StatusCode::BAD_REQUEST, "invalid_request")]
#[case("grant_type=client_credentials&scope=root", StatusCode::BAD_REQUEST, "invalid_scope")]
#[case("grant_type=client_credentials&client_assertion=x", StatusCode::BAD_REQUEST, "invalid_request")]
#[tokio::test]
async fn a_wrong_form_gets_an_error_of_rfc_6749(
    #[case] form: &str,
    #[case] status: StatusCode,
    #[case] error: &str,
) {
    let caller = Caller::new().await;
    let answer = caller.ask_token("acme", &caller.basic("acme"), form).await;
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.json()["error"].as_str().unwrap_or_default(), error);
    assert_eq!(answer.field("cache-control"), Some("no-store"));
}

#[rstest]
#[case("acme", "Basic !!!")]
#[case("acme", "Basic bm90aGluZw==")]
#[case("acme", "Bearer x")]
#[case("acme", "")]
#[case("wonka", "Basic YTpi")]
#[tokio::test]
async fn a_client_that_cannot_authenticate_gets_401_with_a_challenge(
    #[case] account: &str,
    #[case] authorization: &str,
) {
    let caller = Caller::new().await;
    let answer = caller.ask_token(account, authorization, FORM).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.json()["error"], "invalid_client");
    assert!(answer.field("www-authenticate").unwrap().starts_with("Basic"));
}

#[tokio::test]
async fn a_client_of_another_account_is_unknown() {
    let caller = Caller::new().await;
    let answer = caller.ask_token("northwind", &caller.basic("acme"), FORM).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let nobody = caller.ask_token("nobody", &caller.basic("acme"), FORM).await;
    assert_eq!(nobody.status, StatusCode::NOT_FOUND);
    let counters = caller.simulator.control().counters();
    assert_eq!(counters.tokens.by_account["unknown"], 1);
    assert_eq!(counters.tokens.by_result["invalid_client"], 1);
}

#[tokio::test]
async fn a_large_body_a_wrong_method_and_a_wrong_content_type_are_refused() {
    let caller = Caller::new().await;
    let large = format!("{FORM}&padding={}", "x".repeat(70_000));
    let answer = caller.ask_token("acme", &caller.basic("acme"), &large).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let answer = caller.send(Method::GET, "/acme/oauth/token", &[], "").await.unwrap();
    assert_eq!((answer.status, answer.field("allow")), (StatusCode::METHOD_NOT_ALLOWED, Some("POST")));
    let fields = [("content-type", "application/json")];
    let answer = caller.send(Method::POST, "/acme/oauth/token", &fields, "{}").await.unwrap();
    assert_eq!(answer.json()["error"], "invalid_request");
}

/// A valid assertion before it is signed. A test changes a part of it.
struct Assertion {
    header: Header,
    claims: Value,
}

impl Assertion {
    fn valid(caller: &Caller, account: &str) -> Self {
        let (id, Secret::PrivateKey { key_id, algorithm, .. }) = caller.secret(account) else {
            panic!("{account} has a secret")
        };
        let mut header = Header::new(match algorithm {
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        });
        header.kid = Some(key_id);
        let now =
            Clock::Manual(caller.clock.clone()).now().wall.duration_since(UNIX_EPOCH).unwrap().as_secs();
        let audience = caller.simulator.token_url().replace("{account}", account);
        let claims = json!({
            "iss": id, "sub": id, "aud": audience, "jti": uuid::Uuid::new_v4().to_string(),
            "iat": now, "exp": now + 300,
        });
        Self { header, claims }
    }

    fn sign(&self, caller: &Caller, account: &str) -> String {
        let (_, Secret::PrivateKey { pkcs8, .. }) = caller.secret(account) else { panic!("no key") };
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{pkcs8}\n-----END PRIVATE KEY-----\n");
        let key = if self.header.alg == jsonwebtoken::Algorithm::RS256 {
            EncodingKey::from_rsa_pem(pem.as_bytes())
        } else {
            EncodingKey::from_ec_pem(pem.as_bytes())
        };
        encode(&self.header, &self.claims, &key.unwrap()).unwrap()
    }
}

async fn present(caller: &Caller, account: &str, jwt: &str) -> Answer {
    let form = format!(
        "{FORM}&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer\
         &client_assertion={jwt}"
    );
    let fields = [("content-type", "application/x-www-form-urlencoded")];
    caller.send(Method::POST, &format!("/{account}/oauth/token"), &fields, &form).await.unwrap()
}

#[tokio::test]
async fn an_assertion_gets_a_token_only_once() {
    let caller = Caller::new().await;
    let jwt = Assertion::valid(&caller, "globex").sign(&caller, "globex");
    let first = present(&caller, "globex", &jwt).await;
    assert_eq!(first.status, StatusCode::OK, "{}", first.text());
    let token = first.json()["access_token"].as_str().unwrap().to_owned();
    let accounts = caller.get("/express/accounts", &token).await.json();
    assert_eq!(accounts["_embedded"]["accounts"][0]["id"], "5ea75fe7aa224700012eae41");
    let second = present(&caller, "globex", &jwt).await;
    assert_eq!(second.status, StatusCode::UNAUTHORIZED);
    assert!(second.text().contains("jti was used before"));
}

#[tokio::test]
async fn a_client_with_an_rsa_key_gets_a_token() {
    let authentication =
        Authentication::PrivateKey { key_id: "rsa-1".to_owned(), algorithm: Algorithm::Rs256 };
    let client = Client { authentication, ..Client::with_secret("aaaa") };
    let tenant = Tenant::direct(Instance::new("5ea75fe7aa224700012eae99", "rsa", 1), Some(client));
    let caller = Caller::with(Options::new(vec![tenant])).await;
    let jwt = Assertion::valid(&caller, "rsa").sign(&caller, "rsa");
    assert_eq!(present(&caller, "rsa", &jwt).await.status, StatusCode::OK);
}

#[rstest]
#[case("iss", json!("someone"))]
#[case("sub", json!("someone"))]
#[case("aud", json!("https://elsewhere.example/oauth/token"))]
#[case("aud", json!(null))]
#[case("jti", json!(""))]
#[case("jti", json!(7))]
#[case("exp", json!(1))]
#[case("exp", json!(u64::MAX))]
#[case("iat", json!(9_999_999_999_u64))]
#[tokio::test]
async fn a_wrong_claim_is_invalid_client(#[case] claim: &str, #[case] value: Value) {
    let caller = Caller::new().await;
    let mut assertion = Assertion::valid(&caller, "globex");
    assertion.claims[claim] = value;
    let answer = present(&caller, "globex", &assertion.sign(&caller, "globex")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", answer.text());
    assert_eq!(answer.json()["error"], "invalid_client");
}

#[tokio::test]
async fn a_wrong_key_id_signature_or_age_is_invalid_client() {
    let caller = Caller::new().await;
    let mut assertion = Assertion::valid(&caller, "globex");
    let good = assertion.sign(&caller, "globex");
    let other_account = present(&caller, "acme", &good).await;
    assert_eq!(other_account.status, StatusCode::UNAUTHORIZED);
    let forged = format!("{}{}", &good[..good.len() - 6], "AAAAAA");
    assert_eq!(present(&caller, "globex", &forged).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(present(&caller, "globex", "no.jwt").await.status, StatusCode::UNAUTHORIZED);
    assertion.header.kid = Some("k-1999-01".to_owned());
    let unknown = present(&caller, "globex", &assertion.sign(&caller, "globex")).await;
    assert!(unknown.text().contains("unknown key"));
    caller.clock.advance(Duration::from_secs(301));
    assert!(present(&caller, "globex", &good).await.text().contains("expired"));
}

#[tokio::test]
async fn credential_files_have_mode_0600_and_a_rotation_replaces_them() {
    use std::os::unix::fs::PermissionsExt as _;
    let caller = Caller::with(Options { tls: false, ..samples() }).await;
    let folder = tempfile::tempdir().unwrap();
    let paths = caller.simulator.write_credentials(&folder.path().join("secrets")).unwrap();
    let names: Vec<&str> = paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "acme-client-secret",
            "northwind-client-secret",
            "globex-key",
            "hooli-client-secret",
            "initech-client-secret",
            "umbrella-client-secret",
            "soylent-client-secret",
            "stark-client-secret",
        ]
    );
    for path in &paths {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let old = caller.basic("acme");
    let fault = r#"{"target":"token","account":"acme","kind":"rotate_secret","write":true}"#;
    assert_eq!(caller.post_faults(fault).await.status, StatusCode::CREATED);
    assert_eq!(caller.ask_token("acme", &old, FORM).await.status, StatusCode::UNAUTHORIZED);
    let (_, Secret::ClientSecret(new)) = caller.secret("acme") else { panic!("acme has a secret") };
    assert_eq!(std::fs::read_to_string(&paths[0]).unwrap(), new);
    caller.token("acme").await;
}
