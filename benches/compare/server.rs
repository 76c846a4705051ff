//! The least that hyper can do, to hold the others against: fixed answers, or a proxy that passes everything on.
//!
//! ```sh
//! cargo run --release --example compare-server -- --listen 127.0.0.1:8081
//! cargo run --release --example compare-server -- --listen 127.0.0.1:8081 --upstream 127.0.0.1:9480
//! ```
//!
//! One thread, HTTP/1.1, the proxy's allocator, and hyper as it comes: nothing is looked up, counted or logged. Without `--upstream`, `size` in
//! the query says how long the body is, of one of three lengths; a path with `/refused/` in it is answered 403, and a
//! request with `If-None-Match` 304, both without a body. `--header-timeout` adds the timer that bounds how long a
//! head may take, which every server on a network needs and this one leaves out otherwise.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use http::header::{CONNECTION, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VIA};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

/// The proxy's own, so that what is compared is not two allocators.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [usize; 3] = [2 * 1024, 32 * 1024, 1024 * 1024];

#[derive(Parser)]
struct Arguments {
    /// Where to listen; port 0 picks a free one, which is printed
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Pass everything on to this address
    #[arg(long)]
    upstream: Option<Authority>,
    /// How many seconds a head may take; without it there is no timer
    #[arg(long)]
    header_timeout: Option<u64>,
}

type Browser = Client<HttpConnector, Empty<Bytes>>;

fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    // As the proxy has it.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, serve(arguments))
}

async fn serve(arguments: Arguments) -> std::io::Result<()> {
    let listener = TcpListener::bind(arguments.listen).await?;
    println!("listening at {}", listener.local_addr()?);
    let mut builder = http1::Builder::new();
    if let Some(seconds) = arguments.header_timeout {
        builder.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(seconds));
    }
    let bodies = Rc::new(SIZES.map(|size| Bytes::from(vec![b'x'; size])));
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let browser: Browser = Client::builder(TokioExecutor::new()).build(connector);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let builder = builder.clone();
        match arguments.upstream.clone() {
            Some(upstream) => {
                tokio::task::spawn_local(pass_on(builder, stream, browser.clone(), upstream));
            }
            None => {
                tokio::task::spawn_local(answer_all(builder, stream, Rc::clone(&bodies)));
            }
        }
    }
}

async fn answer_all(builder: http1::Builder, stream: TcpStream, bodies: Rc<[Bytes; 3]>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = answer(&request, &bodies);
        async move { Ok::<_, Infallible>(response) }
    });
    drop(builder.serve_connection(TokioIo::new(stream), service).await);
}

fn answer(request: &Request<Incoming>, bodies: &[Bytes; 3]) -> Response<Full<Bytes>> {
    let empty = |status| {
        let mut response = Response::new(Full::default());
        *response.status_mut() = status;
        response
    };
    if request.uri().path().contains("/refused/") {
        return empty(StatusCode::FORBIDDEN);
    }
    if request.headers().contains_key(IF_NONE_MATCH) {
        return empty(StatusCode::NOT_MODIFIED);
    }
    let place = match request.uri().query() {
        Some(query) if query.starts_with("size=2048") => 0,
        Some(query) if query.starts_with("size=32768") => 1,
        Some(query) if query.starts_with("size=1048576") => 2,
        _ => return empty(StatusCode::NOT_FOUND),
    };
    let mut response = Response::new(Full::new(bodies[place].clone()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(ETAG, HeaderValue::from_static("\"bare\""));
    response
}

async fn pass_on(builder: http1::Builder, stream: TcpStream, browser: Browser, upstream: Authority) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (browser, upstream) = (browser.clone(), upstream.clone());
        async move {
            let passed = match onward(&request, upstream) {
                Some(onward) => browser.request(onward).await.ok(),
                None => None,
            };
            let Some(response) = passed else {
                let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed());
                *response.status_mut() = StatusCode::BAD_GATEWAY;
                return Ok(response);
            };
            let mut response: Response<BoxBody<Bytes, hyper::Error>> = response.map(BodyExt::boxed);
            response.headers_mut().remove(CONNECTION);
            response.headers_mut().insert(VIA, HeaderValue::from_static("1.1 bare"));
            Ok::<_, Infallible>(response)
        }
    });
    drop(builder.serve_connection(TokioIo::new(stream), service).await);
}

/// The request as it goes upstream: the same target and fields, without those of the connection.
fn onward(request: &Request<Incoming>, upstream: Authority) -> Option<Request<Empty<Bytes>>> {
    let target = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let uri = Uri::builder().scheme(Scheme::HTTP).authority(upstream).path_and_query(target).build().ok()?;
    let mut onward = Request::new(Empty::new());
    *onward.uri_mut() = uri;
    *onward.headers_mut() = request.headers().clone();
    onward.headers_mut().remove(CONNECTION);
    Some(onward)
}
