//! `DraftModel`: the small model of speculative decoding, and its work beside a step of the target.
//!
//! vLLM runs the draft once for each token that it proposes. The first pass computes the tokens of the target's step, which brings the
//! draft's cache up to date; each later one computes the token that the pass before proposed. Each pass reads all of its weights and cache,
//! and needs one row of logits per request.

use super::shard::Shard;
use super::step::{RequestGroup, StepWork};
use crate::spec::deployment::Deployment;
use crate::spec::to_f64;

/// The draft of a deployment, as one GPU runs it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct DraftModel {
    /// Its coefficients.
    pub(super) shard: Shard,
    /// Tokens that it proposes per step.
    proposals: f64,
}

impl DraftModel {
    pub(super) fn of(deployment: &Deployment) -> Option<Box<Self>> {
        let draft = deployment.draft.as_ref()?;
        Some(Box::new(Self {
            shard: Shard::of(draft),
            proposals: to_f64(deployment.speculative_tokens),
        }))
    }

    /// Adds its passes to the `work` of the target's step with the requests of `groups`.
    pub(super) fn add_to(&self, work: &mut StepWork, groups: &[RequestGroup]) {
        let requests = work.requests;
        let next: Vec<RequestGroup> = groups
            .iter()
            .map(|group| {
                let attended = group.cached_tokens_before + group.new_tokens;
                RequestGroup::decode(group.count, attended)
            })
            .collect();
        work.add_passes(&self.shard.pass(groups, requests), 1.0);
        work.add_passes(&self.shard.pass(&next, requests), self.proposals - 1.0);
    }
}

impl StepWork {
    /// Adds `count` passes of another model, which run one after the other beside the same tokens.
    fn add_passes(&mut self, pass: &Self, count: f64) {
        self.flops.add(&pass.flops, count);
        for (precision, amount) in pass.flops_at.iter() {
            self.flops_at.add(precision, amount * count);
        }
        self.bytes.add(&pass.bytes, count);
        self.activation_bytes += pass.activation_bytes * count;
        self.prefill_attention.add(&pass.prefill_attention, count);
        self.decode_attention.add(&pass.decode_attention, count);
        self.communication.add(&pass.communication, count);
    }
}

#[cfg(test)]
#[cfg(feature = "clap")]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::spec::deployment::DeploymentFlags;
    use crate::spec::model::ModelSpec;

    fn config(hidden: u64, layers: u64) -> Value {
        json!({"model_type": "llama", "hidden_size": hidden, "intermediate_size": 4 * hidden, "num_hidden_layers": layers,
               "num_attention_heads": hidden / 128, "vocab_size": 32_000, "torch_dtype": "bfloat16"})
    }

    fn shard(config: &Value, line: &str, draft: Option<&Value>) -> Shard {
        let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        let mut flags = DeploymentFlags::from_vllm_command_line(&words).expect("readable");
        flags.draft_config = draft.map(Value::to_string);
        let model = ModelSpec::from_config(config).expect("complete");
        Shard::of(&Deployment::new(model, None, &flags).expect("runs"))
    }

    /// Three proposals: the draft reads its weights three times, and keeps a cache of its own.
    #[test]
    fn a_draft_runs_once_for_each_token_it_proposes() {
        let line = r#"--speculative-config {"method":"draft_model","model":"small","num_speculative_tokens":3}"#;
        let (large, small) = (config(4096, 32), config(1024, 8));
        let with = shard(&large, line, Some(&small));
        let (target, draft) = (shard(&large, line, None), shard(&small, "", None));
        let verify = RequestGroup {
            new_tokens: 4.0,
            ..RequestGroup::decode(8.0, 1000.0)
        };
        let next = RequestGroup::decode(8.0, 1004.0);
        let weights =
            |shard: &Shard, group: &RequestGroup| shard.work_of_step(&[*group]).bytes.all_weights();
        let passes = weights(&draft, &verify) * 3.0;
        assert_eq!(weights(&with, &verify), weights(&target, &verify) + passes);
        let read =
            |shard: &Shard, group: &RequestGroup| shard.work_of_step(&[*group]).bytes.kv_read;
        let drafted = read(&draft, &verify) + read(&draft, &next) * 2.0;
        let difference = read(&with, &verify) - read(&target, &verify) - drafted;
        assert!(difference.0.abs() < 1.0, "{difference:?}");
        assert_eq!(
            with.kv_per_token(),
            target.kv_per_token() + draft.kv_per_token()
        );
        assert_eq!(
            with.resident_weights(),
            target.resident_weights() + draft.resident_weights()
        );
    }

    #[test]
    fn nothing_is_drafted_without_tokens_or_for_another_method() {
        let large = config(4096, 32);
        let line =
            r#"--speculative-config {"method":"eagle","model":"small","num_speculative_tokens":3}"#;
        let words: Vec<&str> = line.split(' ').collect();
        let flags = DeploymentFlags::from_vllm_command_line(&words).expect("readable");
        let named = crate::spec::deployment::draft_model(flags.speculative_config.as_deref());
        assert_eq!(named, None);
        let drafting = shard(&large, &line.replace("eagle", "draft_model"), Some(&large));
        assert_eq!(drafting.work_of_step(&[]), StepWork::default());
    }
}
