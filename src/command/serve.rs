//! `serve`: runs the sidecar.

use std::future::Future;
use std::net::TcpListener;
use std::sync::Arc;

use anyhow::Context;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::config::Settings;
use crate::config::flags::SettingsFlags;
use crate::sampler::Sampler;
use crate::server::web_config_handle::{ActiveWebConfig, WebConfigHandle};
use crate::server::{self, Site};
use crate::source::gpu::GpuSource;
use crate::source::http::bearer;
use crate::source::lookup::find_config;
use crate::source::vllm::VllmSource;
use crate::telemetry::{self, LogLevel};
use roofline::spec::deployment::Deployment;
use roofline::spec::model::ModelSpec;

use super::reload::Reloading;
use super::usage::UsageError;
use super::{gpu_source, local_vllm};

/// Maximum number of threads for blocking work: host names and passwords.
const MOST_THREADS: usize = 16;

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

/// Provides the parts of a sidecar: at the start, and again at each reload.
pub trait SidecarOrigin: Send + 'static {
    /// The current settings.
    ///
    /// # Errors
    /// Invalid settings.
    fn settings(&self) -> anyhow::Result<Settings>;

    /// The GPU source that `settings` select.
    ///
    /// # Errors
    /// A source that is not available.
    fn gpu(&self, settings: &Settings) -> anyhow::Result<GpuSource>;
}

impl SidecarOrigin for SettingsFlags {
    fn settings(&self) -> anyhow::Result<Settings> {
        let mut settings = Settings::load(self)?;
        if let Some(found) = local_vllm::find(self, &mut settings)? {
            tracing::info!("{found}");
        }
        Ok(settings)
    }

    fn gpu(&self, settings: &Settings) -> anyhow::Result<GpuSource> {
        Ok(gpu_source::open(settings)?)
    }
}

/// Runs the sidecar until a signal ends it.
///
/// # Errors
/// Invalid settings, or an address that cannot be bound.
pub fn run(args: &ServeArgs) -> anyhow::Result<()> {
    let settings = Settings::load(&args.settings)?;
    if args.config_check {
        return Ok(check_everything(&settings)?);
    }
    let log = telemetry::start(&settings.log).map_err(UsageError::of)?;
    block_on_this_thread(serve(args.settings.clone(), log, terminated()))
}

/// Runs `future` on the current thread: a sidecar needs a thousandth of a core, and every extra thread costs memory and wake-ups. Blocking
/// work runs elsewhere: the sampler and NVML on their own threads, passwords and host names on threads that end.
///
/// # Errors
/// Those of `future`, or of a system without timers or sockets.
pub(super) fn block_on_this_thread<T>(
    future: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    finished(Builder::new_current_thread(), future)
}

/// Runs `future` on a small runtime, for commands that also run a load or their own server.
///
/// # Errors
/// Those of `future`, or of a system without threads.
pub fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2);
    finished(builder, future)
}

/// Runs `sampling` on a separate thread, so that no page, however long it takes, delays the answers to probes and scrapers, and these delay
/// no tick. It ends with the program.
fn spawn_sampler(sampling: impl Future<Output = ()> + Send + 'static) -> anyhow::Result<()> {
    let run = || {
        let ran = block_on_this_thread(async {
            sampling.await;
            Ok(())
        });
        ran.inspect_err(|error| tracing::error!("the sampler failed: {error:#}"))
    };
    std::thread::Builder::new()
        .name("sampler".to_owned())
        .spawn(run)
        .context("cannot start the thread of the sampler")?;
    Ok(())
}

fn finished<T>(
    mut builder: Builder,
    future: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let runtime = builder
        .enable_all()
        .max_blocking_threads(MOST_THREADS)
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(future);
    // A name server that never answers must not delay the exit.
    runtime.shutdown_background();
    result
}

/// Checks the files and tables that `settings` name.
///
/// # Errors
/// The first unusable one, with its problem.
pub fn check(settings: &Settings) -> Result<(), UsageError> {
    rules(settings)?;
    telemetry::filter(&settings.log).map_err(UsageError::of)?;
    for url in settings.vllm_url.iter() {
        VllmSource::new(url, &settings.vllm_request_options()).map_err(UsageError::of)?;
    }
    settings.tables().map(drop).map_err(UsageError::new)
}

/// Checks everything that `settings` name before anything runs: in addition to [`check`], what `serve` would only report as missing.
fn check_everything(settings: &Settings) -> Result<(), UsageError> {
    check(settings)?;
    if let Some(file) = &settings.vllm_api_key_file {
        bearer(file).map_err(UsageError::new)?;
    }
    if let Some(url) = &settings.dcgm_url {
        gpu_source::dcgm(settings, url)?;
    }
    let table = settings.tables().map_err(UsageError::new)?.gpus;
    let named = settings.gpu.as_deref().filter(|&name| name != "none");
    let gpu = named
        .map(|name| table.find(name).cloned())
        .transpose()
        .map_err(|error| UsageError::of(format_args!("gpu: {error}")))?;
    let Some(model) = &settings.deployment.model else {
        return Ok(());
    };
    let (path, text) = find_config(model).map_err(UsageError::new)?;
    let of_file = |error: String| UsageError::of(format_args!("{}: {error}", path.display()));
    let model = ModelSpec::from_json(&text).map_err(|error| of_file(error.to_string()))?;
    Deployment::new(model, gpu, &settings.deployment)
        .map(drop)
        .map_err(|error| of_file(error.to_string()))
}

/// The web configuration: who may read our pages.
pub(super) fn rules(settings: &Settings) -> Result<ActiveWebConfig, UsageError> {
    ActiveWebConfig::read(settings.web.config.file.as_deref()).map_err(UsageError::new)
}

/// Serves with the parts of `origin` until `shutdown`, with the `log` that was started.
///
/// # Errors
/// Invalid settings, an address that cannot be bound, or sources that cannot be set up.
pub async fn serve(
    origin: impl SidecarOrigin,
    log: LogLevel,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let settings = origin.settings()?;
    let rules = rules(&settings)?;
    let tables = settings.tables()?;
    let gpu = origin.gpu(&settings)?;
    let (sampler, published) =
        Sampler::new(settings.clone(), &tables, gpu).map_err(UsageError::of)?;
    #[cfg(feature = "otlp")]
    let _pushing = telemetry::otlp::start(published.clone()).map_err(UsageError::of)?;
    // From here on SIGHUP means reload, not exit.
    let hangups = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let address = settings.web.listen_address;
    let listener = TcpListener::bind(address).with_context(|| {
        format!("cannot listen on {address}; choose another with --web.listen-address")
    })?;
    let local = listener.local_addr()?;
    tracing::info!(
        "serving on {}://{local} for vLLM at {}",
        rules.scheme(),
        settings.vllm_url
    );
    let web_config_handle = WebConfigHandle::new(rules);
    let (in_force, settings) = watch::channel(Arc::new(settings));
    let (orders, taken) = mpsc::channel(1);
    let reloading = Reloading::new(origin, log, web_config_handle.clone(), in_force, orders);
    spawn_sampler(sampler.run(reloading.newest(), taken))?;
    let reloading = tokio::spawn(reloading.run(hangups));
    let site = Site {
        published,
        settings,
    };
    let served = server::run(listener, site, web_config_handle, shutdown).await;
    reloading.abort();
    served.context("the server failed")
}

/// Returns on SIGTERM (Kubernetes) or SIGINT (a terminal).
pub(crate) async fn terminated() {
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
