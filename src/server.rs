//! The HTTP server: landing page, metrics, health, and the snapshot as JSON. It only serves what the sampler publishes.

mod basic_auth;
mod connection_limit;
mod headers;
mod held;
mod listen;
#[cfg_attr(not(feature = "tls"), path = "server/no_tls.rs")]
mod tls;
mod turns;
pub mod web_config;
pub mod web_config_handle;
mod write_timeout;

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, TRANSFER_ENCODING, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use tokio::sync::watch;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use crate::config::Settings;
use crate::export::negotiate::{TextFormat, takes_gzip};
use crate::landing;
use crate::sampler::{Published, Receiver, Text};

use self::held::SharedPage;
use self::web_config_handle::WebConfigHandle;

/// Maximum number of concurrent requests; more wait.
const MOST_REQUESTS: usize = 64;
/// Timeout of an answer.
const LONGEST_ANSWER: Duration = Duration::from_secs(5);

/// State of the routes.
#[derive(Clone, Debug)]
pub struct Site {
    /// The published snapshots.
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

/// No route takes a body. Request smuggling exploits the boundaries of bodies, so the connection is closed.
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
/// The system's error of the listener.
pub async fn run(
    listener: TcpListener,
    site: Site,
    web_config_handle: WebConfigHandle,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let app = app(site).layer(from_fn_with_state(
        web_config_handle.clone(),
        web_config_handle::check,
    ));
    listen::serve(listener, app, web_config_handle.encryption(), shutdown).await
}

const NOT_READY: (StatusCode, &str) = (
    StatusCode::SERVICE_UNAVAILABLE,
    "the first tick is not done yet\n",
);

/// Ready once the first tick is done, whatever its result: a sidecar's readiness is the pod's, so it never depends on vLLM or the GPU.
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
    let format = TextFormat::preferred(text_of(&headers, &ACCEPT));
    let page = match format {
        TextFormat::Text => published.text(),
        TextFormat::OpenMetrics => published.openmetrics(),
    };
    let kind = [
        (CONTENT_TYPE, format.content_type()),
        (VARY, "Accept, Accept-Encoding"),
    ];
    (kind, answer(page, &headers)).into_response()
}

/// `page`, compressed if the client accepts that.
fn answer(page: &Text, headers: &HeaderMap) -> Response {
    let packed = Some(page)
        .filter(|_| takes_gzip(text_of(headers, &ACCEPT_ENCODING)))
        .and_then(Text::gzipped);
    match packed {
        Some(packed) => {
            let page = Extension(SharedPage(packed.clone()));
            (page, [(CONTENT_ENCODING, "gzip")], packed).into_response()
        }
        None => (Extension(SharedPage(page.plain())), page.plain()).into_response(),
    }
}

fn text_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    let value = headers.get(name);
    value.and_then(|value| value.to_str().ok()).unwrap_or("")
}

/// The page loads no external resources, and this header makes the browser enforce it.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'",
);

/// The landing page of the newest tick: a request costs no rendering.
async fn home(State(site): State<Site>, headers: HeaderMap) -> Response {
    let settings = site.settings();
    let newest = site.newest();
    let page = match &newest {
        Some(published) => published.home(&settings).map(|page| answer(page, &headers)),
        None => landing::page(None, &settings)
            .ok()
            .map(IntoResponse::into_response),
    };
    let kind = [
        (
            CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        ),
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (VARY, HeaderValue::from_static("Accept-Encoding")),
    ];
    match page {
        Some(page) => (kind, page).into_response(),
        None => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "cannot write the landing page\n",
        )
            .into_response(),
    }
}

async fn snapshot(State(site): State<Site>, headers: HeaderMap) -> Response {
    json(site.newest().as_deref().map(Published::json), &headers)
}

async fn verdict(State(site): State<Site>, headers: HeaderMap) -> Response {
    json(site.newest().as_deref().map(Published::verdict), &headers)
}

async fn history(State(site): State<Site>, headers: HeaderMap) -> Response {
    json(site.newest().as_deref().map(Published::history), &headers)
}

fn json(text: Option<&Text>, headers: &HeaderMap) -> Response {
    let kind = [
        (CONTENT_TYPE, "application/json"),
        (VARY, "Accept-Encoding"),
    ];
    match text {
        Some(text) => (kind, answer(text, headers)).into_response(),
        None => NOT_READY.into_response(),
    }
}

/// The settings in force. They contain no secrets: keys are in files, and a URL masks its password.
async fn config(State(site): State<Site>) -> Response {
    axum::Json(&*site.settings()).into_response()
}
