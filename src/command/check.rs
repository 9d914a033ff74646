//! `check`: reports what it finds of vLLM, the model and the GPUs, and what is missing.

use std::io::Write;

use crate::config::flags::SettingsFlags;
use crate::sample::engine::{Counter, EngineKey, EngineTotals};
use crate::sample::gpu::{self, GpuIdentity, GpuReading};
use crate::sample::metrics::{MetricQuantity, VllmMetric};
use crate::sampler::{GpuLook, Sampler, now};
use crate::source::vllm::VllmSource;

use roofline::engine::EngineFacts;
use roofline::units::Seconds;

use super::output::{OutputFormat, table, write_json, write_table};
use super::usage::UsageError;
use super::{gpu_source, local_vllm, serve};

/// Arguments of `check`.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub format: OutputFormat,
    /// Settings of `serve`.
    #[command(flatten)]
    pub settings: SettingsFlags,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
struct CheckFinding {
    what: String,
    found: bool,
    note: String,
}

/// Checks the settings and reads every source once.
///
/// # Errors
/// Invalid settings; vLLM cannot be reached.
pub fn run(args: &CheckArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let settings = local_vllm::settings(&args.settings)?;
    serve::check(&settings)?;
    let gpu = gpu_source::open(&settings)?;
    let tables = settings.tables()?;
    let (findings, reached) = serve::block_on(async move {
        let url = settings.vllm_url.only().map_err(UsageError::of)?;
        let vllm =
            VllmSource::new(url, &settings.vllm_request_options()).map_err(UsageError::of)?;
        let (mut sampler, _) = Sampler::new(settings, &tables, gpu).map_err(UsageError::of)?;
        let gpus = of_gpus(&mut sampler).await;
        Ok(match vllm.read_whole(now).await {
            Ok(reading) => {
                let mut findings = of_page(&reading.engines);
                findings.extend(gpus);
                findings.extend(of_facts(&mut sampler, &reading.engines).await);
                (findings, true)
            }
            Err(error) => {
                let mut findings = vec![finding("vLLM", false, error.to_string())];
                findings.extend(gpus);
                (findings, false)
            }
        })
    })?;
    match args.format {
        OutputFormat::Json => {
            write_json(&serde_json::json!({"schema": 1, "findings": findings}), out)?
        }
        OutputFormat::Table => {
            let mut rows = table(["what", "found", "note"]);
            for CheckFinding { what, found, note } in &findings {
                rows.add_row([
                    what.as_str(),
                    if *found { "yes" } else { "no" },
                    note.as_str(),
                ]);
            }
            write_table(&rows, out)?;
        }
    }
    anyhow::ensure!(reached, "vLLM cannot be read");
    Ok(())
}

fn finding(what: impl Into<String>, found: bool, note: impl Into<String>) -> CheckFinding {
    CheckFinding {
        what: what.into(),
        found,
        note: note.into(),
    }
}

/// Which vLLM metric families are present.
fn of_page(engines: &[EngineTotals]) -> Vec<CheckFinding> {
    let mut findings = vec![finding(
        "vLLM",
        true,
        format!("{} engine(s)", engines.len()),
    )];
    let Some(engine) = engines.first() else {
        return findings;
    };
    findings.extend(MetricQuantity::all().map(|quantity| of_metric(engine, quantity)));
    if !engine.has(MetricQuantity::Counter(Counter::PromptTokensComputed)) {
        findings.push(finding(
            "computed prompt tokens",
            false,
            "not counted by vLLM before 0.16: estimated from its lookups in the prefix cache",
        ));
    }
    if engine.adapters.is_some() {
        findings.push(finding(
            "LoRA",
            true,
            "adapters are counted at the rank of --max-lora-rank, if --enable-lora is known from vLLM's command line or the configuration",
        ));
    }
    if !engine.single_api_server {
        findings.push(finding(
            "one API server",
            false,
            "several share the page: steps are estimated from the running batch",
        ));
    }
    if engine.published_every > Seconds::ZERO {
        let note = format!(
            "Ray publishes vLLM's metrics about every {:.0} s, so a stall shows later; its histograms have no sums, so there are no means",
            engine.published_every.0
        );
        findings.push(finding("Ray Serve", true, note));
    }
    let capacity = engine.kv_capacity_tokens();
    findings.push(finding("KV capacity", capacity.is_some(), shown(capacity)));
    findings
}

