//! The example is a configuration, and its values are the defaults.

use std::time::Duration;

use super::{accepted, with_acme};
use crate::config::{Algorithm, Authentication, BasicEncoding};
use crate::domain::tenant::{DirectOrganization, Seller, Tenant, TenantKind};

const EXAMPLE: &str = include_str!("../../../config.example.yaml");

#[test]
fn the_example_is_a_configuration() {
    let config = accepted(EXAMPLE);
    let labels: Vec<_> = config.tenants.iter().map(|tenant| &*tenant.label).collect();
    let expected =
        ["organizations/acme", "instances/josephpinetrees", "instances/globex", "instances/initech"];
    assert_eq!(labels, expected);
    assert_eq!(&*config.credentials[0].credential.token_url, "https://acme.talkdeskid.com/oauth/token");
    assert_eq!(&*config.credentials[0].credential.api_origin, "https://api.talkdeskapp.com");
    let secret = Authentication::ClientSecretBasic { encoding: BasicEncoding::Plain };
    assert_eq!(config.credentials[0].authentication, secret);
    let key = Authentication::PrivateKeyJwt { key_id: Some("k-2026-01".into()), algorithm: Algorithm::Es256 };
    assert_eq!(config.credentials[1].authentication, key);
    assert_eq!(config.endpoints[3].rule.ttl, Some(Duration::from_hours(1)));
    assert_eq!(config.warnings.len(), 1);
    assert!(config.warnings[0].message.contains("instances/initech will be refused (reseller_sold)"));
    assert!(config.tenants.iter().any(|tenant| is_sold_by(tenant, DirectOrganization::Talkdesk)));
}

fn is_sold_by(tenant: &Tenant, seller: DirectOrganization) -> bool {
    match &tenant.kind {
        TenantKind::Instance(instance) => {
            matches!(instance.seller, Seller::Talkdesk(direct) if direct == seller)
        }
        TenantKind::Organization(_) => false,
    }
}

#[test]
fn what_the_example_shows_is_what_holds_without_it() {
    let (example, bare) = (accepted(EXAMPLE), accepted(&with_acme("")));
    let sections = |config: &crate::config::Config| {
        [
            format!("{:?}", config.server),
            format!("{:?}", config.upstream),
            format!("{:?} {:?}", config.policy.eligible_plans, config.policy.accounts_max_age),
            format!("{:?} {:?}", config.policy.remember_denials, config.policy.narrowing),
            format!("{:?}", config.rejected_grace),
            format!("{:?}", config.endpoints),
            format!("{:?} {:?} {:?}", config.limits, config.cache, config.log),
            format!("{:?}", config.metrics),
        ]
    };
    assert_eq!(sections(&example), sections(&bare));
    assert_eq!(example.policy.instance_query_parameters, bare.policy.instance_query_parameters);
    let token_urls = [&example, &bare].map(|config| config.credentials[0].credential.token_url.to_string());
    assert_eq!(token_urls[0], token_urls[1]);
}

/// The example with the keys that are commented out in it.
pub(super) fn with_every_key() -> String {
    let mut uncommented = String::new();
    for line in EXAMPLE.lines() {
        let indentation = line.len() - line.trim_start().len();
        let comment = line.trim_start().strip_prefix("# ").filter(|_| indentation > 0);
        let is_key = comment.and_then(|text| text.trim_start().split_once(':')).is_some_and(|(key, rest)| {
            key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
                && (rest.is_empty() || rest.starts_with(' '))
        });
        let text = comment.filter(|_| is_key).unwrap_or(line.trim_start());
        uncommented.extend([&line[..indentation], text, "\n"]);
    }
    uncommented
}

#[test]
fn every_commented_key_of_the_example_exists() {
    let config = accepted(&with_every_key());
    assert_eq!(config.endpoints.len(), 6);
    assert!(config.limits.client.is_some() && config.server.metrics.is_some());
    assert!(config.upstream.proxy.is_some() && config.credentials[0].credential.scopes.is_some());
}
