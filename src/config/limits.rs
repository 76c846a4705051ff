//! The section `limits`: request rates and concurrency.

use std::num::NonZeroU32;
use std::time::Duration;

use super::reader::Object;
use super::{ClientLimit, Limits, Rate, UpstreamLimit, value};

/// Reads the section.
pub(super) fn read(mut section: Object<'_>) -> Limits {
    let mut upstream = section.section("upstream");
    let upstream_limit = UpstreamLimit {
        rate: rate(&mut upstream, Duration::from_millis(100), 20),
        concurrency: upstream.parsed("concurrency", value::size_count).unwrap_or(8),
        max_wait: upstream.parsed("max_wait", value::duration).unwrap_or(Duration::from_secs(10)),
        max_pause: upstream.parsed("max_pause", value::timeout).unwrap_or(Duration::from_mins(5)),
    };
    upstream.finish();
    let client = section.value("client").and_then(|value| value.object()).map(client);
    let mut token = section.section("token");
    let token_rate = rate(&mut token, Duration::from_secs(1), 5);
    token.finish();
    section.finish();
    Limits { upstream: upstream_limit, client, token: token_rate }
}

fn client(mut section: Object<'_>) -> ClientLimit {
    if section.entries().all(|(key, _)| key != "rate") {
        section.missing("rate", "write one, as `rate: 20/s`, or take `client` out: it has no limit then");
    }
    let rate = rate(&mut section, Duration::from_millis(50), 100);
    let key_field = section.value("key").and_then(|value| value.object()).and_then(|mut key| {
        let field =
            key.required("field", "write the request field, as `field: X-Client-Name`", value::field_name);
        key.finish();
        field.map(|field| field.value)
    });
    section.finish();
    ClientLimit { rate, key_field }
}

fn rate(section: &mut Object<'_>, interval: Duration, burst: u32) -> Rate {
    Rate {
        interval: section.parsed("rate", value::interval).unwrap_or(interval),
        burst: section
            .parsed("burst", value::count)
            .and_then(NonZeroU32::new)
            .or(NonZeroU32::new(burst))
            .unwrap_or(NonZeroU32::MIN),
    }
}
