//! The driver: ticks, reads the sources, feeds the meter, publishes a snapshot. The only clock in the program.

use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::config::Settings;
use crate::export::families::families;
use crate::export::process;
use crate::export::{openmetrics, page};
use crate::meter::Meter;
use crate::meter::facts::EngineFacts;
use crate::meter::interval::Gap;
use crate::sample::engine::{EngineKey, EngineTotals};
use crate::sample::gpu::GpuFacts;
use crate::snapshot::take::{Surroundings, Trails};
use crate::snapshot::{Snapshot, SourceStatus};
use crate::source::discovery::{self, Clues, Known};
use crate::source::gpu::GpuSource;
use crate::source::vllm::{VllmError, VllmSource};
use crate::spec::deployment::DeploymentFlags;
use crate::spec::gpu::GpuTable;
use crate::spec::lookup::find_config;
use crate::units::Seconds;

/// A missed page or two is jitter; after this many ticks without one, what was derived from pages vanishes.
const GRACE_TICKS: u32 = 2;
/// How often the model is looked for again while it is unknown.
const DISCOVERY_PAUSE: Seconds = Seconds(15.0);

/// Unix time now.
#[expect(clippy::disallowed_methods, reason = "this is the one clock")]
#[must_use]
pub fn now() -> Seconds {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Seconds(since.map_or(0.0, |since| since.as_secs_f64()))
}

/// A snapshot and its texts, made once and served to everyone.
#[derive(Debug)]
pub struct Published {
    /// What it shows.
    pub snapshot: Snapshot,
    families: Vec<prometheus::proto::MetricFamily>,
    text: axum::body::Bytes,
    openmetrics: OnceLock<axum::body::Bytes>,
}

impl Published {
    /// Renders `snapshot`; `own_process` adds `process_*`.
    #[must_use]
    pub fn new(snapshot: Snapshot, own_process: bool) -> Self {
        let mut families = families(&snapshot);
        if own_process {
            families.extend(process::families());
        }
        Self {
            text: page::text(&families).into(),
            snapshot,
            families,
            openmetrics: OnceLock::new(),
        }
    }

    /// Text format 0.0.4.
    #[must_use]
    pub fn text(&self) -> axum::body::Bytes {
        self.text.clone()
    }

    /// OpenMetrics 1.0, made when it is first asked for.
    #[must_use]
    pub fn openmetrics(&self) -> axum::body::Bytes {
        self.openmetrics
            .get_or_init(|| openmetrics::text(&self.families).into())
            .clone()
    }
}

/// What the server gets; `None` before the first tick.
pub type Receiver = watch::Receiver<Option<Arc<Published>>>;

/// Reads, measures and publishes.
#[derive(Debug)]
pub struct Sampler {
    settings: Settings,
    table: GpuTable,
    vllm: VllmSource,
    gpu: GpuSource,
    meter: Meter,
    clues: Clues,
    looked_for_model: Option<Seconds>,
    vllm_status: SourceStatus,
    gpu_status: SourceStatus,
    missed: u32,
    trails: Trails,
    publish: watch::Sender<Option<Arc<Published>>>,
}

impl Sampler {
    /// A sampler of these sources, and where it publishes.
    ///
    /// # Errors
    /// A source that cannot be set up, in words.
    pub fn new(
        settings: Settings,
        table: GpuTable,
        gpu: GpuSource,
    ) -> Result<(Self, Receiver), VllmError> {
        let limit = settings.tick.0.mul_f64(0.9);
        let vllm = VllmSource::new(
            &settings.vllm_url,
            settings.vllm_api_key_file.clone(),
            limit,
        )?;
        let (publish, receiver) = watch::channel(None);
        let status = |source, reasons: &[&'static str]| SourceStatus {
            source,
            errors: reasons.iter().map(|&reason| (reason, 0)).collect(),
            ..SourceStatus::default()
        };
        let sampler = Self {
            meter: Meter::new(settings.meter()),
            clues: Clues {
                gpu: settings.gpu.clone(),
                gpus: gpu.facts(),
                ..Clues::default()
            },
            vllm_status: status("vllm", &VllmError::REASONS),
            gpu_status: status(gpu.name(), &[]),
            settings,
            table,
            vllm,
            gpu,
            looked_for_model: None,
            missed: 0,
            trails: Trails::default(),
            publish,
        };
        Ok((sampler, receiver))
    }

