//! Audit log entries of the admin plane: purges, reloads and rejected requests.

use std::sync::Arc;

use http::StatusCode;

use super::reply::AdminResponse;
use super::service::Admin;
use crate::domain::tenant::TenantName;
use crate::log::audit::{AuditEvent, AuditKind, AuditSource};
use crate::oauth::grant::printable;

impl Admin {
    /// Records a purge and its result.
    pub(super) fn audit_purge(&self, query: Option<&str>, reply: &AdminResponse) {
        let (mut tenant, mut path) = (None, None);
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*name {
                // Text that is not a valid tenant name is the client's own and must not be logged.
                "tenant" => tenant = value.parse::<TenantName>().ok().map(|name| name.to_string()),
                "path_prefix" => path = value.split('?').next().map(printable),
                _ => {}
            }
        }
        let entries = serde_json::from_slice::<serde_json::Value>(&reply.body)
            .ok()
            .and_then(|body| body.get("purged").and_then(serde_json::Value::as_u64));
        let denied_by = (reply.status != StatusCode::OK).then_some("parameter_not_allowed");
        self.write_audit(AuditKind::Purge { denied_by, tenant, path, entries });
    }

    /// Records a reload and its result.
    pub(super) fn audit_reload(&self, reply: &AdminResponse) {
        self.write_audit(AuditKind::Reload { done: reply.status == StatusCode::OK });
    }

    pub(super) fn audit_rejected(&self, denied_by: &'static str) {
        self.write_audit(AuditKind::Admin { denied_by });
    }

    fn write_audit(&self, kind: AuditKind) {
        if self.proxy.audit.is_on() {
            let source = AuditSource {
                listener: Arc::clone(&self.listener),
                connection: self.connection,
                request_id: None,
            };
            let time = self.proxy.clock.now().wall;
            self.proxy.audit.write(AuditEvent { time, kind, source: Some(source) });
        }
    }
}
