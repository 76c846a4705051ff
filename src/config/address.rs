//! Addresses in the configuration: listeners, upstream URLs, allowed hosts, origins and networks. Each is parsed
//! from its text and normalised, so that two spellings of one address are equal. Errors say what to write instead.
//!
//! No address may contain a user name or password, because addresses appear in logs and messages.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::Uri;
use ipnet::IpNet;
use serde_json::json;

use super::kind::{Scalar, kinds};
use super::settings::Listen;

/// The placeholder for the account name in a token URL.
pub(super) const ACCOUNT: &str = "{account}";

const URL_PATTERN: &str = r"^[hH][tT][tT][pP][sS]?://[^@/?#\s]+(?:/[^@\s]*)?$";

kinds! {
    LISTEN: Listen = listen, "listen", "address to listen at",
        "An address and port, or a Unix socket: `127.0.0.1:8080`, `[::1]:8080`, \
         `unix:/run/billing-insights-proxy/proxy.sock`. Port 0 picks a free one.",
        { "type": "string",
          "pattern": r"^(?:unix:/.*[^/]/*|(?:[0-9]{1,3}\.){3}[0-9]{1,3}:[0-9]{1,5}|\[[0-9a-fA-F:.%]+\]:[0-9]{1,5})$" };
    PUBLIC_URL: Arc<str> = public_url, "url", "URL",
        "A URL without a user name or password: `https://api.talkdeskapp.com`.",
        { "type": "string", "pattern": URL_PATTERN };
    API_ORIGIN: Arc<str> = api_origin, "origin", "URL without a path",
        "Scheme, host and port alone: `https://api.talkdeskapp.com`.",
        { "type": "string", "pattern": r"^[hH][tT][tT][pP][sS]?://[^@/?#\s]+/?$" };
    HOST: String = host, "host", "host name",
        "A host name or an address; a port is ignored: `billing.internal`, `\"[::1]\"`.",
        { "type": ["string", "number", "boolean"],
          "pattern": r"^(?:\[[0-9A-Fa-f:.]+\](?::[0-9]+)?|[A-Za-z0-9_.-]+(?::[^@/?#\s]*)?|[0-9A-Fa-f:.]+)$" };
    NETWORK: IpNet = network, "network", "network",
        "A network or an address: `10.0.0.0/8`, `fd00::/8`.",
        { "type": "string",
          "pattern": r"^(?:(?:[0-9]{1,3}\.){3}[0-9]{1,3}|[0-9a-fA-F:]*:[0-9a-fA-F:.]*)(?:/[0-9]{1,3})?$" };
    PATH: PathBuf = path, "path", "path of a file",
        "The path of a file; a relative one is meant beside the configuration.",
        { "type": ["string", "number", "boolean"], "minLength": 1 };
}

pub(super) const TOKEN_URL: Scalar<Arc<str>> =
    Scalar::new(|| json!({ "type": "string", "pattern": URL_PATTERN }), token_url);

pub(super) const WEB_ORIGIN: Scalar<String> = API_ORIGIN.parsed_by(web_origin);

pub(super) const FORWARD_PROXY: Scalar<Uri> = API_ORIGIN.parsed_by(forward_proxy);

/// Reads a listening address: `127.0.0.1:8080`, `[::1]:80` or `unix:/path`.
fn listen(text: &str) -> Result<Listen, String> {
    const ADVICE: &str =
        "write an address and port, such as `127.0.0.1:8080` or `[::1]:8080`, or `unix:/path`";
    if let Some(path) = text.strip_prefix("unix:") {
        return match Path::new(path) {
            path if path.is_absolute() && path.file_name().is_some() => Ok(Listen::Unix(path.to_owned())),
            _ => Err("write the absolute path of the socket, such as `unix:/run/proxy.sock`".to_owned()),
        };
    }
    if let Some(port) = text.strip_prefix("localhost:") {
        return Err(format!("write `127.0.0.1:{}`", port.chars().take(5).collect::<String>()));
    }
    text.parse::<SocketAddr>().map(Listen::Tcp).map_err(|_| ADVICE.to_owned())
}

/// Reads the origin of an API: scheme, host and port only.
fn api_origin(text: &str) -> Result<Arc<str>, String> {
    const ADVICE: &str = "write scheme and host alone, such as `https://api.talkdeskapp.com`";
    let uri = web_uri(text, ADVICE)?;
    if uri.path() != "/" || uri.query().is_some() {
        return Err(ADVICE.to_owned());
    }
    secure(&uri)?;
    Ok(normalised(&uri).into())
}

