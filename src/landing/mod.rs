//! The landing page: a live roofline on one self-contained page, rendered on the server; its script only replaces the page with a fresh
//! copy.

mod event;
mod figures;
mod history;
mod verdict;

use askama::Template;

use self::event::EventView;
use self::figures::{FigureView, figures};
use self::history::{HistoryLine, Ribbon};
use self::verdict::FindingView;
use crate::build_info::BUILD;
use crate::config::Settings;
use crate::snapshot::{EngineSnapshot, Snapshot, SourceStatus};
use loadtest::chart::roofline::{ChartPoint, RoofLine, roofline};
use roofline::bound::Admission;
use roofline::bound::TimeSeconds;
use roofline::diagnosis::{Effect, worst};
use roofline::units::{Seconds, ratio};

#[derive(Template)]
#[template(path = "landing.html")]
struct LandingPage {
    build: crate::build_info::Build,
    telemetry_path: String,
    time: f64,
    refresh_milliseconds: u128,
    vllm_url: String,
    vllm_error: Option<String>,
    /// All engines, if there are several: the worst first.
    rows: Vec<EngineRow>,
    /// The first of them in detail.
    engines: Vec<EngineView>,
    sources: Vec<SourceView>,
}

struct EngineView {
    model_name: String,
    engine: String,
    target: Option<String>,
    bound: &'static str,
    state: &'static str,
    admission: &'static str,
    dominant: Option<&'static str>,
    power_limited: bool,
    findings: Vec<FindingView>,
    ribbon: Option<Ribbon>,
    lines: Vec<HistoryLine>,
    events: Vec<EventView>,
    limits: Vec<BatchLimitView>,
    chart: Option<String>,
    attainable_note: &'static str,
    has_clock: bool,
    figures: Vec<FigureView>,
    time: Vec<BarPart>,
    caveats: Vec<&'static str>,
    missing: Vec<String>,
    facts: String,
}

/// A batch at which a limit is reached.
struct BatchLimitView {
    name: &'static str,
    batch: String,
    percent: String,
}

/// An engine as a row of the list.
struct EngineRow {
    name: String,
    state: &'static str,
    bound: String,
    severity: &'static str,
    sentence: String,
    output: String,
    waiting: String,
    mbu: String,
}

struct BarPart {
    name: &'static str,
    percent: String,
}

struct SourceView {
    name: String,
    state: &'static str,
    class: &'static str,
    age: String,
    note: String,
}

/// The page for `snapshot`, or for the time before the first snapshot.
///
/// # Errors
/// When the template cannot be rendered, which only lack of memory can cause.
pub fn page(snapshot: Option<&Snapshot>, settings: &Settings) -> askama::Result<String> {
    let empty = Snapshot::default();
    let shown = snapshot.unwrap_or(&empty);
    let ranked = ranked(shown);
    let vllm_error = shown.servers().find_map(|source| source.error.clone());
    LandingPage {
        build: BUILD,
        telemetry_path: settings.web.telemetry_path.clone(),
        time: shown.time.0,
        refresh_milliseconds: settings.tick.0.as_millis(),
        vllm_url: settings.vllm_url.to_string(),
        vllm_error,
        rows: if ranked.len() > 1 {
            ranked.iter().map(|engine| row(engine)).collect()
        } else {
            Vec::new()
        },
        engines: ranked
            .first()
            .map(|engine| view(engine, shown, settings.gpu_hour_price))
            .into_iter()
            .collect(),
        sources: shown
            .sources
            .iter()
            .map(|source| source_view(source, shown.time))
            .collect(),
    }
    .render()
}

/// Engines by waste: the worst verdict first, then by the time that the roofline does not explain.
fn ranked(snapshot: &Snapshot) -> Vec<&EngineSnapshot> {
    let waste = |engine: &EngineSnapshot| {
        let window = engine.window.as_ref();
        let efficiency = window.and_then(|window| window.roofline_efficiency);
        let waiting = window
            .and_then(|window| window.queue.waiting)
            .unwrap_or(0.0);
        (
            worst(&engine.verdict),
            waiting,
            1.0 - efficiency.unwrap_or(1.0),
        )
    };
    let mut engines: Vec<&EngineSnapshot> = snapshot.engines.iter().collect();
    engines.sort_by(|one, other| {
        let (one, other) = (waste(one), waste(other));
        other
            .0
            .cmp(&one.0)
            .then(other.1.total_cmp(&one.1))
            .then(other.2.total_cmp(&one.2))
    });
    engines
}

/// An engine's name in the list.
fn name(engine: &EngineSnapshot) -> String {
    let target = engine.target.iter().map(|target| format!(" at {target}"));
    format!(
        "{} engine {}{}",
        engine.key.model_name,
        engine.key.engine,
        target.collect::<String>()
    )
}

