//! Sends the requests of one credential to the API: get a token, wait for the limit, send, and retry if a retry can help.
//!
//! Requests of clients, background refreshes and discovery all pass through here, so every request counts against the
//! credential's limit, and none carries an expired token.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, HOST, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use tower::ServiceExt as _;

use super::circuit_breaker::CircuitBreaker;
use super::exchange::Exchange;
use super::proofs::NarrowingProofs;
use super::retry_budget::RetryBudget;
use super::token_scanner::TokenScanner;
use super::upstream_timer::UpstreamTimer;
use crate::clock::{Clock, Now};
use crate::domain::entitlement::{Permit, still_granted};
use crate::domain::learned::Learned;
use crate::headers::{RateState, add_via};
use crate::io::client::{Failure, FailureKind, Outbound};
use crate::limit::gate::{Gate, Pass, Refused, Waiter};
use crate::metrics::{EndpointMetrics, Metrics, TenantMetrics};
use crate::oauth::grant::{AGENT, GrantError, retry_after};
use crate::oauth::no_token::{NoToken, TokenError};
use crate::oauth::token::Token;
use crate::oauth::token_use::TokenUse;
use crate::oauth::tokens::Tokens;
use crate::page::links;
use crate::problem::{Limit, Rejection};

/// One credential's access to the API.
pub struct Origin {
    /// Its tokens.
    pub tokens: Arc<Tokens>,
    /// Its rate limit.
    pub gate: Arc<Gate>,
    /// The HTTP client.
    pub outbound: Outbound,
    /// The clock.
    pub clock: Clock,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The source of the token's scopes.
    pub learned: Arc<Learned>,
    /// Opens after requests without a response.
    pub breaker: CircuitBreaker,
    /// Limits retries.
    pub budget: RetryBudget,
    /// Proofs that the API narrows to an account.
    pub proofs: NarrowingProofs,
    /// When the rejection began because of which its entries were removed: they are removed once per rejection.
    pub entries_removed_for: ArcSwapOption<Instant>,
    /// The API's origin, to recognise links to it.
    pub links: links::ApiOrigin,
    /// The `Host` field for an API without TLS; hyper would build it for each request. With TLS it is left to hyper, because
    /// HTTP/2 has no such field.
    pub host: Option<HeaderValue>,
}

/// The `Host` field for an API without TLS.
#[must_use]
pub fn host_in_plain(api_origin: &str) -> Option<HeaderValue> {
    api_origin.strip_prefix("http://").and_then(|authority| HeaderValue::from_str(authority).ok())
}

/// A request to send upstream.
pub struct UpstreamRequest<'a> {
    /// The proof that it may be sent.
    pub permit: &'a Permit,
    /// The URL; none if it is not valid.
    pub target: Option<&'a Uri>,
    /// The client's fields that are forwarded, and the preconditions.
    pub fields: &'a HeaderMap,
    /// Identifies its sender in the queue of the rate limit.
    pub waiter: Waiter,
    /// When it must be complete.
    pub deadline: Instant,
    /// The minimum duration of an exchange whose timeout counts as a failure of the API. A shorter one had little time left
    /// after waiting for a limit or a token, which says nothing about the API.
    pub min_timeout: Duration,
    /// Measures the wait for upstream.
    pub timer: &'a UpstreamTimer,
    /// The endpoint's metrics.
    pub endpoint_metrics: &'a EndpointMetrics,
    /// The tenant's metrics.
    pub tenant_metrics: &'a TenantMetrics,
}

/// The head of an upstream response; its body is not read yet.
pub struct UpstreamResponse {
    /// The response.
    pub response: Response<Incoming>,
    /// Hold it until the body is read: it occupies a concurrency slot.
    pub pass: Pass,
    /// When the last attempt was sent.
    pub sent_at: Now,
    /// The data about the exchange so far.
    pub exchange: Exchange,
    /// The number of the token that was sent.
    pub token_number: u64,
}

