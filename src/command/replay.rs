//! `replay`: the pipeline over a capture, offline.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::capture::format::{GpuLine, VllmLine};
use crate::capture::read::{Capture, CaptureError};
use crate::config::Settings;
use crate::config::flags::SettingsFlags;
use crate::meter::Meter;
use crate::meter::engine::{MeterSettings, Span, sum};
use crate::meter::facts::EngineFacts;
use crate::meter::figures::Figures;
use crate::meter::verdict::Steady;
use crate::sample::engine::EngineTotals;
use crate::sample::page;
use crate::source::discovery::{Clues, Known};
use crate::spec::deployment::DeploymentFlags;
use crate::spec::gpu::GpuTable;
use crate::units::Seconds;

use super::output::Format;
use super::serve;
use super::usage::UsageError;

/// Warm-up at the start of a phase that its figures leave out.
const WARM_UP: f64 = 2.0;
/// GPU readings up to so many seconds after a page are taken before it.
const LOOK_AHEAD: f64 = 1.0;

/// Arguments of `replay`.
#[derive(Clone, Debug, clap::Args)]
pub struct ReplayArgs {
    /// Directory of the capture
    #[arg(long, value_name = "DIR")]
    pub capture: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Settings that differ from the capture's.
    #[command(flatten)]
    pub settings: SettingsFlags,
}

/// What `replay` prints as JSON.
#[derive(Debug, Serialize)]
pub struct Replay {
    schema: u32,
    /// Windows of `--window`, one after the other.
    pub windows: Vec<Figures>,
    /// The capture's phases.
    pub phases: Vec<Figures>,
}

/// Replays a capture and prints its figures.
///
/// # Errors
/// A capture that cannot be read, or settings that make no sense.
pub fn run(args: &ReplayArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let settings = Settings::load(&args.settings)?;
    let capture = Capture::open(&args.capture).map_err(|error| match error {
        CaptureError::Io { .. } => anyhow::Error::from(UsageError::of(error)),
        other => other.into(),
    })?;
    let replay = replay(&capture, &settings)?;
    match args.format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &replay)?;
            writeln!(out)?;
        }
        Format::Table => {
            let shown = if replay.phases.is_empty() {
                &replay.windows
            } else {
                &replay.phases
            };
            writeln!(out, "{}", table(shown))?;
        }
    }
    Ok(())
}

/// The figures of `capture`.
///
/// # Errors
/// A deployment that the capture's arguments do not describe.
pub fn replay(capture: &Capture, settings: &Settings) -> anyhow::Result<Replay> {
    let player = Player::new(capture, settings)?;
    let phases = capture.manifest.phases.iter().filter_map(|phase| {
        let spans = player.play(phase.t_start + WARM_UP, phase.t_load_end);
        let figures = player.figures(&sum(&spans)?);
        Some(Figures {
            name: Some(phase.name.clone()),
            ..figures
        })
    });
    Ok(Replay {
        schema: 1,
        phases: phases.collect(),
        windows: player.windows(),
    })
}

/// Plays stretches of a capture through a meter.
#[derive(Debug)]
pub struct Player<'a> {
    capture: &'a Capture,
    settings: MeterSettings,
    clues: Clues,
    table: GpuTable,
    facts: Arc<EngineFacts>,
}

impl<'a> Player<'a> {
    /// A player of `capture`, under `settings`.
    ///
    /// # Errors
    /// A deployment that the capture's arguments do not describe.
    pub fn new(capture: &'a Capture, settings: &Settings) -> anyhow::Result<Self> {
        let mut player = Self {
            capture,
            settings: settings.meter(),
            clues: clues(capture, settings)?,
            table: serve::gpu_table(settings)?,
            facts: Arc::default(),
        };
        let first = capture.pages.iter().find_map(engines_of);
        if let Some(totals) = first.as_ref().and_then(|engines| engines.first()) {
            player.facts = player.clues.facts(&player.table, totals, 0);
        }
        Ok(player)
    }

    /// The accounted spans of the pages within `from..=to`.
    #[must_use]
    pub fn play(&self, from: f64, to: f64) -> Vec<Span> {
        let mut meter = Meter::new(self.settings);
        let mut readings = self.capture.readings.iter().peekable();
        let inside = self
            .capture
            .pages
            .iter()
            .filter(|line| (from..=to).contains(&line.time().0));
        let mut spans = Vec::new();
        for line in inside {
            let Some(engines) = engines_of(line) else {
                continue;
            };
            // Hindsight: the reading that covers the moment of the page comes a little after it.
            while let Some(reading) =
                readings.next_if(|reading| reading.t <= line.time().0 + LOOK_AHEAD)
            {
                self.observe_gpu(&mut meter, reading);
            }
            let rank_of = |totals: &EngineTotals| {
                engines
                    .iter()
                    .position(|engine| engine.key == totals.key)
                    .unwrap_or(0)
            };
            let accounted = meter.observe_engines(engines.clone(), |totals| {
                self.clues.facts(&self.table, totals, rank_of(totals))
            });
            spans.extend(accounted.into_iter().map(|(_, span)| span));
        }
        spans
    }

