//! The cache against a naive model of it: a list of everything that stands somewhere, looked through from the
//! beginning each time and judged by the rules as they are written down. `CACHE_MODEL_OPERATIONS=100000` runs it
//! for as long as a release needs; without it, for as long as a test may take.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::entry::EntryParts;
use super::lookup::{Reuse, reuse};
use super::policy::{Bypass, CachePolicy, StoreDecision};
use super::purges::Selection;
use super::*;
use crate::clock::{Clock, ManualClock, Now};
use crate::config;
use crate::config::{CacheRule, Overrides};
use crate::domain::credential::CredentialKey;
use crate::domain::query;
use crate::metrics::Metrics;
use crate::page::{Count, PageContent, TotalCounts};
use crate::rfc9111::cache_status::Forward;
use crate::rfc9111::directives::RequestDirectives;
use crate::rfc9111::freshness::Freshness;
use crate::rfc9111::key::PrimaryKey;
use crate::rfc9111::key::Variant;

const SEEDS: u64 = 20;
const MIN_REFRESH: Duration = Duration::from_secs(10);
const LANGUAGES: [&str; 3] = ["de", "en", "fr"];

/// Where something can stand: a credential, a query, and a page of it.
type Spot = (usize, usize, usize);

/// What the model knows of something that stands somewhere.
#[derive(Clone)]
struct Standing {
    number: u64,
    /// The language that selects it; none: every request does.
    language: Option<usize>,
    body: u8,
    counts: TotalCounts,
    asked: Instant,
    received: Instant,
    delay: Duration,
    freshness: Freshness,
    from_arrival: bool,
    set: Option<usize>,
    hits: u64,
}

/// What the model knows of pages that belong together.
struct Set {
    counts: TotalCounts,
    begun: Option<Instant>,
    deadline: Instant,
    latest_asked: Instant,
    members: HashSet<Spot>,
    dropped: bool,
    several: bool,
}

struct Model {
    standing: BTreeMap<Spot, Vec<Standing>>,
    sets: Vec<Set>,
    current: BTreeMap<(usize, usize), usize>,
    purges: Vec<Wanted>,
    /// How long a set of this name lives, as was seen the first time.
    lives: BTreeMap<(usize, usize, Duration), Duration>,
}

/// What a purge picks, in the model's words.
#[derive(Clone, Copy)]
struct Wanted {
    credential: Option<usize>,
    query: Option<usize>,
    page: Option<usize>,
}

struct Stage {
    cache: ResponseCache,
    clock: ManualClock,
    random: Choices,
    model: Model,
    /// Everything ever stored stays, so that it does not depend on the allocator when a set is gone.
    kept: Vec<Arc<Entry>>,
    next_number: u64,
    log: Vec<String>,
}

/// What decides: chance, or the bytes of a fuzzer, which end.
enum Choices {
    Chance(fastrand::Rng),
    Given(std::vec::IntoIter<u8>),
}

impl Choices {
    fn usize(&mut self, range: std::ops::Range<usize>) -> usize {
        match self {
            Self::Chance(random) => random.usize(range),
            Self::Given(bytes) => range.start + usize::from(bytes.next().unwrap_or_default()) % range.len(),
        }
    }

    fn u8(&mut self, range: std::ops::Range<u8>) -> u8 {
        match self {
            Self::Chance(random) => random.u8(range),
            Self::Given(bytes) => range.start + bytes.next().unwrap_or_default() % (range.end - range.start),
        }
    }

    fn bool(&mut self) -> bool {
        self.u8(0..2) == 1
    }

    fn choice<I: IntoIterator<IntoIter: ExactSizeIterator>>(&mut self, of: I) -> Option<I::Item> {
        let mut all = of.into_iter();
        let number = self.usize(0..all.len());
        all.nth(number)
    }
}

