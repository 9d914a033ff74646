//! Finds out what no metric says: which model an engine serves, and how.
//!
//! Flags and configuration win; then `/v1/models` names the model's root, whose config.json is in a directory or in the Hugging Face
//! cache; then, with a shared process namespace, vLLM's own command line. What stays unknown is named, with what it leaves out.

use std::sync::Arc;

use crate::meter::facts::{EngineFacts, Missing, Served};
use crate::roofline::coefficients::Coefficients;
use crate::sample::engine::EngineTotals;
use crate::sample::gpu::GpuFacts;
use crate::spec::deployment::{Deployment, DeploymentFlags};
use crate::spec::gpu::{ComputeCapability, GpuSpec, GpuTable, NvmlFacts};
use crate::spec::model::ModelSpec;
use crate::units::Bytes;

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Known<T> {
    /// The value.
    pub value: T,
    /// Where it came from, in words.
    pub origin: String,
}

/// What the sources tell before any engine is looked at.
#[derive(Clone, Debug, Default)]
pub struct Clues {
    /// The model's config.json, or why there is none.
    pub model_config: Option<Result<Known<String>, String>>,
    /// vLLM's flags: ours over those of its command line.
    pub flags: DeploymentFlags,
    /// Where the flags came from, in words.
    pub flags_origin: String,
    /// `--gpu`, where given.
    pub gpu: Option<String>,
    /// GPUs that are read.
    pub gpus: Vec<GpuFacts>,
}

impl Clues {
    /// The facts of the engine that `totals` shows; `engines` share the GPUs, this one is number `rank`.
    #[must_use]
    pub fn facts(&self, table: &GpuTable, totals: &EngineTotals, rank: usize) -> Arc<EngineFacts> {
        let mut facts = EngineFacts {
            flags: self.flags_with(totals),
            coefficients: Coefficients::default(),
            ..EngineFacts::default()
        };
        self.find_gpu(table, &mut facts);
        self.find_model(&mut facts);
        self.share_gpus(&mut facts, totals.engines_on_page, rank);
        Arc::new(facts)
    }

    /// The flags, completed by what the page says.
    fn flags_with(&self, totals: &EngineTotals) -> DeploymentFlags {
        let page = DeploymentFlags {
            kv_cache_dtype: totals.cache.cache_dtype.clone(),
            gpu_memory_utilization: totals.cache.gpu_memory_utilization,
            ..DeploymentFlags::default()
        };
        page.overridden_by(self.flags.clone())
    }

