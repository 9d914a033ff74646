//! `serve`: the sidecar.

use std::future::Future;
use std::net::TcpListener;
use std::sync::Arc;

use anyhow::Context;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Settings;
use crate::config::flags::SettingsFlags;
use crate::sampler::Sampler;
use crate::server::access::Access;
use crate::server::{self, Site};
use crate::source::gpu::GpuSource;
use crate::spec::gpu::GpuTable;
use crate::telemetry;

use super::gpu_source;
use super::usage::UsageError;

/// Arguments of `serve`.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArgs {
    /// Check the settings and the files they name, and exit
    #[arg(long = "config.check")]
    pub config_check: bool,
    /// Everything that can be set.
    #[command(flatten)]
    pub settings: SettingsFlags,
}

/// Runs the sidecar until it is told to stop.
///
/// # Errors
/// Wrong settings, or an address that cannot be listened on.
pub fn run(args: &ServeArgs) -> anyhow::Result<()> {
    let settings = Settings::load(&args.settings)?;
    check(&settings)?;
    if args.config_check {
        return Ok(());
    }
    telemetry::start(&settings.log).map_err(UsageError::of)?;
    let gpu = gpu_source::open(&settings)?;
    block_on_this_thread(serve(settings, gpu, terminated()))
}

/// Runs `future` on the current thread: a sidecar's work is a thousandth of a core, and every thread more costs memory and wake-ups.
/// What takes long is elsewhere: NVML on its thread, passwords and names of hosts on threads that end.
///
/// # Errors
/// Those of `future`, or of a system without timers or sockets.
fn block_on_this_thread<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    finished(Builder::new_current_thread(), future)
}

/// Runs `future` on a small runtime, for what shares it with a load or with a server of its own.
///
/// # Errors
/// Those of `future`, or of a system without threads.
pub fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2);
    finished(builder, future)
}

fn finished<T>(
    mut builder: Builder,
    future: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    builder
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(future)
}

/// Checks the files and tables that `settings` name.
///
/// # Errors
/// What is wrong with the first of them that cannot be used.
pub fn check(settings: &Settings) -> Result<(), UsageError> {
    access(settings)?;
    gpu_table(settings).map(drop)
}

/// Who may read our pages.
fn access(settings: &Settings) -> Result<Access, UsageError> {
    match &settings.web.config.file {
        Some(file) => Access::read(file).map_err(UsageError::new),
        None => Ok(Access::default()),
    }
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
    let access = access(&settings)?;
    let address = settings.web.listen_address;
    let listener = TcpListener::bind(address).with_context(|| {
        format!("cannot listen on {address}; choose another with --web.listen-address")
    })?;
    let table = gpu_table(&settings)?;
    let (sampler, published) =
        Sampler::new(settings.clone(), table, gpu).map_err(UsageError::of)?;
    let local = listener.local_addr()?;
    let scheme = if access.tls.is_some() {
        "https"
    } else {
        "http"
    };
    tracing::info!(vllm = settings.vllm_url, "serving on {scheme}://{local}");
    let sampling = tokio::spawn(sampler.run());
    let site = Site {
        published,
        settings: Arc::new(settings),
    };
    let served = server::run(listener, site, access, shutdown).await;
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