/// Plays what a fuzzer says.
pub(super) fn play(choices: &[u8]) {
    let mut stage = Stage::new(0);
    let bytes = choices.to_vec();
    stage.random = Choices::Given(bytes.into_iter());
    while matches!(&stage.random, Choices::Given(rest) if rest.len() > 0) {
        stage.operation();
    }
}

impl Wanted {
    fn picks(&self, spot: Spot) -> bool {
        self.credential.is_none_or(|credential| credential == spot.0)
            && self.query.is_none_or(|query| query == spot.1)
            && self.page.is_none_or(|page| page == spot.2)
    }

    /// With the pages beside it.
    fn picks_set(&self, spot: Spot) -> bool {
        Self { page: None, ..*self }.picks(spot)
    }

    fn selection(&self) -> Selection {
        let prefix = match (self.query, self.page) {
            (None, _) => String::new(),
            (Some(query), None) => format!("/express/{query}?"),
            (Some(query), Some(page)) => format!("/express/{query}?page={page}"),
        };
        Selection { credential: self.credential.map(credential), path_prefix: prefix, ..Selection::default() }
    }
}

impl Model {
    fn is_dropped(&self, one: &Standing) -> bool {
        one.set.is_some_and(|set| self.sets[set].dropped)
    }

    /// What a request for a language gets.
    fn find(&self, spot: Spot, language: usize) -> Result<&Standing, Forward> {
        let all = self.standing.get(&spot).into_iter().flatten();
        let usable: Vec<_> = all.filter(|one| !self.is_dropped(one)).collect();
        if usable.is_empty() {
            return Err(Forward::UriMiss);
        }
        // One that speaks of the language goes before one that does not.
        let selects = |wanted: Option<usize>| usable.iter().rev().find(|one| one.language == wanted).copied();
        selects(Some(language)).or_else(|| selects(None)).ok_or(Forward::VaryMiss)
    }

    /// Takes away all that stands at a slot.
    fn clear(&mut self, spot: Spot) -> usize {
        let gone = self.standing.remove(&spot).unwrap_or_default();
        for set in gone.iter().filter_map(|one| one.set) {
            self.sets[set].members.remove(&spot);
        }
        gone.len()
    }

    /// Drops a set: none of it answers again.
    fn drop_set(&mut self, set: usize, now: Instant) {
        let dropped = &mut self.sets[set];
        dropped.dropped = true;
        dropped.begun = dropped.begun.max(Some(now));
        dropped.members.clear();
        self.standing.values_mut().for_each(|all| all.retain(|one| one.set != Some(set)));
        self.standing.retain(|_, all| !all.is_empty());
    }

    /// Whether something may stand there, and as what; and the slot where its set is looked for.
    fn put(
        &mut self,
        spot: Spot,
        mut one: Standing,
        since: usize,
        life: Option<Duration>,
    ) -> Result<Duration, Bypass> {
        if self.purges[since..].iter().any(|purge| purge.picks_set(spot)) {
            return Err(Bypass::Purged);
        }
        if self.before(spot, &one).is_some_and(|before| before.asked > one.asked) {
            return Err(Bypass::Superseded);
        }
        if one.from_arrival {
            let (set, lifetime) = self.slot(spot, &one, life).ok_or(Bypass::Superseded)?;
            one.set = Some(set);
            one.freshness.lifetime = lifetime;
        }
        let lifetime = one.freshness.lifetime;
        let all = self.standing.entry(spot).or_default();
        all.retain(|other| other.language != one.language);
        all.push(one);
        Ok(lifetime)
    }

    /// What the same requests select.
    fn before(&self, spot: Spot, one: &Standing) -> Option<&Standing> {
        let before = self.standing.get(&spot).into_iter().flatten();
        let mut before = before.filter(|other| other.language == one.language && !self.is_dropped(other));
        before.next_back()
    }

