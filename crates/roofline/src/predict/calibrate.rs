//! Fits the coefficients of a deployment to its own recording.
//!
//! Seven factors, all 1 initially: on the shares of memory bandwidth and of the compute peak that kernels reach, additionally on those of
//! the KV cache's and the experts' kernels, on the fixed time of a step's kernels, on the time of the engine's process and its frontend,
//! and on the launch time of steps outside CUDA graphs. The search minimises the mean of `|ln(expected / observed)|` over the observed
//! spans, with a pull towards 1, so that factors that the recording does not determine stay unchanged. A mean of squares would follow the
//! few spans whose large steps are cut by their ends.

use thiserror::Error;

use crate::cost::coefficients::{Coefficient, Coefficients};
use crate::cost::shard::Shard;
use crate::cost::step::{RequestGroup, StepWork};
use crate::cost::timing::StepTimer;
use crate::spec::deployment::Deployment;
use crate::spec::gpu::GpuSpec;
use crate::units::Seconds;

/// The steps of a span of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedSteps {
    /// Each kind of step: how often it ran, and its requests.
    pub kinds: Vec<(f64, Vec<RequestGroup>)>,
    /// Total time of these steps.
    pub seconds: Seconds,
}

/// Relative errors of expected steps against observed ones: 0.1 is 10 %.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct StepErrors {
    /// Mean of the absolute errors.
    pub mean: f64,
    /// Their median.
    pub median: f64,
}

/// Coefficients from a recording, and their accuracy on the part of it that they were not fitted to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibrated {
    /// The coefficients with the calibrated values.
    pub coefficients: Coefficients,
    /// Errors with the initial coefficients.
    pub before: StepErrors,
    /// Errors with the calibrated coefficients.
    pub after: StepErrors,
}

/// Why a recording cannot be used for calibration.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CalibrateError {
    /// No GPU, no ceilings.
    #[error("the GPU is not known; name it with --gpu")]
    NoGpu,
    /// Too few steps in one of the two parts.
    #[error(
        "only {0} spans with a steady load to fit and {1} to check with; record at least {FEWEST} of each"
    )]
    TooShort(usize, usize),
}

/// Minimum number of observed spans in each part.
const FEWEST: usize = 2;
/// Weight of the pull towards 1, relative to a mean over all steps.
const PULL: f64 = 0.02;
/// The search starts with steps of this size, in logarithms, and ends with steps below the second.
const STEPS: (f64, f64) = (0.2, 0.005);
/// Factors are searched between `1/e` and `e`.
const FARTHEST: f64 = 1.0;

/// Memory, compute, KV cache, experts, fixed kernels, engine, launches: logarithms of their factors.
type Factors = [f64; 7];

/// Calibrates `start` for `deployment` on the spans `fitted`, and evaluates on those in `checked`.
///
/// # Errors
/// When the GPU is unknown or there are too few steps.
pub fn calibrate(
    deployment: &Deployment,
    start: Coefficients,
    fitted: &[ObservedSteps],
    checked: &[ObservedSteps],
) -> Result<Calibrated, CalibrateError> {
    let gpu = deployment.gpu.as_ref().ok_or(CalibrateError::NoGpu)?;
    if fitted.len() < FEWEST || checked.len() < FEWEST {
        return Err(CalibrateError::TooShort(fitted.len(), checked.len()));
    }
    let shard = Shard::of(deployment);
    let priced = |spans: &[ObservedSteps]| -> Vec<PricedSteps> {
        spans
            .iter()
            .map(|span| PricedSteps::of(span, &shard))
            .collect()
    };
    let subject = CalibrationSubject {
        deployment,
        gpu,
        shard: &shard,
        start,
    };
    let (fitted, checked) = (priced(fitted), priced(checked));
    let factors = search(|factors| {
        let pull: f64 = factors.iter().map(|factor| factor * factor).sum();
        let sizes: f64 = subject
            .deviations(&subject.scaled(factors), &fitted)
            .map(f64::abs)
            .sum();
        sizes / count(fitted.len()) + PULL * pull
    });
    let coefficients = subject.scaled(&factors);
    Ok(Calibrated {
        coefficients,
        before: subject.errors(&start, &checked),
        after: subject.errors(&coefficients, &checked),
    })
}

/// Observed steps with their work.
struct PricedSteps {
    kinds: Vec<(f64, StepWork)>,
    seconds: f64,
}

impl PricedSteps {
    fn of(span: &ObservedSteps, shard: &Shard) -> Self {
        let kinds = span.kinds.iter();
        Self {
            kinds: kinds
                .map(|(count, requests)| (*count, shard.work_of_step(requests)))
                .collect(),
            seconds: span.seconds.0,
        }
    }

    /// Expected time of all of them.
    fn expected(&self, timer: &StepTimer) -> Seconds {
        let kinds = self.kinds.iter();
        kinds
            .map(|(count, work)| timer.expected(work).total() * *count)
            .sum()
    }
}

struct CalibrationSubject<'a> {
    deployment: &'a Deployment,
    gpu: &'a GpuSpec,
    shard: &'a Shard,
    start: Coefficients,
}

