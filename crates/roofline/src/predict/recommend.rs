//! `Recommendation`: vLLM's own flags for a load, from the limits of the deployment.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::limits::whole;
use super::{BatchLimits, Predictor, Scenario};
use crate::cost::step::RequestGroup;
use crate::spec::deployment::DeploymentFlags;
use crate::spec::to_f64;

/// Common token budgets, smallest first.
const TOKEN_BUDGETS: [u64; 6] = [512, 1024, 2048, 4096, 8192, 16384];

/// Recommended settings, and their command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recommendation {
    /// The largest number of requests that meets the targets and fits.
    pub max_num_seqs: u64,
    /// The largest step budget at which a prompt chunk does not delay a token beyond the target.
    pub max_num_batched_tokens: u64,
    /// `vllm serve …`.
    pub command: String,
}

impl Recommendation {
    /// The recommendation for `scenario`; `None` where not one request fits.
    pub(super) fn of(
        scenario: &Scenario,
        predictor: &Predictor,
        limits: &BatchLimits,
    ) -> Option<Self> {
        let roof = predictor.roof.as_ref()?;
        let fitting = limits.kv_capacity_batch.unwrap_or(u64::MAX);
        if fitting == 0 {
            return None;
        }
        let within_targets = limits.slo_batch.filter(|batch| *batch > 0);
        let default = predictor.deployment.limits.max_num_seqs;
        let max_num_seqs = within_targets.unwrap_or(default).min(fitting);

        let decode = predictor.decode_group(to_f64(max_num_seqs), scenario.workload.context());
        let quick = |budget: &u64| {
            let chunk = to_f64(*budget) - decode.tokens();
            let step = [RequestGroup::prefill(1.0, chunk, 0.0), decode];
            chunk > 0.0
                && roof.expected(&predictor.shard.work_of_step(&step)) <= scenario.targets.tpot
        };
        let budget = TOKEN_BUDGETS.into_iter().rev().find(quick);
        let max_num_batched_tokens = budget.unwrap_or(TOKEN_BUDGETS[0]).max(max_num_seqs);
        let mut flags = scenario.flags.clone();
        flags.max_num_seqs = Some(max_num_seqs);
        flags.max_num_batched_tokens = Some(max_num_batched_tokens);
        if let Some(longest) = roof.memory.shorter_model_len() {
            flags.max_model_len = Some(whole(longest));
        }
        Some(Self {
            max_num_seqs,
            max_num_batched_tokens,
            command: command_line(&scenario.name, flags),
        })
    }
}

/// `vllm serve` with `flags`.
fn command_line(model: &str, mut flags: DeploymentFlags) -> String {
    let model = flags.model.take().unwrap_or_else(|| model.to_owned());
    let mut line = format!("vllm serve {}", model.trim_end_matches("/config.json"));
    let Ok(Value::Object(flags)) = serde_json::to_value(flags) else {
        return line;
    };
    for (name, value) in flags {
        match value {
            Value::Bool(true) => line += &format!(" --{name}"),
            Value::Number(number) => line += &format!(" --{name} {number}"),
            Value::String(text) if text.contains(['{', ' ']) => {
                line += &format!(" --{name} '{text}'")
            }
            Value::String(text) => line += &format!(" --{name} {text}"),
            _ => {}
        }
    }
    line
}