    fn slot(&mut self, spot: Spot, one: &Standing, life: Option<Duration>) -> Option<(usize, Duration)> {
        let name = (spot.0, spot.1);
        let changed = self.before(spot, one).is_some_and(|before| before.body != one.body);
        let Some(&current) = self.current.get(&name) else { return self.begin(spot, one, None, life) };
        let set = &self.sets[current];
        if set.begun.is_some_and(|begun| one.asked < begun) {
            return None;
        }
        if set.dropped {
            return self.begin(spot, one, set.begun, life);
        }
        let over = one.received >= set.deadline;
        let (deadline, latest) = (set.deadline, set.latest_asked);
        if set.counts != one.counts {
            let begun = if over {
                one.asked.min(deadline)
            } else if one.asked < latest {
                self.drop_set(current, latest);
                return None;
            } else {
                one.asked
            };
            self.drop_set(current, begun);
            return self.begin(spot, one, Some(begun), life);
        }
        let alone = set.members.iter().all(|member| *member == spot);
        if !over && !alone && changed {
            self.drop_set(current, one.asked);
            return self.begin(spot, one, Some(one.asked), life);
        }
        let whole = if over || alone { Some(self.whole(spot, one, life)?) } else { None };
        let set = &mut self.sets[current];
        if over {
            set.begun = set.begun.max(Some(one.asked.min(deadline)));
        } else if alone && changed {
            set.begun = Some(one.asked);
        }
        if let Some(whole) = whole {
            set.deadline = one.received + whole;
        }
        Self::enlist(set, spot, one);
        Some((current, self.sets[current].deadline - one.received))
    }

    fn enlist(set: &mut Set, spot: Spot, one: &Standing) {
        set.members.insert(spot);
        set.latest_asked = set.latest_asked.max(one.asked);
        set.several = set.members.len() > 1;
    }

    /// How long a set of this name lives whole: shorter than the rule has it by its jitter, and always the same.
    fn whole(&mut self, spot: Spot, one: &Standing, life: Option<Duration>) -> Option<Duration> {
        let wished = one.freshness.lifetime;
        let name = (spot.0, spot.1, wished);
        let whole = self.lives.get(&name).copied().or(life)?;
        assert!(whole <= wished && whole >= wished * 95 / 100, "{whole:?} of {wished:?}");
        self.lives.insert(name, whole);
        Some(whole)
    }

    fn begin(
        &mut self,
        spot: Spot,
        one: &Standing,
        begun: Option<Instant>,
        life: Option<Duration>,
    ) -> Option<(usize, Duration)> {
        let whole = self.whole(spot, one, life)?;
        let mut set = Set {
            counts: one.counts,
            begun,
            deadline: one.received + whole,
            latest_asked: one.asked,
            members: HashSet::new(),
            dropped: false,
            several: false,
        };
        Self::enlist(&mut set, spot, one);
        self.sets.push(set);
        self.current.insert((spot.0, spot.1), self.sets.len() - 1);
        Some((self.sets.len() - 1, whole))
    }

    /// The slots that a purge picks, with those of the pages beside them.
    fn picked(&self, wanted: Wanted) -> Vec<Spot> {
        let is_of_a_set = |spot: &Spot| self.standing[spot].iter().any(|one| one.set.is_some());
        let spots: Vec<Spot> = self.standing.keys().copied().collect();
        let sets: HashSet<_> = spots
            .iter()
            .filter(|spot| wanted.picks(**spot) && is_of_a_set(spot))
            .map(|spot| (spot.0, spot.1))
            .collect();
        let beside = |spot: &Spot| is_of_a_set(spot) && sets.contains(&(spot.0, spot.1));
        spots.into_iter().filter(|spot| wanted.picks(*spot) || beside(spot)).collect()
    }

    fn sets_at(&self, spots: &[Spot]) -> Vec<usize> {
        spots.iter().flat_map(|spot| &self.standing[spot]).filter_map(|one| one.set).collect()
    }

    fn purge(&mut self, wanted: Wanted, now: Instant) -> usize {
        self.purges.push(wanted);
        let picked = self.picked(wanted);
        for set in self.sets_at(&picked) {
            let dropped = &mut self.sets[set];
            dropped.dropped = true;
            dropped.begun = dropped.begun.max(Some(now));
            dropped.members.clear();
        }
        picked.into_iter().map(|spot| self.clear(spot)).sum()
    }

