//! `analyze`: compares load tests and captures with the roofline.
//!
//! The inputs are measurements ([`crate::results`], a capture, or both of one run) and the known deployment; the output is an [`Analysis`],
//! which `dynamic` prints, `report` renders and `--baseline` reads back. Nothing here touches the network.

mod analyst;
mod baseline;
mod bottleneck;
mod client;
mod effect;
mod figure;
mod noise;
mod predicted;
mod recording;
mod run;
mod subject;
mod targets;
pub mod text;
mod verdict;

pub use baseline::{
    Baseline, BaselineOutcome, ChangedSetting, FigureChange, Pair, compare, settings as settings_of,
};
pub use effect::{Arrival, PredictedEffect};
pub use figure::Figure;
pub use noise::{Estimate, NoiseBasis};
pub use recording::{ObservedBound, PhaseWork, RecordedPhase, RecordedStretch, Recording};
pub use run::{
    Against, Basis, Bottleneck, Comparison, ComparisonRow, MeasuredRun, ModelledRun, RooflinePoint,
    Run, RunRoof, RunWorkload, Suggestion, TimelineMoment,
};
pub use subject::{ModelConfig, Subject};
pub use targets::{FigureTargets, TargetVerdict};
pub use verdict::felt;

use serde::{Deserialize, Serialize};

use crate::results::LoadResult;
use roofline::predict::Prediction;
use roofline::spec::deployment::DeploymentFlags;

use analyst::Analyst;

/// Version of the JSON form of [`Analysis`].
pub const SCHEMA: u32 = 1;

/// Inputs of an analysis.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// Results of load tests.
    pub results: Vec<LoadResult>,
    /// A recording: of the same time as `results`, which it then explains, or on its own.
    pub recording: Option<&'a dyn Recording>,
    /// Model, GPU and deployment.
    pub subject: Subject,
    /// Below this share of busy time, the roofline does not explain where the time goes.
    pub overhead_below: f64,
    /// What counts as good and as bad.
    pub targets: FigureTargets,
    /// An earlier prediction, from `static --format json`.
    pub prediction: Option<Prediction>,
}

/// The analysis of load tests; the JSON of `dynamic`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// Version of this form.
    pub schema: u32,
    /// Name of the tool that made it.
    pub tool: String,
    /// Its version.
    pub version: String,
    /// What was tested.
    pub configuration: Configuration,
    /// What counts as good and as bad.
    pub targets: FigureTargets,
    /// One per load test or phase.
    pub runs: Vec<Run>,
    /// Notes that hold for all runs.
    pub notes: Vec<String>,
    /// Comparison with an earlier analysis; only with `--baseline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
}

/// What was tested.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Configuration {
    /// Name of the model.
    pub model: Option<String>,
    /// Its architecture class.
    pub architecture: Option<String>,
    /// Total parameters.
    pub total_params: Option<u64>,
    /// Id of the GPU.
    pub gpu: Option<String>,
    /// Its name.
    pub gpu_name: Option<String>,
    /// GPUs of all replicas together.
    pub gpus: Option<f64>,
    /// vLLM's own flags, as far as they are known.
    pub deployment: DeploymentFlags,
}

/// Analyses `inputs`.
///
/// # Errors
/// When the prediction is for another model than the measured one.
pub fn analyze(inputs: &Inputs<'_>) -> anyhow::Result<Analysis> {
    let analyst = Analyst { inputs };
    analyst.check_prediction()?;
    Ok(Analysis {
        schema: SCHEMA,
        tool: "vllm-roofline-exporter".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        configuration: analyst.configuration(),
        targets: inputs.targets,
        runs: analyst.runs(),
        notes: analyst.notes(),
        baseline: None,
    })
}
