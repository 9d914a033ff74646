//! `Coefficients`: the shares of the ceilings and the fixed costs that turn a bound into an expectation, each with its origin.
//!
//! The defaults were fitted to recordings of vLLM 0.25 on an H100 SXM (8B and 0.5B bf16, 7B AWQ without CUDA graphs): step times to
//! what clients saw, GPU times to the share of time in which GPM saw a kernel run. On any other GPU they are assumed.

use serde::{Deserialize, Deserializer, Serialize};

use crate::spec::gpu::{GpuSpec, Origin};

/// The GPU that the defaults were fitted on.
const FITTED_ON: &str = "h100-sxm5-80gb";
/// Costs that only engines over several GPUs have; the fit had one.
pub const BETWEEN_GPUS: [&str; 2] = ["nvlink_latency_seconds", "pcie_latency_seconds"];

/// A coefficient and where its value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Coefficient {
    /// In the unit that its name says.
    pub value: f64,
    /// Measured on the GPU at hand, stated by the user, or assumed to carry over.
    pub origin: Origin,
}

impl Coefficient {
    /// What was seen on the GPU at hand.
    #[must_use]
    pub const fn calibrated(value: f64) -> Self {
        Self {
            value,
            origin: Origin::Calibrated,
        }
    }
}

/// In a file: a number, which is then stated, or a value with its origin.
#[derive(Deserialize)]
#[serde(untagged)]
enum InFile {
    Number(f64),
    Full { value: f64, origin: Origin },
}

impl<'de> Deserialize<'de> for Coefficient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match InFile::deserialize(deserializer)? {
            InFile::Number(value) => Self {
                value,
                origin: Origin::Stated,
            },
            InFile::Full { value, origin } => Self { value, origin },
        })
    }
}

