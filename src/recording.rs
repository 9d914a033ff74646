//! `CaptureRecording`: a capture as the recording for an analysis of load tests, played through the meter.

use crate::capture::format::{CapturePhase, GpuLine};
use crate::capture::read::Capture;
use crate::meter::figures::{Figures, PhaseFigures};
use crate::meter::spans::{AccountedSpan, sum};
use crate::player::{CapturePlayer, engines_of};
use crate::sample::engine::{Counter, EngineTotals, Gauge};
use loadtest::results::{Distribution, Latencies, ResultLoad, ResultRates, Tokens};
use roofline::units::{Seconds, ratio};

use loadtest::analysis::{
    Basis, MeasuredRun, ModelledRun, ObservedBound, PhaseWork, RecordedPhase, RecordedStretch,
    Recording, RooflinePoint, RunWorkload, TimelineMoment,
};

/// Maximum number of intervals of a timeline.
const MOMENTS: f64 = 48.0;
/// Minimum share of an interval's time for a phase to have a point.
const LEAST_SHARE: f64 = 0.02;

/// A capture and the player of its first engine.
#[derive(Debug)]
pub(crate) struct CaptureRecording<'a> {
    /// The capture.
    pub capture: &'a Capture,
    /// Its player.
    pub player: CapturePlayer<'a>,
}

impl Recording for CaptureRecording<'_> {
    fn name(&self) -> &str {
        &self.capture.manifest.name
    }

    fn served_name(&self) -> Option<String> {
        self.player.served_name()
    }

    fn phases(&self) -> Vec<RecordedPhase> {
        self.capture.manifest.phases.iter().map(phase_of).collect()
    }

    fn stretch(&self, from: f64, to: f64, warm_up: f64) -> Option<RecordedStretch> {
        let (capture, player) = (self.capture, &self.player);
        let whole = player.stretch(from + warm_up, to)?;
        let figures = player.figures(&whole);
        let counts = Counts::between(capture, from + warm_up, to)?;
        let measured = measured(capture, &whole, &counts);
        Some(RecordedStretch {
            modelled: modelled(&figures),
            timeline: timeline(capture, player, &player.play(from, to), from),
            load: counts.load(&whole),
            completed: counts.completed(),
            measured,
            observed: observed(&figures),
        })
    }
}

fn phase_of(phase: &CapturePhase) -> RecordedPhase {
    let number = |key: &str| phase.rest.get(key).and_then(serde_json::Value::as_f64);
    RecordedPhase {
        name: phase.name.clone(),
        from: phase.t_start,
        to: phase.t_load_end,
        concurrency: number("concurrency"),
        input_tokens: number("prompt_tokens_per_request"),
        output_tokens: number("output_tokens_per_request"),
    }
}

fn observed(figures: &Figures) -> ObservedBound {
    let work = |own: &PhaseFigures| PhaseWork {
        flops: own.flops,
        hbm_bytes: own.hbm_bytes,
        busy_seconds: own.busy_seconds,
    };
    ObservedBound {
        start: figures.t_start.0,
        seconds: figures.seconds,
        bound: figures.bound,
        admission: figures.admission,
        time_seconds: figures.time_seconds,
        memory_is_measured: figures.hbm_bytes_measured.is_some(),
        prefill: work(&figures.by_phase.prefill),
        decode: work(&figures.by_phase.decode),
        verdict: figures.verdict.clone(),
        caveats: figures
            .caveats
            .iter()
            .map(|&caveat| caveat.to_owned())
            .collect(),
    }
}

/// The increase of vLLM's counters.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    seconds: f64,
    finished: f64,
    first_tokens: f64,
    tokens: Tokens,
}

impl Counts {
    fn between(capture: &Capture, from: f64, to: f64) -> Option<Self> {
        let mut inside = capture
            .pages
            .iter()
            .filter(|line| line.body.is_some() && (from..=to).contains(&line.time().0));
        let first = inside.next()?;
        let last = inside.next_back()?;
        let (before, after) = (engines_of(first)?, engines_of(last)?);
        let mut counts = Self {
            seconds: (last.time() - first.time()).0,
            ..Self::default()
        };
        for engine in &after {
            let earlier = before.iter().find(|earlier| earlier.key == engine.key);
            counts.add(earlier, engine);
        }
        Some(counts)
    }

