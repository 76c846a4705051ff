//! Where requests lead, remembered: tenant, permit, credential, place in the cache, and what links begin with depend on
//! a request's target, `Host` and `X-Tenant` alone (and on where it came in), so they are found out once.
//!
//! Nothing is decided here. A route is kept only with a permit that the entitlement gave, and is good for as long as
//! nothing was learned since ([`Learned::lessons`]); the table belongs to a snapshot, so it goes with the configuration.
//! Time alone takes no permit away: what was learned denies until it ends, and grants nothing by ending. The one permit
//! that time does change, one that wants a list of accounts read again, is not kept; and of denials those are that rest
//! on the configuration alone ([`Denial::lasts`](crate::domain::entitlement::Denial::lasts)).
//!
//! Who may speak to the listener is asked of every request all the same: its peer, the page that it comes from, and its
//! body are its own.
//!
//! The table has so many places, and a target has one of them. A later one takes it from an earlier one that is still
//! right now and then only: where there are many more targets than places, remembering each would cost more than it saves,
//! and those that are asked for often get theirs soon. With the longest targets in every place it takes about 20 MiB,
//! and some 7 more where each of them leads to a refusal; where they are as usual, 2. The hash has a seed of its own, so nobody can choose targets that push others out.

use std::hash::{BuildHasher as _, Hasher as _};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use foldhash::fast::RandomState;
use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Uri};

use super::RequestContext;
use super::entrance::Entrance;
use super::fetch_request::upstream_target;
use super::origin::Origin;
use super::refused::Refused;
use super::rejection::Rejection;
use super::request_log::RequestLog;
use super::snapshot::Snapshot;
use crate::cache::primary_key;
use crate::domain::entitlement::Permit;
use crate::domain::learned::Learned;
use crate::domain::tenant::Tenant;
use crate::guard::Connection;
use crate::metrics::TenantMetrics;
use crate::page::links::Base;
use crate::prepared_head::X_TENANT;
use crate::rfc9111::key::PrimaryKey;

/// Where a request leads that may be made.
pub struct Route {
    /// The proof that it may be made.
    pub permit: Permit,
    /// The way upstream.
    pub origin: Arc<Origin>,
    /// Where its answer stands in the cache.
    pub key: PrimaryKey,
    /// What it asks upstream for, once it has: a hit needs none.
    target: OnceLock<Option<Uri>>,
    /// What links begin with.
    pub base: Base,
    /// Whether its path names no tenant.
    pub bare: bool,
    /// The series of its tenant.
    pub counted: Arc<TenantMetrics>,
}

impl Route {
    /// A route with this permit.
    #[must_use]
    pub fn new(
        permit: Permit,
        origin: Arc<Origin>,
        base: Base,
        names_no_tenant: bool,
        counted: Arc<TenantMetrics>,
    ) -> Self {
        Self {
            key: primary_key(&permit),
            origin,
            target: OnceLock::new(),
            base,
            bare: names_no_tenant,
            counted,
            permit,
        }
    }

    /// What it asks upstream for; none where that is no URL.
    #[must_use]
    pub fn target(&self) -> Option<Uri> {
        self.target.get_or_init(|| upstream_target(&self.permit)).clone()
    }
}

/// Where a request leads that may not be made, by the configuration alone: to a refusal.
pub struct DeadEnd {
    /// The answer.
    pub refused: Refused,
    /// For whom it was meant.
    pub tenant: Arc<Tenant>,
    /// The place of its endpoint in the closed list.
    pub endpoint: usize,
    /// Whether its path names no tenant.
    pub bare: bool,
    /// The series of its tenant.
    pub counted: Arc<TenantMetrics>,
}

/// Where a request leads.
#[derive(Clone)]
pub enum Leads {
    /// To data.
    To(Arc<Route>),
    /// To a refusal.
    Nowhere(Arc<DeadEnd>),
}

impl DeadEnd {
    /// Of the rejection that a request ended with; none where another day, or another lesson, could end it otherwise.
    #[must_use]
    pub fn of(rejection: &Rejection, log: &RequestLog, snapshot: &Snapshot) -> Option<Self> {
        let Rejection::Denied(denial) = rejection else { return None };
        let tenant = log.tenant.as_ref().filter(|_| denial.lasts())?;
        Some(Self {
            refused: Refused::new(rejection, Some(&tenant.label), snapshot.config.server.denial_status),
            tenant: Arc::clone(tenant),
            endpoint: log.endpoint?,
            bare: log.bare,
            counted: snapshot.counted(&tenant.name),
        })
    }
}

/// The table.
pub struct Routes {
    places: Box<[ArcSwapOption<Known>]>,
    hasher: RandomState,
}

