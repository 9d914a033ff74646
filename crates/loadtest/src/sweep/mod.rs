//! `Sweep`: what was measured at each setting, and which of them is best. Pure: who runs the loads hands the runs in.

pub mod choice;
pub mod prediction;
pub mod setting;
pub mod steps;

use serde::Serialize;

use roofline::units::Seconds;

use choice::BestSetting;
use prediction::Predicted;
use setting::Setting;

/// Version of the JSON form of [`Sweep`].
pub const SCHEMA: u32 = 1;

/// What is to be best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Output tokens per second, the more the better.
    #[default]
    Throughput,
    /// Time to first token, the less the better.
    Ttft,
    /// Time per output token, the less the better.
    Tpot,
    /// Requests per second that meet the targets, the more the better.
    Goodput,
}

/// What users are promised, at which percentile.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Slo {
    /// Time to first token.
    pub ttft_seconds: Seconds,
    /// Time per output token.
    pub tpot_seconds: Seconds,
    /// The percentile that must keep to them.
    pub percentile: f64,
}

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct Sweep {
    /// Version of this form.
    pub schema: u32,
    /// What was to be best.
    pub metric: Objective,
    /// What users are promised.
    pub slo: Slo,
    /// What `batch` is: `concurrency` of the load, or what `launch` made of it.
    pub varied: &'static str,
    /// Requests at a time where the server's setting was varied.
    pub concurrency: Option<u32>,
    /// What was measured.
    pub settings: Vec<Setting>,
    /// Why settings were left out, in words.
    pub stopped: Vec<String>,
    /// Whether it was interrupted.
    pub interrupted: bool,
    /// The best setting; `None` if none was measured.
    pub best: Option<BestSetting>,
    /// How far the roofline says it could go from there; `None` without model and GPU.
    pub predicted: Option<Predicted>,
    /// Why there is no prediction, in words.
    pub not_predicted: Option<String>,
}
