//! The section `server`: the listeners, and who may connect to them.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use super::key::{Key, Section};
use super::kind::{Boolean, List, Scalar};
use super::listeners::{self, ListenerEntry};
use super::reader::{Ledger, Located, Object, Place, values};
use super::{Listen, Server, address, value};
use crate::domain::tenant::TenantName;

pub(super) static SERVER: Key<Section> = Key::optional(
    "server",
    Section::new(&[
        &LISTEN,
        &ADMIN,
        &METRICS,
        &listeners::LISTENERS,
        &listeners::UNIX_SOCKET,
        &DENIAL_STATUS,
        &PUBLIC_URL,
        &ALLOWED_HOSTS,
        &ALLOWED_ORIGINS,
        &ALLOW_NON_LOOPBACK,
        &ALLOWED_PEERS,
        &DEFAULT_TENANT,
        &DRAIN_DELAY,
        &DRAIN_TIMEOUT,
        &MAX_CONNECTIONS,
        &MAX_REQUESTS_IN_FLIGHT,
        &HEADER_TIMEOUT,
        &WATCH,
    ]),
    "Where the proxy listens, and who may speak to it.",
);

static LISTEN: Key<Scalar<Listen>> =
    Key::with_default("listen", address::LISTEN, "127.0.0.1:8080", "Where clients ask for billing data.")
        .needs_restart(|old, new| old.server.listen != new.server.listen);

static ADMIN: Key<Scalar<Listen>> = Key::with_default(
    "admin",
    address::LISTEN,
    "127.0.0.1:9090",
    "Where the operator looks, purges and reloads: status page, metrics, health.",
)
.needs_restart(|old, new| old.server.admin != new.server.admin);

static METRICS: Key<Scalar<Listen>> = Key::optional(
    "metrics",
    address::LISTEN,
    "Metrics and health alone, for a network that may scrape but not purge; unset: no such listener.",
)
.needs_restart(|old, new| old.server.metrics != new.server.metrics);

static DENIAL_STATUS: Key<Scalar<StatusCode>> = Key::with_default(
    "denial_status",
    Scalar::new(denial_status_schema, denial_status),
    "403",
    "What a refused request gets; `422` for clients that take a 403 for a login prompt (Power BI).",
);

static PUBLIC_URL: Key<Scalar<std::sync::Arc<str>>> = Key::optional(
    "public_url",
    address::PUBLIC_URL,
    "The base of the links in answers; unset: the client's scheme and `Host`.",
);

static ALLOWED_HOSTS: Key<List<Scalar<String>>> = Key::with_default(
    "allowed_hosts",
    List::of(address::HOST),
    "[localhost, 127.0.0.1, \"[::1]\"]",
    "The names that clients may use for the proxy.",
);

static ALLOWED_ORIGINS: Key<List<Scalar<String>>> = Key::with_default(
    "allowed_origins",
    List::of(address::WEB_ORIGIN),
    "[]",
    "Browser pages of other origins that may ask.",
);

static ALLOW_NON_LOOPBACK: Key<Boolean> = Key::with_default(
    "allow_non_loopback",
    Boolean,
    "false",
    "Whether the listeners may be reached from other machines. There is no login.",
);

static ALLOWED_PEERS: Key<List<Scalar<ipnet::IpNet>>> = Key::with_default(
    "allowed_peers",
    List::of(address::NETWORK),
    "[]",
    "Who may connect to a TCP listener; empty: everybody that can reach it.",
);

static DEFAULT_TENANT: Key<Scalar<TenantName>> = Key::optional(
    "default_tenant",
    value::TENANT,
    "Whom a request is for that names no tenant; unset: it is refused.",
);

static DRAIN_DELAY: Key<Scalar<Duration>> = Key::with_default(
    "drain_delay",
    value::DURATION,
    "5s",
    "How long new requests are still taken after SIGTERM.",
)
.needs_restart(|old, new| old.server.drain_delay != new.server.drain_delay);

static DRAIN_TIMEOUT: Key<Scalar<Duration>> =
    Key::with_default("drain_timeout", value::TIMEOUT, "20s", "How long those in flight then have.")
        .needs_restart(|old, new| old.server.drain_timeout != new.server.drain_timeout);

static MAX_CONNECTIONS: Key<Scalar<usize>> =
    Key::with_default("max_connections", value::SIZE_COUNT, "10000", "Connections open at once.")
        .needs_restart(|old, new| old.server.max_connections != new.server.max_connections);

static MAX_REQUESTS_IN_FLIGHT: Key<Scalar<usize>> = Key::with_default(
    "max_requests_in_flight",
    value::SIZE_COUNT,
    "4096",
    "Requests at once; more get a 503.",
);

static HEADER_TIMEOUT: Key<Scalar<Duration>> = Key::with_default(
    "header_timeout",
    value::TIMEOUT,
    "10s",
    "How long a client may take to send a request's head.",
)
.needs_restart(|old, new| old.server.header_timeout != new.server.header_timeout);

static WATCH: Key<Boolean> = Key::with_default(
    "watch",
    Boolean,
    "false",
    "Whether the configuration is read again when its file, or a secret's, changes.",
)
.needs_restart(|old, new| old.server.watch != new.server.watch);

/// The section, with the places of values that are checked against other sections.
pub(super) struct ServerSection {
    pub(super) server: Server,
    pub(super) default_tenant: Option<Located<TenantName>>,
    pub(super) listeners: Vec<ListenerEntry>,
}

/// An address with its key, and its place if it is written.
type NamedAddress<'a> = (String, &'a Listen, Option<Place>);

