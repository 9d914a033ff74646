//! A sampler without a server, for `top` and `diagnose`.

use tokio::sync::mpsc;

use crate::config::Settings;
use crate::sampler::{Receiver, Sampler, now};
use crate::snapshot::Reload;
use crate::source::gpu::GpuSource;

use super::gpu_source;
use super::usage::UsageError;

/// Samples with `settings` until the receiver is dropped. Needs a runtime.
///
/// # Errors
/// Sources that cannot be set up.
pub(super) fn start(settings: Settings) -> anyhow::Result<Receiver> {
    let gpu = gpu_source::open(&settings)?;
    start_with(settings, gpu)
}

/// The same with the GPU source `gpu`.
///
/// # Errors
/// Sources that cannot be set up.
pub(super) fn start_with(settings: Settings, gpu: GpuSource) -> anyhow::Result<Receiver> {
    let tables = settings.tables()?;
    let (sampler, published) = Sampler::new(settings, &tables, gpu).map_err(UsageError::of)?;
    tokio::spawn(async move {
        // There are no reloads; the sender lives as long as the sampler, which waits on both.
        let (_orders, taken) = mpsc::channel(1);
        let started = Reload {
            successful: true,
            last_success: now(),
        };
        sampler.run(started, taken).await;
    });
    Ok(published)
}
