//! Compares engines with their peers.

use roofline::bound::EngineState;
use roofline::diagnosis::{Finding, Replica};

use super::{EngineSnapshot, Snapshot};

impl Snapshot {
    /// Adds to the verdict of each engine how it differs from those with the same model, GPU and flags.
    pub(crate) fn compare_replicas(&mut self) {
        let found: Vec<Option<Finding>> = self
            .engines
            .iter()
            .map(|engine| {
                let others = self.engines.iter().filter(|other| are_alike(engine, other));
                let others: Vec<Replica> = others.map(replica).collect();
                replica(engine).difference(&others)
            })
            .collect();
        for (engine, found) in self.engines.iter_mut().zip(found) {
            let Some(found) = found else { continue };
            rank(&mut engine.verdict, found.clone());
            if let Some(window) = &mut engine.window {
                rank(&mut window.verdict, found);
            }
        }
    }
}

/// Whether `other` is another engine than `engine` with the same configuration.
fn are_alike(engine: &EngineSnapshot, other: &EngineSnapshot) -> bool {
    let gpu = |engine: &EngineSnapshot| Some(engine.facts.gpu.as_ref()?.id.clone());
    let is_other = (&engine.target, &engine.key) != (&other.target, &other.key);
    is_other
        && other.state == EngineState::Running
        && engine.key.model_name == other.key.model_name
        && engine.facts.flags == other.facts.flags
        && gpu(engine).is_some()
        && gpu(engine) == gpu(other)
}

fn replica(engine: &EngineSnapshot) -> Replica {
    let window = engine.window.as_ref();
    Replica {
        efficiency: window.and_then(|window| window.roofline_efficiency),
        decode_batch: window.and_then(|window| window.decode_batch),
        waiting: engine.now.waiting,
    }
}

/// Inserts `found` before the first less severe finding.
fn rank(verdict: &mut Vec<Finding>, found: Finding) {
    let lighter = |other: &Finding| other.severity < found.severity;
    let place = verdict.iter().position(lighter).unwrap_or(verdict.len());
    verdict.insert(place, found);
}
