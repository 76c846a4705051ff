//! The section `server`: the listeners, and who may connect to them.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use ipnet::IpNet;
use serde_json::json;

use super::key::{Section, keys};
use super::kind::{Boolean, List, Scalar};
use super::listeners::{self, ListenerEntry};
use super::object::Object;
use super::reader::{Ledger, Located, Location, values};
use super::settings::{Listen, Server};
use super::{address, value};
use crate::domain::tenant::TenantName;

keys! {
    pub(super) KEYS;
    LISTEN: Scalar<Listen> = "listen", address::LISTEN, Default("127.0.0.1:8080") restart(server.listen),
        "Where clients ask for billing data.";
    ADMIN: Scalar<Listen> = "admin", address::LISTEN, Default("127.0.0.1:9090") restart(server.admin),
        "Where the operator looks, purges and reloads: status page, metrics, health.";
    METRICS: Scalar<Listen> = "metrics", address::LISTEN, Optional restart(server.metrics),
        "Metrics and health alone, for a network that may scrape but not purge; unset: no such listener.";
    pub(super) LISTENERS: List<Section> = "listeners", List::of(listeners::LISTENER),
        Default("[]") restart(server.listeners),
        "Further listeners for billing data, each for the tenants that it lists and for nobody else.";
    UNIX_SOCKET: Section = "unix_socket", Section::new(listeners::UNIX_SOCKET_KEYS),
        Optional restart(server.unix_socket),
        "Who may open the files of Unix sockets. Of sockets that systemd opens, its unit decides (`SocketMode=`).";
    DENIAL_STATUS: Scalar<StatusCode> = "denial_status", Scalar::new(denial_status_schema, denial_status),
        Default("403"),
        "What a refused request gets; `422` for clients that take a 403 for a login prompt (Power BI).";
    PUBLIC_URL: Scalar<Arc<str>> = "public_url", address::PUBLIC_URL, Optional,
        "The base of the links in answers; unset: the client's scheme and `Host`.";
    ALLOWED_HOSTS: List<Scalar<String>> = "allowed_hosts", List::of(address::HOST),
        Default("[localhost, 127.0.0.1, \"[::1]\"]"),
        "The names that clients may use for the proxy.";
    ALLOWED_ORIGINS: List<Scalar<String>> = "allowed_origins", List::of(address::WEB_ORIGIN), Default("[]"),
        "Browser pages of other origins that may ask.";
    ALLOW_NON_LOOPBACK: Boolean = "allow_non_loopback", Boolean, Default("false"),
        "Whether the listeners may be reached from other machines. There is no login.";
    ALLOWED_PEERS: List<Scalar<IpNet>> = "allowed_peers", List::of(address::NETWORK), Default("[]"),
        "Who may connect to a TCP listener; empty: everybody that can reach it.";
    DEFAULT_TENANT: Scalar<TenantName> = "default_tenant", value::TENANT, Optional,
        "Whom a request is for that names no tenant; unset: it is refused.";
    DRAIN_DELAY: Scalar<Duration> = "drain_delay", value::DURATION, Default("5s") restart(server.drain_delay),
        "How long new requests are still taken after SIGTERM.";
    DRAIN_TIMEOUT: Scalar<Duration> = "drain_timeout", value::TIMEOUT,
        Default("20s") restart(server.drain_timeout),
        "How long those in flight then have.";
    MAX_CONNECTIONS: Scalar<usize> = "max_connections", value::SIZE_COUNT,
        Default("10000") restart(server.max_connections),
        "Connections open at once.";
    MAX_REQUESTS_IN_FLIGHT: Scalar<usize> = "max_requests_in_flight", value::SIZE_COUNT, Default("4096"),
        "Requests at once; more get a 503.";
    HEADER_TIMEOUT: Scalar<Duration> = "header_timeout", value::TIMEOUT,
        Default("10s") restart(server.header_timeout),
        "How long a client may take to send a request's head.";
    WATCH: Boolean = "watch", Boolean, Default("false") restart(server.watch),
        "Whether the configuration is read again when its file, or a secret's, changes.";
}

/// The section, with the places of values that are checked against other sections.
pub(super) struct ServerSection {
    pub(super) server: Server,
    pub(super) default_tenant: Option<Located<TenantName>>,
    pub(super) listeners: Vec<ListenerEntry>,
}

/// An address with its key, and its place if it is written.
type NamedAddress<'a> = (String, &'a Listen, Option<Location>);

/// Reads the section.
pub(super) fn read(section: &Object<'_>, ledger: &Ledger) -> Option<ServerSection> {
    let listeners: Vec<Object<'_>> = values(section.get(&LISTENERS)?);
    let listeners = listeners::read(&listeners, ledger);
    let default_tenant = section.located(&DEFAULT_TENANT);
    let server = Server {
        listen: section.get(&LISTEN)?,
        admin: section.get(&ADMIN)?,
        metrics: section.optional(&METRICS),
        listeners: listeners.iter().map(ListenerEntry::listener).collect(),
        unix_socket: listeners::read_unix_socket(&section.section(&UNIX_SOCKET))?,
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
        let name = format!("{}[{index}].{}", LISTENERS.name, listeners::LISTEN.name);
        (name, &listener.listen.value, Some(listener.listen.place.clone()))
    });
    own.chain(further).collect()
}

/// The statuses from 400 to 499 that make clients do something else than give up.
const NOT_A_DENIAL: [u16; 10] = [401, 404, 405, 407, 408, 421, 425, 426, 429, 431];

fn denial_status_schema() -> serde_json::Value {
    let texts = NOT_A_DENIAL.map(|status| json!(status.to_string()));
    let not_a_denial = [NOT_A_DENIAL.map(|status| json!(status)), texts].concat();
    json!({
        "type": ["integer", "string"],
        "minimum": 400,
        "maximum": 499,
        "not": { "enum": not_a_denial },
        "pattern": "^4[0-9][0-9]$"
    })
}

fn denial_status(text: &str) -> Result<StatusCode, String> {
    let reason = match text.parse::<u16>() {
        Ok(401) => "a 401 asks a client for a login that it does not have".to_owned(),
        Ok(404) => "a 404 says that there is nothing, as for unknown tenants".to_owned(),
        Ok(status) if NOT_A_DENIAL.contains(&status) => {
            format!("a {status} makes clients do something else, such as trying again")
        }
        Ok(400..=499) => {
            return text.parse().map_err(|_| "write a status, such as `403`".to_owned());
        }
        _ => return Err("write a status from 400 to 499 that says no, such as `403` or `422`".to_owned()),
    };
    Err(format!("write `403` or `422`: {reason}"))
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
