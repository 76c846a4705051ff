//! The audit log: who was let in to whose data and who was not, which tokens were fetched, what was purged.
//!
//! It is a file of its own, one JSON object in a line, so that it can be kept longer and read by others than the
//! access log. No secret, no token, no value of a query and no text that a client made up is in it. Like the
//! access log it never holds a request up; what it had to drop is counted.

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
use crate::line_writer::LineWriter;
use crate::metrics::Metrics;
use crate::request_id::RequestId;
use crate::timestamp::timestamp;

/// Where events go; nowhere, where no audit log is configured.
#[derive(Clone, Default)]
pub struct AuditLog(Option<LineWriter<Event>>);

/// Something that an auditor wants to know.
#[derive(Debug)]
pub struct Event {
    /// When.
    pub time: SystemTime,
    /// What.
    pub what: What,
    /// Who asked; nobody, where the proxy did by itself.
    pub asked: Option<Asked>,
}

/// Who asked, and where.
#[derive(Debug)]
pub struct Asked {
    /// The address of the listener.
    pub listener: Arc<str>,
    /// The connection.
    pub connection: Connection,
    /// The request's name, where it has one.
    pub request_id: Option<RequestId>,
}

/// What an event is about.
#[derive(Debug)]
pub enum What {
    /// A request for data was granted or denied.
    Request {
        /// The rule that denied it; none where it was granted.
        denied_by: Option<&'static str>,
        /// For whom, where known.
        tenant: Option<Arc<str>>,
        /// Which endpoint, where known.
        endpoint: Option<Arc<str>>,
        /// With whose credential, where it was granted.
        credential: Option<Arc<Credential>>,
        /// The status of the answer.
        status: u16,
        /// `cache` or `upstream`: where the answer came from, if there was one.
        source: Option<&'static str>,
        /// Why there was none although it was granted.
        failure: Option<&'static str>,
    },
    /// A token was asked for.
    Token {
        /// Whose credential it is of.
        credential: Arc<str>,
        /// How that went, as the metric `token_requests_total` has it.
        result: &'static str,
    },
    /// Entries were taken from the cache, or were to be.
    Purge {
        /// Why it was refused; none where it was done.
        denied_by: Option<&'static str>,
        /// Of whom; none: of everybody.
        tenant: Option<String>,
        /// Below which path; none: below every one.
        path: Option<String>,
        /// How many.
        entries: Option<u64>,
    },
    /// The configuration was read again.
    Reload {
        /// Whether it is gone by.
        done: bool,
    },
    /// The admin plane let somebody not in.
    Admin {
        /// Why not.
        denied_by: &'static str,
    },
}

/// What the access log has too has its name there; what it does not have begins with the proxy's own. `docs/audit.md`
/// has them all.
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

/// How long the end of the process waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

impl AuditLog {
    /// Opens the file, for more lines behind those that are there, and starts the writing thread.
    ///
    /// # Errors
    /// Where the file can't be opened, or the system gives no thread.
    pub fn start(path: &Path, metrics: &Metrics) -> io::Result<Self> {
        let file = open(path, true)?;
        LineWriter::start("audit-log", file, metrics.audit_dropped.clone(), form)
            .map(|writer| Self(Some(writer)))
    }

    /// Whether anything is written at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Hands an event over.
    pub fn write(&self, event: Event) {
        if let Some(writer) = &self.0 {
            writer.write(event);
        }
    }

    /// Waits a little for the last lines, at the end of the process.
    pub fn finish(&self) {
        if let Some(writer) = &self.0 {
            writer.finish(LAST_LINES);
        }
    }
}

/// Whether the audit log could be written to that path, without making it.
///
/// # Errors
/// Why not.
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
    // Looked at before it is opened: opening a pipe would wait for its reader.
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a pipe, and a file is needed"));
    }
    // Only appending: whoever cuts the file off at its beginning (as `copytruncate` does) finds the next line there.
    OpenOptions::new().append(true).create(create).mode(0o600).open(path)
}

fn form(event: &Event, line: &mut Vec<u8>) {
    let mut shown = Line { timestamp: timestamp(event.time), ..Line::default() };
    match &event.what {
        What::Request { denied_by, tenant, endpoint, credential, status, source, failure } => {
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
        What::Token { credential, result } => {
            shown.event = "billing_insights_proxy.audit.token_request";
            shown.credential = Some(credential.to_string());
            shown.result = Some(result);
        }
        What::Purge { denied_by, tenant, path, entries } => {
            shown.event = "billing_insights_proxy.audit.purge";
            shown.decision = Some(if denied_by.is_some() { "denied" } else { "granted" });
            shown.rule = *denied_by;
            shown.tenant = tenant.as_deref();
            shown.path_prefix = path.as_deref();
            shown.entries = *entries;
        }
        What::Reload { done } => {
            shown.event = "billing_insights_proxy.audit.reload";
            shown.result = Some(if *done { "ok" } else { "refused" });
        }
        What::Admin { denied_by } => {
            shown.event = "billing_insights_proxy.audit.admin_request";
            shown.decision = Some("denied");
            shown.rule = Some(denied_by);
        }
    }
    if let Some(asked) = &event.asked {
        shown.listener = Some(&asked.listener);
        shown.request_id = asked.request_id.as_ref();
        match asked.connection {
            Connection::Tcp { peer, .. } => {
                (shown.client, shown.client_port) = (Some(peer.ip()), Some(peer.port()));
            }
            Connection::Unix { user } => shown.user = user,
        }
    }
    // Strings and numbers alone: it can't fail.
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
