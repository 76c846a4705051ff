//! The audit log: granted and denied requests for data, token requests, cache purges, reloads and rejected
//! requests to the admin plane.
//!
//! It is a separate file with one JSON object per line, so that its retention and its readers can differ from
//! those of the access log. It never contains a secret, a token, a query value or text chosen by a client. Like
//! the access log it never blocks a request; dropped lines are counted.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::domain::credential::Credential;
use crate::guard::Connection;
use crate::log::line_writer::LineWriter;
use crate::log::request_id::RequestId;
use crate::metrics::Metrics;
use crate::timestamp::timestamp;

/// The handle to the audit log. The default writes nothing.
#[derive(Clone, Default)]
pub struct AuditLog(Option<LineWriter<AuditEvent>>);

/// One entry of the audit log.
#[derive(Debug)]
pub struct AuditEvent {
    /// The time of the event.
    pub time: SystemTime,
    /// The event itself.
    pub kind: AuditKind,
    /// The request that caused it; `None` if the proxy acted on its own.
    pub source: Option<AuditSource>,
}

/// The source of a request.
#[derive(Debug)]
pub struct AuditSource {
    /// The address of the listener.
    pub listener: Arc<str>,
    /// The client's connection.
    pub connection: Connection,
    /// The request id, if there is one.
    pub request_id: Option<RequestId>,
}

/// The kinds of events.
#[derive(Debug)]
pub enum AuditKind {
    /// A request for data was granted or denied.
    Request {
        /// The rule that denied the request; `None` if it was granted.
        denied_by: Option<&'static str>,
        /// The tenant, if known.
        tenant: Option<Arc<str>>,
        /// The endpoint, if known.
        endpoint: Option<Arc<str>>,
        /// The credential that was used, if the request was granted.
        credential: Option<Arc<Credential>>,
        /// The response status.
        status: u16,
        /// Where the response came from, if there was one: `cache` or `upstream`.
        source: Option<&'static str>,
        /// Why a granted request failed.
        failure: Option<&'static str>,
    },
    /// A token was requested.
    Token {
        /// The owner of the credential.
        credential: Arc<str>,
        /// The result, with the values of the metric `token_requests_total`.
        result: &'static str,
    },
    /// A cache purge was requested.
    Purge {
        /// Why the purge was refused; `None` if it was done.
        denied_by: Option<&'static str>,
        /// The tenant whose entries were purged; `None` for all.
        tenant: Option<String>,
        /// The path prefix of the purged entries; `None` for all.
        path: Option<String>,
        /// The number of purged entries.
        entries: Option<u64>,
    },
    /// A reload of the configuration was attempted.
    Reload {
        /// Whether the new configuration is in force.
        done: bool,
    },
    /// The admin plane rejected a request.
    Admin {
        /// The rule that rejected it.
        denied_by: &'static str,
    },
}

/// A line of the log. Attributes that the access log also has use its names; the others have the prefix of the
/// proxy. `docs/audit.md` lists all of them.
#[derive(Default, Serialize)]
struct Line<'a> {
    timestamp: String,
    #[serde(rename = "event.name")]
    event: &'static str,
    #[serde(rename = "billing_insights_proxy.decision", skip_serializing_if = "Option::is_none")]
    decision: Option<&'static str>,
    #[serde(rename = "billing_insights_proxy.rule", skip_serializing_if = "Option::is_none")]
    rule: Option<&'static str>,
    #[serde(rename = "billing_insights_proxy.tenant", skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(rename = "billing_insights_proxy.endpoint", skip_serializing_if = "Option::is_none")]
    endpoint: Option<&'a str>,
    #[serde(rename = "billing_insights_proxy.credential", skip_serializing_if = "Option::is_none")]
    credential: Option<String>,
    #[serde(rename = "billing_insights_proxy.result", skip_serializing_if = "Option::is_none")]
    result: Option<&'static str>,
    #[serde(rename = "http.response.status_code", skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(rename = "billing_insights_proxy.source", skip_serializing_if = "Option::is_none")]
    source: Option<&'static str>,
    #[serde(rename = "error.type", skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(rename = "billing_insights_proxy.path_prefix", skip_serializing_if = "Option::is_none")]
    path_prefix: Option<&'a str>,
    #[serde(rename = "billing_insights_proxy.entries", skip_serializing_if = "Option::is_none")]
    entries: Option<u64>,
    #[serde(rename = "billing_insights_proxy.listener", skip_serializing_if = "Option::is_none")]
    listener: Option<&'a str>,
    #[serde(rename = "client.address", skip_serializing_if = "Option::is_none")]
    client: Option<IpAddr>,
    #[serde(rename = "client.port", skip_serializing_if = "Option::is_none")]
    client_port: Option<u16>,
    #[serde(rename = "billing_insights_proxy.client.user_id", skip_serializing_if = "Option::is_none")]
    user: Option<u32>,
    #[serde(rename = "billing_insights_proxy.request_id", skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a RequestId>,
}

