//! `Subject`: the model and its deployment, as far as known, and the predictions for them.

use std::sync::Arc;

use anyhow::Context;

use super::run::{RunRoof, RunWorkload};
use roofline::cost::coefficients::Coefficients;
use roofline::engine::{EngineFacts, Served};
use roofline::predict::{Predictor, Scenario, Serving, Targets, Workload};
use roofline::spec::deployment::{Deployment, DeploymentFlags};
use roofline::spec::gpu::GpuTable;
use roofline::spec::model::ModelSpec;
use roofline::spec::to_f64;

/// The model, the GPU and the deployment that an analysis is about.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Name of the model.
    pub name: Option<String>,
    /// Model, GPU and deployment, as far as they are known.
    pub facts: Arc<EngineFacts>,
    /// The service-level targets that limit a prediction.
    pub targets: Targets,
}

/// The `config.json` of a model, and its origin.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    /// A path, for errors and provenance.
    pub origin: String,
    /// Its text.
    pub text: String,
}

impl Subject {
    /// The subject that flags and configuration describe: `gpu` from `table` (`none` or nothing leaves out the roof), `flags`, and
    /// `config`, the configuration of their `--model`; times use `coefficients`.
    ///
    /// # Errors
    /// An unknown GPU, a model that is not understood, or a deployment that vLLM would refuse.
    pub fn of_flags(
        flags: &DeploymentFlags,
        config: Option<&ModelConfig>,
        gpu: Option<&str>,
        table: &GpuTable,
        coefficients: Coefficients,
        targets: Targets,
    ) -> anyhow::Result<Self> {
        let mut facts = EngineFacts {
            flags: flags.clone(),
            coefficients,
            ..EngineFacts::default()
        };
        if let Some(name) = gpu.filter(|name| *name != "none") {
            facts.gpu = Some(table.find(name)?.clone());
            facts.origins.push(("gpu", format!("--gpu: {name}")));
        }
        if let Some(config) = config {
            let model =
                ModelSpec::from_json(&config.text).with_context(|| config.origin.clone())?;
            let deployment = Deployment::new(model, facts.gpu.clone(), &facts.flags)?;
            facts
                .origins
                .push(("model", format!("--model: {}", config.origin)));
            facts.served = Some(Served::new(deployment));
        }
        Ok(Self {
            name: flags.model.as_deref().map(short_name),
            facts: Arc::new(facts),
            targets,
        })
    }

    /// The subject of a recording.
    #[must_use]
    pub fn of_engine(facts: Arc<EngineFacts>, targets: Targets) -> Self {
        Self {
            name: facts.flags.model.as_deref().map(short_name),
            facts,
            targets,
        }
    }

    /// The model, where known.
    pub(super) fn model(&self) -> Option<&ModelSpec> {
        Some(&self.facts.served.as_ref()?.deployment.model)
    }

    /// Replicas of the engine.
    pub(super) fn replicas(&self) -> f64 {
        let served = self.facts.served.as_ref();
        served.map_or(1.0, |served| to_f64(served.deployment.parallelism.data))
    }

    /// `load` as one engine serves it; `None` while its lengths are unknown.
    pub(super) fn serving(&self, load: &RunWorkload) -> Option<Serving> {
        let input = load.input_tokens?;
        Some(Serving {
            input_tokens: input.max(1.0),
            // vLLM computes at least the last token of a prompt.
            cached_tokens: load
                .cached_tokens
                .unwrap_or(0.0)
                .clamp(0.0, (input - 1.0).max(0.0)),
            output_tokens: load.output_tokens?.max(1.0),
            batch: (load.concurrency? / self.replicas()).max(1.0),
            ..Serving::default()
        })
    }

    /// The scenario in which this subject serves `serving`; `None` while the model is unknown.
    pub(super) fn scenario(&self, serving: Serving) -> Option<Scenario> {
        let model = self.model()?.clone();
        Some(Scenario {
            name: self
                .name
                .clone()
                .unwrap_or_else(|| model.architecture.clone()),
            model,
            gpu: self.facts.gpu.clone(),
            flags: self.facts.flags.clone(),
            coefficients: self.facts.coefficients,
            workload: Workload::Serving(serving),
            targets: self.targets,
        })
    }

    /// Predicts single steps.
    pub(super) fn predictor(&self) -> Option<Predictor> {
        let deployment = self.facts.served.as_ref()?.deployment.clone();
        Some(Predictor::new(deployment, self.facts.coefficients))
    }

    /// The roofs over one engine.
    pub(super) fn roofs(&self, sm_clock_mhz: Option<f64>) -> Vec<RunRoof> {
        let provenance = |level: &str| match level {
            "datasheet" => "specified",
            "attainable" => self.facts.attainable_origin(),
            _ => "measured",
        };
        let line = |roof: roofline::engine::EngineRoof| RunRoof {
            level: roof.level.to_owned(),
            peak_flops_per_second: roof.peak,
            hbm_bytes_per_second: roof.bandwidth,
            ridge_flops_per_byte: roof.ridge(),
            provenance: provenance(roof.level).to_owned(),
        };
        self.facts
            .roofs(sm_clock_mhz)
            .into_iter()
            .map(line)
            .collect()
    }
}

/// The last part of a path or id.
fn short_name(id: &str) -> String {
    let path = id.trim_end_matches("/config.json").trim_end_matches('/');
    path.rsplit('/').next().unwrap_or(path).to_owned()
}
