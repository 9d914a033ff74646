//! Keeps a bound from flapping between windows that lie between two classes.

use roofline::units::{Seconds, ratio};

use super::account::Account;
use super::verdict::{bound, component};
use roofline::bound::Bound;

/// A lead of this share of busy time is clear.
const CLEAR: f64 = 0.2;
/// A clear lead in so many spans running takes over.
const SPANS: u32 = 2;

/// The bound that holds, and the one that would take its place.
///
/// Another bound takes over when it leads clearly in two spans running, or at all for two windows on end, so that trailing windows
/// without a common tick agree; at once where nothing holds that is worth keeping, and where nothing ran.
#[derive(Clone, Copy, Debug, Default)]
pub struct Steady {
    held: Option<Bound>,
    challenger: Option<Challenger>,
}

#[derive(Clone, Copy, Debug)]
struct Challenger {
    bound: Bound,
    leads_for: Seconds,
    clearly_in: u32,
}

impl Steady {
    /// Takes the trailing window after one more span of `length`, and returns the bound to show.
    pub fn next(
        &mut self,
        trailing: &Account,
        overhead_below: f64,
        length: Seconds,
        window: Seconds,
    ) -> Bound {
        let seen = bound(trailing, overhead_below);
        let kept = self.held.filter(|held| !at_once(*held) && !at_once(seen));
        let Some(held) = kept.filter(|held| *held != seen) else {
            return self.hold(seen);
        };
        let clear = lead(trailing, seen, held, overhead_below) >= CLEAR;
        let challenger = self.challenge(seen, length, clear);
        if challenger.clearly_in >= SPANS || challenger.leads_for >= window * 2.0 {
            return self.hold(seen);
        }
        self.challenger = Some(challenger);
        held
    }

    fn challenge(&self, bound: Bound, length: Seconds, clear: bool) -> Challenger {
        let before = self.challenger.filter(|before| before.bound == bound);
        let (led, clearly) = before.map_or((Seconds::ZERO, 0), |before| {
            (before.leads_for, before.clearly_in)
        });
        Challenger {
            bound,
            leads_for: led + length,
            clearly_in: if clear { clearly + 1 } else { 0 },
        }
    }

    const fn hold(&mut self, bound: Bound) -> Bound {
        self.held = Some(bound);
        self.challenger = None;
        bound
    }
}

/// Bounds that nothing speaks against.
const fn at_once(bound: Bound) -> bool {
    matches!(bound, Bound::Idle | Bound::Unknown)
}

/// By how much of busy time `seen` leads `held`. Overhead is what the roofline leaves: its lead is the distance to the threshold.
fn lead(account: &Account, seen: Bound, held: Bound, overhead_below: f64) -> f64 {
    let Some(time) = &account.busy_time else {
        return 0.0;
    };
    let share = |seconds: Seconds| ratio(seconds.0, account.busy.0).unwrap_or(0.0);
    if seen == Bound::Overhead || held == Bound::Overhead {
        (share(time.roofline()) - overhead_below).abs()
    } else {
        share(component(time, seen)) - share(component(time, held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::account::BusyTime;
    use crate::meter::verdict::OVERHEAD_BELOW;

    const WINDOW: Seconds = Seconds(10.0);

    fn window(compute: f64, memory: f64) -> Account {
        Account {
            seconds: WINDOW,
            busy: WINDOW,
            busy_time: Some(BusyTime {
                compute: Seconds(compute),
                memory: Seconds(memory),
                communication: Seconds::ZERO,
                overhead: WINDOW - Seconds(compute + memory),
            }),
            ..Account::default()
        }
    }

    fn shown(windows: &[Account]) -> Vec<Bound> {
        let mut steady = Steady::default();
        let next = |window| steady.next(window, OVERHEAD_BELOW, Seconds(1.0), WINDOW);
        windows.iter().map(next).collect()
    }

    #[test]
    fn a_clear_lead_takes_over_in_its_second_span() {
        let windows = [window(8.0, 1.0), window(1.0, 8.0), window(1.0, 8.0)];
        assert_eq!(
            shown(&windows),
            [Bound::Compute, Bound::Compute, Bound::MemoryBandwidth]
        );
        let odd = [window(8.0, 1.0), window(1.0, 8.0), window(8.0, 1.0)];
        assert_eq!(shown(&odd), [Bound::Compute; 3]);
    }

    #[test]
    fn a_narrow_lead_takes_over_after_two_windows() {
        let mut windows = vec![window(5.0, 4.0)];
        windows.extend(vec![window(4.4, 4.6); 20]);
        let shown = shown(&windows);
        assert_eq!(shown[..20], [Bound::Compute; 20]);
        assert_eq!(shown[20], Bound::MemoryBandwidth);
    }

    #[test]
    fn overhead_and_the_roofline_are_told_apart_at_the_threshold() {
        let windows = [window(1.0, 1.0), window(5.2, 0.1), window(5.2, 0.1)];
        assert_eq!(shown(&windows), [Bound::Overhead; 3]);
        let windows = [window(1.0, 1.0), window(9.0, 0.1), window(9.0, 0.1)];
        assert_eq!(shown(&windows)[2], Bound::Compute);
    }

    #[test]
    fn idle_is_shown_at_once_and_left_at_once() {
        let idle = Account::idle(WINDOW, Default::default());
        let windows = [window(8.0, 1.0), idle, window(1.0, 8.0)];
        assert_eq!(
            shown(&windows),
            [Bound::Compute, Bound::Idle, Bound::MemoryBandwidth]
        );
    }
}
