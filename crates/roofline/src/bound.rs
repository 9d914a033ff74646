//! The states of an engine: what bounds it, why requests wait, what it is doing. Predictions and measurements share them.

use serde::{Deserialize, Serialize};

use crate::units::Seconds;

/// Declares an enumeration whose values are label values.
macro_rules! states {
    ($(#[$doc:meta])* $name:ident { $($(#[$state_doc:meta])* $state:ident = $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$state_doc])* #[serde(rename = $label)] $state,)*
        }

        impl $name {
            /// Every value, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$state,)*];

            /// The label value.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$state => $label,)*
                }
            }
        }
    };
}

pub(crate) use states;

states!(
    /// What bounds the engine.
    Bound {
        /// The tensor cores, at the ceiling of the current clock.
        Compute = "compute",
        /// HBM bandwidth.
        MemoryBandwidth = "memory_bandwidth",
        /// Links between GPUs.
        Interconnect = "interconnect",
        /// No kernel ran: the GPU waited for the engine's process, its scheduler, an API server or a kernel launch.
        Host = "host",
        /// A kernel ran that neither compute, memory nor links explain: small kernels, dequantisation, low occupancy.
        KernelLatency = "kernel_latency",
        /// Host or kernel latency, where no measurement separates the two.
        Overhead = "overhead",
        /// Nothing ran.
        Idle = "idle",
        /// A fact is missing: the model, the GPU, or the engine itself.
        Unknown = "unknown",
    }
);

states!(
    /// Why requests wait.
    Admission {
        /// Nothing: no request waits.
        Open = "open",
        /// The KV cache is full.
        KvCapacity = "kv_capacity",
        /// `--max-num-seqs` requests are running.
        MaxNumSeqs = "max_num_seqs",
        /// The step's token budget, `--max-num-batched-tokens`.
        TokenBudget = "token_budget",
        /// Requests wait although KV cache is free, and `--max-num-seqs` is unknown.
        Unknown = "unknown",
    }
);

states!(
    /// What the engine is doing.
    EngineState {
        /// Requests run and tokens are produced.
        Running = "running",
        /// No request.
        Idle = "idle",
        /// Requests run and no counter moves.
        Stalled = "stalled",
        /// Put to sleep: weights are off the GPU.
        Sleeping = "sleeping",
        /// Its metrics page cannot be read.
        Unreachable = "unreachable",
    }
);

states!(
    /// Which kind of bytes dominates the traffic.
    Dominant {
        /// Weights.
        Weights = "weights",
        /// The KV cache, or the recurrent state that replaces it.
        Kv = "kv",
        /// Activations.
        Activations = "activations",
    }
);

/// The seconds of a time span by component.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TimeSeconds {
    /// Steps bound by the tensor cores.
    pub compute: Seconds,
    /// Steps bound by HBM.
    pub memory: Seconds,
    /// Collectives.
    pub communication: Seconds,
    /// No kernel ran while a request was running: the GPU waited for the host. Absent without a measurement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Seconds>,
    /// A kernel ran that the roofline does not explain. Absent without a measurement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_latency: Option<Seconds>,
    /// Host or kernel latency, where no measurement separates the two.
    pub overhead: Seconds,
    /// No request running.
    pub idle: Seconds,
    /// Requests running without progress.
    pub stalled: Seconds,
}

impl TimeSeconds {
    /// The components that are present, with their label values.
    #[must_use]
    pub fn components(&self) -> Vec<(&'static str, Seconds)> {
        [
            ("compute", Some(self.compute)),
            ("memory", Some(self.memory)),
            ("communication", Some(self.communication)),
            ("host", self.host),
            ("kernel_latency", self.kernel_latency),
            ("overhead", Some(self.overhead)),
            ("idle", Some(self.idle)),
            ("stalled", Some(self.stalled)),
        ]
        .into_iter()
        .filter_map(|(name, seconds)| Some((name, seconds?)))
        .collect()
    }

    /// The components in which neither arithmetic, memory traffic nor links limit: what a fix would give back.
    #[must_use]
    pub fn wasted(&self) -> Vec<(&'static str, Seconds)> {
        let useful = ["compute", "memory", "communication"];
        let mut components = self.components();
        components.retain(|(name, _)| !useful.contains(name));
        components
    }
}