/// Whether a vLLM metric is present: its value, or what is absent without it.
fn of_metric(engine: &EngineTotals, quantity: MetricQuantity) -> CheckFinding {
    let note = match quantity {
        MetricQuantity::Counter(counter) => shown(engine.counters.get(counter)),
        MetricQuantity::Gauge(gauge) => shown(engine.gauges.get(gauge)),
        MetricQuantity::Distribution(which) => {
            let histogram = engine.histograms.get(which);
            histogram.map_or_else(String::new, |histogram| {
                format!("{} observations", histogram.count)
            })
        }
        MetricQuantity::CacheConfig | MetricQuantity::Adapters => String::new(),
    };
    let missing = engine
        .missing
        .iter()
        .find(|missing| missing.metric == quantity.metric().name.text);
    let what = format!("vllm:{}", quantity.metric().name.text);
    match missing {
        Some(missing) => finding(what, false, missing.to_string()),
        None if engine.has(quantity) => finding(what, true, note),
        None => finding(what, false, optional(quantity.metric())),
    }
}

/// What is known of a metric that no required figure depends on.
fn optional(metric: &VllmMetric) -> String {
    match (metric.for_estimate, metric.name.releases) {
        (true, _) => "only used where vLLM does not count computed prompt tokens".to_owned(),
        (false, "") => "optional".to_owned(),
        (false, releases) => format!("optional: releases {releases}"),
    }
}

/// The GPUs and what each offers.
async fn of_gpus(sampler: &mut Sampler) -> Vec<CheckFinding> {
    let GpuLook {
        gpus,
        readings,
        source,
    } = sampler.look_at_gpus().await;
    let mut findings = vec![match source {
        Err(why) => finding("GPU source", false, why),
        Ok(status) => {
            let found = status.success == Some(true);
            let note = status
                .error
                .unwrap_or_else(|| format!("{} GPU(s)", gpus.len()));
            finding(format!("GPU source {}", status.source), found, note)
        }
    }];
    for gpu in &gpus {
        let reading = readings.iter().find(|reading| reading.uuid == gpu.uuid);
        findings.push(finding(
            format!("GPU {}", gpu.uuid),
            reading.is_some(),
            described(gpu),
        ));
        findings.extend(reading.iter().flat_map(|reading| of_reading(reading)));
    }
    findings
}