    /// Samples until nobody listens any more.
    pub async fn run(mut self) {
        let mut ticks = interval(self.settings.tick.0);
        // After a stall, windows of the usual length rather than a burst of short ones.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.publish.is_closed() {
            ticks.tick().await;
            self.tick().await;
        }
    }

    async fn tick(&mut self) {
        self.read_gpus();
        match self.read_vllm().await {
            Ok(engines) => {
                self.missed = 0;
                self.discover(&engines).await;
                self.observe(engines);
            }
            Err(()) => self.missed += 1,
        }
        let snapshot = self.snapshot(now());
        let published = Published::new(snapshot, !self.settings.web.disable_exporter_metrics);
        self.publish.send_replace(Some(Arc::new(published)));
    }

    fn read_gpus(&mut self) {
        let time = now();
        if matches!(self.gpu, GpuSource::None) {
            return;
        }
        match self.gpu.read(time) {
            Ok(readings) => {
                let known = &self.clues.gpus;
                self.meter.observe_gpus(readings, |reading| {
                    known
                        .iter()
                        .find(|gpu| gpu.uuid == reading.uuid)
                        .cloned()
                        .unwrap_or_else(|| GpuFacts {
                            uuid: reading.uuid.clone(),
                            ..GpuFacts::default()
                        })
                });
                succeed(&mut self.gpu_status, time, now() - time);
            }
            Err(error) => fail(
                &mut self.gpu_status,
                "read",
                &error.to_string(),
                now() - time,
            ),
        }
    }

    async fn read_vllm(&mut self) -> Result<Vec<EngineTotals>, ()> {
        let started = Instant::now();
        let read = self.vllm.read(now).await;
        let took = Seconds(started.elapsed().as_secs_f64());
        match read {
            Ok(reading) => {
                succeed(&mut self.vllm_status, now(), took);
                Ok(reading.engines)
            }
            Err(error) => {
                fail(
                    &mut self.vllm_status,
                    error.reason(),
                    &error.to_string(),
                    took,
                );
                Err(())
            }
        }
    }

    /// Looks for the model, at the start, after vLLM was away, and from time to time while it is unknown.
    async fn discover(&mut self, engines: &[EngineTotals]) {
        let known = matches!(self.clues.model_config, Some(Ok(_)));
        let recently = self
            .looked_for_model
            .is_some_and(|looked| now() - looked < DISCOVERY_PAUSE);
        if known || recently {
            return;
        }
        self.looked_for_model = Some(now());
        let line = discovery::command_line(self.vllm.url())
            .and_then(|line| DeploymentFlags::from_vllm_command_line(&line).ok());
        self.clues.flags_origin = if line.is_some() {
            "vLLM's command line under our own flags".to_owned()
        } else {
            "flags, configuration and defaults".to_owned()
        };
        self.clues.flags = line
            .unwrap_or_default()
            .overridden_by(self.settings.deployment.clone());
        self.clues.model_config = Some(self.find_model(engines).await);
        self.refresh_facts(engines);
    }

    /// What is known of `engines`, looked for now.
    pub async fn facts_of(&mut self, engines: &[EngineTotals]) -> Vec<Arc<EngineFacts>> {
        self.discover(engines).await;
        let facts = engines.iter().enumerate();
        facts
            .map(|(rank, totals)| self.clues.facts(&self.table, totals, rank))
            .collect()
    }

    async fn find_model(&self, engines: &[EngineTotals]) -> Result<Known<String>, String> {
        if let Some(config) = &self.settings.model_config {
            return Ok(Known {
                value: config.clone(),
                origin: "the recording".to_owned(),
            });
        }
        let (name, origin) = if let Some(model) = &self.clues.flags.model {
            (model.clone(), "--model")
        } else {
            let models = self.vllm.models().await.map_err(|error| {
                format!(
                    "the model is not configured and /v1/models does not say: {error}; set --model"
                )
            })?;
            let served = engines
                .first()
                .map_or("", |engine| engine.key.model_name.as_str());
            let root = discovery::root_of(&models, served)
                .ok_or("the model is not configured and /v1/models names no root; set --model")?;
            (root, "/v1/models")
        };
        let (path, text) = find_config(&name).map_err(|error| error.to_string())?;
        Ok(Known {
            value: text,
            origin: format!("{origin}: {}", path.display()),
        })
    }

    fn refresh_facts(&mut self, engines: &[EngineTotals]) {
        for (rank, totals) in engines.iter().enumerate() {
            let facts = self.clues.facts(&self.table, totals, rank);
            for missing in &facts.missing {
                tracing::warn!(
                    fact = missing.fact,
                    engine = totals.key.engine,
                    "{}",
                    missing.why
                );
            }
            if let Some(meter) = self.meter.engines.get_mut(&totals.key) {
                meter.facts = facts;
            }
        }
    }

    fn observe(&mut self, engines: Vec<EngineTotals>) {
        let (clues, table) = (&self.clues, &self.table);
        let ranks: Vec<EngineKey> = engines.iter().map(|engine| engine.key.clone()).collect();
        let before = self.meter.discards.get(&Gap::CounterReset).copied();
        self.meter.observe_engines(engines, |totals| {
            let rank = ranks.iter().position(|key| *key == totals.key).unwrap_or(0);
            clues.facts(table, totals, rank)
        });
        if self.meter.discards.get(&Gap::CounterReset).copied() != before {
            tracing::info!("vLLM restarted: its counters began again");
            self.looked_for_model = None;
            self.clues.model_config = None;
        }
    }

    fn snapshot(&mut self, time: Seconds) -> Snapshot {
        let around = Surroundings {
            time,
            vllm_url: self.vllm.url().to_string(),
            sources: self.sources(),
            reachable: self.missed <= GRACE_TICKS,
        };
        Snapshot::take(&mut self.meter, &mut self.trails, &self.settings, around)
    }

    fn sources(&self) -> Vec<SourceStatus> {
        let mut sources = vec![self.vllm_status.clone()];
        if !matches!(self.gpu, GpuSource::None) {
            sources.push(self.gpu_status.clone());
        }
        sources
    }
}

fn succeed(status: &mut SourceStatus, time: Seconds, took: Seconds) {
    if status.success != Some(true) {
        tracing::info!(source = status.source, "source is up");
    }
    status.success = Some(true);
    status.last_success = Some(time);
    status.read_seconds = Some(took);
    status.error = None;
}

/// Logged once, when it changes; the counter carries the rest.
fn fail(status: &mut SourceStatus, reason: &'static str, error: &str, took: Seconds) {
    if status.error.as_deref() != Some(error) {
        tracing::warn!(source = status.source, reason, "source is down: {error}");
    }
    status.success = Some(false);
    status.read_seconds = Some(took);
    status.error = Some(error.to_owned());
    *status.errors.entry(reason).or_default() += 1;
}
