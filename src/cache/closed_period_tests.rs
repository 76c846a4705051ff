use std::time::Duration;

use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn days(days: u64) -> Duration {
    Duration::from_hours(24 * days)
}

fn five_days(end_parameter: &str) -> ClosedPeriod {
    ClosedPeriod { end_parameter: end_parameter.into(), settle: days(5), ttl: days(1) }
}

/// A moment as RFC 3339 has it.
fn moment(text: &str) -> SystemTime {
    let moment: jiff::Timestamp = text.parse().expect("a moment");
    SystemTime::UNIX_EPOCH + Duration::from_secs(moment.as_second().unsigned_abs())
}

fn closed_at(query: &str, now: &str) -> bool {
    is_closed(&five_days("to"), query, Count::Number(1), moment(now))
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
#[case::a_moment("2024-08-31T23:59:59Z", "2024-08-31T23:59:59Z")]
#[case::a_moment_in_small_letters("2024-08-31t23:59:59z", "2024-08-31T23:59:59Z")]
#[case::a_moment_with_a_fraction("2024-08-31T23:59:59.999Z", "2024-09-01T00:00:00Z")]
#[case::a_moment_east("2024-09-01T00:00:00+14:00", "2024-08-31T10:00:00Z")]
#[case::a_moment_west("2024-08-31T23:59:59-09:30", "2024-09-01T09:29:59Z")]
#[case::a_moment_of_nowhere("2024-08-31T23:59:59", "2024-09-01T11:59:59Z")]
#[case::before_1970("1969-12", "1970-01-01T12:00:00Z")]
#[case::the_first_year("0000-02-29", "0000-03-01T12:00:00Z")]
fn a_period_is_over_where_it_is_over_last(#[case] text: &str, #[case] expected: &str) {
    let expected: jiff::Timestamp = expected.parse().expect("a moment");
    assert_eq!(end(text), Some(expected.as_second()), "{text}");
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
    assert_eq!(end(text), expected, "{text}");
}

#[rstest]
#[case::before_it_ends_last("2024-09-06T11:59:59Z", false)]
#[case::when_it_has_settled("2024-09-06T12:00:00Z", true)]
#[case::long_after("2034-09-06T12:00:00Z", true)]
#[case::in_the_middle("2024-08-15T00:00:00Z", false)]
fn a_month_is_closed_once_it_has_settled_in_the_last_time_zone(#[case] now: &str, #[case] closed: bool) {
    assert_eq!(closed_at("to=2024-08", now), closed);
    assert_eq!(closed_at("from=2024-08-01&page=2&to=2024-08-31", now), closed);
}

#[rstest]
#[case::missing("from=2024-08")]
#[case::no_query("")]
#[case::empty("to=")]
#[case::bare("to")]
#[case::twice("to=2024-08&to=2024-08")]
#[case::twice_in_another_spelling("to=2024-08&t%6F=2024-09")]
#[case::twice_once_empty("to=2024-08&to")]
#[case::another_case("TO=2024-08")]
#[case::unreadable("to=last-month")]
#[case::a_bare_plus_is_a_space("to=2024-08-31T23:59:59+02:00")]
fn a_period_without_one_readable_end_is_open(#[case] query: &str) {
    assert!(!closed_at(query, "2034-01-01T00:00:00Z"));
}

#[rstest]
#[case::in_another_spelling("t%6f=2024%2D08")]
#[case::an_offset("to=2024-08-31T23:59:59%2B02:00")]
fn an_encoded_end_is_read(#[case] query: &str) {
    assert!(closed_at(query, "2034-01-01T00:00:00Z"));
}

#[rstest]
#[case::nothing_yet(Count::Number(0), false)]
#[case::unreadable(Count::Unreadable, false)]
#[case::one(Count::Number(1), true)]
#[case::not_told(Count::Absent, true)]
fn a_period_without_records_is_open(#[case] total: Count, #[case] closed: bool) {
    assert_eq!(is_closed(&five_days("to"), "to=2024-08", total, moment("2034-01-01T00:00:00Z")), closed);
}

#[test]
fn a_clock_before_the_epoch_closes_nothing() {
    let now = SystemTime::UNIX_EPOCH - days(10_000);
    assert!(!is_closed(&five_days("to"), "to=0000-01", Count::Number(1), now));
    assert!(!is_closed(&five_days("to"), "to=0000-01", Count::Number(1), SystemTime::UNIX_EPOCH));
}

proptest! {
    #[test]
    fn nothing_panics(text in ".{0,40}", query in "[to=&%0-9A-Fa-f:TZ.+-]{0,60}") {
        let _ = end(&text);
        let _ = is_closed(&five_days("to"), &query, Count::Absent, moment("2024-09-06T12:00:00Z"));
    }

    #[test]
    fn a_closed_period_is_over(
        text in "[0-9]{4}-[01][0-9](-[0-3][0-9](T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,3})?(Z|[+-][01][0-9]:[0-5][0-9])?)?)?",
        now in 0_u64..8_000_000_000,
        settle in 0_u64..10_000_000,
    ) {
        let rule = ClosedPeriod { end_parameter: "to".into(), settle: Duration::from_secs(settle), ttl: days(1) };
        let query = format!("to={}", text.replace('+', "%2B"));
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
        let closed = is_closed(&rule, &query, Count::Number(1), wall);
        let due = end(&text).is_some_and(|end| i128::from(now) >= i128::from(end) + i128::from(settle));
        prop_assert_eq!(closed, due && now >= settle);
        if closed {
            // Another reading of the same day, by a library that knows calendars.
            let day: Option<jiff::civil::Date> = text.get(..10).and_then(|day| day.parse().ok());
            let month: Option<jiff::civil::Date> = format!("{}-01", &text[..7]).parse().ok();
            let begins = day.or(month).expect("a date").in_tz("UTC").expect("a moment").timestamp();
            // No offset is earlier than the day's beginning at UTC+19:59, the largest of the pattern.
            prop_assert!(i64::try_from(now).expect("small") >= begins.as_second() - 20 * 3600);
        }
    }

    #[test]
    fn a_day_ends_a_day_after_it_began(year in 0_i16..9999, month in 1_i8..=12, day in 1_i8..=31) {
        let known = jiff::civil::Date::new(year, month, day).ok();
        let ours = end(&format!("{year:04}-{month:02}-{day:02}"));
        let theirs = known.map(|date| date.in_tz("UTC").expect("a moment").timestamp().as_second() + 36 * 3600);
        prop_assert_eq!(ours, theirs);
    }
}
