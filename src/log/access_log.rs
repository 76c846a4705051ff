//! The access log: one line per request, written by a separate thread. The request path only queues a record.

use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use serde::Serialize;

use crate::config::LogFormat;
use crate::guard::Connection;
use crate::log::line_writer::LineWriter;
use crate::log::request_id::RequestId;
use crate::metrics::Metrics;
use crate::timestamp::timestamp;

/// The handle to the access log.
#[derive(Clone)]
pub struct AccessLog(LineWriter<Record>);

/// The data of one request.
#[derive(Debug)]
pub struct Record {
    /// When the request head arrived.
    pub time: SystemTime,
    /// The request id.
    pub request_id: RequestId,
    /// The address of the listener on which it arrived.
    pub listener: Arc<str>,
    /// The client's connection.
    pub connection: Connection,
    /// The method.
    pub method: Method,
    /// The path without its query.
    pub path: String,
    /// The tenant, if known.
    pub tenant: Option<Arc<str>>,
    /// The endpoint, if known.
    pub endpoint: Option<Arc<str>>,
    /// The response status.
    pub status: StatusCode,
    /// The result of the cache lookup.
    pub cache: &'static str,
    /// Why the request was denied or failed, or why its response was not stored.
    pub reason: Option<&'static str>,
    /// From the request head to the response head.
    pub duration: Duration,
    /// The part of `duration` spent on the upstream request.
    pub upstream: Duration,
    /// The part of `duration` spent waiting for a rate limit.
    pub waited: Duration,
    /// Where the token of the upstream request came from.
    pub token: Option<&'static str>,
    /// The client's `traceparent` (W3C Trace Context).
    pub traceparent: Option<String>,
    /// Talkdesk's id of the request.
    pub upstream_request_id: Option<Arc<str>>,
}

/// How long shutdown waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

/// A line in JSON. Attributes have the names of OpenTelemetry's semantic conventions where these define one; the
/// others have the prefix of the proxy. `docs/logs.md` lists all of them.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(rename = "timestamp")]
    timestamp: &'a str,
    #[serde(rename = "event.name")]
    event: &'static str,
    #[serde(rename = "trace_id", skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    #[serde(rename = "span_id", skip_serializing_if = "Option::is_none")]
    span_id: Option<&'a str>,
    #[serde(rename = "trace_flags", skip_serializing_if = "Option::is_none")]
    trace_flags: Option<&'a str>,
    #[serde(rename = "http.request.method")]
    method: &'a str,
    #[serde(rename = "http.request.method_original", skip_serializing_if = "Option::is_none")]
    method_original: Option<&'a str>,
    #[serde(rename = "url.path")]
    path: &'a str,
    #[serde(rename = "http.response.status_code")]
    status: u16,
    #[serde(rename = "error.type", skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(rename = "http.server.request.duration")]
    duration: f64,
    #[serde(rename = "http.client.request.duration")]
    upstream: f64,
    #[serde(rename = "client.address", skip_serializing_if = "Option::is_none")]
    client: Option<IpAddr>,
    #[serde(rename = "client.port", skip_serializing_if = "Option::is_none")]
    client_port: Option<u16>,
    #[serde(rename = "server.address")]
    server: ServerAddress<'a>,
    #[serde(rename = "server.port", skip_serializing_if = "Option::is_none")]
    server_port: Option<u16>,
    #[serde(rename = "network.transport")]
    transport: &'static str,
    #[serde(rename = "billing_insights_proxy.client.user_id", skip_serializing_if = "Option::is_none")]
    user: Option<u32>,
    #[serde(rename = "billing_insights_proxy.listener")]
    listener: &'a str,
    #[serde(rename = "billing_insights_proxy.request_id")]
    request_id: &'a RequestId,
    #[serde(rename = "billing_insights_proxy.tenant", skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(rename = "billing_insights_proxy.endpoint", skip_serializing_if = "Option::is_none")]
    endpoint: Option<&'a str>,
    #[serde(rename = "billing_insights_proxy.cache.result")]
    cache: &'a str,
    #[serde(rename = "billing_insights_proxy.cache.reason", skip_serializing_if = "Option::is_none")]
    cache_reason: Option<&'a str>,
    #[serde(rename = "billing_insights_proxy.token", skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(rename = "billing_insights_proxy.rate_limit.wait")]
    waited: f64,
    #[serde(rename = "billing_insights_proxy.upstream.request_id", skip_serializing_if = "Option::is_none")]
    upstream_request_id: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ServerAddress<'a> {
    Address(IpAddr),
    SocketFile(&'a str),
}

