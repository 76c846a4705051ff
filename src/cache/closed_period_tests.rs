use std::time::Duration;

use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn days(days: u64) -> Duration {
    Duration::from_hours(24 * days)
}

fn five_days(attribute: &str) -> ClosedPeriod {
    ClosedPeriod { attribute: attribute.into(), settle: days(5), ttl: days(1) }
}

/// A generation as RFC 3339 has it.
fn generation(text: &str) -> SystemTime {
    let generation: jiff::Timestamp = text.parse().expect("a generation");
    SystemTime::UNIX_EPOCH + Duration::from_secs(generation.as_second().unsigned_abs())
}

fn closed_at(query: &str, now: &str) -> bool {
    is_closed(&five_days("date"), query, generation(now))
}

/// A filter as a query.
fn filter(filter: &str) -> String {
    format!("filter={}", form_urlencoded::byte_serialize(filter.as_bytes()).collect::<String>())
}

#[rstest]
#[case::a_month("2024-08", "2024-09-01T12:00:00Z")]
#[case::the_last_month_of_a_year("2024-12", "2025-01-01T12:00:00Z")]
#[case::february("2023-02", "2023-03-01T12:00:00Z")]
#[case::february_of_a_leap_year("2024-02", "2024-03-01T12:00:00Z")]
#[case::a_day("2024-08-31", "2024-09-01T12:00:00Z")]
#[case::a_leap_day("2024-02-29", "2024-03-01T12:00:00Z")]
#[case::a_leap_day_of_a_century("2000-02-29", "2000-03-01T12:00:00Z")]
#[case::the_last_day_of_a_year("2024-12-31", "2025-01-01T12:00:00Z")]
#[case::a_generation("2024-08-31T23:59:59Z", "2024-08-31T23:59:59Z")]
#[case::a_generation_in_small_letters("2024-08-31t23:59:59z", "2024-08-31T23:59:59Z")]
#[case::a_generation_with_a_fraction("2024-08-31T23:59:59.999Z", "2024-09-01T00:00:00Z")]
#[case::a_generation_east("2024-09-01T00:00:00+14:00", "2024-08-31T10:00:00Z")]
#[case::a_generation_west("2024-08-31T23:59:59-09:30", "2024-09-01T09:29:59Z")]
#[case::a_generation_of_nowhere("2024-08-31T23:59:59", "2024-09-01T11:59:59Z")]
#[case::before_1970("1969-12", "1970-01-01T12:00:00Z")]
#[case::the_first_year("0000-02-29", "0000-03-01T12:00:00Z")]
fn a_period_is_over_where_it_is_over_last(#[case] text: &str, #[case] expected: &str) {
    let expected: jiff::Timestamp = expected.parse().expect("a generation");
    assert_eq!(end(text, Bound::Included), Some(expected.as_second()), "{text}");
}

#[rstest]
#[case::a_month("2024-09", "2024-09-01T12:00:00Z")]
#[case::a_day("2024-09-01", "2024-09-01T12:00:00Z")]
#[case::a_generation("2024-09-01T00:00:00Z", "2024-09-01T00:00:00Z")]
fn what_is_before_a_period_is_over_where_that_begins_last(#[case] text: &str, #[case] expected: &str) {
    let expected: jiff::Timestamp = expected.parse().expect("a generation");
    assert_eq!(end(text, Bound::Excluded), Some(expected.as_second()), "{text}");
}

#[rstest]
fn what_can_not_be_read_has_no_end(
    #[values(
        "",
        "2024",
        "2024-",
        "2024-8",
        "2024-13",
        "2024-00",
        "24-08",
        "02024-08",
        "99999-01",
        "+2024-08",
        "-2024-08",
        "2024-08-",
        "2024-08-00",
        "2024-08-32",
        "2024-02-30",
        "2023-02-29",
        "1900-02-29",
        "2100-02-29",
        "2024-04-31",
        "2024-08-1",
        "2024-08-31T",
        "2024-08-31T24:00:00Z",
        "2024-08-31T23:60:00Z",
        "2024-08-31T23:59:60Z",
        "2024-08-31T23:59Z",
        "2024-08-31T23:59:59.Z",
        "2024-08-31T23:59:59+0200",
        "2024-08-31T23:59:59+24:00",
        "2024-08-31T23:59:59+02:60",
        "2024-08-31T23:59:59+02:00x",
        "2024-08-31T23:59:59 02:00",
        "2024-08-31T23:59:59ZZ",
        "2024-08-31 23:59:59Z",
        " 2024-08",
        "2024-08 ",
        "2024/08",
        "08-2024",
        "\u{ff12}024-08",
        "today",
        "2024-08-31T23:59:59.5",
        "2024-W31",
        "2024-244"
    )]
    text: &str,
) {
    // A fraction without an offset can be read; it stands among the others to show that it is not cut off.
    let expected = (text == "2024-08-31T23:59:59.5").then_some(1_725_192_000);
    assert_eq!(end(text, Bound::Included), expected, "{text}");
}

#[rstest]
#[case::before_it_ends_last("2024-09-06T11:59:59Z", false)]
#[case::when_it_has_settled("2024-09-06T12:00:00Z", true)]
#[case::long_after("2034-09-06T12:00:00Z", true)]
#[case::in_the_middle("2024-08-15T00:00:00Z", false)]
fn a_month_is_closed_once_it_has_settled_in_the_last_time_zone(#[case] now: &str, #[case] closed: bool) {
    for text in [
        "date eq '2024-08'",
        "date le '2024-08-31'",
        "date lt '2024-09'",
        "date lt '2024-09-01'",
        "date ge '2024-08-01' and date le '2024-08-31'",
        "account_id eq '5ea75fe7aa224700012eae40' and (date eq '2024-08')",
        "date in ('2024-07', '2024-08')",
    ] {
        assert_eq!(closed_at(&format!("{}&page=2", filter(text)), now), closed, "{text}");
    }
}

