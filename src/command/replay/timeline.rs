//! Writes a capture as time series: vLLM's series as scraped, and ours as the exporter would have exposed them.

use std::io::Write;

use crate::config::Settings;
use crate::export::families::families;
use crate::export::timeline::{Rounds, SeriesTimeline};
use crate::exposition::Exposition;
use crate::snapshot::memory::Memory;
use crate::snapshot::take::SnapshotContext;
use crate::snapshot::{Snapshot, SourceStatus};
use roofline::units::Seconds;

use crate::player::CapturePlayer;

/// How the series are written.
#[derive(Clone, Debug, clap::Args)]
pub struct TimelineArgs {
    /// With --format openmetrics: Unix time of the first point, instead of the recorded one
    #[arg(long, value_name = "SECONDS")]
    pub start: Option<f64>,
    /// With --format openmetrics: number of times to play the capture; counters keep growing
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeat: u32,
    /// With --format openmetrics: seconds between points, like a scrape interval [default: every recorded point]
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, value_parser = seconds)]
    pub step: f64,
    /// With --format openmetrics: a label for every series, for example job=vllm; may be repeated
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..f64::INFINITY).contains(&seconds) => Ok(seconds),
        _ => Err(format!("{text:?} is no number of seconds; write 15")),
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} has no \"=\"; write NAME=VALUE"))?;
    let first = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
    let good = name.starts_with(first)
        && name
            .chars()
            .all(|letter| first(letter) || letter.is_ascii_digit());
    if good {
        Ok((name.to_owned(), value.to_owned()))
    } else {
        Err(format!(
            "{name:?} is no label name; use letters, digits and underscores"
        ))
    }
}

/// Writes the whole capture of `player`.
///
/// # Errors
/// When writing to `out` fails.
pub(super) fn write(
    player: &CapturePlayer<'_>,
    settings: &Settings,
    args: &TimelineArgs,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let whole_page = player.first_body();
    let (metadata, _) = Exposition::parse(whole_page);
    let mut timeline = SeriesTimeline::new(args.labels.clone());
    let mut memory = Memory::default();
    let end = player.last_page();
    player.watch(f64::NEG_INFINITY, f64::INFINITY, |meter, line, _| {
        let time = line.time();
        if Some(time) == end {
            meter.settle();
        }
        let around = SnapshotContext {
            time,
            vllm_url: settings.vllm_url.to_string(),
            sources: vec![read_at(time)],
            reachable: true,
            reload: None,
            gpus_since: Seconds(f64::NEG_INFINITY),
        };
        let snapshot = Snapshot::take(meter, &mut memory, settings, around);
        timeline.add_families(time, &families(&snapshot));
        timeline.add_page(time, line.body.as_deref().unwrap_or_default(), &metadata);
    });
    let rounds = Rounds {
        start: args.start,
        count: args.repeat,
        step: args.step,
    };
    timeline.write(&rounds, out)
}

/// The status of the source of a page that was read at `time`.
fn read_at(time: Seconds) -> SourceStatus {
    SourceStatus {
        source: "vllm",
        success: Some(true),
        last_success: Some(time),
        ..SourceStatus::default()
    }
}
