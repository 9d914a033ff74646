//! `Bound`: what limits an engine, in a prediction and in a measurement alike.

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
        /// None of the roofline's components: launches, scheduling, sampling, bubbles.
        Overhead = "overhead",
        /// Nothing ran.
        Idle = "idle",
        /// A fact is missing: the model, the GPU, or the engine itself.
        Unknown = "unknown",
    }
);
