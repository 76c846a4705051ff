//! The section `server`: the listeners, and who may connect to them.

use std::time::Duration;

use http::StatusCode;

use super::listeners::{self, ListenerEntry};
use super::reader::{Ledger, Located, Object, Place};
use super::{Listen, Server, address, value};
use crate::domain::tenant::TenantName;

/// The section, with the places of values that are checked against other sections.
pub(super) struct ServerSection {
    pub(super) server: Server,
    pub(super) default_tenant: Option<Located<TenantName>>,
    pub(super) listeners: Vec<ListenerEntry>,
}

/// Reads the section.
pub(super) fn read(mut section: Object<'_>, ledger: &Ledger) -> ServerSection {
    let listen = section.located("listen", address::listen);
    let admin = section.located("admin", address::listen);
    let metrics = section.located("metrics", address::listen);
    let allow_non_loopback = section.boolean("allow_non_loopback").unwrap_or(false);
    let listeners = listeners::read(&mut section, ledger);
    let own = [&listen, &admin, &metrics].into_iter().flatten();
    let all = own.chain(listeners.iter().map(|listener| &listener.listen));
    check_reach(all, allow_non_loopback, ledger);
    let default_tenant = section.located("default_tenant", value::domain::<TenantName>);
    let server = Server {
        listen: listen.map_or(Listen::Tcp(([127, 0, 0, 1], 8080).into()), |listen| listen.value),
        admin: admin.map_or(Listen::Tcp(([127, 0, 0, 1], 9090).into()), |admin| admin.value),
        metrics: metrics.map(|metrics| metrics.value),
        listeners: listeners.iter().map(ListenerEntry::listener).collect(),
        unix_socket: listeners::read_unix_socket(section.section("unix_socket")),
        denial_status: section.parsed("denial_status", denial_status).unwrap_or(StatusCode::FORBIDDEN),
        public_url: section.parsed("public_url", address::public_url),
        allowed_hosts: section
            .list("allowed_hosts", address::host)
            .map_or_else(|| ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).to_vec(), values),
        allowed_origins: section.list("allowed_origins", address::web_origin).map_or_else(Vec::new, values),
        allowed_peers: section.list("allowed_peers", address::network).map_or_else(Vec::new, values),
        default_tenant: default_tenant.as_ref().map(|tenant| tenant.value.clone()),
        drain_delay: section.parsed("drain_delay", value::duration).unwrap_or(Duration::from_secs(5)),
        drain_timeout: section.parsed("drain_timeout", value::timeout).unwrap_or(Duration::from_secs(20)),
        max_connections: section.parsed("max_connections", value::size_count).unwrap_or(10_000),
        max_requests_in_flight: section.parsed("max_requests_in_flight", value::size_count).unwrap_or(4096),
        header_timeout: section.parsed("header_timeout", value::timeout).unwrap_or(Duration::from_secs(10)),
        watch: section.boolean("watch").unwrap_or(false),
    };
    check_distinct(&server, &listeners, ledger, &section);
    section.finish();
    ServerSection { server, default_tenant, listeners }
}

fn values<T>(list: Vec<Located<T>>) -> Vec<T> {
    list.into_iter().map(|item| item.value).collect()
}

fn denial_status(text: &str) -> Result<StatusCode, String> {
    const ADVICE: &str = "write a status from 400 to 499 that says no, as `403` or `422`";
    match text.parse::<u16>() {
        Ok(401) => {
            Err("write `403` or `422`: a 401 asks a client for a login that it does not have".to_owned())
        }
        Ok(404) => {
            Err("write `403` or `422`: a 404 says that there is nothing, as for unknown tenants".to_owned())
        }
        Ok(status @ (405 | 407 | 408 | 421 | 425 | 426 | 429 | 431)) => {
            Err(format!("write `403` or `422`: a {status} makes clients do something else, as trying again"))
        }
        Ok(status @ 400..=499) => StatusCode::from_u16(status).map_err(|_| ADVICE.to_owned()),
        _ => Err(ADVICE.to_owned()),
    }
}

/// Addresses that other machines can reach need `allow_non_loopback`.
fn check_reach<'a>(
    listeners: impl Iterator<Item = &'a Located<Listen>>,
    allow_non_loopback: bool,
    ledger: &Ledger,
) {
    for listen in listeners {
        if let Listen::Tcp(address) = &listen.value
            && !listen.value.is_of_this_machine()
            && !allow_non_loopback
        {
            ledger.error(
                &listen.place,
                format!(
                    "found `{address}`, which other machines can reach; write `127.0.0.1:{}`, or also \
                     `allow_non_loopback: true` in `server`",
                    address.port()
                ),
            );
        }
    }
}

/// All addresses must be different, defaults included.
fn check_distinct(server: &Server, listeners: &[ListenerEntry], ledger: &Ledger, section: &Object<'_>) {
    let own = [
        ("listen", Some(&server.listen)),
        ("admin", Some(&server.admin)),
        ("metrics", server.metrics.as_ref()),
    ];
    let mut named: Vec<(String, &Listen, Option<Place>)> = Vec::new();
    for (name, listen) in own {
        named.extend(listen.map(|listen| (name.to_owned(), listen, section.place_of(name))));
    }
    for (index, listener) in listeners.iter().enumerate() {
        let name = format!("listeners[{index}].listen");
        named.push((name, &listener.listen.value, Some(listener.listen.place.clone())));
    }
    for (index, (name, listen, place)) in named.iter().enumerate() {
        for (earlier_name, earlier, earlier_place) in &named[..index] {
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
