//! Opens the GPU source that the settings select.

use crate::address::Address;
use crate::config::{GpuSourceSetting, Settings};
#[cfg(feature = "nvml")]
use crate::source::gpu::NvmlSource;
use crate::source::gpu::{DcgmSource, GpuSource, Selection};

use super::usage::UsageError;

/// What is absent without a GPU source.
const WITHOUT: &str = "no GPU is read: no measured HBM bytes, energy or clocks, so ceilings are the datasheet's; --gpu names the GPU for its roof";

/// Starts the source that `settings` select. `auto` uses NVML if its library can be loaded, otherwise the dcgm-exporter if its URL is set,
/// otherwise none; the choice is logged once.
///
/// # Errors
/// A source that this build does not support, or an invalid URL.
pub(super) fn open(settings: &Settings) -> Result<GpuSource, UsageError> {
    match settings.gpu_source {
        GpuSourceSetting::None => Ok(none("gpu-source is none")),
        GpuSourceSetting::Nvml => nvml(settings),
        GpuSourceSetting::Dcgm => match &settings.dcgm_url {
            Some(url) => dcgm(settings, url),
            None => Err(UsageError::of(
                "gpu-source is dcgm, and dcgm-url is not set",
            )),
        },
        GpuSourceSetting::Auto => auto(settings),
    }
}

fn auto(settings: &Settings) -> Result<GpuSource, UsageError> {
    let error = match library() {
        Ok(()) => return nvml(settings),
        Err(error) => error,
    };
    if let Some(url) = &settings.dcgm_url {
        tracing::info!("GPUs are read from the dcgm-exporter: {error}");
        return dcgm(settings, url);
    }
    Ok(none(&error))
}

/// No source; logs once what is absent without it.
fn none(why: &str) -> GpuSource {
    let note = format!("{WITHOUT} ({why})");
    tracing::info!("{note}");
    GpuSource::None(note)
}

pub(super) fn dcgm(settings: &Settings, url: &Address) -> Result<GpuSource, UsageError> {
    let selection = Selection {
        devices: settings.gpu_devices.clone(),
        pod: settings.dcgm_pod.clone(),
    };
    DcgmSource::new(url, selection, &settings.dcgm_request_options())
        .map(|source| GpuSource::Dcgm(Box::new(source)))
        .map_err(UsageError::of)
}

#[cfg(feature = "nvml")]
fn library() -> Result<(), String> {
    NvmlSource::library().map_err(|error| error.to_string())
}

#[cfg(not(feature = "nvml"))]
fn library() -> Result<(), String> {
    Err("this build has no NVML".to_owned())
}

#[cfg(feature = "nvml")]
fn nvml(settings: &Settings) -> Result<GpuSource, UsageError> {
    let devices = settings.gpu_devices.clone();
    NvmlSource::start(devices, settings.read_limit(), crate::sampler::now)
        .map(GpuSource::Nvml)
        .map_err(UsageError::of)
}

#[cfg(not(feature = "nvml"))]
fn nvml(_settings: &Settings) -> Result<GpuSource, UsageError> {
    Err(UsageError::of(
        "this build has no NVML; build it with the feature nvml, or use --gpu-source dcgm or none",
    ))
}
