//! `DELETE /api/cache`: purges the entries of a tenant, of an endpoint, under a path prefix, or all of them.

use http::StatusCode;
use serde_json::json;

use super::parameters;
use super::reply::AdminResponse;
use crate::cache::purges::Selection;
use crate::proxy::Proxy;

/// Removes the selected entries, or marks them as stale with `soft=true`, and returns their number.
pub(super) fn purge(proxy: &Proxy, query: Option<&str>) -> AdminResponse {
    let (selection, soft) = match read(proxy, query.unwrap_or_default()) {
        Ok(read) => read,
        Err(message) => {
            return AdminResponse::error(StatusCode::BAD_REQUEST, "parameter_not_allowed", &message);
        }
    };
    let now = proxy.clock.now();
    let purged =
        if soft { proxy.cache.purge_softly(&selection, now) } else { proxy.cache.purge(&selection, now) };
    proxy.learned.forget_denials(|_| true);
    tracing::info!(purged, soft, "cache purged");
    AdminResponse::json(StatusCode::OK, &json!({ "purged": purged, "soft": soft }))
}

fn read(proxy: &Proxy, query: &str) -> Result<(Selection, bool), String> {
    let (mut selection, mut soft) = (Selection::default(), false);
    parameters::each(query, &["tenant", "endpoint", "path_prefix", "soft"], |name, value| match name {
        "tenant" => parameters::of_tenant(&mut selection, proxy, value),
        "endpoint" => parameters::of_endpoint(&mut selection, proxy, value),
        "path_prefix" => parameters::below(&mut selection, value),
        _ => {
            soft = value.parse().map_err(|_| format!("`soft={value}` is neither true nor false"))?;
            Ok(())
        }
    })?;
    Ok((selection, soft))
}
