//! `Case`: the measured load on which a change is tried.

use super::super::effect::{Gain, LoadChange, ObservedLoad};
use super::super::{FindingKind, Observation};
use super::candidates::Candidate;
use super::{PreparedRemedy, RemedyKind};
use crate::bound::Bound;
use crate::predict::Scenario;
use crate::spec::deployment::DeploymentFlags;

/// Smaller gains are within the error of a prediction.
const LEAST_GAIN: f64 = 1.03;
/// Minimum gain for a remedy that needs hardware.
const LEAST_GAIN_OF_HARDWARE: f64 = 1.15;

/// The observation and the scenario that remedies are derived from.
pub(super) struct Case<'a> {
    pub(super) seen: &'a Observation,
    pub(super) scenario: Option<&'a Scenario>,
    pub(super) load: ObservedLoad,
}

impl Case<'_> {
    /// `candidate` with its gain, if it gains enough.
    pub(super) fn prepare(
        &self,
        against: FindingKind,
        candidate: Candidate,
    ) -> Option<PreparedRemedy> {
        let gain = self.gain(&candidate)?;
        let least = if candidate.free {
            LEAST_GAIN
        } else {
            LEAST_GAIN_OF_HARDWARE
        };
        let benefit =
            gain.map(|gain| gain.benefit(&self.seen.felt(), self.seen.waits_for_requests()));
        if benefit.is_some_and(|benefit| benefit < f64::ln(least)) {
            return None;
        }
        let replicas = candidate.change.map_or(1.0, |change| change.replicas);
        Some(PreparedRemedy {
            against,
            id: candidate.id,
            r#do: candidate.r#do,
            free: candidate.free,
            replicas,
            gain,
            benefit: benefit.unwrap_or(0.0),
        })
    }

    /// The gain of `candidate`; `Some(None)` where nothing predicts it and it needs no hardware, `None` where it is dropped.
    #[expect(clippy::option_option, reason = "said without a figure, or not said")]
    fn gain(&self, candidate: &Candidate) -> Option<Option<Gain>> {
        match (self.scenario, &candidate.change) {
            (Some(now), Some(change)) => Gain::of(now, &self.load, change).map(Some),
            (_, None) if candidate.id == RemedyKind::HostPath => {
                Some(self.seen.share_of(Bound::Host).map(Gain::without))
            }
            (_, None) if candidate.id == RemedyKind::ApiServers => {
                Some(self.seen.lag().map(Gain::without))
            }
            _ => candidate.free.then_some(None),
        }
    }

    /// Share of busy time of `bounds` together; 1 where the shares are unknown.
    pub(super) fn share(&self, bounds: &[Bound]) -> f64 {
        if self.seen.busy_shares.is_empty() {
            return 1.0;
        }
        bounds
            .iter()
            .filter_map(|bound| self.seen.share_of(*bound))
            .sum::<f64>()
            .min(1.0)
    }

    /// The deployment with other flags.
    pub(super) fn with(&self, flags: impl FnOnce(&mut DeploymentFlags)) -> Option<Scenario> {
        let mut scenario = self.scenario?.clone();
        flags(&mut scenario.flags);
        Some(scenario)
    }

    /// The same load with other flags, which affect `acts_on` of busy time.
    pub(super) fn retuned(
        &self,
        acts_on: f64,
        flags: impl FnOnce(&mut DeploymentFlags),
    ) -> Option<LoadChange> {
        Some(LoadChange {
            scenario: self.with(flags)?,
            running: self.load.running,
            acts_on,
            gpus: 1.0,
            replicas: 1.0,
        })
    }

    /// The load with other flags and a larger KV cache.
    pub(super) fn roomier(&self, flags: impl Fn(&mut DeploymentFlags)) -> Option<LoadChange> {
        let before = capacity(&self.with(|own| own.gpu_memory_utilization = self.utilization())?)?;
        let after = capacity(&self.with(|own| {
            own.gpu_memory_utilization = self.utilization();
            flags(own);
        })?)?;
        Some(LoadChange {
            running: self.load.running * (after / before).max(1.0),
            ..self.retuned(1.0, flags)?
        })
    }

    pub(super) fn flags(&self) -> Option<&DeploymentFlags> {
        self.scenario.map(|scenario| &scenario.flags)
    }

    /// `--gpu-memory-utilization`, or vLLM's default.
    pub(super) fn set_utilization(&self) -> Option<f64> {
        let predictor = self.scenario?.predictor().ok()?;
        Some(predictor.deployment.limits.gpu_memory_utilization)
    }

    /// The share of GPU memory that the cache in use needs: the setting may be overridden by `--num-gpu-blocks-override`, or unknown.
    pub(super) fn utilization(&self) -> Option<f64> {
        let predictor = self.scenario?.predictor().ok()?;
        let set = predictor.deployment.limits.gpu_memory_utilization;
        let memory = &predictor.roof.as_ref()?.memory;
        let predicted = memory.capacity_tokens();
        let measured = self.seen.kv_capacity_tokens.unwrap_or(predicted);
        if predicted <= 0.0 || (measured / predicted - 1.0).abs() < 0.1 {
            return Some(set);
        }
        let whole = memory.budget.0 / set;
        let beside = memory.weights.0 + memory.activations.0 + memory.runtime.0;
        Some(((memory.cache.0 * measured / predicted + beside) / whole).clamp(0.05, 1.0))
    }
}

/// Tokens that the KV cache of a deployment holds.
fn capacity(scenario: &Scenario) -> Option<f64> {
    let predictor = scenario.predictor().ok()?;
    let tokens = predictor.roof.as_ref()?.memory.capacity_tokens();
    (tokens > 0.0).then_some(tokens)
}