/// Reads the section.
pub(super) fn read(section: &Object<'_>, ledger: &Ledger) -> Option<ServerSection> {
    let listeners = listeners::read(section, ledger)?;
    let default_tenant = section.located(&DEFAULT_TENANT);
    let server = Server {
        listen: section.get(&LISTEN)?,
        admin: section.get(&ADMIN)?,
        metrics: section.optional(&METRICS),
        listeners: listeners.iter().map(ListenerEntry::listener).collect(),
        unix_socket: listeners::read_unix_socket(&section.section(&listeners::UNIX_SOCKET))?,
        denial_status: section.get(&DENIAL_STATUS)?,
        public_url: section.optional(&PUBLIC_URL),
        allowed_hosts: values(section.get(&ALLOWED_HOSTS)?),
        allowed_origins: values(section.get(&ALLOWED_ORIGINS)?),
        allowed_peers: values(section.get(&ALLOWED_PEERS)?),
        default_tenant: default_tenant.as_ref().map(|tenant| tenant.value.clone()),
        drain_delay: section.get(&DRAIN_DELAY)?,
        drain_timeout: section.get(&DRAIN_TIMEOUT)?,
        max_connections: section.get(&MAX_CONNECTIONS)?,
        max_requests_in_flight: section.get(&MAX_REQUESTS_IN_FLIGHT)?,
        header_timeout: section.get(&HEADER_TIMEOUT)?,
        watch: section.get(&WATCH)?,
    };
    let addresses = addresses(&server, &listeners, section);
    if !section.get(&ALLOW_NON_LOOPBACK)? {
        check_reach(&addresses, ledger);
    }
    check_distinct(&addresses, section, ledger);
    Some(ServerSection { server, default_tenant, listeners })
}

/// All addresses to listen at, defaults included.
fn addresses<'a>(
    server: &'a Server,
    listeners: &'a [ListenerEntry],
    section: &Object<'_>,
) -> Vec<NamedAddress<'a>> {
    let own =
        [(&LISTEN, Some(&server.listen)), (&ADMIN, Some(&server.admin)), (&METRICS, server.metrics.as_ref())];
    let own = own
        .into_iter()
        .filter_map(|(key, listen)| Some((key.name.to_owned(), listen?, section.place_of(key))));
    let further = listeners.iter().enumerate().map(|(index, listener)| {
        let name = format!("{}[{index}].{}", listeners::LISTENERS.name, listeners::LISTEN.name);
        (name, &listener.listen.value, Some(listener.listen.place.clone()))
    });
    own.chain(further).collect()
}

fn denial_status_schema() -> serde_json::Value {
    let not_a_denial = [401, 404, 405, 407, 408, 421, 425, 426, 429, 431];
    let not_a_denial =
        [not_a_denial.map(|status| json!(status)), not_a_denial.map(|status| json!(status.to_string()))];
    json!({
        "type": ["integer", "string"],
        "minimum": 400,
        "maximum": 499,
        "not": { "enum": not_a_denial.concat() },
        "pattern": "^4[0-9][0-9]$"
    })
}

fn denial_status(text: &str) -> Result<StatusCode, String> {
    const ADVICE: &str = "write a status from 400 to 499 that says no, such as `403` or `422`";
    match text.parse::<u16>() {
        Ok(401) => {
            Err("write `403` or `422`: a 401 asks a client for a login that it does not have".to_owned())
        }
        Ok(404) => {
            Err("write `403` or `422`: a 404 says that there is nothing, as for unknown tenants".to_owned())
        }
        Ok(status @ (405 | 407 | 408 | 421 | 425 | 426 | 429 | 431)) => Err(format!(
            "write `403` or `422`: a {status} makes clients do something else, such as trying again"
        )),
        Ok(status @ 400..=499) => StatusCode::from_u16(status).map_err(|_| ADVICE.to_owned()),
        _ => Err(ADVICE.to_owned()),
    }
}

/// Addresses that other machines can reach need `allow_non_loopback`.
fn check_reach(addresses: &[NamedAddress<'_>], ledger: &Ledger) {
    for (_, listen, place) in addresses {
        if let (Listen::Tcp(address), Some(place)) = (listen, place)
            && !listen.is_of_this_machine()
        {
            ledger.error(
                place,
                format!(
                    "found `{address}`, which other machines can reach; write `127.0.0.1:{}`, or also \
                     `allow_non_loopback: true` in `server`",
                    address.port()
                ),
            );
        }
    }
}

/// All addresses must be different.
fn check_distinct(addresses: &[NamedAddress<'_>], section: &Object<'_>, ledger: &Ledger) {
    for (index, (name, listen, place)) in addresses.iter().enumerate() {
        for (earlier_name, earlier, earlier_place) in &addresses[..index] {
            if collide(listen, earlier) {
                let place = place.as_ref().or(earlier_place.as_ref()).unwrap_or(&section.place);
                ledger.error(
                    place,
                    format!(
                        "found the same address for `{earlier_name}` and `{name}`; write another port for one"
                    ),
                );
            }
        }
    }
}

fn collide(one: &Listen, other: &Listen) -> bool {
    match (one, other) {
        (Listen::Tcp(one), Listen::Tcp(other)) => {
            let (here, there) = (one.ip().to_canonical(), other.ip().to_canonical());
            let same_ip = here == there || here.is_unspecified() || there.is_unspecified();
            one.port() != 0 && one.port() == other.port() && same_ip
        }
        (Listen::Unix(one), Listen::Unix(other)) => one == other,
        (Listen::Tcp(_), Listen::Unix(_)) | (Listen::Unix(_), Listen::Tcp(_)) => false,
    }
}
