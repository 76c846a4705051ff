//! Field lines from a fuzzer's bytes.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// `Name: value` lines as fields; what is none is left out.
pub fn fields(lines: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(line[..colon].trim_ascii());
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            fields.append(name, value);
        }
    }
    fields
}

/// All that stands up to a blank line, and what comes after it.
pub fn parted(data: &[u8]) -> (&[u8], &[u8]) {
    match data.windows(2).position(|pair| pair == b"\n\n") {
        Some(blank) => (&data[..blank], &data[blank + 2..]),
        None => (data, &[]),
    }
}
