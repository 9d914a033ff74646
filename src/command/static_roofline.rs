//! `static`: predicts a model on a GPU, offline.
//!
//! Reads flags and files, calls [`crate::predict`], prints. Several GPUs (`--compare`) or batches (`--batch 1,2,4`) make a grid.

mod roof;
mod table;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::output::{OutputFormat, write_json};
use super::usage::UsageError;
use crate::config::duration::{TimeSpan, target};
use crate::config::flags::SettingsFlags;
use crate::config::{Settings, Tables};
use crate::source::lookup::{find_config, with_draft};
use roofline::cost::step::RequestGroup;
use roofline::predict::{Prediction, SCHEMA, Scenario, Serving, Targets, Workload};
use roofline::spec::deployment::{DeploymentFlags, speculative_tokens};
use roofline::spec::gpu::{GpuSpec, GpuTable};
use roofline::spec::model::ModelSpec;
use roofline::spec::to_f64;
use roofline::units::Seconds;

/// What to predict, and how to print it.
#[derive(Args, Clone, Debug)]
pub struct StaticArgs {
    /// Configuration file (YAML): your own GPUs, targets, a deployment
    #[arg(long = "config.file", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// GPU by id, alias or NVML product name (see `gpus`); `none` leaves out the roof
    #[arg(long)]
    pub gpu: Option<String>,
    /// GPUs to compare
    #[arg(
        long,
        value_name = "GPU,…",
        value_delimiter = ',',
        conflicts_with = "gpu"
    )]
    pub compare: Vec<String>,
    /// vLLM's own flags.
    #[command(flatten)]
    pub deployment: DeploymentFlags,
    /// Predict one step of this kind instead of a whole load
    #[arg(long, value_enum, help_heading = "Workload")]
    pub phase: Option<StepPhase>,
    /// Concurrent requests; several values make a grid
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Workload")]
    pub batch: Vec<u32>,
    /// Tokens that each request computes in the step [default: a whole prompt, or 1 plus proposed tokens]
    #[arg(long, value_name = "N", requires = "phase", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Workload")]
    pub new_tokens: Option<u32>,
    /// Tokens that each request has in the cache before the step [default: none, or half an answer]
    #[arg(long, value_name = "N", requires = "phase", help_heading = "Workload")]
    pub context: Option<u32>,
    /// One step with the requests of this file: a JSON list of {count, `new_tokens`, `cached_tokens_before`, `is_prefill`}
    #[arg(long, value_name = "FILE", conflicts_with_all = ["phase", "batch"], help_heading = "Workload")]
    pub requests: Option<PathBuf>,
    /// Tokens of a prompt, 921.5 for a mean [default: 1024]
    #[arg(long, value_name = "N", value_parser = parse_length, help_heading = "Workload")]
    pub input_len: Option<f64>,
    /// Tokens of a prompt that are already in the prefix cache [default: 0]
    #[arg(long, value_name = "N", help_heading = "Workload")]
    pub cached_len: Option<u32>,
    /// Tokens of an answer [default: 256]
    #[arg(long, value_name = "N", value_parser = parse_length, help_heading = "Workload")]
    pub output_len: Option<f64>,
    /// Requests that each client sends one after another; all clients start at once [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Workload")]
    pub waves: Option<u32>,
    /// Target for time to first token [default: 500ms]
    #[arg(long, value_name = "DURATION", value_parser = target, help_heading = "Targets")]
    pub slo_ttft: Option<TimeSpan>,
    /// Target for time per output token [default: 100ms]
    #[arg(long, value_name = "DURATION", value_parser = target, help_heading = "Targets")]
    pub slo_tpot: Option<TimeSpan>,
    /// Coefficients that override single built-in ones (YAML or JSON)
    #[arg(long, value_name = "FILE")]
    pub coefficients: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    pub format: OutputFormat,
}

/// The kind of a single step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StepPhase {
    /// Every request generates.
    Decode,
    /// Every request reads its prompt.
    Prefill,
}