    fn purge_softly(&mut self, wanted: Wanted, now: Instant) -> usize {
        self.purges.push(wanted);
        let picked = self.picked(wanted);
        for set in self.sets_at(&picked) {
            let ended = &mut self.sets[set];
            ended.deadline = ended.deadline.min(now);
            ended.begun = ended.begun.max(Some(now));
        }
        let mut purged = 0;
        for spot in picked {
            for one in self.standing.get_mut(&spot).into_iter().flatten() {
                let age = age(one, now);
                one.freshness.lifetime = one.freshness.lifetime.min(age);
                purged += 1;
            }
        }
        purged
    }

    /// What the rules say of what was found (RFC 9111, sections 4.2.4, 5.2.1; RFC 5861; ours).
    fn judged(&self, one: &Standing, request: &RequestDirectives, ours: bool, now: Instant) -> String {
        let (age, freshness) = (age(one, now), one.freshness);
        let fresh = age < freshness.lifetime && !freshness.always_validate;
        let young = now - one.received < MIN_REFRESH;
        let too_old = request.max_age.is_some_and(|most| age > most);
        let not_fresh_for_long = request
            .min_fresh
            .is_some_and(|least| age >= freshness.lifetime || freshness.lifetime < age + least);
        let number = one.number;
        if fresh && ours && young {
            return format!("fresh {number}");
        }
        if fresh {
            let refused = request.no_cache || too_old || not_fresh_for_long;
            return if refused { format!("validate {number} Request") } else { format!("fresh {number}") };
        }
        if request.no_cache {
            return format!("validate {number} Request");
        }
        let stale_for = age.saturating_sub(freshness.lifetime);
        let accepts = request.max_stale.is_some_and(|most| stale_for <= most);
        let may_be_stale = !freshness.never_stale && !freshness.always_validate;
        if accepts && may_be_stale && !too_old && request.min_fresh.is_none() {
            return format!("fresh {number}");
        }
        let several = one.set.is_some_and(|set| self.sets[set].several);
        let in_window = age < freshness.lifetime + freshness.stale_while_revalidate;
        if may_be_stale && in_window && !several && !too_old && request.min_fresh.is_none() {
            return format!("while revalidating {number}");
        }
        format!("validate {number} Stale")
    }
}

/// The age that freshness is held against.
fn age(one: &Standing, now: Instant) -> Duration {
    (now - one.received) + if one.from_arrival { Duration::ZERO } else { one.delay }
}

fn credential(number: usize) -> CredentialKey {
    let client = "2f1c9a0e5b7d4c31".parse().expect("an id");
    CredentialKey::new(
        &format!("https://id{number}.example.com"),
        "https://api.example.com",
        &client,
        None,
        None,
    )
}

fn at(spot: Spot) -> (PrimaryKey, SlotLabel) {
    let credential = credential(spot.0);
    let key = |path: &str| PrimaryKey::new(credential.as_bytes(), "https://api.example.com", path, None);
    let path = format!("/express/{}?page={}", spot.1, spot.2);
    let label = SlotLabel {
        credential: credential.clone(),
        account: None,
        endpoint: "invoices".into(),
        at: key(&path),
        pages: key(&query::without_page(&path)),
    };
    (key(&path), label)
}

fn rule(ours: bool) -> CacheRule {
    if !ours {
        return CacheRule::default();
    }
    CacheRule {
        ttl: Some(Duration::from_hours(1)),
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
        overrides: Overrides::All,
        min_refresh: MIN_REFRESH,
        statuses: Some(vec![StatusCode::OK]),
        closed_period: None,
    }
}

fn request_in(language: usize) -> HeaderMap {
    let mut request = HeaderMap::new();
    request.insert("accept-language", HeaderValue::from_static(LANGUAGES[language]));
    request
}