    fn add(&mut self, before: Option<&EngineTotals>, after: &EngineTotals) {
        let grew = |counter| {
            let earlier = before.and_then(|before| before.counters.get(counter));
            (after.counters.get(counter).unwrap_or(0.0) - earlier.unwrap_or(0.0)).max(0.0)
        };
        let first_tokens = |engine: &EngineTotals| {
            let observed = engine.histograms.time_to_first_token.as_ref();
            observed.map_or(0.0, |histogram| histogram.count)
        };
        self.finished += grew(Counter::FinishedRequests);
        self.first_tokens += (first_tokens(after) - before.map_or(0.0, first_tokens)).max(0.0);
        self.tokens.input += grew(Counter::PromptTokens);
        self.tokens.output += grew(Counter::GenerationTokens);
        // vLLM before 0.16 does not export it.
        if after.counters.get(Counter::PromptTokensCached).is_some() {
            let cached = grew(Counter::PromptTokensCached);
            self.tokens.cached = Some(self.tokens.cached.unwrap_or(0.0) + cached);
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of requests"
    )]
    const fn completed(&self) -> u64 {
        self.finished as u64
    }

    fn load(&self, whole: &AccountedSpan) -> RunWorkload {
        let account = &whole.account;
        // Little's law with vLLM's own timers; its gauges, read once a second, miss most short requests.
        let in_flight = account.time_to_first_token.sum + account.inter_token_latency.sum;
        RunWorkload {
            sent: ResultLoad::default(),
            concurrency: ratio(in_flight, account.seconds.0),
            // Prompts are counted with their first token.
            input_tokens: ratio(self.tokens.input, self.first_tokens),
            cached_tokens: ratio(self.tokens.cached.unwrap_or(0.0), self.first_tokens),
            output_tokens: ratio(self.tokens.output, self.first_tokens),
        }
    }
}

fn measured(capture: &Capture, whole: &AccountedSpan, counts: &Counts) -> MeasuredRun {
    let account = &whole.account;
    let seconds = account.seconds.0;
    let hardware = &account.hardware;
    let (start, end) = (whole.start.0, whole.end.0);
    let busy = mean_reading(capture, start, end, busy_percent);
    let energy = (hardware.energy.0 > 0.0).then_some(hardware.energy.0);
    let output = ratio(account.output_tokens, seconds);
    MeasuredRun {
        rates: ResultRates {
            requests_per_second: ratio(counts.finished, counts.seconds),
            output_tokens_per_second: output,
            total_tokens_per_second: ratio(
                counts.tokens.input + counts.tokens.output,
                counts.seconds,
            ),
            ..ResultRates::default()
        },
        latency: Latencies {
            ttft: Distribution::of_histogram(&account.time_to_first_token),
            itl: Distribution::of_histogram(&account.inter_token_latency),
            ..Latencies::default()
        },
        gpu_utilization: busy,
        gpu_utilization_source: busy.map(|_| "gpu".to_owned()),
        hbm_utilization: mean_reading(capture, start, end, hbm_percent),
        power_watts: energy.and_then(|energy| ratio(energy, seconds)),
        joules_per_output_token: energy.and_then(|energy| ratio(energy, account.output_tokens)),
        sm_clock_mhz: hardware.sm_clock_mhz(),
        power_limited_ratio: hardware.power_limited_ratio(),
    }
}

/// Time with a kernel running: from GPM, otherwise from NVML.
fn busy_percent(reading: &GpuLine) -> Option<f64> {
    let gpm = reading.gpm.and_then(|gpm| gpm.graphics_util);
    gpm.or(reading.utilization_gpu_percent)
}

fn hbm_percent(reading: &GpuLine) -> Option<f64> {
    reading.gpm?.dram_bw_util
}

