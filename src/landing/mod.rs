//! The landing page: a live roofline on one self-contained page, rendered here alone; its script only swaps in a fresh copy.

mod figures;

use askama::Template;

use self::figures::{FigureView, figures};
use crate::build_info::BUILD;
use crate::config::Settings;
use crate::snapshot::{EngineSnapshot, Snapshot, SourceStatus};
use loadtest::chart::roofline::{Point, RoofLine, roofline};
use roofline::bound::TimeSeconds;
use roofline::bound::{Admission, Bound, EngineState};
use roofline::units::{Seconds, ratio};

#[derive(Template)]
#[template(path = "landing.html")]
struct Page {
    build: crate::build_info::Build,
    telemetry_path: String,
    time: f64,
    refresh_milliseconds: u128,
    vllm_url: String,
    vllm_error: Option<String>,
    engines: Vec<EngineView>,
    sources: Vec<SourceView>,
}

struct EngineView {
    model_name: String,
    engine: String,
    bound: &'static str,
    state: &'static str,
    admission: &'static str,
    dominant: Option<&'static str>,
    power_limited: bool,
    explanation: &'static str,
    chart: Option<String>,
    attainable_note: &'static str,
    has_clock: bool,
    figures: Vec<FigureView>,
    time: Vec<Part>,
    caveats: Vec<&'static str>,
    missing: Vec<String>,
    facts: String,
}

struct Part {
    name: &'static str,
    percent: String,
}

struct SourceView {
    name: &'static str,
    state: &'static str,
    class: &'static str,
    age: String,
    note: String,
}

/// The page for `snapshot`, or for the time before the first one.
///
/// # Errors
/// Where the template cannot be written, which only lack of memory can cause.
pub fn page(snapshot: Option<&Snapshot>, settings: &Settings) -> askama::Result<String> {
    let empty = Snapshot::default();
    let shown = snapshot.unwrap_or(&empty);
    let vllm = shown.sources.iter().find(|source| source.source == "vllm");
    Page {
        build: BUILD,
        telemetry_path: settings.web.telemetry_path.clone(),
        time: shown.time.0,
        refresh_milliseconds: settings.tick.0.as_millis(),
        vllm_url: settings.vllm_url.to_string(),
        vllm_error: vllm.and_then(|source| source.error.clone()),
        engines: shown
            .engines
            .iter()
            .map(|engine| view(engine, shown))
            .collect(),
        sources: shown
            .sources
            .iter()
            .map(|source| source_view(source, shown.time))
            .collect(),
    }
    .render()
}

fn view(engine: &EngineSnapshot, snapshot: &Snapshot) -> EngineView {
    let window = engine.window.as_ref();
    let roofs = roof_lines(engine);
    let power_limited = window
        .and_then(|window| window.power_limited_ratio)
        .is_some_and(|ratio| ratio > 0.5);
    let inputs = engine.missing_inputs.iter();
    let inputs = inputs.map(|missing| format!("vllm:{}: {missing}", missing.metric));
    EngineView {
        model_name: engine.key.model_name.clone(),
        engine: engine.key.engine.clone(),
        bound: engine.bound.as_str(),
        state: engine.state.as_str(),
        admission: window
            .map_or(Admission::Unknown, |window| window.admission)
            .as_str(),
        dominant: window
            .and_then(|window| window.dominant)
            .map(roofline::bound::Dominant::as_str),
        power_limited,
        explanation: explanation(engine),
        has_clock: roofs.iter().any(|roof| roof.level == "current_clock"),
        chart: roofline(&roofs, &points(engine)),
        attainable_note: if engine.facts.attainable_origin() == "assumed" {
            " (assumed)"
        } else {
            ""
        },
        figures: figures(engine, snapshot),
        time: window
            .and_then(|window| window.time_seconds)
            .map_or_else(Vec::new, |time| parts(&time)),
        caveats: window.map_or_else(Vec::new, |window| window.caveats.clone()),
        missing: engine
            .facts
            .missing
            .iter()
            .map(|missing| format!("{}: {}", missing.fact, missing.why))
            .chain(inputs)
            .collect(),
        facts: facts(engine),
    }
}

