//! Busy seconds by phase: the width of a phase's point on the roofline.

use roofline::engine::EngineFacts;
use roofline::units::{Bytes, Flops, Seconds};

use super::{Account, PerPhase};

impl Account {
    /// Busy seconds by the phase that took them.
    ///
    /// A step that carries prompts and decodes is divided by what each would need alone, which together may be more than the step
    /// took. Where one phase came off with less than its work needs at the data sheet's roof, the other one's surplus makes up.
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
            // The same the other way round: negative seconds move from prefill to decode.
            surplus.max(lacking.min(Seconds::ZERO))
        } else {
            Seconds::ZERO
        };
        PerPhase {
            prefill: taken.prefill + moved,
            decode: taken.decode - moved,
        }
    }

    /// Seconds that each phase needs at the data sheet's peak and bandwidth.
    pub(super) fn least_seconds(&self, facts: &EngineFacts) -> Option<PerPhase<Seconds>> {
        let (work, peak, bandwidth) = (self.work?, facts.peak_flops()?, facts.peak_hbm()?);
        let least = |flops: Flops, bytes: Bytes| (flops / peak).max(bytes / bandwidth);
        Some(PerPhase {
            prefill: least(work.flops.prefill, work.bytes.prefill.total()),
            decode: least(work.flops.decode, work.bytes.decode.total()),
        })
    }
}
