//! Converts a snapshot into metric families. Pure: the same snapshot gives the same page.

mod gpu;
mod spend;

use prometheus::proto::MetricFamily;

use crate::build_info::BUILD;
use crate::meter::account::{ByKind, PerPhase};
use crate::meter::figures::Figures;
use crate::snapshot::{EngineSnapshot, Snapshot, SourceStatus};
use roofline::bound::TimeSeconds;
use roofline::bound::{Admission, Bound, EngineState};
use roofline::spec::precision::Precision;
use roofline::units::ratio;

use super::catalogue::{self as c, CatalogueFamily};
use super::page::MetricsPage;

/// Maximum number of remedies whose gains are exported.
const ADVICE: usize = 3;

/// The families of `snapshot`, sorted by name.
#[must_use]
pub fn families(snapshot: &Snapshot) -> Vec<MetricFamily> {
    let mut page = MetricsPage::default();
    own(&mut page, snapshot);
    for source in &snapshot.sources {
        self::source(&mut page, source);
    }
    for engine in &snapshot.engines {
        let reachable = snapshot.is_read(engine);
        let mut series = EngineSeries {
            page: &mut page,
            engine,
        };
        series.states();
        if reachable {
            series.counters(snapshot);
            series.facts();
        }
        if let Some(window) = engine.window.as_ref().filter(|_| reachable) {
            series.window(window);
        }
    }
    page.into_families()
}

fn own(page: &mut MetricsPage, snapshot: &Snapshot) {
    let build = [
        ("version", BUILD.version),
        ("revision", BUILD.revision),
        ("rustc", BUILD.rustc),
    ];
    page.add(&c::BUILD_INFO, &build, 1.0);
    for (reason, &count) in &snapshot.discards {
        page.add(
            &c::WINDOW_DISCARDS_TOTAL,
            &[("reason", reason)],
            count as f64,
        );
    }
    if let Some(reload) = snapshot.reload {
        let successful = f64::from(u8::from(reload.successful));
        page.add(&c::RELOAD_SUCCESSFUL, &[], successful);
        page.add(&c::RELOAD_LAST_SUCCESS, &[], reload.last_success.0);
    }
    for (slo, target) in snapshot.slo {
        page.add(&c::SLO, &[("slo", slo)], target.0);
    }
}

fn source(page: &mut MetricsPage, status: &SourceStatus) {
    let target = status.target.as_deref().map(|target| ("target", target));
    let labels: Vec<_> = std::iter::once(("source", status.source))
        .chain(target)
        .collect();
    if status.source == "vllm" {
        page.add(&c::UP, &labels[1..], f64::from(u8::from(status.is_up())));
    }
    page.add_known(
        &c::SOURCE_SUCCESS,
        &labels,
        status.success.map(|good| f64::from(u8::from(good))),
    );
    page.add_known(
        &c::SOURCE_LAST_SUCCESS,
        &labels,
        status.last_success.map(|time| time.0),
    );
    page.add_known(
        &c::SOURCE_READ_SECONDS,
        &labels,
        status.read_seconds.map(|time| time.0),
    );
    for (reason, &count) in &status.errors {
        let labels = [&labels[..1], &[("reason", reason)], &labels[1..]].concat();
        page.add(&c::SOURCE_ERRORS_TOTAL, &labels, count as f64);
    }
}

/// The series of one engine.
struct EngineSeries<'a> {
    page: &'a mut MetricsPage,
    engine: &'a EngineSnapshot,
}

