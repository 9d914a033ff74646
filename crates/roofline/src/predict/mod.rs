//! `Prediction`: the bound and the expected performance of a deployment, before anything runs.
//!
//! There are always two values. The *bound* uses the datasheet's ceilings and counts each byte once: no measurement exceeds it. The
//! *expected* value uses attainable ceilings, activations, communication and fixed costs ([`crate::cost::timing`]). For the formulas of one
//! step see [`crate::cost`]; `latency` and `limits` here combine many steps.

mod advice;
mod arrival;
pub mod calibrate;
mod facts;
mod latency;
mod limits;
mod metric;
mod recommend;
mod step;

pub use advice::{Advice, BottleneckKind};
pub use facts::{GpuFacts, MemoryFacts, ModelFacts, Origins};
pub use latency::Latency;
pub use limits::BatchLimits;
pub use metric::ImprovedMetric;
pub use recommend::Recommendation;
pub use step::{GpuRoof, Phase, Predictor, StepPrediction, TimeByComponent};

use serde::{Deserialize, Serialize};

use crate::cost::coefficients::Coefficients;
use crate::cost::step::RequestGroup;
use crate::spec::deployment::{Deployment, DeploymentError, DeploymentFlags};
use crate::spec::gpu::GpuSpec;
use crate::spec::model::ModelSpec;
use crate::units::Seconds;

/// Version of the JSON form of [`Prediction`].
pub const SCHEMA: u32 = 1;

/// The inputs of a prediction.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Name of the model, for display.
    pub name: String,
    /// The model.
    pub model: ModelSpec,
    /// The GPU; without one there are FLOPs and bytes, but no times.
    pub gpu: Option<GpuSpec>,
    /// Its deployment flags.
    pub flags: DeploymentFlags,
    /// The coefficients that turn bounds into expected values.
    pub coefficients: Coefficients,
    /// The workload.
    pub workload: Workload,
    /// The latency targets.
    pub targets: Targets,
}

/// The workload of the engine.
#[derive(Clone, Debug, PartialEq)]
pub enum Workload {
    /// One step with these requests.
    Step(Vec<RequestGroup>),
    /// A continuous load of requests.
    Serving(Serving),
}

/// A steady load of `batch` concurrent requests, each replaced by the next when it ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Serving {
    /// Tokens of each prompt.
    pub input_tokens: f64,
    /// Prompt tokens found in the prefix cache.
    pub cached_tokens: f64,
    /// Tokens generated for each.
    pub output_tokens: f64,
    /// Concurrent requests of one engine.
    pub batch: f64,
    /// Requests that each client sends one after another. All clients start at once, so the first request of each is part of a burst.
    pub waves: f64,
}

impl Default for Serving {
    /// One concurrent request of 1,000 + 200 tokens, ten in a row.
    fn default() -> Self {
        Self {
            input_tokens: 1000.0,
            cached_tokens: 0.0,
            output_tokens: 200.0,
            batch: 1.0,
            waves: 10.0,
        }
    }
}

impl Serving {
    /// Tokens cached by a request halfway through its answer.
    fn mean_context(&self) -> f64 {
        self.input_tokens + self.output_tokens / 2.0
    }
}

impl Workload {
    /// Tokens that a request has cached while it decodes, on average.
    fn context(&self) -> f64 {
        match self {
            Self::Serving(serving) => serving.mean_context(),
            Self::Step(groups) => mean(groups, |group| {
                group.cached_tokens_before
                    + if group.is_prefill {
                        group.new_tokens
                    } else {
                        0.0
                    }
            }),
        }
    }

    /// Tokens of a request at its longest.
    fn length(&self) -> f64 {
        match self {
            Self::Serving(serving) => serving.input_tokens + serving.output_tokens,
            Self::Step(groups) => mean(groups, |group| {
                group.cached_tokens_before + group.new_tokens
            }),
        }
    }

    /// Concurrent requests.
    #[must_use]
    pub fn batch(&self) -> f64 {
        match self {
            Self::Serving(serving) => serving.batch,
            Self::Step(groups) => groups.iter().map(|group| group.count).sum(),
        }
    }

