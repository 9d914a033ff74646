//! The charts of an analysis: rooflines, heatmaps, distributions.

use super::cell::{CellPath, NumberCell};
use crate::analysis::text::{count, duration, scaled};
use crate::analysis::{Analysis, RooflinePoint, Run, RunRoof, TimelineMoment};
use crate::chart::curves::{self, Curve, class_of};
use crate::chart::heatmap::{self, HeatmapRow, heatmap};
use crate::chart::roofline::{self as chart, ChartPoint, Mark};
use crate::results::{Distribution, Latencies};
use roofline::units::{FlopsPerSecond, Intensity};

/// A roofline and the roofs in it.
pub(super) struct Roofline {
    pub svg: String,
    pub roofs: Vec<RoofLabel>,
}

/// A roof in words.
pub(super) struct RoofLabel {
    pub class: &'static str,
    pub label: &'static str,
    pub peak: NumberCell,
    pub bandwidth: NumberCell,
    pub ridge: NumberCell,
    pub provenance: String,
}

/// The median, if it lies on the curve: not where the curve starts above it, or jumps over it.
fn median_on_curve(distribution: &Distribution) -> Option<f64> {
    let starts_below = distribution
        .quantiles
        .first()
        .is_some_and(|first| first[0] <= 0.5);
    distribution
        .p50_seconds
        .filter(|_| starts_below && distribution.p50_between_seconds.is_none())
}

/// Distributions of one kind of latency.
pub(super) struct Curves {
    pub title: &'static str,
    pub svg: String,
    pub key: Vec<(String, String)>,
    /// Runs without a curve, and what is known of them.
    pub within: Vec<String>,
}

/// The runs of `analysis` as numbered points below its roofs.
pub(super) fn roofline(document: usize, analysis: &Analysis) -> Option<Roofline> {
    let runs = &analysis.runs;
    let place = CellPath::new(document).at("runs");
    let (most, run) = runs
        .iter()
        .enumerate()
        .max_by_key(|(_, run)| run.roofs.len())?;
    // The current clock differs between runs; each run's own chart shows it.
    let shared = |roof: &RunRoof| runs.len() == 1 || roof.level != "current_clock";
    let points = runs.iter().enumerate().flat_map(|(number, run)| {
        let own = place.at(number).at("modelled");
        means(run, |phase| Mark {
            text: (number + 1).to_string(),
            path: own.path(phase),
        })
    });
    let points: Vec<ChartPoint> = points.collect();
    draw(&place.at(most), run, shared, &points)
}

/// One run below its roofs, with the trail of its earlier positions.
pub(super) fn roofline_of(place: &CellPath, run: &Run) -> Option<Roofline> {
    let own = place.at("modelled");
    let mut points = trail(&run.timeline);
    points.extend(means(run, |phase| Mark {
        text: if phase == "prefill" { "P" } else { "D" }.to_owned(),
        path: own.path(phase),
    }));
    draw(place, run, |_| true, &points)
}

/// `points` below those roofs of `run` that are `wanted`.
fn draw(
    place: &CellPath,
    run: &Run,
    wanted: impl Fn(&RunRoof) -> bool,
    points: &[ChartPoint],
) -> Option<Roofline> {
    let roofs = run
        .roofs
        .iter()
        .enumerate()
        .filter(|(_, roof)| wanted(roof));
    let lines: Vec<chart::RoofLine> = roofs
        .clone()
        .map(|(_, roof)| chart::RoofLine {
            level: named(roof).0,
            label: named(roof).1,
            ridge: Intensity(roof.ridge_flops_per_byte.0),
            peak: FlopsPerSecond(roof.peak_flops_per_second.0),
        })
        .collect();
    let svg = chart::roofline(&lines, points)?;
    let labels = roofs.map(|(number, roof)| {
        let own = place.at("roofs").at(number);
        let (peak, bandwidth) = (roof.peak_flops_per_second.0, roof.hbm_bytes_per_second.0);
        RoofLabel {
            class: named(roof).0,
            label: named(roof).1,
            peak: own.cell("peak_flops_per_second", peak, |value| {
                format!("{}FLOP/s", scaled(value))
            }),
            bandwidth: own.cell("hbm_bytes_per_second", bandwidth, |value| {
                format!("{}B/s", scaled(value))
            }),
            ridge: own.cell("ridge_flops_per_byte", roof.ridge_flops_per_byte.0, count),
            provenance: roof.provenance.clone(),
        }
    });
    let roofs = labels.collect();
    Some(Roofline { svg, roofs })
}

/// The CSS class and the name of a roof.
fn named(roof: &RunRoof) -> (&'static str, &'static str) {
    match roof.level.as_str() {
        "datasheet" => ("datasheet", "datasheet"),
        "attainable" => ("attainable", "attainable"),
        _ => ("current_clock", "at the current clock"),
    }
}

