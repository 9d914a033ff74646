//! Facts about an engine: its model, its deployment, and its roofs.

use std::sync::Arc;

use roofline::spec::precision::Precision;

use super::{EngineSeries, c};

impl EngineSeries<'_> {
    pub(super) fn facts(&mut self) {
        let facts = Arc::clone(&self.engine.facts);
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
        let facts = Arc::clone(&self.engine.facts);
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
