use super::*;

#[test]
fn two_spellings_of_an_origin_are_one() {
    for text in
        ["https://API.example", "https://api.example/", "https://api.example:443", "HTTPS://api.example"]
    {
        assert_eq!(api_origin(text).as_deref(), Ok("https://api.example"), "{text}");
    }
    assert_eq!(api_origin("https://api.example:8443/").as_deref(), Ok("https://api.example:8443"));
    assert_eq!(api_origin("http://[::1]:80").as_deref(), Ok("http://[::1]"));
}

#[test]
fn plain_http_is_for_this_machine_alone() {
    for text in ["http://127.0.0.1:1", "http://127.8.8.8", "http://[::1]:9", "http://localhost:9"] {
        assert!(api_origin(text).is_ok(), "{text}");
    }
    for text in
        ["http://api.example", "http://127.0.0.1.example", "http://localhost.example", "http://10.0.0.1"]
    {
        assert!(api_origin(text).is_err(), "{text}");
        assert!(token_url(&format!("{text}/token")).is_err(), "{text}");
    }
}

#[test]
fn an_api_is_an_origin_and_nothing_else() {
    for text in [
        "",
        "api.example",
        "https://",
        "https://api.example/v1",
        "https://api.example/?a=b",
        "https://u:p@api.example",
        "ftp://api.example",
        "/v1",
        "https://api.example#x",
        "https://api.example:99999",
        "https://api.example:",
        "https://api.example:0",
        "https://a b",
        "https://ex*mple",
    ] {
        assert!(api_origin(text).is_err(), "{text}");
    }
}

#[test]
fn the_account_may_stand_once_in_a_token_url() {
    let template = "https://{account}.Talkdeskid.com/oauth/token";
    assert_eq!(token_url(template).as_deref(), Ok("https://{account}.talkdeskid.com/oauth/token"));
    assert_eq!(
        token_url("https://id.example/{account}/token").as_deref(),
        Ok("https://id.example/{account}/token")
    );
    assert_eq!(token_url("https://id.example/token").as_deref(), Ok("https://id.example/token"));
    assert!(token_url("https://{account}.example/{account}").is_err());
    assert!(token_url("https://{acount}.example/").is_err());
}

#[test]
fn a_listener_is_an_address_with_a_port_or_a_socket() {
    assert_eq!(listen("127.0.0.1:8080"), Ok(Listen::Tcp(([127, 0, 0, 1], 8080).into())));
    assert!(matches!(listen("[::1]:80"), Ok(Listen::Tcp(_))));
    assert_eq!(listen("unix:/run/proxy.sock"), Ok(Listen::Unix("/run/proxy.sock".into())));
    assert_eq!(listen("localhost:80"), Err("write `127.0.0.1:80`".to_owned()));
    for text in ["", "8080", "127.0.0.1", "::1:80x", "unix:", "unix:relative", "unix:/", "127.0.0.1:99999"] {
        assert!(listen(text).is_err(), "{text}");
    }
}

#[test]
fn hosts_are_lower_case_and_without_ports() {
    assert_eq!(host("Billing.Internal:8080").as_deref(), Ok("billing.internal"));
    assert_eq!(host("[::1]:80").as_deref(), Ok("[::1]"));
    assert_eq!(host("::1").as_deref(), Ok("[::1]"));
    for text in ["", "a b", "a/b", "u@h", "*", "http://x"] {
        assert!(host(text).is_err(), "{text}");
    }
}

#[test]
fn networks_may_be_single_addresses() {
    assert_eq!(network("10.1.2.3/8").map(|network| network.to_string()).as_deref(), Ok("10.0.0.0/8"));
    assert_eq!(network("10.1.2.3").map(|network| network.to_string()).as_deref(), Ok("10.1.2.3/32"));
    assert!(network("10.0.0.0/40").is_err());
}

#[test]
fn a_public_url_has_no_slash_at_its_end() {
    assert_eq!(
        public_url("http://Billing.internal:8080/api/").as_deref(),
        Ok("http://billing.internal:8080/api")
    );
    assert!(public_url("billing.internal").is_err());
    assert!(public_url("http://billing.internal/?x").is_err());
}
