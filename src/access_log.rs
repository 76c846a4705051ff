//! A line per request, written by a thread of its own: a request only hands a record over.

use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use serde::Serialize;

use crate::config::LogFormat;
use crate::guard::Connection;
use crate::line_writer::LineWriter;
use crate::metrics::Metrics;
use crate::request_id::RequestId;

/// Where records go.
#[derive(Clone)]
pub struct AccessLog(LineWriter<Record>);

/// What is written about one request.
#[derive(Debug)]
pub struct Record {
    /// When its answer began.
    pub time: SystemTime,
    /// Its name.
    pub request_id: RequestId,
    /// The address of the listener that it came in by.
    pub listener: Arc<str>,
    /// Who asked.
    pub connection: Connection,
    /// The method.
    pub method: Method,
    /// The path without its query.
    pub path: String,
    /// For whom, where known.
    pub tenant: Option<Arc<str>>,
    /// Which endpoint, where known.
    pub endpoint: Option<Arc<str>>,
    /// The status.
    pub status: StatusCode,
    /// What the cache did.
    pub cache: &'static str,
    /// Why it was refused, failed, or not stored.
    pub reason: Option<&'static str>,
    /// From head to head.
    pub duration: Duration,
    /// The part of it that upstream took.
    pub upstream: Duration,
    /// The part of it that was spent waiting for a limit.
    pub waited: Duration,
    /// The caller's trace.
    pub traceparent: Option<String>,
    /// Talkdesk's name for the request.
    pub upstream_request_id: Option<Arc<str>>,
}

/// How long the end of the process waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    event: &'static str,
    request_id: &'a RequestId,
    #[serde(rename = "client.address", skip_serializing_if = "Option::is_none")]
    client: Option<IpAddr>,
    #[serde(rename = "client.user_id", skip_serializing_if = "Option::is_none")]
    user: Option<u32>,
    listener: &'a str,
    #[serde(rename = "http.request.method")]
    method: &'a str,
    #[serde(rename = "url.path")]
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<&'a str>,
    #[serde(rename = "http.response.status_code")]
    status: u16,
    cache: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    duration_seconds: f64,
    upstream_seconds: f64,
    rate_limit_wait_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_request_id: Option<&'a str>,
}

impl AccessLog {
    /// Starts the writing thread.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start(
        format: LogFormat,
        sink: impl Write + Send + 'static,
        metrics: &Metrics,
    ) -> std::io::Result<Self> {
        let form = move |record: &Record, line: &mut Vec<u8>| {
            // Into memory, where nothing fails.
            let _ = match format {
                LogFormat::Json => write_json(line, record),
                LogFormat::Text => write_text(line, record),
            };
        };
        LineWriter::start("access-log", sink, metrics.log_dropped.clone(), form).map(Self)
    }

    /// Hands a record over; drops and counts it where the writer can't keep up.
    pub fn write(&self, record: Record) {
        self.0.write(record);
    }

    /// Waits a little for the last lines, at the end of the process.
    pub fn finish(&self) {
        self.0.finish(LAST_LINES);
    }
}

fn write_json(sink: &mut impl Write, record: &Record) -> std::io::Result<()> {
    let (client, user) = match record.connection {
        Connection::Tcp { peer, .. } => (Some(peer.ip()), None),
        Connection::Unix { user } => (None, user),
    };
    let line = Line {
        timestamp: timestamp(record.time),
        event: "request",
        request_id: &record.request_id,
        client,
        user,
        listener: &record.listener,
        method: record.method.as_str(),
        path: &record.path,
        tenant: record.tenant.as_deref(),
        endpoint: record.endpoint.as_deref(),
        status: record.status.as_u16(),
        cache: record.cache,
        reason: record.reason,
        duration_seconds: record.duration.as_secs_f64(),
        upstream_seconds: record.upstream.as_secs_f64(),
        rate_limit_wait_seconds: record.waited.as_secs_f64(),
        traceparent: record.traceparent.as_deref(),
        upstream_request_id: record.upstream_request_id.as_deref(),
    };
    serde_json::to_writer(&mut *sink, &line)?;
    sink.write_all(b"\n")
}

fn write_text(sink: &mut impl Write, record: &Record) -> std::io::Result<()> {
    writeln!(
        sink,
        "{} {} {} {} {} cache={} reason={} {:.1}ms upstream={:.1}ms wait={:.1}ms {}",
        timestamp(record.time),
        record.status.as_u16(),
        record.method,
        record.path,
        record.tenant.as_deref().unwrap_or("-"),
        record.cache,
        record.reason.unwrap_or("-"),
        record.duration.as_secs_f64() * 1e3,
        record.upstream.as_secs_f64() * 1e3,
        record.waited.as_secs_f64() * 1e3,
        record.request_id,
    )
}

/// A time as RFC 3339 has it, in UTC.
#[must_use]
pub fn timestamp(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map(|time| format!("{time:.3}")).unwrap_or_default()
}