impl Origin {
    /// Sends a request with a valid token and within the limit. Retries with another token after a 401, and once after a
    /// transient failure.
    ///
    /// # Errors
    /// A [`Rejection`] with the reason.
    pub async fn send(&self, request: &UpstreamRequest<'_>) -> Result<UpstreamResponse, Rejection> {
        let mut waited = Duration::ZERO;
        let mut token_use = TokenUse::Kept;
        let mut may_retry = true;
        let mut unauthorized = false;
        let mut first = true;
        loop {
            request.timer.stop(self.clock.now());
            // Refuse requests that are known to fail before they use a token or the limit.
            if let Some(paused) = self.gate.paused() {
                return Err(paused.into());
            }
            let permit = self.breaker.permit(self.clock.now())?;
            // Get the token before waiting for the limit, so that a request without one does not use the limit; and
            // again after the wait, because the first may have expired.
            let (_, first_use) = self.token(request, unauthorized).await?;
            let pass = self.pass(request).await?;
            waited += pass.waited;
            let (token, last_use) = self.token(request, unauthorized).await?;
            token_use = token_use.max(first_use).max(last_use);
            let sent_at = self.clock.now();
            if std::mem::take(&mut first) {
                self.budget.sent(sent_at);
            }
            let outcome = self.exchange(request, &token).await;
            if let Some(reason) = transient_failure(&outcome)
                && std::mem::take(&mut may_retry)
                && self.budget.take(sent_at)
            {
                self.metrics.upstream_retry(reason);
                if outcome.is_ok() {
                    permit.record_response(false, sent_at);
                }
                continue;
            }
            let response = match outcome {
                Ok(response) => response,
                Err(rejection) => {
                    let now = self.clock.now();
                    let out_of_time = rejection == Rejection::UpstreamTimeout;
                    let says_nothing = out_of_time && now.since(sent_at.monotonic) < request.min_timeout;
                    if out_of_time || matches!(rejection, Rejection::UpstreamUnreachable(_)) {
                        if !says_nothing {
                            self.breaker.record_failure(&rejection, now);
                        }
                    } else {
                        permit.record_response(false, now);
                    }
                    return Err(rejection);
                }
            };
            permit.record_response(!response.status().is_server_error(), self.clock.now());
            if response.status() == StatusCode::UNAUTHORIZED {
                // Drop the token and try one other: `rejected` returns an error for a second 401 in a row.
                unauthorized = true;
                self.tokens.rejected(&token).map_err(|no_token| rejection_of(no_token, unauthorized))?;
                self.metrics.upstream_retry("token_rejected");
                continue;
            }
            // An error of a server in front of the API says nothing about the token.
            if !response.status().is_server_error() && response.status() != StatusCode::TOO_MANY_REQUESTS {
                self.tokens.accepted();
            }
            self.apply_retry_after(&response)?;
            let (burst, window) = self.gate.policy();
            let exchange = Exchange {
                rate: Some(RateState { burst, window, remaining: pass.remaining }),
                upstream: Duration::ZERO,
                waited,
                token: Some(token_use),
                status: Some(response.status()),
            };
            return Ok(UpstreamResponse { response, pass, sent_at, exchange, token_number: token.number });
        }
    }

    /// The rate limit state of a credential that may not send any requests for now.
    #[must_use]
    pub fn exhausted(&self) -> RateState {
        let (burst, window) = self.gate.policy();
        RateState { burst, window, remaining: 0 }
    }

    async fn pass(&self, request: &UpstreamRequest<'_>) -> Result<Pass, Rejection> {
        let passing = self.gate.pass(request.waiter.clone());
        let outcome = self.clock.timeout_at(request.deadline, passing).await;
        let outcome = outcome.unwrap_or(Err(Refused::Limited { retry_in: Duration::from_secs(1) }));
        let decision = match &outcome {
            Ok(pass) if pass.waited.is_zero() => "allowed",
            Ok(_) => "waited",
            Err(_) => "refused",
        };
        self.metrics.limit("upstream", decision);
        match outcome {
            Ok(pass) => {
                self.metrics.rate_limit_wait.observe(pass.waited.as_secs_f64());
                Ok(pass)
            }
            Err(refused) => Err(refused.into()),
        }
    }

    /// A token that is valid now and permits the request.
    async fn token(
        &self,
        request: &UpstreamRequest<'_>,
        unauthorized: bool,
    ) -> Result<(Arc<Token>, TokenUse), Rejection> {
        let token = self.clock.timeout_at(request.deadline, self.tokens.get()).await;
        let late = || NoToken {
            error: TokenError::Grant(GrantError::Unavailable("it did not answer in time".into())),
            retry_in: Duration::from_secs(1),
        };
        let token = token.unwrap_or_else(|_| Err(late()));
        let token = token.map_err(|no_token| rejection_of(no_token, unauthorized))?;
        still_granted(request.permit, &self.learned, self.clock.now().monotonic)
            .map_err(Rejection::Denied)?;
        Ok(token)
    }

    async fn exchange(
        &self,
        request: &UpstreamRequest<'_>,
        token: &Arc<Token>,
    ) -> Result<Response<Incoming>, Rejection> {
        let mut http_request = build_http_request(request, token, self.host.as_ref())?;
        let metrics = Arc::clone(&self.metrics);
        hyper::ext::on_informational(&mut http_request, move |_| metrics.upstream_interim_responses.inc());
        request.timer.start(self.clock.now());
        request.tenant_metrics.upstream_requests.inc();
        let sending = self.outbound.clone().oneshot(http_request);
        let outcome = self.clock.timeout_at(request.deadline, sending).await;
        match outcome {
            Ok(Ok(mut response)) => {
                TokenScanner::attach(&mut response, token, &self.metrics);
                request.endpoint_metrics.upstream_answered(response.status());
                Ok(response)
            }
            Ok(Err(failure)) => {
                request.endpoint_metrics.upstream_failed();
                // A response that is not HTTP is counted with all other unusable responses.
                if failure.kind != FailureKind::Protocol {
                    self.metrics.upstream_error(failure.kind.as_str());
                }
                tracing::warn!(tenant = %request.permit.tenant().label, error = %failure, "no answer from upstream");
                Err(unanswered(failure))
            }
            Err(_) => {
                request.endpoint_metrics.upstream_failed();
                self.metrics.upstream_error(FailureKind::Timeout.as_str());
                Err(Rejection::UpstreamTimeout)
            }
        }
    }