    fn find_gpu(&self, table: &GpuTable, facts: &mut EngineFacts) {
        let read = self.gpus.first();
        let name = match (&self.gpu, read) {
            (Some(name), _) if name == "none" => {
                return missing(
                    facts,
                    "gpu",
                    "gpu is none: no roof, no utilization, no bound",
                );
            }
            (Some(name), _) => name,
            (None, Some(read)) => &read.name,
            (None, None) => {
                return missing(
                    facts,
                    "gpu",
                    "no GPU is read and none is configured: no roof, no utilization, no bound; set --gpu, or give access to NVML",
                );
            }
        };
        match table.find(name) {
            Ok(gpu) => {
                facts.gpu = Some(gpu.clone());
                let origin = if self.gpu.is_some() {
                    "--gpu"
                } else {
                    "GPU source"
                };
                facts.origins.push(("gpu", format!("{origin}: {name}")));
            }
            Err(error) => match read.filter(|_| self.gpu.is_none()).and_then(derived) {
                Some(gpu) => {
                    facts
                        .origins
                        .push(("gpu", format!("derived from NVML: {name}")));
                    facts.gpu = Some(gpu);
                }
                None => missing(facts, "gpu", &error.to_string()),
            },
        }
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

    /// Gives the engine its GPUs: all if they are as many as the engines need, in order of rank.
    fn share_gpus(&self, facts: &mut EngineFacts, engines: usize, rank: usize) {
        if self.gpus.is_empty() {
            return;
        }
        let needed = facts
            .served
            .as_ref()
            .map_or(self.gpus.len() / engines.max(1), |served| {
                usize::try_from(served.deployment.parallelism.gpus_per_engine()).unwrap_or(1)
            });
        if needed * engines == self.gpus.len() {
            let own = self.gpus.iter().skip(rank * needed).take(needed);
            facts.gpu_uuids = own.map(|gpu| gpu.uuid.clone()).collect();
        } else {
            let why = format!(
                "{} GPUs are visible and {engines} engine(s) need {needed} each: which are whose is not known, so nothing measured on them is shown; set --gpu-devices",
                self.gpus.len()
            );
            missing(facts, "gpu_devices", &why);
        }
    }
}

fn missing(facts: &mut EngineFacts, fact: &'static str, why: &str) {
    facts.missing.push(Missing {
        fact,
        why: why.to_owned(),
    });
}

/// The ceilings of a GPU that no table has, from what NVML says of it.
fn derived(gpu: &GpuFacts) -> Option<GpuSpec> {
    let whole = |value: f64| format!("{value:.0}").parse().ok();
    let capability = ComputeCapability::parse(gpu.compute_capability.as_deref()?)?;
    Some(GpuSpec::derived(&NvmlFacts {
        name: gpu.name.clone(),
        compute_capability: capability,
        cuda_cores: whole(gpu.sm_count? * 128.0)?,
        max_sm_clock_mhz: gpu.max_sm_clock_mhz?,
        max_memory_clock_mhz: gpu.max_mem_clock_mhz?,
        memory_bus_bits: whole(gpu.memory_bus_bits?)?,
        memory: Bytes(gpu.memory_bytes.unwrap_or(0.0)),
        gpm: gpu.gpm_supported,
    }))
}

/// The `root` that `/v1/models` gives for the model served as `name`.
#[must_use]
pub fn root_of(models: &serde_json::Value, name: &str) -> Option<String> {
    let data = models.get("data")?.as_array()?;
    let entry = data
        .iter()
        .find(|entry| entry.get("id").and_then(|id| id.as_str()) == Some(name))
        .or_else(|| data.first())?;
    entry.get("root")?.as_str().map(str::to_owned)
}

/// The command line of the vLLM that answers at `url`, where it runs on this host and the process namespace is shared.
#[must_use]
pub fn command_line(url: &reqwest::Url) -> Option<Vec<String>> {
    let here = matches!(url.host_str()?, "localhost" | "127.0.0.1" | "[::1]");
    let port = url.port_or_known_default().filter(|_| here)?.to_string();
    let processes = std::fs::read_dir("/proc").ok()?;
    processes.flatten().find_map(|process| {
        let raw = std::fs::read(process.path().join("cmdline")).ok()?;
        serve_line(&String::from_utf8(raw).ok()?, &port)
    })
}

/// The arguments of a `cmdline` (words ended by NUL) that is a vLLM server on `port`; several servers may share a host.
fn serve_line(cmdline: &str, port: &str) -> Option<Vec<String>> {
    let words: Vec<&str> = cmdline
        .split('\0')
        .filter(|word| !word.is_empty())
        .collect();
    let server = words.iter().position(|word| {
        *word == "vllm" || word.ends_with("/vllm") || word.starts_with("vllm.entrypoints")
    })?;
    let arguments = &words[server + 1..];
    let serves =
        words[server].starts_with("vllm.entrypoints") || arguments.first() == Some(&"serve");
    let value = |place: usize| arguments.get(place + 1).copied();
    let own_port = arguments
        .iter()
        .enumerate()
        .find_map(|(place, word)| match word.strip_prefix("--port")? {
            "" => value(place),
            inline => inline.strip_prefix('='),
        })
        .unwrap_or("8000");
    (serves && own_port == port).then(|| arguments.iter().map(|&word| word.to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_that_of_the_served_name() {
        let models = serde_json::json!({"data": [
            {"id": "adapter", "root": "/adapters/a"},
            {"id": "llama", "root": "/models/llama"},
        ]});
        assert_eq!(root_of(&models, "llama").as_deref(), Some("/models/llama"));
        assert_eq!(root_of(&models, "other").as_deref(), Some("/adapters/a"));
        assert_eq!(root_of(&serde_json::json!({}), "llama"), None);
    }

    #[test]
    fn a_command_line_is_that_of_the_server_on_the_port() {
        let line = |text: &str, port| serve_line(&text.replace(' ', "\0"), port);
        let words = line(
            "/usr/bin/python3 /opt/bin/vllm serve m --port 8123 -tp 2",
            "8123",
        )
        .unwrap();
        assert_eq!(words, ["serve", "m", "--port", "8123", "-tp", "2"]);
        assert_eq!(
            line("python3 /opt/bin/vllm serve m --port 8123", "8000"),
            None
        );
        assert!(
            line(
                "python3 -m vllm.entrypoints.openai.api_server --model m",
                "8000"
            )
            .is_some()
        );
        assert_eq!(line("/opt/bin/vllm bench serve", "8000"), None);
    }
}
