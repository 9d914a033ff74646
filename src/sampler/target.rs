//! One vLLM server: its source, facts, meter and history.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::address::Address;
use crate::config::{Settings, Tables};
use crate::meter::Meter;
use crate::meter::interval::Gap;
use crate::sample::engine::{EngineKey, EngineTotals};
use crate::sample::gpu::{GpuIdentity, GpuReading};
use crate::snapshot::memory::Memory;
use crate::snapshot::take::SnapshotContext;
use crate::snapshot::{Reload, Snapshot, SourceStatus};
use crate::source::share::within_share;
use crate::source::vllm::{VllmError, VllmSource};
use roofline::engine::EngineFacts;
use roofline::units::Seconds;

use super::clock::now;
use super::discovery::Discovery;
use super::reader::{Read, ServerReader};
use super::{gpus, status};

/// One or two missed pages are jitter; after this many ticks without a page, values derived from pages disappear.
const GRACE_TICKS: u32 = 2;

/// One vLLM server.
#[derive(Debug)]
pub(super) struct Target {
    url: Address,
    reader: ServerReader,
    status: SourceStatus,
    discovery: Discovery,
    meter: Meter,
    memory: Memory,
    missed: u32,
    arrived: Vec<Read>,
}

impl Target {
    pub(super) fn new(url: Address, vllm: VllmSource, settings: &Settings, tables: Tables) -> Self {
        Self {
            url,
            reader: ServerReader::new(vllm),
            status: status::unread("vllm", &VllmError::REASONS),
            discovery: Discovery::new(settings, tables),
            meter: Meter::new(settings.meter()),
            memory: Memory::default(),
            missed: 0,
            arrived: Vec::new(),
        }
    }

    pub(super) const fn url(&self) -> &Address {
        &self.url
    }

    /// Switches to another server. The GPUs stay the same.
    pub(super) fn move_to(&mut self, url: Address) {
        self.url = url;
        self.meter.forget_engines();
        self.memory = Memory::default();
    }

    /// Applies `settings`, with the changed parts.
    pub(super) fn follow(
        &mut self,
        settings: &Settings,
        vllm: Option<VllmSource>,
        tables: Option<&Tables>,
    ) {
        if let Some(vllm) = vllm {
            self.reader = ServerReader::new(vllm);
        }
        if let Some(tables) = tables {
            self.discovery = Discovery::new(settings, tables.clone());
        }
        self.meter.settings = settings.meter();
    }

    /// Requests the page, and waits for it no longer than `patience`, if set.
    pub(super) async fn read(&mut self, patience: Option<Duration>) {
        self.arrived = self.reader.read(patience).await;
    }

    /// It is unknown which readings were taken before the clock was set and which after.
    pub(super) fn clock_was_set(&mut self) {
        for read in std::mem::take(&mut self.arrived) {
            self.noted(read);
        }
        self.meter.clock_was_set();
        self.discovery.look_soon();
    }

    /// Processes the readings of the GPUs in `known` and of the server, one of `servers`.
    pub(super) async fn observe(
        &mut self,
        known: Vec<GpuIdentity>,
        readings: Vec<GpuReading>,
        servers: usize,
        patience: Option<Duration>,
    ) {
        let mut gpus_changed = self.observe_gpus(known, readings);
        for mut read in std::mem::take(&mut self.arrived) {
            read.page = read.page.and_then(|engines| {
                within_share(&engines, servers)?;
                Ok(engines)
            });
            match self.noted(read) {
                Some(engines) => self.observe_page(&engines, gpus_changed, patience).await,
                None => self.miss(),
            }
            gpus_changed = false;
        }
    }

    async fn observe_page(
        &mut self,
        engines: &[EngineTotals],
        gpus_changed: bool,
        patience: Option<Duration>,
    ) {
        self.missed = 0;
        let engines_changed = self.observe_engines(engines);
        let looking = self.discovery.look(self.reader.vllm(), engines, now());
        let looked = match patience {
            None => looking.await,
            Some(patience) => timeout(patience, looking).await.unwrap_or_else(|_| {
                self.discovery.gave_up();
                true
            }),
        };
        if looked || gpus_changed || engines_changed {
            self.discovery.refresh(&mut self.meter, engines);
        }
    }

    /// A page or two may be late; later time is unaccounted.
    fn miss(&mut self) {
        self.missed += 1;
        if self.missed > GRACE_TICKS {
            self.meter.miss(now());
        }
    }

    /// Returns whether the GPUs have changed.
    pub(super) fn observe_gpus(
        &mut self,
        known: Vec<GpuIdentity>,
        readings: Vec<GpuReading>,
    ) -> bool {
        let changed = self.discovery.see_gpus(known);
        gpus::observe(&mut self.meter, readings, self.discovery.gpus());
        changed
    }

    /// The GPUs; the table completes their facts.
    pub(super) fn gpus(&self) -> &[GpuIdentity] {
        self.discovery.gpus()
    }

    /// The engines on the page; records the outcome of the read.
    fn noted(&mut self, Read { page, took }: Read) -> Option<Vec<EngineTotals>> {
        match page {
            Ok(engines) => {
                status::succeed(&mut self.status, Some(&self.url), now(), took);
                Some(engines)
            }
            Err(error) => {
                let (reason, error) = (error.reason(), error.to_string());
                status::fail(&mut self.status, Some(&self.url), reason, &error, took);
                None
            }
        }
    }

    /// Returns whether the engines have changed: more, fewer, another model, or a restart of vLLM.
    fn observe_engines(&mut self, engines: &[EngineTotals]) -> bool {
        let keys = |meter: &Meter| -> Vec<EngineKey> { meter.engines.keys().cloned().collect() };
        let resets = |meter: &Meter| meter.discards.get(&Gap::CounterReset).copied();
        let before = (keys(&self.meter), resets(&self.meter));
        // Facts of new engines follow when all have been seen: they share the GPUs.
        self.meter
            .observe_engines(engines.to_vec(), |_| Arc::default());
        let after = (keys(&self.meter), resets(&self.meter));
        if before.1 != after.1 {
            tracing::info!(vllm = %self.url, "vLLM restarted: its counters began again");
            self.discovery.forget_model();
        }
        before != after
    }

    pub(super) fn snapshot(
        &mut self,
        time: Seconds,
        settings: &Settings,
        reload: Option<Reload>,
    ) -> Snapshot {
        let around = SnapshotContext {
            time,
            vllm_url: self.url.to_string(),
            sources: vec![self.status.clone()],
            reachable: self.missed <= GRACE_TICKS,
            reload,
            gpus_since: time - settings.tick.seconds() * f64::from(GRACE_TICKS + 1),
        };
        Snapshot::take(&mut self.meter, &mut self.memory, settings, around)
    }

    /// The facts about `engines`, searched for now.
    pub(super) async fn facts_of(&mut self, engines: &[EngineTotals]) -> Vec<Arc<EngineFacts>> {
        self.discovery
            .look(self.reader.vllm(), engines, now())
            .await;
        let facts = engines.iter().enumerate();
        facts
            .map(|(rank, totals)| self.discovery.facts(totals, rank))
            .collect()
    }
}
