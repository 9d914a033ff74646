//! The data that a reload passes to the sampler: already built and validated, so that applying it cannot fail.

use crate::address::Address;
use crate::config::{Settings, Tables};
use crate::snapshot::Reload;
use crate::source::gpu::GpuSource;
use crate::source::vllm::VllmSource;

/// The outcome of a reload, and the changed parts.
#[derive(Debug)]
pub struct ReloadCommand {
    /// The outcome, for display.
    pub reload: Reload,
    /// The changed parts; `None` if the reload failed, or if only the server changes.
    pub settings_update: Option<Box<SettingsUpdate>>,
}

/// New settings, and the parts rebuilt for them. Unchanged parts keep their state and counters.
#[derive(Debug)]
pub struct SettingsUpdate {
    /// The settings.
    pub settings: Settings,
    /// All vLLM servers to read.
    pub servers: Vec<ServerUpdate>,
    /// The GPU source.
    pub gpu: Option<GpuSource>,
    /// GPUs and coefficients.
    pub tables: Tables,
    /// Whether to search again for model, deployment and GPUs.
    pub facts_changed: bool,
}

/// A vLLM server to read.
#[derive(Debug)]
pub struct ServerUpdate {
    /// Its address.
    pub url: Address,
    /// Its source.
    pub vllm: VllmSource,
    /// Whether it is new.
    pub is_new: bool,
}
