//! `Sweep`: the measurements at each setting, and the best setting. It runs no load: the caller passes the runs in.

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

/// The service-level objective and its percentile.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Slo {
    /// Time to first token.
    pub ttft_seconds: Seconds,
    /// Time per output token.
    pub tpot_seconds: Seconds,
    /// The percentile that must meet it.
    pub percentile: f64,
}

/// The result of a sweep.
#[derive(Clone, Debug, Serialize)]
pub struct Sweep {
    /// Version of this form.
    pub schema: u32,
    /// The objective.
    pub metric: Objective,
    /// The service-level objective.
    pub slo: Slo,
    /// What `batch` is: `concurrency` of the load, or what `launch` made of it.
    pub varied: &'static str,
    /// Concurrent requests where a server setting was varied.
    pub concurrency: Option<u32>,
    /// The measurements.
    pub settings: Vec<Setting>,
    /// Why settings were skipped, in words.
    pub stopped: Vec<String>,
    /// Whether it was interrupted.
    pub interrupted: bool,
    /// The best setting; `None` if none was measured.
    pub best: Option<BestSetting>,
    /// How far performance could go by the roofline; `None` without model and GPU.
    pub predicted: Option<Predicted>,
    /// Why there is no prediction, in words.
    pub not_predicted: Option<String>,
}