/// Reads the URL of a token endpoint. `{account}` may occur once, in the host or the path.
fn token_url(text: &str) -> Result<Arc<str>, String> {
    const ADVICE: &str = "write a URL, such as `https://{account}.talkdeskid.com/oauth/token`";
    if text.matches(ACCOUNT).count() > 1 {
        return Err("write `{account}` once".to_owned());
    }
    // A placeholder that is valid in a URL and that no real URL of a token endpoint contains.
    let stand_in = "account-5ea75fe7";
    let uri = web_uri(&text.replace(ACCOUNT, stand_in), ADVICE)?;
    secure(&uri)?;
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    Ok(format!("{}{path}", normalised(&uri)).replace(stand_in, ACCOUNT).into())
}

/// Reads the base URL of the links in responses.
fn public_url(text: &str) -> Result<Arc<str>, String> {
    const ADVICE: &str = "write a URL without query, such as `http://billing.internal:8080`";
    let uri = web_uri(text, ADVICE)?;
    if uri.query().is_some() {
        return Err(ADVICE.to_owned());
    }
    Ok(format!("{}{}", normalised(&uri), uri.path().trim_end_matches('/')).into())
}

/// Reads the origin of browser pages, in the form of the `Origin` field.
fn web_origin(text: &str) -> Result<String, String> {
    const ADVICE: &str = "write scheme and host alone, such as `https://dashboard.internal`";
    let uri = web_uri(text, ADVICE)?;
    if uri.path() != "/" || uri.query().is_some() { Err(ADVICE.to_owned()) } else { Ok(normalised(&uri)) }
}

/// Reads the URL of a forward proxy.
fn forward_proxy(text: &str) -> Result<Uri, String> {
    const ADVICE: &str = "write scheme, host and port, such as `http://proxy.internal:3128`";
    let uri = web_uri(text, ADVICE)?;
    if uri.path() != "/" || uri.query().is_some() { Err(ADVICE.to_owned()) } else { Ok(uri) }
}

/// Reads a host name that `Host` may have: in lower case, without the port.
fn host(text: &str) -> Result<String, String> {
    const ADVICE: &str = "write a host name or address, such as `billing.internal` or `[::1]`";
    if let Ok(address) = text.parse::<std::net::Ipv6Addr>() {
        return Ok(format!("[{address}]"));
    }
    let authority: http::uri::Authority = text.parse().map_err(|_| ADVICE.to_owned())?;
    let host = authority.host().to_ascii_lowercase();
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    let fits = plain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
    if text.contains('@') || plain.is_empty() || !fits { Err(ADVICE.to_owned()) } else { Ok(host) }
}

/// Reads a network or a single address.
fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map(|network| network.trunc())
        .map_err(|_| "write a network, such as `10.0.0.0/8` or `fd00::/8`".to_owned())
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.contains('\0') {
        return Err("write the path of a file, such as `/etc/ssl/private-ca.pem`".to_owned());
    }
    Ok(text.into())
}

fn web_uri(text: &str, advice: &str) -> Result<Uri, String> {
    if text.contains('@') {
        return Err(format!("{advice}; a user name or password can't stand in it"));
    }
    if text.contains('#') {
        return Err(advice.to_owned());
    }
    let uri: Uri = text.parse().map_err(|_| advice.to_owned())?;
    let web = matches!(uri.scheme_str(), Some("http" | "https"));
    let named = uri.host().is_some_and(|name| !name.is_empty() && host(name).is_ok());
    let port_fits = uri.authority().is_some_and(|authority| {
        let beyond_host = &authority.as_str()[authority.host().len()..];
        beyond_host.is_empty() || authority.port_u16().is_some_and(|port| port > 0)
    });
    if web && named && port_fits { Ok(uri) } else { Err(advice.to_owned()) }
}

/// Secrets and tokens need TLS, except on the loopback interface.
fn secure(uri: &Uri) -> Result<(), String> {
    let host = uri.host().unwrap_or_default();
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = plain.eq_ignore_ascii_case("localhost")
        || plain.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if uri.scheme_str() == Some("https") || loopback {
        Ok(())
    } else {
        Err("write `https://`; `http://` is for this machine alone (127.0.0.1, [::1], localhost)".to_owned())
    }
}

/// Scheme and host in lower case; the port only if it is not the default of the scheme.
fn normalised(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("https");
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    let own = if scheme == "https" { 443 } else { 80 };
    match uri.port_u16() {
        Some(port) if port != own => format!("{scheme}://{host}:{port}"),
        _ => format!("{scheme}://{host}"),
    }
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
