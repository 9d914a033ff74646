//! The states of an engine: what bounds it, what keeps requests waiting, what it is doing. A prediction and a measurement share them.

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
        /// No kernel ran: the GPU waited for the engine's process, its scheduler, an API server or a launch.
        Host = "host",
        /// A kernel ran that neither compute, memory nor links explain: small kernels, dequantisation, low occupancy.
        KernelLatency = "kernel_latency",
        /// Host or kernel latency, where nothing tells the two apart.
        Overhead = "overhead",
        /// Nothing ran.
        Idle = "idle",
        /// A fact is missing: the model, the GPU, or the engine itself.
        Unknown = "unknown",
    }
);

states!(
    /// What keeps waiting requests out.
    Admission {
        /// Nothing: no request waits.
        Open = "open",
        /// The KV cache is full.
        KvCapacity = "kv_capacity",
        /// As many requests run as `--max-num-seqs` allows.
        MaxNumSeqs = "max_num_seqs",
        /// The step's token budget, `--max-num-batched-tokens`.
        TokenBudget = "token_budget",
        /// Requests wait beside free KV, and `--max-num-seqs` is not known.
        Unknown = "unknown",
    }
);

states!(
    /// What the engine is doing.
    EngineState {
        /// Requests run and something moves.
        Running = "running",
        /// No request.
        Idle = "idle",
        /// Requests run and nothing moves.
        Stalled = "stalled",
        /// Put to sleep: weights are off the GPU.
        Sleeping = "sleeping",
        /// Its page cannot be read.
        Unreachable = "unreachable",
    }
);

states!(
    /// Which kind of bytes is most of the traffic.
    Dominant {
        /// Weights.
        Weights = "weights",
        /// The KV cache, or the recurrent state that stands in its place.
        Kv = "kv",
        /// Activations.
        Activations = "activations",
    }
);

/// Where the seconds of a span went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TimeSeconds {
    /// Steps bound by the tensor cores.
    pub compute: Seconds,
    /// Steps bound by HBM.
    pub memory: Seconds,
    /// Collectives.
    pub communication: Seconds,
    /// No kernel ran though a request was running: the GPU waited for the host. Absent where nothing measures it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Seconds>,
    /// A kernel ran that the roofline does not explain. Absent where nothing measures it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_latency: Option<Seconds>,
    /// Either of the two, where nothing tells them apart.
    pub overhead: Seconds,
    /// No request running.
    pub idle: Seconds,
    /// Requests running, nothing moving.
    pub stalled: Seconds,
}

impl TimeSeconds {
    /// The components there are, with their label values.
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
}