/// The mean operating points of the phases of a run.
fn means(run: &Run, mark: impl Fn(&'static str) -> Mark) -> Vec<ChartPoint> {
    let Some(modelled) = &run.modelled else {
        return Vec::new();
    };
    [("prefill", modelled.prefill), ("decode", modelled.decode)]
        .into_iter()
        .filter_map(|(phase, point)| Some(placed(phase, point?, 1.0, Some(mark(phase)))))
        .collect()
}

/// The operating points over time, fainter with age.
fn trail(moments: &[TimelineMoment]) -> Vec<ChartPoint> {
    let count = moments.len().max(1) as f64;
    let phases = moments.iter().enumerate().flat_map(|(number, moment)| {
        let freshness = (number as f64 + 1.0) / count * 0.99;
        [("prefill", moment.prefill), ("decode", moment.decode)]
            .into_iter()
            .filter_map(move |(phase, point)| Some(placed(phase, point?, freshness, None)))
    });
    phases.collect()
}

const fn placed(
    phase: &'static str,
    point: RooflinePoint,
    freshness: f64,
    mark: Option<Mark>,
) -> ChartPoint {
    ChartPoint {
        phase,
        intensity: point.intensity,
        flops_per_second: point.flops_per_second,
        freshness,
        mark,
    }
}

/// A utilisation of an interval, with its label on the page and its name in the JSON.
type Utilisation = (
    &'static str,
    &'static str,
    fn(&TimelineMoment) -> Option<f64>,
);

/// Utilisations of a run over time.
pub(super) fn heatmap_of(place: &CellPath, run: &Run) -> Option<String> {
    const ROWS: [Utilisation; 5] = [
        ("GPU busy", "gpu_utilization", |moment| {
            moment.gpu_utilization
        }),
        ("HBM (GPM)", "hbm_utilization", |moment| {
            moment.hbm_utilization
        }),
        ("MBU", "mbu", |moment| moment.mbu),
        ("MFU", "mfu", |moment| moment.mfu),
        ("KV cache", "kv_cache_usage", |moment| moment.kv_cache_usage),
    ];
    let timeline = place.at("timeline");
    let row = |(label, name, pick): &Utilisation| HeatmapRow {
        label,
        cells: run
            .timeline
            .iter()
            .enumerate()
            .filter_map(|(number, moment)| {
                Some(heatmap::HeatmapCell {
                    start: moment.start_seconds,
                    seconds: moment.seconds,
                    share: pick(moment)?,
                    path: timeline.at(number).path(name),
                })
            })
            .collect(),
    };
    let mut rows: Vec<HeatmapRow> = ROWS.iter().map(row).collect();
    rows.retain(|row| !row.cells.is_empty());
    heatmap(&rows)
}

/// A kind of latency, with its label on the page and its name in the JSON.
type LatencyChart = (
    &'static str,
    &'static str,
    fn(&Latencies) -> Option<&Distribution>,
);

/// The distributions of all runs, one chart per kind of latency.
pub(super) fn curves(document: usize, analysis: &Analysis) -> Vec<Curves> {
    const KINDS: [LatencyChart; 4] = [
        ("Time to first token", "ttft", |latency| {
            latency.ttft.as_ref()
        }),
        ("Time per output token", "tpot", |latency| {
            latency.tpot.as_ref()
        }),
        ("Time between tokens", "itl", |latency| latency.itl.as_ref()),
        ("End to end", "e2e", |latency| latency.e2e.as_ref()),
    ];
    let place = CellPath::new(document).at("runs");
    let chart = |(title, name, pick): LatencyChart| {
        let all = analysis.runs.iter().enumerate();
        let all = all.filter_map(|(number, run)| Some((number, run, pick(&run.measured.latency)?)));
        let (known, within): (Vec<(usize, &Run, &Distribution)>, Vec<_>) =
            all.partition(|(_, _, distribution)| distribution.quantiles.len() > 1);
        let within = within
            .into_iter()
            .filter_map(|(number, run, distribution)| {
                let [[_, most]] = distribution.quantiles[..] else {
                    return None;
                };
                Some(format!(
                    "{} {}: all within {}",
                    number + 1,
                    run.name,
                    duration(most)
                ))
            });
        let drawn: Vec<Curve> = known
            .iter()
            .map(|(number, run, distribution)| Curve {
                label: run.name.clone(),
                points: distribution.quantiles.clone(),
                median: median_on_curve(distribution).map(|median| {
                    let own = place.at(*number).at("measured").at(name);
                    (median, own.path("p50_seconds"))
                }),
            })
            .collect();
        let key = known.iter().enumerate().map(|(line, (number, run, _))| {
            (class_of(line), format!("{} {}", number + 1, run.name))
        });
        Some(Curves {
            title,
            svg: curves::curves(&drawn, "seconds, share of requests served within")?,
            key: key.collect(),
            within: within.collect(),
        })
    };
    KINDS.into_iter().filter_map(chart).collect()
}