impl CalibrationSubject<'_> {
    /// The initial coefficients with `factors` applied.
    fn scaled(&self, factors: &Factors) -> Coefficients {
        let [memory, compute, kv_cache, experts, fixed, engine, launch] = factors.map(f64::exp);
        let timer = StepTimer::new(self.deployment, self.shard, self.gpu, self.start);
        let kernels = timer.kernels();
        let share = |value: f64| Some(Coefficient::calibrated(value.min(1.0)));
        let scaled = |cost: Coefficient, factor: f64| Coefficient::calibrated(cost.value * factor);
        let main = kernels.compute(timer.main_precision());
        let start = kernels.calibrated(self.start, self.gpu, (kv_cache, experts));
        Coefficients {
            hbm_fraction: share(kernels.weights.value * memory),
            flops_fraction: share(main * compute / start.compute_efficiency.value),
            seconds_per_step: scaled(start.seconds_per_step, fixed),
            seconds_per_layer: scaled(start.seconds_per_layer, fixed),
            engine_seconds_per_step: scaled(start.engine_seconds_per_step, engine),
            engine_seconds_per_sequence: scaled(start.engine_seconds_per_sequence, engine),
            engine_seconds_per_eager_layer: scaled(start.engine_seconds_per_eager_layer, launch),
            launch_seconds_per_layer: scaled(start.launch_seconds_per_layer, launch),
            frontend_seconds_per_output_token: scaled(
                start.frontend_seconds_per_output_token,
                engine,
            ),
            ..start
        }
    }

    /// `ln(expected / observed)` of each span.
    fn deviations<'a>(
        &self,
        coefficients: &Coefficients,
        spans: &'a [PricedSteps],
    ) -> impl Iterator<Item = f64> + use<'a> {
        let timer = StepTimer::new(self.deployment, self.shard, self.gpu, *coefficients);
        spans
            .iter()
            .map(move |span| (span.expected(&timer).0 / span.seconds).ln())
    }

    fn errors(&self, coefficients: &Coefficients, spans: &[PricedSteps]) -> StepErrors {
        let mut sizes: Vec<f64> = self
            .deviations(coefficients, spans)
            .map(|deviation| deviation.exp_m1().abs())
            .collect();
        sizes.sort_by(f64::total_cmp);
        StepErrors {
            mean: sizes.iter().sum::<f64>() / count(sizes.len()),
            median: sizes[sizes.len() / 2],
        }
    }
}

/// Minimises `cost` by coordinate search: moves one factor after the other while that helps, by ever smaller steps.
fn search(cost: impl Fn(&Factors) -> f64) -> Factors {
    let mut best = Factors::default();
    let mut least = cost(&best);
    let mut step = STEPS.0;
    while step > STEPS.1 {
        let before = least;
        for index in 0..best.len() {
            for change in [step, -step] {
                let mut moved = best;
                moved[index] = (moved[index] + change).clamp(-FARTHEST, FARTHEST);
                let moved_cost = cost(&moved);
                if moved_cost < least {
                    (best, least) = (moved, moved_cost);
                }
            }
        }
        if least >= before {
            step /= 2.0;
        }
    }
    best
}

fn count(length: usize) -> f64 {
    crate::spec::to_f64(crate::spec::to_u64(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::deployment::DeploymentFlags;
    use crate::spec::gpu::GpuTable;
    use crate::spec::model::ModelSpec;

    fn deployment() -> Deployment {
        let config = serde_json::json!({"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
            "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128_256,
            "torch_dtype": "bfloat16"});
        let gpu = GpuTable::embedded()
            .expect("parses")
            .find("H100")
            .expect("known")
            .clone();
        let model = ModelSpec::from_config(&config).expect("complete");
        Deployment::new(model, Some(gpu), &DeploymentFlags::default()).expect("runs")
    }

    /// Steps of an engine whose memory and engine process are slower than the coefficients say.
    fn observed(deployment: &Deployment, batches: &[f64]) -> Vec<ObservedSteps> {
        let shard = Shard::of(deployment);
        let gpu = deployment.gpu.clone().expect("has one");
        let usual = Coefficients::default();
        let slow = Coefficients {
            hbm_fraction: Some(Coefficient::calibrated(0.6)),
            engine_seconds_per_step: Coefficient::calibrated(6e-3),
            ..usual
        };
        let timer = StepTimer::new(deployment, &shard, &gpu, slow);
        let step = |batch: &f64| {
            let requests = vec![RequestGroup::decode(*batch, 2000.0)];
            let seconds = timer.expected(&shard.work_of_step(&requests)).total();
            ObservedSteps {
                kinds: vec![(1.0, requests)],
                seconds,
            }
        };
        batches.iter().map(step).collect()
    }

    #[test]
    fn a_slower_engine_is_learnt_and_its_other_steps_are_met() {
        let deployment = deployment();
        let fitted = observed(&deployment, &[1.0, 4.0, 16.0, 64.0]);
        let checked = observed(&deployment, &[2.0, 8.0, 32.0]);
        let found =
            calibrate(&deployment, Coefficients::default(), &fitted, &checked).expect("enough");
        assert!(found.before.mean > 0.15, "{found:?}");
        assert!(found.after.mean < 0.05, "{found:?}");
        assert!(found.coefficients.hbm_fraction.expect("found").value < 0.75);
    }

    #[test]
    fn a_recording_that_agrees_changes_little() {
        let deployment = deployment();
        let start = Coefficients {
            hbm_fraction: Some(Coefficient::calibrated(0.6)),
            engine_seconds_per_step: Coefficient::calibrated(6e-3),
            ..Coefficients::default()
        };
        let steps = observed(&deployment, &[1.0, 8.0, 64.0]);
        let found = calibrate(&deployment, start, &steps, &steps).expect("enough");
        assert!(
            found.before.mean < 1e-9 && found.after.mean < 1e-9,
            "{found:?}"
        );
    }

    #[test]
    fn too_little_is_refused() {
        let deployment = deployment();
        let steps = observed(&deployment, &[1.0, 8.0, 64.0]);
        let error = calibrate(&deployment, Coefficients::default(), &steps, &steps[..1]);
        assert_eq!(error, Err(CalibrateError::TooShort(3, 1)));
    }
}
