//! The output of `diagnose`: the verdict first, then its remedies, the measurements, and what would improve the answer.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::view::snapshot::{SnapshotCost, SnapshotEngine, SnapshotView};
use crate::view::text::{duration, percent, si, thousands, wrap};

use super::FailOn;

/// Width of the output in columns.
const WIDTH: usize = 80;
/// Maximum number of remedies.
const REMEDIES: usize = 3;

/// The findings as JSON.
pub(super) fn json(found: &SnapshotView, fail_on: FailOn) -> Value {
    let engines = by_severity(found);
    let failing = |engine: &&SnapshotEngine| {
        let mut findings = engine.findings().iter();
        findings.any(|finding| fail_on.holds(&finding.severity))
    };
    json!({
        "schema": 1,
        "vllm_url": found.vllm_url,
        "healthy": !engines.iter().any(failing),
        "engines": engines.iter().map(|engine| json!({
            "model_name": engine.model_name,
            "engine": engine.engine,
            "finding": engine.headline(),
            "engine_state": engine.engine_state,
            "bound": engine.bound,
            "verdict": engine.findings(),
            "now": engine.now,
            "window": engine.window,
            "missing": missing(engine, found).iter().map(|(what, how)| json!({"what": what, "how": how})).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}

/// Prints the findings, engine by engine, the worst first.
///
/// # Errors
/// When writing to `out` fails.
pub fn print(found: &SnapshotView, out: &mut impl Write) -> io::Result<()> {
    let engines = by_severity(found);
    for engine in &engines {
        print_engine(engine, found, out)?;
    }
    if engines.is_empty() {
        writeln!(out, "no engine was seen")?;
    }
    Ok(())
}

/// The engines, those with the most severe finding first.
fn by_severity(found: &SnapshotView) -> Vec<&SnapshotEngine> {
    let rank = |engine: &&SnapshotEngine| {
        let severity = engine
            .findings()
            .first()
            .map_or("", |first| &first.severity);
        ["critical", "warning", "info"]
            .iter()
            .position(|known| *known == severity)
            .unwrap_or(3)
    };
    let mut engines: Vec<&SnapshotEngine> = found.engines.iter().collect();
    engines.sort_by_key(rank);
    engines
}

fn print_engine(
    engine: &SnapshotEngine,
    found: &SnapshotView,
    out: &mut impl Write,
) -> io::Result<()> {
    let own = |uuid: &String| engine.gpus.contains(uuid);
    let gpus: Vec<&str> = found
        .gpus
        .iter()
        .filter(|gpu| own(&gpu.uuid))
        .map(|gpu| gpu.name.as_str())
        .collect();
    let hardware = gpus.first().map(|name| format!("{} × {name}", gpus.len()));
    let seconds = engine
        .window
        .as_ref()
        .map(|window| format!("{:.0} s", window.seconds));
    let parts = [
        Some(engine.name()),
        hardware,
        // With several servers, the name contains it.
        engine.target.is_none().then(|| found.vllm_url.clone()),
        seconds,
    ];
    writeln!(
        out,
        "{}\n",
        parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
    )?;
    print_verdict(engine, out)?;
    print_remedies(engine, out)?;
    print_measured(engine, out)?;
    let missing = missing(engine, found);
    if !missing.is_empty() {
        writeln!(out, "For a better answer")?;
        for (what, how) in missing {
            item("- ", &format!("{what}: {how}"), out)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// The findings, with the evidence of the first.
fn print_verdict(engine: &SnapshotEngine, out: &mut impl Write) -> io::Result<()> {
    let severity = engine
        .findings()
        .first()
        .map_or("info", |first| &first.severity);
    item(
        &format!("{}  ", severity.to_uppercase()),
        engine.headline(),
        out,
    )?;
    for (place, finding) in engine.findings().iter().enumerate() {
        if place > 0 {
            item(&format!("{}  ", finding.severity), &finding.finding, out)?;
        }
        for evidence in finding.evidence.iter().take(if place == 0 { 4 } else { 1 }) {
            item("   - ", evidence, out)?;
        }
    }
    writeln!(out)
}

/// The best remedies of all findings, those of the weightiest finding first.
fn print_remedies(engine: &SnapshotEngine, out: &mut impl Write) -> io::Result<()> {
    let remedies = engine
        .findings()
        .iter()
        .flat_map(|finding| &finding.remedies);
    let mut shown: Vec<&str> = Vec::new();
    for remedy in remedies {
        if shown.len() == REMEDIES || shown.contains(&remedy.r#do.as_str()) {
            continue;
        }
        if shown.is_empty() {
            writeln!(out, "What to do")?;
        }
        shown.push(&remedy.r#do);
        let price = if remedy.free { "" } else { " (needs hardware)" };
        let number = format!("{}. ", shown.len());
        item(&number, &format!("{}{price}", remedy.r#do), out)?;
        let effect = remedy.effect(engine.rate());
        if !effect.is_empty() {
            item("   predicted: ", &effect, out)?;
        }
    }
    if shown.is_empty() {
        return Ok(());
    }
    writeln!(out)
}

fn print_measured(engine: &SnapshotEngine, out: &mut impl Write) -> io::Result<()> {
    let time = engine.shares().into_iter();
    let time: Vec<_> = time
        .map(|(name, share)| format!("{name} {}", percent(share)))
        .collect();
    if !time.is_empty() {
        item("Time        ", &time.join(", "), out)?;
    }
    let window = engine.window.clone().unwrap_or_default();
    let latency = |name, median: Option<f64>, mean: Option<f64>| {
        let value = median
            .map(|value| ("P50", value))
            .or(mean.map(|value| ("mean", value)));
        value.map(|(which, value)| format!("{name} {which} {}", duration(value)))
    };
    let users = [
        engine
            .rate()
            .map(|rate| format!("{} output tok/s", thousands(rate))),
        latency("TTFT", window.ttft_p50_seconds, window.ttft_mean_seconds),
        latency("TPOT", window.tpot_p50_seconds, window.tpot_mean_seconds),
    ];
    line("Users see   ", users, out)?;
    // The same span as the verdict: the newest instant may contradict it.
    let (mean, now) = (window.queue, engine.now);
    let load = [
        mean.running
            .map(|running| format!("{running:.0} running on average")),
        mean.waiting.map(|waiting| format!("{waiting:.0} waiting")),
        window
            .decode_batch
            .map(|batch| format!("decode batch {batch:.1} (modelled)")),
        mean.kv_cache_usage.map(|used| {
            let of = now.kv_capacity_tokens;
            let of = of.map_or_else(String::new, |tokens| format!(" of {} tokens", si(tokens)));
            format!("KV cache {}{of}", percent(used))
        }),
    ];
    line("Load        ", load, out)?;
    let hardware = [
        window
            .mfu
            .map(|share| format!("MFU {} (modelled)", percent(share))),
        window
            .mbu
            .map(|share| format!("MBU {} (modelled)", percent(share))),
        window
            .mbu_measured
            .map(|share| format!("MBU {} (GPM)", percent(share))),
    ];
    line("Hardware    ", hardware, out)?;
    line("Cost        ", cost(&window.cost), out)?;
    line("Energy      ", energy(&window.cost), out)?;
    writeln!(out)
}

/// The price of the GPUs, its origin, the price of tokens, and the part of it that is wasted.
fn cost(cost: &SnapshotCost) -> Vec<Option<String>> {
    let Some(hour) = cost.dollars_per_hour else {
        return Vec::new();
    };
    let origin = cost.price_origin.as_ref();
    let origin = origin.map_or_else(String::new, |origin| format!(" ({origin})"));
    let each = cost.dollars_per_million_tokens;
    let each = each.each(|dollars| format!("${dollars:.2}"));
    let wasted = cost.wasted_dollars_per_hour.iter();
    let wasted: Vec<_> = wasted
        .filter(|(_, dollars)| **dollars >= 0.005)
        .map(|(name, dollars)| format!("{name} ${dollars:.2}"))
        .collect();
    [
        Some(format!("${hour:.2} per hour{origin}")),
        (!each.is_empty()).then(|| format!("{} per 1M tokens", each.join(" and "))),
        (!wasted.is_empty()).then(|| format!("wasted per hour: {}", wasted.join(", "))),
    ]
    .into()
}

/// Energy per token.
fn energy(cost: &SnapshotCost) -> [Option<String>; 1] {
    let each = cost
        .joules_per_token
        .each(|joules| format!("{joules:.3} J"));
    [(!each.is_empty()).then(|| format!("{} per token (measured)", each.join(" and ")))]
}

fn line(
    name: &str,
    parts: impl IntoIterator<Item = Option<String>>,
    out: &mut impl Write,
) -> io::Result<()> {
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        return Ok(());
    }
    item(name, &parts.join(", "), out)
}

/// `text` after `mark`, with a hanging indent.
fn item(mark: &str, text: &str, out: &mut impl Write) -> io::Result<()> {
    let indent = mark.chars().count();
    for (place, line) in wrap(text, WIDTH - indent).iter().enumerate() {
        if place == 0 {
            writeln!(out, "{mark}{line}")?;
        } else {
            writeln!(out, "{:indent$}{line}", "")?;
        }
    }
    Ok(())
}

/// Missing facts, and how to provide them.
fn missing(engine: &SnapshotEngine, found: &SnapshotView) -> Vec<(String, String)> {
    let mut missing: Vec<_> = engine
        .missing
        .iter()
        .map(|missing| (missing.fact.clone(), missing.why.clone()))
        .collect();
    let own = found
        .gpus
        .iter()
        .filter(|gpu| engine.gpus.contains(&gpu.uuid));
    let first = own.clone().next();
    if first.is_none() {
        missing.push((
            "GPU readings".to_owned(),
            "none: no measured HBM bytes, clocks or energy. Run where NVML is, or give --dcgm-url"
                .to_owned(),
        ));
    }
    let absent = first.iter().flat_map(|gpu| &gpu.absent);
    missing.extend(absent.map(|absent| (format!("GPU {}", absent.what), absent.why.clone())));
    if engine.cost().dollars_per_hour.is_none() {
        missing.push((
            "price".to_owned(),
            "give --gpu-hour-price to see dollars per million tokens".to_owned(),
        ));
    }
    let caveats = engine.window.iter().flat_map(|window| &window.caveats);
    missing.extend(caveats.map(|caveat| ("caveat".to_owned(), caveat.clone())));
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> SnapshotView {
        serde_json::from_value(json!({
            "vllm_url": "http://127.0.0.1:8000",
            "gpus": [{"uuid": "GPU-1", "name": "NVIDIA H100", "absent": [{"what": "gpm", "why": "not supported"}]}],
            "engines": [
                {"model_name": "calm", "engine": "0", "bound": "idle", "engine_state": "idle"},
                {"model_name": "full", "engine": "0", "engine_state": "running", "gpus": ["GPU-1"],
                 "verdict": [{
                     "finding": "The KV cache is full.", "severity": "critical", "evidence": ["12 wait (measured by vLLM)"],
                     "remedies": [
                        {"do": "--kv-cache-dtype fp8", "free": true, "predicted": {"output_tokens_per_second": 150.0, "ttft_seconds": 0.2}},
                        {"do": "one more replica", "free": false, "predicted": {}},
                     ],
                 }],
                 "now": {"running": 64.0, "waiting": 0.0},
                 "window": {"seconds": 60.0, "queue": {"running": 45.0, "waiting": 59.0, "kv_cache_usage": 0.97}, "output_tokens_per_second": 100.0, "time_seconds": {"memory": 45.0, "idle": 15.0, "host": null},
                    "cost": {"dollars_per_hour": 4.0, "price_origin": "configured", "dollars_per_million_tokens": {"prefill": null, "decode": 11.11},
                        "joules_per_token": {"prefill": 0.05, "decode": 0.9}, "wasted_dollars_per_hour": {"idle": 1.0}}},
                },
            ],
        }))
        .unwrap()
    }

    #[test]
    fn the_worst_comes_first_with_cause_remedy_effect_and_what_is_missing() {
        let mut out = Vec::new();
        print(&found(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let places = [
            "full/0 · 1 × NVIDIA H100 · http://127.0.0.1:8000 · 60 s",
            "CRITICAL  The KV cache is full.",
            "   - 12 wait (measured by vLLM)",
            "1. --kv-cache-dtype fp8\n   predicted: 150 tok/s (+50 %), TTFT 200 ms",
            "2. one more replica (needs hardware)",
            "Time        memory 75.0 %, idle 25.0 %",
            "Load        45 running on average, 59 waiting, KV cache 97.0 %",
            "Cost        $4.00 per hour (configured), $11.11 out per 1M tokens, wasted per",
            "hour: idle $1.00",
            "Energy      0.050 J in and 0.900 J out per token (measured)",
            "- GPU gpm: not supported",
            "calm/0",
            "INFO  No request is running.",
            "- GPU readings: none",
        ];
        let mut rest = text.as_str();
        for place in places {
            let (_, after) = rest
                .split_once(place)
                .unwrap_or_else(|| panic!("{place} in {rest}"));
            rest = after;
        }
        assert!(
            text.lines().all(|line| line.chars().count() <= WIDTH),
            "{text}"
        );
    }

    #[test]
    fn programs_get_the_same_with_a_schema() {
        let value = json(&found(), FailOn::Warning);
        assert_eq!(value["schema"], 1);
        assert_eq!(value["healthy"], false);
        assert_eq!(value["engines"][0]["finding"], "The KV cache is full.");
        assert_eq!(
            value["engines"][0]["verdict"][0]["remedies"][0]["free"],
            true
        );
        assert_eq!(value["engines"][0]["missing"][0]["what"], "GPU gpm");
    }
}
