//! The origin of the comparison: the token endpoint, and billing answers of exactly so many bytes.
//!
//! ```sh
//! cargo run --release --example compare-origin -- --listen 127.0.0.1:9480
//! ```
//!
//! `GET /express/{endpoint}` answers JSON. Its query says how: `size` is the length of the body in bytes, `delay` how
//! many milliseconds pass before the head, `links` that `_links` leads to this origin, `filter` (`account_id eq '...'`) whose records they are: none of the account whose
//! id is all zeros. Everything else in the query only tells
//! one URL from another. A prefix that names a tenant is left out, so that caches that know nothing of tenants can be
//! asked for the same URLs. Answers may be kept for an hour; those below `/passing/` say `no-store`.
//!
//! `POST /oauth/token` gives a token to everybody. `GET /count` says how many requests there were, but for these two.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use billing_insights_proxy::clock::Clock;
use bytes::Bytes;
use clap::Parser;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::LocalSet;

const ACCOUNT: &str = "5ea75fe7aa224700012eae40";

#[derive(Parser)]
struct Arguments {
    /// Where to listen; port 0 picks a free one, which is printed
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

type Body = Full<Bytes>;

/// What the origin knows: how often it was asked, and the bodies that it has made.
#[derive(Default)]
struct Origin {
    requests: Cell<u64>,
    bodies: RefCell<HashMap<(usize, String, bool), Bytes>>,
}

/// What a query asks for.
#[derive(Default)]
struct Wanted {
    size: usize,
    delay: u64,
    links: bool,
    account: String,
}

fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, serve(arguments.listen))
}

async fn serve(listen: SocketAddr) -> std::io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    println!("listening at {}", listener.local_addr()?);
    let origin = Rc::new(Origin::default());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let origin = Rc::clone(&origin);
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request| answer(Rc::clone(&origin), request));
            // A client that leaves is no trouble of the origin's.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(origin: Rc<Origin>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path();
    if path == "/oauth/token" {
        drop(request.into_body().collect().await);
        return Ok(plain("{\"access_token\":\"comparison-0123456789abcdef\",\"token_type\":\"Bearer\",\"expires_in\":86400}".into()));
    }
    if path == "/count" {
        return Ok(plain(origin.requests.get().to_string()));
    }
    origin.requests.set(origin.requests.get() + 1);
    let wanted = wanted(request.uri().query().unwrap_or_default());
    let keeps = !path.contains("/passing/");
    let host = request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    let body = origin.body(&wanted, host);
    if wanted.delay > 0 {
        Clock::System.sleep(Duration::from_millis(wanted.delay)).await;
    }
    let length = body.len();
    let tag = format!("\"{}-{length}\"", wanted.account);
    let mut response = Response::new(Full::new(body));
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    fields.insert(
        CACHE_CONTROL,
        HeaderValue::from_static(if keeps { "public, max-age=3600" } else { "no-store" }),
    );
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        fields.insert(ETAG, tag);
    }
    Ok(response)
}

/// Reads what is asked for; what is no number counts as 0.
fn wanted(query: &str) -> Wanted {
    let mut wanted = Wanted { account: ACCOUNT.to_owned(), ..Wanted::default() };
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let number = value.parse().unwrap_or(0);
        match name.as_ref() {
            "size" => wanted.size = usize::try_from(number).unwrap_or(0),
            "delay" => wanted.delay = number,
            "links" => wanted.links = true,
            "filter" => value.split('\'').nth(1).unwrap_or(ACCOUNT).clone_into(&mut wanted.account),
            _ => {}
        }
    }
    wanted
}

impl Origin {
    fn body(&self, wanted: &Wanted, host: &str) -> Bytes {
        let key = (wanted.size, wanted.account.clone(), wanted.links);
        let mut bodies = self.bodies.borrow_mut();
        let body = bodies.entry(key).or_insert_with(|| {
            page(wanted.size, &wanted.account, wanted.links.then_some(host)).into_bytes().into()
        });
        body.clone()
    }
}

/// A page of invoices of exactly so many bytes (but never fewer than an empty page needs).
fn page(size: usize, account: &str, links_to: Option<&str>) -> String {
    if account.bytes().all(|digit| digit == b'0') {
        return "{\"total\":0,\"_embedded\":{\"invoices\":[]}}".to_owned();
    }
    let mut body = "{\"total\":100,\"count\":100,\"page\":1,\"per_page\":100,\"total_pages\":1,".to_owned();
    if let Some(host) = links_to {
        let _ = write!(
            body,
            "\"_links\":{{\"self\":{{\"href\":\"http://{host}/express/invoices?page=1\"}},\
             \"first\":{{\"href\":\"http://{host}/express/invoices?page=1\"}},\
             \"last\":{{\"href\":\"http://{host}/express/invoices?page=1\"}}}},"
        );
    }
    body.push_str("\"_embedded\":{\"invoices\":[");
    let end = "]}}";
    let mut number = 0;
    loop {
        let record = |filler: &str| {
            format!(
                "{{\"id\":\"inv-{number:08}\",\"account_id\":\"{account}\",\"number\":\"2024-{number:06}\",\
                 \"amount\":{}.10,\"currency\":\"USD\",\"status\":\"paid\",\"description\":\"{filler}\"}}",
                100 + number
            )
        };
        let usual = record("Voice minutes, United States");
        let left = size.saturating_sub(body.len() + end.len());
        if left > 2 * usual.len() {
            body.push_str(&usual);
            body.push(',');
            number += 1;
        } else {
            let filler = "x".repeat(left.saturating_sub(record("").len()));
            body.push_str(&record(&filler));
            break;
        }
    }
    body.push_str(end);
    body
}

fn plain(text: String) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
