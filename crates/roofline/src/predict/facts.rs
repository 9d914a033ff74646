//! Facts about the model, the GPU and its memory, as part of a prediction.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Predictor;
use super::latency::ASSUMED_ACCEPTANCE;
use crate::cost::coefficients::{BETWEEN_GPUS, Coefficient, Coefficients};
use crate::cost::memory::MemoryPlan;
use crate::cost::shard::Shard;
use crate::spec::deployment::Deployment;
use crate::spec::gpu::{CoefficientOrigin, Confidence, GpuProvenance};
use crate::spec::model::ModelSpec;
use crate::spec::precision::Precision;
use crate::spec::to_f64;
use crate::units::{Bytes, BytesPerSecond, FlopsPerSecond};

/// The model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// Its name.
    pub name: String,
    /// Its architecture class.
    pub architecture: String,
    /// Parameters of the text part.
    pub total_params: u64,
    /// Parameters that one token uses, the input embedding included.
    pub active_params: u64,
    /// The same without the gathered embedding.
    pub active_params_excluding_input_embedding: u64,
}

impl ModelFacts {
    pub(super) fn of(name: &str, model: &ModelSpec) -> Self {
        Self {
            name: name.to_owned(),
            architecture: model.architecture.clone(),
            total_params: model.total_params(),
            active_params: model.active_params(),
            active_params_excluding_input_embedding: model
                .active_params_excluding_input_embedding(),
        }
    }
}

/// The GPU, with its peaks at the precision of most of the work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GpuFacts {
    /// Id in the table.
    pub id: String,
    /// Product name.
    pub name: String,
    /// Precision of the peaks.
    pub precision: Precision,
    /// Dense peak of the data sheet.
    pub peak_flops_per_second: FlopsPerSecond,
    /// Memory bandwidth of the data sheet.
    pub hbm_bytes_per_second: BytesPerSecond,
    /// Attainable peak.
    pub attainable_flops_per_second: FlopsPerSecond,
    /// Attainable bandwidth.
    pub attainable_hbm_bytes_per_second: BytesPerSecond,
    /// Memory as the driver reports it.
    pub memory_bytes: Bytes,
    /// Origin of these figures.
    pub provenance: GpuProvenance,
    /// Their confidence.
    pub confidence: Confidence,
}

impl GpuFacts {
    pub(super) fn of(predictor: &Predictor) -> Option<Self> {
        let gpu = predictor.deployment.gpu.as_ref()?;
        let roof = predictor.roof.as_ref()?;
        let precision = predictor.main_precision();
        let attainable = roof.timer.ceiling();
        Some(Self {
            id: gpu.id.clone(),
            name: gpu.name.clone(),
            precision,
            peak_flops_per_second: roof.theoretical.peak(precision),
            hbm_bytes_per_second: roof.theoretical.hbm,
            attainable_flops_per_second: attainable.peak(precision),
            attainable_hbm_bytes_per_second: attainable.hbm,
            memory_bytes: gpu.memory,
            provenance: gpu.provenance,
            confidence: gpu.confidence,
        })
    }
}

/// What the memory of one GPU holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryFacts {
    /// Weights.
    pub weights_resident_bytes_per_gpu: Bytes,
    /// KV cache of one token.
    pub kv_bytes_per_token_per_gpu: Bytes,
    /// Recurrent state of one sequence.
    pub state_bytes_per_sequence_per_gpu: Bytes,
    /// What vLLM may use.
    pub budget_bytes_per_gpu: Option<Bytes>,
    /// What is left for the cache.
    pub kv_cache_bytes_per_gpu: Option<Bytes>,
    /// Tokens of KV cache as vLLM logs them.
    pub kv_capacity_tokens: Option<f64>,
    /// Whether the weights leave space for a cache.
    pub fits: Option<bool>,
    /// Why vLLM would refuse to start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl MemoryFacts {
    pub(super) fn of(predictor: &Predictor) -> Self {
        let plan = predictor.roof.as_ref().map(|roof| &roof.memory);
        Self {
            weights_resident_bytes_per_gpu: predictor.shard.resident_weights(),
            kv_bytes_per_token_per_gpu: predictor.shard.kv_per_token(),
            state_bytes_per_sequence_per_gpu: predictor.shard.state_per_sequence(),
            budget_bytes_per_gpu: plan.map(|plan| plan.budget),
            kv_cache_bytes_per_gpu: plan.map(|plan| plan.cache),
            kv_capacity_tokens: plan.map(|plan| plan.capacity_tokens().floor()),
            fits: plan.map(|plan| plan.fits()),
            problem: problem(predictor),
        }
    }
}

