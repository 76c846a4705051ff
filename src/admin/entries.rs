//! `GET /api/cache/entries`: the entries of the cache, and the recent responses that were not stored, with the
//! reason. It helps to diagnose a single request. It never contains a body, a secret or a token.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::parameters;
use super::reply::AdminResponse;
use crate::cache::bypasses::BypassedRequest;
use crate::cache::purges::Selection;
use crate::cache::{Entry, Slot, SlotLabel};
use crate::clock::Now;
use crate::domain::credential::CredentialKey;
use crate::proxy::Proxy;
use crate::timestamp::timestamp;

/// The default for `limit`: the maximum number of entries, and of responses not stored, that are listed.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

/// The owners of credentials, by the credential key in an entry.
type Owners = HashMap<CredentialKey, String>;

/// Lists the entries and the responses not stored that match the query.
pub(super) fn entries(proxy: &Proxy, query: Option<&str>) -> AdminResponse {
    let (selection, limit) = match read(proxy, query.unwrap_or_default()) {
        Ok(read) => read,
        Err(message) => {
            return AdminResponse::error(StatusCode::BAD_REQUEST, "parameter_not_allowed", &message);
        }
    };
    let now = proxy.clock.now();
    let snapshot = proxy.snapshot();
    let owners: Owners = snapshot
        .origins()
        .map(|origin| origin.tokens.credential())
        .map(|credential| (credential.key.clone(), credential.owner.to_string()))
        .collect();
    let mut slots: Vec<_> = proxy.cache.slots().filter(|slot| selection.picks(&slot.label)).collect();
    slots.sort_by(|one, other| one.label.path_and_query().cmp(other.label.path_and_query()));
    let usable = |slot: &Arc<Slot>| {
        let slot = Arc::clone(slot);
        (0..slot.variants.len()).map(move |at| (Arc::clone(&slot), at))
    };
    let all: Vec<_> =
        slots.iter().flat_map(usable).filter(|(slot, at)| !slot.variants[*at].is_dropped()).collect();
    let shown: Vec<_> =
        all.iter().take(limit).map(|(slot, at)| entry(&slot.variants[*at], slot, &owners, now)).collect();
    let mut not_kept: Vec<_> = proxy.cache.bypasses().filter(|one| selection.picks(&one.label)).collect();
    not_kept.sort_by_cached_key(|one| Reverse(one.lately().last));
    let refused: Vec<_> = not_kept.iter().take(limit).map(|one| not_stored(one, &owners)).collect();
    AdminResponse::json(
        StatusCode::OK,
        &json!({
            "total": all.len(),
            "limit": limit,
            "entries": shown,
            "not_kept_total": not_kept.len(),
            "not_kept": refused,
        }),
    )
}

fn read(proxy: &Proxy, query: &str) -> Result<(Selection, usize), String> {
    let (mut selection, mut limit) = (Selection::default(), DEFAULT_LIMIT);
    parameters::each(query, &["tenant", "endpoint", "path_prefix", "limit"], |name, value| match name {
        "tenant" => parameters::of_tenant(&mut selection, proxy, value),
        "endpoint" => parameters::of_endpoint(&mut selection, proxy, value),
        "path_prefix" => parameters::below(&mut selection, value),
        _ => match value.parse() {
            Ok(number @ 1..=MAX_LIMIT) => {
                limit = number;
                Ok(())
            }
            _ => Err(format!("`limit={value}` is out of range: write a number from 1 to {MAX_LIMIT}")),
        },
    })?;
    Ok((selection, limit))
}

fn entry(entry: &Entry, slot: &Slot, owners: &Owners, now: Now) -> Value {
    let mut shown = labelled(&slot.label, owners);
    shown["status"] = entry.status.as_u16().into();
    shown["state"] = state(entry, now).into();
    shown["received"] = timestamp(now.wall_at(entry.received)).into();
    shown["age_seconds"] = entry.age(now).as_secs().into();
    shown["fresh_for_seconds"] = entry.remaining(now).into();
    shown["bytes"] = entry.weight().into();
    shown["hits"] = entry.hits().into();
    shown["variants"] = slot.variants.len().into();
    shown
}

/// How the entry may be used.
fn state(entry: &Entry, now: Now) -> &'static str {
    let freshness = &entry.decision.freshness;
    if entry.counted_age(now) < freshness.lifetime && !freshness.always_validate {
        "fresh"
    } else if entry.serves_while_revalidating(now) {
        "stale_while_revalidate"
    } else if entry.serves_on_error(now) {
        "stale_if_error"
    } else if entry.can_be_validated() {
        "to_be_validated"
    } else {
        "expired"
    }
}

fn not_stored(one: &BypassedRequest, owners: &Owners) -> Value {
    let mut shown = labelled(&one.label, owners);
    let lately = one.lately();
    shown["reason"] = lately.bypass.as_str().into();
    shown["last"] = timestamp(lately.last).into();
    shown["times"] = lately.times.into();
    shown
}

fn labelled(label: &SlotLabel, owners: &Owners) -> Value {
    json!({
        "endpoint": &*label.endpoint,
        "credential": owners.get(&label.credential),
        "account_id": label.account.map(|account| account.to_string()),
        "path": label.path_and_query(),
    })
}