impl Stage {
    fn new(seed: u64) -> Self {
        let cache = config::Cache { max_bytes: 4 << 30, max_entry_bytes: 8 << 20, collapse: true };
        let model = Model {
            standing: BTreeMap::new(),
            sets: Vec::new(),
            current: BTreeMap::new(),
            purges: Vec::new(),
            lives: BTreeMap::new(),
        };
        Self {
            cache: ResponseCache::new(&cache, Arc::new(Metrics::new())),
            clock: ManualClock::new(),
            random: Choices::Chance(fastrand::Rng::with_seed(seed)),
            model,
            kept: Vec::new(),
            next_number: 0,
            log: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        Clock::Manual(self.clock.clone()).now()
    }

    fn seconds(&mut self, choices: &[u64]) -> Duration {
        Duration::from_secs(self.random.choice(choices).copied().unwrap_or_default())
    }

    fn spot(&mut self) -> Spot {
        (self.random.usize(0..2), self.random.usize(0..3), self.random.usize(1..4))
    }

    fn operation(&mut self) {
        match self.random.u8(0..100) {
            0..30 => self.put(),
            30..70 => self.look(),
            70..76 => self.confirm(),
            76..90 => {
                let by = self.seconds(&[0, 1, 5, 11, 60, 300, 900, 4000]);
                self.log.push(format!("{by:?} pass"));
                self.clock.advance(by);
            }
            90..93 => self.remove(),
            _ if self.random.u8(0..4) == 0 => self.purge(),
            _ => self.look(),
        }
    }

    fn purge(&mut self) {
        let query = self.random.bool().then(|| self.random.usize(0..3));
        let wanted = Wanted {
            credential: self.random.bool().then(|| self.random.usize(0..2)),
            query,
            page: query.filter(|_| self.random.bool()).map(|_| self.random.usize(1..4)),
        };
        let (now, soft) = (self.now(), self.random.bool());
        self.log.push(format!("purge {:?} soft {soft}", wanted.selection()));
        let (purged, expected) = if soft {
            let expected = self.model.purge_softly(wanted, now.monotonic);
            (self.cache.purge_softly(&wanted.selection(), now), expected)
        } else {
            let expected = self.model.purge(wanted, now.monotonic);
            (self.cache.purge(&wanted.selection(), now), expected)
        };
        assert_eq!(purged, expected, "{}", self.story());
    }

    fn remove(&mut self) {
        let spot = self.spot();
        self.log.push(format!("remove {spot:?}"));
        self.cache.remove(&at(spot).0);
        self.model.clear(spot);
    }

    fn put(&mut self) {
        let spot = self.spot();
        // Which rule decides is the endpoint's: one query is an endpoint where the origin does.
        let from_arrival = spot.1 != 2;
        let pages = self.random.choice([Count::Number(1), Count::Number(3), Count::Absent]);
        let delay = self.seconds(&[0, 0, 0, 1, 7, 30, 400]);
        let one = Standing {
            number: 0,
            language: self.random.bool().then(|| self.random.usize(0..LANGUAGES.len())),
            body: self.random.u8(0..3) / 2,
            counts: TotalCounts {
                total: Count::Number(u64::from(self.random.u8(0..8) == 0)),
                total_pages: if self.random.u8(0..8) == 0 {
                    pages.unwrap_or_default()
                } else {
                    Count::Number(3)
                },
            },
            asked: self.now().monotonic,
            received: self.now().monotonic,
            delay,
            freshness: Freshness {
                lifetime: self.seconds(&[20, 600, 3600]),
                stale_while_revalidate: self.seconds(&[0, 60, 3600]),
                stale_if_error: self.seconds(&[0, 3600]),
                always_validate: self.random.u8(0..10) == 0,
                never_stale: self.random.u8(0..10) == 0,
            },
            from_arrival,
            set: None,
            hits: 0,
        };
        self.store(spot, one, None);
    }

    /// A 304 to what is there.
    fn confirm(&mut self) {
        let (spot, language) = (self.spot(), self.random.usize(0..LANGUAGES.len()));
        let Lookup::Entry(entry) =
            self.cache.find(&at(spot).0, |variant| variant.matches(&request_in(language)))
        else {
            return;
        };
        let Ok(known) = self.model.find(spot, language) else { panic!("{}", self.story()) };
        let mut one = known.clone();
        one.received = self.now().monotonic;
        one.delay = self.seconds(&[0, 0, 2]);
        one.freshness.lifetime = self.seconds(&[600, 3600]);
        one.set = None;
        self.store(spot, one, Some(&entry));
    }

    fn store(&mut self, spot: Spot, mut one: Standing, confirms: Option<&Entry>) {
        self.next_number += 1;
        one.number = self.next_number;
        one.asked = one.received.checked_sub(one.delay).expect("later than the system's start");
        let late = self.random.usize(0..3).min(self.model.purges.len());
        let since = self.model.purges.len() - if self.random.u8(0..10) == 0 { late } else { 0 };
        let (key, label) = at(spot);
        let mut fields = HeaderMap::new();
        fields.insert("etag", HeaderValue::from_static("\"a\""));
        fields.insert("x-number", one.number.into());
        if one.language.is_some() {
            fields.insert("vary", HeaderValue::from_static("accept-language"));
        }
        let decision =
            StoreDecision { freshness: one.freshness, overrides_origin: true, by_ttl: one.from_arrival };
        let mut entry = Entry::new(EntryParts {
            stored: true,
            status: StatusCode::OK,
            variant: Variant::of(&fields, &request_in(one.language.unwrap_or_default())),
            fields,
            body: Bytes::from(vec![one.body]),
            page_content: PageContent { counts: one.counts, ..PageContent::default() },
            decision,
            received: Now { monotonic: one.received, ..self.now() },
            delay: one.delay,
        });
        if let Some(confirmed) = confirms {
            entry.continue_hits_of(confirmed);
        }
        self.log.push(format!(
            "put {} at {spot:?}, asked {:?} ago, {:?}, {:?}, language {:?}, body {}, {} purges late",
            one.number,
            one.delay,
            one.counts,
            one.freshness,
            one.language,
            one.body,
            self.model.purges.len() - since
        ));
        let (entry, outcome) = self.cache.store(
            &key,
            &label,
            entry,
            Generation { purges: since as u64, ..Generation::default() },
        );
        let life = entry.decision.freshness.lifetime;
        let outcome = outcome.map(|()| life);
        let expected = self.model.put(spot, one, since, Some(life));
        assert_eq!(outcome, expected, "{}", self.story());
        self.kept.push(entry);
    }

    fn look(&mut self) {
        let (spot, language) = (self.spot(), self.random.usize(0..LANGUAGES.len()));
        let mut some = |choices: &[u64]| {
            self.random
                .choice(choices)
                .copied()
                .filter(|_| self.random.u8(0..4) == 0)
                .map(Duration::from_secs)
        };
        let request = RequestDirectives {
            max_age: some(&[0, 15, 500]),
            max_stale: some(&[0, 100, 100_000]),
            min_fresh: some(&[0, 100, 5000]),
            no_cache: self.random.u8(0..8) == 0,
            ..RequestDirectives::default()
        };
        let (now, ours) = (self.now(), spot.1 != 2);
        let found = self.cache.find(&at(spot).0, |variant| variant.matches(&request_in(language)));
        if let Lookup::Entry(entry) = &found {
            entry.hit();
        }
        let said =
            |entry: &Entry| entry.fields.of_origin()["x-number"].to_str().expect("a number").to_owned();
        let hits = if let Lookup::Entry(entry) = &found { entry.hits() } else { 0 };
        let judged = match reuse(found, &request, &CachePolicy::new(rule(ours)), now) {
            Reuse::Fresh(entry) => format!("fresh {}", said(&entry)),
            Reuse::WhileRevalidating(entry) => format!("while revalidating {}", said(&entry)),
            Reuse::Validate(entry, why) => format!("validate {} {why:?}", said(&entry)),
            Reuse::Nothing(why) => format!("nothing {why:?}"),
        };
        let (expected, expected_hits) = match self.model.find(spot, language) {
            Ok(one) => (self.model.judged(one, &request, ours, now.monotonic), one.hits + 1),
            Err(why) => (format!("nothing {why:?}"), 0),
        };
        self.log.push(format!("look at {spot:?} {language} with {request:?}: {judged}"));
        assert_eq!(judged, expected, "{}", self.story());
        assert_eq!(hits, expected_hits, "{}", self.story());
        let number = expected.split(' ').find_map(|word| word.parse::<u64>().ok());
        for one in self.model.standing.get_mut(&spot).into_iter().flatten() {
            if Some(one.number) == number {
                one.hits += 1;
            }
        }
    }

    fn story(&self) -> String {
        let from = self.log.len().saturating_sub(40);
        format!("after {} operations:\n{}", self.log.len(), self.log[from..].join("\n"))
    }
}

#[test]
fn the_cache_does_what_a_naive_model_does() {
    let operations = std::env::var("CACHE_MODEL_OPERATIONS").ok().and_then(|text| text.parse().ok());
    for seed in 0..SEEDS {
        let mut stage = Stage::new(seed);
        for _ in 0..operations.unwrap_or(2000) {
            stage.operation();
        }
        let dropped = stage.model.sets.iter().filter(|set| set.dropped).count();
        assert!(dropped > 10, "sets come and go: {dropped}");
        eprintln!("seed {seed}: {} sets, {} purges", stage.model.sets.len(), stage.model.purges.len());
    }
}

#[test]
fn the_cache_does_what_a_naive_model_does_with_what_a_fuzzer_begins_with() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/seeds/cache");
    let files = std::fs::read_dir(seeds).expect("a folder").map(|file| file.expect("a file").path());
    assert!(files.map(|file| play(&std::fs::read(file).expect("bytes"))).count() > 3);
}

