//! Selects the coefficients by GPU generation and kernel for a deployment.

use super::generations::{ByFormat, ExpertKernelCoefficients, ExpertKernels, Generation};
use super::{Coefficient, Coefficients};
use crate::spec::deployment::Deployment;
use crate::spec::gpu::GpuSpec;
use crate::spec::model::{FeedForward, Mixer, Moe};
use crate::spec::precision::{ByPrecision, Precision};
use crate::spec::quantization::Scheme;

impl ExpertKernels {
    /// The kernel of `deployment`'s first layer with experts, by its name in the file; `None` for a dense model.
    fn of(&self, deployment: &Deployment) -> Option<(&'static str, ExpertKernelCoefficients)> {
        let layer = deployment
            .model
            .layers
            .iter()
            .find(|layer| matches!(layer.feed_forward, FeedForward::Experts(_)))?;
        let scheme = deployment
            .quantization
            .scheme_of(layer.index, Moe::EXPERT_MODULE);
        let blackwell = deployment
            .gpu
            .as_ref()
            .is_some_and(|gpu| gpu.peak(Precision::Fp4).is_some());
        Some(match (scheme, deployment.compute_precision(scheme)) {
            (None, _) => ("wide", self.wide),
            (Some(Scheme::Mxfp4), _) if blackwell => ("mxfp4", self.mxfp4),
            (_, Precision::Fp8 | Precision::Int8) => ("fp8", self.fp8),
            (_, Precision::Fp4) => ("nvfp4", self.nvfp4),
            _ => ("weight_only", self.weight_only),
        })
    }
}

/// The coefficients of the kernels that a deployment runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kernels {
    /// Share of the link for large all-reduces.
    pub all_reduce_large_fraction: Coefficient,
    /// Share of HBM bandwidth for dense weights and activations.
    pub weights: Coefficient,
    /// The same share for keys and values.
    pub kv_cache: Coefficient,
    /// Routed experts.
    pub experts: Option<Experts>,
    compute: ByPrecision<Coefficient>,
    /// Names in the file.
    names: KernelNames,
}

/// Routed experts of one deployment, with defaults filled in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Experts {
    /// Share of HBM bandwidth.
    pub memory: Coefficient,
    /// Maximum bytes per second.
    pub bytes_per_second: Option<Coefficient>,
    /// Share of the dense peak.
    pub compute: Coefficient,
    /// Fixed GPU time of a layer, seconds.
    pub seconds_per_layer: Coefficient,
    /// Time to launch a layer, seconds.
    pub launch_seconds_per_layer: Coefficient,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct KernelNames {
    weights: &'static str,
    kv_cache: &'static str,
    experts: &'static str,
}

impl Kernels {
    /// The coefficients of `deployment` on `gpu`, whose dense multiplications mostly compute in `main`.
    #[must_use]
    pub fn of(
        coefficients: &Coefficients,
        deployment: &Deployment,
        gpu: &GpuSpec,
        main: Precision,
    ) -> Self {
        let (generation, _) = coefficients.generations.of(gpu);
        let attainable = Coefficient {
            value: gpu.attainable_hbm.fraction,
            origin: gpu.attainable_hbm.origin,
        };
        let kv_name = kv_cache_kernel(deployment);
        let kv_cache = match kv_name {
            "latent" => generation.kv_cache.latent,
            "fp8" => generation.kv_cache.fp8,
            _ => generation.kv_cache.wide,
        };
        let own_weights = generation.weights.of(main).unwrap_or(attainable);
        // A stated share of the bandwidth scales all reads like the weights'.
        let memory = |own: Coefficient| match coefficients.hbm_fraction {
            Some(stated) => stated.times(own.value / own_weights.value),
            None => own,
        };
        let compute = |precision: Precision| match coefficients.flops_fraction {
            Some(stated) => stated.times(coefficients.compute_efficiency.value),
            None => own_compute(coefficients, &generation, gpu, precision),
        };
        let experts = generation.experts.of(deployment);
        Self {
            all_reduce_large_fraction: generation
                .all_reduce_large_fraction
                .unwrap_or(Coefficient::assumed(1.0)),
            weights: memory(own_weights),
            kv_cache: memory(kv_cache.unwrap_or(attainable)),
            compute: Precision::ALL
                .into_iter()
                .map(|precision| (precision, compute(precision)))
                .collect(),
            experts: experts.map(|(_, kernel)| {
                let filled = kernel.or(generation.experts.wide);
                let of_dense =
                    compute(main).value / own_compute(coefficients, &generation, gpu, main).value;
                Experts {
                    memory: memory(filled.memory.unwrap_or(attainable)),
                    bytes_per_second: filled.bytes_per_second,
                    compute: filled.compute.unwrap_or(compute(main)).times(of_dense),
                    seconds_per_layer: filled
                        .seconds_per_layer
                        .unwrap_or(Coefficient::assumed(0.0)),
                    launch_seconds_per_layer: filled
                        .launch_seconds_per_layer
                        .unwrap_or(Coefficient::assumed(0.0)),
                }
            }),
            names: KernelNames {
                weights: ByFormat::name(main),
                kv_cache: kv_name,
                experts: experts.map_or("", |(name, _)| name),
            },
        }
    }

