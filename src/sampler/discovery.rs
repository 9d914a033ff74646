//! Decides when and where to look for the facts of the engines.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::config::{Settings, Tables};
use crate::meter::Meter;
use crate::sample::engine::EngineTotals;
use crate::sample::gpu::GpuIdentity;
use crate::source::discovery::{DiscoveryInputs, KnownValue, process};
use crate::source::lookup::find_config_aside;
use crate::source::vllm::VllmSource;
use roofline::engine::{EngineFacts, MissingFact};
use roofline::spec::deployment::{DeploymentFlags, draft_model};
use roofline::spec::gpu::GpuTable;
use roofline::units::Seconds;

/// Interval between searches for an unknown model.
const PAUSE: Seconds = Seconds(15.0);

/// Facts about the engines besides their counters, and when they were searched for.
#[derive(Debug)]
pub(super) struct Discovery {
    table: GpuTable,
    clues: DiscoveryInputs,
    /// vLLM's flags as configured.
    deployment: DeploymentFlags,
    /// The model's config.json from a recording.
    recorded_config: Option<String>,
    looked: Option<Seconds>,
    /// The model of the last search.
    served: String,
    /// The facts that were missing at the last search and are already logged.
    logged_missing: BTreeSet<MissingFact>,
}

impl Discovery {
    pub(super) fn new(settings: &Settings, tables: Tables) -> Self {
        Self {
            table: tables.gpus,
            clues: DiscoveryInputs {
                coefficients: tables.coefficients,
                gpu: settings.gpu.clone(),
                // With several servers, it is unknown whose devices they are.
                devices_are_told: !settings.gpu_devices.is_empty()
                    && !settings.vllm_url.are_several(),
                ..DiscoveryInputs::default()
            },
            deployment: settings.deployment.clone(),
            recorded_config: settings.model_config.clone(),
            looked: None,
            served: String::new(),
            logged_missing: BTreeSet::new(),
        }
    }

    /// The GPUs that are read; the table completes the facts of their source.
    pub(super) fn gpus(&self) -> &[GpuIdentity] {
        &self.clues.gpus
    }

    /// The facts of one engine; `rank` is its number on the page.
    pub(super) fn facts(&self, totals: &EngineTotals, rank: usize) -> Arc<EngineFacts> {
        self.clues.facts(&self.table, totals, rank)
    }

    /// Updates the GPUs from their source. Returns whether they have changed.
    pub(super) fn see_gpus(&mut self, facts: Vec<GpuIdentity>) -> bool {
        let facts = facts.into_iter().map(|gpu| self.completed(gpu)).collect();
        if self.clues.gpus == facts {
            return false;
        }
        self.clues.gpus = facts;
        self.find_own_processes();
        true
    }

    /// A dcgm-exporter does not export the memory bus width; the table may have it.
    fn completed(&self, gpu: GpuIdentity) -> GpuIdentity {
        if gpu.memory_bus_bits.is_some() || gpu.is_mig_slice {
            return gpu;
        }
        let spec = self.table.find(&gpu.name).ok();
        GpuIdentity {
            memory_bus_bits: spec.and_then(|spec| spec.memory_bus_bits).map(f64::from),
            max_mem_clock_mhz: gpu
                .max_mem_clock_mhz
                .or_else(|| spec.and_then(|spec| spec.memory_clock_mhz)),
            ..gpu
        }
    }

    /// vLLM has restarted: it may serve another model.
    pub(super) fn forget_model(&mut self) {
        self.look_soon();
        self.clues.model_config = None;
    }

    /// Allows an immediate search for missing facts.
    pub(super) fn look_soon(&mut self) {
        self.looked = None;
    }