macro_rules! coefficients {
    ($($(#[$doc:meta])* $name:ident = $default:expr,)*) => {
        /// Fixed costs and shares. A file of the same form replaces those that it names.
        #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Coefficients {
            /// Attainable share of memory bandwidth; absent: the GPU's own.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub hbm_fraction: Option<Coefficient>,
            /// Attainable share of compute peaks; absent: the GPU's own.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub flops_fraction: Option<Coefficient>,
            $($(#[$doc])* pub $name: Coefficient,)*
        }

        impl Default for Coefficients {
            fn default() -> Self {
                Self {
                    hbm_fraction: None,
                    flops_fraction: None,
                    $($name: Coefficient { value: $default, origin: Origin::Assumed },)*
                }
            }
        }

        impl Coefficients {
            /// These on `gpu`: on the one that they were fitted on, what was assumed is measured.
            #[must_use]
            pub fn on(mut self, gpu: &GpuSpec) -> Self {
                if gpu.id == FITTED_ON {
                    $(if self.$name.origin == Origin::Assumed && !BETWEEN_GPUS.contains(&stringify!($name)) {
                        self.$name.origin = Origin::Measured;
                    })*
                }
                self
            }

            /// All of them but the two shares of the ceilings.
            #[must_use]
            pub fn costs(&self) -> Vec<(&'static str, Coefficient)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

coefficients! {
    /// Share of the peak at the running clock that large multiplications reach.
    clock_fraction = 0.9,
    /// Share of the attainable compute that a model's mix of shapes reaches under the power cap.
    compute_efficiency = 0.8,
    /// Seconds of a step's kernels outside its layers.
    seconds_per_step = 0.35e-3,
    /// Seconds of the small kernels of a layer.
    seconds_per_layer = 30e-6,
    /// Tokens that attention reads beside those of a sequence: its tiles are read in whole, and each is waited for.
    attention_extra_tokens = 160.0,
    /// Bytes that sampling moves per logit.
    sampling_bytes_per_logit = 16.0,
    /// Seconds that the engine's process needs per step.
    engine_seconds_per_step = 2.1e-3,
    /// Seconds that it needs per layer without CUDA graphs (`--enforce-eager`), which it then launches one by one.
    engine_seconds_per_eager_layer = 550e-6,
    /// Seconds that it needs per sequence and step.
    engine_seconds_per_sequence = 10e-6,
    /// Seconds that the API server and its clients need per token put out.
    frontend_seconds_per_output_token = 55e-6,
    /// Seconds that they need per token of a prompt.
    frontend_seconds_per_prompt_token = 2.9e-6,
    /// Seconds from a request to its first step, and from that to the client: HTTP, tokenising, kernels of an odd shape.
    seconds_per_request = 11e-3,
    /// Latency of a collective over NVLink.
    nvlink_latency_seconds = 8e-6,
    /// The same over PCI Express.
    pcie_latency_seconds = 30e-6,
}

impl Coefficients {
    /// Those found by calibration, by name; none without it.
    #[must_use]
    pub fn calibrated(&self) -> Vec<(&'static str, f64)> {
        let shares = self.hbm_fraction.map(|share| ("hbm_fraction", share));
        shares
            .into_iter()
            .chain(self.costs())
            .filter(|(_, coefficient)| coefficient.origin == Origin::Calibrated)
            .map(|(name, coefficient)| (name, coefficient.value))
            .collect()
    }

    /// Whether any of them was found by calibration.
    #[must_use]
    pub fn is_calibrated(&self) -> bool {
        !self.calibrated().is_empty()
    }

    /// What makes no sense in them, if anything.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let share = |name: &'static str, coefficient: Option<Coefficient>| {
            let bad = coefficient.filter(|share| !(share.value > 0.0 && share.value <= 1.0));
            bad.map(|share| {
                format!(
                    "{name} is {}; it must be above 0 and at most 1",
                    share.value
                )
            })
        };
        let cost = |(name, cost): (&'static str, Coefficient)| {
            let good = cost.value >= 0.0 && cost.value.is_finite();
            (!good).then(|| format!("{name} is {}; it must not be negative", cost.value))
        };
        share("hbm_fraction", self.hbm_fraction)
            .or_else(|| share("flops_fraction", self.flops_fraction))
            .or_else(|| share("clock_fraction", Some(self.clock_fraction)))
            .or_else(|| share("compute_efficiency", Some(self.compute_efficiency)))
            .or_else(|| self.costs().into_iter().find_map(cost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::gpu::GpuTable;

    fn read(text: &str) -> Coefficients {
        serde_json::from_str(text).expect("valid")
    }

    #[test]
    fn a_file_replaces_what_it_names_and_each_keeps_its_origin() {
        let file = read(
            r#"{"hbm_fraction": 0.85, "seconds_per_layer": {"value": 1e-5, "origin": "measured"}}"#,
        );
        let origins = (
            file.hbm_fraction.map(|fraction| fraction.origin),
            file.seconds_per_layer.origin,
            file.seconds_per_step.origin,
        );
        assert_eq!(
            origins,
            (Some(Origin::Stated), Origin::Measured, Origin::Assumed)
        );
        let table = GpuTable::embedded().expect("parses");
        let on = |gpu: &str| {
            file.on(table.find(gpu).expect("known"))
                .seconds_per_step
                .origin
        };
        assert_eq!((on("H100"), on("T4")), (Origin::Measured, Origin::Assumed));
        let h100 = file.on(table.find("H100").expect("known"));
        assert_eq!(h100.nvlink_latency_seconds.origin, Origin::Assumed);
    }

    #[test]
    fn nonsense_is_named() {
        assert_eq!(Coefficients::default().problem(), None);
        for (text, part) in [
            (r#"{"hbm_fraction": 1.5}"#, "hbm_fraction is 1.5"),
            (r#"{"seconds_per_step": -1}"#, "must not be negative"),
        ] {
            let problem = read(text).problem().expect("nonsense");
            assert!(problem.contains(part), "{problem}");
        }
    }
}
