//! The GPU source that the settings ask for.

use crate::config::{GpuSource as Choice, Settings};
use crate::source::gpu::GpuSource;

use super::usage::UsageError;

/// What running without a GPU source leaves out.
const WITHOUT: &str = "no GPU is read: no measured HBM bytes, energy or clocks, so ceilings are the datasheet's; --gpu names the GPU for its roof";

/// Starts the source that `settings` ask for. `auto` takes NVML if its library can be loaded, else none; which, is said once.
///
/// # Errors
/// A source that this build does not have.
pub(super) fn open(settings: &Settings) -> Result<GpuSource, UsageError> {
    match settings.gpu_source {
        Choice::None => Ok(GpuSource::None),
        Choice::Nvml => nvml(settings),
        Choice::Dcgm => Err(UsageError::of("gpu-source dcgm is not built in")),
        Choice::Auto => auto(settings),
    }
}

#[cfg(feature = "nvml")]
fn auto(settings: &Settings) -> Result<GpuSource, UsageError> {
    match crate::source::gpu::NvmlSource::library() {
        Ok(()) => nvml(settings),
        Err(error) => {
            tracing::info!("{WITHOUT} ({error})");
            Ok(GpuSource::None)
        }
    }
}

#[cfg(not(feature = "nvml"))]
fn auto(_settings: &Settings) -> Result<GpuSource, UsageError> {
    tracing::info!("{WITHOUT} (this build has no NVML)");
    Ok(GpuSource::None)
}

#[cfg(feature = "nvml")]
fn nvml(settings: &Settings) -> Result<GpuSource, UsageError> {
    let devices = settings.gpu_devices.clone();
    let clock = crate::sampler::now;
    crate::source::gpu::NvmlSource::start(devices, settings.read_limit(), clock)
        .map(GpuSource::Nvml)
        .map_err(UsageError::of)
}

#[cfg(not(feature = "nvml"))]
fn nvml(_settings: &Settings) -> Result<GpuSource, UsageError> {
    Err(UsageError::of(
        "this build has no NVML; build it with the feature nvml, or use --gpu-source dcgm or none",
    ))
}
