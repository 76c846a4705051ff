//! The section `limits`: request rates and concurrency.

use std::num::NonZeroU32;
use std::time::Duration;

use http::HeaderName;

use super::key::{Key, Section};
use super::kind::Scalar;
use super::reader::Object;
use super::{ClientLimit, Limits, Rate, UpstreamLimit, value};

pub(super) static LIMITS: Key<Section> =
    Key::optional("limits", Section::new(&[&UPSTREAM, &CLIENT, &TOKEN]), "How fast, and how much at once.");

static UPSTREAM: Key<Section> = Key::optional(
    "upstream",
    Section::new(&[&UPSTREAM_RATE, &UPSTREAM_BURST, &CONCURRENCY, &MAX_WAIT, &MAX_PAUSE]),
    "Towards the API, per client of Talkdesk's.",
);

static UPSTREAM_RATE: Key<Scalar<Duration>> =
    Key::with_default("rate", value::RATE, "10/s", "Requests over time.");

static UPSTREAM_BURST: Key<Scalar<NonZeroU32>> =
    Key::with_default("burst", value::COUNT, "20", "Requests that may come at once.");

static CONCURRENCY: Key<Scalar<usize>> =
    Key::with_default("concurrency", value::SIZE_COUNT, "8", "Requests under way at once.");

static MAX_WAIT: Key<Scalar<Duration>> =
    Key::with_default("max_wait", value::DURATION, "10s", "How long a request waits for its turn.");

static MAX_PAUSE: Key<Scalar<Duration>> =
    Key::with_default("max_pause", value::TIMEOUT, "5m", "The longest pause that Talkdesk can ask for.");

static CLIENT: Key<Section> = Key::optional(
    "client",
    Section::new(&[&CLIENT_RATE, &CLIENT_BURST, &CLIENT_KEY]),
    "Per client of the proxy; counts what would go to Talkdesk, never hits. Unset: no limit.",
);

static CLIENT_RATE: Key<Scalar<Duration>> = Key::required(
    "rate",
    value::RATE,
    "write one, such as `rate: 20/s`, or take `client` out: it has no limit then",
    "Requests over time.",
);

static CLIENT_BURST: Key<Scalar<NonZeroU32>> =
    Key::with_default("burst", value::COUNT, "100", "Requests that may come at once.");

static CLIENT_KEY: Key<Section> =
    Key::optional("key", Section::new(&[&FIELD]), "What tells clients apart; unset: their address.");

static FIELD: Key<Scalar<HeaderName>> = Key::required(
    "field",
    value::FIELD,
    "write the request field, such as `field: X-Client-Name`",
    "The request field, where it is sent.",
);

static TOKEN: Key<Section> = Key::optional(
    "token",
    Section::new(&[&TOKEN_RATE, &TOKEN_BURST]),
    "Towards the token endpoint, per client of Talkdesk's.",
);

static TOKEN_RATE: Key<Scalar<Duration>> =
    Key::with_default("rate", value::RATE, "1/s", "Requests over time.");

static TOKEN_BURST: Key<Scalar<NonZeroU32>> =
    Key::with_default("burst", value::COUNT, "5", "Requests that may come at once.");

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