    /// The same with `batch` concurrent requests.
    fn with_batch(&self, batch: f64) -> Self {
        match self {
            Self::Serving(serving) => Self::Serving(Serving { batch, ..*serving }),
            Self::Step(groups) => {
                let factor = batch / self.batch();
                let scaled = groups.iter().map(|group| RequestGroup {
                    count: group.count * factor,
                    ..*group
                });
                Self::Step(scaled.collect())
            }
        }
    }
}

/// Mean of `value` over all requests.
fn mean(groups: &[RequestGroup], value: impl Fn(&RequestGroup) -> f64) -> f64 {
    let requests: f64 = groups.iter().map(|group| group.count).sum();
    groups
        .iter()
        .map(|group| group.count * value(group))
        .sum::<f64>()
        / requests
}

/// Latency targets (SLO).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Targets {
    /// Time to first token.
    pub ttft: Seconds,
    /// Time per output token.
    pub tpot: Seconds,
}

/// A prediction. Values that need a GPU's ceilings are `None` without one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Version of this form.
    pub schema: u32,
    /// The model.
    pub model: ModelFacts,
    /// The GPU.
    pub gpu: Option<GpuFacts>,
    /// What fits into its memory.
    pub memory: MemoryFacts,
    /// The predicted steps.
    #[serde(flatten)]
    pub steps: PredictedSteps,
    /// Batch sizes at which a limit is reached.
    pub limits: Option<BatchLimits>,
    /// User-visible latency; only for a load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// Advice, sorted by predicted gain.
    pub advice: Vec<Advice>,
    /// Settings for this load.
    pub recommended: Option<Recommendation>,
    /// Effects that the prediction omits.
    pub not_modelled: Vec<String>,
    /// The origin of the coefficients.
    pub origins: Option<Origins>,
}

/// The requested step, or the two kinds of steps of a load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PredictedSteps {
    /// The requested step.
    Step(Box<StepPrediction>),
    /// The steps of a load.
    Steps(Box<LoadSteps>),
}

/// The two kinds of steps that a load consists of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadSteps {
    /// The first step of one prompt, up to the token budget.
    pub prefill: StepPrediction,
    /// All requests of the load, halfway through their answers.
    pub decode: StepPrediction,
}

impl Scenario {
    /// Computes the prediction.
    ///
    /// # Errors
    /// When model, GPU and flags are incompatible.
    pub fn predict(&self) -> Result<Prediction, DeploymentError> {
        let mut prediction = self.outcome()?;
        prediction.advice = advice::advise(self, &prediction);
        Ok(prediction)
    }

    /// The predictor of this deployment.
    ///
    /// # Errors
    /// When model, GPU and flags are incompatible.
    pub fn predictor(&self) -> Result<Predictor, DeploymentError> {
        let deployment = Deployment::new(self.model.clone(), self.gpu.clone(), &self.flags)?;
        Ok(Predictor::new(deployment, self.coefficients))
    }

    /// The prediction without advice; advice itself is computed from predictions.
    fn outcome(&self) -> Result<Prediction, DeploymentError> {
        let predictor = self.predictor()?;
        let limits = BatchLimits::of(&predictor, &self.workload, &self.targets);
        let (steps, latency) = match &self.workload {
            Workload::Step(groups) => {
                (PredictedSteps::Step(Box::new(predictor.step(groups))), None)
            }
            Workload::Serving(serving) => {
                let decode = predictor.decode_group(serving.batch, serving.mean_context());
                let steps = LoadSteps {
                    prefill: predictor.step(&[predictor.first_chunk(serving)]),
                    decode: predictor.step(&[decode]),
                };
                (
                    PredictedSteps::Steps(Box::new(steps)),
                    predictor.latency(serving),
                )
            }
        };
        Ok(Prediction {
            schema: SCHEMA,
            model: ModelFacts::of(&self.name, &predictor.deployment.model),
            gpu: GpuFacts::of(&predictor),
            memory: MemoryFacts::of(&predictor),
            steps,
            latency,
            advice: Vec::new(),
            recommended: limits
                .as_ref()
                .and_then(|limits| Recommendation::of(self, &predictor, limits)),
            limits,
            not_modelled: predictor.deployment.not_modelled.clone(),
            origins: Origins::of(&predictor, &self.coefficients),
        })
    }
}
