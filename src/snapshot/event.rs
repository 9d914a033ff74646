//! Events of an engine: restarts of vLLM, and changes of its deployment.

use std::collections::VecDeque;

use roofline::engine::EngineFacts;
use roofline::spec::deployment::DeploymentFlags;
use roofline::units::Seconds;
use serde::Serialize;

use crate::meter::engine::EngineMeter;

/// Events kept per engine.
const MOST: usize = 8;
/// A deployment that is discovered this soon after a restart belongs to that restart.
const FOUND_WITHIN: Seconds = Seconds(120.0);

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// vLLM restarted.
    Restart,
    /// The configured deployment changed without a restart.
    Deployment,
}

impl EventKind {
    /// Label on the page.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Restart => "vLLM restarted",
            Self::Deployment => "the deployment changed",
        }
    }
}

/// An event of an engine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Unix time of its detection.
    pub time: Seconds,
    /// Its kind.
    pub kind: EventKind,
    /// The settings that changed.
    pub changed: Vec<SettingChange>,
}

/// A setting that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettingChange {
    /// vLLM's name of the flag.
    pub setting: String,
    /// Its value before; `default` if it was not set.
    pub before: String,
    /// Its value after.
    pub after: String,
}

/// The newest events of an engine, and the state that reveals the next one.
#[derive(Debug, Default)]
pub(super) struct EngineEvents {
    newest: VecDeque<Event>,
    life: Option<Life>,
    deployed: Option<Deployed>,
}

/// A run of vLLM.
#[derive(Clone, Copy, Debug)]
struct Life {
    /// Number of counter resets.
    restarts: u64,
    /// Start time of its process, where the page has it.
    started: Option<Seconds>,
}

/// The deployment of an engine.
#[derive(Clone, Debug, PartialEq)]
struct Deployed {
    flags: DeploymentFlags,
    parameters: u64,
    gpu: Option<String>,
}

impl EngineEvents {
    /// Compares the state of `meter` with the previous one. Returns whether vLLM restarted.
    pub(super) fn observe(&mut self, now: Seconds, meter: &EngineMeter) -> bool {
        let started = meter.latest.as_ref().and_then(|page| page.process_started);
        let restarted = self.life.as_ref().is_some_and(|life| {
            let births = life.started.zip(started);
            life.restarts != meter.restarts || births.is_some_and(|(before, now)| before != now)
        });
        self.life = Some(Life {
            restarts: meter.restarts,
            started: started.or(self.life.and_then(|life| life.started)),
        });
        if restarted {
            self.push(now, EventKind::Restart, Vec::new());
        }
        self.compare(now, &meter.facts);
        restarted
    }

    /// The events, oldest first.
    pub(super) fn newest(&self) -> impl Iterator<Item = &Event> {
        self.newest.iter()
    }

    /// Compares the deployment, once it is known.
    fn compare(&mut self, now: Seconds, facts: &EngineFacts) {
        let Some(served) = &facts.served else {
            return;
        };
        let is_known = self.deployed.as_ref().is_some_and(|known| {
            known.flags == facts.flags
                && known.parameters == served.deployment.model.total_params()
                && known.gpu.as_deref() == facts.gpu.as_ref().map(|gpu| gpu.id.as_str())
        });
        if is_known {
            return;
        }
        let deployed = Deployed {
            flags: facts.flags.clone(),
            parameters: served.deployment.model.total_params(),
            gpu: facts.gpu.as_ref().map(|gpu| gpu.id.clone()),
        };
        let changed = self
            .deployed
            .replace(deployed.clone())
            .map_or_else(Vec::new, |before| changes(&before, &deployed));
        if changed.is_empty() {
            return;
        }
        match self.newest.back_mut() {
            Some(restart)
                if restart.kind == EventKind::Restart
                    && restart.changed.is_empty()
                    && now - restart.time < FOUND_WITHIN =>
            {
                restart.changed = changed;
            }
            _ => self.push(now, EventKind::Deployment, changed),
        }
    }

    fn push(&mut self, time: Seconds, kind: EventKind, changed: Vec<SettingChange>) {
        self.newest.push_back(Event {
            time,
            kind,
            changed,
        });
        if self.newest.len() > MOST {
            self.newest.pop_front();
        }
    }
}

/// The settings that differ between two deployments.
fn changes(before: &Deployed, after: &Deployed) -> Vec<SettingChange> {
    let (before, after) = (settings(before), settings(after));
    let value_of = |settings: &[(String, String)], name: &str| {
        let found = settings.iter().find(|(setting, _)| setting == name);
        found.map_or_else(|| "default".to_owned(), |(_, value)| value.clone())
    };
    let mut names: Vec<&String> = before.iter().chain(&after).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    let changes = names.into_iter().map(|name| SettingChange {
        setting: name.clone(),
        before: value_of(&before, name),
        after: value_of(&after, name),
    });
    changes
        .filter(|change| change.before != change.after)
        .collect()
}

/// The settings of a deployment, by vLLM's flag names.
fn settings(deployed: &Deployed) -> Vec<(String, String)> {
    let mut settings = deployed.flags.settings();
    settings.push(("parameters".to_owned(), deployed.parameters.to_string()));
    let gpu = deployed.gpu.iter();
    settings.extend(gpu.map(|gpu| ("gpu".to_owned(), gpu.clone())));
    settings
}
