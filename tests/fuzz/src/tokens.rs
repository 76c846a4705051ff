//! The answers of a token endpoint: a token that can be sent, or words that give nothing away.

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use billing_insights_proxy::config::{Environment, parse};
use billing_insights_proxy::oauth::grant::{Grant, GrantError};
use http::StatusCode;

const SECRET: &str = "k7+Q/hidden";
const ENCODED: &str = "k7%2BQ%2Fhidden";

static GRANT: LazyLock<Grant> = LazyLock::new(|| {
    let yaml = "organizations:\n  - id: acme\n    credential: { account: acme, client_id: id, client_secret: { env: SECRET } }\n";
    let environment = Environment::new(|name| (name == "SECRET").then(|| SECRET.into()));
    let config = parse(yaml, "fuzz.yaml", Path::new("/nowhere"), &environment).expect("a configuration");
    Grant::new(&config.credentials[0], Duration::from_secs(600))
});

pub fn run(data: &[u8]) {
    let Some((status, body)) = data.split_first() else { return };
    let status = [200, 400, 401, 403, 404, 408, 429, 500, 503, 302][usize::from(*status) % 10];
    let status = StatusCode::from_u16(status).expect("a status");
    let retry_after = Some(Duration::from_secs(9));
    match GRANT.read(status, body, retry_after) {
        Ok(granted) => {
            assert_eq!(status, StatusCode::OK);
            assert!(granted.authorization.is_sensitive());
            let token = granted.authorization.as_bytes().strip_prefix(b"Bearer ").expect("a bearer's");
            assert!(!token.is_empty() && token.iter().all(u8::is_ascii_graphic));
            assert!(
                granted.lifetime > Duration::ZERO && granted.lifetime <= Duration::from_secs(24 * 60 * 60)
            );
            assert!(granted.scopes.iter().all(|scope| !scope.is_empty() && !scope.contains(' ')));
        }
        Err(error) => {
            let words = error.to_string();
            assert!(words.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{words:?}");
            assert!(words.len() < 400, "{words}");
            assert!(!words.contains(SECRET) && !words.contains(ENCODED), "{words}");
            assert_eq!(status == StatusCode::TOO_MANY_REQUESTS, error == GrantError::Limited { retry_after });
            assert!(status != StatusCode::OK || matches!(error, GrantError::Malformed(_)), "{words}");
        }
    }
}
