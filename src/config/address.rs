//! Addresses in the configuration: listeners, upstream URLs, allowed hosts, origins and networks. Each is parsed
//! from its text and normalised, so that two spellings of one address are equal. Errors say what to write instead.
//!
//! No address may contain a user name or password, because addresses appear in logs and messages.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::Uri;
use ipnet::IpNet;

use super::Listen;

/// The placeholder for the account name in a token URL.
pub(super) const ACCOUNT: &str = "{account}";

/// Reads a listening address: `127.0.0.1:8080`, `[::1]:80` or `unix:/path`.
pub(super) fn listen(text: &str) -> Result<Listen, String> {
    const ADVICE: &str = "write an address and port, as `127.0.0.1:8080` or `[::1]:8080`, or `unix:/path`";
    if let Some(path) = text.strip_prefix("unix:") {
        return match Path::new(path) {
            path if path.is_absolute() && path.file_name().is_some() => Ok(Listen::Unix(path.to_owned())),
            _ => Err("write the absolute path of the socket, as `unix:/run/proxy.sock`".to_owned()),
        };
    }
    if let Some(port) = text.strip_prefix("localhost:") {
        return Err(format!("write `127.0.0.1:{}`", port.chars().take(5).collect::<String>()));
    }
    text.parse::<SocketAddr>().map(Listen::Tcp).map_err(|_| ADVICE.to_owned())
}

/// Reads the origin of an API: scheme, host and port only.
pub(super) fn api_origin(text: &str) -> Result<Arc<str>, String> {
    const ADVICE: &str = "write scheme and host alone, as `https://api.talkdeskapp.com`";
    let uri = web_uri(text, ADVICE)?;
    if uri.path() != "/" || uri.query().is_some() {
        return Err(ADVICE.to_owned());
    }
    secure(&uri)?;
    Ok(normalised(&uri).into())
}

/// Reads the URL of a token endpoint. `{account}` may occur once, in the host or the path.
pub(super) fn token_url(text: &str) -> Result<Arc<str>, String> {
    const ADVICE: &str = "write a URL as `https://{account}.talkdeskid.com/oauth/token`";
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
pub(super) fn public_url(text: &str) -> Result<Arc<str>, String> {
    const ADVICE: &str = "write a URL without query, as `http://billing.internal:8080`";
    let uri = web_uri(text, ADVICE)?;
    if uri.query().is_some() {
        return Err(ADVICE.to_owned());
    }
    Ok(format!("{}{}", normalised(&uri), uri.path().trim_end_matches('/')).into())
}

/// Reads the origin of browser pages, in the form of the `Origin` field.
pub(super) fn web_origin(text: &str) -> Result<String, String> {
    const ADVICE: &str = "write scheme and host alone, as `https://dashboard.internal`";
    let uri = web_uri(text, ADVICE)?;
    if uri.path() != "/" || uri.query().is_some() { Err(ADVICE.to_owned()) } else { Ok(normalised(&uri)) }
}

/// Reads the URL of a forward proxy.
pub(super) fn forward_proxy(text: &str) -> Result<Uri, String> {
    const ADVICE: &str = "write scheme, host and port, as `http://proxy.internal:3128`";
    let uri = web_uri(text, ADVICE)?;
    if uri.path() != "/" || uri.query().is_some() { Err(ADVICE.to_owned()) } else { Ok(uri) }
}

/// Reads a host name that `Host` may have: in lower case, without the port.
pub(super) fn host(text: &str) -> Result<String, String> {
    const ADVICE: &str = "write a host name or address, as `billing.internal` or `[::1]`";
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
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map(|network| network.trunc())
        .map_err(|_| "write a network, as `10.0.0.0/8` or `fd00::/8`".to_owned())
}

/// Reads a path; a relative one is resolved against the directory of the configuration.
pub(super) fn path(text: &str, directory: &Path) -> Result<PathBuf, String> {
    if text.is_empty() || text.contains('\0') {
        return Err("write the path of a file, as `/etc/ssl/private-ca.pem`".to_owned());
    }
    Ok(directory.join(text))
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