    /// Share of the dense peak at `precision`.
    #[must_use]
    pub fn compute(&self, precision: Precision) -> f64 {
        self.compute.get(precision).map_or(1.0, |share| share.value)
    }

    /// `coefficients` with the shares replaced that only these kernels use: the KV cache's, and the experts' share of the compute peak.
    #[must_use]
    pub fn calibrated(
        &self,
        coefficients: Coefficients,
        gpu: &GpuSpec,
        (kv_cache, experts): (f64, f64),
    ) -> Coefficients {
        let mut changed = coefficients;
        let generation = changed.generations.of_mut(gpu);
        let scale = |share: &mut Option<Coefficient>, own: Option<f64>, factor: f64| {
            *share = own.map(|own| Coefficient::calibrated((own * factor).min(1.0)));
        };
        // Uses the entries of the file, not those of `self`, which `hbm_fraction` and `flops_fraction` have changed.
        let entry = generation.kv_cache.named_mut(self.names.kv_cache);
        let own = entry.map_or(gpu.attainable_hbm.fraction, |share| share.value);
        scale(entry, Some(own), kv_cache);
        if self.experts.is_some() {
            let usual = generation.experts.wide.compute;
            let entry = &mut generation.experts.named_mut(self.names.experts).compute;
            let own = entry.or(usual).map(|share| share.value);
            scale(entry, own, experts);
        }
        changed
    }

    /// All coefficients by their name in the file, below the generation.
    #[must_use]
    pub fn named(&self) -> Vec<(String, Coefficient)> {
        let KernelNames {
            weights,
            kv_cache,
            experts,
        } = self.names;
        let mut named = vec![
            (
                "all_reduce_large_fraction".to_owned(),
                self.all_reduce_large_fraction,
            ),
            (format!("weights.{weights}"), self.weights),
            (format!("kv_cache.{kv_cache}"), self.kv_cache),
        ];
        for precision in [Precision::Bf16, Precision::Fp8, Precision::Fp4] {
            let name = ByFormat::name(precision);
            if let Some(share) = self
                .compute
                .get(precision)
                .filter(|_| name == "wide" || name == weights)
            {
                named.push((format!("compute.{name}"), share));
            }
        }
        if let Some(kernel) = self.experts {
            let of = |field: &str| format!("experts.{experts}.{field}");
            named.extend([
                (of("memory"), kernel.memory),
                (of("compute"), kernel.compute),
                (of("seconds_per_layer"), kernel.seconds_per_layer),
                (
                    of("launch_seconds_per_layer"),
                    kernel.launch_seconds_per_layer,
                ),
            ]);
            named.extend(
                kernel
                    .bytes_per_second
                    .map(|most| (of("bytes_per_second"), most)),
            );
        }
        named
    }
}

/// The share of the peak that the file states, otherwise the GPU's attainable share for a model's mix of shapes.
fn own_compute(
    coefficients: &Coefficients,
    generation: &Generation,
    gpu: &GpuSpec,
    precision: Precision,
) -> Coefficient {
    generation.compute.of(precision).unwrap_or_else(|| {
        let attainable = gpu.attainable_flops(precision);
        Coefficient {
            value: attainable.fraction * coefficients.compute_efficiency.value,
            origin: attainable.origin,
        }
    })
}

/// Name of the kernel that reads the cache.
fn kv_cache_kernel(deployment: &Deployment) -> &'static str {
    let latent = deployment
        .model
        .layers
        .iter()
        .any(|layer| matches!(layer.mixer, Mixer::Latent(_)));
    match (latent, deployment.kv_cache.is_fp8()) {
        (true, _) => "latent",
        (false, true) => "fp8",
        (false, false) => "wide",
    }
}