/// The methods that the semantic conventions of OpenTelemetry define. Any other is logged as `_OTHER`, so that
/// clients can't create attribute values.
const KNOWN_METHODS: [Method; 9] = [
    Method::GET,
    Method::HEAD,
    Method::OPTIONS,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::TRACE,
    Method::CONNECT,
];

/// Trace id, span id and flags of a `traceparent`; `None` if it is invalid (W3C Trace Context, section 3.2).
fn trace(traceparent: &str) -> Option<(&str, &str, &str)> {
    let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut parts = traceparent.split('-');
    let mut part = |length: usize| parts.next().filter(|part| part.len() == length && is_hex(part));
    let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    let is_zero = |text: &str| text.bytes().all(|byte| byte == b'0');
    // Later versions may have more parts; version 00 must not.
    let ends = version != "00" || parts.next().is_none();
    (version != "ff" && ends && !is_zero(trace) && !is_zero(span)).then_some((trace, span, flags))
}

impl AccessLog {
    /// Starts the writer thread.
    ///
    /// # Errors
    /// If the system can't create a thread.
    pub fn start(
        format: LogFormat,
        sink: impl Write + Send + 'static,
        metrics: &Metrics,
    ) -> std::io::Result<Self> {
        let form = move |record: &Record, line: &mut Vec<u8>| {
            let timestamp = &timestamp(record.time);
            // Writing to memory can't fail.
            let _ = match format {
                LogFormat::Json => write_json(line, record, timestamp),
                LogFormat::Text => write_text(line, record, timestamp),
            };
        };
        LineWriter::start("access-log", sink, metrics.log_dropped.clone(), form).map(Self)
    }

    /// Queues a record; drops and counts it if the queue is full.
    pub fn write(&self, record: Record) {
        self.0.write(record);
    }

    /// Waits up to two seconds for the last lines. To be called at shutdown.
    pub fn finish(&self) {
        self.0.finish(LAST_LINES);
    }
}

fn write_json(sink: &mut impl Write, record: &Record, timestamp: &str) -> std::io::Result<()> {
    let (client, server, user) = match record.connection {
        Connection::Tcp { peer, local } => (Some(peer), Some(local), None),
        Connection::Unix { user } => (None, None, user),
    };
    let socket_file = || ServerAddress::SocketFile(record.listener.trim_start_matches("unix:"));
    let trace = record.traceparent.as_deref().and_then(trace);
    let method = KNOWN_METHODS.contains(&record.method);
    let failed = record.status.is_client_error() || record.status.is_server_error();
    let line = Line {
        timestamp,
        event: "billing_insights_proxy.request",
        trace_id: trace.map(|(trace, ..)| trace),
        span_id: trace.map(|(_, span, _)| span),
        trace_flags: trace.map(|(.., flags)| flags),
        method: if method { record.method.as_str() } else { "_OTHER" },
        method_original: (!method).then_some(record.method.as_str()),
        path: &record.path,
        status: record.status.as_u16(),
        error: record.reason.filter(|_| failed),
        duration: record.duration.as_secs_f64(),
        upstream: record.upstream.as_secs_f64(),
        client: client.map(|peer| peer.ip()),
        client_port: client.map(|peer| peer.port()),
        server: server.map_or_else(socket_file, |local| ServerAddress::Address(local.ip())),
        server_port: server.map(|local| local.port()),
        transport: if server.is_some() { "tcp" } else { "unix" },
        user,
        listener: &record.listener,
        request_id: &record.request_id,
        tenant: record.tenant.as_deref(),
        endpoint: record.endpoint.as_deref(),
        cache: record.cache,
        cache_reason: record.reason.filter(|_| !failed),
        token: record.token,
        waited: record.waited.as_secs_f64(),
        upstream_request_id: record.upstream_request_id.as_deref(),
    };
    serde_json::to_writer(&mut *sink, &line)?;
    sink.write_all(b"\n")
}

