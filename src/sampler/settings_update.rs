//! What a reload hands to the sampler: made and checked, so that taking it up cannot fail.

use crate::address::Address;
use crate::config::{Settings, Tables};
use crate::snapshot::Reload;
use crate::source::gpu::GpuSource;
use crate::source::vllm::VllmSource;

/// How a reload went, to be shown, and what is new with it.
#[derive(Debug)]
pub struct ReloadCommand {
    /// How it went.
    pub reload: Reload,
    /// What is new; nothing where it failed, or where only the server has something new.
    pub settings_update: Option<Box<SettingsUpdate>>,
}

/// New settings, and what has to be new with them. What did not change stays as it is, with all it counted.
#[derive(Debug)]
pub struct SettingsUpdate {
    /// The settings.
    pub settings: Settings,
    /// Every vLLM that is read from now on.
    pub servers: Vec<ServerUpdate>,
    /// The GPU source.
    pub gpu: Option<GpuSource>,
    /// GPUs and coefficients.
    pub tables: Tables,
    /// Whether model, deployment and GPUs are to be looked for anew.
    pub facts_changed: bool,
}

/// A vLLM that is read from now on.
#[derive(Debug)]
pub struct ServerUpdate {
    /// Where it is.
    pub url: Address,
    /// How it is read.
    pub vllm: VllmSource,
    /// Whether that is new.
    pub is_new: bool,
}
