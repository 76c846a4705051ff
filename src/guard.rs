//! Who may speak to a listener at all.
//!
//! A port on localhost without a login is open to every web page that a browser on the machine shows: a page can
//! send requests, and by rebinding a name of its own to 127.0.0.1 read the answers (CVE-2024-28224 and others).
//! So `Host` must be a name that the operator knows, and a browser's request must not come from another origin.
//!
//! Deliberately absent: CORS fields, which would only ever widen this.

use std::net::{IpAddr, SocketAddr};

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use http::request::Parts;
use ipnet::IpNet;

use crate::config::Server;

/// Who may speak to the listeners.
#[derive(Clone, Debug)]
pub struct Guard {
    hosts: Vec<String>,
    origins: Vec<String>,
    peers: Vec<IpNet>,
}

/// The connection that a request came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// TCP.
    Tcp {
        /// The other end.
        peer: SocketAddr,
        /// This end.
        local: SocketAddr,
    },
    /// A Unix socket, with the user at the other end.
    Unix {
        /// The user's id, where the system says.
        user: Option<u32>,
    },
}

/// Why a request is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// `Host` is missing or there twice (then empty), or not one of ours.
    Host(String),
    /// It comes from a browser page of another origin.
    Origin,
    /// The peer's address is not listed.
    Peer,
}

impl Guard {
    /// The guard for this configuration.
    #[must_use]
    pub fn new(server: &Server) -> Self {
        let mut origins: Vec<_> =
            server.allowed_origins.iter().map(|origin| origin.to_ascii_lowercase()).collect();
        // Behind a TLS proxy a browser names that proxy's origin as its own.
        origins.extend(server.public_url.as_deref().and_then(origin_of));
        Self {
            hosts: server.allowed_hosts.iter().map(|host| normalised_host(host)).collect(),
            origins,
            peers: server.allowed_peers.clone(),
        }
    }

    /// Whether the peer may speak at all.
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

    /// Whether the request is let in. `page` is true for what a person may follow a link to.
    ///
    /// # Errors
    /// [`Blocked`]
    pub fn admit(&self, head: &Parts, connection: Connection, page: bool) -> Result<(), Blocked> {
        self.peer(connection)?;
        self.host(head, connection)?;
        self.browser(&head.headers, page)
    }

    /// The same for a request of which it is known already that its `Host` is let in here, and whether it has `Origin` or
    /// `Sec-Fetch-Site`, without which nothing tells of a page.
    ///
    /// # Errors
    /// [`Blocked`]
    pub fn admit_known_host(
        &self,
        fields: &HeaderMap,
        may_be_of_page: bool,
        connection: Connection,
    ) -> Result<(), Blocked> {
        debug_assert!(
            may_be_of_page || !(fields.contains_key(ORIGIN) || fields.contains_key(SEC_FETCH_SITE))
        );
        self.peer(connection)?;
        if may_be_of_page { self.browser(fields, false) } else { Ok(()) }
    }

    fn host(&self, head: &Parts, connection: Connection) -> Result<(), Blocked> {
        let host = single(&head.headers, &HOST).ok_or_else(|| Blocked::Host(String::new()))?;
        let host = host.to_str().map_err(|_| Blocked::Host("?".into()))?;
        let foreign = || Blocked::Host(host.chars().take(100).collect());
        let name = normalised_host(host);
        if let Some(authority) = head.uri.authority()
            && !authority.as_str().eq_ignore_ascii_case(host)
        {
            return Err(foreign());
        }
        let allowed = match connection {
            Connection::Unix { .. } => true,
            Connection::Tcp { local, .. } => is_address(&name, local.ip()) || self.hosts.contains(&name),
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

/// The value of a field that is there exactly once.
fn single<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = fields.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// A host without port, case and trailing dot.
fn normalised_host(host: &str) -> String {
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
    without_port.strip_suffix('.').unwrap_or(without_port).to_ascii_lowercase()
}

fn is_address(name: &str, local: IpAddr) -> bool {
    let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    literal.parse::<IpAddr>().is_ok_and(|address| address.to_canonical() == local.to_canonical())
}

/// What may stand in a URL that the proxy writes: nothing that could end a JSON string or an HTML attribute.
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