    /// Searches for the model at the start, after a restart, when another model is served, and periodically while it is unknown. Returns
    /// whether it searched.
    pub(super) async fn look(
        &mut self,
        vllm: &VllmSource,
        engines: &[EngineTotals],
        now: Seconds,
    ) -> bool {
        let served = engines
            .first()
            .map_or("", |engine| engine.key.model_name.as_str());
        if self.served != served {
            served.clone_into(&mut self.served);
            self.forget_model();
        }
        let known = matches!(self.clues.model_config, Some(Ok(_)));
        let recently = self.looked.is_some_and(|looked| now - looked < PAUSE);
        if known || recently {
            return false;
        }
        self.looked = Some(now);
        let server = process::server(vllm.url());
        self.clues.server = server.as_ref().map(|server| server.pid);
        self.find_own_processes();
        let line = server
            .and_then(|server| DeploymentFlags::from_vllm_command_line(&server.arguments).ok());
        self.clues.flags_origin = if line.is_some() {
            "vLLM's command line under our own flags".to_owned()
        } else {
            "flags, configuration and defaults".to_owned()
        };
        self.clues.flags = line
            .unwrap_or_default()
            .overridden_by(self.deployment.clone());
        self.clues.flags.draft_config = self.find_draft().await;
        self.clues.model_config = Some(self.find_model(vllm).await);
        true
    }

    /// The configuration of the draft model, if the flags name one that is found.
    async fn find_draft(&self) -> Option<String> {
        let model = draft_model(self.clues.flags.speculative_config.as_deref())?;
        let found = find_config_aside(vec![model]).await.ok()?;
        Some(found.1)
    }

    /// The search for the model timed out.
    pub(super) fn gave_up(&mut self) {
        let why = "/v1/models did not answer, or the model's config.json could not be read, in time; set --model";
        self.clues.model_config = Some(Err(why.to_owned()));
    }

    /// Finds vLLM's processes among those on the GPUs.
    fn find_own_processes(&mut self) {
        let Some(server) = self.clues.server else {
            return;
        };
        let on_gpus = self
            .clues
            .gpus
            .iter()
            .flat_map(|gpu| gpu.processes.iter().flatten());
        self.clues.own_processes = on_gpus
            .copied()
            .filter(|&pid| process::descends_from(pid, server))
            .collect();
    }

    async fn find_model(&self, vllm: &VllmSource) -> Result<KnownValue<String>, String> {
        if let Some(config) = &self.recorded_config {
            return Ok(KnownValue {
                value: config.clone(),
                origin: "the recording".to_owned(),
            });
        }
        let (name, origin) = if let Some(model) = &self.clues.flags.model {
            (model.clone(), "--model")
        } else {
            let models = vllm.models().await.map_err(|error| {
                format!(
                    "the model is not configured and /v1/models does not say: {error}; set --model"
                )
            })?;
            let root = models
                .root_of(&self.served)
                .ok_or("the model is not configured and /v1/models names no root; set --model")?;
            (root.to_owned(), "/v1/models")
        };
        // vLLM itself may find it elsewhere: relative to its directory, or in its container.
        let at_server = self
            .clues
            .server
            .map(|server| process::path_of(server, &name));
        let (path, text) = find_config_aside(std::iter::once(name).chain(at_server).collect())
            .await
            .map_err(|error| error.to_string())?;
        Ok(KnownValue {
            value: text,
            origin: format!("{origin}: {}", path.display()),
        })
    }

    /// Passes the current facts to the engines and GPUs of the meter.
    pub(super) fn refresh(&mut self, meter: &mut Meter, engines: &[EngineTotals]) {
        for gpu in &self.clues.gpus {
            if let Some(meter) = meter.gpus.get_mut(&gpu.uuid) {
                meter.facts.clone_from(gpu);
            }
        }
        let mut missing = BTreeSet::new();
        for (rank, totals) in engines.iter().enumerate() {
            let facts = self.facts(totals, rank);
            missing.extend(facts.missing.iter().cloned());
            if let Some(meter) = meter.engines.get_mut(&totals.key) {
                meter.facts = facts;
            }
        }
        for MissingFact { fact, why } in missing.difference(&self.logged_missing) {
            tracing::warn!(fact, "{why}");
        }
        self.logged_missing = missing;
    }
}