/// A GPU in a line.
fn described(gpu: &GpuIdentity) -> String {
    let shown = |what: &str, value: Option<f64>, unit: &str| {
        value.map(|value| format!("{what}{value:.0} {unit}"))
    };
    let slice = gpu.is_mig_slice.then(|| "a MIG slice".to_owned());
    [
        Some(gpu.name.clone()),
        gpu.driver.as_ref().map(|driver| format!("driver {driver}")),
        shown("", gpu.memory_bytes.map(|bytes| bytes / 1_048_576.0), "MiB"),
        shown("", gpu.sm_count, "SMs"),
        shown("memory bus ", gpu.memory_bus_bits, "bit"),
        shown("SM clock up to ", gpu.max_sm_clock_mhz, "MHz"),
        shown("power limit ", gpu.power_limit_watts, "W"),
        slice,
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(", ")
}

/// Which quantities of a GPU were read, and why others were not.
fn of_reading(reading: &GpuReading) -> Vec<CheckFinding> {
    let gpm = reading.gpm.unwrap_or_default();
    let percent = |share: Option<f64>| share.map(|share| share * 100.0);
    let rows = [
        (gpu::GpuQuantity::SmClock, reading.sm_clock_mhz, "MHz"),
        (gpu::GpuQuantity::MemClock, reading.mem_clock_mhz, "MHz"),
        (
            gpu::GpuQuantity::Energy,
            reading.energy.map(|energy| energy.0),
            "J",
        ),
        (gpu::GpuQuantity::Power, reading.power_watts, "W"),
        (
            gpu::GpuQuantity::Memory,
            reading.memory_used_bytes.map(|bytes| bytes / 1_048_576.0),
            "MiB",
        ),
        (
            gpu::GpuQuantity::Temperature,
            reading.temperature_celsius,
            "°C",
        ),
        (
            gpu::GpuQuantity::Utilization,
            percent(reading.utilization),
            "%",
        ),
        (
            gpu::GpuQuantity::Gpm,
            percent(gpm.dram_bandwidth),
            "% of DRAM bandwidth",
        ),
    ];
    let mut findings: Vec<_> = rows
        .into_iter()
        .map(|(quantity, value, unit)| {
            let note = value.map(|value| format!("{value:.1} {unit}"));
            of_quantity(reading, quantity, note)
        })
        .collect();
    let reasons = reading
        .clock_event_reasons
        .map(|reasons| format!("{reasons:#x}"));
    findings.push(of_quantity(
        reading,
        gpu::GpuQuantity::ClockReasons,
        reasons,
    ));
    findings
}

fn of_quantity(
    reading: &GpuReading,
    quantity: gpu::GpuQuantity,
    value: Option<String>,
) -> CheckFinding {
    let absent = reading
        .absent
        .iter()
        .find(|(absent, _)| *absent == quantity);
    finding(
        format!("  {}", quantity.as_str()),
        value.is_some(),
        value
            .or_else(|| absent.map(|(_, cause)| cause.as_str().to_owned()))
            .unwrap_or_else(|| "not reported this time".to_owned()),
    )
}

fn shown(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// Which facts about each engine's model, deployment and GPU are known, and which are missing.
async fn of_facts(sampler: &mut Sampler, engines: &[EngineTotals]) -> Vec<CheckFinding> {
    let all = sampler.facts_of(engines).await;
    let of_each = all.iter().map(|facts| facts_of(facts));
    once(engines.iter().map(|engine| &engine.key).zip(of_each))
}

fn facts_of(facts: &EngineFacts) -> Vec<CheckFinding> {
    let known = facts.origins.iter();
    let known = known.map(|(fact, origin)| finding(*fact, true, origin.as_str()));
    let missing = facts.missing.iter();
    let missing = missing.map(|missing| finding(missing.fact, false, missing.why.as_str()));
    known.chain(missing).collect()
}

/// The findings of the first engine, and those of the others that differ, with the engine's name.
fn once<'a>(
    of_each: impl Iterator<Item = (&'a EngineKey, Vec<CheckFinding>)>,
) -> Vec<CheckFinding> {
    let mut findings: Vec<CheckFinding> = Vec::new();
    let mut of_first = 0;
    for (key, own) in of_each {
        if findings.is_empty() {
            of_first = own.len();
            findings = own;
            continue;
        }
        for mut row in own {
            if !findings[..of_first].contains(&row) {
                row.what = format!("{} (engine {})", row.what, key.engine);
                findings.push(row);
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_of_all_engines_is_listed_once() {
        let keys = ["0", "1", "2"].map(|engine| EngineKey {
            model_name: "m".to_owned(),
            engine: engine.to_owned(),
        });
        let rows = |gpu: &str| vec![finding("model", true, "/m"), finding("gpu", true, gpu)];
        let of_each = keys.iter().zip([rows("H100"), rows("H100"), rows("H200")]);
        let mut listed = rows("H100");
        listed.push(finding("gpu (engine 2)", true, "H200"));
        assert_eq!(once(of_each), listed);
    }
}