impl EngineSeries<'_> {
    fn add(
        &mut self,
        family: &CatalogueFamily,
        labels: &[(&str, &str)],
        value: impl Into<Option<f64>>,
    ) {
        let Some(value) = value.into() else {
            return;
        };
        let key = &self.engine.key;
        let mut all = Vec::with_capacity(labels.len() + 3);
        all.extend([
            ("model_name", key.model_name.as_str()),
            ("engine", key.engine.as_str()),
        ]);
        let target = self.engine.target.as_deref();
        all.extend(target.map(|target| ("target", target)));
        all.extend_from_slice(labels);
        self.page.add(family, &all, value);
    }

    /// One series per state, 1 for the current one.
    fn state_set<T: PartialEq + Copy>(
        &mut self,
        family: &CatalogueFamily,
        label: &str,
        states: &[T],
        held: T,
        name: impl Fn(T) -> &'static str,
    ) {
        for &state in states {
            let value = if state == held { 1.0 } else { 0.0 };
            self.add(family, &[(label, name(state))], value);
        }
    }

    /// The states stay while vLLM is unreachable: they say so, and the time counts towards the unknown bound.
    fn states(&mut self) {
        let (bound, state) = (self.engine.bound, self.engine.state);
        self.state_set(&c::BOUND, "bound", Bound::ALL, bound, Bound::as_str);
        self.state_set(
            &c::ENGINE_STATE,
            "state",
            EngineState::ALL,
            state,
            EngineState::as_str,
        );
        for (&bound, seconds) in Bound::ALL.iter().zip(self.engine.bound_seconds) {
            self.add(
                &c::BOUND_SECONDS_TOTAL,
                &[("bound", bound.as_str())],
                seconds.0,
            );
        }
        let admission = self
            .engine
            .window
            .as_ref()
            .map_or(Admission::Unknown, |window| window.admission);
        self.state_set(
            &c::ADMISSION,
            "state",
            Admission::ALL,
            admission,
            Admission::as_str,
        );
    }

    /// The predicted gains of the first remedies, relative to the measurement.
    fn advice(&mut self, window: &Figures) {
        let measured = [
            ("output_tokens_per_second", window.output_tokens_per_second),
            ("ttft_seconds", window.ttft_mean_seconds),
            ("tpot_seconds", window.tpot_mean_seconds),
        ];
        let remedies = self.engine.verdict.iter().flat_map(|found| &found.remedies);
        let mut shown: Vec<&str> = Vec::new();
        for remedy in remedies {
            let name = remedy.id.as_str();
            if shown.len() == ADVICE || shown.contains(&name) {
                continue;
            }
            shown.push(name);
            let predicted = [
                remedy.predicted.output_tokens_per_second,
                remedy.predicted.ttft_seconds,
                remedy.predicted.tpot_seconds,
            ];
            for ((figure, now), then) in measured.into_iter().zip(predicted) {
                let gain = then.zip(now).and_then(|(then, now)| ratio(then, now));
                self.add(
                    &c::ADVICE_GAIN,
                    &[("remedy", name), ("figure", figure)],
                    gain,
                );
            }
        }
    }

    fn counters(&mut self, snapshot: &Snapshot) {
        let totals = &self.engine.totals;
        self.add(
            &c::FORWARD_TOKENS_TOTAL,
            &[("phase", "prefill")],
            totals.tokens.prefill,
        );
        self.add(
            &c::FORWARD_TOKENS_TOTAL,
            &[("phase", "decode")],
            totals.tokens.decode,
        );
        self.add(&c::STEPS_TOTAL, &[], totals.steps);
        self.add(
            &c::PHASE_SECONDS_TOTAL,
            &[("phase", "prefill")],
            self.engine.phase_seconds.prefill.0,
        );
        self.add(
            &c::PHASE_SECONDS_TOTAL,
            &[("phase", "decode")],
            self.engine.phase_seconds.decode.0,
        );
        let time = self.engine.time_seconds;
        for (component, seconds) in time.iter().flat_map(TimeSeconds::components) {
            self.add(
                &c::TIME_SECONDS_TOTAL,
                &[("component", component)],
                seconds.0,
            );
        }
        self.work();
        self.spend();
        for gpu in &snapshot.gpus {
            if self.engine.facts.gpu_uuids.contains(&gpu.facts.uuid) {
                self.gpu(gpu);
            }
        }
    }

    fn work(&mut self) {
        let Some(work) = self.engine.totals.work.or_else(|| {
            self.engine
                .facts
                .served
                .as_ref()
                .map(|_| Default::default())
        }) else {
            return;
        };
        let PerPhase { prefill, decode } = work.interconnect;
        for (phase, flops, bytes, interconnect) in [
            ("prefill", work.flops.prefill, work.bytes.prefill, prefill),
            ("decode", work.flops.decode, work.bytes.decode, decode),
        ] {
            self.add(&c::FLOPS_TOTAL, &[("phase", phase)], flops.0);
            if self.engine.facts.gpus() > 1.0 {
                self.add(
                    &c::INTERCONNECT_BYTES_TOTAL,
                    &[("phase", phase)],
                    interconnect.0,
                );
            }
            for (kind, bytes) in kinds(&bytes) {
                self.add(
                    &c::HBM_BYTES_TOTAL,
                    &[("phase", phase), ("kind", kind)],
                    bytes,
                );
            }
        }
    }

    fn window(&mut self, window: &Figures) {
        self.advice(window);
        let seconds = window.seconds;
        let per_second = |amount: Option<f64>| amount.map(|amount| amount / seconds.0);
        for (phase, figures) in [
            ("prefill", window.by_phase.prefill),
            ("decode", window.by_phase.decode),
        ] {
            let phase = [("phase", phase)];
            self.add(
                &c::ARITHMETIC_INTENSITY,
                &phase,
                figures.arithmetic_intensity,
            );
            self.add(
                &c::ACHIEVED_FLOPS,
                &phase,
                per_second(figures.flops.map(|flops| flops.0)),
            );
            self.add(&c::BUSY_FLOPS, &phase, figures.flops_per_busy_second);
            self.add(
                &c::ACHIEVED_HBM_BYTES,
                &phase,
                per_second(figures.hbm_bytes.map(|bytes| bytes.0)),
            );
            self.add(
                &c::TOKENS_PER_SECOND,
                &phase,
                per_second(Some(figures.tokens)),
            );
        }
        self.add(&c::MFU, &[], window.mfu);
        self.add(&c::MBU, &[], window.mbu);
        self.add(&c::MEASURED_MBU, &[], window.mbu_measured);
        self.add(&c::ROOFLINE_EFFICIENCY, &[], window.roofline_efficiency);
        self.add(&c::DECODE_BATCH_SIZE, &[], window.decode_batch);
        self.add(&c::CONTEXT_TOKENS, &[], window.context_tokens);
        self.add(
            &c::ROUTED_EXPERTS_EFFECTIVE,
            &[],
            window.routed_experts.effective,
        );
        self.add(
            &c::ROUTED_EXPERTS_UNIFORM,
            &[],
            window.routed_experts.uniform,
        );
        self.add(&c::POWER_LIMITED, &[], window.power_limited_ratio);
        self.add(&c::WINDOW_SECONDS, &[], seconds.0);
        self.reconciliation(window);
        let context = window.context_tokens;
        for (limit, batch) in self
            .engine
            .facts
            .batch_limits(context, self.engine.now.kv_capacity_tokens)
        {
            self.add(&c::BATCH_LIMIT, &[("limit", limit)], batch);
        }
    }

    fn reconciliation(&mut self, window: &Figures) {
        for (quantity, reference, ratio) in window.discrepancies() {
            let labels = [("quantity", quantity), ("reference", reference)];
            self.add(&c::MODEL_TO_REFERENCE, &labels, ratio);
        }
        if let Some(impossible) = window.impossible {
            for (ceiling, above) in [
                ("compute", impossible.compute),
                ("memory_bandwidth", impossible.memory),
            ] {
                let value = f64::from(u8::from(above));
                self.add(&c::IMPOSSIBLE_EFFICIENCY, &[("ceiling", ceiling)], value);
            }
        }
    }

    fn facts(&mut self) {
        let facts = std::sync::Arc::clone(&self.engine.facts);
        for missing in &facts.missing {
            self.add(&c::MISSING_FACT, &[("fact", missing.fact)], 1.0);
        }
        for missing in self.engine.missing_inputs.clone() {
            let nearest = missing.nearest.as_deref().unwrap_or_default();
            let labels = [("metric", missing.metric), ("nearest", nearest)];
            self.add(&c::MISSING_INPUT, &labels, 1.0);
        }
        self.add(
            &c::KV_CAPACITY_TOKENS,
            &[],
            self.engine.now.kv_capacity_tokens,
        );
        self.add(&c::WEIGHTS_BYTES, &[], facts.weights().map(|bytes| bytes.0));
        self.add(
            &c::KV_BYTES_PER_TOKEN,
            &[],
            facts.kv_per_token().map(|bytes| bytes.0),
        );
        if let Some(labels) = facts.model_labels() {
            let labels = labels
                .each_ref()
                .map(|(name, value)| (*name, value.as_str()));
            self.add(&c::MODEL_INFO, &labels, 1.0);
        }
        let labels = facts.deployment_labels();
        let labels = labels
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        self.add(&c::DEPLOYMENT_INFO, &labels, 1.0);
        self.ceilings();
    }

    fn ceilings(&mut self) {
        let facts = std::sync::Arc::clone(&self.engine.facts);
        for (coefficient, value) in facts.coefficients.calibrated() {
            self.add(&c::CALIBRATED, &[("coefficient", coefficient)], value);
        }
        for (precision, peak, attainable) in facts.peaks() {
            self.add(&c::PEAK_FLOPS, &[("precision", precision.name())], peak.0);
            self.add(
                &c::ATTAINABLE_FLOPS,
                &[("precision", precision.name())],
                attainable.0,
            );
        }
        self.add(&c::PEAK_HBM, &[], facts.peak_hbm().map(|peak| peak.0));
        self.add(
            &c::PEAK_INTERCONNECT,
            &[],
            facts.peak_interconnect().map(|peak| peak.0),
        );
        self.add(
            &c::ATTAINABLE_HBM,
            &[],
            facts.attainable_hbm().map(|attainable| attainable.0),
        );
        for roof in facts.roofs(self.engine.sm_clock_mhz) {
            if roof.level == "datasheet" {
                self.add(&c::RIDGE, &[], roof.ridge().0);
            }
            if roof.level == "current_clock" {
                let precision = facts.main_precision().map_or("", Precision::name);
                self.add(
                    &c::CURRENT_CLOCK_FLOPS,
                    &[("precision", precision)],
                    roof.peak.0,
                );
            }
            for (point, intensity, flops) in roof.corners() {
                let labels = [("level", roof.level), ("point", point)];
                self.add(&c::ROOF_INTENSITY, &labels, intensity.0);
                self.add(&c::ROOF_FLOPS, &labels, flops.0);
            }
        }
    }
}

fn kinds(bytes: &ByKind) -> [(&'static str, f64); 4] {
    [
        ("weights", bytes.weights.0),
        ("kv", bytes.kv.0),
        ("state", bytes.state.0),
        ("activations", bytes.activations.0),
    ]
}
