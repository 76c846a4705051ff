//! The section `limits`: request rates and concurrency.

use std::num::NonZeroU32;
use std::time::Duration;

use http::HeaderName;

use super::key::{Section, keys};
use super::kind::Scalar;
use super::object::Object;
use super::settings::{ClientLimit, Limits, Rate, UpstreamLimit};
use super::value;

keys! {
    pub(super) KEYS;
    UPSTREAM: Section = "upstream", Section::new(UPSTREAM_KEYS), Optional,
        "Towards the API, per client of Talkdesk's.";
    CLIENT: Section = "client", Section::new(CLIENT_KEYS), Optional,
        "Per client of the proxy; counts what would go to Talkdesk, never hits. Unset: no limit.";
    TOKEN: Section = "token", Section::new(TOKEN_KEYS), Optional,
        "Towards the token endpoint, per client of Talkdesk's.";
}

keys! {
    UPSTREAM_KEYS;
    UPSTREAM_RATE: Scalar<Duration> = "rate", value::RATE, Default("10/s"), "Requests over time.";
    UPSTREAM_BURST: Scalar<NonZeroU32> = "burst", value::COUNT, Default("20"),
        "Requests that may come at once.";
    CONCURRENCY: Scalar<usize> = "concurrency", value::SIZE_COUNT, Default("8"),
        "Requests under way at once.";
    MAX_WAIT: Scalar<Duration> = "max_wait", value::DURATION, Default("10s"),
        "How long a request waits for its turn.";
    MAX_PAUSE: Scalar<Duration> = "max_pause", value::TIMEOUT, Default("5m"),
        "The longest pause that Talkdesk can ask for.";
}

keys! {
    CLIENT_KEYS;
    CLIENT_RATE: Scalar<Duration> = "rate", value::RATE,
        Required("write one, such as `rate: 20/s`, or take `client` out: it has no limit then"),
        "Requests over time.";
    CLIENT_BURST: Scalar<NonZeroU32> = "burst", value::COUNT, Default("100"),
        "Requests that may come at once.";
    CLIENT_KEY: Section = "key", Section::new(CLIENT_KEY_KEYS), Optional,
        "What tells clients apart; unset: their address.";
}

keys! {
    CLIENT_KEY_KEYS;
    FIELD: Scalar<HeaderName> = "field", value::FIELD,
        Required("write the request field, such as `field: X-Client-Name`"),
        "The request field, where it is sent.";
}

keys! {
    TOKEN_KEYS;
    TOKEN_RATE: Scalar<Duration> = "rate", value::RATE, Default("1/s"), "Requests over time.";
    TOKEN_BURST: Scalar<NonZeroU32> = "burst", value::COUNT, Default("5"), "Requests that may come at once.";
}

/// Reads the section.
pub(super) fn read(section: &Object<'_>) -> Option<Limits> {
    let (upstream, token) = (section.section(&UPSTREAM), section.section(&TOKEN));
    Some(Limits {
        upstream: UpstreamLimit {
            rate: Rate { interval: upstream.get(&UPSTREAM_RATE)?, burst: upstream.get(&UPSTREAM_BURST)? },
            concurrency: upstream.get(&CONCURRENCY)?,
            max_wait: upstream.get(&MAX_WAIT)?,
            max_pause: upstream.get(&MAX_PAUSE)?,
        },
        client: section.optional(&CLIENT).and_then(|client| read_client(&client)),
        token: Rate { interval: token.get(&TOKEN_RATE)?, burst: token.get(&TOKEN_BURST)? },
    })
}

fn read_client(section: &Object<'_>) -> Option<ClientLimit> {
    let interval = section.required(&CLIENT_RATE);
    let burst = section.get(&CLIENT_BURST)?;
    let field = section.optional(&CLIENT_KEY).and_then(|key| key.required(&FIELD));
    Some(ClientLimit {
        rate: Rate { interval: interval?.value, burst },
        key_field: field.map(|field| field.value),
    })
}
