use super::*;

fn origin() -> ApiOrigin {
    ApiOrigin::new("https://api.example.com".into())
}

fn base() -> Base {
    Base::new("http://localhost:8080", Some("organizations/acme"))
}

#[test]
fn an_origin_is_recognised_in_any_case_and_with_its_default_port() {
    assert_eq!(origin().length_in(b"https://api.example.com/x"), Some(23));
    assert_eq!(origin().length_in(b"HTTPS://API.Example.COM:443?x"), Some(27));
    assert_eq!(origin().length_in(b"https://api.example.com"), Some(23));
}

#[test]
fn a_host_that_only_begins_like_it_is_another() {
    for url in [
        &b"https://api.example.com.evil.com/"[..],
        b"https://api.example.com@evil.com/",
        b"https://api.example.com:8443/",
        b"https://api.example.comx",
        b"http://api.example.com/",
        b" https://api.example.com/",
        b"https://api.example",
    ] {
        assert_eq!(origin().length_in(url), None, "{}", String::from_utf8_lossy(url));
    }
}

#[test]
fn a_spliced_body_has_the_length_that_was_told() {
    let body = Bytes::from_static(
        br#"{"href":"https://api.example.com/a","b":{"href":"https://api.example.com/c"}}"#,
    );
    let splices = [Splice { start: 9, length: 23 }, Splice { start: 49, length: 23 }];
    let joined = spliced(&body, &splices, &base()).concat();
    assert_eq!(
        std::str::from_utf8(&joined).expect("text"),
        r#"{"href":"http://localhost:8080/organizations/acme/a","b":{"href":"http://localhost:8080/organizations/acme/c"}}"#
    );
    assert_eq!(joined.len() as u64, spliced_length(&body, &splices, &base()));
}

#[test]
fn fields_with_links_are_rewritten_and_others_are_not() {
    let rewritten = |value: &str| {
        rewritten_field(value.as_bytes(), &origin(), &base())
            .map(|value| String::from_utf8(value).expect("text"))
    };
    assert_eq!(
        rewritten("https://api.example.com/express/x").as_deref(),
        Some("http://localhost:8080/organizations/acme/express/x")
    );
    assert_eq!(
        rewritten(r#"<https://api.example.com/a?page=2>; rel="next", <https://api.example.com/b>; rel=last"#)
            .as_deref(),
        Some(
            r#"<http://localhost:8080/organizations/acme/a?page=2>; rel="next", <http://localhost:8080/organizations/acme/b>; rel=last"#
        )
    );
    assert_eq!(rewritten("https://elsewhere.example.com/"), None);
    assert_eq!(rewritten("/express/x"), None);
}