/// An entry of ours that arrives now, with these fields.
fn entry(fields: &[(&'static str, &'static str)], now: Now, from_arrival: bool) -> Entry {
    let fields = fields
        .iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)));
    Entry::new(EntryParts {
        stored: true,
        status: StatusCode::OK,
        variant: Variant::default(),
        fields: fields.collect(),
        body: Bytes::new(),
        page_content: PageContent::default(),
        decision: StoreDecision {
            freshness: Freshness {
                lifetime: Duration::from_mins(10),
                stale_while_revalidate: Duration::from_mins(1),
                stale_if_error: Duration::from_mins(5),
                always_validate: false,
                never_stale: false,
            },
            overrides_origin: true,
            by_ttl: from_arrival,
        },
        received: now,
        delay: Duration::from_mins(2),
    })
}

#[test]
fn an_entry_is_kept_for_as_long_as_it_could_be_used_and_no_longer() {
    let now = Clock::System.now();
    let later = now.after(Duration::from_mins(4));
    let minutes = |fields, from_arrival| {
        let useful = entry(fields, now, from_arrival).useful_for(later);
        useful.map(|useful| useful.as_secs() / 60)
    };
    assert_eq!(minutes(&[], true), Some(11), "fresh, then served where nothing else can be had");
    assert_eq!(minutes(&[], false), Some(9), "it was two minutes old when it came");
    assert_eq!(minutes(&[("etag", "\"a\"")], true), None, "its origin can say whether it still stands");
    assert_eq!(minutes(&[("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT")], true), None);
    let gone = entry(&[], now, true).useful_for(now.after(Duration::from_hours(1)));
    assert_eq!(gone, Some(Duration::ZERO));
}

