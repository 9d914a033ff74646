//! `diagnose`: reports what holds vLLM back under the current traffic, and what to do about it, on one screen.

pub mod report;

use std::io::Write;

use anyhow::Context;
use clap::ValueEnum;
use tokio::time::timeout;

use crate::config::Settings;
use crate::config::duration::TimeSpan;
use crate::config::flags::SettingsFlags;
use crate::export::snapshot_json;
use crate::view::snapshot::SnapshotView;

use super::output::{OutputFormat, write_json};
use super::progress::ProgressLine;
use super::usage::FoundSomething;
use super::{local_vllm, sampling, serve};

/// Failed reads at the start before vLLM counts as unreachable.
const PATIENCE: u32 = 3;
/// Ticks without any snapshot before the source is given up.
const SILENT_TICKS: u32 = 5;

/// Arguments of `diagnose`.
#[derive(Clone, Debug, clap::Args)]
pub struct DiagnoseArgs {
    /// How long to observe
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub duration: TimeSpan,
    /// Exit with 3 for a finding of at least this severity
    #[arg(long, value_enum, value_name = "SEVERITY", default_value_t)]
    pub fail_on: FailOn,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub format: OutputFormat,
    /// Where and how vLLM and the GPUs are read.
    #[command(flatten)]
    pub settings: SettingsFlags,
}

/// From which severity on a finding is a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum FailOn {
    /// Anything but health.
    Info,
    /// What costs throughput or latency.
    #[default]
    Warning,
    /// What users feel now.
    Critical,
}

impl FailOn {
    /// Whether a finding of `severity` fails the command.
    fn holds(self, severity: &str) -> bool {
        let level = match severity {
            "critical" => Self::Critical,
            "warning" => Self::Warning,
            _ => Self::Info,
        };
        level >= self
    }
}

/// Observes for `--duration` and prints the findings.
///
/// # Errors
/// Invalid settings, an unreachable vLLM, or [`FoundSomething`].
pub fn run(args: &DiagnoseArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let mut settings = local_vllm::settings(&args.settings)?;
    // The window covers the whole observation, from the first page to the last, and so does the bound.
    settings.window = args.duration;
    settings.bound_window = Some(args.duration);
    let found = serve::block_on(look(settings))?;
    match args.format {
        OutputFormat::Json => write_json(&report::json(&found, args.fail_on), out)?,
        OutputFormat::Table => report::print(&found, out)?,
    }
    let failing = found
        .engines
        .iter()
        .flat_map(|engine| engine.findings())
        .any(|finding| args.fail_on.holds(&finding.severity));
    if failing {
        return Err(FoundSomething.into());
    }
    Ok(())
}

/// The newest state after `settings.window` of sampling, or after an interrupt.
async fn look(settings: Settings) -> anyhow::Result<SnapshotView> {
    let progress = ProgressLine::new("diagnose");
    let tick = settings.tick.0;
    let mut span = DiagnosisProgress::new(settings.window.seconds().0);
    let mut published = sampling::start(settings)?;
    let interrupted = serve::terminated();
    tokio::pin!(interrupted);
    loop {
        let next = timeout(tick * SILENT_TICKS, published.changed());
        tokio::select! {
            changed = next => changed.context("the sources do not answer")?.context("the sampler ended")?,
            () = &mut interrupted => break,
        }
        let Some(newest) = published.borrow_and_update().clone() else {
            continue;
        };
        let snapshot = serde_json::from_value(snapshot_json::of(&newest.snapshot))?;
        match span.take(snapshot)? {
            Some(left) => progress.time("", span.wanted - left, span.wanted),
            None => break,
        }
    }
    span.newest.context("interrupted before the first look")
}

/// The progress of the observation. Times are those of the snapshots.
#[derive(Debug)]
struct DiagnosisProgress {
    wanted: f64,
    first: Option<f64>,
    failures: u32,
    newest: Option<SnapshotView>,
}

impl DiagnosisProgress {
    fn new(wanted: f64) -> Self {
        Self {
            wanted,
            first: None,
            failures: 0,
            newest: None,
        }
    }

    /// Takes the newest state. Returns the remaining seconds, or `None` when done.
    ///
    /// # Errors
    /// vLLM was never reached.
    fn take(&mut self, snapshot: SnapshotView) -> anyhow::Result<Option<f64>> {
        let time = snapshot.time;
        let vllm = snapshot
            .sources
            .iter()
            .find(|source| source.source == "vllm");
        if snapshot.engines.is_empty() {
            self.failures += 1;
            if self.failures >= PATIENCE {
                let problem = vllm.and_then(|source| source.error.clone());
                let problem = problem.unwrap_or_else(|| "vLLM shows no engine".to_owned());
                anyhow::bail!("{problem}; `check` says what is found of vLLM");
            }
            return Ok(Some(self.wanted));
        }
        self.newest = Some(snapshot);
        let left = *self.first.get_or_insert(time) + self.wanted - time;
        Ok((left > 0.0).then_some(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(time: f64, engines: usize) -> SnapshotView {
        let engine = serde_json::json!({"model_name": "m", "engine": "0"});
        let engines = vec![engine; engines];
        let vllm = serde_json::json!({"source": "vllm", "success": false, "error": "refused"});
        serde_json::from_value(serde_json::json!({
            "time": time, "engines": engines, "sources": [vllm],
        }))
        .unwrap()
    }

    #[test]
    fn the_look_lasts_from_the_first_page_on() {
        let mut span = DiagnosisProgress::new(3.0);
        assert_eq!(span.take(snapshot(10.0, 0)).unwrap(), Some(3.0));
        assert_eq!(span.take(snapshot(11.0, 1)).unwrap(), Some(3.0));
        assert_eq!(span.take(snapshot(12.5, 1)).unwrap(), Some(1.5));
        assert_eq!(span.take(snapshot(14.0, 1)).unwrap(), None);
        assert!((span.newest.unwrap().time - 14.0).abs() < 1e-9);
    }

    #[test]
    fn a_server_that_never_answers_fails_at_once_and_with_its_reason() {
        let mut span = DiagnosisProgress::new(60.0);
        assert!(span.take(snapshot(1.0, 0)).is_ok());
        assert!(span.take(snapshot(2.0, 0)).is_ok());
        let error = span.take(snapshot(3.0, 0)).unwrap_err().to_string();
        assert!(error.starts_with("refused"), "{error}");
    }

    #[test]
    fn a_failure_is_what_is_as_severe_as_asked_for() {
        assert!(FailOn::Warning.holds("critical") && FailOn::Warning.holds("warning"));
        assert!(!FailOn::Warning.holds("info") && !FailOn::Critical.holds("warning"));
        assert!(FailOn::Info.holds("info"));
    }
}
