//! The bound shown live: that of a short window, held within a small dead band.

use roofline::bound::Bound;
use roofline::units::Seconds;

use super::account::TimeSpent;
use super::verdict::{bound, lead};

/// Length of the window that the live bound looks at. Longer ones show the load before a change for too long, shorter ones every
/// prompt that is read among decodes.
pub const BOUND_WINDOW: Seconds = Seconds(5.0);
/// A lead below this share of busy time does not take over.
const DEAD_BAND: f64 = 0.05;

/// The bound that is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct BoundHysteresis {
    held: Option<Bound>,
}

impl BoundHysteresis {
    /// Takes where the newest seconds went, and returns the bound to show. Another bound takes over where it leads by more than the
    /// dead band; at once where nothing is held that could lose.
    pub fn next(&mut self, recent: &TimeSpent, overhead_below: f64) -> Bound {
        let seen = bound(recent, overhead_below);
        let shown = match self.held {
            Some(held) if has_component(held) && has_component(seen) => {
                if lead(recent, seen, held, overhead_below) > DEAD_BAND {
                    seen
                } else {
                    held
                }
            }
            _ => seen,
        };
        self.held = Some(shown);
        shown
    }
}

/// Whether busy time speaks for the bound.
const fn has_component(bound: Bound) -> bool {
    !matches!(bound, Bound::Idle | Bound::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::account::BusyTime;
    use crate::meter::verdict::OVERHEAD_BELOW;

    fn spent(compute: f64, memory: f64, host: f64) -> TimeSpent {
        TimeSpent::busy_throughout(BusyTime {
            compute: Seconds(compute),
            memory: Seconds(memory),
            host: Seconds(host),
            ..BusyTime::default()
        })
    }

    fn shown(recent: &[TimeSpent]) -> Vec<Bound> {
        let mut hysteresis = BoundHysteresis::default();
        let next = |recent| hysteresis.next(recent, OVERHEAD_BELOW);
        recent.iter().map(next).collect()
    }

    #[test]
    fn a_lead_beyond_the_dead_band_takes_over_at_once() {
        let recent = [spent(3.0, 2.0, 0.0), spent(2.0, 3.0, 0.0)];
        assert_eq!(shown(&recent), [Bound::Compute, Bound::MemoryBandwidth]);
    }

    #[test]
    fn a_narrow_lead_does_not() {
        let recent = [
            spent(2.6, 2.4, 0.0),
            spent(2.45, 2.55, 0.0),
            spent(2.55, 2.45, 0.0),
        ];
        assert_eq!(shown(&recent), [Bound::Compute; 3]);
    }

    #[test]
    fn idle_is_shown_at_once_and_left_at_once() {
        let idle = TimeSpent {
            seconds: Seconds(5.0),
            ..TimeSpent::default()
        };
        let recent = [spent(5.0, 0.0, 0.0), idle, spent(1.0, 2.0, 3.0)];
        assert_eq!(shown(&recent), [Bound::Compute, Bound::Idle, Bound::Host]);
    }
}