fn roof_lines(engine: &EngineSnapshot) -> Vec<RoofLine> {
    let label = |level| match level {
        "datasheet" => "datasheet",
        "attainable" => "attainable",
        _ => "at the current clock",
    };
    let roofs = engine.facts.roofs(engine.sm_clock_mhz);
    roofs
        .iter()
        .map(|roof| RoofLine {
            level: roof.level,
            label: label(roof.level),
            ridge: roof.ridge(),
            peak: roof.peak,
        })
        .collect()
}

/// The trail, with the newest point of each phase in the window as the point of now.
fn points(engine: &EngineSnapshot) -> Vec<Point> {
    let newest = engine.trail.last().map_or(0.0, |point| point.time.0);
    let oldest = engine.trail.first().map_or(0.0, |point| point.time.0);
    let span = (newest - oldest).max(1.0);
    let last_of = |phase: &str| engine.trail.iter().rposition(|point| point.phase == phase);
    let now = ["prefill", "decode"].map(last_of);
    let is_now = |place: usize| {
        now.contains(&Some(place))
            && engine.window.is_some()
            && engine.trail[place].time.0 >= newest
    };
    engine
        .trail
        .iter()
        .enumerate()
        .map(|(place, point)| Point {
            phase: point.phase,
            intensity: point.intensity,
            flops_per_second: point.flops_per_second,
            freshness: if is_now(place) {
                1.0
            } else {
                (point.time.0 - oldest) / span * 0.99
            },
            mark: None,
        })
        .collect()
}

/// What the bound means, and what to do about it.
const fn explanation(engine: &EngineSnapshot) -> &'static str {
    match (engine.state, engine.bound) {
        (EngineState::Unreachable, _) => "vLLM's metrics cannot be read; nothing here is current.",
        (EngineState::Stalled, _) => {
            "Requests are in the engine and nothing moves: look at vLLM's log."
        }
        (EngineState::Sleeping, _) => "The engine sleeps; its weights are off the GPU.",
        (_, Bound::Compute) => {
            "The tensor cores are the limit. A larger batch only adds latency: skip work (prefix caching), use FP8/INT8 arithmetic, or more GPUs."
        }
        (_, Bound::MemoryBandwidth) => {
            "HBM is the limit. If weights dominate the traffic, more concurrency is nearly free; if KV does, shrink the KV cache (FP8) or the context."
        }
        (_, Bound::Interconnect) => {
            "Collectives between GPUs are the limit: lower tensor parallelism, or keep it within NVLink."
        }
        (_, Bound::Overhead) => {
            "The GPU waits for launches, scheduling or sampling: use CUDA graphs, fewer and larger steps (a larger batch is free), or lower tensor parallelism."
        }
        (_, Bound::Idle) => "No request is running.",
        (_, Bound::Unknown) => "Not enough is known or measured yet to tell the bound.",
    }
}

fn parts(time: &TimeSeconds) -> Vec<Part> {
    let components = time.components();
    let total: f64 = components.iter().map(|(_, seconds)| seconds.0).sum();
    components
        .into_iter()
        .filter_map(|(name, seconds)| Some((name, ratio(seconds.0, total)?)))
        .filter(|(_, share)| *share >= 0.0005)
        .map(|(name, share)| Part {
            name,
            percent: format!("{:.1}", share * 100.0),
        })
        .collect()
}

fn facts(engine: &EngineSnapshot) -> String {
    let told = engine
        .facts
        .origins
        .iter()
        .map(|(fact, origin)| format!("{fact} from {origin}"));
    told.collect::<Vec<_>>().join(" · ")
}

fn source_view(status: &SourceStatus, now: Seconds) -> SourceView {
    let (state, class) = match status.success {
        Some(true) => ("up", "good"),
        Some(false) => ("down", "bad"),
        None => ("not read yet", "warn"),
    };
    SourceView {
        name: status.source,
        state,
        class,
        age: status.last_success.map_or_else(
            || "never".to_owned(),
            |time| format!("{:.0} s ago", (now - time).0.max(0.0)),
        ),
        note: status.error.clone().unwrap_or_default(),
    }
}
