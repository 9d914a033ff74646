//! `analyze`: load tests and captures against the roofline.
//!
//! In goes what was measured ([`crate::results`], a capture, or both of one run) and what is known of the deployment; out comes an
//! [`Analysis`], which `dynamic` prints, `report` draws and `--baseline` reads again. Nothing here touches the network.

mod analyst;
mod baseline;
mod bottleneck;
mod client;
mod effect;
mod figure;
mod noise;
mod predicted;
mod recorded;
mod run;
mod subject;
mod target_flags;
mod targets;
pub mod text;

pub use baseline::{Baseline, Change, Changed, Outcome, Pair, compare, settings as settings_of};
pub use effect::{Arrival, PredictedEffect};
pub use figure::Figure;
pub use noise::{Estimate, NoiseBasis};
pub use run::{
    Against, Basis, Bottleneck, Comparison, ComparisonRow, Measured, Modelled, Moment, RoofLine,
    RooflinePoint, Run, Suggestion, Workload,
};
pub use target_flags::TargetFlags;
pub use targets::{Standing, Targets, Verdict};

use serde::{Deserialize, Serialize};

use crate::build_info::BUILD;
use crate::capture::read::Capture;
use crate::config::Settings;
use crate::player::Player;
use crate::results::LoadResult;
use roofline::predict::Prediction;
use roofline::spec::deployment::DeploymentFlags;

use analyst::Analyst;
use subject::Subject;

/// Version of the JSON form of [`Analysis`].
pub const SCHEMA: u32 = 1;

/// What is to be analysed.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// Results of load tests.
    pub results: Vec<LoadResult>,
    /// A capture: of the same time as `results`, which it then explains, or on its own.
    pub capture: Option<&'a Capture>,
    /// Model, GPU, deployment and how to measure.
    pub settings: &'a Settings,
    /// What counts as good and as bad.
    pub targets: Targets,
    /// A prediction made before, of `static --format json`.
    pub prediction: Option<Prediction>,
}

/// What load tests say. The JSON of `dynamic`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// Version of this form.
    pub schema: u32,
    /// What made it.
    pub tool: String,
    /// Its version.
    pub version: String,
    /// What was tested.
    pub configuration: Configuration,
    /// What counts as good and as bad.
    pub targets: Targets,
    /// One per load test or phase.
    pub runs: Vec<Run>,
    /// What holds for all of them.
    pub notes: Vec<String>,
    /// Against an earlier analysis; only with `--baseline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
}

/// What was tested.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Configuration {
    /// Name of the model.
    pub model: Option<String>,
    /// Its class.
    pub architecture: Option<String>,
    /// All its parameters.
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
/// A model that is not found, a GPU that is not known, a deployment that vLLM would refuse, or a prediction of another model.
pub fn analyze(inputs: &Inputs<'_>) -> anyhow::Result<Analysis> {
    let table = inputs.settings.gpu_table()?;
    let player = inputs
        .capture
        .map(|capture| Player::new(capture, inputs.settings))
        .transpose()?;
    let subject = match &player {
        Some(player) => {
            if let Some(name) = inputs
                .settings
                .gpu
                .as_deref()
                .filter(|name| *name != "none")
            {
                table.find(name)?;
            }
            Subject::of_capture(player.facts(), inputs.settings)
        }
        None => Subject::of_settings(inputs.settings, &table)?,
    };
    let analyst = Analyst {
        inputs,
        player: player.as_ref(),
        subject,
    };
    analyst.check_prediction()?;
    Ok(Analysis {
        schema: SCHEMA,
        tool: "vllm-roofline-exporter".to_owned(),
        version: BUILD.version.to_owned(),
        configuration: analyst.configuration(),
        targets: inputs.targets,
        runs: analyst.runs(),
        notes: analyst.notes(),
        baseline: None,
    })
}
