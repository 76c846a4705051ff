//! Access control of the listeners: peer address, `Host` and browser origin.
//!
//! A port on localhost without a login is reachable by every web page in a browser on the machine. A page can send
//! requests, and with DNS rebinding (a name of its own that resolves to 127.0.0.1) it can read the responses
//! (CVE-2024-28224 and others). Therefore `Host` must be a configured name or the address of the listener, and a
//! request from a browser must not come from another origin.
//!
//! Deliberately absent: CORS response fields, which could only grant more access.

use std::net::{IpAddr, SocketAddr};

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use http::request::Parts;
use ipnet::IpNet;

use crate::config::Server;

/// The access rules of the listeners.
#[derive(Clone, Debug)]
pub struct Guard {
    hosts: Vec<String>,
    origins: Vec<String>,
    peers: Vec<IpNet>,
}

/// The connection on which a request arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// TCP.
    Tcp {
        /// The address of the client.
        peer: SocketAddr,
        /// The local address.
        local: SocketAddr,
    },
    /// A Unix socket.
    Unix {
        /// The user id of the client process, if the system reports it.
        user: Option<u32>,
    },
}

/// Why a request is rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// `Host` is missing or repeated (then the text is empty), or not allowed.
    Host(String),
    /// The request comes from a browser page of another origin.
    Origin,
    /// The client's address is not in `server.allowed_peers`.
    Peer,
}

impl Guard {
    /// The access rules of a configuration.
    #[must_use]
    pub fn new(server: &Server) -> Self {
        let mut origins: Vec<_> =
            server.allowed_origins.iter().map(|origin| origin.to_ascii_lowercase()).collect();
        // Behind a TLS proxy (`server.public_url`) browsers send the origin of that proxy.
        origins.extend(server.public_url.as_deref().and_then(origin_of));
        Self {
            hosts: server.allowed_hosts.iter().map(|host| host_name(host).to_owned()).collect(),
            origins,
            peers: server.allowed_peers.clone(),
        }
    }

    /// Checks the client's address.
    ///
    /// # Errors
    /// [`Blocked::Peer`]
    pub fn peer(&self, connection: Connection) -> Result<(), Blocked> {
        match connection {
            Connection::Tcp { peer, .. } if !self.peers.is_empty() => {
                let address = peer.ip().to_canonical();
                let listed = self.peers.iter().any(|network| network.contains(&address));
                if listed { Ok(()) } else { Err(Blocked::Peer) }
            }
            Connection::Tcp { .. } | Connection::Unix { .. } => Ok(()),
        }
    }

    /// Checks a request: client address, `Host` and browser origin. `page` is true for a path that may be the
    /// target of a link on another site.
    ///
    /// # Errors
    /// [`Blocked`]
    pub fn admit(&self, head: &Parts, connection: Connection, page: bool) -> Result<(), Blocked> {
        self.peer(connection)?;
        self.host(head, connection)?;
        self.browser(&head.headers, page)
    }

    fn host(&self, head: &Parts, connection: Connection) -> Result<(), Blocked> {
        let host = single(&head.headers, &HOST).ok_or_else(|| Blocked::Host(String::new()))?;
        let host = host.to_str().map_err(|_| Blocked::Host("?".into()))?;
        let foreign = || Blocked::Host(host.chars().take(100).collect());
        let name = host_name(host);
        if let Some(authority) = head.uri.authority()
            && !authority.as_str().eq_ignore_ascii_case(host)
        {
            return Err(foreign());
        }
        let is_listed = || self.hosts.iter().any(|host| host.eq_ignore_ascii_case(name));
        let allowed = match connection {
            Connection::Unix { .. } => true,
            Connection::Tcp { local, .. } => is_listed() || is_address(name, local.ip()),
        };
        if allowed && is_authority(host) { Ok(()) } else { Err(foreign()) }
    }

    fn browser(&self, fields: &HeaderMap, page: bool) -> Result<(), Blocked> {
        if fields.contains_key(ORIGIN) {
            let host = fields.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            let origin =
                single(fields, &ORIGIN).and_then(|origin| origin.to_str().ok()).ok_or(Blocked::Origin)?;
            let origin = origin.to_ascii_lowercase();
            let own = format!("http://{}", host.to_ascii_lowercase());
            return if origin == own || self.origins.contains(&origin) {
                Ok(())
            } else {
                Err(Blocked::Origin)
            };
        }
        let site = fields.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
        let elsewhere = matches!(site, Some(b"cross-site" | b"same-site"));
        let has = |name: &str, value: &[u8]| fields.get(name).is_some_and(|field| field.as_bytes() == value);
        let navigation = page && has("sec-fetch-mode", b"navigate") && has("sec-fetch-dest", b"document");
        if elsewhere && !navigation { Err(Blocked::Origin) } else { Ok(()) }
    }
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The value of a field that occurs exactly once.
fn single<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = fields.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// The host without port and trailing dot.
fn host_name(host: &str) -> &str {
    let is_colon = |byte: &u8| *byte == b':';
    let bytes = host.as_bytes();
    let without_port = match bytes.iter().rposition(is_colon) {
        Some(colon)
            if !bytes[colon..].contains(&b']')
                && (bytes.starts_with(b"[") || bytes.iter().position(is_colon) == Some(colon)) =>
        {
            &host[..colon]
        }
        _ => host,
    };
    without_port.strip_suffix('.').unwrap_or(without_port)
}

fn is_address(name: &str, local: IpAddr) -> bool {
    let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    literal.parse::<IpAddr>().is_ok_and(|address| address.to_canonical() == local.to_canonical())
}

/// Whether the host is safe in a URL that the proxy writes: no character may end a JSON string or an HTML
/// attribute.
fn is_authority(host: &str) -> bool {
    host.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']'))
}

fn origin_of(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?).to_ascii_lowercase())
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
