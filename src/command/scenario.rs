//! The scenario of a load on a deployment, as `sweep` and `analyze` predict it.

use anyhow::Context;

use crate::config::Tables;
use crate::source::lookup::{find_config, with_draft};
use roofline::predict::{Scenario, Serving, Targets, Workload};
use roofline::spec::deployment::DeploymentFlags;
use roofline::spec::model::ModelSpec;

use super::static_roofline::name_of;

/// The scenario of `serving` with the deployment `flags` on the GPU `gpu`, with the coefficients of `tables`; `None` and `none` leave out
/// the roof.
///
/// # Errors
/// A model that is unknown or not found, or a GPU that is not in `tables`.
pub(super) fn scenario(
    flags: DeploymentFlags,
    gpu: Option<&str>,
    tables: &Tables,
    serving: Serving,
    targets: Targets,
) -> anyhow::Result<Scenario> {
    let gpu = match gpu.filter(|name| *name != "none") {
        Some(name) => Some(tables.gpus.find(name)?.clone()),
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
        flags: with_draft(flags),
        coefficients: tables.coefficients,
        workload: Workload::Serving(serving),
        targets,
    })
}