fn write_text(sink: &mut impl Write, record: &Record, timestamp: &str) -> std::io::Result<()> {
    writeln!(
        sink,
        "{timestamp} {} {} {} {} cache={} reason={} {:.1}ms upstream={:.1}ms wait={:.1}ms token={} {}",
        record.status.as_u16(),
        record.method,
        record.path,
        record.tenant.as_deref().unwrap_or("-"),
        record.cache,
        record.reason.unwrap_or("-"),
        record.duration.as_secs_f64() * 1e3,
        record.upstream.as_secs_f64() * 1e3,
        record.waited.as_secs_f64() * 1e3,
        record.token.unwrap_or("-"),
        record.request_id,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            time: SystemTime::UNIX_EPOCH,
            request_id: RequestId::random(),
            listener: "127.0.0.1:8080".into(),
            connection: Connection::Tcp {
                peer: "127.0.0.1:4711".parse().expect("an address"),
                local: "127.0.0.1:8080".parse().expect("an address"),
            },
            method: Method::GET,
            path: "/express/invoices".into(),
            tenant: Some("organizations/acme".into()),
            endpoint: Some("invoices".into()),
            status: StatusCode::OK,
            cache: "miss",
            reason: Some("ttl_zero"),
            duration: Duration::from_millis(20),
            upstream: Duration::from_millis(15),
            waited: Duration::from_millis(1),
            token: Some("fetched"),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
            upstream_request_id: Some("td-1".into()),
        }
    }

    fn line(record: &Record) -> serde_json::Value {
        let mut line = Vec::new();
        write_json(&mut line, record, "2026-08-31T09:15:02.114Z").expect("memory");
        serde_json::from_slice(&line).expect("JSON")
    }

    #[test]
    fn a_line_has_the_names_of_opentelemetry() {
        let line = line(&record());
        for (name, wanted) in [
            ("timestamp", "2026-08-31T09:15:02.114Z"),
            ("event.name", "billing_insights_proxy.request"),
            ("trace_id", "0af7651916cd43dd8448eb211c80319c"),
            ("span_id", "b7ad6b7169203331"),
            ("trace_flags", "01"),
            ("http.request.method", "GET"),
            ("url.path", "/express/invoices"),
            ("client.address", "127.0.0.1"),
            ("server.address", "127.0.0.1"),
            ("network.transport", "tcp"),
            ("billing_insights_proxy.tenant", "organizations/acme"),
            ("billing_insights_proxy.cache.reason", "ttl_zero"),
            ("billing_insights_proxy.token", "fetched"),
            ("billing_insights_proxy.upstream.request_id", "td-1"),
        ] {
            assert_eq!(line[name], wanted, "{name}");
        }
        assert_eq!(line["http.response.status_code"], 200);
        assert_eq!((&line["client.port"], &line["server.port"]), (&4711.into(), &8080.into()));
        assert_eq!(line["http.server.request.duration"], 0.02);
        assert!(line.get("error.type").is_none());
    }

    #[test]
    fn the_reason_of_a_refusal_is_its_error_type() {
        let refused = Record {
            status: StatusCode::FORBIDDEN,
            reason: Some("reseller_sold"),
            cache: "none",
            ..record()
        };
        let line = line(&refused);
        assert_eq!(line["error.type"], "reseller_sold");
        assert!(line.get("billing_insights_proxy.cache.reason").is_none());
    }

    #[test]
    fn a_method_that_a_client_made_up_is_no_value_of_the_attribute() {
        let method = Method::from_bytes(b"BREW").expect("a method");
        let line = line(&Record { method, ..record() });
        assert_eq!(
            (&line["http.request.method"], &line["http.request.method_original"]),
            (&"_OTHER".into(), &"BREW".into())
        );
    }

    #[test]
    fn the_file_of_a_unix_socket_is_the_servers_address() {
        let connection = Connection::Unix { user: Some(1000) };
        let line = line(&Record { connection, listener: "unix:/run/billing.sock".into(), ..record() });
        assert_eq!(line["server.address"], "/run/billing.sock");
        assert_eq!(line["network.transport"], "unix");
        assert_eq!(line["billing_insights_proxy.client.user_id"], 1000);
        assert!(line.get("client.address").is_none());
    }

    #[test]
    fn what_is_no_traceparent_is_not_told() {
        let good = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(trace(&format!("00-{good}")).is_some());
        assert!(trace(&format!("01-{good}-more")).is_some());
        for bad in [
            format!("ff-{good}"),
            format!("00-{good}-more"),
            format!("00-{}", good.to_uppercase()),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01".into(),
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01".into(),
            "00-1-2-01".into(),
            String::new(),
        ] {
            assert_eq!(trace(&bad), None, "{bad}");
        }
    }
}
