//! The YAML form of a GPU table: every field is optional, so that a user's entry can override single fields.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::table::GpuTableError;
use super::{
    Attainable, CoefficientOrigin, ComputeCapability, Confidence, GpuProvenance, GpuSpec,
    ListPrice, assumed_hbm_fraction,
};
use crate::spec::precision::{ByPrecision, Precision};
use crate::units::{Bytes, BytesPerSecond, FlopsPerSecond};

/// A table file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GpuFile {
    pub(super) gpus: Vec<GpuEntry>,
}

/// One entry, in the units of vendor datasheets.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GpuEntry {
    pub(super) id: String,
    pub(super) vendor: Option<String>,
    pub(super) architecture: Option<String>,
    pub(super) names: Option<Vec<String>>,
    pub(super) aliases: Option<Vec<String>>,
    pub(super) r#match: Option<String>,
    pub(super) compute_capability: Option<String>,
    pub(super) sm_count: Option<u32>,
    pub(super) boost_clock_mhz: Option<f64>,
    pub(super) max_sm_clock_mhz: Option<f64>,
    pub(super) peak_tflops: Option<BTreeMap<String, f64>>,
    pub(super) flop_per_clock_per_sm: Option<BTreeMap<String, f64>>,
    pub(super) memory_bandwidth_gbs: Option<f64>,
    pub(super) memory_bus_bits: Option<u32>,
    pub(super) memory_clock_mhz: Option<f64>,
    pub(super) memory_mib: Option<f64>,
    pub(super) l2_mb: Option<f64>,
    pub(super) nvlink_gbs_per_direction: Option<f64>,
    pub(super) pcie_generation: Option<u32>,
    pub(super) tdp_watts: Option<f64>,
    pub(super) gpm: Option<bool>,
    pub(super) attainable: Option<BTreeMap<String, f64>>,
    pub(super) attainable_source: Option<String>,
    pub(super) list_price: Option<ListPrice>,
    pub(super) source: Option<String>,
    pub(super) confidence: Option<Confidence>,
    pub(super) notes: Option<String>,
}

/// Uses each field of `$over` that is set, otherwise `$base`'s.
macro_rules! overlay {
    ($base:ident, $over:ident: $($field:ident),+ $(,)?) => {
        $(if $over.$field.is_some() { $base.$field = $over.$field; })+
    };
}

impl GpuEntry {
    /// This entry with the fields that `over` sets replaced.
    pub(super) fn overridden_by(mut self, over: Self) -> Self {
        overlay!(self, over: vendor, architecture, names, aliases, r#match, compute_capability, sm_count, boost_clock_mhz,
            max_sm_clock_mhz, peak_tflops, flop_per_clock_per_sm, memory_bandwidth_gbs, memory_bus_bits, memory_clock_mhz,
            memory_mib, l2_mb, nvlink_gbs_per_direction, pcie_generation, tdp_watts, gpm, attainable, attainable_source,
            list_price, source, confidence, notes);
        self
    }

