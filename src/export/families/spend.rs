//! Cost of an engine: dollars and joules by use.

use crate::meter::spend::PerUse;

use super::{EngineSeries, c};

impl EngineSeries<'_> {
    /// The current price, and the dollars and joules so far.
    pub(super) fn spend(&mut self) {
        let engine = self.engine;
        if let Some(price) = engine.facts.gpu_hour_price(engine.gpu_hour_price) {
            let origin = price.listed.map_or("configured", |list| &list.seller);
            let as_of = price.listed.map_or("", |list| &list.as_of);
            let labels = [("origin", origin), ("as_of", as_of)];
            self.add(&c::GPU_HOUR_PRICE, &labels, price.dollars);
        }
        self.add(&c::COST_DOLLARS_TOTAL, &[], engine.cost_dollars);
        for (family, amounts) in [
            (&c::PHASE_COST_DOLLARS_TOTAL, engine.spend.dollars),
            (&c::PHASE_ENERGY_JOULES_TOTAL, engine.spend.joules),
        ] {
            for (phase, amount) in amounts.iter().flat_map(PerUse::uses) {
                self.add(family, &[("phase", phase)], amount);
            }
        }
        for (component, &dollars) in &engine.spend.wasted_dollars {
            self.add(
                &c::WASTED_DOLLARS_TOTAL,
                &[("component", component)],
                dollars,
            );
        }
    }
}
