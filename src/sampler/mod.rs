//! The driver: ticks, reads the sources, updates the meters, publishes a snapshot. The only clock in the program.

mod clock;
mod discovery;
mod gpus;
mod published;
mod reader;
mod settings_update;
mod status;
mod target;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::address::Address;
use crate::config::{Settings, Tables};
use crate::sample::engine::EngineTotals;
use crate::sample::gpu::{GpuIdentity, GpuReading};
use crate::snapshot::{Reload, Snapshot, SourceStatus};
use crate::source::gpu::GpuSource;
use crate::source::vllm::{VllmError, VllmSource};
use roofline::engine::EngineFacts;
use roofline::units::Seconds;

use clock::Clock;
pub use clock::now;
use gpus::SampledGpus;
pub use published::{Published, Text};
pub use settings_update::{ReloadCommand, ServerUpdate, SettingsUpdate};
use target::Target;

/// With several servers, the share of a tick for which one may delay the others.
const PATIENCE: f64 = 0.25;

/// Time between two readings, which GPM needs.
const LOOK_PAUSE: Duration = Duration::from_millis(300);

/// The server's input; `None` before the first tick.
pub type Receiver = watch::Receiver<Option<Arc<Published>>>;

/// Reads, measures and publishes.
#[derive(Debug)]
pub(crate) struct Sampler {
    settings: Settings,
    /// Never empty.
    targets: Vec<Target>,
    gpus: SampledGpus,
    clock: Clock,
    reload: Option<Reload>,
    publish: watch::Sender<Option<Arc<Published>>>,
}

impl Sampler {
    /// A sampler of these sources, and the receiver of its snapshots.
    ///
    /// # Errors
    /// A source that cannot be set up, in words.
    pub(crate) fn new(
        settings: Settings,
        tables: &Tables,
        gpu: GpuSource,
    ) -> Result<(Self, Receiver), VllmError> {
        let options = settings.vllm_request_options();
        let target = |url: &Address| {
            let vllm = VllmSource::new(url, &options)?;
            Ok(Target::new(url.clone(), vllm, &settings, tables.clone()))
        };
        let targets = settings.vllm_url.iter().map(target);
        let (publish, receiver) = watch::channel(None);
        let sampler = Self {
            targets: targets.collect::<Result<_, VllmError>>()?,
            gpus: SampledGpus::new(gpu),
            settings,
            clock: Clock::started(),
            reload: None,
            publish,
        };
        Ok((sampler, receiver))
    }

    /// Samples until the receiver is dropped. `orders` take effect between ticks; `reload` is the outcome of the start.
    pub(crate) async fn run(mut self, reload: Reload, mut orders: mpsc::Receiver<ReloadCommand>) {
        self.reload = Some(reload);
        let mut ticks = ticks(Instant::now(), self.settings.tick.0);
        while !self.publish.is_closed() {
            tokio::select! {
                _ = ticks.tick() => self.tick().await,
                Some(order) = orders.recv() => {
                    let tick = self.settings.tick;
                    self.reload = Some(order.reload);
                    if let Some(settings_update) = order.settings_update {
                        self.follow(*settings_update);
                    }
                    if self.settings.tick != tick {
                        let tick = self.settings.tick.0;
                        ticks = self::ticks(Instant::now() + tick, tick);
                    }
                }
            }
        }
    }

