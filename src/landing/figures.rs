//! The figures beside the chart, each with its provenance.

use crate::meter::figures::Figures;
use crate::meter::spend::CostFigures;
use crate::snapshot::{EngineSnapshot, Snapshot};
use roofline::diagnosis::{Effect, Outlook, VerdictLevel};
use roofline::units::Seconds;

/// A figure, ready for display.
pub(super) struct FigureView {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) provenance: &'static str,
    pub(super) verdict: Option<&'static str>,
    /// Its expected value, its bound, and its target.
    pub(super) beside: Vec<String>,
}

/// The figures beside the chart, user-visible ones first.
pub(super) fn figures(engine: &EngineSnapshot, snapshot: &Snapshot) -> Vec<FigureView> {
    let mut figures = Vec::new();
    figures.extend(felt(engine, snapshot.slo));
    figures.extend(utilization(engine));
    figures.extend(queue(engine));
    figures.extend(spent(engine, snapshot));
    figures
}

/// A figure; an unknown value is a dash.
fn figure(
    id: &'static str,
    name: &'static str,
    value: Option<String>,
    provenance: &'static str,
) -> FigureView {
    FigureView {
        id,
        name,
        value: value.unwrap_or_else(|| "–".to_owned()),
        provenance,
        verdict: None,
        beside: Vec::new(),
    }
}

/// Throughput and latencies, with the expected values for this model, GPU and load, and the targets.
fn felt(engine: &EngineSnapshot, slo: [(&'static str, Seconds); 2]) -> [FigureView; 5] {
    const MEDIAN: &str = "measured by vLLM, over the window: a range where its bucket says no more";
    let window = engine.window.as_ref();
    let of = |pick: fn(&Figures) -> Option<f64>| window.and_then(pick);
    let [(_, ttft_target), (_, tpot_target)] = slo;
    let rate = |value: f64| format!("{value:.0} tok/s");
    let output = Judged {
        value: of(|window| window.output_tokens_per_second),
        pick: |effect| effect.output_tokens_per_second,
        show: &rate,
        standing: VerdictLevel::of_rate,
        target: None,
    };
    let ttft = Judged {
        value: of(|window| window.ttft_mean_seconds),
        pick: |effect| effect.ttft_seconds,
        show: &duration,
        standing: VerdictLevel::of_first_token,
        target: Some(ttft_target),
    };
    let tpot = Judged {
        value: of(|window| window.tpot_mean_seconds),
        pick: |effect| effect.tpot_seconds,
        show: &duration,
        standing: VerdictLevel::of_time,
        target: Some(tpot_target),
    };
    let outlook = engine.outlook.as_ref();
    let median = |id, name, known: Option<f64>, between| {
        figure(
            id,
            name,
            known.map(duration).or_else(|| range(between)),
            MEDIAN,
        )
    };
    [
        output.view("output", "output", outlook),
        ttft.view("ttft", "TTFT mean", outlook),
        tpot.view("tpot", "TPOT mean", outlook),
        median(
            "ttft_p50",
            "TTFT P50",
            of(|window| window.ttft_p50_seconds),
            window.and_then(|window| window.ttft_p50_between_seconds),
        ),
        median(
            "tpot_p50",
            "TPOT P50",
            of(|window| window.tpot_p50_seconds),
            window.and_then(|window| window.tpot_p50_between_seconds),
        ),
    ]
}

/// A figure that is compared with its expected value.
struct Judged<'a> {
    value: Option<f64>,
    pick: fn(&Effect) -> Option<f64>,
    show: &'a dyn Fn(f64) -> String,
    standing: fn(f64, f64) -> VerdictLevel,
    target: Option<Seconds>,
}

impl Judged<'_> {
    fn view(&self, id: &'static str, name: &'static str, outlook: Option<&Outlook>) -> FigureView {
        const FROM: &str = "measured by vLLM, over the window";
        let view = figure(id, name, self.value.map(self.show), FROM);
        let Some(value) = self.value else {
            return view;
        };
        let expected = outlook.and_then(|outlook| (self.pick)(&outlook.expected));
        let bound = outlook.and_then(|outlook| (self.pick)(&outlook.bound));
        let target = self.target.map(|target| {
            let missed = if value <= target.0 { "met" } else { "missed" };
            format!("target {} {missed}", (self.show)(target.0))
        });
        let references = [
            expected.map(|expected| format!("expected {}", (self.show)(expected))),
            bound.map(|bound| format!("bound {}", (self.show)(bound))),
            target,
        ];
        // A missed target counts as missed, whatever the expected value.
        let missed = self.target.is_some_and(|target| value > target.0);
        let standing = expected.map(|expected| (self.standing)(value, expected));
        FigureView {
            verdict: if missed {
                Some(VerdictLevel::Bad.as_str())
            } else {
                standing.map(VerdictLevel::as_str)
            },
            beside: references.into_iter().flatten().collect(),
            ..view
        }
    }
}

/// The bounds of a figure, as text.
fn range(between: Option<[f64; 2]>) -> Option<String> {
    between.map(|[low, high]| {
        if low <= 0.0 {
            return format!("≤ {}", duration(high));
        }
        let (low, high) = (duration(low), duration(high));
        // The unit appears once if both bounds have the same.
        match (low.split_once(' '), high.split_once(' ')) {
            (Some((number, unit)), Some((_, other))) if unit == other => {
                format!("{number} – {high}")
            }
            _ => format!("{low} – {high}"),
        }
    })
}

