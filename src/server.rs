//! The HTTP server: landing page, metrics, health, and the snapshot as JSON. It renders what the sampler published, and does nothing else.

pub mod access;
mod basic_auth;
pub mod gate;
mod headers;
mod listen;
mod patience;
mod places;
#[cfg_attr(not(feature = "tls"), path = "server/no_tls.rs")]
mod tls;

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, TRANSFER_ENCODING, VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use crate::config::Settings;
use crate::export::negotiate::{Format, takes_gzip};
use crate::landing;
use crate::sampler::{Published, Receiver, Text};

use self::gate::Gate;

/// Requests answered at once; more wait.
const MOST_REQUESTS: usize = 64;
/// No answer takes longer.
const LONGEST_ANSWER: Duration = Duration::from_secs(5);

/// What the routes need.
#[derive(Clone, Debug)]
pub struct Site {
    /// What the sampler publishes.
    pub published: Receiver,
    /// The settings in force.
    pub settings: watch::Receiver<Arc<Settings>>,
}

impl Site {
    fn newest(&self) -> Option<Arc<Published>> {
        self.published.borrow().clone()
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }
}

/// The routes.
pub fn app(site: Site) -> Router {
    Router::new()
        .route("/", get(home))
        .route(&site.settings().web.telemetry_path, get(metrics))
        .route("/-/healthy", get(|| async { "healthy\n" }))
        .route("/-/ready", get(ready))
        .route("/api/v1/snapshot", get(snapshot))
        .route("/api/v1/verdict", get(verdict))
        .route("/api/v1/history", get(history))
        .route("/api/v1/config", get(config))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            LONGEST_ANSWER,
        ))
        .layer(GlobalConcurrencyLimitLayer::new(MOST_REQUESTS))
        .layer(from_fn(refuse_bodies))
        .with_state(site)
}

/// Nothing here takes a body. Where one begins and ends is what smuggled requests are made of, so the connection ends with it.
async fn refuse_bodies(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let empty = headers
        .get(CONTENT_LENGTH)
        .is_none_or(|length| length == "0");
    if empty && !headers.contains_key(TRANSFER_ENCODING) {
        return next.run(request).await;
    }
    let refusal = "no request has a body here\n";
    (StatusCode::BAD_REQUEST, [(CONNECTION, "close")], refusal).into_response()
}

/// Serves until `shutdown`, then lets requests in flight finish within a limit.
///
/// # Errors
/// What the system says of the listener.
pub async fn run(
    listener: TcpListener,
    site: Site,
    gate: Gate,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let app = app(site).layer(from_fn_with_state(gate.clone(), gate::check));
    listen::serve(listener, app, gate.encryption(), shutdown).await
}

const NOT_READY: (StatusCode, &str) = (
    StatusCode::SERVICE_UNAVAILABLE,
    "the first tick is not done yet\n",
);

/// Ready once a first tick is done, whatever it found: a sidecar's readiness is the pod's, so it never depends on vLLM or the GPU.
async fn ready(State(site): State<Site>) -> Response {
    match site.newest() {
        Some(_) => "ready\n".into_response(),
        None => NOT_READY.into_response(),
    }
}

async fn metrics(State(site): State<Site>, headers: HeaderMap) -> Response {
    let Some(published) = site.newest() else {
        return NOT_READY.into_response();
    };
    let header = |name| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    };
    let format = Format::preferred(header(ACCEPT));
    let page = match format {
        Format::Text => published.text(),
        Format::OpenMetrics => published.openmetrics(),
    };
    let kind = [
        (CONTENT_TYPE, format.content_type()),
        (VARY, "Accept, Accept-Encoding"),
    ];
    let packed = Some(page)
        .filter(|_| takes_gzip(header(ACCEPT_ENCODING)))
        .and_then(Text::gzipped);
    match packed {
        Some(packed) => (kind, [(CONTENT_ENCODING, "gzip")], packed).into_response(),
        None => (kind, page.plain()).into_response(),
    }
}

/// The page loads nothing from elsewhere, and this makes the browser hold it to that.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'",
);

async fn home(State(site): State<Site>) -> Response {
    let newest = site.newest();
    let snapshot = newest.as_ref().map(|published| &published.snapshot);
    match landing::page(snapshot, &site.settings()) {
        Ok(html) => {
            let mut response = Html(html).into_response();
            response
                .headers_mut()
                .insert(CONTENT_SECURITY_POLICY, POLICY);
            response
                .headers_mut()
                .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(error) => {
            tracing::error!(%error, "cannot write the landing page");
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                "cannot write the landing page\n",
            )
                .into_response()
        }
    }
}

async fn snapshot(State(site): State<Site>) -> Response {
    match site.newest() {
        Some(published) => {
            axum::Json(crate::export::snapshot_json::of(&published.snapshot)).into_response()
        }
        None => NOT_READY.into_response(),
    }
}

async fn verdict(State(site): State<Site>) -> Response {
    match site.newest() {
        Some(published) => {
            axum::Json(crate::export::verdict_json::verdict(&published.snapshot)).into_response()
        }
        None => NOT_READY.into_response(),
    }
}

async fn history(State(site): State<Site>) -> Response {
    match site.newest() {
        Some(published) => {
            axum::Json(crate::export::verdict_json::history(&published.snapshot)).into_response()
        }
        None => NOT_READY.into_response(),
    }
}

/// The settings in force. Secrets are never in them: keys are in files, and a URL masks its password.
async fn config(State(site): State<Site>) -> Response {
    axum::Json(&*site.settings()).into_response()
}
