//! `Setting`: one point of a sweep with its measurements, over its repeats.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Objective, Slo};
use crate::load::LoadRun;
use crate::load::failure::Failure;
use roofline::statistics::quantile_of;
use roofline::units::Seconds;

/// Share of failed requests above which a setting does not meet the SLO.
const TOLERATED_FAILURES: f64 = 0.01;

/// The values set at one point.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SweepPoint {
    /// Concurrent requests, of the load or of the server.
    pub batch: u32,
    /// `--gpu-memory-utilization`, where it is varied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_memory_utilization: Option<f64>,
    /// `--max-num-batched-tokens`, where it is varied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_num_batched_tokens: Option<u64>,
}

/// One point with its measurements.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Setting {
    /// The values that were set.
    #[serde(flatten)]
    pub point: SweepPoint,
    /// The measurements; `None` where there are none.
    pub measured: Option<MeasuredPoint>,
    /// Whether the SLO was met.
    pub meets_slo: bool,
    /// Why nothing was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The measurements at one point.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MeasuredPoint {
    /// Number of runs.
    pub repeats: usize,
    /// Requests answered in full, over all repeats.
    pub completed: u32,
    /// Requests that failed.
    pub failed: u32,
    /// How often each kind of failure occurred.
    pub errors: BTreeMap<String, u32>,
    /// Output tokens per second.
    pub output_tokens_per_second: Spread,
    /// Requests per second.
    pub requests_per_second: Spread,
    /// Requests per second that met the SLO.
    pub goodput_requests_per_second: Spread,
    /// Time to first token at the percentile of the SLO; `None` without tokens.
    pub ttft_seconds: Option<Spread>,
    /// Time per output token at the percentile of the SLO; `None` for answers of one token.
    pub tpot_seconds: Option<Spread>,
    /// Mean prompt tokens.
    pub input_tokens: f64,
    /// Mean output tokens.
    pub output_tokens: f64,
}

/// A figure over repeats.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Mean of the repeats.
    pub mean: f64,
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
}

impl Spread {
    /// The spread of `values`; `None` without any.
    fn of(values: &[f64]) -> Option<Self> {
        let count = roofline::spec::to_f64(values.len() as u64);
        let fold = |of: fn(f64, f64) -> f64| values.iter().copied().reduce(of);
        Some(Self {
            mean: values.iter().sum::<f64>() / count,
            min: fold(f64::min)?,
            max: fold(f64::max)?,
        })
    }

    /// Half the range over the mean.
    #[must_use]
    pub fn relative(&self) -> f64 {
        if self.mean > 0.0 {
            (self.max - self.min) / 2.0 / self.mean
        } else {
            0.0
        }
    }
}

impl Setting {
    /// `point` with the measurements of `runs`.
    #[must_use]
    pub fn of(point: SweepPoint, runs: &[LoadRun], slo: &Slo) -> Self {
        let measured = MeasuredPoint::of(runs, slo);
        Self {
            point,
            meets_slo: measured
                .as_ref()
                .is_some_and(|measured| measured.meets(slo)),
            error: measured.is_none().then(|| {
                let kinds = tally(runs);
                format!("no request was answered in full: {kinds:?}")
            }),
            measured,
        }
    }

    /// `point` without measurements.
    #[must_use]
    pub const fn failed(point: SweepPoint, error: String) -> Self {
        Self {
            point,
            measured: None,
            meets_slo: false,
            error: Some(error),
        }
    }

    /// The value of the figure that `metric` names.
    #[must_use]
    pub fn figure(&self, metric: Objective) -> Option<f64> {
        self.measured
            .as_ref()?
            .spread(metric)
            .map(|spread| spread.mean)
    }
}

impl MeasuredPoint {
    fn of(runs: &[LoadRun], slo: &Slo) -> Option<Self> {
        let useful: Vec<&LoadRun> = runs.iter().filter(|run| run.completed > 0).collect();
        let spread = |figure: &dyn Fn(&LoadRun) -> Option<f64>| {
            let values: Vec<f64> = useful.iter().filter_map(|run| figure(run)).collect();
            Spread::of(&values)
        };
        let mean = |tokens: fn(&crate::load::run::RequestRecord) -> u32| {
            let all = useful.iter().flat_map(|run| run.answered());
            let (sum, count) = all.fold((0.0, 0.0), |(sum, count), request| {
                (sum + f64::from(tokens(request)), count + 1.0)
            });
            sum / count
        };
        let share = slo.percentile / 100.0;
        Some(Self {
            repeats: useful.len(),
            completed: runs.iter().map(|run| run.completed).sum(),
            failed: runs.iter().map(|run| run.failed).sum(),
            errors: tally(runs),
            output_tokens_per_second: spread(&|run| Some(run.output_tokens_per_second()))?,
            requests_per_second: spread(&|run| Some(run.requests_per_second()))?,
            goodput_requests_per_second: spread(&|run| Some(goodput(run, slo)))?,
            ttft_seconds: spread(&|run| {
                quantile_of(
                    run.answered().filter_map(|request| request.ttft_seconds),
                    share,
                )
            }),
            tpot_seconds: spread(&|run| {
                quantile_of(
                    run.answered()
                        .filter_map(crate::load::run::RequestRecord::tpot_seconds),
                    share,
                )
            }),
            input_tokens: mean(|request| request.input_tokens),
            output_tokens: mean(|request| request.output_tokens),
        })
    }

    /// The spread of the figure that `metric` names, over the repeats.
    #[must_use]
    pub const fn spread(&self, metric: Objective) -> Option<Spread> {
        match metric {
            Objective::Throughput => Some(self.output_tokens_per_second),
            Objective::Ttft => self.ttft_seconds,
            Objective::Tpot => self.tpot_seconds,
            Objective::Goodput => Some(self.goodput_requests_per_second),
        }
    }

    fn meets(&self, slo: &Slo) -> bool {
        // Requests that we cancelled when the user stopped the run are not failures of the server.
        let cancelled = self.errors.get(&Failure::Cancelled.kind());
        let failed = self.failed - cancelled.copied().unwrap_or_default();
        let all = f64::from(self.completed + failed);
        let within = |spread: Option<Spread>, limit: Seconds| {
            spread.is_none_or(|spread| spread.mean <= limit.0)
        };
        f64::from(failed) <= TOLERATED_FAILURES * all
            && within(self.ttft_seconds, slo.ttft_seconds)
            && within(self.tpot_seconds, slo.tpot_seconds)
    }
}

/// Requests per second that met both targets; an answer of one token has no time per output token.
fn goodput(run: &LoadRun, slo: &Slo) -> f64 {
    let kept = run.answered().filter(|request| {
        request
            .ttft_seconds
            .is_some_and(|ttft| ttft <= slo.ttft_seconds.0)
            && request
                .tpot_seconds()
                .is_none_or(|tpot| tpot <= slo.tpot_seconds.0)
    });
    roofline::spec::to_f64(kept.count() as u64) / run.duration_seconds
}

fn tally(runs: &[LoadRun]) -> BTreeMap<String, u32> {
    let mut all = BTreeMap::new();
    for (kind, count) in runs.iter().flat_map(|run| &run.errors) {
        *all.entry(kind.clone()).or_insert(0) += count;
    }
    all
}
