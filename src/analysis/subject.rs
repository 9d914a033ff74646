//! `Subject`: which model runs on what, as far as it is known, and what it is predicted to do.

use std::sync::Arc;

use anyhow::Context;

use super::run::{RoofLine, Workload};
use crate::config::Settings;
use crate::source::lookup::find_config;
use roofline::engine::{EngineFacts, Served};
use roofline::predict::{Predictor, Scenario, Serving, Targets, Workload as Predicted};
use roofline::spec::deployment::Deployment;
use roofline::spec::gpu::GpuTable;
use roofline::spec::model::ModelSpec;
use roofline::spec::to_f64;

/// What is analysed.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    /// What the model is called.
    pub name: Option<String>,
    /// Model, GPU and deployment, as far as they are known.
    pub facts: Arc<EngineFacts>,
    /// What users are promised, for the limits of a prediction.
    pub targets: Targets,
}

impl Subject {
    /// What flags and configuration say: `--model`, `--gpu` and the deployment.
    ///
    /// # Errors
    /// A model that is not found, a GPU that is not known, or a deployment that vLLM would refuse.
    pub(super) fn of_settings(settings: &Settings, table: &GpuTable) -> anyhow::Result<Self> {
        let mut facts = EngineFacts {
            flags: settings.deployment.clone(),
            ..EngineFacts::default()
        };
        if let Some(name) = settings.gpu.as_deref().filter(|name| *name != "none") {
            facts.gpu = Some(table.find(name)?.clone());
            facts.origins.push(("gpu", format!("--gpu: {name}")));
        }
        let model = settings.deployment.model.as_deref();
        if let Some(id) = model {
            let (path, text) = find_config(id)?;
            let place = || path.display().to_string();
            let model = ModelSpec::from_json(&text).with_context(place)?;
            let deployment = Deployment::new(model, facts.gpu.clone(), &facts.flags)?;
            facts
                .origins
                .push(("model", format!("--model: {}", place())));
            facts.served = Some(Served::new(deployment));
        }
        Ok(Self {
            name: model.map(short_name),
            facts: Arc::new(facts),
            targets: targets(settings),
        })
    }

    /// What a capture says of the engine it recorded.
    pub(super) fn of_capture(facts: Arc<EngineFacts>, settings: &Settings) -> Self {
        Self {
            name: facts.flags.model.as_deref().map(short_name),
            facts,
            targets: targets(settings),
        }
    }

    /// The model, where it is known.
    pub(super) fn model(&self) -> Option<&ModelSpec> {
        Some(&self.facts.served.as_ref()?.deployment.model)
    }

    /// Replicas of the engine.
    pub(super) fn replicas(&self) -> f64 {
        let served = self.facts.served.as_ref();
        served.map_or(1.0, |served| to_f64(served.deployment.parallelism.data))
    }

    /// `load` as one engine sees it; `None` where its lengths are not known.
    pub(super) fn serving(&self, load: &Workload) -> Option<Serving> {
        let input = load.input_tokens?;
        Some(Serving {
            input_tokens: input.max(1.0),
            // At least the last token of a prompt is computed.
            cached_tokens: load
                .cached_tokens
                .unwrap_or(0.0)
                .clamp(0.0, (input - 1.0).max(0.0)),
            output_tokens: load.output_tokens?.max(1.0),
            batch: (load.concurrency? / self.replicas()).max(1.0),
        })
    }

    /// The scenario in which this subject does `serving`; `None` while the model is not known.
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
            workload: Predicted::Serving(serving),
            targets: self.targets,
        })
    }

    /// Predicts single steps of it.
    pub(super) fn predictor(&self) -> Option<Predictor> {
        let deployment = self.facts.served.as_ref()?.deployment.clone();
        Some(Predictor::new(deployment, self.facts.coefficients))
    }

    /// The roofs over one engine.
    pub(super) fn roofs(&self, sm_clock_mhz: Option<f64>) -> Vec<RoofLine> {
        let provenance = |level: &str| match level {
            "datasheet" => "specified",
            "attainable" => self.facts.attainable_origin(),
            _ => "measured",
        };
        let line = |roof: roofline::engine::Roof| RoofLine {
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

fn targets(settings: &Settings) -> Targets {
    Targets {
        ttft: settings.slo_ttft.seconds(),
        tpot: settings.slo_tpot.seconds(),
    }
}

/// The last part of a path or id.
fn short_name(id: &str) -> String {
    let path = id.trim_end_matches("/config.json").trim_end_matches('/');
    path.rsplit('/').next().unwrap_or(path).to_owned()
}