    /// The checked form.
    pub(super) fn spec(&self, provenance: GpuProvenance) -> Result<GpuSpec, GpuTableError> {
        let vendor = self.vendor.clone().unwrap_or_else(|| "nvidia".to_owned());
        let compute_capability = self
            .compute_capability
            .as_deref()
            .and_then(ComputeCapability::parse);
        let attainable = self.attainable.as_ref();
        let measured_hbm = attainable.and_then(|fractions| fractions.get("memory").copied());
        Ok(GpuSpec {
            name: self
                .names
                .as_ref()
                .and_then(|names| names.first())
                .unwrap_or(&self.id)
                .clone(),
            architecture: self.architecture.clone().unwrap_or_default(),
            compute_capability,
            sm_count: self.sm_count,
            boost_clock_mhz: self.boost_clock_mhz,
            max_sm_clock_mhz: self.max_sm_clock_mhz,
            peaks: self.peaks()?,
            flops_per_clock_per_sm: self.precisions(self.flop_per_clock_per_sm.as_ref())?,
            hbm_bandwidth: BytesPerSecond(
                self.required("memory_bandwidth_gbs", self.memory_bandwidth_gbs)? * 1e9,
            ),
            memory_bus_bits: self.memory_bus_bits,
            memory_clock_mhz: self.memory_clock_mhz,
            memory: Bytes(self.required("memory_mib", self.memory_mib)? * 1024.0 * 1024.0),
            l2: Bytes(self.l2_mb.unwrap_or(0.0) * 1e6),
            nvlink_per_direction: self
                .nvlink_gbs_per_direction
                .map(|rate| BytesPerSecond(rate * 1e9)),
            pcie_generation: self.pcie_generation.unwrap_or(3),
            tdp_watts: self.tdp_watts,
            gpm: self.gpm.unwrap_or(false),
            attainable_hbm: Attainable {
                fraction: measured_hbm
                    .unwrap_or_else(|| assumed_hbm_fraction(&vendor, compute_capability)),
                origin: if measured_hbm.is_some() {
                    CoefficientOrigin::Measured
                } else {
                    CoefficientOrigin::Assumed
                },
            },
            measured_flops_fractions: self.measured_flops_fractions()?,
            list_price: self.list_price()?,
            provenance,
            confidence: self.confidence.unwrap_or_default(),
            notes: self.notes.clone(),
            id: self.id.clone(),
            vendor,
        })
    }

    fn peaks(&self) -> Result<ByPrecision<FlopsPerSecond>, GpuTableError> {
        self.required("peak_tflops", self.peak_tflops.as_ref())?;
        let peaks = self.precisions(self.peak_tflops.as_ref())?;
        Ok(peaks
            .iter()
            .map(|(precision, tflops)| (precision, FlopsPerSecond(tflops * 1e12)))
            .collect())
    }

    /// The measured fractions by precision. bf16 and fp16 run on the same units, so one value applies to both.
    fn measured_flops_fractions(&self) -> Result<ByPrecision<f64>, GpuTableError> {
        let flops_only = self.attainable.as_ref().map(|fractions| {
            let mut fractions = fractions.clone();
            fractions.remove("memory");
            fractions
        });
        let mut fractions = self.precisions(flops_only.as_ref())?;
        if let (Some(fraction), None) = (
            fractions.get(Precision::Bf16),
            fractions.get(Precision::Fp16),
        ) {
            fractions.set(Precision::Fp16, fraction);
        }
        Ok(fractions)
    }

    fn list_price(&self) -> Result<Option<ListPrice>, GpuTableError> {
        let price = self.list_price.clone();
        match price.as_ref().map(|price| price.dollars_per_hour) {
            Some(dollars) if !(dollars > 0.0 && dollars.is_finite()) => {
                Err(self.invalid(format!("list_price: {dollars} is not a price")))
            }
            _ => Ok(price),
        }
    }

    fn precisions(
        &self,
        values: Option<&BTreeMap<String, f64>>,
    ) -> Result<ByPrecision<f64>, GpuTableError> {
        values
            .into_iter()
            .flatten()
            .map(|(name, &value)| {
                let precision = Precision::ALL
                    .into_iter()
                    .find(|precision| precision.name() == name);
                let positive = value > 0.0 && value.is_finite();
                match precision {
                    Some(precision) if positive => Ok((precision, value)),
                    Some(_) => {
                        Err(self.invalid(format!("{name}: {value} is not a positive number")))
                    }
                    None => Err(self.invalid(format!("unknown precision {name:?}"))),
                }
            })
            .collect()
    }

    fn required<T>(&self, field: &str, value: Option<T>) -> Result<T, GpuTableError> {
        value.ok_or_else(|| self.invalid(format!("{field} is missing")))
    }

    fn invalid(&self, problem: String) -> GpuTableError {
        GpuTableError::Invalid {
            id: self.id.clone(),
            problem,
        }
    }
}
