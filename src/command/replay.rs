//! `replay`: runs the pipeline over a capture, offline.

mod table;
mod timeline;

use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;
use serde::Serialize;

use crate::capture::format::CapturePhase;
use crate::capture::read::Capture;
use crate::config::Settings;
use crate::config::flags::SettingsFlags;
use crate::meter::figures::Figures;
use crate::player::CapturePlayer;
use roofline::bound::Bound;
use roofline::units::Seconds;

use self::timeline::TimelineArgs;
use super::output;

/// Warm-up at the start of a phase that its figures leave out.
const WARM_UP: f64 = 2.0;

/// How a replay is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ReplayFormat {
    /// A row per phase: the model compared with the hardware's counters.
    #[default]
    Table,
    /// Every figure, per window and per phase; carries `schema`.
    Json,
    /// Series over time, vLLM's and ours, for `promtool tsdb create-blocks-from openmetrics`.
    Openmetrics,
}

/// Arguments of `replay`.
#[derive(Clone, Debug, clap::Args)]
pub struct ReplayArgs {
    /// Directory of the capture
    #[arg(long, value_name = "DIR")]
    pub capture: PathBuf,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub format: ReplayFormat,
    /// How series over time are written.
    #[command(flatten)]
    pub timeline: TimelineArgs,
    /// Settings that differ from the capture's.
    #[command(flatten)]
    pub settings: SettingsFlags,
}

/// What `replay` prints as JSON.
#[derive(Debug, Serialize)]
pub struct Replay {
    schema: u32,
    /// Windows of `--window`, one after the other, engine by engine.
    pub windows: Vec<Figures>,
    /// The capture's phases, each of every engine.
    pub phases: Vec<Figures>,
}

/// Replays a capture and prints its figures.
///
/// # Errors
/// A capture that cannot be read, or invalid settings.
pub fn run(args: &ReplayArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let settings = Settings::load(&args.settings)?;
    let capture = Capture::open(&args.capture)?;
    report_cut(&capture);
    match args.format {
        ReplayFormat::Json => output::write_json(&replay(&capture, &settings)?, out)?,
        ReplayFormat::Table => {
            let replay = replay(&capture, &settings)?;
            let shown = if replay.phases.is_empty() {
                &replay.windows
            } else {
                &replay.phases
            };
            table::write(shown, out)?;
        }
        ReplayFormat::Openmetrics => {
            let player = CapturePlayer::new(&capture, &settings)?;
            timeline::write(&player, &settings, &args.timeline, out)?;
        }
    }
    Ok(())
}

/// Reports on stderr what the capture lacks, so that a part is not mistaken for the whole.
fn report_cut(capture: &Capture) {
    let mut stderr = std::io::stderr();
    for file in &capture.cut_off {
        let file = file.display();
        // If stderr is closed, the message is lost.
        let _ = writeln!(
            stderr,
            "warning: {file} is cut off: what follows is of the part before"
        );
    }
    let end = capture.pages.last().map_or(0.0, |page| page.time().0);
    let phases = &capture.manifest.phases;
    let late: Vec<&str> = phases
        .iter()
        .filter(|phase| phase.t_load_end > end + WARM_UP)
        .map(|phase| phase.name.as_str())
        .collect();
    if !late.is_empty() {
        let _ = writeln!(
            stderr,
            "warning: the capture ends before {} of {} phases do: {}",
            late.len(),
            phases.len(),
            late.join(", ")
        );
    }
}

/// The figures of `capture`.
///
/// # Errors
/// A deployment that the capture's arguments do not describe.
pub fn replay(capture: &Capture, settings: &Settings) -> anyhow::Result<Replay> {
    let players = CapturePlayer::of_all(capture, settings)?;
    let phases = capture.manifest.phases.iter();
    Ok(Replay {
        schema: 1,
        phases: phases
            .flat_map(|phase| players.iter().filter_map(|player| figures(player, phase)))
            .collect(),
        windows: players.iter().flat_map(CapturePlayer::windows).collect(),
    })
}

fn figures(player: &CapturePlayer<'_>, phase: &CapturePhase) -> Option<Figures> {
    let span = player.stretch(phase.t_start + WARM_UP, phase.t_load_end)?;
    Some(Figures {
        name: Some(phase.name.clone()),
        ..player.figures(&span)
    })
}

/// The bound that a live exporter would have shown after each page of `capture`.
///
/// # Errors
/// A deployment that the capture's arguments do not describe.
pub fn bounds(capture: &Capture, settings: &Settings) -> anyhow::Result<Vec<(Seconds, Bound)>> {
    let player = CapturePlayer::new(capture, settings)?;
    let mut shown = Vec::new();
    player.watch(f64::NEG_INFINITY, f64::INFINITY, |meter, line, _| {
        let bounds = meter.engines.values().map(|engine| engine.bound());
        shown.extend(bounds.map(|bound| (line.time(), bound)));
    });
    Ok(shown)
}
