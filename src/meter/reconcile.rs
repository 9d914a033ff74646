//! Compares the model with other sources for the same work: the GPU's counters and vLLM's own estimate; and detects modelled work that
//! exceeds a ceiling.

use roofline::spec::precision::Precision;
use roofline::units::{Bytes, Flops, Seconds, ratio};

use super::account::Account;
use roofline::engine::EngineFacts;

/// A larger excess over a ceiling is not an edge effect of the window.
const TOLERANCE: f64 = 1.05;

/// The modelled work of a span, all GPUs of the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ModelledSpan {
    /// FLOPs.
    pub flops: Option<Flops>,
    /// HBM bytes.
    pub bytes: Option<Bytes>,
    /// Bytes between the GPUs of an engine that has several.
    pub interconnect: Option<Bytes>,
}

/// References for the same span, all GPUs of the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct References {
    /// HBM bytes that GPM measured.
    pub gpm_bytes: Option<Bytes>,
    /// NVLink bytes sent, as GPM measured them.
    pub nvlink_bytes: Option<Bytes>,
    /// HBM bytes that vLLM estimates, with `--enable-mfu-metrics`.
    pub vllm_bytes: Option<Bytes>,
    /// FLOPs that vLLM estimates, with `--enable-mfu-metrics`.
    pub vllm_flops: Option<Flops>,
    /// FLOPs that the active tensor pipes could have done: tensor activity × SM clock × rate. Padded tiles count, so at small batches it is
    /// far above the useful work.
    pub tensor_flops: Option<Flops>,
}

impl References {
    /// The references in `account`.
    #[must_use]
    pub fn of(account: &Account, facts: &EngineFacts) -> Self {
        let hardware = &account.hardware;
        Self {
            gpm_bytes: hardware.measured_hbm_bytes(
                account.seconds,
                facts.gpus_read(),
                facts.gpus(),
            ),
            nvlink_bytes: hardware.measured_nvlink_bytes(
                account.seconds,
                facts.gpus_read(),
                facts.gpus(),
            ),
            vllm_bytes: Some(account.vllm_estimated_bytes).filter(|bytes| *bytes > Bytes::ZERO),
            vllm_flops: Some(account.vllm_estimated_flops).filter(|flops| *flops > Flops::ZERO),
            tensor_flops: facts
                .main_precision()
                .and_then(|precision| tensor_flops(account, facts, precision)),
        }
    }
}

/// Cycles with an active tensor pipe, at the rate of `precision`; scaled to the whole span if at least half of it was measured, and to GPUs
/// that are not read.
fn tensor_flops(account: &Account, facts: &EngineFacts, precision: Precision) -> Option<Flops> {
    let per_megahertz = facts.gpu.as_ref()?.peak_at_clock(precision, 1.0)?;
    let hardware = &account.hardware;
    let covered = ratio(
        hardware.tensor_known_seconds.0,
        (account.seconds * facts.gpus_read()).0,
    )?;
    let all = facts.gpus() / facts.gpus_read();
    let active = Seconds(hardware.tensor_mhz_seconds / covered * all);
    (covered >= 0.5).then(|| per_megahertz * active)
}

/// The model's value divided by each available reference: `(quantity, reference, ratio)`. 1 is agreement.
#[must_use]
pub fn ratios(
    modelled: &ModelledSpan,
    references: &References,
) -> Vec<(&'static str, &'static str, f64)> {
    let of_bytes = |reference: Option<Bytes>| ratio(modelled.bytes?.0, reference?.0);
    let of_flops = |reference: Option<Flops>| ratio(modelled.flops?.0, reference?.0);
    let sent = || ratio(modelled.interconnect?.0, references.nvlink_bytes?.0);
    [
        ("hbm_bytes", "gpm", of_bytes(references.gpm_bytes)),
        ("hbm_bytes", "vllm", of_bytes(references.vllm_bytes)),
        ("flops", "vllm", of_flops(references.vllm_flops)),
        ("flops", "tensor_pipe", of_flops(references.tensor_flops)),
        ("interconnect_bytes", "nvlink", sent()),
    ]
    .into_iter()
    .filter_map(|(quantity, reference, ratio)| Some((quantity, reference, ratio?)))
    .collect()
}

/// Ceilings that the modelled work of a span exceeds, which is impossible for real work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Impossible {
    /// More FLOPs than the GPUs can do at their clock.
    pub compute: bool,
    /// More bytes than the memory bus can carry.
    pub memory: bool,
}

impl Impossible {
    /// Whether `account` exceeds a ceiling; `None` without a model or a roof.
    #[must_use]
    pub fn of(account: &Account, facts: &EngineFacts) -> Option<Self> {
        let (work, sheet, bandwidth) = (account.work?, facts.peak_flops()?, facts.peak_hbm()?);
        let clocked = facts.peak_flops_at(account.hardware.sm_clock_mhz());
        let time = account.busy * TOLERANCE;
        Some(Self {
            compute: work.flops.total() / clocked.unwrap_or(sheet).max(sheet) > time,
            memory: work.bytes.total().total() / bandwidth > time,
        })
    }
}
