use super::*;
use crate::clock::Clock;

const TTL: Duration = Duration::from_hours(1);

struct Stage {
    sets: PageSets,
    start: Instant,
}

fn key(name: &str) -> PrimaryKey {
    PrimaryKey::new(b"credential", "https://api.example.com", name, None)
}

fn counts(total: u64) -> TotalCounts {
    TotalCounts { total: Count::Number(total), total_pages: Count::Number(3) }
}

impl Stage {
    fn new() -> Self {
        Self { sets: PageSets::default(), start: Clock::System.now().monotonic }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    /// A page of the set `invoices`, asked for and received at so many seconds.
    fn arrives(&self, page: &str, total: u64, asked: u64, received: u64, changed: bool) -> Admission {
        self.sets.admit(&Arrival {
            set: &key("invoices"),
            page: &key(page),
            counts: counts(total),
            edges: None,
            record_ids: &[],
            asked: self.at(asked),
            received: self.at(received),
            lifetime: TTL,
            changed,
        })
    }

    fn joins(&self, page: &str, total: u64, at: u64) -> (Arc<PageSet>, Duration) {
        self.arrives(page, total, at, at, false).joined.expect("it joins")
    }
}

#[test]
fn pages_share_the_deadline_of_the_first() {
    let stage = Stage::new();
    let (first, lifetime) = stage.joins("1", 30, 0);
    let (second, rest) = stage.joins("2", 30, 100);
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(rest + Duration::from_secs(100), lifetime);
    assert!(lifetime <= TTL && lifetime >= TTL * 95 / 100, "{lifetime:?}");
}

#[test]
fn jitter_is_the_same_for_a_set_and_differs_between_sets_and_never_lengthens() {
    let sets = PageSets::default();
    let lives: HashSet<_> =
        (0..100).map(|number| sets.shortened(&key(&format!("set {number}")), TTL)).collect();
    assert!(lives.len() > 50, "they differ: {}", lives.len());
    assert!(lives.iter().all(|life| *life <= TTL && *life >= TTL * 95 / 100));
    assert_eq!(sets.shortened(&key("set 1"), TTL), sets.shortened(&key("set 1"), TTL));
    assert!(sets.shortened(&key("set 1"), Duration::MAX) <= Duration::MAX, "no overflow");
}

#[test]
fn other_counts_drop_the_siblings_and_begin_a_new_set() {
    let stage = Stage::new();
    let (old, _) = stage.joins("1", 30, 0);
    stage.joins("2", 30, 1);
    let admission = stage.arrives("3", 31, 2, 2, false);
    let (new, lifetime) = admission.joined.expect("it begins a set");
    let dropped = admission.dropped.expect("the old one is dropped");
    assert!(old.is_dropped() && !new.is_dropped() && lifetime >= TTL * 95 / 100);
    assert_eq!(dropped.members, HashSet::from([key("1"), key("2")]));
}

#[test]
fn what_was_asked_for_before_a_new_set_does_not_join_it() {
    let stage = Stage::new();
    let (_kept, _) = stage.joins("1", 30, 0);
    let (new, _) = stage.arrives("2", 31, 10, 10, false).joined.expect("a new set");
    assert!(stage.arrives("3", 31, 9, 11, false).joined.is_none(), "it may be from before the change");
    assert!(stage.arrives("3", 30, 9, 11, false).joined.is_none());
    assert!(!new.is_dropped(), "an old answer does no harm");
    assert!(Arc::ptr_eq(&stage.joins("3", 31, 12).0, &new));
}

#[test]
fn of_two_that_were_under_way_at_once_neither_is_trusted() {
    let stage = Stage::new();
    let (first, _) = stage.arrives("1", 31, 5, 6, false).joined.expect("it begins a set");
    let later = stage.arrives("2", 30, 4, 7, false);
    assert!(later.joined.is_none() && first.is_dropped() && later.dropped.is_some());
    assert!(!Arc::ptr_eq(&stage.joins("1", 31, 8).0, &first));
}

#[test]
fn pages_that_were_asked_for_at_once_all_join() {
    let stage = Stage::new();
    let (first, _) = stage.arrives("7", 30, 5, 6, false).joined.expect("it begins a set");
    for page in ["1", "2", "3"] {
        let (set, _) = stage.arrives(page, 30, 4, 7, false).joined.expect("it joins");
        assert!(Arc::ptr_eq(&set, &first));
    }
}

#[test]
fn after_its_deadline_the_first_page_renews_the_set_and_old_answers_stay_out() {
    let stage = Stage::new();
    let (set, lifetime) = stage.joins("1", 30, 0);
    stage.joins("2", 30, 1);
    let (again, renewed) = stage.joins("2", 30, 3700);
    assert!(Arc::ptr_eq(&set, &again) && renewed == lifetime);
    assert!(stage.arrives("1", 30, 1000, 3701, false).joined.is_none(), "asked for in the old life");
    let (_, rest) = stage.joins("1", 30, 3710);
    assert_eq!(rest + Duration::from_secs(10), lifetime);
}

#[test]
fn after_its_deadline_a_page_with_other_counts_drops_what_is_stale() {
    let stage = Stage::new();
    let (set, _) = stage.joins("1", 30, 0);
    stage.joins("2", 30, 1);
    assert!(stage.arrives("1", 31, 3700, 3700, true).dropped.is_some() && set.is_dropped());
}

#[test]
fn other_content_of_one_page_drops_its_siblings() {
    let stage = Stage::new();
    let (set, _) = stage.joins("1", 30, 0);
    stage.joins("2", 30, 1);
    let confirmed = stage.arrives("1", 30, 20, 20, false);
    assert!(Arc::ptr_eq(&confirmed.joined.expect("it stays").0, &set), "equal content drops nothing");
    let changed = stage.arrives("1", 30, 30, 30, true);
    assert!(changed.dropped.is_some() && set.is_dropped());
    let (_kept, lifetime) = changed.joined.expect("it begins a set");
    assert!(lifetime >= TTL * 95 / 100, "with a life of its own");
    assert!(stage.arrives("2", 30, 25, 31, false).joined.is_none());
}

#[test]
fn a_page_that_is_alone_is_renewed_whole() {
    let stage = Stage::new();
    let (set, lifetime) = stage.joins("1", 30, 0);
    let admission = stage.arrives("1", 30, 100, 100, true);
    let (again, renewed) = admission.joined.expect("it stays");
    assert!(Arc::ptr_eq(&set, &again) && admission.dropped.is_none());
    assert_eq!(renewed, lifetime);
}

#[test]
fn a_dropped_set_takes_no_page_that_was_asked_for_before() {
    let stage = Stage::new();
    let (set, _) = stage.joins("1", 30, 0);
    assert_eq!(set.drop_all(stage.at(10)).members.len(), 1);
    assert!(stage.arrives("2", 30, 9, 11, false).joined.is_none());
    assert!(!stage.joins("2", 30, 10).0.is_dropped());
}

#[test]
fn an_ended_set_is_renewed_by_what_is_asked_for_later() {
    let stage = Stage::new();
    let (set, lifetime) = stage.joins("1", 30, 0);
    stage.joins("2", 30, 1);
    set.end(stage.at(10));
    assert!(stage.arrives("2", 30, 9, 11, false).joined.is_none());
    let (again, renewed) = stage.joins("2", 30, 12);
    assert!(Arc::ptr_eq(&set, &again) && renewed == lifetime);
}

#[test]
fn a_set_has_several_pages_once_a_second_one_was_asked_for() {
    let stage = Stage::new();
    let (first, _) = stage.joins("1", 30, 0);
    assert!(!first.has_several(), "nobody walks, though there are more");
    let (second, _) = stage.joins("2", 30, 0);
    assert!(first.has_several() && second.has_several());
    let without = |page: &str| {
        stage.sets.admit(&Arrival {
            set: &key("products"),
            page: &key(page),
            counts: TotalCounts::default(),
            edges: None,
            record_ids: &[],
            asked: stage.at(0),
            received: stage.at(0),
            lifetime: TTL,
            changed: false,
        })
    };
    let (set, _) = without("1").joined.expect("it joins");
    assert!(!set.has_several());
    let _ = without("2");
    assert!(set.has_several());
}

#[test]
fn a_set_that_no_entry_holds_is_forgotten() {
    let stage = Stage::new();
    drop(stage.joins("1", 30, 0));
    let (kept, _) = stage.joins("1", 30, 1);
    stage.sets.tidy();
    assert_eq!(stage.sets.known.lock().expect("no panic").len(), 1);
    drop(kept);
    stage.sets.tidy();
    assert!(stage.sets.known.lock().expect("no panic").is_empty());
}

// Pages without counts, told by their records.

impl Stage {
    /// A page of a list that says nothing of how much there is, with these records.
    fn lists(&self, page: &str, records: &[u64], at: u64) -> Admission {
        self.sets.admit(&Arrival {
            set: &key("usage"),
            page: &key(page),
            counts: TotalCounts::default(),
            edges: records.first().copied().zip(records.last().copied()),
            record_ids: records,
            asked: self.at(at),
            received: self.at(at),
            lifetime: TTL,
            changed: false,
        })
    }
}

#[test]
fn pages_without_counts_that_follow_each_other_are_a_set() {
    let stage = Stage::new();
    let (first, _) = stage.lists("1", &[1, 2, 3], 0).joined.expect("it joins");
    for (page, records) in [("2", [4, 5, 6]), ("3", [7, 8, 9]), ("2", [4, 5, 6])] {
        let admission = stage.lists(page, &records, 1);
        assert!(admission.dropped.is_none(), "{page}");
        assert!(Arc::ptr_eq(&first, &admission.joined.expect("it joins").0), "{page}");
    }
}

#[rstest::rstest]
#[case::the_last_of_the_page_before(&[3, 4, 5])]
#[case::the_first_of_the_page_before(&[0, 1])]
#[case::all_of_the_page_before(&[0, 1, 2, 3, 4])]
fn a_record_that_another_page_begins_or_ends_with_drops_the_siblings(#[case] second: &[u64]) {
    let stage = Stage::new();
    let (old, _) = stage.lists("1", &[1, 2, 3], 0).joined.expect("it joins");
    let admission = stage.lists("2", second, 1);
    assert!(old.is_dropped());
    assert_eq!(admission.dropped.expect("the old set").members, HashSet::from([key("1")]));
    let (new, _) = admission.joined.expect("it begins a set");
    assert!(Arc::ptr_eq(&new, &stage.lists("3", &[6, 7], 2).joined.expect("it joins").0));
}

#[test]
fn a_page_that_was_confirmed_still_tells_what_moved() {
    let stage = Stage::new();
    let (set, _) = stage.lists("1", &[1, 2, 3], 0).joined.expect("it joins");
    // A 304 brings no records, and the page keeps what it begins and ends with.
    let confirmed = stage.sets.admit(&Arrival {
        set: &key("usage"),
        page: &key("1"),
        counts: TotalCounts::default(),
        edges: Some((1, 3)),
        record_ids: &[],
        asked: stage.at(1),
        received: stage.at(1),
        lifetime: TTL,
        changed: false,
    });
    assert!(Arc::ptr_eq(&set, &confirmed.joined.expect("it joins").0));
    assert!(stage.lists("2", &[3, 4, 5], 2).dropped.is_some());
}

#[test]
fn a_page_that_left_the_cache_says_nothing_any_more() {
    let stage = Stage::new();
    let (set, _) = stage.lists("1", &[1, 2, 3], 0).joined.expect("it joins");
    stage.lists("2", &[4, 5, 6], 0);
    set.forget(&key("1"));
    assert!(stage.lists("3", &[3, 7], 1).dropped.is_none());
}
