//! Access log, audit log, request ids, and the writer of log lines.

pub mod access_log;
pub mod audit;
pub mod line_writer;
pub mod request_id;
