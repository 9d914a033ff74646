//! The GPU source: anything that provides readings of GPUs.

mod dcgm;
mod error;
#[cfg(feature = "nvml")]
mod nvml;
mod playback;

pub use dcgm::{DcgmSource, Selection};
pub use error::GpuError;
#[cfg(feature = "nvml")]
pub use nvml::NvmlSource;
pub use playback::Playback;

use crate::sample::gpu::{GpuIdentity, GpuReading};
use roofline::units::Seconds;

/// A source of GPU readings.
#[derive(Debug)]
pub enum GpuSource {
    /// None, with the reason: a normal mode of operation.
    None(String),
    /// The driver's own library.
    #[cfg(feature = "nvml")]
    Nvml(NvmlSource),
    /// A dcgm-exporter.
    Dcgm(Box<DcgmSource>),
    /// A recording, played in a loop.
    Playback(Box<Playback>),
}

/// The result of reading the GPUs. A GPU that fails affects only its own reading.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GpuReadResult {
    /// Readings since the last call.
    pub readings: Vec<GpuReading>,
    /// The first error.
    pub problem: Option<GpuError>,
}

impl From<GpuError> for GpuReadResult {
    fn from(error: GpuError) -> Self {
        Self {
            readings: Vec::new(),
            problem: Some(error),
        }
    }
}

impl GpuSource {
    /// The label `source`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::None(_) => "none",
            #[cfg(feature = "nvml")]
            Self::Nvml(_) => "nvml",
            Self::Dcgm(_) => "dcgm",
            Self::Playback(_) => "capture",
        }
    }

    /// All reasons for which it can fail.
    #[must_use]
    pub const fn reasons(&self) -> &'static [&'static str] {
        match self {
            #[cfg(feature = "nvml")]
            Self::Nvml(_) => &GpuError::OF_NVML,
            Self::Dcgm(_) => &GpuError::OF_DCGM,
            Self::None(_) | Self::Playback(_) => &[],
        }
    }

    /// The known GPUs, as of the last read.
    #[must_use]
    pub fn facts(&self) -> Vec<GpuIdentity> {
        match self {
            Self::None(_) => Vec::new(),
            #[cfg(feature = "nvml")]
            Self::Nvml(source) => source.facts(),
            Self::Dcgm(source) => source.facts(),
            Self::Playback(playback) => playback.facts(),
        }
    }

    /// The readings since the last call, dated by `clock`.
    pub async fn read(&mut self, clock: fn() -> Seconds) -> GpuReadResult {
        match self {
            Self::None(_) => GpuReadResult::default(),
            #[cfg(feature = "nvml")]
            Self::Nvml(source) => source.read().await,
            Self::Dcgm(source) => source.read(clock).await,
            Self::Playback(playback) => GpuReadResult {
                readings: playback.read(clock()),
                problem: None,
            },
        }
    }
}
