//! Runs the loads of a sweep, on a running server or on one that is restarted for each setting.

use crate::command::deployment;
use crate::command::interrupt::Interrupt;
use crate::command::output::ResultFile;
use crate::command::progress::ProgressLine;
use crate::command::supervise::supervisor;
use crate::command::usage::UsageError;
use crate::config::Settings;
use loadtest::launch::template::{Template, VariedParameter};
use loadtest::launch::{LaunchError, Launched};
use loadtest::load::settings::Arrivals;
use loadtest::load::{self, LoadError, LoadRun, LoadSettings};
use loadtest::sweep::setting::SweepPoint;
use roofline::spec::deployment::DeploymentFlags;

use super::args::SweepArgs;

/// Runs loads.
#[derive(Debug)]
pub(super) struct Runner<'a> {
    pub args: &'a SweepArgs,
    pub settings: &'a Settings,
    pub load: LoadSettings,
    pub template: Option<Template>,
    pub interrupt: Interrupt,
    /// The deployment that the first server reported while it ran.
    pub found: Option<DeploymentFlags>,
    /// Number of loads so far.
    pub runs: u64,
}

/// The outcome of one setting.
pub(super) enum SettingOutcome {
    /// Its runs; fewer than requested if they were interrupted or the server was gone.
    Runs(Vec<LoadRun>),
    /// No run, but other settings may work.
    Failed(String),
    /// The user interrupted the sweep.
    Interrupted,
}

impl Runner<'_> {
    /// Concurrent requests of the load where the server's own limit is varied.
    pub(super) fn concurrency(&self) -> Option<u32> {
        self.template.as_ref()?;
        match self.load.arrivals {
            Arrivals::Open { most, .. } => most,
            Arrivals::Closed { .. } => Some(self.args.load.concurrency.unwrap_or(self.args.end)),
        }
    }

    /// Measures at `point`.
    ///
    /// # Errors
    /// An error that would affect every other point too.
    pub(super) async fn measure(&mut self, point: SweepPoint) -> anyhow::Result<SettingOutcome> {
        let Some(template) = self.template.clone() else {
            return self.repeat(point).await;
        };
        let line = template.filled(&values(&point));
        match self.launch(&line, point).await {
            Ok(Some(server)) => {
                let outcome = self.repeat(point).await;
                server.end().await;
                outcome
            }
            Ok(None) => Ok(SettingOutcome::Interrupted),
            Err(error @ LaunchError::Occupied { .. }) => Err(UsageError::new(error).into()),
            Err(error) => Ok(SettingOutcome::Failed(error.to_string())),
        }
    }

    /// A server that is ready; `None` if the user interrupted the wait.
    async fn launch(&self, line: &str, point: SweepPoint) -> Result<Option<Launched>, LaunchError> {
        let label = label(&point);
        let progress = ProgressLine::new(label.clone());
        progress.say("starting the server");
        let log = self
            .args
            .save_results
            .as_ref()
            .map(|directory| directory.join(format!("{}.log", file_name(&point))));
        let mut server = Launched::start(
            supervisor(),
            line,
            &self.load.url,
            &self.load.http,
            log.as_deref(),
        )
        .await?;
        let ready = tokio::select! {
            ready = server.ready(self.args.launch_timeout.0) => ready.map(|()| true),
            () = self.interrupt.wait() => Ok(false),
        };
        match ready {
            Ok(true) => Ok(Some(server)),
            Ok(false) => {
                server.end().await;
                Ok(None)
            }
            Err(error) => {
                server.end().await;
                Err(error)
            }
        }
    }

    async fn repeat(&mut self, point: SweepPoint) -> anyhow::Result<SettingOutcome> {
        if self.found.is_none() {
            self.found = Some(deployment::of_running(self.settings).await);
        }
        let mut runs = Vec::new();
        for repeat in 1..=self.args.repeats {
            let settings = self.settings(point);
            let line = ProgressLine::new(format!(
                "{}, run {repeat} of {}",
                label(&point),
                self.args.repeats
            ));
            let run = match load::run(&settings, self.interrupt.wait(), |now| line.load(now)).await
            {
                Ok(run) => run,
                Err(LoadError::Interrupted) => break,
                Err(error) if error.is_usage() => return Err(UsageError::new(error).into()),
                Err(error) if self.template.is_none() => return Err(error.into()),
                Err(error) => return Ok(SettingOutcome::Failed(error.to_string())),
            };
            drop(line);
            if let Some(directory) = &self.args.save_results {
                let name = format!("{}-run{repeat}.json", file_name(&point));
                ResultFile::open(&directory.join(name))?.write_json(&run)?;
            }
            let over = run.interrupted;
            runs.push(run);
            if over {
                break;
            }
        }
        if runs.is_empty() && self.interrupt.heard() {
            return Ok(SettingOutcome::Interrupted);
        }
        Ok(SettingOutcome::Runs(runs))
    }

    /// The load at `point`, with prompts that no earlier run used.
    fn settings(&mut self, point: SweepPoint) -> LoadSettings {
        self.runs += 1;
        let arrivals = match (self.load.arrivals, self.concurrency()) {
            (open @ Arrivals::Open { .. }, _) => open,
            (Arrivals::Closed { .. }, concurrency) => Arrivals::Closed {
                concurrency: concurrency.unwrap_or(point.batch),
            },
        };
        LoadSettings {
            arrivals,
            seed: self.load.seed.wrapping_add(self.runs),
            ..self.load.clone()
        }
    }
}

fn values(point: &SweepPoint) -> Vec<(VariedParameter, String)> {
    let utilization = point.gpu_memory_utilization.map(|value| value.to_string());
    let tokens = point.max_num_batched_tokens.map(|value| value.to_string());
    [
        (VariedParameter::Batch, Some(point.batch.to_string())),
        (VariedParameter::GpuMemoryUtilization, utilization),
        (VariedParameter::MaxNumBatchedTokens, tokens),
    ]
    .into_iter()
    .filter_map(|(place, value)| Some((place, value?)))
    .collect()
}

/// The setting as a label.
fn label(point: &SweepPoint) -> String {
    let utilization = point
        .gpu_memory_utilization
        .map(|value| format!(", GPU memory {value}"));
    let tokens = point
        .max_num_batched_tokens
        .map(|value| format!(", {value} tokens a step"));
    format!(
        "batch {}{}{}",
        point.batch,
        utilization.unwrap_or_default(),
        tokens.unwrap_or_default()
    )
}

/// The setting as part of a file name.
fn file_name(point: &SweepPoint) -> String {
    let utilization = point
        .gpu_memory_utilization
        .map(|value| format!("-mem{value}"));
    let tokens = point
        .max_num_batched_tokens
        .map(|value| format!("-tokens{value}"));
    format!(
        "batch{}{}{}",
        point.batch,
        utilization.unwrap_or_default(),
        tokens.unwrap_or_default()
    )
}
