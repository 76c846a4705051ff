//! Configurations: a text is one, or has faults that can be shown; and no secret is in either.

use std::path::Path;

use billing_insights_proxy::config::{Config, Environment, parse};

const SECRET: &str = "k7-hidden-k7";

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // What a text names on this machine is nobody's business here.
    if text.contains("/dev") || text.contains("/proc") || text.contains("/sys") || text.contains(SECRET) {
        return;
    }
    let environment = || Environment::new(|_| Some(SECRET.into()));
    let read = || parse(text, "fuzz.yaml", Path::new("/nowhere"), &environment());
    match read() {
        Ok(config) => {
            holds(&config);
            let shown = format!("{config:?}");
            assert!(!shown.contains(SECRET), "a secret is shown");
            assert!(read().is_ok(), "it is one at times");
        }
        Err(faults) => {
            let shown = faults.to_string();
            assert!(!shown.trim().is_empty());
            assert!(!shown.contains(SECRET), "a secret is shown");
            assert_eq!(read().expect_err("it is none at times").to_string(), shown);
        }
    }
}

/// What everything behind the configuration takes for granted.
fn holds(config: &Config) {
    assert!(config.tenants.iter().next().is_some(), "nobody could ask");
    assert!(config.endpoints.len() >= 5);
    for (place, configured) in config.endpoints.iter().enumerate() {
        assert_eq!(configured.endpoint.position, place);
        assert!(!configured.endpoint.methods.is_empty());
        assert!(configured.endpoint.path.display().starts_with('/'));
        let statuses = configured.rule.statuses.iter().flatten();
        assert!(statuses.map(http::StatusCode::as_u16).all(|status| status < 400), "errors are not stored");
    }
    for configured in &config.credentials {
        let credential = &configured.credential;
        for url in [&credential.token_url, &credential.api_origin] {
            assert!(url.starts_with("https://") || url.starts_with("http://"), "{url}");
        }
    }
    assert!(config.cache.max_entry_bytes <= config.cache.max_bytes, "no entry would fit");
}
