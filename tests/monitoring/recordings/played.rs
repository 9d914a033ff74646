//! A part of a recording, played repeatedly as the series that the rules read.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::generate::names;
use crate::rules;

/// Scrape interval in seconds. Coprime to the phases' lengths, so that it covers every second of a repeated phase.
pub(super) const STEP: u32 = 31;
/// Longer than the longest delay of an alert: half an hour of averages, then half an hour of `for`.
pub(super) const MINUTES: u32 = 75;
const SCRAPES: usize = (MINUTES * 60 / STEP) as usize;
/// Seconds at the start of a phase in which its load starts.
const WARM_UP: f64 = 1.0;

/// The values of a series, one per scrape.
pub(super) type Series = BTreeMap<String, Vec<Option<f64>>>;

/// A stretch of a recording.
pub(crate) struct Slice {
    capture: PathBuf,
    from: f64,
    to: f64,
}

impl Slice {
    pub(crate) fn seconds(&self) -> f64 {
        self.to - self.from
    }
}

/// Every phase of the capture at `capture`, by `recording/phase`.
pub(crate) fn phases(capture: &Path) -> Vec<(String, Slice)> {
    let name = capture.file_name().unwrap().to_str().unwrap();
    let manifest = std::fs::read(capture.join("capture.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let phases = manifest["phases"].as_array().into_iter().flatten();
    phases
        .map(|phase| {
            let slice = Slice {
                capture: capture.to_owned(),
                from: phase["t_start"].as_f64().unwrap() + WARM_UP,
                to: phase["t_load_end"].as_f64().unwrap(),
            };
            (format!("{name}/{}", phase["name"].as_str().unwrap()), slice)
        })
        .collect()
}

/// The exporter restarts at half time: its own counters restart, vLLM's continue.
pub(super) fn exporter_restarts(series: &Series) -> Series {
    halves(series, |name| name.starts_with("vllm_roofline_"))
}

/// The pod restarts at half time: all counters restart.
pub(super) fn pod_restarts(series: &Series) -> Series {
    halves(series, |_| true)
}

/// After half of the time and two failed scrapes, the series that `again` selects are played from their beginning; counters from zero.
fn halves(series: &Series, again: impl Fn(&str) -> bool) -> Series {
    let half = SCRAPES / 2;
    let restart = |name: &String, values: &Vec<Option<f64>>| {
        let mut values = values.clone();
        if again(name) {
            let first = values.iter().flatten().next().copied().unwrap_or_default();
            let moved = (half + 2) as f64 * f64::from(STEP);
            let zero = match name {
                counter if is_counter(counter) => first,
                moment if moment.contains("_timestamp_seconds") => -moved,
                _ => 0.0,
            };
            let beginning: Vec<_> = values[..SCRAPES - half - 2].to_vec();
            values.truncate(half);
            values.extend([None, None]);
            values.extend(beginning.into_iter().map(|value| Some(value? - zero)));
        }
        values
    };
    series
        .iter()
        .map(|(name, values)| (name.clone(), restart(name, values)))
        .collect()
}

fn is_counter(series: &str) -> bool {
    let name = series.split('{').next().unwrap_or_default();
    ["_total", "_count", "_sum", "_bucket"]
        .iter()
        .any(|end| name.ends_with(end))
}

/// Plays the capture at `directory` until the time is over, and collects what the rules read at every scrape.
pub(super) fn play(directory: &Path, place: &str) -> Series {
    let pages = lines(&directory.join("vllm.jsonl.gz")).len();
    // The last page of a round is the first of the next.
    let rounds = (MINUTES as usize * 60).div_ceil(pages - 1) + 1;
    let output = Command::new(env!("CARGO_BIN_EXE_vllm-roofline-exporter"))
        .args([
            "replay",
            "--format",
            "openmetrics",
            "--start",
            "0",
            "--capture",
        ])
        .arg(directory)
        .args(["--repeat", &rounds.to_string(), "--step", &STEP.to_string()])
        .args([
            "--label",
            "job=recorded",
            "--label",
            "namespace=",
            "--label",
            "pod=vllm-0",
        ])
        .args(["--label", &format!("instance={place}")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{place}: {said}");
    let read = metrics_of_the_rules();
    let mut series = Series::new();
    for line in output.stdout.lines().map(Result::unwrap) {
        let mut words = line.rsplitn(3, ' ');
        let (Some(time), Some(value), Some(name)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        if line.starts_with('#') || !is_read(name, &read) {
            continue;
        }
        let scrape = (time.parse::<f64>().unwrap() / f64::from(STEP)).floor();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts scrapes"
        )]
        let scrape = scrape as usize;
        if scrape < SCRAPES {
            series
                .entry(name.to_owned())
                .or_insert_with(|| vec![None; SCRAPES])[scrape] = value.parse().ok();
        }
    }
    series
}

pub(crate) fn metrics_of_the_rules() -> BTreeSet<String> {
    let rules = rules::all();
    let selections = rules.iter().flat_map(|rule| names::selections(&rule.expr));
    selections
        .map(|selection| selection.metric.to_owned())
        .collect()
}

/// Whether a rule reads `series`; buckets only at a target.
pub(crate) fn is_read(series: &str, read: &BTreeSet<String>) -> bool {
    let name = series.split(['{', ' ']).next().unwrap_or_default();
    let targets = ["le=\"0.05\"", "le=\"0.1\"", "le=\"0.5\""];
    read.contains(name)
        && (!name.ends_with("_bucket") || targets.iter().any(|le| series.contains(le)))
}

/// Writes `slices`, one after the other, as a new capture.
pub(crate) fn cut(slices: &[&Slice], directory: &Path) {
    std::fs::create_dir_all(directory).unwrap();
    let source = &slices[0].capture;
    let manifest = std::fs::read(source.join("capture.json")).unwrap();
    let mut manifest: Value = serde_json::from_slice(&manifest).unwrap();
    manifest["phases"] = json!([]);
    std::fs::write(directory.join("capture.json"), manifest.to_string()).unwrap();
    std::fs::copy(source.join("config.json"), directory.join("config.json")).unwrap();

    let (mut pages, mut readings) = (Vec::new(), Vec::new());
    let mut end = slices[0].from;
    for slice in slices {
        // Seven seconds for the start of a server that replaces another one.
        let shift = end - slice.from;
        let within = |time: f64, (from, to): (f64, f64)| (from..=to).contains(&time);
        let number = |line: &Value, key: &str| line[key].as_f64().unwrap();
        let all = lines(&slice.capture.join("vllm.jsonl.gz"));
        let whole = all[0]["body"].as_str().unwrap().to_owned();
        let mut own: Vec<_> = all
            .into_iter()
            .filter(|line| within(number(line, "t_start"), (slice.from, slice.to)))
            .collect();
        let body = own[0]["body"].as_str().unwrap();
        own[0]["body"] = json!(brought_up_to_date(&whole, body));
        // From page to page the GPU is read as long as vLLM: in a round of a few seconds, half a second more would be a tenth of it.
        let gpu = lines(&slice.capture.join("gpu.jsonl.gz"));
        let [first, last] =
            [&own[0], own.last().unwrap()].map(|page| nearest(&gpu, number(page, "t_start")));
        let gpu = gpu
            .into_iter()
            .filter(|line| within(number(line, "t"), (first, last)));
        readings.extend(gpu.map(|line| shifted(line, shift)));
        pages.extend(own.into_iter().map(|line| shifted(line, shift)));
        end = slice.to + shift + 7.0;
    }
    write_lines(&directory.join("vllm.jsonl.gz"), &pages);
    write_lines(&directory.join("gpu.jsonl.gz"), &readings);
}

/// When the reading nearest to `time` was taken.
fn nearest(readings: &[Value], time: f64) -> f64 {
    let times = readings.iter().map(|line| line["t"].as_f64().unwrap());
    let away = |taken: &f64| (taken - time).abs();
    times
        .min_by(|one, other| away(one).total_cmp(&away(other)))
        .unwrap_or(time)
}

fn shifted(mut line: Value, by: f64) -> Value {
    for key in ["t", "t_start", "t_end"] {
        if let Some(time) = line[key].as_f64() {
            line[key] = json!(time + by);
        }
    }
    line
}

/// The page `whole` with the values of the later page `body`, which may omit unchanged series.
fn brought_up_to_date(whole: &str, body: &str) -> String {
    let series = |line: &str| line.rsplit_once(' ').map(|(series, _)| series.to_owned());
    let mut now: BTreeMap<String, &str> = body
        .lines()
        .filter_map(|line| Some((series(line)?, line)))
        .collect();
    let mut page = String::new();
    for line in whole.lines() {
        let current = series(line).and_then(|series| now.remove(&series));
        page += current.unwrap_or(line);
        page.push('\n');
    }
    for line in now.into_values().filter(|line| !line.starts_with('#')) {
        page += line;
        page.push('\n');
    }
    page
}

fn lines(path: &Path) -> Vec<Value> {
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    BufReader::new(GzDecoder::new(file))
        .read_to_string(&mut text)
        .unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn write_lines(path: &Path, lines: &[Value]) {
    let file = std::fs::File::create(path).unwrap();
    let mut out = GzEncoder::new(file, Compression::fast());
    for line in lines {
        writeln!(out, "{line}").unwrap();
    }
    out.finish().unwrap();
}
