//! `gpus`: lists the known GPUs, or the data of one.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::output::{self, OutputFormat};
use super::usage::UsageError;
use crate::config::Settings;
use crate::config::flags::SettingsFlags;
use roofline::spec::gpu::GpuSpec;
use roofline::spec::precision::Precision;

/// Version of the JSON form.
const SCHEMA: u32 = 1;

/// Which GPUs, and how.
#[derive(Args, Clone, Debug)]
pub struct GpusArgs {
    /// Id, alias or NVML product name [default: all]
    pub name: Option<String>,
    /// Configuration file (YAML) with your own GPUs
    #[arg(long = "config.file", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    pub format: OutputFormat,
}

/// Prints the table with the settings' additions, or one GPU.
///
/// # Errors
/// A [`UsageError`] for an unknown or ambiguous name, with the candidates.
pub fn run(args: &GpusArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let settings = Settings::load(&SettingsFlags {
        config_file: args.config_file.clone(),
        ..SettingsFlags::default()
    })?;
    let table = settings.tables()?.gpus;
    let gpus: Vec<&GpuSpec> = match &args.name {
        Some(name) => vec![table.find(name).map_err(UsageError::new)?],
        None => table.iter().collect(),
    };
    match (args.format, args.name.is_some()) {
        (OutputFormat::Json, _) => {
            let gpus: Vec<Value> = gpus.into_iter().map(facts).collect();
            let document = json!({"schema": SCHEMA, "gpus": gpus});
            output::write_json(&document, out)?;
        }
        (OutputFormat::Table, true) => write_details(&gpus, out)?,
        (OutputFormat::Table, false) => write_list(&gpus, out)?,
    }
    Ok(())
}

/// Everything about `gpu`, in base units.
fn facts(gpu: &GpuSpec) -> Value {
    let by_precision = |value: &dyn Fn(Precision) -> Value| -> Value {
        let entries = gpu.peaks.iter();
        entries
            .map(|(precision, _)| (precision.name().to_owned(), value(precision)))
            .collect()
    };
    json!({
        "id": gpu.id,
        "name": gpu.name,
        "vendor": gpu.vendor,
        "architecture": gpu.architecture,
        "compute_capability": gpu.compute_capability.map(|capability| capability.to_string()),
        "sm_count": gpu.sm_count,
        "boost_clock_mhz": gpu.boost_clock_mhz,
        "peak_flops_per_second": by_precision(&|precision| json!(gpu.peak(precision))),
        "attainable_flops": by_precision(&|precision| json!(gpu.attainable_flops(precision))),
        "hbm_bytes_per_second": gpu.hbm_bandwidth,
        "attainable_hbm": gpu.attainable_hbm,
        "memory_bytes": gpu.memory,
        "l2_bytes": gpu.l2,
        "link_bytes_per_second": gpu.link_bandwidth(),
        "nvlink": gpu.nvlink_per_direction.is_some(),
        "tdp_watts": gpu.tdp_watts,
        "gpm": gpu.gpm,
        "list_price": gpu.list_price,
        "provenance": gpu.provenance,
        "confidence": gpu.confidence,
        "notes": gpu.notes,
    })
}

fn write_list(gpus: &[&GpuSpec], out: &mut impl Write) -> anyhow::Result<()> {
    let mut table = output::table([
        "id",
        "CC",
        "fp16",
        "bf16",
        "fp8",
        "int8",
        "fp4",
        "memory",
        "bandwidth",
        "link",
        "attainable",
    ]);
    for gpu in gpus {
        let peak = |precision| {
            let peak = gpu.peak(precision);
            peak.map_or_else(|| "–".to_owned(), |peak| format!("{:.0}", peak.0 / 1e12))
        };
        table.add_row([
            gpu.id.clone(),
            gpu.compute_capability
                .map_or_else(|| "–".to_owned(), |capability| capability.to_string()),
            peak(Precision::Fp16),
            peak(Precision::Bf16),
            peak(Precision::Fp8),
            peak(Precision::Int8),
            peak(Precision::Fp4),
            format!("{:.0} GiB", gpu.memory.0 / f64::from(1 << 30)),
            format!("{:.0} GB/s", gpu.hbm_bandwidth.0 / 1e9),
            format!("{:.0} GB/s", gpu.link_bandwidth().0 / 1e9),
            gpu.attainable_hbm.origin.name().to_owned(),
        ]);
    }
    output::write_table(&table, out)?;
    writeln!(
        out,
        "Dense peaks in TFLOP/s (int8: TOP/s), links one way. `gpus NAME` shows the rest."
    )?;
    Ok(())
}

fn write_details(gpus: &[&GpuSpec], out: &mut impl Write) -> anyhow::Result<()> {
    for gpu in gpus {
        writeln!(out, "{} ({})", gpu.name, gpu.id)?;
        let mut table = output::table([
            "ceiling",
            "data sheet",
            "attainable",
            "ridge at data sheet",
            "origin",
        ]);
        let attainable = gpu.attainable_hbm;
        table.add_row([
            "memory bandwidth".to_owned(),
            format!("{:.0} GB/s", gpu.hbm_bandwidth.0 / 1e9),
            format!(
                "{:.0} GB/s",
                gpu.hbm_bandwidth.0 * attainable.fraction / 1e9
            ),
            String::new(),
            attainable.origin.name().to_owned(),
        ]);
        for (precision, peak) in gpu.peaks.iter() {
            let attainable = gpu.attainable_flops(precision);
            table.add_row([
                format!("{precision} compute"),
                format!("{:.1} TFLOP/s", peak.0 / 1e12),
                format!("{:.1} TFLOP/s", peak.0 * attainable.fraction / 1e12),
                format!("{:.0} FLOP/B", (peak / gpu.hbm_bandwidth).0),
                attainable.origin.name().to_owned(),
            ]);
        }
        output::write_table(&table, out)?;
        if let Some(price) = &gpu.list_price {
            let (dollars, seller, as_of) = (price.dollars_per_hour, &price.seller, &price.as_of);
            writeln!(
                out,
                "${dollars:.2} per hour at {seller}, {as_of}: {}",
                price.source
            )?;
        }
        if let Some(notes) = &gpu.notes {
            writeln!(out, "{notes}")?;
        }
    }
    Ok(())
}
