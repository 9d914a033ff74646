//! Counters of an engine: tokens, steps, seconds, FLOPs and bytes.

use crate::meter::account::{ByKind, PerPhase};
use crate::snapshot::Snapshot;
use roofline::bound::TimeSeconds;

use super::{EngineSeries, c};

impl EngineSeries<'_> {
    pub(super) fn counters(&mut self, snapshot: &Snapshot) {
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
}

fn kinds(bytes: &ByKind) -> [(&'static str, f64); 4] {
    [
        ("weights", bytes.weights.0),
        ("kv", bytes.kv.0),
        ("state", bytes.state.0),
        ("activations", bytes.activations.0),
    ]
}
