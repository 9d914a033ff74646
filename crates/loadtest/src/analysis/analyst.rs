//! `Analyst`: analyses results and captures, run by run.

use crate::results::{LoadResult, ResultSource};
use roofline::predict::{Prediction, Scenario};

use super::recording::{RecordedPhase, RecordedStretch, Recording};
use super::run::{Against, Comparison, MeasuredRun, Run, RunWorkload, Suggestion};
use super::{Configuration, Inputs, bottleneck, client, predicted, text, verdict};

/// Seconds at the start of a capture's phase that its figures leave out.
const WARM_UP: f64 = 2.0;

/// Analyses the inputs.
pub(super) struct Analyst<'a> {
    pub inputs: &'a Inputs<'a>,
}

impl Analyst<'_> {
    /// Rejects a prediction that was made for another model.
    pub(super) fn check_prediction(&self) -> anyhow::Result<()> {
        let (Some(prediction), Some(model)) =
            (&self.inputs.prediction, self.inputs.subject.model())
        else {
            return Ok(());
        };
        anyhow::ensure!(
            prediction.model.total_params == model.total_params(),
            "--static is of {} with {} parameters, but {} with {} was measured; predict that one",
            prediction.model.name,
            prediction.model.total_params,
            self.inputs.subject.name.as_deref().unwrap_or("a model"),
            model.total_params(),
        );
        Ok(())
    }

    pub(super) fn configuration(&self) -> Configuration {
        let facts = &self.inputs.subject.facts;
        let prediction = self.inputs.prediction.as_ref();
        let model = self.inputs.subject.model();
        let predicted = prediction.map(|prediction| &prediction.model);
        let gpu = prediction.and_then(|prediction| prediction.gpu.as_ref());
        let known = facts.gpu.as_ref();
        Configuration {
            model: self
                .inputs
                .subject
                .name
                .clone()
                .or_else(|| Some(predicted?.name.clone())),
            architecture: model
                .map(|model| model.architecture.clone())
                .or_else(|| Some(predicted?.architecture.clone())),
            total_params: model
                .map(roofline::spec::model::ModelSpec::total_params)
                .or_else(|| Some(predicted?.total_params)),
            gpu: known
                .map(|gpu| gpu.id.clone())
                .or_else(|| Some(gpu?.id.clone())),
            gpu_name: known
                .map(|gpu| gpu.name.clone())
                .or_else(|| Some(gpu?.name.clone())),
            gpus: model.map(|_| facts.gpus() * self.inputs.subject.replicas()),
            deployment: facts.flags.clone(),
        }
    }

    pub(super) fn runs(&self) -> Vec<Run> {
        if self.inputs.results.is_empty() {
            self.stretches()
        } else {
            self.inputs
                .results
                .iter()
                .map(|result| self.of_result(result))
                .collect()
        }
    }

    /// The phases of the recording; the whole recording where it names no phase.
    fn stretches(&self) -> Vec<Run> {
        let Some(recording) = self.inputs.recording else {
            return Vec::new();
        };
        let phases = recording.phases();
        if phases.is_empty() {
            let whole = recording.stretch(f64::NEG_INFINITY, f64::INFINITY, 0.0);
            return whole
                .map(|recorded| self.of_recording(recording, None, recorded))
                .into_iter()
                .collect();
        }
        let phases = phases.iter().filter_map(|phase| {
            let recorded = recording.stretch(phase.from, phase.to, WARM_UP)?;
            Some(self.of_recording(recording, Some(phase), recorded))
        });
        phases.collect()
    }

    fn of_recording(
        &self,
        recording: &dyn Recording,
        phase: Option<&RecordedPhase>,
        mut recorded: RecordedStretch,
    ) -> Run {
        if let Some(phase) = phase {
            recorded.load.adopt(phase);
        }
        let run = Run {
            name: phase.map_or_else(|| recording.name().to_owned(), |phase| phase.name.clone()),
            source: ResultSource {
                tool: "capture".to_owned(),
                file: Some(recording.name().to_owned()),
                ..ResultSource::default()
            },
            model: recording.served_name(),
            started_at: Some(phase.map_or(recorded.observed.start, |phase| phase.from)),
            duration_seconds: recorded.observed.seconds,
            completed: recorded.completed,
            ..Run::default()
        };
        self.completed(run, Some(recorded))
    }

    fn of_result(&self, result: &LoadResult) -> Run {
        let recorded = self.recording_of(result);
        let run = Run {
            name: name_of(result),
            source: result.source.clone(),
            model: result.model.clone(),
            started_at: result.started_at,
            duration_seconds: result.duration,
            load: client::workload(result),
            completed: result.completed,
            failed: result.failed,
            errors: result.errors.clone(),
            measured: MeasuredRun {
                rates: result.rates,
                latency: result.latency.clone(),
                ..MeasuredRun::default()
            },
            modelled: client::modelled(&self.inputs.subject, result),
            caveats: self.caveats(result, recorded.is_some()),
            ..Run::default()
        };
        self.completed(run, recorded)
    }

    /// What the recording saw while `result` was measured.
    fn recording_of(&self, result: &LoadResult) -> Option<RecordedStretch> {
        let from = result.started_at?;
        let recording = self.inputs.recording?;
        recording.stretch(from, from + result.duration.0, 0.0)
    }

    /// Completes `run` with everything that follows from its measurements.
    fn completed(&self, mut run: Run, recorded: Option<RecordedStretch>) -> Run {
        let overhead_below = self.inputs.overhead_below;
        if let Some(recorded) = recorded {
            run.bottlenecks =
                bottleneck::from_capture(&self.inputs.subject, &recorded, overhead_below);
            run.caveats
                .extend(recorded.observed.caveats.iter().cloned());
            run.verdict.clone_from(&recorded.observed.verdict);
            run.adopt(recorded);
        }
        run.roofs = self.inputs.subject.roofs(run.measured.sm_clock_mhz);
        let scenario = self.scenario(&run.load);
        let prediction = scenario
            .as_ref()
            .and_then(|scenario| match scenario.predict() {
                Ok(prediction) => Some(prediction),
                Err(error) => {
                    run.caveats.push(format!("not predicted: {error}"));
                    None
                }
            });
        if run.bottlenecks.is_empty()
            && let Some(prediction) = prediction.as_ref().or(self.inputs.prediction.as_ref())
        {
            run.bottlenecks =
                bottleneck::from_prediction(prediction, &run.measured, overhead_below);
        }
        if run.verdict.is_empty() {
            run.verdict = verdict::of_client(&run, scenario.as_ref());
        }
        run.comparisons = self.comparisons(
            &mut run.caveats,
            &run.load,
            &run.measured,
            prediction.as_ref(),
        );
        let at_load = run
            .comparisons
            .iter()
            .rfind(|comparison| comparison.against == Against::MeasuredLoad);
        run.verdicts = self
            .inputs
            .targets
            .judge(&run.measured, at_load.or(run.comparisons.first()));
        run.advice = self.advice(&run, scenario.as_ref(), prediction);
        run
    }

    fn scenario(&self, load: &RunWorkload) -> Option<Scenario> {
        self.inputs
            .subject
            .scenario(self.inputs.subject.serving(load)?)
    }

    fn comparisons(
        &self,
        caveats: &mut Vec<String>,
        load: &RunWorkload,
        measured: &MeasuredRun,
        at_load: Option<&Prediction>,
    ) -> Vec<Comparison> {
        let stated = self.inputs.prediction.as_ref();
        let stated =
            stated.and_then(|stated| predicted::compare(Against::Static, stated, measured));
        if let Some((stated, concurrency)) = stated.as_ref().zip(load.concurrency) {
            let here = concurrency / self.inputs.subject.replicas();
            if (stated.batch / here - 1.0).abs() > 0.1 {
                caveats.push(format!(
                    "--static is for {} requests at a time, {} were in flight: its latencies and throughput are those of another load",
                    text::count(stated.batch),
                    text::count(here)
                ));
            }
        }
        let at_load = at_load
            .and_then(|at_load| predicted::compare(Against::MeasuredLoad, at_load, measured))
            .filter(|at_load| {
                !stated
                    .as_ref()
                    .is_some_and(|stated| predicted::same(stated, at_load))
            });
        stated.into_iter().chain(at_load).collect()
    }

    /// Advice against the bottlenecks that were found, which can differ from the predicted ones. A phase with too little activity to have a
    /// bottleneck gets no advice, and advice that does not fit the measured load is dropped.
    fn advice(
        &self,
        run: &Run,
        scenario: Option<&Scenario>,
        prediction: Option<Prediction>,
    ) -> Vec<Suggestion> {
        let stated = self.inputs.prediction.as_ref();
        let mut advice = match (scenario, prediction) {
            (Some(scenario), Some(prediction)) => {
                scenario.advise_against(&prediction, |phase| run.obstacle_of(phase))
            }
            _ => stated.map_or_else(Vec::new, |stated| stated.advice.clone()),
        };
        advice.retain(|advice| {
            let phase = advice.phase;
            let is_found = || phase.is_none() || run.obstacle_of(phase).is_some();
            predicted::fits(advice, &run.load) && (run.bottlenecks.is_empty() || is_found())
        });
        predicted::suggestions(advice, &run.measured, &run.bottlenecks)
    }

    fn caveats(&self, result: &LoadResult, is_recorded: bool) -> Vec<String> {
        let mut caveats = result.caveats.clone();
        if self.inputs.recording.is_some() && !is_recorded {
            caveats.push(
                "the capture saw nothing of this run: it is of another time, or the clocks or time zones of the two differ; the work is modelled from the client's counts"
                    .to_owned(),
            );
        }
        if result.completed == 0 {
            caveats.push("no request was completed: there is nothing to measure".to_owned());
        } else if result.failed > 0 {
            caveats.push(format!(
                "{} of {} requests failed; the figures are those of the others",
                result.failed,
                result.failed + result.completed
            ));
        }
        if let Some((served, named)) = result
            .model
            .as_deref()
            .zip(self.inputs.subject.name.as_deref())
            && !alike(served, named)
        {
            caveats.push(format!(
                "the server called its model `{served}`, the roofline is that of `{named}`: make sure they are the same"
            ));
        }
        caveats
    }

    pub(super) fn notes(&self) -> Vec<String> {
        let facts = &self.inputs.subject.facts;
        let mut notes = Vec::new();
        if facts.served.is_none() && self.inputs.recording.is_none() {
            notes.push(
                "the model is not known: no FLOPs, no bytes, no MFU, no bottleneck; set --model"
                    .to_owned(),
            );
        }
        if facts.gpu.is_none() && self.inputs.recording.is_none() {
            notes.push(
                "the GPU is not known: no roof, no utilisation of it, no prediction; set --gpu"
                    .to_owned(),
            );
        }
        notes.extend(
            facts
                .missing
                .iter()
                .map(|missing| format!("{}: {}", missing.fact, missing.why)),
        );
        if let Some(served) = &facts.served {
            let left_out = served.deployment.not_modelled.iter();
            notes.extend(left_out.map(|what| format!("not modelled: {what}")));
        }
        notes
    }
}

/// A short name for a run, from its load settings.
fn name_of(result: &LoadResult) -> String {
    if let Some(label) = result
        .source
        .label
        .as_deref()
        .filter(|_| result.source.tool == "vllm bench serve")
    {
        return label.to_owned();
    }
    match (result.load.request_rate, result.load.max_concurrency) {
        (Some(rate), _) => format!("{} requests/s", text::count(rate)),
        (None, Some(limit)) => format!("concurrency {limit}"),
        (None, None) => result
            .source
            .label
            .clone()
            .unwrap_or_else(|| result.source.tool.clone()),
    }
}

/// Whether two names can mean the same model: one contains the other, whatever their punctuation and case.
fn alike(one: &str, other: &str) -> bool {
    let plain = |name: &str| -> String {
        let last = name
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or(name);
        last.chars()
            .filter(char::is_ascii_alphanumeric)
            .collect::<String>()
            .to_lowercase()
    };
    let (one, other) = (plain(one), plain(other));
    one.contains(&other) || other.contains(&one)
}
