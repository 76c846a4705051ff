//! An HTTP client of the simulator, for the tests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::clock::{Clock, ManualClock};
use crate::simulator::credentials::Secret;
use crate::simulator::{Options, Simulator};

pub(super) struct Caller {
    pub(super) simulator: Simulator,
    pub(super) clock: ManualClock,
    client: Client<HttpConnector, Full<Bytes>>,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) fields: HeaderMap,
    pub(super) bytes: Bytes,
}

impl Answer {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(|value| value.to_str().unwrap())
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }
}

impl Caller {
    pub(super) async fn with(options: Options) -> Self {
        let clock = ManualClock::new();
        let simulator = Simulator::start(options, Clock::Manual(clock.clone())).await.unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { simulator, clock, client }
    }

    pub(super) async fn new() -> Self {
        Self::with(crate::simulator::samples()).await
    }

    pub(super) async fn send(
        &self,
        method: Method,
        target: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, String> {
        let mut request = Request::builder().method(method).uri(format!("{}{target}", self.simulator.url()));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body.to_owned())).unwrap();
        let response = self.client.request(request).await.map_err(|error| format!("no answer: {error:?}"))?;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.map_err(|error| format!("broken body: {error:?}"))?.to_bytes();
        Ok(Answer { status: parts.status, fields: parts.headers, bytes })
    }

    pub(super) async fn get(&self, target: &str, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.send(Method::GET, target, &[("authorization", &bearer)], "").await.unwrap()
    }

    /// Reads all pages: this one, and those that the links `next` lead to.
    pub(super) async fn walk(&self, target: &str, token: &str) -> Vec<Value> {
        let mut target = target.to_owned();
        let mut pages = Vec::new();
        loop {
            let answer = self.get(&target, token).await;
            assert_eq!(answer.status, StatusCode::OK, "{target}: {}", answer.text());
            let page = answer.json();
            let next = page["_links"]["next"]["href"].as_str().map(str::to_owned);
            pages.push(page);
            let Some(next) = next else { return pages };
            next.strip_prefix(self.simulator.url()).unwrap().clone_into(&mut target);
        }
    }

    pub(super) fn secret(&self, account: &str) -> (String, Secret) {
        let credentials = self.simulator.credentials();
        let credential = credentials.into_iter().find(|credential| credential.account == account).unwrap();
        (credential.client_id, credential.secret)
    }

    pub(super) fn basic(&self, account: &str) -> String {
        let (id, secret) = self.secret(account);
        let Secret::ClientSecret(secret) = secret else { panic!("{account} has a key") };
        format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
    }

    pub(super) async fn ask_token(&self, account: &str, authorization: &str, form: &str) -> Answer {
        let fields =
            [("authorization", authorization), ("content-type", "application/x-www-form-urlencoded")];
        self.send(Method::POST, &format!("/{account}/oauth/token"), &fields, form).await.unwrap()
    }

    pub(super) async fn token(&self, account: &str) -> String {
        let answer = self.ask_token(account, &self.basic(account), "grant_type=client_credentials").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    pub(super) async fn post_faults(&self, body: &str) -> Answer {
        self.send(Method::POST, "/_simulator/faults", &[], body).await.unwrap()
    }
}

/// The path of an endpoint with a filter.
pub(super) fn filtered(endpoint: &str, filter: &str) -> String {
    let filter: String = form_urlencoded::byte_serialize(filter.as_bytes()).collect();
    format!("/express/{endpoint}?filter={filter}")
}
