//! The keys `server.listeners` and `server.unix_socket`: additional data listeners, each for some tenants only,
//! and the permissions of Unix sockets.

use std::fs;

use serde_json::json;

use super::key::{Section, keys};
use super::kind::{List, Scalar};
use super::object::Object;
use super::reader::{Ledger, Located};
use super::settings::{DataListener, Listen, Server, UnixSocket};
use super::tenant_entry::InstanceEntry;
use super::{address, check, value};
use crate::domain::tenant::{TenantName, Tenants};

pub(super) static LISTENER: Section =
    Section { description: "A listener for some tenants.", ..Section::new(LISTENER_KEYS) };

const TENANTS_ADVICE: &str = "write the tenants that may be named there, such as `[instances/globex]`";

keys! {
    LISTENER_KEYS;
    pub(super) LISTEN: Scalar<Listen> = "listen", address::LISTEN,
        Required("write an address, such as `127.0.0.1:8081`"),
        "Where clients ask.";
    TENANTS: List<Scalar<TenantName>> = "tenants",
        List { if_empty: Some(TENANTS_ADVICE), ..List::of(value::TENANT) }, Required(TENANTS_ADVICE),
        "Who may be named there. An Instance under a listed Organization is not implied.";
    DEFAULT_TENANT: Scalar<TenantName> = "default_tenant", value::TENANT, Optional,
        "Whom a request is for that names nobody; one of `tenants`.";
}

keys! {
    pub(super) UNIX_SOCKET_KEYS;
    MODE: Scalar<u32> = "mode",
        Scalar::new(
            || json!({ "type": ["string", "integer"], "minimum": 600, "maximum": 777, "pattern": "^0*[67][0-7]{2}$" }),
            mode,
        ), Default("\"0600\""),
        "The mode of the file; in quotes.";
    GROUP: Scalar<u32> = "group",
        Scalar::new(|| json!({ "type": ["string", "integer"], "minimum": 0, "minLength": 1 }), group), Optional,
        "The group of the file, by name or number; unset: that of the process.";
}

/// A listener as written in the file.
pub(super) struct ListenerEntry {
    pub(super) listen: Located<Listen>,
    tenants: Vec<Located<TenantName>>,
    default_tenant: Option<Located<TenantName>>,
}

impl Server {
    /// All listening addresses, each with its key in the configuration.
    pub fn addresses(&self) -> impl Iterator<Item = (String, &Listen)> {
        let own = [("server.listen", Some(&self.listen)), ("server.admin", Some(&self.admin))];
        let own = own.into_iter().chain([("server.metrics", self.metrics.as_ref())]);
        let own = own.filter_map(|(key, listen)| Some((key.to_owned(), listen?)));
        let further = self.listeners.iter().enumerate();
        own.chain(
            further.map(|(index, listener)| (format!("server.listeners[{index}].listen"), &listener.listen)),
        )
    }

    /// A warning for each listener that other machines can reach.
    #[must_use]
    pub fn exposed(&self) -> Vec<String> {
        let exposed = self.addresses().filter(|(_, listen)| !listen.is_of_this_machine());
        let exposed = exposed.map(|(key, listen)| {
            format!(
                "{key} is {listen}, which other machines can reach. There is no login: whoever can connect \
                 sees what it serves"
            )
        });
        exposed.collect()
    }
}

impl Listen {
    /// Whether only this machine can connect to the address.
    #[must_use]
    pub fn is_of_this_machine(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl ListenerEntry {
    /// The listener without the places.
    pub(super) fn listener(&self) -> DataListener {
        DataListener {
            listen: self.listen.value.clone(),
            tenants: self.tenants.iter().map(|tenant| tenant.value.clone()).collect(),
            default_tenant: self.default_tenant.as_ref().map(|tenant| tenant.value.clone()),
        }
    }

    /// Checks that the named tenants exist.
    pub(super) fn check(&self, tenants: &Tenants, instances: &[InstanceEntry], ledger: &Ledger) {
        for name in &self.tenants {
            check::named_tenant(name, tenants, instances, ledger);
        }
    }
}

/// Reads the list of listeners; invalid ones are recorded and left out.
pub(super) fn read(listeners: &[Object<'_>], ledger: &Ledger) -> Vec<ListenerEntry> {
    listeners.iter().filter_map(|listener| read_listener(listener, ledger)).collect()
}

fn read_listener(section: &Object<'_>, ledger: &Ledger) -> Option<ListenerEntry> {
    let listen = section.required(&LISTEN);
    let tenants = section.required(&TENANTS);
    let default_tenant = section.located(&DEFAULT_TENANT);
    let tenants = tenants?.value;
    if let Some(default) = &default_tenant
        && !tenants.iter().any(|tenant| tenant.value == default.value)
    {
        ledger.error(
            &default.place,
            format!(
                "found `{}`, which may not be named at this listener; write one of its `tenants`",
                default.value
            ),
        );
    }
    Some(ListenerEntry { listen: listen?, tenants, default_tenant })
}

/// Reads the permissions of Unix sockets.
pub(super) fn read_unix_socket(section: &Object<'_>) -> Option<UnixSocket> {
    Some(UnixSocket { mode: section.get(&MODE)?, group: section.optional(&GROUP) })
}

fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode @ 0..=0o777) if mode & 0o600 == 0o600 => Ok(mode),
        _ => Err(
            "write the mode of a file that its owner may read and write, such as `\"0600\"` or `\"0660\"`"
                .to_owned(),
        ),
    }
}

fn group(text: &str) -> Result<u32, String> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    group_in(&groups, text)
        .ok_or_else(|| "write the name of a group that is in /etc/group, or the number of any".to_owned())
}

/// The id of a group in the text of `/etc/group` (see `group(5)`).
fn group_in(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut parts = line.split(':');
        let found = parts.next() == Some(name) && !name.is_empty();
        parts.nth(1).filter(|_| found)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_a_name_or_a_number() {
        let groups = "root:x:0:\nbilling:x:990:alice,bob\nbroken\n:x:7:\n";
        assert_eq!(group_in(groups, "billing"), Some(990));
        for absent in ["bill", "alice", "x", "990", "broken", ""] {
            assert_eq!(group_in(groups, absent), None, "{absent}");
        }
        assert_eq!(group("33"), Ok(33));
        assert!(group("no-such-group-here").is_err());
    }

    #[test]
    fn a_mode_lets_its_owner_in() {
        assert_eq!(mode("0660"), Ok(0o660));
        assert_eq!(mode("600"), Ok(0o600));
        for wrong in ["", "0000", "0060", "0400", "1660", "0x1b0", "rw", "0888"] {
            assert!(mode(wrong).is_err(), "{wrong}");
        }
    }
}
