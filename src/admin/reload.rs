//! `POST /api/reload`: reloads the configuration and returns the changes, or all errors of the file.

use http::StatusCode;
use serde_json::json;

use super::reply::AdminResponse;
use crate::reload::apply::{ConfigChanges, SecretOutcome};
use crate::reload::{NotReloaded, Reloader};

pub(super) async fn reload(reloader: &Reloader) -> AdminResponse {
    match reloader.reload().await {
        Ok(changes) => AdminResponse::json(StatusCode::OK, &told(&changes)),
        Err(NotReloaded::NoFile) => {
            let message =
                "this proxy was not started from a configuration file that it can reload; restart it";
            AdminResponse::error(StatusCode::CONFLICT, "no_configuration_file", message)
        }
        Err(NotReloaded::Refused(faults)) => {
            let faults: Vec<_> = faults.to_string().lines().map(str::to_owned).collect();
            AdminResponse::json(
                StatusCode::UNPROCESSABLE_ENTITY,
                &json!({
                    "reloaded": false,
                    "code": "configuration_refused",
                    "detail": "the previous configuration stays in use; correct these errors and reload again",
                    "faults": faults,
                }),
            )
        }
    }
}

fn told(changes: &ConfigChanges) -> serde_json::Value {
    let secrets = changes.secrets.iter().map(|secret| {
        let (result, detail) = match &secret.outcome {
            SecretOutcome::Proven => ("proven", "a token was obtained with it".to_owned()),
            SecretOutcome::NotProven(error) => {
                ("not_proven", format!("{error}; the previous token is used until it expires"))
            }
            SecretOutcome::Kept(reason) => ("kept", format!("{reason}; the previous secret is kept")),
        };
        json!({ "tenant": secret.owner.to_string(), "result": result, "detail": detail })
    });
    json!({
        "reloaded": true,
        "changed": changes.changed,
        "secrets": secrets.collect::<Vec<_>>(),
        "secrets_of_the_environment": changes.fixed_secrets,
        "needs_restart": changes.needs_restart,
        "warnings": changes.warnings,
    })
}
