//! The status page: one self-contained HTML page, made anew for each look. No script, nothing from elsewhere.
//!
//! The first screen says what fails, and why; then come the tenants, the credentials and the cache.

use std::fmt::Write as _;

use super::api::{decide, known_tenants};
use crate::access_log::timestamp;
use crate::proxy::Proxy;
use crate::proxy::rejection::Rejection;

const STYLE: &str = "
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid color-mix(in srgb, currentColor 18%, transparent); vertical-align: top }
.wide { overflow-x: auto }
.good { color: light-dark(#146c2e, #7bd88f) } .bad { color: light-dark(#a40e26, #ff8f8f) } .dim { opacity: .7 }
.bar { height: .7rem; border-radius: .35rem; background: color-mix(in srgb, currentColor 15%, transparent) }
.bar span { display: block; height: 100%; border-radius: inherit; background: light-dark(#2563eb, #8ab4ff) }
";

/// The page as it is now.
pub(super) fn status(proxy: &Proxy) -> String {
    let mut page = String::with_capacity(16 * 1024);
    page.push_str("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    page.push_str("<meta http-equiv=\"refresh\" content=\"10\">");
    let _ = write!(page, "<title>billing-insights-proxy</title><style>{STYLE}</style></head><body>");
    let now = timestamp(proxy.clock.now().wall);
    let _ = write!(
        page,
        "<h1>billing-insights-proxy {}</h1><p class=\"dim\">As of {now}; this page renews itself every 10 seconds. \
         <a href=\"/metrics\">metrics</a> · <a href=\"/api/tenants\">tenants</a> · \
         <a href=\"/api/credentials\">credentials</a> · <a href=\"/api/cache\">cache</a> · <a href=\"/api/cache/entries\">entries</a></p>",
        env!("CARGO_PKG_VERSION")
    );
    exposed(&mut page, proxy);
    failing(&mut page, proxy);
    tenants(&mut page, proxy);
    credentials(&mut page, proxy);
    cache(&mut page, proxy);
    page.push_str("</body></html>\n");
    page
}

/// The listeners that other machines can reach; nothing where there is none.
fn exposed(page: &mut String, proxy: &Proxy) {
    let exposed = proxy.snapshot().config.server.exposed();
    if exposed.is_empty() {
        return;
    }
    page.push_str("<h2>Reachable from elsewhere</h2><ul>");
    for listener in exposed {
        let _ = write!(page, "<li class=\"bad\">{}</li>", escaped(&listener));
    }
    page.push_str("</ul>");
}

fn failing(page: &mut String, proxy: &Proxy) {
    let snapshot = proxy.snapshot();
    let failing: Vec<_> = snapshot
        .origins()
        .filter_map(|origin| {
            let status = origin.tokens.status();
            let error = status.error.filter(|_| status.usable_until.is_none())?;
            Some((origin.tokens.credential().owner.to_string(), error.to_string()))
        })
        .collect();
    page.push_str("<h2>Failing now</h2>");
    if failing.is_empty() {
        page.push_str("<p class=\"good\">No credential is failing.</p>");
        return;
    }
    page.push_str("<ul>");
    for (owner, error) in failing {
        let _ =
            write!(page, "<li class=\"bad\"><strong>{}</strong>: {}</li>", escaped(&owner), escaped(&error));
    }
    page.push_str("</ul>");
}

fn tenants(page: &mut String, proxy: &Proxy) {
    let (snapshot, now) = (proxy.snapshot(), proxy.clock.now());
    page.push_str("<h2>Tenants</h2><div class=\"wide\"><table><thead><tr><th>tenant</th>");
    for endpoint in &snapshot.endpoints {
        let _ = write!(page, "<th>{}</th>", escaped(&endpoint.name));
    }
    page.push_str("</tr></thead><tbody>");
    for tenant in known_tenants(proxy, &snapshot) {
        let _ = write!(page, "<tr><td>{}</td>", escaped(&tenant.label));
        for endpoint in &snapshot.endpoints {
            match decide(&tenant, endpoint, proxy, &snapshot, now) {
                Ok(owner) => {
                    let _ = write!(
                        page,
                        "<td class=\"good\" title=\"with the credential of {owner}\">entitled</td>"
                    );
                }
                Err(denial) => {
                    let told = Rejection::Denied(denial)
                        .told(Some(&tenant.label), snapshot.config.server.denial_status);
                    let title = format!("{} {}", told.what, told.remedy);
                    let _ =
                        write!(page, "<td class=\"bad\" title=\"{}\">{}</td>", escaped(&title), told.code);
                }
            }
        }
        page.push_str("</tr>");
    }
    page.push_str("</tbody></table></div>");
}

fn credentials(page: &mut String, proxy: &Proxy) {
    let (snapshot, now) = (proxy.snapshot(), proxy.clock.now());
    page.push_str("<h2>Credentials</h2><div class=\"wide\"><table><thead><tr><th>credential</th><th>state</th><th>token ends</th><th>last error</th><th>next attempt</th><th>waiting</th></tr></thead><tbody>");
    for origin in snapshot.origins() {
        let status = origin.tokens.status();
        let class = match status.state {
            "valid" | "refreshing" => "good",
            "rejected" | "backing_off" => "bad",
            _ => "dim",
        };
        let time =
            |instant: Option<_>| instant.map_or("–".into(), |instant| timestamp(now.wall_at(instant)));
        let error = status.error.map_or("–".into(), |error| escaped(&error.to_string()));
        let paused = if origin.gate.paused().is_some() { ", paused" } else { "" };
        let _ = write!(
            page,
            "<tr><td>{}</td><td class=\"{class}\">{}{paused}</td><td>{}</td><td>{error}</td><td>{}</td><td>{}</td></tr>",
            escaped(&origin.tokens.credential().owner.to_string()),
            status.state,
            time(status.usable_until),
            time(status.next_attempt),
            origin.gate.waiting(),
        );
    }
    page.push_str("</tbody></table></div>");
}

fn cache(page: &mut String, proxy: &Proxy) {
    proxy.shelf.tidy();
    let (entries, bytes) = proxy.shelf.fill();
    let most = proxy.snapshot().config.cache.max_bytes;
    let percent = bytes.saturating_mul(100) / most.max(1);
    let _ = write!(
        page,
        "<h2>Cache</h2><p>{entries} entries, {} of {}</p><div class=\"bar\" role=\"img\" aria-label=\"{percent} % full\"><span style=\"width:{percent}%\"></span></div>",
        bytesize::ByteSize(bytes),
        bytesize::ByteSize(most),
    );
}

/// Text that can stand in HTML, inside an attribute too.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }
    }
    escaped
}
