//! The limits of an engine: from its flags, otherwise the defaults of vLLM's API server.

use super::{
    DEFAULT_GPU_MEMORY_UTILIZATION, DeploymentError, DeploymentFlags, GraphLimit, SchedulerLimits,
};
use crate::spec::gpu::GpuSpec;
use crate::spec::model::ModelSpec;

/// Reads the limits; a flag that is not set has the default of vLLM's API server.
pub(super) fn read(
    model: &ModelSpec,
    gpu: Option<&GpuSpec>,
    flags: &DeploymentFlags,
) -> Result<SchedulerLimits, DeploymentError> {
    let utilization = flags
        .gpu_memory_utilization
        .unwrap_or(DEFAULT_GPU_MEMORY_UTILIZATION);
    if !(utilization > 0.0 && utilization <= 1.0) {
        return Err(DeploymentError::BadFlag {
            flag: "--gpu-memory-utilization",
            value: utilization.to_string(),
            problem: "must be above 0 and at most 1".to_owned(),
        });
    }
    let version = minor_version(flags.vllm_version.as_deref())?;
    let (default_seqs, default_tokens) = gpu.map_or((256, 2048), |gpu| default_sizes(gpu, version));
    let max_num_seqs = flags.max_num_seqs.unwrap_or(default_seqs);
    let max_model_len = flags.max_model_len.or(model.max_position_embeddings);
    let most_tokens = max_model_len.map_or(u64::MAX, |length| max_num_seqs.saturating_mul(length));
    Ok(SchedulerLimits {
        max_model_len,
        max_num_seqs,
        max_num_batched_tokens: flags
            .max_num_batched_tokens
            .unwrap_or_else(|| default_tokens.max(max_num_seqs).min(most_tokens)),
        gpu_memory_utilization: utilization,
        enforce_eager: flags.enforce_eager,
        graphs: GraphLimit::read(flags, max_num_seqs)?,
        stream_interval: flags.stream_interval.unwrap_or(1),
    })
}

/// Default limits of sequences and tokens per step: vLLM sets the largest for GPUs with 160 GiB or more, and for those with 70 GiB or more,
/// except A100s, larger ones than for the rest (`engine/arg_utils.py`); before 0.28 the largest GPUs have the same token limit as the
/// second group.
fn default_sizes(gpu: &GpuSpec, version: Option<u64>) -> (u64, u64) {
    let gib = gpu.memory.0 / f64::from(1 << 30);
    if gib >= 160.0 && version.is_none_or(|minor| minor >= LARGER_BUDGET_SINCE) {
        (1024, 16_384)
    } else if gib >= 70.0 && !gpu.id.contains("a100") {
        (1024, 8192)
    } else {
        (256, 2048)
    }
}

/// The minor version of vLLM 0.28, which raised the token budget of the largest GPUs.
const LARGER_BUDGET_SINCE: u64 = 28;

/// `27` for 0.27.1; a later major version is newer than all minor versions.
fn minor_version(version: Option<&str>) -> Result<Option<u64>, DeploymentError> {
    let Some(version) = version else {
        return Ok(None);
    };
    let mut parts = version.trim_start_matches('v').split('.');
    let mut next = || parts.next().and_then(|part| part.parse::<u64>().ok());
    match (next(), next()) {
        (Some(0), Some(minor)) => Ok(Some(minor)),
        (Some(_), _) => Ok(None),
        _ => Err(DeploymentError::BadFlag {
            flag: "--vllm-version",
            value: version.to_owned(),
            problem: "must be a version such as 0.27".to_owned(),
        }),
    }
}