fn row(engine: &EngineSnapshot) -> EngineRow {
    let window = engine.window.as_ref();
    let first = engine.verdict.first();
    let dash = || "–".to_owned();
    EngineRow {
        name: name(engine),
        state: engine.state.as_str(),
        bound: engine.bound.as_str().replace('_', " "),
        severity: first.map_or("info", |first| first.severity.as_str()),
        sentence: first.map_or_else(String::new, |first| first.finding.clone()),
        output: window
            .and_then(|window| window.output_tokens_per_second)
            .map_or_else(dash, |rate| format!("{rate:.0}")),
        waiting: window
            .and_then(|window| window.queue.waiting)
            .map_or_else(dash, |waiting| format!("{waiting:.0}")),
        mbu: window
            .and_then(|window| window.mbu_measured.or(window.mbu))
            .map_or_else(dash, |share| format!("{:.0} %", share * 100.0)),
    }
}

fn view(engine: &EngineSnapshot, snapshot: &Snapshot, price: Option<f64>) -> EngineView {
    let window = engine.window.as_ref();
    let cost = engine.facts.dollars_per_second(price);
    let felt = window.map_or_else(Effect::default, |window| window.felt(cost));
    let roofs = roof_lines(engine);
    let power_limited = window
        .and_then(|window| window.power_limited_ratio)
        .is_some_and(|ratio| ratio > 0.5);
    let inputs = engine.missing_inputs.iter();
    let inputs = inputs.map(|missing| format!("vllm:{}: {missing}", missing.metric));
    EngineView {
        model_name: engine.key.model_name.clone(),
        engine: engine.key.engine.clone(),
        target: engine.target.clone(),
        bound: engine.bound.as_str(),
        state: engine.state.as_str(),
        admission: window
            .map_or(Admission::Unknown, |window| window.admission)
            .as_str(),
        dominant: window
            .and_then(|window| window.dominant)
            .map(roofline::bound::Dominant::as_str),
        power_limited,
        findings: engine
            .verdict
            .iter()
            .map(|finding| verdict::view(finding, &felt))
            .collect(),
        ribbon: history::ribbon(&engine.history, &engine.events),
        lines: history::lines(&engine.history, &engine.events),
        events: event::views(&engine.events),
        limits: limits(engine),
        has_clock: roofs.iter().any(|roof| roof.level == "current_clock"),
        chart: roofline(&roofs, &points(engine)),
        attainable_note: if engine.facts.attainable_origin() == "assumed" {
            " (assumed)"
        } else {
            ""
        },
        figures: figures(engine, snapshot),
        time: engine.recently.map_or_else(Vec::new, |time| parts(&time)),
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

/// The trail, with the newest point of each phase in the window as the current point.
fn points(engine: &EngineSnapshot) -> Vec<ChartPoint> {
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
        .map(|(place, point)| ChartPoint {
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

/// The decode batch and the batches at which a limit is reached, on one scale.
fn limits(engine: &EngineSnapshot) -> Vec<BatchLimitView> {
    let window = engine.window.as_ref();
    let batch = window.and_then(|window| window.decode_batch);
    let context = window.and_then(|window| window.context_tokens);
    let found = engine
        .facts
        .batch_limits(context, engine.now.kv_capacity_tokens);
    let named = found.into_iter().map(|(limit, batch)| {
        let name = match limit {
            "ridge" => "weights turn compute-bound (ridge)",
            "knee" => "KV traffic equals weight traffic (knee)",
            _ => "KV cache full",
        };
        (name, batch)
    });
    let all: Vec<(&'static str, f64)> = batch
        .map(|batch| ("decode batch now", batch))
        .into_iter()
        .chain(named)
        .chain(
            engine
                .facts
                .max_num_seqs()
                .map(|limit| ("--max-num-seqs", limit)),
        )
        .collect();
    let most = all.iter().map(|(_, batch)| *batch).fold(1.0, f64::max);
    let show = |(name, batch): (&'static str, f64)| BatchLimitView {
        name,
        batch: format!("{batch:.0}"),
        percent: format!(
            "{:.1}",
            ((1.0 + batch).ln() / (1.0 + most).ln() * 100.0).clamp(0.0, 100.0)
        ),
    };
    all.into_iter().map(show).collect()
}

fn parts(time: &TimeSeconds) -> Vec<BarPart> {
    let components = time.components();
    let total: f64 = components.iter().map(|(_, seconds)| seconds.0).sum();
    components
        .into_iter()
        .filter_map(|(name, seconds)| Some((name, ratio(seconds.0, total)?)))
        .filter(|(_, share)| *share >= 0.0005)
        .map(|(name, share)| BarPart {
            name,
            percent: format!("{:.1}", share * 100.0),
        })
        .collect()
}

fn facts(engine: &EngineSnapshot) -> String {
    let facts_with_origin = engine
        .facts
        .origins
        .iter()
        .map(|(fact, origin)| format!("{fact} from {origin}"));
    facts_with_origin.collect::<Vec<_>>().join(" · ")
}

fn source_view(status: &SourceStatus, now: Seconds) -> SourceView {
    let (state, class) = match status.success {
        Some(true) => ("up", "good"),
        Some(false) => ("down", "bad"),
        None => ("not read yet", "warn"),
    };
    SourceView {
        name: std::iter::once(status.source)
            .chain(status.target.as_deref())
            .collect::<Vec<_>>()
            .join(" "),
        state,
        class,
        age: status.last_success.map_or_else(
            || "never".to_owned(),
            |time| format!("{:.0} s ago", (now - time).0.max(0.0)),
        ),
        note: status.error.clone().unwrap_or_default(),
    }
}