/// A route, with the requests that take it.
struct Known {
    entrance: Arc<Entrance>,
    local: Option<IpAddr>,
    is_head: bool,
    target: Box<str>,
    host: Box<[u8]>,
    tenant: Option<Box<[u8]>>,
    lessons: u64,
    leads: Leads,
}

/// What of a request decides where it leads.
pub struct Asking<'a> {
    entrance: &'a Arc<Entrance>,
    local: Option<IpAddr>,
    is_head: bool,
    target: &'a str,
    host: &'a [u8],
    tenant: Option<&'a [u8]>,
    lessons: u64,
}

/// Targets that can be remembered at once.
const PLACES: usize = 8_192;
/// Of so many that find their place taken, one takes it.
const ONE_IN: u8 = 16;
/// The longest target that is remembered.
const LONGEST_TARGET: usize = 512;
/// The longest `Host` and `X-Tenant`.
const LONGEST_FIELD: usize = 128;

impl<'a> Asking<'a> {
    /// What of a request decides where it leads, and how much is learned by now; none for one that is not remembered:
    /// another method, a target that is long or has an authority of its own, a field that is repeated. `names_tenant` is whether
    /// it has `X-Tenant`.
    #[must_use]
    pub fn of(
        head: &'a Parts,
        names_tenant: bool,
        context: &RequestContext<'a>,
        learned: &Learned,
    ) -> Option<Self> {
        debug_assert!(names_tenant || !head.headers.contains_key(X_TENANT));
        if !matches!(head.method, Method::GET | Method::HEAD) || head.uri.authority().is_some() {
            return None;
        }
        let target = head.uri.path_and_query()?.as_str();
        let host = at_most_one(&head.headers, &HOST)??;
        let tenant = if names_tenant { at_most_one(&head.headers, &X_TENANT)? } else { None };
        (target.len() <= LONGEST_TARGET).then_some(Self {
            entrance: context.entrance,
            local: match context.connection {
                Connection::Tcp { local, .. } => Some(local.ip()),
                Connection::Unix { .. } => None,
            },
            is_head: head.method == Method::HEAD,
            target,
            host,
            tenant,
            lessons: learned.lessons(),
        })
    }

    fn is_answered_by(&self, known: &Known) -> bool {
        known.lessons == self.lessons
            && *known.target == *self.target
            && *known.host == *self.host
            && known.tenant.as_deref() == self.tenant
            && known.is_head == self.is_head
            && known.local == self.local
            && Arc::ptr_eq(&known.entrance, self.entrance)
    }
}

/// The field's value; the inner none where there is none, the outer one where there are several or it is long.
#[expect(clippy::option_option, reason = "unusable, absent and present are three things")]
fn at_most_one<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Option<Option<&'a [u8]>> {
    let mut values = fields.get_all(name).iter().map(HeaderValue::as_bytes);
    let value = values.next();
    (values.next().is_none() && value.is_none_or(|value| value.len() <= LONGEST_FIELD)).then_some(value)
}

impl Default for Routes {
    fn default() -> Self {
        let places = std::iter::repeat_with(ArcSwapOption::empty).take(PLACES);
        Self { places: places.collect(), hasher: RandomState::default() }
    }
}

impl Routes {
    /// Where a request leads, if that is known and nothing was learned since.
    #[must_use]
    pub fn find(&self, asking: &Asking<'_>) -> Option<Leads> {
        let known = self.place(asking).load();
        known.as_ref().filter(|known| asking.is_answered_by(known)).map(|known| known.leads.clone())
    }

    /// Remembers where a request led, unless time could change that. What it asks by has to be from before it was decided.
    pub fn remember(&self, asking: &Asking<'_>, leads: Leads) {
        if let Leads::To(route) = &leads
            && route.permit.reread_accounts().is_some()
        {
            return;
        }
        let place = self.place(asking);
        let is_taken = place.load().as_ref().is_some_and(|known| known.lessons == asking.lessons);
        if is_taken && fastrand::u8(..ONE_IN) > 0 {
            return;
        }
        let known = Known {
            entrance: Arc::clone(asking.entrance),
            local: asking.local,
            is_head: asking.is_head,
            target: asking.target.into(),
            host: asking.host.into(),
            tenant: asking.tenant.map(Into::into),
            lessons: asking.lessons,
            leads,
        };
        place.store(Some(Arc::new(known)));
    }

    fn place(&self, asking: &Asking<'_>) -> &ArcSwapOption<Known> {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(asking.target.as_bytes());
        hasher.write(asking.tenant.unwrap_or_default());
        #[expect(clippy::cast_possible_truncation, reason = "the number of places is smaller by far")]
        let place = hasher.finish() as usize % PLACES;
        &self.places[place]
    }
}
