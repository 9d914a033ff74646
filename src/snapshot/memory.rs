//! The state of each engine that is kept from tick to tick: its trail on the roofline, its history and events, and its newest remedies.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use roofline::diagnosis::{Finding, Observation, Outlook, Remedies, RemedySituation, diagnose};
use roofline::engine::EngineFacts;
use roofline::units::Seconds;

use crate::meter::engine::EngineMeter;
use crate::meter::figures::Figures;
use crate::meter::observe;
use crate::sample::engine::EngineKey;

use super::TrailPoint;
use super::before_after::{self, BeforeAfter};
use super::event::EngineEvents;
use super::history::{self, History, HistoryPoint};

/// Points of the trail per phase.
const TRAIL: usize = 60;
/// Remedies are recomputed after this time: predicting them takes longer than everything else in a tick.
const REMEDIES_HOLD: Seconds = Seconds(10.0);
/// How long the state of an engine is kept after it left the page: vLLM may be restarting.
const KEPT: Seconds = Seconds(900.0);
/// Maximum number of kept engines that are on no page.
const MOST_GONE: usize = 64;
/// Maximum number of engines whose remedies are recomputed in one tick.
const ENGINES_A_TICK: usize = 4;

/// The kept state of all engines.
#[derive(Debug, Default)]
pub struct Memory {
    engines: BTreeMap<EngineKey, EngineMemory>,
    /// Number of engines whose remedies may still be recomputed in this tick.
    left: usize,
    /// The time between two points of the history.
    spacing: Seconds,
}

/// The kept state of one engine.
#[derive(Debug, Default)]
pub(super) struct EngineMemory {
    trail: VecDeque<TrailPoint>,
    pub(super) history: Arc<History>,
    events: EngineEvents,
    remedies: Option<RememberedRemedies>,
    /// Time between two points of its history.
    spacing: Seconds,
    /// Time of its last appearance on the page.
    seen: Seconds,
}

/// The newest remedies, and the observation that they were computed for.
#[derive(Debug)]
struct RememberedRemedies {
    at: Seconds,
    situation: RemedySituation,
    remedies: Remedies,
}

impl Memory {
    /// Starts the tick at `now` with the engines for which `is_there` returns true; all servers have `engines`.
    pub(super) fn start(
        &mut self,
        now: Seconds,
        engines: usize,
        is_there: impl Fn(&EngineKey) -> bool,
    ) {
        let mut gone = 0;
        self.engines.retain(|key, engine| {
            if is_there(key) {
                engine.seen = now;
                return true;
            }
            gone += 1;
            gone <= MOST_GONE && now - engine.seen < KEPT
        });
        self.left = ENGINES_A_TICK;
        self.spacing = history::spacing(engines);
    }

    pub(super) fn of(&mut self, key: &EngineKey) -> (&mut EngineMemory, &mut usize) {
        let own = self.engines.entry(key.clone()).or_default();
        own.spacing = self.spacing;
        (own, &mut self.left)
    }
}

impl EngineMemory {
    /// Detects events; a restart discards what is known of the load.
    pub(super) fn look(&mut self, now: Seconds, meter: &EngineMeter) {
        if self.events.observe(now, meter) {
            self.trail.clear();
            self.remedies = None;
        }
    }

    /// The events within the history, with their effects.
    pub(super) fn events(&self) -> Vec<BeforeAfter> {
        let oldest = self.history.points().next().map(|point| point.time);
        let events = self.events.newest();
        let events = events.filter(|event| oldest.is_some_and(|oldest| event.time >= oldest));
        before_after::compared(&self.history, events)
    }

    /// The verdict on the current observation `seen`, and the expectation under that load; `left` engines may recompute remedies in this
    /// tick.
    pub(super) fn verdict(
        &mut self,
        now: Seconds,
        seen: &Observation,
        facts: &EngineFacts,
        left: &mut usize,
    ) -> (Vec<Finding>, Option<Outlook>) {
        let situation = seen.remedy_situation();
        let holds = |found: &RememberedRemedies| {
            found.situation == situation && now - found.at < REMEDIES_HOLD
        };
        if *left > 0 && !self.remedies.as_ref().is_some_and(holds) {
            *left -= 1;
            self.remedies = Some(RememberedRemedies {
                at: now,
                situation,
                remedies: Remedies::of(seen, observe::scenario(facts).as_ref()),
            });
        }
        let none = Remedies::default();
        let remedies = self
            .remedies
            .as_ref()
            .map_or(&none, |found| &found.remedies);
        let outlook = remedies.outlook;
        (
            diagnose(seen, remedies),
            outlook.filter(|outlook| outlook.holds_for(&seen.users)),
        )
    }

    /// Adds `point` to the history, where one is due at `now`.
    pub(super) fn remember(&mut self, now: Seconds, point: impl FnOnce() -> HistoryPoint) {
        if self.history.is_due(now, self.spacing) {
            Arc::make_mut(&mut self.history).push(point(), self.spacing);
        }
    }

    /// Adds the positions of the phases of `figures` on the roofline.
    pub(super) fn extend_trail(&mut self, figures: &Figures) {
        for (phase, point) in [
            ("prefill", figures.by_phase.prefill),
            ("decode", figures.by_phase.decode),
        ] {
            if let Some((intensity, flops_per_second)) =
                point.arithmetic_intensity.zip(point.flops_per_busy_second)
            {
                self.trail.push_back(TrailPoint {
                    time: figures.t_end,
                    phase,
                    intensity,
                    flops_per_second,
                });
            }
        }
        while self.trail.len() > 2 * TRAIL {
            self.trail.pop_front();
        }
    }

    pub(super) fn trail(&self) -> Vec<TrailPoint> {
        self.trail.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roofline::bound::{Bound, EngineState};
    use roofline::diagnosis::Effect;

    fn decoding() -> Observation {
        Observation {
            state: EngineState::Running,
            bound: Bound::Host,
            busy_shares: vec![(Bound::Host, 0.8), (Bound::MemoryBandwidth, 0.2)],
            running: Some(8.0),
            input_tokens: Some(128.0),
            output_tokens: Some(256.0),
            users: Effect {
                output_tokens_per_second: Some(1200.0),
                ttft_seconds: Some(0.03),
                tpot_seconds: Some(0.0066),
                ..Effect::default()
            },
            ..Observation::default()
        }
    }

    #[test]
    fn a_finding_that_is_new_has_its_remedies_at_once() {
        let mut memory = EngineMemory::default();
        let facts = EngineFacts::default();
        memory.verdict(Seconds(1.0), &decoding(), &facts, &mut 4);
        // The first requests finish: only now is it known where their time went.
        let lagging = Observation {
            outside_share: Some(0.57),
            request_seconds: Some(3.25),
            ..decoding()
        };
        let (verdict, _) = memory.verdict(Seconds(2.0), &lagging, &facts, &mut 4);
        assert!(!verdict[0].remedies.is_empty(), "{verdict:?}");
    }
}