    fn observe_gpu(&self, meter: &mut Meter, line: &GpuLine) {
        if let Some(gpu) = &self.capture.manifest.gpu {
            meter.observe_gpus(vec![line.reading(gpu.uuid(line.gpu))], |_| {
                gpu.facts(line.gpu)
            });
        }
    }

    /// Windows of the configured length over the whole capture; the bound is held steady from one to the next.
    fn windows(&self) -> Vec<Figures> {
        let spans = self.play(f64::NEG_INFINITY, f64::INFINITY);
        let mut steady = Steady::default();
        let mut windows = Vec::new();
        let mut rest = spans.as_slice();
        while let Some(first) = rest.first() {
            let end = first.start + self.settings.window;
            let length = rest
                .iter()
                .take_while(|span| span.end <= end + Seconds(0.5))
                .count()
                .max(1);
            let (window, later) = rest.split_at(length);
            windows.extend(sum(window).map(|window| self.figures(&window)));
            rest = later;
        }
        for window in &mut windows {
            window.bound = steady.next(window.bound);
        }
        windows
    }

    /// What is known of the first engine.
    #[must_use]
    pub fn facts(&self) -> Arc<EngineFacts> {
        Arc::clone(&self.facts)
    }

    /// The name that the model is served under.
    #[must_use]
    pub fn served_name(&self) -> Option<String> {
        let engines = self.capture.pages.iter().find_map(engines_of)?;
        Some(engines.first()?.key.model_name.clone())
    }

    /// The figures of `span`.
    #[must_use]
    pub fn figures(&self, span: &Span) -> Figures {
        Figures::of(span, &self.facts, false, self.settings.overhead_below)
    }
}

/// The engines on a page, or `None` where the scrape failed.
#[must_use]
pub fn engines_of(line: &VllmLine) -> Option<Vec<EngineTotals>> {
    let body = line.body.as_deref()?;
    match page::read(body, line.time()) {
        Ok(mut engines) => {
            // Later bodies of a capture hold vLLM's lines only, so the mark of a single API server is in none of them.
            for engine in &mut engines {
                engine.single_api_server = true;
            }
            Some(engines)
        }
        Err(error) => {
            tracing::warn!(time = line.time().0, "page skipped: {error}");
            None
        }
    }
}

/// The deployment of the capture, each fact overridable by flag.
fn clues(capture: &Capture, settings: &Settings) -> anyhow::Result<Clues> {
    let manifest = &capture.manifest;
    let recorded = DeploymentFlags::from_vllm_command_line(&manifest.vllm_args)?;
    let explicit = settings.deployment.clone();
    let given = explicit.model.as_deref().map(|model| {
        crate::spec::lookup::find_config(model)
            .map(|(path, value)| Known {
                value,
                origin: format!("--model: {}", path.display()),
            })
            .map_err(|error| error.to_string())
    });
    let recorded_model = capture.model_config.clone().map(|value| {
        Ok(Known {
            value,
            origin: "the capture's config.json".to_owned(),
        })
    });
    Ok(Clues {
        model_config: given.or(recorded_model),
        flags: recorded.overridden_by(explicit),
        flags_origin: "the capture's vllm_args under our own flags".to_owned(),
        gpu: settings.gpu.clone(),
        gpus: manifest
            .gpu
            .iter()
            .flat_map(|gpu| (0..gpu.count).map(|index| gpu.facts(index)))
            .collect(),
    })
}

fn table(figures: &[Figures]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "phase",
        "seconds",
        "bound",
        "admission",
        "tok/s",
        "batch",
        "GB/s model",
        "GB/s GPM",
        "model/GPM",
        "MFU",
        "MBU",
    ]);
    let percent = |share: Option<f64>| {
        share.map_or("–".to_owned(), |share| format!("{:.1} %", share * 100.0))
    };
    for (place, row) in figures.iter().enumerate() {
        let gigabytes =
            |bytes: Option<crate::units::Bytes>| bytes.map(|bytes| (bytes / row.seconds).0 / 1e9);
        let number = |value: Option<f64>, digits: usize| {
            value.map_or("–".to_owned(), |value| format!("{value:.digits$}"))
        };
        let (model, measured) = (gigabytes(row.hbm_bytes), gigabytes(row.hbm_bytes_measured));
        table.add_row([
            row.name
                .clone()
                .unwrap_or_else(|| format!("window {}", place + 1)),
            format!("{:.1}", row.seconds.0),
            row.bound.as_str().to_owned(),
            row.admission.as_str().to_owned(),
            number(row.output_tokens_per_second, 0),
            number(row.decode_batch, 1),
            number(model, 0),
            number(measured, 0),
            number(
                model
                    .zip(measured)
                    .map(|(model, measured)| model / measured),
                2,
            ),
            percent(row.mfu),
            percent(row.mbu),
        ]);
    }
    table
}