    /// Applies `settings_update`. Sources it does not change continue without a gap, and counters restart only for another vLLM.
    fn follow(&mut self, settings_update: SettingsUpdate) {
        let stays = |target: &Target| {
            settings_update
                .servers
                .iter()
                .any(|to| to.url == *target.url())
        };
        let (mut staying, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.targets)
            .into_iter()
            .partition(stays);
        let mut left = left.into_iter();
        let tables = settings_update
            .facts_changed
            .then_some(&settings_update.tables);
        for ServerUpdate { url, vllm, is_new } in settings_update.servers {
            let own = staying.iter().position(|target| *target.url() == url);
            let known = own.map(|own| staying.swap_remove(own));
            // A new server replaces one that was removed, and keeps the GPU totals.
            let moved = || {
                let mut target = left.next()?;
                target.move_to(url.clone());
                Some(target)
            };
            self.targets.push(match known.or_else(moved) {
                Some(mut target) => {
                    target.follow(&settings_update.settings, is_new.then_some(vllm), tables);
                    target
                }
                None => Target::new(
                    url,
                    vllm,
                    &settings_update.settings,
                    settings_update.tables.clone(),
                ),
            });
        }
        if let Some(gpu) = settings_update.gpu {
            self.gpus.replace(gpu);
        }
        self.settings = settings_update.settings;
    }

    async fn tick(&mut self) {
        let patience = self.patience();
        let pages = self.targets.iter_mut().map(|target| target.read(patience));
        let (readings, _) = tokio::join!(self.gpus.read(now), join_all(pages));
        if self.clock.was_set() {
            self.targets.iter_mut().for_each(Target::clock_was_set);
        } else {
            let gpus = self.gpus.facts();
            let servers = self.targets.len();
            let targets = self
                .targets
                .iter_mut()
                .map(|target| target.observe(gpus.clone(), readings.clone(), servers, patience));
            join_all(targets).await;
        }
        let snapshot = self.snapshot(now());
        let published = Published::new(snapshot, !self.settings.web.disable_exporter_metrics);
        self.publish.send_replace(Some(Arc::new(published)));
    }

    /// How long to wait for a server, if there are several.
    fn patience(&self) -> Option<Duration> {
        let several = self.targets.len() > 1;
        several.then(|| self.settings.tick.0.mul_f64(PATIENCE))
    }

    /// The snapshot of all targets, named by target if there are several.
    fn snapshot(&mut self, time: Seconds) -> Snapshot {
        let several = self.targets.len() > 1;
        let (settings, reload) = (&self.settings, self.reload);
        let taken = self.targets.iter_mut().map(|target| {
            let snapshot = target.snapshot(time, settings, reload);
            if several {
                snapshot.of_target(&target.url().to_string())
            } else {
                snapshot
            }
        });
        let mut snapshot = taken.reduce(Snapshot::merged).unwrap_or_default();
        snapshot.sources.extend(self.gpus.status());
        snapshot.compare_replicas();
        snapshot
    }

    /// The facts about `engines` of the first server, searched for now.
    pub(crate) async fn facts_of(&mut self, engines: &[EngineTotals]) -> Vec<Arc<EngineFacts>> {
        match self.targets.first_mut() {
            Some(target) => target.facts_of(engines).await,
            None => Vec::new(),
        }
    }

    /// The GPUs and their readings, for `check`: reads twice, because GPM measures the time between.
    pub(crate) async fn look_at_gpus(&mut self) -> GpuLook {
        let first = self.gpus.read(now).await;
        if !first.is_empty() {
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        let readings = self.gpus.read(now).await;
        let known = self.gpus.facts();
        let target = self.targets.first_mut().map(|target| {
            target.observe_gpus(known.clone(), first);
            target.gpus().to_vec()
        });
        GpuLook {
            gpus: target.unwrap_or(known),
            readings,
            source: self
                .gpus
                .status()
                .ok_or_else(|| self.gpus.absence().unwrap_or_default().to_owned()),
        }
    }
}

/// Ticks from `start` on.
fn ticks(start: Instant, period: Duration) -> Interval {
    let mut ticks = interval_at(start, period);
    // After a delay, continue with windows of the usual length instead of a burst of short ones.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// The state of the GPUs.
#[derive(Debug)]
pub(crate) struct GpuLook {
    /// The GPUs there are.
    pub gpus: Vec<GpuIdentity>,
    /// Their readings.
    pub readings: Vec<GpuReading>,
    /// The status of the source, or why there is none.
    pub source: Result<SourceStatus, String>,
}
