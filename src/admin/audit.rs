//! What the audit log says of the admin plane: purges, and who was not let in.

use std::sync::Arc;

use http::StatusCode;

use super::{Admin, Reply};
use crate::audit::{Asked, Event, What};
use crate::domain::tenant::TenantName;
use crate::oauth::grant::printable;

impl Admin {
    /// Writes down a purge, and how it went.
    pub(super) fn purged(&self, query: Option<&str>, reply: &Reply) {
        let (mut tenant, mut path) = (None, None);
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*name {
                // What is no tenant's name is the client's own text.
                "tenant" => tenant = value.parse::<TenantName>().ok().map(|name| name.to_string()),
                "path_prefix" => path = value.split('?').next().map(printable),
                _ => {}
            }
        }
        let entries = serde_json::from_slice::<serde_json::Value>(&reply.body)
            .ok()
            .and_then(|body| body.get("purged").and_then(serde_json::Value::as_u64));
        let denied_by = (reply.status != StatusCode::OK).then_some("parameter_not_allowed");
        self.note(What::Purge { denied_by, tenant, path, entries });
    }

    /// Writes down a reload, and how it went.
    pub(super) fn reloaded(&self, reply: &Reply) {
        self.note(What::Reload { done: reply.status == StatusCode::OK });
    }

    /// Writes down that somebody was not let in.
    pub(super) fn not_let_in(&self, denied_by: &'static str) {
        self.note(What::Admin { denied_by });
    }

    fn note(&self, what: What) {
        if self.proxy.audit.is_on() {
            let asked =
                Asked { listener: Arc::clone(&self.listener), connection: self.connection, request_id: None };
            let time = self.proxy.clock.now().wall;
            self.proxy.audit.write(Event { time, what, asked: Some(asked) });
        }
    }
}