/// How long shutdown waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

impl AuditLog {
    /// Opens the file for appending and starts the writer thread.
    ///
    /// # Errors
    /// If the file can't be opened or the system can't create a thread.
    pub fn start(path: &Path, metrics: &Metrics) -> io::Result<Self> {
        let file = open(path, true)?;
        LineWriter::start("audit-log", file, metrics.audit_dropped.clone(), form)
            .map(|writer| Self(Some(writer)))
    }

    /// Whether an audit log is configured.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Queues an event for writing.
    pub fn write(&self, event: AuditEvent) {
        if let Some(writer) = &self.0 {
            writer.write(event);
        }
    }

    /// Waits up to two seconds for the last lines. To be called at shutdown.
    pub fn finish(&self) {
        if let Some(writer) = &self.0 {
            writer.finish(LAST_LINES);
        }
    }
}

/// Checks whether the audit log can be written to this path, without creating the file.
///
/// # Errors
/// The reason why it can't.
pub fn can_be_written(path: &Path) -> io::Result<()> {
    match open(path, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| folder.as_os_str() != "").unwrap_or(Path::new("."));
            let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
            rustix::fs::access(folder, access).map_err(Into::into)
        }
        opened => opened.map(|_| ()),
    }
}

fn open(path: &Path, create: bool) -> io::Result<File> {
    // Check before opening: opening a pipe would block until it has a reader.
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a pipe, and a file is needed"));
    }
    // Append mode: if the file is truncated by log rotation (`copytruncate`), the next line is written at its
    // start.
    OpenOptions::new().append(true).create(create).mode(0o600).open(path)
}

fn form(event: &AuditEvent, line: &mut Vec<u8>) {
    let mut shown = Line { timestamp: timestamp(event.time), ..Line::default() };
    match &event.kind {
        AuditKind::Request { denied_by, tenant, endpoint, credential, status, source, failure } => {
            shown.event = "billing_insights_proxy.audit.request";
            shown.decision = Some(if denied_by.is_some() { "denied" } else { "granted" });
            shown.rule = Some(denied_by.unwrap_or("granted"));
            shown.tenant = tenant.as_deref();
            shown.endpoint = endpoint.as_deref();
            shown.credential = credential.as_ref().map(|credential| credential.owner.to_string());
            shown.status = Some(*status);
            shown.source = *source;
            shown.error = denied_by.or(*failure);
        }
        AuditKind::Token { credential, result } => {
            shown.event = "billing_insights_proxy.audit.token_request";
            shown.credential = Some(credential.to_string());
            shown.result = Some(result);
        }
        AuditKind::Purge { denied_by, tenant, path, entries } => {
            shown.event = "billing_insights_proxy.audit.purge";
            shown.decision = Some(if denied_by.is_some() { "denied" } else { "granted" });
            shown.rule = *denied_by;
            shown.tenant = tenant.as_deref();
            shown.path_prefix = path.as_deref();
            shown.entries = *entries;
        }
        AuditKind::Reload { done } => {
            shown.event = "billing_insights_proxy.audit.reload";
            shown.result = Some(if *done { "ok" } else { "refused" });
        }
        AuditKind::Admin { denied_by } => {
            shown.event = "billing_insights_proxy.audit.admin_request";
            shown.decision = Some("denied");
            shown.rule = Some(denied_by);
        }
    }
    if let Some(source) = &event.source {
        shown.listener = Some(&source.listener);
        shown.request_id = source.request_id.as_ref();
        match source.connection {
            Connection::Tcp { peer, .. } => {
                (shown.client, shown.client_port) = (Some(peer.ip()), Some(peer.port()));
            }
            Connection::Unix { user } => shown.user = user,
        }
    }
    // Can't fail: the line has only strings and numbers.
    let _ = serde_json::to_writer(&mut *line, &shown);
    line.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_that_is_made_is_its_owners_alone_and_one_that_is_there_goes_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        can_be_written(&path).expect("it could be made");
        assert!(!path.exists(), "looking makes nothing");
        drop(open(&path, true).expect("a file"));
        let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(&path, "one\n").expect("written");
        io::Write::write_all(&mut open(&path, true).expect("a file"), b"two\n").expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("text"), "one\ntwo\n");
        can_be_written(&path).expect("it is there");
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(can_be_written(folder.path()).is_err());
        assert!(can_be_written(&folder.path().join("nowhere/audit.jsonl")).is_err());
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
        assert!(made.success());
        assert!(can_be_written(&pipe).expect_err("a pipe").to_string().contains("a file is needed"));
    }
}
