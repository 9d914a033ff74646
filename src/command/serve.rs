//! `serve`: the sidecar.

use std::future::Future;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Settings;
use crate::config::flags::SettingsFlags;
use crate::sampler::Sampler;
use crate::server::{self, Site};
use crate::source::gpu::GpuSource;
use crate::spec::gpu::GpuTable;
use crate::telemetry;

use super::gpu_source;
use super::usage::UsageError;

/// Runs the sidecar until it is told to stop.
///
/// # Errors
/// Wrong settings, or an address that cannot be listened on.
pub fn run(flags: &SettingsFlags) -> anyhow::Result<()> {
    let settings = Settings::load(flags)?;
    telemetry::start(&settings.log).map_err(UsageError::of)?;
    let gpu = gpu_source::open(&settings)?;
    block_on(serve(settings, gpu, terminated()))
}

/// Runs `future` on a small runtime: the work is a fraction of a core, and two threads keep a slow scrape from delaying a tick.
///
/// # Errors
/// Those of `future`, or of a system without threads.
pub fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(future)
}

/// The table of GPUs with the user's additions.
///
/// # Errors
/// Additions that are no GPUs.
pub fn gpu_table(settings: &Settings) -> Result<GpuTable, UsageError> {
    let table = GpuTable::embedded().map_err(UsageError::of)?;
    if settings.gpus.is_empty() {
        return Ok(table);
    }
    // JSON is YAML.
    let additions = serde_json::json!({ "gpus": settings.gpus }).to_string();
    table
        .with_overrides(&additions)
        .map_err(|error| UsageError::of(format!("gpus: {error}")))
}

/// Serves `settings` with readings from `gpu` until `shutdown`.
///
/// # Errors
/// An address that cannot be listened on, or sources that cannot be set up.
pub async fn serve(
    settings: Settings,
    gpu: GpuSource,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let address = settings.web.listen_address;
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; choose another with --web.listen-address")
    })?;
    let table = gpu_table(&settings)?;
    let (sampler, published) =
        Sampler::new(settings.clone(), table, gpu).map_err(UsageError::of)?;
    let local = listener.local_addr()?;
    tracing::info!(vllm = settings.vllm_url, "serving on http://{local}");
    let sampling = tokio::spawn(sampler.run());
    let site = Site {
        published,
        settings: Arc::new(settings),
    };
    let served = server::run(listener, site, shutdown).await;
    sampling.abort();
    served.context("the server failed")
}

/// Ends with SIGTERM (Kubernetes) or SIGINT (a terminal).
pub async fn terminated() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
}
