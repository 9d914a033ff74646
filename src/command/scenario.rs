//! The scenario of a load on a deployment: what `sweep` and `analyze` predict.

use anyhow::Context;

use crate::source::lookup::find_config;
use roofline::cost::coefficients::Coefficients;
use roofline::predict::{Scenario, Serving, Targets, Workload};
use roofline::spec::deployment::DeploymentFlags;
use roofline::spec::gpu::GpuTable;
use roofline::spec::model::ModelSpec;

use super::static_roofline::name_of;

/// The scenario in which `flags` does `serving` on the GPU called `gpu`; `None` and `none` leave out the roof.
///
/// # Errors
/// A model that is not known or not found, or a GPU that is not in `table`.
pub(super) fn scenario(
    flags: DeploymentFlags,
    gpu: Option<&str>,
    table: &GpuTable,
    serving: Serving,
    targets: Targets,
) -> anyhow::Result<Scenario> {
    let gpu = match gpu.filter(|name| *name != "none") {
        Some(name) => Some(table.find(name)?.clone()),
        None => None,
    };
    let id = flags
        .model
        .as_deref()
        .context("the model is not known; name it with --model")?;
    let (path, text) = find_config(id)?;
    Ok(Scenario {
        name: name_of(id, &path),
        model: ModelSpec::from_json(&text).with_context(|| path.display().to_string())?,
        gpu,
        flags,
        coefficients: Coefficients::default(),
        workload: Workload::Serving(serving),
        targets,
    })
}
