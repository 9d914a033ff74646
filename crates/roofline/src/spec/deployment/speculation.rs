//! `--speculative-config`: how many tokens are proposed per step, and by which model.

use serde_json::Value;

use super::{Deployment, DeploymentError, DeploymentFlags};
use crate::spec::gpu::GpuSpec;
use crate::spec::model::ModelSpec;

/// `num_speculative_tokens` of a speculative configuration, 0 without one.
///
/// # Errors
/// When it is not a JSON object or lacks the number.
pub fn speculative_tokens(config: Option<&str>) -> Result<u64, DeploymentError> {
    let Some(config) = config else {
        return Ok(0);
    };
    let bad = |problem: &str| DeploymentError::BadFlag {
        flag: "--speculative-config",
        value: config.to_owned(),
        problem: problem.to_owned(),
    };
    let parsed: Value = serde_json::from_str(config).map_err(|_| bad("must be a JSON object"))?;
    parsed
        .get("num_speculative_tokens")
        .and_then(Value::as_u64)
        .ok_or_else(|| bad("must set num_speculative_tokens"))
}

/// The model that `config` names as a draft; `None` for methods without a model of their own (n-grams, EAGLE, MTP).
#[must_use]
pub fn draft_model(config: Option<&str>) -> Option<String> {
    let parsed: Value = serde_json::from_str(config?).ok()?;
    let method = parsed.get("method").and_then(Value::as_str);
    let drafts = method.is_none_or(|method| method == "draft_model");
    let model = parsed.get("model").and_then(Value::as_str)?;
    drafts.then(|| model.to_owned())
}

/// The draft as it is served beside its target; `None` if its configuration is not known or cannot be served like this.
pub(super) fn draft(gpu: Option<&GpuSpec>, flags: &DeploymentFlags) -> Option<Box<Deployment>> {
    let model = ModelSpec::from_json(flags.draft_config.as_deref()?).ok()?;
    let config: Value = serde_json::from_str(flags.speculative_config.as_deref()?).ok()?;
    let own = |key: &str| config.get(key);
    let flags = DeploymentFlags {
        quantization: own("quantization")
            .and_then(Value::as_str)
            .map(str::to_owned),
        tensor_parallel_size: own("draft_tensor_parallel_size")
            .and_then(Value::as_u64)
            .or(flags.tensor_parallel_size),
        speculative_config: None,
        draft_config: None,
        enable_lora: false,
        ..flags.clone()
    };
    Deployment::new(model, gpu.cloned(), &flags)
        .map(Box::new)
        .ok()
}

/// What a prediction omits of a speculating deployment.
pub(super) const fn left_out(draft_known: bool) -> &'static str {
    if draft_known {
        "the fixed costs of the draft's kernels: its FLOPs and bytes are counted"
    } else {
        "the draft of speculative decoding: only the target's verification is counted"
    }
}