/// Mean of a percentage over the readings of a stretch, as a share.
fn mean_reading(
    capture: &Capture,
    from: f64,
    to: f64,
    pick: impl Fn(&GpuLine) -> Option<f64>,
) -> Option<f64> {
    let inside = capture
        .readings
        .iter()
        .filter(|reading| reading.t > from && reading.t <= to);
    let values: Vec<f64> = inside
        .filter_map(pick)
        .filter(|value| value.is_finite())
        .collect();
    ratio(values.iter().sum::<f64>() / 100.0, values.len() as f64)
}

fn modelled(figures: &Figures) -> ModelledRun {
    ModelledRun {
        basis: Basis::VllmCounters,
        flops: figures.flops,
        hbm_bytes: figures.hbm_bytes,
        arithmetic_intensity: figures.arithmetic_intensity,
        mfu: figures.mfu,
        mbu: figures.mbu,
        decode_batch: figures.decode_batch,
        context_tokens: figures.context_tokens,
        time_seconds: figures.time_seconds,
        prefill: point(&figures.by_phase.prefill, figures.seconds),
        decode: point(&figures.by_phase.decode, figures.seconds),
    }
}

fn point(phase: &PhaseFigures, seconds: Seconds) -> Option<RooflinePoint> {
    if phase.busy_seconds < seconds * LEAST_SHARE {
        return None;
    }
    Some(RooflinePoint {
        intensity: phase.arithmetic_intensity?,
        flops_per_second: phase.flops_per_busy_second?,
    })
}

/// `spans` as intervals of equal length, each at least as long as a span.
fn timeline(
    capture: &Capture,
    player: &CapturePlayer<'_>,
    spans: &[AccountedSpan],
    origin: f64,
) -> Vec<TimelineMoment> {
    let Some((first, last)) = spans.first().zip(spans.last()) else {
        return Vec::new();
    };
    let length = Seconds(((last.end - first.start).0 / MOMENTS).max(0.5));
    let mut moments = Vec::new();
    let mut rest = spans;
    while let Some(first) = rest.first() {
        let end = first.start + length;
        let count = rest
            .iter()
            .take_while(|span| span.end <= end)
            .count()
            .max(1);
        let (part, later) = rest.split_at(count);
        moments.extend(sum(part).map(|span| moment(capture, &player.figures(&span), origin)));
        rest = later;
    }
    moments
}

fn moment(capture: &Capture, figures: &Figures, origin: f64) -> TimelineMoment {
    let (start, end) = (figures.t_start.0, figures.t_end.0);
    let engines = last_page(capture, end);
    let gauge = |gauge| -> Vec<f64> {
        let values = engines.iter().filter_map(|engine| engine.gauges.get(gauge));
        values.collect()
    };
    let (usage, waiting) = (gauge(Gauge::KvCacheUsage), gauge(Gauge::Waiting));
    TimelineMoment {
        start_seconds: start - origin,
        seconds: figures.seconds.0,
        output_tokens_per_second: figures.output_tokens_per_second,
        prefill_tokens_per_second: ratio(figures.prefill_tokens, figures.seconds.0),
        decode_batch: figures.decode_batch,
        gpu_utilization: mean_reading(capture, start, end, busy_percent),
        hbm_utilization: mean_reading(capture, start, end, hbm_percent),
        mfu: figures.mfu,
        mbu: figures.mbu,
        kv_cache_usage: ratio(usage.iter().sum(), usage.len() as f64),
        waiting: (!waiting.is_empty()).then(|| waiting.iter().sum()),
        prefill: point(&figures.by_phase.prefill, figures.seconds),
        decode: point(&figures.by_phase.decode, figures.seconds),
    }
}

/// The engines on the last page up to `time`.
fn last_page(capture: &Capture, time: f64) -> Vec<EngineTotals> {
    let line = capture
        .pages
        .iter()
        .rev()
        .find(|line| line.body.is_some() && line.time().0 <= time + 1e-6);
    line.and_then(engines_of).unwrap_or_default()
}