/// Why vLLM would refuse to start: no space for a cache, or for one sequence of the longest length.
fn problem(predictor: &Predictor) -> Option<String> {
    let plan = &predictor.roof.as_ref()?.memory;
    let gib = |bytes: Bytes| bytes.0 / f64::from(1 << 30);
    if !plan.fits() {
        return Some(format!(
            "the model does not fit: weights {:.1} GiB, activations {:.1} GiB and runtime {:.1} GiB of the {:.1} GiB that vLLM may take on each GPU; {}",
            gib(plan.weights),
            gib(plan.activations),
            gib(plan.runtime),
            gib(plan.budget),
            what_would_fit(&predictor.deployment),
        ));
    }
    let longest = predictor.deployment.limits.max_model_len?;
    plan.shorter_model_len().map(|fits| {
        format!(
            "the KV cache holds {fits:.0} tokens, but a sequence may have {longest}; set --max-model-len {fits:.0} or less"
        )
    })
}

/// The smallest number of GPUs of a host on which `deployment` fits, or another change that needs less memory.
fn what_would_fit(deployment: &Deployment) -> String {
    let degrees = [2, 4, 8, 16].into_iter();
    let more = degrees.filter(|tensor| *tensor > deployment.parallelism.tensor);
    let holds_a_sequence = |deployment: &Deployment| {
        let plan = MemoryPlan::of(deployment, &Shard::of(deployment));
        let longest = deployment.limits.max_model_len.map_or(1.0, to_f64);
        plan.is_some_and(|plan| plan.fits() && plan.sequences(longest) >= 1.0)
    };
    let fits = |tensor: &u64| {
        deployment
            .over(*tensor)
            .is_some_and(|over| holds_a_sequence(&over))
    };
    match more.into_iter().find(fits) {
        Some(tensor) => format!("it fits with --tensor-parallel-size {tensor}"),
        None => "take a GPU with more memory, a checkpoint with narrower weights, or --pipeline-parallel-size over more hosts".to_owned(),
    }
}

/// Which coefficients were measured on this GPU and which are assumed from similar ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origins {
    /// Attainable share of the compute peak.
    pub attainable_flops: CoefficientOrigin,
    /// Attainable share of memory bandwidth.
    pub attainable_hbm: CoefficientOrigin,
    /// Costs of kernels, engine and frontend; the weakest of their origins.
    pub overheads: CoefficientOrigin,
    /// Each of them.
    pub coefficients: BTreeMap<String, Coefficient>,
    /// Assumed acceptance rate of proposed tokens, which was not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assumed_acceptance: Option<f64>,
}

impl Origins {
    pub(super) fn of(predictor: &Predictor, coefficients: &Coefficients) -> Option<Self> {
        let gpu = predictor.deployment.gpu.as_ref()?;
        let of_share = |stated: Option<Coefficient>, own: CoefficientOrigin| {
            stated.map_or(own, |coefficient| coefficient.origin)
        };
        let costs = in_use(predictor, coefficients)?;
        let weakest = [
            CoefficientOrigin::Assumed,
            CoefficientOrigin::Stated,
            CoefficientOrigin::Fitted,
        ]
        .into_iter()
        .find(|origin| costs.values().any(|cost| cost.origin == *origin));
        let flops = gpu.attainable_flops(predictor.main_precision());
        Some(Self {
            attainable_flops: of_share(coefficients.flops_fraction, flops.origin),
            attainable_hbm: of_share(coefficients.hbm_fraction, gpu.attainable_hbm.origin),
            overheads: weakest.unwrap_or(CoefficientOrigin::Measured),
            coefficients: costs,
            assumed_acceptance: (predictor.deployment.speculative_tokens > 0)
                .then_some(ASSUMED_ACCEPTANCE),
        })
    }
}

/// The coefficients that the expected times of `predictor` depend on, by their names in the file, with their origin on its GPU.
fn in_use(
    predictor: &Predictor,
    coefficients: &Coefficients,
) -> Option<BTreeMap<String, Coefficient>> {
    let gpu = predictor.deployment.gpu.as_ref()?;
    let roof = predictor.roof.as_ref()?;
    let alone = predictor.deployment.parallelism.gpus_per_engine() == 1;
    let general = coefficients
        .costs()
        .into_iter()
        .map(|(name, cost)| (name.to_owned(), cost));
    let by_kernel = roof.timer.kernels().named();
    let on_gpu = |(name, cost): (String, Coefficient)| {
        let origin = coefficients.origin_on(gpu, cost.origin);
        (name, Coefficient { origin, ..cost })
    };
    let applies =
        |(name, _): &(String, Coefficient)| !(alone && BETWEEN_GPUS.contains(&name.as_str()));
    let all = general.chain(by_kernel);
    Some(all.filter(applies).map(on_gpu).collect())
}
