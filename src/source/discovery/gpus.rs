//! Which GPU an engine computes on, what its ceilings are, and which of the GPUs that are read are its own.

use crate::meter::facts::EngineFacts;
use crate::sample::gpu::{Access, GpuFacts};
use crate::spec::gpu::{ComputeCapability, GpuSpec, GpuTable, NvmlFacts};
use crate::units::Bytes;

use super::{Clues, missing};

impl Clues {
    /// The ceilings of the engine's GPU: by the name that is configured, else by that of the GPUs read.
    pub(super) fn find_gpu(&self, table: &GpuTable, facts: &mut EngineFacts) {
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
        let read = read.filter(|_| self.gpu.is_none());
        let (spec, origin) = match table.find(name) {
            Ok(gpu) if self.gpu.is_some() => (gpu.clone(), "--gpu"),
            Ok(gpu) => (gpu.clone(), "GPU source"),
            Err(error) => match read.and_then(derived) {
                Some(gpu) => (gpu, "derived from NVML"),
                None => return missing(facts, "gpu", &error.to_string()),
            },
        };
        facts.origins.push(("gpu", format!("{origin}: {name}")));
        facts.gpu = Some(match read.and_then(|read| read.slice) {
            Some(slice) => spec.sliced(slice.compute, slice.memory),
            None => spec,
        });
    }

    /// Gives the engine its GPUs: all if they are as many as the engines need, else those that vLLM's processes compute on, in order
    /// of rank.
    pub(super) fn share_gpus(&self, facts: &mut EngineFacts, engines: usize, rank: usize) {
        if self.gpus.is_empty() {
            return;
        }
        let needed = facts
            .served
            .as_ref()
            .map_or(self.gpus.len() / engines.max(1), |served| {
                usize::try_from(served.deployment.parallelism.gpus_per_engine()).unwrap_or(1)
            });
        let all: Vec<&GpuFacts> = self.gpus.iter().collect();
        let computing = all.iter().copied().filter(|gpu| self.computes_on(gpu));
        let Some(own) = [all.clone(), computing.collect()]
            .into_iter()
            .find(|gpus| gpus.len() == needed * engines)
        else {
            let why = format!(
                "{} GPUs are visible and {engines} engine(s) need {needed} each: which are whose is not known, so nothing measured on them is shown; set --gpu-devices, or share vLLM's process namespace",
                all.len()
            );
            return missing(facts, "gpu_devices", &why);
        };
        let own: Vec<_> = own.into_iter().skip(rank * needed).take(needed).collect();
        if let Some(shared) = own.iter().find(|gpu| self.is_shared(gpu)) {
            let why = format!(
                "other processes compute on GPU {} too, and what it counts cannot be split between them: nothing measured on it is shown",
                shared.uuid
            );
            return missing(facts, "gpu_alone", &why);
        }
        note_gpm(facts, &own);
        facts.gpu_uuids = own.into_iter().map(|gpu| gpu.uuid.clone()).collect();
    }

    /// Whether a process of this vLLM computes on `gpu`.
    fn computes_on(&self, gpu: &GpuFacts) -> bool {
        let mut processes = gpu.processes.iter().flatten();
        processes.any(|process| self.own_processes.contains(process))
    }

    /// Whether somebody else computes on `gpu`. Where vLLM's own processes are not known, one is taken for its own, and all of them
    /// where the GPU was given to it by `--gpu-devices`.
    fn is_shared(&self, gpu: &GpuFacts) -> bool {
        let processes = gpu.processes.as_deref().unwrap_or_default();
        if self.own_processes.is_empty() {
            return processes.len() > 1 && !self.devices_are_told;
        }
        processes
            .iter()
            .any(|process| !self.own_processes.contains(process))
    }
}

/// Without GPM, HBM traffic is modelled only: says why.
fn note_gpm(facts: &mut EngineFacts, own: &[&GpuFacts]) {
    for gpu in own {
        if let Access::Absent(cause) = gpu.gpm {
            let why = format!(
                "GPM of GPU {}: {}; HBM traffic and tensor activity are not measured",
                gpu.uuid,
                cause.as_str()
            );
            return missing(facts, "gpm", &why);
        }
    }
}

/// The ceilings of a GPU that no table has, from what NVML says of it.
fn derived(gpu: &GpuFacts) -> Option<GpuSpec> {
    let whole = |value: f64| format!("{value:.0}").parse().ok();
    let capability = ComputeCapability::parse(gpu.compute_capability.as_deref()?)?;
    Some(GpuSpec::derived(&NvmlFacts {
        name: gpu.name.clone(),
        compute_capability: capability,
        sm_count: whole(gpu.sm_count?)?,
        max_sm_clock_mhz: gpu.max_sm_clock_mhz?,
        max_memory_clock_mhz: gpu.max_mem_clock_mhz?,
        memory_bus_bits: whole(gpu.memory_bus_bits?)?,
        memory: Bytes(gpu.memory_bytes.unwrap_or(0.0)),
        gpm: gpu.gpm.is_offered(),
    }))
}