/// One cell of a grid: a prediction, or the reason why there is none.
#[derive(Debug, Serialize)]
struct GridCell {
    gpu: String,
    batch: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    prediction: Option<Prediction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A grid of predictions.
#[derive(Debug, Serialize)]
struct Grid {
    schema: u32,
    grid: Vec<GridCell>,
}

/// Predicts and prints; the settings' GPUs, targets and deployment apply where a flag is absent.
///
/// # Errors
/// A [`UsageError`] for unknown names, unreadable files and combinations that do not run. Any other error after the answer was printed: a
/// load on a model that does not fit.
pub fn run(args: &StaticArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let settings = Settings::load(&SettingsFlags {
        config_file: args.config_file.clone(),
        coefficients: args.coefficients.clone(),
        ..SettingsFlags::default()
    })?;
    let asked = args.clone().with_defaults_of(&settings);
    args.check_that_flags_matter(asked.gpu.as_deref())
        .map_err(UsageError::new)?;
    let tables = settings.tables()?;
    let scenarios = asked.scenarios(&tables).map_err(UsageError::new)?;
    match scenarios.as_slice() {
        [scenario] => {
            let prediction = scenario.predict().map_err(UsageError::new)?;
            match args.format {
                OutputFormat::Json => write_json(&prediction, out)?,
                OutputFormat::Table => table::write_prediction(&prediction, out)?,
            }
            match &scenario.workload {
                Workload::Serving(serving) => check_that_it_runs(serving, &prediction),
                Workload::Step(_) => Ok(()),
            }
        }
        several => {
            let grid: Vec<GridCell> = several.iter().map(cell).collect();
            match args.format {
                OutputFormat::Json => write_json(
                    &Grid {
                        schema: SCHEMA,
                        grid,
                    },
                    out,
                ),
                OutputFormat::Table => table::write_grid(&grid, out),
            }
        }
    }
}

/// Fails if not one request of the load fits on the GPU.
fn check_that_it_runs(serving: &Serving, prediction: &Prediction) -> anyhow::Result<()> {
    if prediction.gpu.is_none() || prediction.latency.is_some() {
        return Ok(());
    }
    match &prediction.memory.problem {
        Some(problem) => bail!("{problem}"),
        None => bail!(
            "no request of {} + {} tokens fits in the KV cache; shorten it or free memory",
            serving.input_tokens,
            serving.output_tokens,
        ),
    }
}

fn cell(scenario: &Scenario) -> GridCell {
    let (prediction, error) = match scenario.predict() {
        Ok(prediction) => (Some(prediction), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let gpu = scenario.gpu.as_ref();
    GridCell {
        gpu: gpu.map_or_else(|| "none".to_owned(), |gpu| gpu.id.clone()),
        batch: scenario.workload.batch(),
        prediction,
        error,
    }
}

impl StaticArgs {
    /// Fills in absent flags from `settings`.
    fn with_defaults_of(self, settings: &Settings) -> Self {
        let gpu = if self.compare.is_empty() {
            self.gpu.or_else(|| settings.gpu.clone())
        } else {
            self.gpu
        };
        Self {
            gpu,
            deployment: settings.deployment.clone().overridden_by(self.deployment),
            slo_ttft: self.slo_ttft.or(Some(settings.slo_ttft)),
            slo_tpot: self.slo_tpot.or(Some(settings.slo_tpot)),
            ..self
        }
    }

    /// The requested scenarios: every GPU with every batch.
    fn scenarios(&self, tables: &Tables) -> anyhow::Result<Vec<Scenario>> {
        let id =
            self.deployment.model.as_deref().context(
                "--model is missing: name a Hugging Face id, a directory, or a config.json",
            )?;
        self.check_length()?;
        let (path, text) = find_config(id)?;
        let model = ModelSpec::from_json(&text).with_context(|| path.display().to_string())?;
        let flags = with_draft(self.deployment.clone());
        let mut scenarios = Vec::new();
        for gpu in self.gpus(&tables.gpus)? {
            for workload in self.workloads()? {
                scenarios.push(Scenario {
                    name: name_of(id, &path),
                    model: model.clone(),
                    gpu: gpu.clone(),
                    flags: flags.clone(),
                    coefficients: tables.coefficients,
                    workload,
                    targets: Targets {
                        ttft: self
                            .slo_ttft
                            .map_or(Seconds(f64::INFINITY), TimeSpan::seconds),
                        tpot: self
                            .slo_tpot
                            .map_or(Seconds(f64::INFINITY), TimeSpan::seconds),
                    },
                });
            }
        }
        Ok(scenarios)
    }

    /// Rejects flags without effect for the selected `gpu`.
    fn check_that_flags_matter(&self, gpu: Option<&str>) -> anyhow::Result<()> {
        let of_a_load = [
            ("--input-len", self.input_len.is_some()),
            ("--output-len", self.output_len.is_some()),
            ("--cached-len", self.cached_len.is_some()),
            ("--waves", self.waves.is_some()),
            ("--slo-ttft", self.slo_ttft.is_some()),
        ];
        let of_a_step = self
            .phase
            .map(|_| "--phase; give --new-tokens and --context");
        let of_a_file = self
            .requests
            .as_ref()
            .map(|_| "--requests; the file says it");
        let idle = of_a_load.iter().find(|(_, given)| *given);
        if let (Some((flag, _)), Some(instead)) = (idle, of_a_step.or(of_a_file)) {
            bail!("{flag} describes a whole load and has no effect with {instead}");
        }
        if f64::from(self.cached_len.unwrap_or(0)) >= self.input_tokens() {
            bail!(
                "--cached-len {} leaves nothing of a prompt of {} tokens to compute; vLLM computes at least the last one: raise --input-len",
                self.cached_len.unwrap_or(0),
                self.input_tokens()
            );
        }
        let no_roof = self.compare.is_empty() && gpu == Some("none");
        let of_times = [
            ("--coefficients", self.coefficients.is_some()),
            ("--waves", self.waves.is_some()),
            ("--slo-ttft", self.slo_ttft.is_some()),
            ("--slo-tpot", self.slo_tpot.is_some()),
        ];
        if let Some((flag, _)) = of_times.iter().find(|(_, given)| no_roof && *given) {
            bail!("{flag} has no effect with --gpu none, where nothing is timed");
        }
        Ok(())
    }

    /// Rejects requests that vLLM would reject.
    fn check_length(&self) -> anyhow::Result<()> {
        let is_load = self.phase.is_none() && self.requests.is_none();
        let length = self.input_tokens() + self.output_tokens();
        match self.deployment.max_model_len {
            Some(longest) if is_load && length > to_f64(longest) => bail!(
                "--max-model-len {longest}: a request of {} + {} tokens is longer, and vLLM refuses it; raise it to {length}",
                self.input_tokens(),
                self.output_tokens()
            ),
            _ => Ok(()),
        }
    }

    fn input_tokens(&self) -> f64 {
        self.input_len.unwrap_or(1024.0)
    }

    fn output_tokens(&self) -> f64 {
        self.output_len.unwrap_or(256.0)
    }

    /// The requested GPUs; `None` for `none`.
    fn gpus(&self, table: &GpuTable) -> anyhow::Result<Vec<Option<GpuSpec>>> {
        let find = |name: &String| -> anyhow::Result<Option<GpuSpec>> {
            if name == "none" {
                return Ok(None);
            }
            Ok(Some(table.find(name)?.clone()))
        };
        let named: Vec<&String> = self.compare.iter().chain(&self.gpu).collect();
        if named.is_empty() {
            bail!(
                "--gpu is missing: name one of `gpus`, several with --compare, or `none` for work without a roof"
            );
        }
        named.into_iter().map(find).collect()
    }

    /// The requested loads or steps.
    fn workloads(&self) -> anyhow::Result<Vec<Workload>> {
        if let Some(path) = &self.requests {
            return Ok(vec![Workload::Step(read_requests(path)?)]);
        }
        let workload = |batch: &u32| {
            let batch = f64::from(*batch);
            match self.phase {
                Some(phase) => Workload::Step(vec![self.group(phase, batch)]),
                None => Workload::Serving(Serving {
                    input_tokens: self.input_tokens(),
                    cached_tokens: f64::from(self.cached_len.unwrap_or(0)),
                    output_tokens: self.output_tokens(),
                    batch,
                    waves: f64::from(self.waves.unwrap_or(10)),
                }),
            }
        };
        Ok(self.batch.iter().map(workload).collect())
    }

    /// Tokens that speculation adds to each decode step; the prediction reports an invalid configuration.
    fn proposed_tokens(&self) -> u32 {
        let config = self.deployment.speculative_config.as_deref();
        let proposed = speculative_tokens(config).unwrap_or(0);
        u32::try_from(proposed).unwrap_or(0)
    }

    fn group(&self, phase: StepPhase, count: f64) -> RequestGroup {
        let (new_tokens, context) = match phase {
            StepPhase::Prefill => (self.input_tokens(), 0.0),
            StepPhase::Decode => (
                f64::from(1 + self.proposed_tokens()),
                self.input_tokens() + (self.output_tokens() / 2.0).floor(),
            ),
        };
        RequestGroup {
            count,
            new_tokens: self.new_tokens.map_or(new_tokens, f64::from),
            cached_tokens_before: self.context.map_or(context, f64::from),
            is_prefill: phase == StepPhase::Prefill,
        }
    }
}

/// A length in tokens; a mean may have a fraction.
fn parse_length(text: &str) -> Result<f64, String> {
    let length: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (1.0..=1e9).contains(&length) {
        Ok(length)
    } else {
        Err("must be from 1 to 10^9".to_owned())
    }
}

/// A short name of the model: its id, or the name of its directory.
pub(super) fn name_of(id: &str, config: &Path) -> String {
    let directory = config.parent().and_then(Path::file_name);
    match directory {
        Some(directory) if Path::new(id).exists() => directory.to_string_lossy().into_owned(),
        _ => id.to_owned(),
    }
}

fn read_file<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

fn read_requests(path: &Path) -> anyhow::Result<Vec<RequestGroup>> {
    let groups: Vec<RequestGroup> = read_file(path)?;
    let sensible = |group: &RequestGroup| {
        group.count > 0.0 && group.new_tokens > 0.0 && group.cached_tokens_before >= 0.0
    };
    if groups.is_empty() || !groups.iter().all(sensible) {
        bail!(
            "{}: needs at least one group, each with a positive count and new_tokens, and cached_tokens_before of 0 or more",
            path.display()
        );
    }
    Ok(groups)
}
