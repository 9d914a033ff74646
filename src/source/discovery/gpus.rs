//! Determines the GPU of an engine, its ceilings, and which of the readable GPUs belong to the engine.

use crate::sample::gpu::{Availability, GpuIdentity};
use roofline::engine::EngineFacts;
use roofline::spec::gpu::{ComputeCapability, GpuSpec, GpuTable, NvmlFacts};
use roofline::units::Bytes;

use super::{DiscoveryInputs, missing};

impl DiscoveryInputs {
    /// The ceilings of the engine's GPU: by the configured name, otherwise by that of the GPUs read.
    pub(super) fn find_gpu(&self, table: &GpuTable, facts: &mut EngineFacts) {
        let own = self.gpus.iter().find(|gpu| self.computes_on(gpu));
        let read = own.or(self.gpus.first());
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
        let spec = match read.filter(|read| read.is_mig_slice) {
            None => Some(spec),
            Some(slice) => sliced(spec, slice),
        };
        if spec.is_none() {
            return missing(
                facts,
                "gpu",
                "the engine runs on a MIG slice whose size is not known, so its ceilings are not known: read NVML, or add the slice to `gpus` and name it with --gpu",
            );
        }
        facts.origins.push(("gpu", format!("{origin}: {name}")));
        let bridged = read.is_none_or(|read| read.nvlink != Some(false));
        facts.gpu = spec.map(|spec| if bridged { spec } else { spec.without_nvlink() });
    }

    /// Assigns GPUs to the engine: all if there are as many as the engines need, otherwise those that vLLM's processes compute on, in order
    /// of rank; for an engine on several nodes, its part on this node.
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
        let all: Vec<&GpuIdentity> = self.gpus.iter().collect();
        let computing = all.iter().copied().filter(|gpu| self.computes_on(gpu));
        let Some(own) = chosen([&all, &computing.collect()], needed, engines) else {
            let why = format!(
                "{} GPUs are visible and {engines} engine(s) need {needed} each: which are whose is not known, so nothing measured on them is shown; set --gpu-devices, or share vLLM's process namespace",
                all.len()
            );
            return missing(facts, "gpu_devices", &why);
        };
        let own: Vec<_> = own.into_iter().skip(rank * needed).take(needed).collect();
        if let Some(shared) = own.iter().find(|gpu| self.is_shared(gpu)) {
            let why = format!(
                "others compute on GPU {} too, and what it counts cannot be split between them: nothing measured on it is shown",
                shared.uuid
            );
            return missing(facts, "gpu_alone", &why);
        }
        note_gpm(facts, &own);
        facts.gpu_uuids = own.into_iter().map(|gpu| gpu.uuid.clone()).collect();
    }

    /// Whether a process of this vLLM computes on `gpu`.
    fn computes_on(&self, gpu: &GpuIdentity) -> bool {
        let mut processes = gpu.processes.iter().flatten();
        processes.any(|process| self.own_processes.contains(process))
    }

    /// Whether another process computes on `gpu`. If vLLM's own processes are unknown, one process is assumed to be vLLM's, and all of them
    /// if `--gpu-devices` assigned the GPU to it.
    fn is_shared(&self, gpu: &GpuIdentity) -> bool {
        if gpu.shared_by_pods {
            return true;
        }
        let processes = gpu.processes.as_deref().unwrap_or_default();
        if self.own_processes.is_empty() {
            return processes.len() > 1 && !self.devices_are_told;
        }
        processes
            .iter()
            .any(|process| !self.own_processes.contains(process))
    }
}

/// The first of `offers` with as many GPUs as `engines` need. A single engine may have the rest on other nodes, the same number on each:
/// then the last offer that is such a part.
fn chosen<T: Clone>(offers: [&Vec<T>; 2], needed: usize, engines: usize) -> Option<Vec<T>> {
    let is_whole = |gpus: &&&Vec<T>| gpus.len() == needed * engines;
    let is_part =
        |gpus: &&&Vec<T>| engines == 1 && !gpus.is_empty() && needed.is_multiple_of(gpus.len());
    let offer = offers
        .iter()
        .find(is_whole)
        .or_else(|| offers.iter().rev().find(is_part))?;
    Some((*offer).clone())
}

/// Without GPM, HBM traffic is only modelled: notes the reason.
fn note_gpm(facts: &mut EngineFacts, own: &[&GpuIdentity]) {
    for gpu in own {
        if let Availability::Absent(cause) = gpu.gpm {
            let why = format!(
                "GPM of GPU {}: {}; HBM traffic and tensor activity are not measured",
                gpu.uuid,
                cause.as_str()
            );
            return missing(facts, "gpm", &why);
        }
    }
}

/// The ceilings of a MIG slice of `whole`: by its SMs, and by its memory in the eighths that MIG uses.
fn sliced(whole: GpuSpec, slice: &GpuIdentity) -> Option<GpuSpec> {
    let compute = slice.sm_count? / f64::from(whole.sm_count?);
    let memory = (slice.memory_bytes? / whole.memory.0 * 8.0).round();
    Some(whole.sliced(compute.min(1.0), memory.clamp(1.0, 8.0) / 8.0))
}

/// The ceilings of a GPU that is not in a table, from NVML data.
fn derived(gpu: &GpuIdentity) -> Option<GpuSpec> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn gpus(count: usize) -> Vec<usize> {
        (0..count).collect()
    }

    #[test]
    fn an_engine_gets_all_gpus_or_those_it_computes_on() {
        assert_eq!(chosen([&gpus(2), &gpus(0)], 2, 1), Some(gpus(2)));
        assert_eq!(chosen([&gpus(8), &gpus(4)], 2, 2), Some(gpus(4)));
        assert_eq!(chosen([&gpus(8), &gpus(0)], 2, 1), None);
        assert_eq!(chosen([&gpus(8), &gpus(0)], 2, 2), None);
    }

    #[test]
    fn an_engine_over_several_nodes_gets_its_part_on_this_one() {
        assert_eq!(chosen([&gpus(8), &gpus(0)], 16, 1), Some(gpus(8)));
        assert_eq!(chosen([&gpus(8), &gpus(4)], 16, 1), Some(gpus(4)));
        assert_eq!(chosen([&gpus(3), &gpus(0)], 16, 1), None);
        assert_eq!(chosen([&gpus(8), &gpus(0)], 16, 2), None);
    }
}
