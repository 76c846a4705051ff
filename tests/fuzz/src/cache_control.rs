//! `Cache-Control` of responses and requests: total, deaf to case, and never less strict for what stands beside a
//! directive.

use std::time::{Duration, SystemTime};

use billing_insights_proxy::rfc9111::directives::{Qualified, RequestDirectives, ResponseDirectives, age};
use billing_insights_proxy::rfc9111::freshness::{
    RequestSaid, Response, freshness, initial_age, may_store, satisfies,
};
use http::StatusCode;
use http::header::{AGE, CACHE_CONTROL, HeaderMap, HeaderValue};

pub fn run(data: &[u8]) {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').take(16).collect();
    let Some(own) = of(&lines) else { return };
    let (response, request) = (ResponseDirectives::read(&own), RequestDirectives::read(&own));
    case_means_nothing(&lines, &response, &request);
    naive_reading_agrees(&lines, &response, &request);
    what_is_added_counts(&lines, &request);
    freshness_never_grows(&own, &response, &request);
    ages_are_numbers(&lines);
}

fn of(lines: &[&[u8]]) -> Option<HeaderMap> {
    let mut fields = HeaderMap::new();
    for line in lines {
        fields.append(CACHE_CONTROL, HeaderValue::from_bytes(line).ok()?);
    }
    Some(fields)
}

fn case_means_nothing(lines: &[&[u8]], response: &ResponseDirectives, request: &RequestDirectives) {
    for turn in [<[u8]>::to_ascii_lowercase as fn(&[u8]) -> Vec<u8>, <[u8]>::to_ascii_uppercase] {
        let turned: Vec<Vec<u8>> = lines.iter().map(|line| turn(line)).collect();
        let turned = of(&turned.iter().map(Vec::as_slice).collect::<Vec<_>>()).expect("values stay values");
        assert_eq!(&ResponseDirectives::read(&turned), response);
        assert_eq!(&RequestDirectives::read(&turned), request);
    }
}

/// Where nothing is quoted, a line is what stands between its commas.
fn naive_reading_agrees(lines: &[&[u8]], response: &ResponseDirectives, request: &RequestDirectives) {
    if lines.iter().any(|line| line.contains(&b'"')) {
        return;
    }
    let members: Vec<String> = lines
        .iter()
        .flat_map(|line| line.split(|byte| *byte == b','))
        .map(|member| String::from_utf8_lossy(member.trim_ascii()).to_ascii_lowercase())
        .collect();
    let names = |wanted: &str| {
        members.iter().any(|member| member.split('=').next().is_some_and(|name| trimmed(name) == wanted))
    };
    assert_eq!(names("no-store"), response.no_store);
    assert_eq!(names("no-store"), request.no_store);
    assert_eq!(names("no-cache"), response.no_cache.is_some());
    assert_eq!(names("no-cache"), request.no_cache);
    assert_eq!(names("private"), response.private.is_some());
    assert_eq!(names("public"), response.public);
    assert_eq!(names("must-revalidate"), response.must_revalidate);
    assert_eq!(names("max-age"), response.max_age.is_some());
    assert_eq!(names("s-maxage"), response.s_maxage.is_some());
    assert_eq!(names("only-if-cached"), request.only_if_cached);
    let seconds = members.iter().filter_map(|member| member.split_once('=')).filter_map(|(name, seconds)| {
        let digits = trimmed(seconds);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        (trimmed(name) == "max-age")
            .then(|| if is_number { digits.parse::<u64>().unwrap_or(1 << 31) } else { 0 })
    });
    let bare = members.iter().any(|member| member == "max-age");
    let shortest =
        seconds.chain(bare.then_some(0)).min().map(|seconds| Duration::from_secs(seconds.min(1 << 31)));
    assert_eq!(shortest, response.max_age);
}

/// Without what RFC 9110 calls white space: other alphabets have more.
fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Whatever stands before or after them, or in another line.
fn what_is_added_counts(lines: &[&[u8]], request: &RequestDirectives) {
    let strict = b"no-store, PRIVATE, no-cache, max-age=0";
    let last = lines.last().copied().unwrap_or_default();
    let before = [strict, &b", "[..], last].concat();
    let after = [last, &b" ,\t"[..], strict].concat();
    let others = &lines[..lines.len().saturating_sub(1)];
    for more in [&before[..], &after[..], &strict[..]] {
        let fields = of(&[others, &[more]].concat()).expect("values stay values");
        let read = ResponseDirectives::read(&fields);
        assert!(read.no_store, "{more:?}");
        assert_eq!(read.private, Some(Qualified::Whole));
        assert_eq!(read.no_cache, Some(Qualified::Whole));
        assert_eq!(read.max_age, Some(Duration::ZERO));
        let said = RequestDirectives::read(&fields);
        assert!(said.no_store && said.no_cache && said.max_age == Some(Duration::ZERO));
        assert!(said.min_fresh >= request.min_fresh || more.len() == strict.len());
        let stored = with_response(&fields, &read, |response| {
            let freshness = freshness(response);
            assert!(freshness.always_validate && freshness.never_stale);
            assert!(freshness.stale_if_error.is_zero() && freshness.stale_while_revalidate.is_zero());
            may_store(response)
        });
        assert!(stored.is_err(), "{fields:?}");
    }
}

fn with_response<T>(
    fields: &HeaderMap,
    directives: &ResponseDirectives,
    look: impl Fn(&Response<'_>) -> T,
) -> T {
    look(&Response {
        status: StatusCode::OK,
        fields,
        directives,
        request: &RequestSaid::default(),
        received: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
    })
}

fn freshness_never_grows(fields: &HeaderMap, directives: &ResponseDirectives, request: &RequestDirectives) {
    let freshness = with_response(fields, directives, freshness);
    let mut before = true;
    for seconds in [0, 1, 2, 9, 59, 60, 61, 600, 3600, 86_400, (1 << 31) - 1, 1 << 31, u64::MAX] {
        let now = satisfies(request, &freshness, Duration::from_secs(seconds));
        assert!(before || !now, "it became fresh again after {seconds} s");
        assert!(!(now && (request.no_cache || freshness.always_validate)));
        before = now;
    }
}

fn ages_are_numbers(lines: &[&[u8]]) {
    let mut fields = HeaderMap::new();
    for line in lines {
        fields.append(AGE, HeaderValue::from_bytes(line).expect("a value"));
    }
    let first = lines[0].split(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
    let is_number = !first.is_empty() && first.iter().all(u8::is_ascii_digit);
    let read = age(&fields);
    assert_eq!(read.is_some(), is_number);
    assert!(read.is_none_or(|age| age.as_secs() <= 1 << 31));
    let delay = Duration::from_secs(7);
    assert!(initial_age(&fields, SystemTime::UNIX_EPOCH, delay) >= delay);
}
