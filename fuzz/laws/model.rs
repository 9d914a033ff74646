//! A model's config.json: whatever it contains, it is an error, or a model whose steps have finite work and time.

use std::sync::LazyLock;

use roofline::cost::coefficients::Coefficients;
use roofline::cost::step::RequestGroup;
use roofline::predict::{Predictor, StepPrediction};
use roofline::spec::deployment::{Deployment, DeploymentFlags};
use roofline::spec::gpu::{GpuSpec, GpuTable};
use roofline::spec::model::ModelSpec;

static GPU: LazyLock<GpuSpec> = LazyLock::new(|| {
    let table = GpuTable::embedded().expect("embedded");
    table.find("H100").expect("in the table").clone()
});

/// `data` as a config.json, and after a zero byte a line of vLLM's flags.
pub fn holds(data: &[u8]) {
    let mut parts = super::parts(data).filter_map(|part| std::str::from_utf8(part).ok());
    let Some(config) = parts.next() else { return };
    let words: Vec<_> = parts.next().unwrap_or("").split_whitespace().collect();
    let model = match ModelSpec::from_json(config) {
        Ok(model) => model,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let (total, active) = (model.total_params(), model.active_params());
    assert!(active <= total, "{active} of {total}");
    assert!(model.active_params_excluding_input_embedding() <= active);
    let flags = DeploymentFlags::from_vllm_command_line(&words).unwrap_or_default();
    let Ok(deployment) = Deployment::new(model, Some(GPU.clone()), &flags) else {
        return;
    };
    let predictor = Predictor::new(deployment, Coefficients::default());
    for groups in [
        vec![RequestGroup::decode(16.0, 1000.0)],
        vec![RequestGroup::prefill(1.0, 512.0, 64.0)],
        vec![
            RequestGroup::decode(1.0, 0.0),
            RequestGroup::prefill(2.0, 2048.0, 0.0),
        ],
    ] {
        is_finite(&predictor.step(&groups));
    }
    if let Some(roof) = &predictor.roof {
        let capacity = roof.memory.capacity_tokens();
        assert!(capacity >= 0.0, "{capacity} tokens");
    }
}

fn is_finite(step: &StepPrediction) {
    let numbers = [
        ("flops", Some(step.flops_per_gpu.0)),
        ("bytes", Some(step.bytes_per_gpu.0)),
        ("activations", Some(step.activation_bytes_per_gpu.0)),
        ("compute", step.compute_seconds.map(|time| time.0)),
        ("memory", step.memory_seconds.map(|time| time.0)),
        (
            "communication",
            step.communication_seconds.map(|time| time.0),
        ),
        ("bound", step.bound_seconds.map(|time| time.0)),
        ("expected", step.expected_seconds.map(|time| time.0)),
    ];
    for (name, number) in numbers {
        let number = number.expect("a GPU is given");
        assert!(number.is_finite() && number >= 0.0, "{name} {number}");
    }
}
