//! `AnalysisSummary`: an analysis on one screen.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Context;
use serde::Serialize;

use super::Files;
use crate::command::output::{table, write_table};
use crate::command::verdict_text;
use loadtest::analysis::text::{count, duration, percent};
use loadtest::analysis::{Against, Analysis, Figure, Run, felt};
use loadtest::load::LoadRun;
use roofline::diagnosis::{Effect, Finding, VerdictLevel};

/// Version of the JSON form of [`AnalysisSummary`].
const SCHEMA: u32 = 1;
/// Maximum number of remedies, best first; the report has all.
const MOST_ADVICE: usize = 3;
/// The figures shown, where known.
const FIGURES: [Figure; 9] = [
    Figure::OutputTokensPerSecond,
    Figure::RequestsPerSecond,
    Figure::TtftP50Seconds,
    Figure::TtftP99Seconds,
    Figure::TpotP50Seconds,
    Figure::TpotP99Seconds,
    Figure::Mfu,
    Figure::Mbu,
    Figure::GpuUtilization,
];

/// The outcome in figures.
#[derive(Debug, Serialize)]
pub(super) struct AnalysisSummary {
    schema: u32,
    model: Option<String>,
    gpu: Option<String>,
    seconds: f64,
    concurrency: Option<f64>,
    input_tokens: Option<f64>,
    output_tokens: Option<f64>,
    completed: u32,
    failed: u32,
    errors: BTreeMap<String, u32>,
    interrupted: bool,
    verdict: Vec<Finding>,
    #[serde(skip)]
    felt: Effect,
    figures: Vec<FigureRow>,
    bottlenecks: Vec<PhaseLimit>,
    advice: Vec<RemedyRow>,
    client: loadtest::load::run::ClientCost,
    notes: Vec<String>,
    files: Files,
}

/// One figure. Utilisations are modelled or measured, as the analysis says; the client measured the others.
#[derive(Debug, Serialize)]
struct FigureRow {
    figure: Figure,
    measured: f64,
    expected: Option<f64>,
    bound: Option<f64>,
    standing: Option<VerdictLevel>,
}

/// What limits a phase.
#[derive(Debug, Serialize)]
struct PhaseLimit {
    phase: &'static str,
    bound: &'static str,
    evidence: Vec<String>,
}

/// A remedy.
#[derive(Debug, Serialize)]
struct RemedyRow {
    r#do: String,
    predicted_effect: String,
}

impl AnalysisSummary {
    /// The summary of the one run of `analysis`.
    ///
    /// # Errors
    /// An analysis without a run.
    pub(super) fn of(analysis: &Analysis, load: &LoadRun, files: &Files) -> anyhow::Result<Self> {
        let run = analysis.runs.first().context("the analysis has no run")?;
        let bottlenecks = run.bottlenecks.iter().map(|found| PhaseLimit {
            phase: found.phase.map_or("run", |phase| phase.name()),
            bound: found.bound.name(),
            evidence: found.evidence.clone(),
        });
        let advice = run
            .advice
            .iter()
            .take(MOST_ADVICE)
            .map(|suggestion| RemedyRow {
                r#do: suggestion.advice.r#do.clone(),
                predicted_effect: suggestion.advice.predicted_effect.clone(),
            });
        Ok(Self {
            schema: SCHEMA,
            model: analysis.configuration.model.clone(),
            gpu: analysis.configuration.gpu_name.clone(),
            seconds: load.duration_seconds,
            concurrency: run.load.concurrency,
            input_tokens: run.load.input_tokens,
            output_tokens: run.load.output_tokens,
            completed: load.completed,
            failed: load.failed,
            errors: load.errors.clone(),
            interrupted: load.interrupted,
            verdict: run.verdict.clone(),
            felt: felt(&run.measured),
            figures: FIGURES
                .iter()
                .filter_map(|figure| row(run, *figure))
                .collect(),
            bottlenecks: bottlenecks.collect(),
            advice: advice.collect(),
            client: load.client,
            notes: analysis.notes.clone(),
            files: files.clone(),
        })
    }

    /// Prints it for people.
    pub(super) fn write(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let known = |value: &Option<String>, what: &str| {
            value.clone().unwrap_or_else(|| format!("{what} not known"))
        };
        let number = |value: Option<f64>| value.map_or_else(|| "?".to_owned(), count);
        writeln!(
            out,
            "{} on {}: {} requests in {}, {} at a time, {} → {} tokens",
            known(&self.model, "model"),
            known(&self.gpu, "GPU"),
            self.completed,
            duration(self.seconds),
            number(self.concurrency),
            number(self.input_tokens),
            number(self.output_tokens),
        )?;
        for (kind, times) in &self.errors {
            writeln!(out, "failed: {times} × {kind}")?;
        }
        if self.interrupted {
            writeln!(
                out,
                "The load ended before it was done; this is what there was."
            )?;
        }
        writeln!(out)?;
        verdict_text::write("", &self.verdict, &self.felt, out)?;
        writeln!(out)?;
        self.write_figures(out)?;
        for found in &self.bottlenecks {
            let why = found.evidence.first().map(|why| format!(": {why}"));
            writeln!(
                out,
                "{} is bound by {}{}",
                found.phase,
                found.bound,
                why.unwrap_or_default()
            )?;
        }
        for remedy in &self.advice {
            writeln!(
                out,
                "→ {}: {} (modelled)",
                remedy.r#do, remedy.predicted_effect
            )?;
        }
        for note in &self.notes {
            writeln!(out, "note: {note}")?;
        }
        writeln!(
            out,
            "client: {} of a core, events waited up to {} (P99)",
            percent(self.client.cpu_seconds / self.seconds.max(1e-9)),
            duration(self.client.event_lag_p99_seconds)
        )?;
        writeln!(out, "\nAll of it: {}", self.files.report.display())?;
        Ok(())
    }

    fn write_figures(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let mut rows = table(["", "measured", "expected", "bound", "target"]);
        for row in &self.figures {
            let shown =
                |value: Option<f64>| value.map_or_else(String::new, |value| row.figure.show(value));
            rows.add_row([
                row.figure.label().to_owned(),
                shown(Some(row.measured)),
                shown(row.expected),
                shown(row.bound),
                row.standing
                    .map_or_else(String::new, |standing| standing.as_str().to_owned()),
            ]);
        }
        Ok(write_table(&rows, out)?)
    }
}

fn row(run: &Run, figure: Figure) -> Option<FigureRow> {
    let against = |which: Against| {
        run.comparisons
            .iter()
            .filter(move |comparison| comparison.against == which)
            .flat_map(|comparison| &comparison.rows)
            .find(|row| row.figure == figure)
    };
    let compared = against(Against::MeasuredLoad).or_else(|| against(Against::Static));
    Some(FigureRow {
        figure,
        measured: run.figure(figure)?,
        expected: compared.map(|row| row.expected),
        bound: compared.map(|row| row.bound),
        standing: run
            .verdicts
            .iter()
            .find(|verdict| verdict.figure == figure)
            .map(|verdict| verdict.standing),
    })
}