/// The bodies of what two requests get, where answers of these dates and variants were stored one after the other.
fn chosen(stored: [(&'static str, &'static str); 2]) -> Bytes {
    let stage = Stage::new(0);
    let (key, label) = at((0, 2, 1));
    for (number, (date, vary)) in stored.into_iter().enumerate() {
        let mut one = entry(&[("date", date), ("etag", "\"a\"")], stage.now(), false);
        let mut response = HeaderMap::new();
        response.insert("vary", HeaderValue::from_static(vary));
        one.variant = Variant::of(&response, &request_in(0));
        one.body = Bytes::from(number.to_string());
        assert!(stage.cache.store(&key, &label, one, Generation::default()).1.is_ok());
    }
    let Lookup::Entry(found) = stage.cache.find(&key, |variant| variant.matches(&request_in(0))) else {
        panic!("it is there")
    };
    found.body.clone()
}

const EARLY: &str = "Mon, 01 Jan 2024 00:00:00 GMT";
const LATE: &str = "Mon, 01 Jan 2024 00:00:01 GMT";

#[test]
fn section_4_of_two_that_answer_the_one_of_the_later_date_is_chosen() {
    assert_eq!(chosen([(EARLY, "accept-language"), (LATE, "accept")]), "1");
    assert_eq!(chosen([(LATE, "accept-language"), (EARLY, "accept")]), "0");
    assert_eq!(
        chosen([(LATE, "accept-language"), (LATE, "accept")]),
        "1",
        "the latest arrival where dates are equal"
    );
}

