//! Static predictions: a model, and a grid of steps of it.

use roofline::cost::coefficients::Coefficients;
use roofline::cost::step::RequestGroup;
use roofline::predict::Predictor;
use roofline::spec::deployment::{Deployment, DeploymentFlags};
use roofline::spec::gpu::GpuTable;
use roofline::spec::model::ModelSpec;
use roofline::units::Seconds;
use serde_json::json;

const GRID: u32 = 1000;

/// gpt-oss-120b on one H100: experts, windows, sinks.
pub(crate) fn predictor() -> anyhow::Result<Predictor> {
    let config = json!({"model_type": "gpt_oss", "hidden_size": 2880, "intermediate_size": 2880, "num_local_experts": 128,
        "num_experts_per_tok": 4, "num_hidden_layers": 36, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64,
        "vocab_size": 201_088, "attention_bias": true, "sliding_window": 128, "max_position_embeddings": 131_072,
        "quantization_config": {"quant_method": "mxfp4"}});
    let gpu = GpuTable::embedded()?.find("H100")?.clone();
    let model = ModelSpec::from_config(&config)?;
    let deployment = Deployment::new(model, Some(gpu), &DeploymentFlags::default())?;
    Ok(Predictor::new(deployment, Coefficients::default()))
}

/// The expected seconds of all steps with 1 to 1,000 requests and 1,000 contexts, summed.
pub(crate) fn grid(predictor: &Predictor) -> Seconds {
    let Some(roof) = &predictor.roof else {
        return Seconds::ZERO;
    };
    let mut sum = Seconds::ZERO;
    for batch in 1..=GRID {
        for context in 0..GRID {
            let group = RequestGroup::decode(f64::from(batch), f64::from(context) * 16.0);
            let work = predictor.shard.work_of_step(&[group]);
            sum += roof.bound(&work) + roof.expected(&work);
        }
    }
    sum
}
