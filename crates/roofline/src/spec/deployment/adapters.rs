//! `AdapterSlots`: the memory and the rank that vLLM reserves for LoRA adapters.

use super::DeploymentFlags;

/// vLLM's defaults of `--max-lora-rank` and `--max-loras`.
const DEFAULT_RANK: u64 = 16;
const DEFAULT_SLOTS: u64 = 1;

/// Slots for LoRA adapters. Its kernels compute every adapter at the rank of a slot, however small the adapter's own rank is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdapterSlots {
    /// Rank of a slot.
    pub rank: u64,
    /// Adapters that one step can use.
    pub slots: u64,
}

impl AdapterSlots {
    /// The slots of a server that runs with `flags`; `None` without `--enable-lora`.
    #[must_use]
    pub fn read(flags: &DeploymentFlags) -> Option<Self> {
        flags.enable_lora.then(|| Self {
            rank: flags.max_lora_rank.unwrap_or(DEFAULT_RANK),
            slots: flags.max_loras.unwrap_or(DEFAULT_SLOTS),
        })
    }
}
