//! The bound that is shown live: that of a short window, with hysteresis.

use roofline::bound::Bound;
use roofline::units::Seconds;

use super::account::TimeSpent;
use super::verdict::{bound, lead};

/// Length of the window of the live bound. A longer one shows the load before a change for too long, a shorter one reacts to every single
/// prompt among decodes.
pub(crate) const BOUND_WINDOW: Seconds = Seconds(5.0);
/// Another bound takes over only with a larger lead than this share of busy time.
const DEAD_BAND: f64 = 0.05;

/// The bound that is shown.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BoundHysteresis {
    held: Option<Bound>,
}

impl BoundHysteresis {
    /// Takes the time by component of the newest seconds, and returns the bound to show. Another bound takes over if it leads by more than
    /// the dead band, and at once if the current one has no component.
    pub(crate) fn next(&mut self, recent: &TimeSpent, overhead_below: f64) -> Bound {
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

/// Whether a component of busy time supports the bound.
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
