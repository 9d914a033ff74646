//! Busy seconds by phase: the time base of a phase's point on the roofline.

use roofline::engine::EngineFacts;
use roofline::units::{Bytes, Flops, Seconds};

use super::{Account, PerPhase};

impl Account {
    /// Busy seconds by phase.
    ///
    /// A step with both prompts and decodes is divided in proportion to what each would need alone, which together may exceed the step's
    /// time. Where one phase gets less time than its work needs at the datasheet roof, the other phase's surplus covers the rest.
    #[must_use]
    pub fn phase_seconds(&self, facts: &EngineFacts) -> PerPhase<Seconds> {
        let taken = PerPhase {
            prefill: self.phase_roofline.prefill + self.phase_overhead.prefill,
            decode: self.phase_roofline.decode + self.phase_overhead.decode,
        };
        let Some(least) = self.least_seconds(facts) else {
            return taken;
        };
        let surplus = taken.decode - least.decode;
        let lacking = least.prefill - taken.prefill;
        let moved = if lacking > Seconds::ZERO {
            lacking.min(surplus.max(Seconds::ZERO))
        } else if surplus < Seconds::ZERO {
            // The same in the other direction: negative seconds move from prefill to decode.
            surplus.max(lacking.min(Seconds::ZERO))
        } else {
            Seconds::ZERO
        };
        PerPhase {
            prefill: taken.prefill + moved,
            decode: taken.decode - moved,
        }
    }

    /// Minimum seconds that each phase needs at the datasheet's peak and bandwidth.
    pub(super) fn least_seconds(&self, facts: &EngineFacts) -> Option<PerPhase<Seconds>> {
        let (work, peak, bandwidth) = (self.work?, facts.peak_flops()?, facts.peak_hbm()?);
        let least = |flops: Flops, bytes: Bytes| (flops / peak).max(bytes / bandwidth);
        Some(PerPhase {
            prefill: least(work.flops.prefill, work.bytes.prefill.total()),
            decode: least(work.flops.decode, work.bytes.decode.total()),
        })
    }
}
