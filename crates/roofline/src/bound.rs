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

states!(
    /// What bounds the engine.
    Bound {
        /// The tensor cores, at the ceiling of the current clock.
        Compute = "compute",
        /// HBM bandwidth.
        MemoryBandwidth = "memory_bandwidth",
        /// Links between GPUs.
        Interconnect = "interconnect",
        /// None of the roofline's components: launches, scheduling, sampling, bubbles.
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
    /// Busy time the roofline does not explain.
    pub overhead: Seconds,
    /// No request running.
    pub idle: Seconds,
    /// Requests running, nothing moving.
    pub stalled: Seconds,
}

impl TimeSeconds {
    /// The components with their label values.
    #[must_use]
    pub const fn components(&self) -> [(&'static str, Seconds); 6] {
        [
            ("compute", self.compute),
            ("memory", self.memory),
            ("communication", self.communication),
            ("overhead", self.overhead),
            ("idle", self.idle),
            ("stalled", self.stalled),
        ]
    }
}
