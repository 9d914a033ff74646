//! `Client`: sends one request and times its answer.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{StatusCode, Url, redirect};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout};

use super::LoadError;
use super::failure::Failure;
use super::phase::PhaseReceiver;
use super::prompt::{Ask, Content, as_messages};
use super::run::{Api, RequestRecord};
use super::run_stats::RunStats;
use super::settings::LoadSettings;
use super::sse::SseEvents;
use super::timeline::RequestTimeline;

/// Timeout of a connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest idle time of a reused connection. vLLM's server closes idle connections after 5 s; a request must not race with that.
const IDLE_CONNECTION: Duration = Duration::from_secs(4);
/// Bytes read of an error response; only its first words are passed on.
const LONGEST_REFUSAL: usize = 64 << 10;
/// Characters passed on of a server's error message.
const LONGEST_COMPLAINT: usize = 300;

/// Sends requests to one server.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    url: Url,
    api: Api,
    common: Map<String, Value>,
    request_timeout: Duration,
    authorization: Option<reqwest::header::HeaderValue>,
}

/// A request that is ready to send.
#[derive(Debug)]
pub struct PreparedRequest {
    body: Vec<u8>,
    input_len: Option<u32>,
    output_len: u32,
}

impl Client {
    /// A client for `model` on the server of `settings`; `is_vllm` adds members that only vLLM understands.
    ///
    /// # Errors
    /// An API key that cannot be read, or TLS that cannot be set up.
    pub fn new(settings: &LoadSettings, model: &str, is_vllm: bool) -> Result<Self, LoadError> {
        let path = match settings.api {
            Api::Completions => "v1/completions",
            Api::Chat => "v1/chat/completions",
        };
        Ok(Self {
            http: settings.http.clone(),
            url: settings
                .url
                .join(path)
                .map_err(|error| LoadError::Client(error.to_string()))?,
            api: settings.api,
            common: common_members(settings, model, is_vllm),
            request_timeout: settings.request_timeout,
            authorization: settings.authorization.clone(),
        })
    }

    /// Serialises `ask`, so that this is done before the clock starts.
    #[must_use]
    pub fn prepare(&self, ask: &Ask) -> PreparedRequest {
        let mut body = self.common.clone();
        let (prompt, limit) = match self.api {
            Api::Chat => ("messages", "max_completion_tokens"),
            Api::Completions => ("prompt", "max_tokens"),
        };
        let content = match (&ask.content, self.api) {
            (content, Api::Chat) => as_messages(content),
            (Content::Tokens(ids), Api::Completions) => json!(ids),
            (Content::Text(text), Api::Completions) => json!(text),
            (Content::Messages(messages), Api::Completions) => messages.clone(),
        };
        body.insert(prompt.to_owned(), content);
        body.insert(limit.to_owned(), json!(ask.output_len));
        PreparedRequest {
            body: Value::Object(body).to_string().into_bytes(),
            input_len: ask.input_len,
            output_len: ask.output_len,
        }
    }

    /// Sends `request` and reads its answer to the end, or until `watch` aborts it. Times are relative to `epoch`.
    pub async fn send(
        &self,
        request: PreparedRequest,
        epoch: Instant,
        run_stats: &Arc<RunStats>,
        mut watch: PhaseReceiver,
    ) -> RequestRecord {
        let mut timeline = RequestTimeline::of(request.output_len);
        let sent = Instant::now();
        let answer = self.follow(request.body, sent, run_stats, &mut timeline);
        let end = tokio::select! {
            end = timeout(self.request_timeout, answer) => end.unwrap_or(Err(Failure::Timeout)),
            () = watch.aborted() => Err(Failure::Cancelled),
        };
        let failure = match end {
            Ok(()) if timeline.has_tokens() => None,
            Ok(()) => Some(Failure::BadStream),
            Err(failure) => Some(failure),
        };
        let start = sent - epoch;
        timeline.into_request(start, sent.elapsed(), request.input_len, failure)
    }

    async fn follow(
        &self,
        body: Vec<u8>,
        sent: Instant,
        run_stats: &RunStats,
        timeline: &mut RequestTimeline,
    ) -> Result<(), Failure> {
        let mut request = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let mut response = request.send().await.map_err(|error| {
            if error.is_connect() {
                run_stats.complain(Failure::Connect, || innermost(&error));
                Failure::Connect
            } else {
                Failure::StreamCut
            }
        })?;
        if response.status() != StatusCode::OK {
            let failure = Failure::Status(response.status().as_u16());
            let text = beginning(response, LONGEST_REFUSAL).await;
            let text = text.unwrap_or_default();
            run_stats.complain(failure, || complaint(&text));
            return Err(failure);
        }
        let mut events = SseEvents::default();
        loop {
            let piece = response.chunk().await;
            let time = sent.elapsed();
            let Some(piece) = piece.map_err(|_| Failure::StreamCut)? else {
                break;
            };
            events.feed(&piece, |payload| {
                let tokens = timeline.event(payload, time).inspect_err(|failure| {
                    run_stats.complain(*failure, || complaint(&String::from_utf8_lossy(payload)));
                })?;
                run_stats.tokens(tokens);
                Ok::<(), Failure>(())
            })?;
        }
        if timeline.finished() {
            Ok(())
        } else if timeline.has_tokens() {
            Err(Failure::StreamCut)
        } else {
            Err(Failure::BadStream)
        }
    }
}

/// Options of the client: no redirects, which would hide where a load goes, and no compression, which delays chunks. The caller adds the
/// trusted certificates.
pub fn client_builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_CONNECTION)
        .redirect(redirect::Policy::none())
        .no_gzip()
        .user_agent(concat!(
            "vllm-roofline-exporter/",
            env!("CARGO_PKG_VERSION")
        ))
}

/// Members common to all requests. The user's own members override them.
fn common_members(settings: &LoadSettings, model: &str, is_vllm: bool) -> Map<String, Value> {
    let mut stream_options = json!({"include_usage": true});
    if is_vllm {
        stream_options["continuous_usage_stats"] = json!(true);
    }
    let mut members = Map::new();
    members.insert("model".to_owned(), json!(model));
    members.insert("stream".to_owned(), json!(true));
    members.insert("stream_options".to_owned(), stream_options);
    if is_vllm && !settings.respect_eos {
        members.insert("ignore_eos".to_owned(), json!(true));
    }
    members.extend(settings.extra_body.clone());
    members
}

/// The text of `response`, limited to the first `most` bytes.
pub(super) async fn beginning(
    mut response: reqwest::Response,
    most: usize,
) -> reqwest::Result<String> {
    let mut text = Vec::new();
    while text.len() < most
        && let Some(piece) = response.chunk().await?
    {
        text.extend_from_slice(&piece[..piece.len().min(most - text.len())]);
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The server's error message: the `message` of an error, or the beginning of the body.
pub(super) fn complaint(text: &str) -> String {
    let parsed: Value = serde_json::from_str(text).unwrap_or_default();
    let message = parsed["error"]["message"]
        .as_str()
        .or_else(|| parsed["message"].as_str())
        .unwrap_or(text);
    message.trim().chars().take(LONGEST_COMPLAINT).collect()
}

pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
