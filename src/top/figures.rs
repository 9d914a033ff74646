//! The figures beside the chart: user-visible figures, hardware utilisation, batch and KV cache with their limits.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::palette::{Palette, Role};
use crate::view::snapshot::{SnapshotEngine, SnapshotGauges, SnapshotView, Window};
use crate::view::text::{duration, percent, si, thousands};

/// Cells of a gauge.
const GAUGE: usize = 8;

/// The figures in lines of 34 characters, the most important first. `~` marks modelled figures; the others are measured.
pub(super) fn lines(
    engine: &SnapshotEngine,
    snapshot: &SnapshotView,
    palette: Palette,
) -> Vec<Line<'static>> {
    let window = engine.window.clone().unwrap_or_default();
    let mut lines = felt(&window, snapshot, palette);
    lines.extend([
        queue(&window.queue, palette),
        batch(engine, &window, palette),
        kv(engine, &window, palette),
        utilization("MFU", window.mfu, None),
        utilization("MBU", window.mbu, window.mbu_measured),
    ]);
    lines.extend(spent(engine, snapshot));
    lines
}

fn row(name: &str, value: String) -> Line<'static> {
    styled(name, value, Style::new())
}

fn styled(name: &str, value: String, style: Style) -> Line<'static> {
    Line::from(vec![
        Span::raw(format!("{name:<9} ")),
        Span::styled(value, style),
    ])
}

/// Throughput and latencies, against their targets.
fn felt(window: &Window, snapshot: &SnapshotView, palette: Palette) -> Vec<Line<'static>> {
    let dash = || "–".to_owned();
    let rate = window
        .output_tokens_per_second
        .map_or_else(dash, |rate| format!("{} tok/s", thousands(rate)));
    let latency = |name: &str, median: Option<f64>, mean: Option<f64>, target: Option<&f64>| {
        let (label, value) = match (median, mean) {
            (Some(value), _) => (format!("{name} P50"), Some(value)),
            (None, Some(value)) => (format!("{name} mean"), Some(value)),
            (None, None) => (format!("{name} P50"), None),
        };
        let missed = value.zip(target).map(|(value, target)| value > *target);
        let role = match missed {
            Some(true) => palette.style(Role::Bad),
            Some(false) => palette.style(Role::Good),
            None => Style::new(),
        };
        let against = target
            .filter(|_| missed == Some(true))
            .map(|target| format!(" over {}", duration(*target)));
        let shown = value.map_or_else(dash, duration) + &against.unwrap_or_default();
        styled(&label, shown, role)
    };
    vec![
        row("output", rate),
        latency(
            "TTFT",
            window.ttft_p50_seconds,
            window.ttft_mean_seconds,
            snapshot.slo.get("ttft"),
        ),
        latency(
            "TPOT",
            window.tpot_p50_seconds,
            window.tpot_mean_seconds,
            snapshot.slo.get("tpot"),
        ),
    ]
}

/// Means over the window, which is what the headline is about.
fn queue(queue: &SnapshotGauges, palette: Palette) -> Line<'static> {
    let waiting = queue.waiting.unwrap_or(0.0);
    let style = if waiting > 0.0 {
        palette.style(Role::Warning)
    } else {
        Style::new()
    };
    let shown = queue.running.map_or_else(
        || "–".to_owned(),
        |running| format!("{running:.0} run, {waiting:.0} wait"),
    );
    styled("requests", shown, style)
}

/// The decode batch and the nearest limit above it.
fn batch(engine: &SnapshotEngine, window: &Window, palette: Palette) -> Line<'static> {
    let Some(batch) = window.decode_batch else {
        return row("batch", "–".to_owned());
    };
    let limits = engine.limits.iter().filter(|limit| limit.batch > 0.0);
    let hard =
        limits.filter(|limit| matches!(limit.limit.as_str(), "kv_capacity" | "max_num_seqs"));
    let Some(limit) = hard.min_by(|a, b| a.batch.total_cmp(&b.batch)) else {
        return row("batch", format!("~{batch:.1}"));
    };
    let name = if limit.limit == "kv_capacity" {
        "KV"
    } else {
        "seqs"
    };
    let text = format!(" ~{batch:.0} of {} {name}", si(limit.batch));
    filled("batch", batch / limit.batch, text, palette)
}

fn kv(engine: &SnapshotEngine, window: &Window, palette: Palette) -> Line<'static> {
    let Some(used) = window.queue.kv_cache_usage else {
        return row("KV cache", "–".to_owned());
    };
    let of = engine.now.kv_capacity_tokens;
    let of = of.map_or_else(String::new, |tokens| format!(" of {}", si(tokens)));
    filled(
        "KV cache",
        used,
        format!(" {:.0} %{of}", used * 100.0),
        palette,
    )
}

/// A gauge filled by `share`, with its text.
fn filled(name: &str, share: f64, text: String, palette: Palette) -> Line<'static> {
    let role = match share {
        s if s >= 0.95 => Role::Bad,
        s if s >= 0.8 => Role::Warning,
        _ => Role::Good,
    };
    let full = cells(share, GAUGE);
    Line::from(vec![
        Span::raw(format!("{name:<9} ")),
        Span::styled("█".repeat(full), palette.style(role)),
        Span::styled("░".repeat(GAUGE - full), palette.style(Role::Faint)),
        Span::raw(text),
    ])
}

/// `share` of `width` cells, in whole ones.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the width first"
)]
pub(super) fn cells(share: f64, width: usize) -> usize {
    let width_f = roofline::spec::to_f64(width as u64);
    (share * width_f).round().clamp(0.0, width_f) as usize
}

fn utilization(name: &str, modelled: Option<f64>, measured: Option<f64>) -> Line<'static> {
    let modelled = modelled.map_or_else(|| "–".to_owned(), |share| format!("~{}", percent(share)));
    let measured = measured.map(|share| format!("  GPM {}", percent(share)));
    row(name, modelled + &measured.unwrap_or_default())
}

fn spent(engine: &SnapshotEngine, snapshot: &SnapshotView) -> Vec<Line<'static>> {
    let own = snapshot
        .gpus
        .iter()
        .filter(|gpu| engine.gpus.contains(&gpu.uuid));
    let watts: f64 = own.filter_map(|gpu| gpu.power_watts).sum();
    let power = (watts > 0.0).then(|| row("power", format!("{watts:.0} W")));
    let cost = engine.cost();
    let both = |each: Vec<String>, unit: &str| {
        (!each.is_empty()).then(|| format!("{}{unit}", each.join(", ")))
    };
    let dollars = cost.dollars_per_million_tokens;
    let dollars = both(dollars.each(|dollars| format!("{dollars:.2}")), " $/1M");
    let joules = cost.joules_per_token;
    let joules = both(joules.each(|joules| format!("{joules:.2}")), " J/tok");
    let wasted = cost.dollars_per_hour.map(|hour| {
        let wasted: f64 = cost.wasted_dollars_per_hour.values().sum();
        format!("${wasted:.2} of ${hour:.2} per hour")
    });
    let rows = [("cost", dollars), ("wasted", wasted), ("energy", joules)];
    let rows = rows
        .into_iter()
        .filter_map(|(name, text)| Some(row(name, text?)));
    power.into_iter().chain(rows).collect()
}