#[test]
fn section_4_1_one_that_says_what_it_varies_by_is_chosen_before_one_that_does_not() {
    assert_eq!(chosen([(EARLY, "accept-language"), (LATE, "")]), "0");
    assert_eq!(chosen([(LATE, ""), (EARLY, "accept-language")]), "1");
}

#[test]
fn the_longest_of_the_variants_decides_how_long_a_place_is_kept() {
    let now = Clock::System.now();
    let slot = |entries: Vec<Entry>| Slot {
        label: at((0, 0, 1)).1,
        variants: entries.into_iter().map(Arc::new).collect(),
    };
    let (short, long) = (|| entry(&[], now, false), || entry(&[], now, true));
    let useful = |entries| response_cache::useful_for(&slot(entries), now.monotonic);
    assert_eq!(useful(vec![short(), long()]), Some(Duration::from_mins(15)));
    assert_eq!(useful(vec![long(), short()]), Some(Duration::from_mins(15)));
    assert_eq!(useful(vec![short(), entry(&[("etag", "\"a\"")], now, true)]), None);
}

#[test]
fn an_entry_whose_set_was_dropped_is_not_found_though_it_stands_there() {
    let stage = Stage::new(0);
    let (key, label) = at((0, 0, 1));
    let now = stage.now();
    let (kept, outcome) = stage.cache.store(&key, &label, entry(&[], now, true), Generation::default());
    assert!(outcome.is_ok());
    assert!(matches!(stage.cache.find(&key, |_| false), Lookup::Entry(_)));
    drop(kept.set().expect("a set").drop_all(now.monotonic));
    assert!(stage.cache.slots.contains_key(&key));
    assert!(matches!(stage.cache.find(&key, |_| false), Lookup::Nothing));
}

#[test]
fn what_does_not_fit_any_more_is_forgotten_by_its_set() {
    let cache = config::Cache { max_bytes: 64 << 10, max_entry_bytes: 8 << 10, collapse: true };
    let responses = ResponseCache::new(&cache, Arc::new(Metrics::new()));
    let now = Clock::System.now();
    let (kept, _) =
        responses.store(&at((0, 0, 0)).0, &at((0, 0, 0)).1, entry(&[], now, true), Generation::default());
    for page in 1..2000 {
        let (key, label) = at((0, 0, page));
        let (_, outcome) = responses.store(&key, &label, entry(&[], now, true), Generation::default());
        assert!(outcome.is_ok());
    }
    responses.tidy();
    let left = responses.slots.entry_count();
    let known = kept.set().expect("a set").drop_all(now.monotonic).members.len() as u64;
    assert!(left < 100 && known <= left + 1, "{known} of {left}");
}
