//! Merges the snapshots of several servers.

use super::Snapshot;

impl Snapshot {
    /// The snapshot with its engines and sources labelled with their server.
    #[must_use]
    pub(crate) fn of_target(mut self, target: &str) -> Self {
        for engine in &mut self.engines {
            engine.target = Some(target.to_owned());
        }
        for source in &mut self.sources {
            source.target = Some(target.to_owned());
        }
        self
    }

    /// Adds the content of `other`, a snapshot of another server at the same time. Both may use the same GPUs.
    #[must_use]
    pub fn merged(mut self, other: Self) -> Self {
        self.vllm_url = format!("{}, {}", self.vllm_url, other.vllm_url);
        self.sources.extend(other.sources);
        self.engines.extend(other.engines);
        for gpu in other.gpus {
            let known = self.gpus.iter().any(|own| own.facts.uuid == gpu.facts.uuid);
            if !known {
                self.gpus.push(gpu);
            }
        }
        for (reason, count) in other.discards {
            *self.discards.entry(reason).or_default() += count;
        }
        self
    }
}
