//! Discovers facts that no metric exposes: the model of an engine, and its deployment.
//!
//! Flags and configuration take precedence; then `/v1/models` names the model's root, whose config.json is in a directory or in the Hugging
//! Face cache; then, with a shared process namespace, vLLM's own command line. A fact that stays unknown is reported, with the figures that
//! are absent without it.

mod gpus;
pub mod process;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::sample::engine::EngineTotals;
use crate::sample::gpu::GpuIdentity;
use roofline::cost::coefficients::Coefficients;
use roofline::engine::{EngineFacts, MissingFact, Served};
use roofline::spec::deployment::{Deployment, DeploymentFlags};
use roofline::spec::gpu::GpuTable;
use roofline::spec::model::ModelSpec;

/// A value with its origin.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownValue<T> {
    /// The value.
    pub value: T,
    /// Its origin, in words.
    pub origin: String,
}

/// The inputs of discovery, common to all engines.
#[derive(Clone, Debug, Default)]
pub struct DiscoveryInputs {
    /// The model's config.json, or why there is none.
    pub model_config: Option<Result<KnownValue<String>, String>>,
    /// vLLM's flags: ours override those of its command line.
    pub flags: DeploymentFlags,
    /// The origin of the flags, in words.
    pub flags_origin: String,
    /// Coefficients of expected times.
    pub coefficients: Coefficients,
    /// `--gpu`, where given.
    pub gpu: Option<String>,
    /// GPUs that are read.
    pub gpus: Vec<GpuIdentity>,
    /// Whether `--gpu-devices` names vLLM's GPUs.
    pub devices_are_told: bool,
    /// vLLM's server process, if visible.
    pub server: Option<u32>,
    /// vLLM's own processes on the GPUs.
    pub own_processes: BTreeSet<u32>,
}

impl DiscoveryInputs {
    /// The facts of the engine with `totals`; `engines` share the GPUs, and `rank` is this engine's number.
    #[must_use]
    pub fn facts(&self, table: &GpuTable, totals: &EngineTotals, rank: usize) -> Arc<EngineFacts> {
        let mut facts = EngineFacts {
            flags: self.flags_with(totals),
            coefficients: self.coefficients,
            kv_blocks_overridden: totals.cache.blocks_overridden,
            ..EngineFacts::default()
        };
        self.find_gpu(table, &mut facts);
        self.find_model(&mut facts);
        self.share_gpus(&mut facts, totals.engines_on_page, rank);
        if totals.kv_capacity_tokens().is_none() {
            missing(
                &mut facts,
                "kv_capacity",
                "vLLM's page has no cache_config_info with it: no KV capacity, and contexts are taken from the lengths of requests",
            );
        }
        Arc::new(facts)
    }

    /// The flags, completed from the page.
    fn flags_with(&self, totals: &EngineTotals) -> DeploymentFlags {
        let page = DeploymentFlags {
            kv_cache_dtype: totals.cache.cache_dtype.clone(),
            gpu_memory_utilization: totals.cache.gpu_memory_utilization,
            ..DeploymentFlags::default()
        };
        page.overridden_by(self.flags.clone())
    }

    fn find_model(&self, facts: &mut EngineFacts) {
        let config = match &self.model_config {
            Some(Ok(config)) => config,
            Some(Err(why)) => return missing(facts, "model", why),
            None => return missing(facts, "model", "not looked for yet"),
        };
        let served = ModelSpec::from_json(&config.value)
            .map_err(|error| error.to_string())
            .and_then(|model| {
                Deployment::new(model, facts.gpu.clone(), &facts.flags)
                    .map_err(|error| error.to_string())
            });
        match served {
            Ok(deployment) => {
                facts.origins.push(("model", config.origin.clone()));
                facts
                    .origins
                    .push(("deployment", self.flags_origin.clone()));
                facts.served = Some(Served::new(deployment));
                if facts.flags.max_num_seqs.is_none() {
                    missing(
                        facts,
                        "max_num_seqs",
                        "in no metric: waiting requests beside free KV cannot be explained; set --max-num-seqs",
                    );
                }
            }
            Err(error) => missing(facts, "model", &format!("{}: {error}", config.origin)),
        }
    }
}

fn missing(facts: &mut EngineFacts, fact: &'static str, why: &str) {
    facts.missing.push(MissingFact {
        fact,
        why: why.to_owned(),
    });
}
