use super::*;
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;
use rstest::rstest;

type Line = (&'static str, &'static str);

const DATE_LINE: Line = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
const A_MINUTE_LATER: &str = "Sun, 06 Nov 1994 08:50:37 GMT";
const TEN_DAYS_BEFORE: &str = "Thu, 27 Oct 1994 08:49:37 GMT";

/// The moment of `DATE_LINE`, at which every response here is received.
fn received() -> SystemTime {
    SystemTime::UNIX_EPOCH + seconds(784_111_777)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn fields(lines: &[Line]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in lines {
        fields.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    fields
}

/// A response to a GET without credentials, with these fields.
fn with_response<T>(status: u16, lines: &[Line], look: impl FnOnce(Response<'_>) -> T) -> T {
    let fields = fields(lines);
    let directives = ResponseDirectives::read(&fields);
    look(Response {
        status: StatusCode::from_u16(status).expect("a status"),
        fields: &fields,
        directives: &directives,
        request: &RequestSaid::default(),
        received: received(),
    })
}

fn stored(status: u16, lines: &[Line]) -> Result<(), NotStored> {
    with_response(status, lines, |response| may_store(&response))
}

fn stored_if_authorized(lines: &[Line]) -> Result<(), NotStored> {
    with_response(200, lines, |response| {
        may_store(&Response { request: &RequestSaid { authorization: true, no_store: false }, ..response })
    })
}

fn freshness_of(status: u16, lines: &[Line]) -> Freshness {
    with_response(status, lines, |response| freshness(&response))
}

fn lifetime(lines: &[Line]) -> Duration {
    freshness_of(200, lines).lifetime
}

fn cache_control(value: &'static str) -> Line {
    ("cache-control", value)
}

// Section 3: storing.

#[rstest]
#[case::continues(100)]
#[case::switching_protocols(101)]
#[case::early_hints(103)]
#[case::not_modified(304)]
fn section_3_an_answer_that_is_not_final_is_not_stored(#[case] status: u16) {
    assert_eq!(stored(status, &[cache_control("max-age=60")]), Err(NotStored::Status));
}

#[rstest]
#[case::max_age(cache_control("max-age=60"))]
#[case::s_maxage(cache_control("s-maxage=60"))]
#[case::public(cache_control("public"))]
#[case::expires(("expires", A_MINUTE_LATER))]
fn section_3_any_final_status_is_stored_where_the_origin_says_so(#[case] line: Line) {
    assert_eq!(stored(500, &[line]), Ok(()));
}

#[rstest]
#[case::created(201)]
#[case::found(302)]
#[case::forbidden(403)]
#[case::too_many_requests(429)]
#[case::internal_error(500)]
#[case::unavailable(503)]
fn section_3_a_status_without_heuristics_is_not_stored_where_the_origin_is_silent(#[case] status: u16) {
    assert_eq!(stored(status, &[DATE_LINE]), Err(NotStored::NoFreshness));
}

#[rstest]
fn section_3_a_heuristically_cacheable_status_is_stored_where_the_origin_is_silent(
    #[values(200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501)] status: u16,
) {
    assert_eq!(stored(status, &[DATE_LINE]), Ok(()));
}

#[rstest]
#[case::bare(DATE_LINE)]
#[case::with_explicit_freshness(cache_control("max-age=60"))]
fn section_3_3_a_partial_answer_is_not_stored(#[case] line: Line) {
    let status = 206;
    assert_eq!(stored(status, &[line, cache_control("max-age=60")]), Err(NotStored::Partial));
}

#[test]
fn section_3_5_an_answer_to_an_authorized_request_is_not_stored() {
    assert_eq!(stored_if_authorized(&[cache_control("max-age=60")]), Err(NotStored::Authorization));
}

#[rstest]
#[case::public("public")]
#[case::must_revalidate("must-revalidate, max-age=60")]
#[case::s_maxage("s-maxage=60")]
fn section_3_5_an_answer_to_an_authorized_request_is_stored_where_the_origin_allows(
    #[case] value: &'static str,
) {
    assert_eq!(stored_if_authorized(&[cache_control(value)]), Ok(()));
}

#[test]
fn section_3_5_proxy_revalidate_is_not_one_of_the_permissions() {
    let lines = [cache_control("proxy-revalidate, max-age=60")];
    assert_eq!(stored_if_authorized(&lines), Err(NotStored::Authorization));
}

#[rstest]
#[case::alone(&[("vary", "*")])]
#[case::in_a_list(&[("vary", "Accept, *")])]
#[case::without_space(&[("vary", "*,Accept")])]
#[case::in_a_second_line(&[("vary", "Accept"), ("vary", " * ")])]
fn section_4_1_an_answer_that_varies_by_anything_is_not_stored(#[case] vary: &[Line]) {
    let lines = [vary, &[cache_control("max-age=60")]].concat();
    assert_eq!(stored(200, &lines), Err(NotStored::VaryAny));
}

#[test]
fn section_4_1_an_answer_that_varies_by_named_fields_is_stored() {
    assert_eq!(stored(200, &[("vary", "Accept, X-*"), cache_control("max-age=60")]), Ok(()));
}

#[rstest]
#[case::alone("no-store")]
#[case::beside_others("max-age=60, No-Store")]
fn section_5_2_2_5_no_store_is_not_stored(#[case] value: &'static str) {
    assert_eq!(stored(200, &[cache_control(value)]), Err(NotStored::NoStore));
}

#[test]
fn section_5_2_2_3_must_understand_takes_the_place_of_no_store_for_a_known_status() {
    assert_eq!(stored(200, &[cache_control("must-understand, no-store, max-age=60")]), Ok(()));
}

#[rstest]
#[case::with_no_store("must-understand, no-store, max-age=60")]
#[case::alone("must-understand, max-age=60")]
fn section_5_2_2_3_must_understand_forbids_storing_an_unknown_status(#[case] value: &'static str) {
    assert_eq!(stored(299, &[cache_control(value)]), Err(NotStored::Status));
}

#[test]
fn section_5_2_2_7_private_is_not_stored() {
    assert_eq!(stored(200, &[cache_control("private, max-age=60")]), Err(NotStored::Private));
}

#[test]
fn section_5_2_2_7_private_fields_leave_the_rest_to_be_stored() {
    assert_eq!(stored(200, &[cache_control("private=\"set-cookie\", max-age=60")]), Ok(()));
}

#[test]
fn section_3_private_fields_are_no_permission_for_a_shared_cache() {
    let lines = [cache_control("private=\"set-cookie\"")];
    assert_eq!(stored(500, &lines), Err(NotStored::NoFreshness));
}

#[test]
fn section_5_2_2_4_no_cache_may_be_stored() {
    assert_eq!(stored(200, &[cache_control("no-cache")]), Ok(()));
}

// Section 4.2.1: the lifetime.

#[test]
fn section_4_2_1_s_maxage_goes_before_max_age_and_expires() {
    let lines = [cache_control("max-age=10, s-maxage=30"), DATE_LINE, ("expires", A_MINUTE_LATER)];
    assert_eq!(lifetime(&lines), seconds(30));
}

#[test]
fn section_4_2_1_s_maxage_goes_before_a_longer_max_age() {
    assert_eq!(lifetime(&[cache_control("s-maxage=0, max-age=60")]), Duration::ZERO);
}

#[test]
fn section_5_3_max_age_goes_before_expires() {
    assert_eq!(lifetime(&[cache_control("max-age=10"), DATE_LINE, ("expires", A_MINUTE_LATER)]), seconds(10));
}

#[test]
fn section_4_2_1_expires_goes_before_heuristics() {
    let lines = [DATE_LINE, ("expires", A_MINUTE_LATER), ("last-modified", TEN_DAYS_BEFORE)];
    assert_eq!(lifetime(&lines), seconds(60));
}

#[test]
fn section_4_2_1_expires_counts_from_the_date_and_not_from_the_arrival() {
    let lines = [("date", "Sun, 06 Nov 1994 08:50:17 GMT"), ("expires", A_MINUTE_LATER)];
    assert_eq!(lifetime(&lines), seconds(20));
}

#[rstest]
#[case::no_date(&[("expires", A_MINUTE_LATER)])]
#[case::a_malformed_date(&[("date", "today"), ("expires", A_MINUTE_LATER)])]
fn section_4_2_1_without_a_date_expires_counts_from_the_arrival(#[case] lines: &[Line]) {
    assert_eq!(lifetime(lines), seconds(60));
}

#[test]
fn section_4_2_1_expires_in_the_past_is_no_lifetime() {
    assert_eq!(lifetime(&[DATE_LINE, ("expires", TEN_DAYS_BEFORE)]), Duration::ZERO);
}

#[rstest]
#[case::zero("0")]
#[case::minus_one("-1")]
#[case::empty("")]
#[case::words("tomorrow")]
#[case::seconds("3600")]
#[case::a_list("Sun, 06 Nov 1994 08:50:37 GMT, Sun, 06 Nov 1994 08:50:37 GMT")]
#[case::another_zone("Sun, 06 Nov 2044 08:50:37 EST")]
#[case::an_iso_date("2044-11-06T08:50:37Z")]
fn section_5_3_a_malformed_expires_is_in_the_past_and_leaves_nothing_to_heuristics(
    #[case] expires: &'static str,
) {
    let lines = [DATE_LINE, ("expires", expires), ("last-modified", TEN_DAYS_BEFORE)];
    assert_eq!(lifetime(&lines), Duration::ZERO);
}

#[test]
fn section_4_2_1_two_expires_are_in_the_past() {
    let lines = [DATE_LINE, ("expires", A_MINUTE_LATER), ("expires", A_MINUTE_LATER)];
    assert_eq!(lifetime(&lines), Duration::ZERO);
}

#[rstest]
#[case::imf_fixdate("Sun, 06 Nov 1994 08:50:37 GMT")]
#[case::rfc_850("Sunday, 06-Nov-94 08:50:37 GMT")]
#[case::asctime("Sun Nov  6 08:50:37 1994")]
fn section_5_3_expires_is_read_in_all_three_forms(#[case] expires: &'static str) {
    assert_eq!(lifetime(&[DATE_LINE, ("expires", expires)]), seconds(60));
}

#[test]
fn section_4_2_a_date_that_is_not_text_is_none() {
    assert_eq!(date(&HeaderValue::from_bytes(b"Sun, 06 Nov 1994 08:49:37 GMT\xff").expect("a value")), None);
}

#[rstest]
#[case::twice("max-age=60, max-age=10", 10)]
#[case::malformed("max-age=ten", 0)]
#[case::negative("max-age=-1", 0)]
fn section_4_2_1_a_max_age_that_is_unclear_is_taken_short(
    #[case] value: &'static str,
    #[case] expected: u64,
) {
    assert_eq!(lifetime(&[cache_control(value), ("expires", A_MINUTE_LATER)]), seconds(expected));
}

// Section 4.2.2: heuristics.

#[test]
fn section_4_2_2_a_tenth_of_the_time_since_the_last_modification() {
    assert_eq!(lifetime(&[DATE_LINE, ("last-modified", TEN_DAYS_BEFORE)]), seconds(24 * 60 * 60));
}

#[test]
fn section_4_2_2_without_a_date_it_is_counted_from_the_arrival() {
    assert_eq!(lifetime(&[("last-modified", TEN_DAYS_BEFORE)]), seconds(24 * 60 * 60));
}

#[rstest]
#[case::nothing(&[DATE_LINE])]
#[case::in_the_future(&[DATE_LINE, ("last-modified", A_MINUTE_LATER)])]
#[case::malformed(&[DATE_LINE, ("last-modified", "once")])]
fn section_4_2_2_without_a_usable_last_modification_nothing_is_fresh(#[case] lines: &[Line]) {
    assert_eq!(lifetime(lines), Duration::ZERO);
}

#[rstest]
#[case::silent(&[], 0)]
#[case::public(&[cache_control("public")], 24 * 60 * 60)]
fn section_4_2_2_other_statuses_have_a_heuristic_lifetime_only_where_marked(
    #[case] more: &[Line],
    #[case] expected: u64,
) {
    let lines = [&[DATE_LINE, ("last-modified", TEN_DAYS_BEFORE)], more].concat();
    assert_eq!(freshness_of(500, &lines).lifetime, seconds(expected));
}

// Section 4.2.3: the age.

#[rstest]
#[case::neither(&[], 0, 0)]
#[case::apparent_age(&[("date", "Sun, 06 Nov 1994 08:49:07 GMT")], 0, 30)]
#[case::age_field(&[("age", "40")], 0, 40)]
#[case::the_age_where_it_is_more(&[("date", "Sun, 06 Nov 1994 08:49:07 GMT"), ("age", "40")], 0, 40)]
#[case::the_date_where_it_is_more(&[("date", "Sun, 06 Nov 1994 08:49:07 GMT"), ("age", "20")], 0, 30)]
#[case::the_delay_adds_to_the_age(&[("age", "40")], 5, 45)]
#[case::the_delay_alone(&[DATE_LINE], 5, 5)]
#[case::the_delay_does_not_add_to_the_apparent_age(&[("date", "Sun, 06 Nov 1994 08:49:07 GMT"), ("age", "26")], 5, 31)]
#[case::the_delay_is_in_the_apparent_age(&[("date", "Sun, 06 Nov 1994 08:49:07 GMT")], 5, 30)]
#[case::a_date_in_the_future(&[("date", A_MINUTE_LATER)], 0, 0)]
#[case::a_malformed_date(&[("date", "today"), ("age", "7")], 0, 7)]
#[case::a_malformed_age(&[DATE_LINE, ("age", "old")], 0, 0)]
#[case::a_negative_age(&[DATE_LINE, ("age", "-5")], 0, 0)]
#[case::a_list_of_ages(&[DATE_LINE, ("age", "7, 9")], 0, 7)]
fn section_4_2_3_age_and_date_and_delay_make_the_initial_age(
    #[case] lines: &[Line],
    #[case] delay: u64,
    #[case] expected: u64,
) {
    assert_eq!(initial_age(&fields(lines), received(), seconds(delay)), seconds(expected));
}

#[test]
fn section_4_2_3_a_delay_without_end_is_no_panic() {
    assert_eq!(initial_age(&fields(&[("age", "40")]), received(), Duration::MAX), Duration::MAX);
}

// Sections 4.2.4 and 5.2.2, RFC 5861: what may be served stale.

#[test]
fn rfc_5861_the_stale_times_are_read() {
    let freshness =
        freshness_of(200, &[cache_control("max-age=1, stale-while-revalidate=20, stale-if-error=300")]);
    assert_eq!(freshness.stale_while_revalidate, seconds(20));
    assert_eq!(freshness.stale_if_error, seconds(300));
    assert!(!freshness.never_stale);
}

#[test]
fn section_4_2_4_nothing_is_served_stale_that_the_origin_did_not_allow() {
    let freshness = freshness_of(200, &[cache_control("max-age=1")]);
    assert_eq!(freshness.stale_while_revalidate, Duration::ZERO);
    assert_eq!(freshness.stale_if_error, Duration::ZERO);
}

#[rstest]
#[case::section_5_2_2_2_must_revalidate("max-age=1, must-revalidate")]
#[case::section_5_2_2_8_proxy_revalidate("max-age=1, proxy-revalidate")]
#[case::section_5_2_2_10_s_maxage("s-maxage=1")]
#[case::section_5_2_2_4_no_cache("max-age=1, no-cache")]
fn section_4_2_4_a_directive_that_forbids_stale_answers_takes_the_stale_times_away(
    #[case] value: &'static str,
) {
    let stale = cache_control("stale-while-revalidate=20, stale-if-error=300");
    let freshness = freshness_of(200, &[cache_control(value), stale]);
    assert!(freshness.never_stale);
    assert_eq!(freshness.stale_while_revalidate, Duration::ZERO);
    assert_eq!(freshness.stale_if_error, Duration::ZERO);
}

#[rstest]
#[case::whole("no-cache", true)]
#[case::whole_and_fields("no-cache=\"set-cookie\", no-cache", true)]
#[case::fields("no-cache=\"set-cookie\"", false)]
#[case::absent("max-age=60", false)]
fn section_5_2_2_4_no_cache_means_validation_every_time(#[case] value: &'static str, #[case] expected: bool) {
    assert_eq!(freshness_of(200, &[cache_control(value)]).always_validate, expected);
}

#[test]
fn section_5_2_2_4_no_cache_for_fields_forbids_no_stale_answer() {
    assert!(!freshness_of(200, &[cache_control("no-cache=\"set-cookie\", max-age=60")]).never_stale);
}

// Sections 4.2 and 5.2.1: what a request accepts.

/// Fresh for a minute, and stale as long as a request likes.
const A_MINUTE: Freshness = Freshness {
    lifetime: seconds(60),
    stale_while_revalidate: Duration::ZERO,
    stale_if_error: Duration::ZERO,
    always_validate: false,
    never_stale: false,
};

fn satisfied(request: &'static str, stored: &Freshness, age: u64) -> bool {
    let request = RequestDirectives::read(&fields(&[cache_control(request)]));
    satisfies(&request, stored, seconds(age))
}

#[rstest]
#[case::new(0, true)]
#[case::almost_too_old(59, true)]
#[case::as_old_as_its_lifetime(60, false)]
fn section_4_2_fresh_is_younger_than_the_lifetime(#[case] age: u64, #[case] expected: bool) {
    assert_eq!(satisfies(&RequestDirectives::default(), &A_MINUTE, seconds(age)), expected);
}

#[rstest]
#[case::younger(29, true)]
#[case::just_as_old(30, true)]
#[case::older(31, false)]
fn section_5_2_1_1_max_age_is_the_greatest_age_that_is_accepted(#[case] age: u64, #[case] expected: bool) {
    assert_eq!(satisfied("max-age=30", &A_MINUTE, age), expected);
}

#[test]
fn section_5_2_1_1_max_age_makes_nothing_fresh() {
    assert!(!satisfied("max-age=100", &A_MINUTE, 60));
}

#[test]
fn section_5_2_1_1_max_age_holds_for_a_stale_answer_too() {
    assert!(satisfied("max-age=90, max-stale=100", &A_MINUTE, 90));
    assert!(!satisfied("max-age=90, max-stale=100", &A_MINUTE, 91));
}

#[rstest]
#[case::within(65, true)]
#[case::at_its_end(70, true)]
#[case::beyond(71, false)]
#[case::still_fresh(5, true)]
fn section_5_2_1_2_max_stale_accepts_so_much_staleness(#[case] age: u64, #[case] expected: bool) {
    assert_eq!(satisfied("max-stale=10", &A_MINUTE, age), expected);
}

#[test]
fn section_5_2_1_2_max_stale_without_a_time_accepts_any_staleness() {
    assert!(satisfied("max-stale", &A_MINUTE, 1_000_000));
}

#[test]
fn section_5_2_2_2_max_stale_does_not_reach_what_must_not_be_stale() {
    let stored = Freshness { never_stale: true, ..A_MINUTE };
    assert!(satisfied("max-stale", &stored, 59));
    assert!(!satisfied("max-stale", &stored, 60));
}

#[rstest]
#[case::more_than_enough(49, true)]
#[case::just_enough(50, true)]
#[case::too_little(51, false)]
fn section_5_2_1_3_min_fresh_asks_for_time_that_is_left(#[case] age: u64, #[case] expected: bool) {
    assert_eq!(satisfied("min-fresh=10", &A_MINUTE, age), expected);
}

#[rstest]
#[case::some("min-fresh=10, max-stale=100")]
#[case::none("min-fresh=0, max-stale=100")]
fn section_5_2_1_3_min_fresh_refuses_a_stale_answer_in_spite_of_max_stale(#[case] request: &'static str) {
    assert!(satisfied(request, &A_MINUTE, 20));
    assert!(!satisfied(request, &A_MINUTE, 60));
}

#[test]
fn section_5_2_1_4_no_cache_accepts_nothing_without_validation() {
    assert!(!satisfied("no-cache", &A_MINUTE, 0));
    assert!(!satisfied("no-cache, max-stale", &A_MINUTE, 0));
}

#[test]
fn section_5_2_2_4_a_response_with_no_cache_satisfies_no_request_without_validation() {
    let stored = Freshness { always_validate: true, ..A_MINUTE };
    assert!(!satisfied("max-age=100", &stored, 0));
    assert!(!satisfied("max-stale", &stored, 0));
}

#[test]
fn section_4_2_a_lifetime_of_zero_is_never_fresh() {
    let stored = Freshness { lifetime: Duration::ZERO, ..A_MINUTE };
    assert!(!satisfies(&RequestDirectives::default(), &stored, Duration::ZERO));
}

// Time and freshness.

/// Times that are often equal to one another, and now and then extreme.
fn times() -> impl Strategy<Value = Duration> {
    prop_oneof![
        8 => (0_u64..100).prop_map(Duration::from_secs),
        1 => Just(Duration::MAX),
        1 => (0_u64..100_000_000_000).prop_map(Duration::from_nanos),
    ]
}

fn requests() -> impl Strategy<Value = RequestDirectives> {
    let time = || prop::option::weighted(0.3, times());
    (prop::bool::weighted(0.05), time(), time(), time()).prop_map(
        |(no_cache, max_age, max_stale, min_fresh)| RequestDirectives {
            no_cache,
            max_age,
            max_stale,
            min_fresh,
            ..RequestDirectives::default()
        },
    )
}

fn stored_ones() -> impl Strategy<Value = Freshness> {
    (times(), prop::bool::weighted(0.05), any::<bool>()).prop_map(
        |(lifetime, always_validate, never_stale)| Freshness {
            lifetime,
            always_validate,
            never_stale,
            ..A_MINUTE
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn section_4_2_what_satisfies_a_request_when_older_satisfies_it_when_younger(
        request in requests(),
        stored in stored_ones(),
        one in times(),
        other in times(),
    ) {
        let (younger, older) = (one.min(other), one.max(other));
        prop_assert!(!satisfies(&request, &stored, older) || satisfies(&request, &stored, younger));
    }

    #[test]
    fn section_4_2_nothing_satisfies_a_request_beyond_what_it_and_the_origin_accept(
        request in requests(),
        stored in stored_ones(),
        age in times(),
    ) {
        if satisfies(&request, &stored, age) {
            let accepted = if stored.never_stale { Duration::ZERO } else { request.max_stale.unwrap_or_default() };
            prop_assert!(age <= stored.lifetime.saturating_add(accepted));
            prop_assert!(request.max_age.is_none_or(|max_age| age <= max_age));
            prop_assert!(!request.no_cache && !stored.always_validate);
        }
    }

    #[test]
    fn no_response_is_a_panic_and_what_is_never_stale_has_no_stale_time(
        lines in prop::collection::vec((
            prop::sample::select(vec!["date", "expires", "last-modified", "age", "vary", "cache-control"]),
            prop_oneof![
                prop::sample::select(vec![
                    "Sun, 06 Nov 1994 08:49:37 GMT",
                    "Thu, 01 Jan 1970 00:00:00 GMT",
                    "Fri, 31 Dec 9999 23:59:59 GMT",
                ])
                .prop_map(str::to_owned),
                "(max-age|s-maxage|stale-if-error|no-cache|private)=[0-9\"]{0,25}",
                "[ -~]{0,40}",
            ],
        ), 0..6),
        status in 100_u16..600,
        delay in times(),
    ) {
        let mut fields = HeaderMap::new();
        for (name, value) in &lines {
            fields.append(HeaderName::from_static(name), value.parse().expect("a value"));
        }
        let directives = ResponseDirectives::read(&fields);
        let status = StatusCode::from_u16(status).expect("a status");
        let response = Response {
            status,
            fields: &fields,
            directives: &directives,
            request: &RequestSaid::default(),
            received: received(),
        };
        let _ = may_store(&response);
        let freshness = freshness(&response);
        prop_assert!(!freshness.never_stale || freshness.stale_if_error.is_zero());
        prop_assert!(initial_age(&fields, received(), delay) >= delay);
    }
}

/// A directive that forbids storing, in any case and with what may stand around it.
fn forbidding() -> impl Strategy<Value = String> {
    let directive =
        prop::sample::select(vec!["no-store", "private", "no-store=\"x\"", "private=\"\"", "private="]);
    let space = prop::sample::select(vec!["", " ", "\t", "  "]);
    (directive, space.clone(), space, prop::collection::vec(any::<bool>(), 24)).prop_map(
        |(directive, before, after, upper)| {
            let turned = directive
                .chars()
                .zip(upper)
                .map(|(letter, upper)| if upper { letter.to_ascii_uppercase() } else { letter });
            format!("{before}{}{after}", turned.collect::<String>())
        },
    )
}

/// Something that stands beside it: directives, known or not, malformed ones, and bytes of all kinds.
fn others() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::sample::select(vec![
            "public",
            "max-age=60",
            "s-maxage=60",
            "immutable",
            "x=\"a, b\"",
            "must-revalidate"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(
            prop_oneof![Just(b'"'), Just(b','), Just(b'\\'), Just(b'='), 0x20_u8..0x7f, 0x80_u8..],
            0..12
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn section_3_what_forbids_storing_forbids_it_in_any_spelling_and_at_any_place(
        forbids in forbidding(),
        before in prop::collection::vec(others(), 0..4),
        after in prop::collection::vec(others(), 0..4),
        own_line in any::<bool>(),
        authorization in any::<bool>(),
    ) {
        let mut fields = HeaderMap::new();
        let joined = |members: &[Vec<u8>]| HeaderValue::from_bytes(&members.join(&b", "[..])).expect("a value");
        if own_line {
            fields.append("cache-control", joined(&before));
            fields.append("cache-control", HeaderValue::from_str(&forbids).expect("a value"));
            fields.append("cache-control", joined(&after));
        } else {
            // Quotes that are open before it and closed after it would make it part of a string.
            let quotes = before.concat().contains(&b'"');
            let after = if quotes { Vec::new() } else { after };
            let forbids = if quotes { forbids.replace('"', "") } else { forbids };
            fields.append("cache-control", joined(&[before, vec![forbids.into_bytes()], after].concat()));
        }
        let directives = ResponseDirectives::read(&fields);
        let response = Response {
            status: StatusCode::OK,
            fields: &fields,
            directives: &directives,
            request: &RequestSaid { authorization, no_store: false },
            received: received(),
        };
        prop_assert!(may_store(&response).is_err(), "{fields:?}");
    }
}

#[rstest]
#[case::imf_fixdate("sun, 06 nov 1994 08:49:37 gmt")]
#[case::rfc_850("SUNDAY, 06-NOV-94 08:49:37 GMT")]
#[case::asctime("sun nov  6 08:49:37 1994")]
fn section_4_2_dates_are_read_in_either_case(#[case] text: &str) {
    let usual = date(&"Sun, 06 Nov 1994 08:49:37 GMT".parse().expect("a value"));
    assert_eq!(date(&text.parse().expect("a value")), usual);
}

#[rstest]
#[case("Sun, 06 Nov 1994 08:49:37 EST")]
#[case("Sun, 06 Nov 1994 08:49:37 UTC")]
#[case("Sun, 06 Nov 1994 08:49:37 +0000")]
fn section_4_2_a_date_of_another_zone_is_none(#[case] text: &str) {
    assert_eq!(date(&text.parse().expect("a value")), None);
}
