//! Figures of the trailing window, and the agreement of the model with its references.

use crate::meter::figures::Figures;
use roofline::units::ratio;

use super::{EngineSeries, c};

/// Maximum number of remedies whose gains are exported.
const ADVICE: usize = 3;

impl EngineSeries<'_> {
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

    pub(super) fn window(&mut self, window: &Figures) {
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
}