#[rstest]
#[case::no_query("")]
#[case::no_filter("page=1")]
#[case::empty("filter=")]
#[case::twice("filter=date+eq+'2024-08'&filter=date+eq+'2024-08'")]
#[case::twice_in_another_spelling("filter=date+eq+'2024-08'&%66ilter=date+eq+'2024-09'")]
#[case::another_case("FILTER=date+eq+'2024-08'")]
#[case::another_attribute("filter=month+eq+'2024-08'")]
#[case::no_upper_bound("filter=date+ge+'2024-08-01'")]
#[case::not_a_filter("filter=date+until+2024+08")]
#[case::unreadable("filter=date+le+'last-month'")]
#[case::everything_else("filter=not+date+gt+'2024-08-31'")]
#[case::or_anything("filter=date+eq+'2024-08'+or+amount+gt+5")]
fn a_period_without_a_readable_end_is_open(#[case] query: &str) {
    assert!(!closed_at(query, "2034-01-01T00:00:00Z"));
}

#[rstest]
#[case::in_another_spelling("%66ilter=date%20eq%20%272024%2D08%27")]
#[case::an_offset("filter=date%20le%20'2024-08-31T23:59:59%2B02:00'")]
fn an_encoded_end_is_read(#[case] query: &str) {
    assert!(closed_at(query, "2034-01-01T00:00:00Z"));
}

#[rstest]
#[case::nothing_yet(0, 60)]
#[case::one(1, 86_400)]
fn a_period_without_records_is_open(#[case] records: u64, #[case] seconds: u64) {
    let rule = crate::config::CacheRule {
        ttl: Some(Duration::from_mins(1)),
        stale_while_revalidate: Duration::ZERO,
        stale_if_error: Duration::ZERO,
        overrides: crate::config::Overrides::All,
        min_refresh: Duration::ZERO,
        statuses: Some(vec![http::StatusCode::OK]),
        closed_period: Some(five_days("date")),
    };
    let mut decision = StoreDecision { by_ttl: true, ..StoreDecision::NOT_STORED };
    decision.freshness.lifetime = Duration::from_mins(1);
    let path = format!("/express/invoices?{}", filter("date eq '2024-08'"));
    let now = crate::clock::Clock::System.now();
    let applied = with_closed_period(decision, &CachePolicy::new(rule), &path, records, now);
    assert_eq!(applied.freshness.lifetime, Duration::from_secs(seconds));
}

#[test]
fn a_clock_before_the_epoch_closes_nothing() {
    let now = SystemTime::UNIX_EPOCH - days(10_000);
    let query = filter("date eq '0000-01'");
    assert!(!is_closed(&five_days("date"), &query, now));
    assert!(!is_closed(&five_days("date"), &query, SystemTime::UNIX_EPOCH));
}

/// When a day begins in UTC, in seconds since 1970.
fn begin(day: jiff::civil::Date) -> i64 {
    day.duration_since(jiff::civil::date(1970, 1, 1)).as_secs()
}

proptest! {
    #[test]
    fn only_a_date_has_an_end_and_only_a_filter_by_date_closes_a_period(
        text in "([0-9]{4}-[0-9]{2})?.{0,40}",
        query in "(filter=date\\+(eq|le|lt)\\+')?[to=&%0-9A-Fa-f:TZ.+-]{0,60}'?",
    ) {
        let month = text.get(..7).and_then(|month| format!("{month}-01").parse::<jiff::civil::Date>().ok());
        prop_assert!(end(&text, Bound::Included).is_none() || month.is_some(), "{}", text);
        let closed = is_closed(&five_days("date"), &query, generation("2024-09-06T12:00:00Z"));
        prop_assert!(!closed || query.starts_with("filter=date+"), "{}", query);
    }

    #[test]
    fn a_closed_period_is_over(
        text in "[0-9]{4}-[01][0-9](-[0-3][0-9](T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,3})?(Z|[+-][01][0-9]:[0-5][0-9])?)?)?",
        now in 0_u64..8_000_000_000,
        settle in 0_u64..10_000_000,
    ) {
        let rule = ClosedPeriod { attribute: "date".into(), settle: Duration::from_secs(settle), ttl: days(1) };
        let query = filter(&format!("date le '{text}'"));
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
        let closed = is_closed(&rule, &query, wall);
        let due = end(&text, Bound::Included).is_some_and(|end| i128::from(now) >= i128::from(end) + i128::from(settle));
        prop_assert_eq!(closed, due && now >= settle);
        if closed {
            // Another reading of the same day, by a library that knows calendars.
            let day: Option<jiff::civil::Date> = text.get(..10).and_then(|day| day.parse().ok());
            let month: Option<jiff::civil::Date> = format!("{}-01", &text[..7]).parse().ok();
            let begins = begin(day.or(month).expect("a date"));
            // No offset is earlier than the day's beginning at UTC+19:59, the largest of the pattern.
            prop_assert!(i64::try_from(now).expect("small") >= begins - 20 * 3600);
        }
    }

    #[test]
    fn a_day_ends_a_day_after_it_began(year in 0_i16..9999, month in 1_i8..=12, day in 1_i8..=31) {
        let known = jiff::civil::Date::new(year, month, day).ok();
        let ours = end(&format!("{year:04}-{month:02}-{day:02}"), Bound::Included);
        let theirs = known.map(|date| begin(date) + 36 * 3600);
        prop_assert_eq!(ours, theirs);
    }
}
