//! `Retry-After`: seconds or a date, read and written again.

use std::time::{Duration, SystemTime};

use billing_insights_proxy::headers;
use billing_insights_proxy::oauth::grant::retry_after;
use http::HeaderValue;

pub fn run(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let read = retry_after(&value, now);
    let text = String::from_utf8_lossy(data);
    let digits = text.trim_matches([' ', '\t']);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = digits.parse().unwrap_or(u64::from(u32::MAX));
        assert_eq!(read, Some(Duration::from_secs(seconds)));
    }
    let Some(wait) = read else { return };
    let later = retry_after(&value, now + Duration::from_secs(60)).expect("it can still be read");
    assert!(later <= wait, "a wait does not grow");
    let told = headers::retry_after(wait);
    let again = retry_after(&told, now).expect("what is told can be read");
    assert!(
        again >= wait
            && again >= Duration::from_secs(1)
            && again <= wait.saturating_add(Duration::from_secs(1))
    );
}
