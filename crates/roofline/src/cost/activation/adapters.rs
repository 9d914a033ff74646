//! Work of LoRA adapters beside the matrices that they adapt: `y += (x · A) · B`.
//!
//! vLLM runs two kernels for each fused multiplication (`lora_shrink` and `lora_expand`). The first reads the input again and sums `x · A`
//! over parts of K in a cleared fp32 buffer of one rank per projection. The second reads this buffer, and reads and writes the whole output.
//! On Llama-3.1-8B these passes are 7 MB a prompt token, beside 25 MB without an adapter.

use super::Gemm;
use crate::cost::shard::Shard;
use crate::spec::deployment::AdapterSlots;
use crate::spec::to_f64;
use crate::units::{Bytes, Flops};

/// Bytes of an element of `x · A`, summed in fp32.
const SUM_WIDTH: f64 = 4.0;

impl Shard {
    /// The same where all tokens go through one of `running` adapters.
    #[must_use]
    pub fn with_adapters(&self, slots: AdapterSlots, running: f64) -> Self {
        let rank = to_f64(slots.rank);
        let mut adapted = self.clone();
        adapted.adapter_rank = rank;
        adapted.linear_flops.add(
            self.base_precision,
            Flops(2.0 * self.adapter_elements(rank)),
        );
        adapted.dense_weights += self.adapter_weights(rank) * running.min(to_f64(slots.slots));
        adapted
    }

    /// Bytes of one adapter's weights.
    pub(in crate::cost) fn adapter_weights(&self, rank: f64) -> Bytes {
        Bytes(self.adapter_elements(rank) * self.activation_width)
    }

    /// Elements of A and B of all matrices: A has a rank for each projection.
    fn adapter_elements(&self, rank: f64) -> f64 {
        let of = |gemm: &Gemm| gemm.layers * (gemm.projections * gemm.inputs + gemm.outputs);
        rank * self.gemms.iter().map(of).sum::<f64>()
    }

    /// Traffic of the adapters' kernels beyond their weights, for `rows` tokens.
    pub(super) fn adapters(&self, rows: f64) -> f64 {
        let passes = |gemm: &Gemm| {
            let elements = |count: f64| rows * count * self.activation_width;
            let output = elements(gemm.outputs);
            let sums = rows * gemm.projections * self.adapter_rank * SUM_WIDTH;
            let reads = [elements(gemm.inputs), output, sums];
            let missed: f64 = reads.into_iter().map(|read| self.cache.read(read)).sum();
            gemm.layers * (missed + output + 2.0 * sums)
        };
        if self.adapter_rank > 0.0 {
            self.gemms.iter().map(passes).sum()
        } else {
            0.0
        }
    }
}

#[cfg(test)]
#[cfg(feature = "clap")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cost::step::RequestGroup;
    use crate::spec::deployment::{Deployment, DeploymentFlags};
    use crate::spec::model::ModelSpec;

    /// One layer of hidden size 1,024 with 8 heads of 128, and an MLP of 4,096.
    fn deployment(line: &str) -> Deployment {
        let config = json!({"model_type": "llama", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 1,
                            "num_attention_heads": 8, "vocab_size": 32_000, "torch_dtype": "bfloat16"});
        let words: Vec<&str> = line.split(' ').collect();
        let flags = DeploymentFlags::from_vllm_command_line(&words).expect("readable");
        let model = ModelSpec::from_config(&config).expect("complete");
        Deployment::new(model, None, &flags).expect("runs")
    }

    /// Inputs of q, k, v, o, gate and up, of down, and outputs of all seven.
    const ELEMENTS_PER_RANK: f64 = 6.0 * 1024.0 + 4096.0 + 5.0 * 1024.0 + 2.0 * 4096.0;

    #[test]
    fn adapters_add_their_matrices_at_the_rank_of_a_slot() {
        let deployment = deployment("--enable-lora --max-lora-rank 64 --max-loras 2");
        let slots = deployment.adapters.expect("enabled");
        let plain = Shard::of(&deployment);
        let adapter = 64.0 * ELEMENTS_PER_RANK;
        let step = [RequestGroup::decode(4.0, 100.0)];
        let (without, with) = (
            plain.work_of_step(&step),
            plain.with_adapters(slots, 1.0).work_of_step(&step),
        );
        let flops = with.flops.total() - without.flops.total();
        assert!((flops.0 - 4.0 * 2.0 * adapter).abs() < 1.0, "{flops:?}");
        let weights = with.bytes.weights - without.bytes.weights;
        assert!((weights.0 - 2.0 * adapter).abs() < 1.0, "{weights:?}");
        assert!(with.activation_bytes > without.activation_bytes);
        let three = plain.with_adapters(slots, 3.0).work_of_step(&step);
        assert!(
            (three.bytes.weights - without.bytes.weights - weights * 2.0)
                .0
                .abs()
                < 1.0
        );
    }

    #[test]
    fn slots_take_memory_whether_or_not_an_adapter_runs() {
        let resident = |line: &str| Shard::of(&deployment(line)).resident_weights();
        let slot = resident("--enable-lora") - resident("--max-lora-rank 16");
        assert!(
            (slot.0 - 2.0 * 16.0 * ELEMENTS_PER_RANK).abs() < 1.0,
            "{slot:?}"
        );
    }
}
