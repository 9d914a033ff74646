//! `demo`: the whole pipeline on an embedded recording, looped at real speed.
//!
//! A loopback server answers as the recorded vLLM did, and `serve` scrapes it like any other.

use std::io::{Write, stderr};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;

use crate::capture::playback::Pages;
use crate::capture::read::Capture;
use crate::config::Settings;
use crate::config::flags::SettingsFlags;
use crate::sampler;
use crate::source::gpu::{GpuSource, Playback};
use crate::telemetry;
use roofline::spec::deployment::DeploymentFlags;
use roofline::units::Seconds;

use super::serve::{self, SidecarOrigin};
use super::usage::UsageError;

/// Arguments of `demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoArgs {
    /// Port of the recorded vLLM, on loopback [default: any free port]
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 0,
        hide_default_value = true
    )]
    pub vllm_port: u16,
    /// Settings of `serve`.
    #[command(flatten)]
    pub settings: SettingsFlags,
}

/// Runs the demo until a signal ends it.
///
/// # Errors
/// Invalid settings, or an address that cannot be bound.
pub fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let mut flags = args.settings.clone();
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 10860));
    flags.listen_address.get_or_insert(default);
    let settings = Settings::load(&flags)?;
    let log = telemetry::start(&settings.log).map_err(UsageError::of)?;
    let address = settings.web.listen_address;
    let capture = Capture::demo()?;
    let port = args.vllm_port;
    serve::block_on(async move {
        let recorded = play(capture, flags, port).await?;
        let vllm_url = &recorded.vllm_url;
        writeln!(
            stderr(),
            "recorded vLLM at {vllm_url}/metrics\nopen http://{address}/"
        )?;
        serve::serve(recorded, log, serve::terminated()).await
    })
}

/// Plays `capture` in a loop on the loopback port `port`, and returns what a sampler needs to read it. 0 is any free port.
///
/// # Errors
/// A port that cannot be bound.
pub(super) async fn play(
    capture: Capture,
    flags: SettingsFlags,
    port: u16,
) -> anyhow::Result<RecordedSidecar> {
    let started = sampler::now();
    let pages = Pages::of(&capture);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .with_context(|| {
            format!("cannot listen on 127.0.0.1:{port}; choose another --vllm-port")
        })?;
    let vllm_url = format!("http://{}", listener.local_addr()?);
    let recorded = RecordedSidecar {
        gpu_spans: (pages.origin, pages.length),
        started,
        vllm_url,
        flags,
        capture,
    };
    let player = Arc::new(RecordedVllm {
        pages,
        started,
        models: recorded.capture.manifest.v1_models.clone(),
    });
    tokio::spawn(async move { axum::serve(listener, vllm(player)).await });
    Ok(recorded)
}

/// The recording as vLLM and GPU sources, under the user's own settings.
pub(super) struct RecordedSidecar {
    flags: SettingsFlags,
    capture: Capture,
    vllm_url: String,
    /// Start of the recording, and its length in seconds.
    gpu_spans: (f64, f64),
    started: Seconds,
}

impl SidecarOrigin for RecordedSidecar {
    fn settings(&self) -> anyhow::Result<Settings> {
        let mut settings = Settings::load(&self.flags)?;
        settings.vllm_url = self.vllm_url.clone().into();
        describe(&mut settings, &self.capture)?;
        Ok(settings)
    }

    fn gpu(&self, _: &Settings) -> anyhow::Result<GpuSource> {
        let (origin, length) = self.gpu_spans;
        let facts = self.capture.manifest.gpu.clone().unwrap_or_default();
        let readings = self.capture.readings.clone();
        let playback = Playback::new(facts, readings, origin, length, self.started);
        Ok(GpuSource::Playback(Box::new(playback)))
    }
}

/// The deployment of the recording, overridden by the user's flags. Its model is written where discovery looks for it.
fn describe(settings: &mut Settings, capture: &Capture) -> anyhow::Result<()> {
    let recorded = DeploymentFlags::from_vllm_command_line(&capture.manifest.vllm_args)?;
    let own = settings.deployment.clone();
    settings.deployment = recorded.overridden_by(own.clone());
    if own.model.is_none() {
        settings.model_config.clone_from(&capture.model_config);
    }
    Ok(())
}

/// A server that answers like the recorded vLLM.
struct RecordedVllm {
    pages: Pages,
    started: Seconds,
    models: serde_json::Value,
}

fn vllm(player: Arc<RecordedVllm>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route(
            "/v1/models",
            get(|State(player): State<Arc<RecordedVllm>>| async move { Json(player.models.clone()) }),
        )
        .route("/health", get(|| async {}))
        .with_state(player)
}

async fn metrics(State(player): State<Arc<RecordedVllm>>) -> impl IntoResponse {
    let page = player.pages.at((sampler::now() - player.started).0);
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        page,
    )
}