/// Hardware utilisation, and the batch behind it.
fn utilization(engine: &EngineSnapshot) -> [FigureView; 5] {
    let of = |pick: fn(&Figures) -> Option<f64>| engine.window.as_ref().and_then(pick);
    let batch = of(|window| window.decode_batch).map(|batch| format!("{batch:.1}"));
    let context = of(|window| window.context_tokens).map(|tokens| format!("{tokens:.0} tok"));
    [
        figure(
            "mfu",
            "MFU",
            percent(of(|w| w.mfu)),
            "modelled FLOPs over the datasheet peak",
        ),
        figure(
            "mbu",
            "MBU modelled",
            percent(of(|w| w.mbu)),
            "modelled HBM bytes over the datasheet peak",
        ),
        figure(
            "mbu_measured",
            "MBU measured",
            percent(of(|w| w.mbu_measured)),
            "measured by GPM",
        ),
        figure(
            "batch",
            "decode batch",
            batch,
            "modelled from vLLM's counters",
        ),
        figure(
            "context",
            "context",
            context,
            "modelled from KV cache usage",
        ),
    ]
}

/// Requests and KV cache over the window, which the headline is about, with the newest values below.
fn queue(engine: &EngineSnapshot) -> [FigureView; 2] {
    const FROM: &str = "measured by vLLM, mean over the window";
    let mean = engine.window.as_ref().map(|window| window.queue);
    let now = &engine.now;
    let beside = |now: Option<String>| now.map(|now| format!("now {now}")).into_iter().collect();
    let requests = |running: Option<f64>, waiting: Option<f64>| {
        running.map(|running| format!("{running:.0} + {:.0}", waiting.unwrap_or(0.0)))
    };
    [
        FigureView {
            beside: beside(requests(now.running, now.waiting)),
            ..figure(
                "queue",
                "running + waiting",
                mean.and_then(|mean| requests(mean.running, mean.waiting)),
                FROM,
            )
        },
        FigureView {
            beside: beside(percent(now.kv_cache_usage)),
            ..figure(
                "kv",
                "KV cache",
                percent(mean.and_then(|mean| mean.kv_cache_usage)),
                FROM,
            )
        },
    ]
}

fn percent(share: Option<f64>) -> Option<String> {
    share.map(|share| format!("{:.1} %", share * 100.0))
}

/// Resource use: energy, power and, with a price, dollars.
fn spent(engine: &EngineSnapshot, snapshot: &Snapshot) -> Vec<FigureView> {
    const ENERGY: &str = "measured by the GPU, divided by where the seconds went, over the window";
    let none = CostFigures::default();
    let cost = engine.window.as_ref().map_or(&none, |window| &window.cost);
    let joules = |each: Option<f64>| each.map(|joules| format!("{joules:.2} J"));
    let power = power(engine, snapshot).map(|watts| format!("{watts:.0} W"));
    let mut figures = vec![
        figure("power", "power", power, "measured by the GPU, now"),
        figure(
            "energy_in",
            "energy per input token",
            joules(cost.joules_per_token.prefill),
            ENERGY,
        ),
        figure(
            "energy",
            "energy per output token",
            joules(cost.joules_per_token.decode),
            ENERGY,
        ),
    ];
    if cost.dollars_per_hour.is_some() {
        figures.extend(dollars(cost));
    }
    figures
}

/// Dollars per token, and wasted dollars.
fn dollars(cost: &CostFigures) -> [FigureView; 3] {
    const PRICE: &str = "price of the GPUs, divided by where the seconds went, over the window";
    let each = cost.dollars_per_million_tokens;
    let text = |dollars: Option<f64>| dollars.map(|dollars| format!("{dollars:.2}"));
    let wasted: f64 = cost.wasted_dollars_per_hour.values().sum();
    let hour = cost.dollars_per_hour.unwrap_or_default();
    let by_component = cost.wasted_dollars_per_hour.iter();
    let by_component = by_component
        .filter(|(_, dollars)| **dollars >= 0.005)
        .map(|(name, dollars)| format!("{} {dollars:.2}", name.replace('_', " ")));
    let wasted = figure(
        "wasted",
        "$ wasted per hour",
        Some(format!("{wasted:.2} of {hour:.2}")),
        "price of the time in which neither arithmetic, memory nor links limit",
    );
    [
        figure(
            "cost_in",
            "$ per 1M input tokens",
            text(each.prefill),
            PRICE,
        ),
        FigureView {
            beside: cost.price_origin.iter().cloned().collect(),
            ..figure("cost", "$ per 1M output tokens", text(each.decode), PRICE)
        },
        FigureView {
            beside: by_component.collect(),
            ..wasted
        },
    ]
}

fn power(engine: &EngineSnapshot, snapshot: &Snapshot) -> Option<f64> {
    let own = snapshot
        .gpus
        .iter()
        .filter(|gpu| engine.facts.gpu_uuids.contains(&gpu.facts.uuid));
    let watts: f64 = own.filter_map(|gpu| gpu.latest.as_ref()?.power_watts).sum();
    (watts > 0.0).then_some(watts)
}

/// `0.0064` is `6.4 ms`, `0.64` is `640 ms`.
pub(super) fn duration(seconds: f64) -> String {
    if seconds >= 1.0 {
        format!("{seconds:.2} s")
    } else if seconds >= 0.1 {
        format!("{:.0} ms", seconds * 1e3)
    } else {
        format!("{:.1} ms", seconds * 1e3)
    }
}