    /// Pauses the credential for all clients after a 429, or a 503 with `Retry-After`.
    fn apply_retry_after(&self, response: &Response<Incoming>) -> Result<(), Rejection> {
        let now = self.clock.now();
        let told = response.headers().get(RETRY_AFTER).and_then(|value| retry_after(value, now.wall));
        // A `Retry-After` of zero counts as none.
        let told = told.filter(|told| !told.is_zero());
        let limited = response.status() == StatusCode::TOO_MANY_REQUESTS;
        if limited || (response.status() == StatusCode::SERVICE_UNAVAILABLE && told.is_some()) {
            let until = self.gate.pause(told);
            let owner = self.tokens.credential().owner.to_string();
            let until_unix =
                now.wall_at(until).duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
            self.metrics
                .upstream_paused_until_timestamp
                .with_label_values(&[owner.as_str()])
                .set(until_unix.as_secs_f64());
            tracing::warn!(tenant = %owner, pause_seconds = now.until(until).as_secs_f64(), "upstream asks for a pause");
            if limited {
                let retry_in = told.is_some().then(|| now.until(until));
                return Err(Rejection::UpstreamRateLimited { retry_in });
            }
        } else if response.status() != StatusCode::SERVICE_UNAVAILABLE {
            self.gate.took_one();
        }
        Ok(())
    }
}

/// Tells a request that got a 401 itself from one that only finds that another request's tokens were rejected: a stale entry
/// may replace the response to the latter.
fn rejection_of(no_token: NoToken, unauthorized: bool) -> Rejection {
    if unauthorized && no_token.error == TokenError::TokenRejected {
        Rejection::TokenRejected(no_token)
    } else {
        Rejection::NoToken(no_token)
    }
}

/// The reason for a retry, if one is permitted: the connection was refused or reset, or the response is a 502, 503 or
/// 504 without `Retry-After`. A 500 may have been caused by the request, and after a timeout there is no time left.
fn transient_failure(outcome: &Result<Response<Incoming>, Rejection>) -> Option<&'static str> {
    match outcome {
        Ok(response) if response.headers().contains_key(RETRY_AFTER) => None,
        Ok(response) => match response.status() {
            StatusCode::BAD_GATEWAY => Some("502"),
            StatusCode::SERVICE_UNAVAILABLE => Some("503"),
            StatusCode::GATEWAY_TIMEOUT => Some("504"),
            _ => None,
        },
        Err(Rejection::UpstreamUnreachable(Failure {
            kind: kind @ (FailureKind::Connect | FailureKind::Reset),
            ..
        })) => Some(kind.as_str()),
        Err(_) => None,
    }
}

impl From<Refused> for Rejection {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Limited { retry_in } => Self::RateLimited { limit: Limit::Upstream, retry_in },
            Refused::Paused { rest, told } => Self::UpstreamRateLimited { retry_in: told.then_some(rest) },
        }
    }
}

fn unanswered(failure: Failure) -> Rejection {
    match failure.kind {
        FailureKind::Timeout => Rejection::UpstreamTimeout,
        FailureKind::Protocol => Rejection::UpstreamProtocolError("it is not HTTP".into()),
        FailureKind::Connect | FailureKind::Tls | FailureKind::Reset => {
            Rejection::UpstreamUnreachable(failure)
        }
    }
}

/// The number of fields that the proxy adds to a request.
const OWN_FIELDS: usize = 5;

/// Builds the upstream request from the permit's target, the forwarded fields and the proxy's own fields.
fn build_http_request(
    request: &UpstreamRequest<'_>,
    token: &Token,
    host: Option<&HeaderValue>,
) -> Result<Request<Full<Bytes>>, Rejection> {
    let target = request.target.cloned();
    let mut http_request = Request::new(Full::default());
    *http_request.uri_mut() =
        target.ok_or(Rejection::InvalidTarget("the query has a character that must not stand in a URL"))?;
    let own = http_request.headers_mut();
    own.clone_from(request.fields);
    own.reserve(OWN_FIELDS);
    own.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    own.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
    own.insert(AUTHORIZATION, token.authorization.clone());
    if let Some(host) = host {
        own.insert(HOST, host.clone());
    }
    add_via(own, http::Version::HTTP_11);
    Ok(http_request)
}
